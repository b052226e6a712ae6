"""Figures in columns, for a terminal."""

from collections.abc import Sequence


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of as many cells each, in columns of equal width, the first flush left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
