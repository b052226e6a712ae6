"""Whether answers depend on where in a document lies what decides."""

from collections.abc import Mapping
from typing import Any

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found, figure
from hierbert.reporting.sections.lengths import by_parts
from hierbert.scoring.intervals import FEWEST_DOCUMENTS
from hierbert.scoring.metric import METRICS

_OF_LABELS = (
    "Documents by the third in which the segments lie without which the answer would lose most "
    "(a number: would move most): of at most 200, from the first to the last, and of those with "
    "more than one segment."
)


def places(found: Found) -> Section | None:
    """Scores by the third of the document that holds the evidence."""
    blocks: list[Block] = []
    for rows in ((found.results.get("slices") or {}).get("evidence") or {}).values():
        what = "where the evidence lies"
        blocks += [Note(_OF_LABELS), *by_parts(what, [row["part"] for row in rows], rows, found)]
    if kept := found.results.get("evidence_places"):
        blocks += _of_summaries(kept)
    return Section("Where the evidence lies", blocks) if blocks else None


def _of_summaries(kept: Mapping[str, Any]) -> list[Block]:
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
    return blocks
