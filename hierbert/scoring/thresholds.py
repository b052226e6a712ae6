"""From which probability a label applies: one threshold for all labels together, one for each.

What is best for a label on few documents is chance. So the threshold of each label is moved from
the one for all towards its own best by n / (n + 5), as many documents as have the label being n:
one that hardly occurs has about the threshold of all. `benchmarks/thresholds.py` compares ways.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

ThresholdMetric = Literal["micro_f1", "macro_f1"]
# Documents of a label that move it half the way.
_HALF_WAY = 5.0
# Logits; beyond the outermost scores, where a label applies to all or to none.
_BEYOND = 0.1
_ROUNDS = 20


@dataclass(frozen=True)
class Thresholds:
    """Probabilities from which labels apply."""

    overall: float  # The one that gives the highest micro-F1 of all labels together.
    by_label: list[float]  # Of each label (C).


class _Counts:
    """How many documents a cut through scores leaves above it: those that have the label, and all.

    Args:
        scores: float (D).
        true: bool (D).
    """

    def __init__(self, scores: _Floats, true: npt.NDArray[np.bool_]) -> None:
        self._all, self._true = np.sort(scores), np.sort(scores[true])
        self.true = len(self._true)

    def cuts(self) -> _Floats:
        """A cut between any two scores, and one beyond each end; ascending."""
        scores = np.unique(self._all)
        inner = (scores[1:] + scores[:-1]) / 2
        return np.concatenate([scores[:1] - _BEYOND, inner, scores[-1:] + _BEYOND])

    def above(self, cuts: _Floats) -> _Floats:
        """float (2, cuts): true documents, and all, with at least that score."""
        rows = [len(each) - np.searchsorted(each, cuts) for each in (self._true, self._all)]
        return np.array(rows, dtype=np.float64)


def fit_thresholds(
    logits: npt.ArrayLike, references: npt.ArrayLike, metric: ThresholdMetric = "micro_f1"
) -> Thresholds:
    """Find the thresholds of labels under which documents that were not trained on score best.

    Logits are over the temperature, float (D, C), of at least one document; references 0 and 1 for
    each label (D, C). For "macro_f1" a rare label weighs like a frequent one, for "micro_f1" by its
    documents. They are 0.5 each where no document has any label.
    """
    scores, true = np.asarray(logits, dtype=np.float64), np.asarray(references) == 1
    together = _Counts(scores.ravel(), true.ravel())
    if not together.true:
        return Thresholds(0.5, [0.5] * scores.shape[1])
    cuts = together.cuts()
    hits, given = together.above(cuts)
    overall = _best(cuts, 2 * hits / (given + together.true))
    labels = []
    for own_scores, own_true in zip(scores.T, true.T, strict=True):
        own = _Counts(own_scores, own_true)
        cuts = own.cuts() if own.true else np.array([overall])
        labels.append((cuts, *own.above(cuts), own.true))
    if metric == "macro_f1":
        best = [_best(cuts, hits / np.maximum(given + n, 1)) for cuts, hits, given, n in labels]
    else:
        best = _for_micro_f1(labels)
    moved = [
        overall + (cut - overall) * n / (n + _HALF_WAY)
        for cut, (*_, n) in zip(best, labels, strict=True)
    ]
    return Thresholds(_probability(overall), [_probability(cut) for cut in moved])


def from_a_half(held_out: _Floats, references: npt.ArrayLike, logits: _Floats) -> _Floats:
    """Probabilities moved so that each label applies from 0.5, by tuned thresholds.

    Thresholds are tuned on documents that were not trained on, by their logits and `references`,
    (D, C); what is moved are the probabilities of other logits, float64 (A, C).
    """
    from scipy.special import expit, logit

    thresholds = np.array(fit_thresholds(held_out, references).by_label)
    moved: _Floats = expit(logits - logit(thresholds.clip(1e-6, 1 - 1e-6)))
    return moved


def _for_micro_f1(labels: list[tuple[_Floats, _Floats, _Floats, int]]) -> list[float]:
    """The cuts of labels that give the highest micro-F1 together.

    A ratio of sums over labels is as high as can be where no label can raise the difference of its
    parts at that ratio (Dinkelbach 1967), which each label is asked alone.
    """
    f1, best = 0.0, []
    for _ in range(_ROUNDS):
        places = [_best_place(2 * hits - f1 * given) for _, hits, given, _ in labels]
        best = [float(cuts[place]) for place, (cuts, *_) in zip(places, labels, strict=True)]
        above = [
            (hits[place], given[place] + true)
            for place, (_, hits, given, true) in zip(places, labels, strict=True)
        ]
        before, f1 = f1, 2 * sum(hits for hits, _ in above) / sum(size for _, size in above)
        if f1 <= before:
            break
    return best


def _best(cuts: _Floats, values: _Floats) -> float:
    return float(cuts[_best_place(values)])


def _best_place(values: _Floats) -> int:
    """The middle one of the highest values: as far as can be from where it gets worse."""
    best = np.flatnonzero(values >= values.max() - 1e-9)
    return int(best[len(best) // 2])


def _probability(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))
