"""Bins of probabilities, and precision and recall by threshold, beside counts by hand."""

import numpy as np
import pytest

from hierbert.scoring.precision_recall import precision_recall
from hierbert.scoring.reliability import calibration_error, reliability_bins


def test_bins_hold_what_is_claimed_and_how_often_it_is_so() -> None:
    probabilities = [[0.9, 0.1], [0.92, 0.08], [0.3, 0.7], [0.55, 0.45]]
    bins = reliability_bins(probabilities, [0, 1, 1, 0])
    # 15 bins of equal width: 0.9 and 0.92 are in the one up to 14/15.
    assert [one["count"] for one in bins] == [1, 1, 2]
    assert bins[2]["claimed"] == pytest.approx(0.91) and bins[2]["true"] == pytest.approx(0.5)
    assert bins[1] == pytest.approx({"count": 1, "claimed": 0.7, "true": 1.0})


def test_bins_add_up_to_the_calibration_error() -> None:
    chance = np.random.default_rng(0)
    shares, true = chance.random((50, 3)), chance.integers(0, 2, (50, 3))
    bins = reliability_bins(shares, true)
    total = sum(one["count"] for one in bins)
    gaps = sum(one["count"] * abs(one["claimed"] - one["true"]) for one in bins) / total
    assert total == 150 and gaps == pytest.approx(calibration_error(shares, true))


def test_points_are_precision_and_recall_at_their_threshold() -> None:
    chance = np.random.default_rng(0)
    shares = chance.random((80, 4))
    true = (chance.random((80, 4)) < shares).astype(int)
    given = (shares >= 0.4).astype(int)
    found = precision_recall(shares, true, given)
    assert 10 < len(found["points"]) <= 50
    thresholds = [point["threshold"] for point in found["points"]]
    assert thresholds == sorted(thresholds, reverse=True)
    for point in found["points"]:
        above = shares >= point["threshold"]
        assert point["precision"] == pytest.approx(true[above].mean())
        assert point["recall"] == pytest.approx(true[above].sum() / true.sum())
    assert found["chosen"]["recall"] == pytest.approx(true[given == 1].sum() / true.sum())
    assert precision_recall(shares, np.zeros_like(true), given) == {}
    nothing = precision_recall(shares, true, np.zeros_like(true))
    assert nothing["chosen"] == {"precision": 0.0, "recall": 0.0}
