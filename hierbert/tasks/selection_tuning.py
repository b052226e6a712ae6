"""Options of a selection chosen by what they do to summaries of documents with a reference."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hierbert.model.selection_options import OPTIONS
from hierbert.model.summarization_head import SummaryRule
from hierbert.scoring.intervals import paired_difference


def tune_selection(
    rule: SummaryRule, score: Callable[[SummaryRule], Sequence[float]], seed: int
) -> tuple[SummaryRule, list[dict[str, Any]]]:
    """Take of each option that says what to try the value that is surely better than the one set.

    One option after the other, in their order, each with what was taken of those before.

    Args:
        rule: As it is set.
        score: Of a rule the score of each document, greater is better.
        seed: Of the intervals.

    Returns:
        The rule, and for each value that was tried "option", "value", the mean "gain" over the
        rule until then, its "low" and "high", and whether it was "taken": where that interval is
        above 0, and the gain the greatest of the option's.
    """
    tried: list[dict[str, Any]] = []
    before = score(rule)
    for name, option in OPTIONS.items():
        rows: list[tuple[dict[str, Any], Sequence[float]]] = []
        for value in option.metadata["tried"]:
            if value == getattr(rule, name):
                continue
            scores = score(replace(rule, **{name: value}))
            gain, low, high, *_ = paired_difference(scores, before, seed)
            row = {"option": name, "value": value, "gain": gain, "low": low, "high": high}
            rows.append((row, scores))
        sure = [one for one in rows if one[0]["low"] > 0]
        best = max(sure, key=lambda one: float(np.mean(one[1])), default=None)
        tried += [{**row, "taken": best is not None and row is best[0]} for row, _ in rows]
        if best is not None:
            rule, before = replace(rule, **{name: best[0]["value"]}), best[1]
    return rule, tried
