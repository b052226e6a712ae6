"""Figures in columns, for a terminal."""

from collections.abc import Mapping, Sequence

from hierbert.scoring.metric import Metric


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of as many cells each, in columns of equal width, the first flush left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def gain_line(metric: Metric, baseline: str, gain: Mapping[str, float], split: str) -> str:
    """What a model gained over the best baseline, and whether that is sure.

    Args:
        metric: Of the gain.
        baseline: Its title.
        gain: "mean", "low" and "high", as of `paired_difference`.
        split: Of the documents: those of "validation" chose the weights.
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
