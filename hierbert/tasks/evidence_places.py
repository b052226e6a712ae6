"""Scores by where in a document lies what has to be found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hierbert.scoring.intervals import mean_interval

if TYPE_CHECKING:
    from hierbert.tasks.prepared import PreparedDocument

PARTS = ("first third", "middle third", "last third")
SPREAD = "no one of them"
MOST_DOCUMENTS = 200


def part_of(places: Sequence[float]) -> str:
    """Which third of a document most of some places, 0 to 1, are in."""
    counts = np.bincount([min(2, int(3 * place)) for place in places], minlength=3)
    most = np.flatnonzero(counts == counts.max())
    return PARTS[most[0]] if len(most) == 1 else SPREAD


def asked_for_places(documents: Sequence["PreparedDocument"]) -> frozenset[int]:
    """Numbers of the documents whose `Answer.places` are asked: from the first to the last."""
    known = [
        number
        for number, one in enumerate(documents)
        if any(target is not None for target in one.targets.values())
    ]
    some = np.linspace(0, len(known) - 1, min(len(known), MOST_DOCUMENTS)).astype(int)
    return frozenset(known[number] for number in some)


def evidence_places(
    places: Sequence[Sequence[float]], scores: Sequence[float], metric: str, what: str, seed: int
) -> dict[str, Any]:
    """The "evidence_places" of results.json.

    Args:
        places: Of each document (D), where what has to be found begins, 0 to 1; those where nothing
            is known are left out.
        scores: Of its answer (D).
        metric: What they are.
        what: What has to be found, in a sentence.
        seed: Of intervals.

    Returns:
        `what`, `metric`, and `parts`: of each third of the documents that holds more of it than any
        other third, and of those where none does, `documents` and the mean `score` with `low` and
        `high`. Empty where nothing is known.
    """
    found: dict[str, list[float]] = {part: [] for part in (*PARTS, SPREAD)}
    for own, score in zip(places, scores, strict=True):
        if own:
            found[part_of(own)].append(score)
    parts = []
    for part, own_scores in found.items():
        if own_scores:
            mean, low, high = mean_interval(own_scores, seed)
            figures = {"score": mean, "low": low, "high": high}
            parts.append({"part": part, "documents": len(own_scores), **figures})
    return {"what": what, "metric": metric, "parts": parts} if parts else {}
