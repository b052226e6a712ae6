"""Scores of labels against their definitions, counted in plain Python.

The code asks scikit-learn, so that scikit-learn is no independent answer here.
"""

import math
import statistics
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hierbert.scoring import METRICS, add_metrics, shown_metrics
from hierbert.scoring.intervals import label_intervals
from hierbert.scoring.labels import label_details, label_scores
from hierbert.scoring.reliability import calibration_error

fast = settings(deadline=None, max_examples=60)


def f1(hits: int, claimed: int, support: int, empty: float = 0.0) -> float:
    return 2 * hits / (claimed + support) if claimed + support else empty


def label_figures(said: list[set[int]], true: list[set[int]]) -> dict[str, float]:
    """The F1 scores of sets of labels by their definitions."""
    hits = Counter(label for s, t in zip(said, true, strict=True) for label in s & t)
    claimed = Counter(label for s in said for label in s)
    support = Counter(label for t in true for label in t)
    each = {c: f1(hits[c], claimed[c], support[c]) for c in claimed | support}
    total = support.total()
    return {
        "macro_f1": sum(each.values()) / len(each) if each else 0.0,
        "micro_f1": f1(hits.total(), claimed.total(), total),
        "weighted_f1": sum(each[c] * support[c] for c in support) / total if total else 0.0,
    }


def average_precision(scores: list[float], true: list[int]) -> float:
    """The precision down to each true document, those of equal score counted together."""
    precisions = []
    for own, label in zip(scores, true, strict=True):
        if label:
            reached = [t for s, t in zip(scores, true, strict=True) if s >= own]
            precisions.append(sum(reached) / len(reached))
    return sum(precisions) / len(precisions)


pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@fast
@given(pairs)
def test_scores_of_single_labels_are_those_of_the_definitions(pairs):
    said, true = (list(side) for side in zip(*pairs, strict=True))
    expected = label_figures([{label} for label in said], [{label} for label in true])
    expected["accuracy"] = sum(s == t for s, t in pairs) / len(pairs)
    scores = label_scores("single_label", said, true)
    assert scores == pytest.approx(expected)
    assert list(scores) == ["accuracy", "macro_f1", "micro_f1", "weighted_f1"]
    assert all(type(score) is float for score in scores.values())


@fast
@given(pairs)
def test_label_table_and_confusions_count_documents(pairs):
    said, true = (list(side) for side in zip(*pairs, strict=True))
    counts = Counter(pairs)
    matrix = [[counts[column, row] for column in range(5)] for row in range(5)]
    expected = [
        {
            "label": name,
            "precision": pytest.approx(matrix[c][c] / max(said.count(c), 1)),
            "recall": pytest.approx(matrix[c][c] / max(true.count(c), 1)),
            "f1": pytest.approx(f1(matrix[c][c], said.count(c), true.count(c))),
            "support": true.count(c),
            "predicted": said.count(c),
        }
        for c, name in enumerate("abcde")
    ]
    for numbers, more in ((np.arange(5), {"confusion": matrix}), (np.eye(5, dtype=int), {})):
        details = label_details(numbers[said], numbers[true], list("abcde"))
        assert details == {"labels": expected, **more}


@st.composite
def label_tables(draw):
    documents, labels = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    size, shape = documents * labels, (documents, labels)
    levels = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    scores = draw(st.lists(levels, min_size=size, max_size=size))
    truth = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    return np.reshape(scores, shape), np.reshape(truth, shape), draw(levels)


@fast
@example((np.zeros((2, 3)), np.zeros((2, 3), int), 0.5))
@given(label_tables())
def test_scores_of_several_labels_are_those_of_the_definitions(tables):
    scores, truth, threshold = tables
    said = [set(np.flatnonzero(row).tolist()) for row in scores >= threshold]
    true = [set(np.flatnonzero(row).tolist()) for row in truth]
    documents = list(zip(said, true, strict=True))
    precisions = [
        average_precision(scores[:, c].tolist(), truth[:, c].tolist())
        for c in range(truth.shape[1])
        if truth[:, c].any()
    ]
    expected = label_figures(said, true) | {
        "samples_f1": np.mean([f1(len(s & t), len(s), len(t), empty=1.0) for s, t in documents]),
        "subset_accuracy": np.mean([s == t for s, t in documents]),
        "map": np.mean(precisions) if precisions else 0.0,
        "log_loss": np.mean(
            [
                -math.log(max(p if t else 1 - p, 1e-12))
                for p, t in zip(scores.flat, truth.flat, strict=True)
            ]
        ),
        "ece": calibration_error(scores, truth),
    }
    found = label_scores("multi_label", scores, truth, threshold)
    assert found == pytest.approx(expected)
    assert list(found)[-5:] == ["samples_f1", "subset_accuracy", "map", "log_loss", "ece"]


numbers = st.sampled_from([-2.0, -0.5, 0.0, 0.1, 1.0, 3.5])


def ranks(values: list[float]) -> list[float]:
    """From 1, equal values sharing the mean of theirs."""
    return [sum(v < own for v in values) + (values.count(own) + 1) / 2 for own in values]


@fast
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_scores_of_numbers_are_those_of_the_definitions(pairs):
    said, true = (list(side) for side in zip(*pairs, strict=True))
    # In exact fractions: a spread of 0 is known as one.
    errors = [Fraction(s) - Fraction(t) for s, t in pairs]
    squares = sum(error**2 for error in errors)
    spread = statistics.pvariance(map(Fraction, true)) * len(true)
    vary = len(set(said)) > 1 and len(set(true)) > 1
    expected = {
        "mse": squares / len(pairs),
        "mae": sum(map(abs, errors)) / len(pairs),
        "r2": 1 - squares / spread if spread else not squares,
        "pearson": statistics.correlation(said, true) if vary else 0,
        "spearman": statistics.correlation(ranks(said), ranks(true)) if vary else 0,
    }
    found = label_scores("regression", said, true)
    assert found == {name: pytest.approx(float(v), abs=1e-9) for name, v in expected.items()}
    assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (("single_label", [0], [0, 1]), r"\(1,\).*\(2,\)"),
        (("regression", [], []), "no documents"),
        (("multi_label", [[0.1], [np.nan]], [[1], [0]]), "document 1 has nan"),
    ],
)
def test_what_does_not_fit_is_refused(given, parts) -> None:
    with pytest.raises(ValueError, match=parts):
        label_scores(*given)


def test_a_metric_is_one_entry_and_shown_where_it_repeats_no_other(monkeypatch):
    errors = replace(METRICS["accuracy"], name="errors", better="lower", resampled=None)
    errors = replace(errors, score=lambda said, true: (said != true).sum())
    monkeypatch.setitem(METRICS, "errors", errors)
    assert label_scores("single_label", [0, 1, 1], [0, 0, 0])["errors"] == 2.0
    assert "errors" not in label_scores("regression", [1.0], [1.0])
    assert "errors" not in label_intervals("single_label", [0, 1], [0, 0], seed=0)
    with pytest.raises(ValueError, match="errors"):
        add_metrics(errors)
    names = ["micro_f1", "accuracy", "loss"]
    assert [metric.name for metric in shown_metrics(names)] == ["accuracy"]
    assert [metric.name for metric in shown_metrics(names[::2])] == ["micro_f1"]
