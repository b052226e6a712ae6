"""Whether probabilities are what they say, and what is gained where unsure answers are withheld.

Probabilities are of each label, float (D, C), of at least one document; references are label
numbers, integers (D), or of several labels 0 and 1 for each (D, C).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

_BINS = 15
_SMALLEST = 1e-12
_POINTS = 20


def calibration_error(probabilities: npt.ArrayLike, references: npt.ArrayLike) -> float:
    """Expected calibration error (Guo et al. 2017, section 2), over 15 bins of equal width.

    How far, in the mean, the probability of what is claimed is from how often it is so: of one
    label, that the likeliest is right; of several, that a label applies, over all of them. From 0
    (they are what they say) to 1.
    """
    _, gaps, claimed = _binned(probabilities, references)
    return float(np.abs(gaps).sum() / len(claimed))


def reliability_bins(
    probabilities: npt.ArrayLike, references: npt.ArrayLike
) -> list[dict[str, float]]:
    """The bins behind `calibration_error`, those that hold something, ascending.

    Of each `count` (how many claims it holds), `claimed` (their mean probability) and `true` (the
    part of them that is so).
    """
    bins, gaps, claimed = _binned(probabilities, references)
    counts, sums = np.bincount(bins, None, _BINS), np.bincount(bins, claimed, _BINS)
    return [
        {
            "count": int(counts[place]),
            "claimed": float(sums[place] / counts[place]),
            "true": float((sums[place] - gaps[place]) / counts[place]),
        }
        for place in np.flatnonzero(counts)
    ]


def _binned(
    probabilities: npt.ArrayLike, references: npt.ArrayLike
) -> tuple[npt.NDArray[Any], _Floats, _Floats]:
    """The bin of each claim; of each bin the sum of claimed less true; what is claimed."""
    claimed, true = np.asarray(probabilities, dtype=np.float64), np.asarray(references)
    if true.ndim == 1:
        claimed, true = claimed.max(1), claimed.argmax(1) == true
    claimed, true = claimed.ravel(), true.ravel()
    # An edge belongs to the bin below it.
    bins = np.digitize(claimed, np.linspace(0, 1, _BINS + 1)[1:-1], right=True)
    return bins, np.bincount(bins, claimed - true, _BINS).astype(np.float64), claimed


def log_loss(probabilities: npt.ArrayLike, references: npt.ArrayLike) -> float:
    """Mean negative log-likelihood in nats of a document's label, or of each of several."""
    shares, true = np.asarray(probabilities, dtype=np.float64), np.asarray(references)
    if true.ndim == 1:
        likely = shares[np.arange(len(true)), true]
    else:
        likely = np.where(true == 1, shares, 1 - shares)
    # What is rounded to 0 is not impossible.
    return float(-np.log(likely.clip(_SMALLEST, None)).mean())


def risks(probabilities: npt.ArrayLike, references: npt.ArrayLike) -> tuple[_Floats, _Floats]:
    """What part of the surest answers is wrong, by how many are given; of one label a document.

    Gives the probabilities of the likeliest labels, highest first, and the part of wrong answers
    among those from the first on, each float (D). Answers that are equally sure come in any order:
    each is as wrong as they are in the mean.
    """
    shares, true = np.asarray(probabilities, dtype=np.float64), np.asarray(references)
    wrong = (shares.argmax(1) != true).astype(np.float64)
    levels, place = np.unique(-shares.max(1), return_inverse=True)
    sizes = np.bincount(place)
    by_level = np.bincount(place, wrong) / sizes
    surest, mean_wrong = np.repeat(-levels, sizes), np.repeat(by_level, sizes)
    return surest, np.cumsum(mean_wrong) / np.arange(1, len(true) + 1)


def risk_area(probabilities: npt.ArrayLike, references: npt.ArrayLike) -> float:
    """Area under the risk-coverage curve (Geifman et al. 2019, section 3).

    The mean of `risks` over all numbers of answers: 0 where every wrong answer is less sure than
    every right one, as far as that can be.
    """
    return float(risks(probabilities, references)[1].mean())


def risk_coverage(
    probabilities: npt.ArrayLike, references: npt.ArrayLike, abstain_below: float | None
) -> dict[str, Any]:
    """The risk-coverage curve behind `risks`.

    `area`; `points`, at most 20, each with `coverage` (the part of the documents that are answered
    where answers below `confidence` are withheld) and `risk` (the part of these answers that is
    wrong); and `answered`, the same for `abstain_below`, where that is given: the risk of no answer
    is 0.
    """
    surest, wrong = risks(probabilities, references)
    count = len(surest)
    numbers = sorted({-(-count * part // _POINTS) for part in range(1, _POINTS + 1)})
    curve: dict[str, Any] = {
        "area": float(wrong.mean()),
        "points": [_point(surest, wrong, number, surest[number - 1]) for number in numbers],
    }
    if abstain_below is not None:
        answered = int((surest >= abstain_below).sum())
        curve["answered"] = _point(surest, wrong, answered, abstain_below)
    return curve


def _point(surest: _Floats, wrong: _Floats, number: int, confidence: float) -> dict[str, float]:
    return {
        "coverage": number / len(surest),
        "confidence": float(confidence),
        "risk": float(wrong[number - 1]) if number else 0.0,
    }
