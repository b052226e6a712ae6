"""Small pieces of Markdown, in which no text of a user's can break the page."""

import re
from collections.abc import Sequence

_LONGEST_CELL = 60


def cell(text: str) -> str:
    """A text as it may stand in a table: one line, nothing of it read as Markdown or HTML.

    Args:
        text: Any text, such as a label's name.

    Returns:
        At most about 60 characters of it, escaped.
    """
    line = " ".join(text.split())
    if len(line) > _LONGEST_CELL:
        line = f"{line[:_LONGEST_CELL].rstrip()}…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A lone surrogate cannot be written as UTF-8.
    line = line.encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is flush left and the others flush right.

    Args:
        head: Titles of the columns.
        rows: Cells, as many in each row.

    Returns:
        Lines without one at the end.
    """
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code_block(text: str, language: str) -> str:
    """A fenced block that no line of the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"
