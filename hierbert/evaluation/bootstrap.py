"""How far a mean over documents can be trusted: seeded bootstrap intervals.

Percentile intervals over documents drawn with replacement (Efron and Tibshirani 1993; for paired
comparisons of systems Koehn 2004). It says nothing about other seeds of training or other corpora.

Invariant: the same values and seed give the same result; the global random state is not touched.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

# So many drawn values are held at once, whatever the number of documents.
_VALUES_AT_ONCE = 1_000_000


def mean_interval(
    values: Sequence[float] | _Floats,
    seed: int,
    confidence: float = 0.95,
    samples: int = 1000,
) -> tuple[float, float, float]:
    """The mean of a score over documents and its confidence interval.

    Args:
        values: One score per document.
        seed: Seed of the draws, at least 0.
        confidence: Part of the resampled means inside the interval, between 0 and 1.
        samples: Number of resampled means.

    Returns:
        Mean, lower end, upper end.

    Raises:
        ValueError: If there are no values, one is not finite, or a setting is not allowed.
    """
    scores = _checked(values, confidence, samples)
    low, high = _ends(_resampled_means(scores, seed, samples), confidence)
    return float(scores.mean()), low, high


def paired_difference(
    first: Sequence[float] | _Floats,
    second: Sequence[float] | _Floats,
    seed: int,
    confidence: float = 0.95,
    samples: int = 1000,
) -> tuple[float, float, float, float]:
    """The mean difference of two systems' scores on the same documents, and its interval.

    Args:
        first: One score per document of the first system.
        second: The second system's scores of the same documents in the same order.
        seed: Seed of the draws, at least 0.
        confidence: Part of the resampled differences inside the interval.
        samples: Number of resampled differences.

    Returns:
        Mean of first minus second, lower end, upper end, and the two-sided p: how often
        resampled differences, moved to have mean 0, are at least as far from 0 as the observed
        one; at least ``1 / (samples + 1)``.

    Raises:
        ValueError: As `mean_interval`, or if the numbers of scores differ.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} scores of the first system, {len(second)} of the second")
    differences = _checked(
        np.asarray(first, np.float64) - np.asarray(second, np.float64), confidence, samples
    )
    observed = float(differences.mean())
    means = _resampled_means(differences, seed, samples)
    low, high = _ends(means, confidence)
    # Rounding must not tell equal distances apart.
    as_far = np.abs(means - observed) >= abs(observed) * (1 - 1e-9)
    return observed, low, high, float((1 + as_far.sum()) / (samples + 1))


def _checked(values: Sequence[float] | _Floats, confidence: float, samples: int) -> _Floats:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"scores of shape {scores.shape}: one finite score or more is needed")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} is not allowed: between 0 and 1")
    if samples < 1:
        raise ValueError(f"samples={samples!r} is not allowed: at least 1")
    return scores


def _resampled_means(scores: _Floats, seed: int, samples: int) -> _Floats:
    return np.concatenate(list(_means_in_parts(scores, seed, samples)))


def _means_in_parts(scores: _Floats, seed: int, samples: int) -> Iterator[_Floats]:
    generator = np.random.default_rng(seed)
    at_once = max(1, _VALUES_AT_ONCE // len(scores))
    for start in range(0, samples, at_once):
        size = (min(at_once, samples - start), len(scores))
        yield scores[generator.integers(0, len(scores), size)].mean(1)


def _ends(means: _Floats, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
