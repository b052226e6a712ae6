"""Summaries beside their references."""

from hierbert.reporting.blocks import Block, Note, Quotation, Section
from hierbert.reporting.found import Found


def summaries(found: Found) -> Section | None:
    """Some documents, from the best summary to the worst."""
    rows = found.examples.get("summaries")
    if not rows:
        return None
    if found.left_out:
        return Section("Summaries and references", [Note(found.left_out)])
    blocks: list[Block] = []
    for row in rows:
        texts = [("Summary", row["summary"])]
        texts += [("Reference", reference) for reference in row["references"]]
        title = f"{row['which']}: {row['id']}, {row['metric']} {100 * row['score']:.1f}"
        blocks.append(Quotation(title, texts))
    return Section("Summaries and references", blocks)
