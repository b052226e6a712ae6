"""How far scores can be trusted: seeded bootstrap intervals.

Percentile intervals over documents drawn with replacement (Efron and Tibshirani 1993; for paired
comparisons of systems Koehn 2004), the same for the same values and seed. They say nothing about
other seeds of training or other corpora. The global random state is not touched.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from hierbert.scoring.metric import METRICS, metrics_of, shown_metrics

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

# Drawn from fewer documents, an interval says nothing: of one it has no width.
FEWEST_DOCUMENTS = 5
_SAMPLES, _CONFIDENCE = 1000, 0.95
# So many drawn values are held at once, whatever the number of documents.
_VALUES_AT_ONCE = 1_000_000


def mean_interval(values: Sequence[float] | _Floats, seed: int) -> tuple[float, float, float]:
    """The mean of one score a document, and the lower and upper end of its 95 % interval.

    A ValueError where there are no values, or one is not finite.
    """
    scores = np.asarray(values, dtype=np.float64)
    low, high = _ends(_means(scores, seed))
    return float(scores.mean()), low, high


def paired_difference(
    first: Sequence[float] | _Floats, second: Sequence[float] | _Floats, seed: int
) -> tuple[float, float, float, float]:
    """The mean difference of two systems' scores of the same documents, and its 95 % interval.

    Gives the mean of first minus second, the lower and the upper end, and the two-sided p: how
    often resampled differences, moved to have mean 0, are at least as far from 0 as the observed
    one; at least 1/1001. A ValueError as `mean_interval`.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return difference(float(differences.mean()), _means(differences, seed))


def difference(observed: float, resampled: _Floats) -> tuple[float, float, float, float]:
    """A difference of all documents, its 95 % interval and its p, as of `paired_difference`.

    `resampled` are those of samples of them, float64 (S).
    """
    # Rounding must not tell equal distances apart.
    as_far = np.abs(resampled - observed) >= abs(observed) * (1 - 1e-9)
    return observed, *_ends(resampled), float((1 + as_far.sum()) / (len(resampled) + 1))


def label_intervals(
    problem_type: str, predictions: npt.ArrayLike, references: npt.ArrayLike, seed: int
) -> dict[str, dict[str, float]]:
    """95 % intervals, "low" and "high", of each metric of `resampled_scores`, called with these."""
    resampled = resampled_scores(problem_type, predictions, references, seed)
    ends = {name: _ends(scores) for name, scores in resampled.items()}
    return {name: {"low": low, "high": high} for name, (low, high) in ends.items()}


def label_gains(
    problem_type: str,
    predictions: npt.ArrayLike,
    others: Mapping[str, npt.ArrayLike],
    references: npt.ArrayLike,
    seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """How far a system's scores of labels are from those of others on the same documents.

    `others` are predictions by the name of a system; the rest is as of `resampled_scores`. Gives
    for each other system and metric "mean", the system's score minus the other's, with "low",
    "high" and "p" as `paired_difference`.
    """

    def scored(given: npt.ArrayLike) -> tuple[dict[str, _Floats], dict[str, float]]:
        resampled = resampled_scores(problem_type, given, references, seed)
        true = np.asarray(references)
        return resampled, {n: METRICS[n].score(np.asarray(given), true) for n in resampled}

    samples, scores = scored(predictions)
    gains: dict[str, dict[str, dict[str, float]]] = {}
    for other, given in others.items():
        their_samples, their_scores = scored(given)
        found = {
            name: difference(scores[name] - their_scores[name], own - their_samples[name])
            for name, own in samples.items()
        }
        keys = ("mean", "low", "high", "p")
        gains[other] = {
            name: dict(zip(keys, map(float, values), strict=True)) for name, values in found.items()
        }
    return gains


def resampled_scores(
    problem_type: str, predictions: npt.ArrayLike, references: npt.ArrayLike, seed: int
) -> dict[str, _Floats]:
    """Scores of labels on bootstrap samples, which are the same for as many documents and the seed.

    Predictions and references of at least one document are label numbers, integers (D); or 0 and 1
    for each label, or node of a tree (D, C); or numbers (D). Gives of each metric of the problem
    type that can be resampled and repeats no other one its scores, float64 (S).
    """
    predicted, true = np.asarray(predictions), np.asarray(references)
    if problem_type == "single_label":
        labels = np.arange(max(predicted.max(), true.max()) + 1)
        predicted, true = predicted[:, None] == labels, true[:, None] == labels
    if problem_type == "tree":
        # Of many nodes few occur, and the others change no score.
        occur = predicted.any(0) | true.any(0)
        predicted, true = predicted[:, occur], true[:, occur]
    predicted, true = (each.astype(np.float64).reshape(len(each), -1) for each in (predicted, true))
    resampled = {
        metric.name: metric.resampled
        for metric in shown_metrics([metric.name for metric in metrics_of(problem_type)])
        if metric.resampled is not None
    }
    parts: dict[str, list[_Floats]] = {name: [] for name in resampled}
    for rows in _drawn(len(true), seed):
        weights = np.stack([np.bincount(row, minlength=len(true)) for row in rows]).astype(float)
        for name, score in resampled.items():
            parts[name].append(score(weights, predicted, true))
    return {name: np.concatenate(scores) for name, scores in parts.items()}


def _drawn(count: int, seed: int) -> Iterator[_Ints]:
    """The documents of each sample (samples, D), some samples at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _VALUES_AT_ONCE // count)
    for start in range(0, _SAMPLES, at_once):
        yield generator.integers(0, count, (min(at_once, _SAMPLES - start), count))


def _means(scores: _Floats, seed: int) -> _Floats:
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"scores of shape {scores.shape}: one finite score or more is needed")
    return np.concatenate([scores[rows].mean(1) for rows in _drawn(len(scores), seed)])


def _ends(values: _Floats) -> tuple[float, float]:
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
