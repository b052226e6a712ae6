"""Whether answers depend on where in a document lies what decides."""

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found, figure
from hierbert.scoring.metric import METRICS


def places(found: Found) -> Section | None:
    """Scores by the third of the document that holds the evidence."""
    kept = found.results.get("evidence_places")
    if not kept:
        return None
    blocks: list[Block] = [Note(kept["what"])]
    metric, rows = METRICS[kept["metric"]], kept["parts"]
    cells = [[r["part"], f"{r['documents']:,}", figure(metric, r["score"], r)] for r in rows]
    scale = 100 if metric.percent else 1
    blocks.append(
        charts.bars(
            f"{metric.title} by where the evidence lies",
            f"{metric.title} of {len(rows)} groups of documents, with 95 % intervals.",
            [row["part"] for row in rows],
            {metric.title: [scale * row["score"] for row in rows]},
            "part of the document",
            metric.title + (" x 100" if metric.percent else ""),
            [(scale * row["low"], scale * row["high"]) for row in rows],
            Table(["Evidence lies in the", "documents", metric.title], cells),
        )
    )
    return Section("Where the evidence lies", blocks)
