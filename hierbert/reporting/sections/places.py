"""Whether answers depend on where in a document lies what decides."""

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found, figure
from hierbert.scoring.intervals import FEWEST_DOCUMENTS
from hierbert.scoring.metric import METRICS


def places(found: Found) -> Section | None:
    """Scores by the third of the document that holds the evidence."""
    kept = found.results.get("evidence_places")
    if not kept:
        return None
    blocks: list[Block] = [Note(kept["what"])]
    metric, rows = METRICS[kept["metric"]], kept["parts"]
    ends = [row if row["documents"] >= FEWEST_DOCUMENTS else None for row in rows]
    cells = [
        [
            row["part"],
            f"{row['documents']:,}",
            figure(metric, row["score"], own) + ("" if own else " (-)"),
        ]
        for row, own in zip(rows, ends, strict=True)
    ]
    scale = 100 if metric.percent else 1
    blocks.append(
        charts.bars(
            f"{metric.title} by where the evidence lies",
            f"{metric.title} of {len(rows)} groups of documents, with 95 % intervals.",
            [row["part"] for row in rows],
            {metric.title: [scale * row["score"] for row in rows]},
            "part of the document",
            metric.title + (" x 100" if metric.percent else ""),
            [(scale * own["low"], scale * own["high"]) if own else None for own in ends],
            Table(["Evidence lies in the", "documents", metric.title], cells),
        )
    )
    return Section("Where the evidence lies", blocks)
