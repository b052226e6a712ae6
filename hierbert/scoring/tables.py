"""Figures in columns, as plain lines.

What is made here are texts, which know what they are made of, for who draws tables otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence

from hierbert.scoring.metric import Metric


class Grid(str):
    """A table, as lines.

    Attributes:
        heading: Above it; or "".
        rows: Of as many cells each, titles of columns first.
        notes: Below it, a line each.
    """

    heading: str
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


class Parts(str):
    """Tables and other texts, a blank line between them.

    Attributes:
        parts: Each of them, where it is a table as `Grid`.
    """

    parts: Sequence[str]


def grid(rows: Sequence[Sequence[str]], heading: str = "", notes: Iterable[str] = ()) -> Grid:
    """Rows of as many cells each, in columns of equal width, the first flush left."""
    notes = tuple(notes)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    made = Grid(
        "\n".join([*([heading] if heading else []), *lines, *(f"  {one}" for one in notes)])
    )
    made.heading, made.rows, made.notes = heading, rows, notes
    return made


def join_parts(parts: Iterable[str]) -> Parts:
    """Texts below one another."""
    parts = tuple(parts)
    made = Parts("\n\n".join(parts))
    made.parts = parts
    return made


def gain_line(metric: Metric, baseline: str, gain: Mapping[str, float], split: str) -> str:
    """What a model gained over the best baseline, and whether that is sure.

    `baseline` is its title, `gain` as of `paired_difference`; documents of "validation" chose the
    weights.
    """
    mean, low, high = (
        f"{100 * gain[key]:+.1f}" if metric.percent else f"{gain[key]:+.4g}"
        for key in ("mean", "low", "high")
    )
    line = f"{metric.title} over {baseline}: {mean} [{low}, {high}]"
    if split == "validation":
        return f"{line}; these documents also chose the weights: a test split says more"
    above, below = gain["low"] > 0, gain["high"] < 0
    better, worse = (above, below) if metric.better == "higher" else (below, above)
    return line if better else f"{line}; {'worse' if worse else 'no sure gain'}"
