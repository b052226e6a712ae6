"""Calibration errors and risks against their definitions, in plain Python."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.scoring.labels import label_scores
from hierbert.scoring.reliability import calibration_error, risk_area, risk_coverage


def test_a_calibration_error_by_hand() -> None:
    # Of one label: 0.9 and 0.9 of which one is right, 0.6 that is right, 0.5 that is wrong.
    shares = [[0.9, 0.1], [0.1, 0.9], [0.4, 0.6], [0.5, 0.5]]
    expected = (abs(0.9 + 0.9 - 1) + abs(0.6 - 1) + abs(0.5 - 0)) / 4
    assert calibration_error(shares, [0, 0, 1, 1]) == pytest.approx(expected)
    # Of several: 0.9 twice of which one applies, 0.1 that does, 0.0 and 1.0 that are right.
    shares = [[0.9, 0.1, 1.0], [0.9, 0.0, 1.0]]
    expected = (abs(1.8 - 1) + abs(0.1 - 1)) / 6
    assert calibration_error(shares, [[1, 1, 1], [0, 0, 1]]) == pytest.approx(expected)
    # The third of 15 bins ends with 0.2.
    expected = (abs(0.19 + 0.2 - 1) + abs(0.21 - 0)) / 3
    assert calibration_error([[0.19, 0.2, 0.21]], [[0, 1, 0]]) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 40), st.booleans())
def test_calibration_errors_are_those_of_the_definition(seed, count, several) -> None:
    chance = np.random.default_rng(seed)
    shares = chance.dirichlet([0.3] * 4, count)
    true = (
        (chance.random((count, 4)) < 0.3).astype(int) if several else chance.integers(0, 4, count)
    )
    pairs = list(zip(shares.ravel(), true.ravel(), strict=True)) if several else []
    if not several:
        pairs = [
            (max(row), row.tolist().index(max(row)) == t)
            for row, t in zip(shares, true, strict=True)
        ]
    error = 0.0
    for low in range(15):
        own = [(s, t) for s, t in pairs if low < s * 15 <= low + 1 or (low == 0 and s == 0)]
        if own:
            said, is_so = (sum(column) / len(own) for column in zip(*own, strict=True))
            error += len(own) / len(pairs) * abs(said - is_so)
    assert calibration_error(shares, true) == pytest.approx(error)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.6, 0.75, 0.9]), st.booleans()), min_size=1, max_size=6)
)
def test_risks_are_the_mean_over_all_orders_of_what_is_equally_sure(answers) -> None:
    shares = [[sure, 1 - sure] for sure, _ in answers]
    true = [int(wrong) for _, wrong in answers]
    orders = []
    for order in itertools.permutations(answers):
        sures = [sure for sure, _ in order]
        if sures == sorted(sures, reverse=True):
            wrong = list(itertools.accumulate(int(wrong) for _, wrong in order))
            orders.append([count / (n + 1) for n, count in enumerate(wrong)])
    expected = [sum(column) / len(orders) for column in zip(*orders, strict=True)]
    curve = risk_coverage(shares, true, abstain_below=0.7)
    assert [point["risk"] for point in curve["points"]] == pytest.approx(expected)
    assert curve["area"] == risk_area(shares, true) == pytest.approx(sum(expected) / len(expected))
    kept = [wrong for sure, wrong in answers if sure >= 0.7]
    assert curve["answered"] == pytest.approx(
        {
            "coverage": len(kept) / len(answers),
            "confidence": 0.7,
            "risk": sum(kept) / len(kept) if kept else 0.0,
        }
    )


def test_a_curve_has_twenty_points_to_the_last_document() -> None:
    count = 1001
    shares = np.linspace(0.5, 0.99, count)
    curve = risk_coverage(np.stack([shares, 1 - shares], axis=1), np.arange(count) < 500, None)
    assert "answered" not in curve and len(curve["points"]) == 20
    for part, point in enumerate(curve["points"], start=1):
        number = math.ceil(count * part / 20)
        assert point["coverage"] == number / count
        assert point["confidence"] == pytest.approx(shares[-number])
    assert [curve["points"][place]["risk"] for place in (0, 8, 19)] == [0, 0, 500 / 1001]


def test_what_reads_probabilities_is_left_out_without_them() -> None:
    assert not {"ece", "aurc"} & label_scores("single_label", [0, 1], [0, 0]).keys()
    scores = label_scores("single_label", [0, 1], [0, 0], probabilities=[[0.8, 0.2], [0.3, 0.7]])
    assert scores["ece"] == pytest.approx((0.2 + 0.7) / 2) and scores["aurc"] == 0.25
