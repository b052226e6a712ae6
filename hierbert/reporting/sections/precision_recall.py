"""What is found and what of it is right, by the threshold of several labels."""

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found


def precision_recall(found: Found) -> Section | None:
    """The curve of all labels together, with the thresholds that were chosen."""
    kept = found.results.get("precision_recall")
    if kept is None:
        return None
    if not kept:
        note = "No label applies to any scored document: there is nothing to be found."
        return Section("Precision and recall", [Note(note)])
    points, chosen = kept["points"], kept["chosen"]
    where = chosen["recall"], chosen["precision"]
    rows = [[f"{p[name]:.3f}" for name in ("threshold", "precision", "recall")] for p in points]
    rows.append(["as chosen", f"{where[1]:.3f}", f"{where[0]:.3f}"])
    blocks: list[Block] = [
        charts.lines(
            "Precision and recall of all labels together",
            f"As chosen, precision is {where[1]:.3f} and recall {where[0]:.3f}.",
            {"one threshold": ([p["recall"] for p in points], [p["precision"] for p in points])},
            "recall",
            "precision",
            unit=True,
            points={"as chosen": where},
            table=Table(["threshold", "precision", "recall"], rows, [len(rows) - 1]),
        )
    ]
    thresholds = (found.results.get("calibration") or {}).get("thresholds")
    if thresholds:
        each = thresholds["labels"].values()
        blocks.append(
            Note(
                f"Thresholds were chosen for {thresholds['metric'].replace('_', '-')} on documents "
                f"that were not trained on: {thresholds['overall']:.3f} for all labels together, "
                f"{min(each):.3f} to {max(each):.3f} for each."
            )
        )
    return Section("Precision and recall", blocks)
