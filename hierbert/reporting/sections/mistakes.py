"""What the model was surest of, and wrong."""

from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found

_LINKED = "The pages behind the names show what in a document spoke for its answer."
_WHY = (
    "What in a document spoke for its answer, infer.py shows on pages of their own: --model MODEL "
    "--input FILE --html FOLDER."
)


def mistakes(found: Found) -> Section | None:
    """Documents whose answers are farthest from the truth, with excerpts where they may be."""
    rows = found.examples.get("mistakes")
    if rows is None:
        return None
    if not rows:
        return Section("The surest mistakes", [Note("There is none.")])
    numbers = "probability" in rows[0]
    head = ["Document", "true", "answered", "probability" if numbers else "error"]
    cells = []
    for row in rows:
        sure = f"{row['probability']:.3f}" if numbers else f"{row['error']:+.4g}"
        own = [row["id"], row["true"], row["answer"], sure]
        cells.append(own if found.left_out else [*own, row["excerpt"]])
    blocks: list[Block] = []
    links = [row.get("page", "") for row in rows]
    if found.left_out:
        blocks.append(Note(found.left_out))
        blocks.append(Table(head, cells))
    else:
        blocks.append(Table([*head, "begins with"], cells, prose=True, links=links))
    if numbers:
        blocks.append(Note(_LINKED if any(links) else _WHY))
    return Section("The surest mistakes", blocks)
