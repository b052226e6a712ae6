"""Intervals: as wide as theory says, and of labels those of scores computed sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hierbert.scoring.intervals import (
    label_gains,
    label_intervals,
    mean_interval,
    paired_difference,
)


def drawn(count: int, seed: int) -> np.ndarray:
    """The documents of each sample."""
    return np.random.default_rng(seed).integers(0, count, (1000, count))


def test_an_interval_depends_on_the_seed_alone_however_draws_are_grouped(monkeypatch):
    values = np.arange(50.0)
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    whole = mean_interval(values, seed=7)
    ends = np.quantile(values[drawn(50, 7)].mean(1), [0.025, 0.975])
    assert whole == pytest.approx((24.5, *ends))
    assert (np.random.get_state()[1] == state).all()
    monkeypatch.setattr("hierbert.scoring.intervals._VALUES_AT_ONCE", 170)
    assert mean_interval(values, seed=7) == pytest.approx(whole)
    for nothing in ([], [np.nan]):
        with pytest.raises(ValueError, match="one finite score"):
            mean_interval(nothing, seed=0)


def test_a_paired_difference_is_seen_where_it_is_and_its_p_is_that_of_a_normal_test():
    noise, second = (np.random.default_rng(seed).normal(size=200) for seed in (0, 1))
    difference, low, high, p = paired_difference(second + 1 + 0.1 * noise, second, seed=5)
    assert difference == pytest.approx(1 + 0.1 * noise.mean())
    assert 0.9 < low < difference < high < 1.1 and p == 1 / 1001
    *_, p = paired_difference(np.tile([1.0, -1.0], 50), np.zeros(100), seed=5)
    assert p == 1.0
    # The mean is 1.5 of its own deviations from 0: two-sided p of 0.134.
    values = np.tile([-1.0, 1.0], 200) + 1.5 / 20
    *_, p = paired_difference(values, np.zeros(400), seed=2)
    assert p == pytest.approx(2 * stats.norm.sf(1.5), abs=0.03)


def score(name: str, said: np.ndarray, true: np.ndarray) -> float:
    """One sample's score, by its definition."""
    if name in ("mse", "mae"):
        return float((np.abs(said - true) ** (2 if name == "mse" else 1)).mean())
    if name == "accuracy":
        return float((said == true).mean())
    if said.ndim == 1:
        said, true = np.eye(3)[said], np.eye(3)[true]
    hits, sizes = (said * true).sum(0), (said + true).sum(0)
    if name == "micro_f1":
        return float(2 * hits.sum() / max(sizes.sum(), 1))
    each = [2 * h / size for h, size in zip(hits, sizes, strict=True) if size]
    return float(np.mean(each)) if each else 0.0


@settings(deadline=None, max_examples=4)
@given(count=st.integers(2, 25), seed=st.integers(0, 2**31))
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("single_label", ["accuracy", "macro_f1"]),
        ("multi_label", ["macro_f1", "micro_f1"]),
        ("regression", ["mse", "mae"]),
    ],
)
def test_intervals_are_those_of_scores_computed_sample_by_sample(kind, names, count, seed):
    chance = np.random.default_rng(seed)
    said, true = {
        # The third label is only ever predicted.
        "single_label": lambda: (chance.integers(0, 3, count), chance.integers(0, 2, count)),
        "multi_label": lambda: tuple(chance.integers(0, 2, (2, count, 3))),
        "regression": lambda: tuple(chance.normal(size=(2, count))),
    }[kind]()
    found = label_intervals(kind, said, true, seed)
    gains = label_gains(kind, said, {"right": true, "same": said}, true, seed)
    assert list(found) == names
    for name in names:
        scores = [score(name, said[rows], true[rows]) for rows in drawn(count, seed)]
        low, high = np.quantile(scores, [0.025, 0.975])
        assert found[name] == {"low": pytest.approx(low), "high": pytest.approx(high)}
        # The macro-F1 of right answers is 1 or, in a sample without labels, 0.
        best = [score(name, true[rows], true[rows]) for rows in drawn(count, seed)]
        less = np.subtract(scores, best)
        observed = score(name, said, true) - score(name, true, true)
        far = np.abs(less - observed) >= abs(observed) * (1 - 1e-9)
        ends = dict(zip(("low", "high"), np.quantile(less, [0.025, 0.975]), strict=True))
        expected = {"mean": observed, **ends, "p": (1 + far.sum()) / 1001}
        assert gains["right"][name] == pytest.approx(expected)
        assert gains["same"][name] == {"mean": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
