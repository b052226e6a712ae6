"""Whether probabilities are what they say."""

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found


def reliability(found: Found) -> Section | None:
    """The bins behind the expected calibration error, and how many claims each holds."""
    bins = found.results.get("reliability")
    if not bins:
        return None
    error = found.results["scores"].get("ece")
    claims = sum(one["count"] for one in bins)
    blocks: list[Block] = [
        charts.lines(
            "Reliability: on the dotted line, probabilities are what they say",
            f"What is claimed and how often it is so, in {len(bins)} bins of {claims:,} claims.",
            {"the model": ([one["claimed"] for one in bins], [one["true"] for one in bins])},
            "claimed probability",
            "part that is so",
            unit=True,
            diagonal=True,
            table=Table(
                ["claimed", "is so", "claims"],
                [[f"{b['claimed']:.3f}", f"{b['true']:.3f}", f"{b['count']:,}"] for b in bins],
            ),
        )
    ]
    if error is not None:
        blocks.append(Note(f"Expected calibration error (0 is best, 1 worst): {error:.3f}."))
    fitted = found.results.get("calibration") or {}
    if fitted.get("temperature") is not None:
        blocks.append(
            Note(
                f"Temperature {fitted['temperature']:.3f}, fitted on {fitted['documents']:,} "
                f"documents: negative log-likelihood {fitted['before']:.4f} before, "
                f"{fitted['after']:.4f} after."
            )
        )
    return Section("Probabilities", blocks)
