"""Where in documents a summary's sentences are, beside the oracle's; and what repeats itself."""

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found


def picks(found: Found) -> Section | None:
    """Of summaries."""
    kept = found.results.get("picks")
    if not kept:
        return None
    systems = kept["systems"]
    blocks: list[Block] = []
    parts = len(next(iter(systems.values()))["places"])
    names = [f"{100 * p // parts} to {100 * (p + 1) // parts} %" for p in range(parts)]
    shares = {
        name: [100 * count / max(1, sum(row["places"])) for count in row["places"]]
        for name, row in systems.items()
    }
    blocks.append(
        charts.bars(
            "Where in a document sentences were picked",
            f"The part of each system's sentences in {parts} parts of the documents.",
            names,
            shares,
            "part of the document",
            "% of the picked sentences",
        )
    )
    rows = [
        [name, f"{row['sentences']:.1f}", f"{row['words']:.1f}", f"{100 * row['redundancy']:.1f}"]
        for name, row in systems.items()
    ]
    if own := kept.get("references"):
        rows.append(["References", "-", f"{own['words']:.1f}", f"{100 * own['redundancy']:.1f}"])
    head = ["A summary has", "sentences", "words", "% of its pairs of words repeated"]
    blocks.append(Table(head, rows))
    if shared := kept.get("shared"):
        blocks.append(
            Note(
                f"Of the model's sentences {100 * shared['precision']:.0f} % are the oracle's, of "
                f"the oracle's {100 * shared['recall']:.0f} % are the model's."
            )
        )
    return Section("Picked sentences", blocks)
