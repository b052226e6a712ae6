"""Scores of labels against their definitions, counted in plain Python.

The code asks scikit-learn, so that scikit-learn is no independent answer here.
"""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.scoring import METRICS, add_metrics, shown_metrics
from hierbert.scoring.evaluate_metric import LabelMetric
from hierbert.scoring.intervals import label_intervals
from hierbert.scoring.labels import confusion_matrix, label_scores, per_label_table

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
    assert LabelMetric("single_label").compute(predictions=said, references=true) == scores


@fast
@given(pairs)
def test_label_table_and_confusions_count_documents(pairs):
    said, true = (list(side) for side in zip(*pairs, strict=True))
    counts = Counter(pairs)
    matrix = [[counts[column, row] for column in range(5)] for row in range(5)]
    assert confusion_matrix(np.array(said), np.array(true), 5).tolist() == matrix
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
    for numbers in (np.arange(5), np.eye(5, dtype=int)):
        assert per_label_table(numbers[said], numbers[true], list("abcde")) == expected


@st.composite
def label_tables(draw):
    documents, labels = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    size, shape = documents * labels, (documents, labels)
    levels = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    scores = draw(st.lists(levels, min_size=size, max_size=size))
    truth = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    thresholds = draw(
        st.one_of(st.sampled_from([0.5, 0.3]), st.lists(levels, min_size=labels, max_size=labels))
    )
    return np.reshape(scores, shape), np.reshape(truth, shape), thresholds


@fast
@given(label_tables())
def test_scores_of_several_labels_are_those_of_the_definitions(tables):
    scores, truth, thresholds = tables
    said = [set(np.flatnonzero(row).tolist()) for row in scores >= np.asarray(thresholds)]
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
    }
    found = label_scores("multi_label", scores, truth, thresholds)
    assert found == pytest.approx(expected)
    assert list(found)[-3:] == ["samples_f1", "subset_accuracy", "map"]
    rows = {"predictions": scores.tolist(), "references": truth.tolist()}
    assert LabelMetric("multi_label").compute(**rows, thresholds=thresholds) == found


numbers = st.sampled_from([-2.0, -0.5, 0.0, 0.1, 1.0, 3.5])


def centred(values: list) -> list[Fraction]:
    mean = sum(map(Fraction, values)) / len(values)
    return [Fraction(value) - mean for value in values]


def correlation(first: list, second: list) -> float:
    """Pearson's, by exact fractions up to the root."""
    x, y = centred(first), centred(second)
    spread = float(sum(v * v for v in x) * sum(v * v for v in y))
    return float(sum(a * b for a, b in zip(x, y, strict=True))) / spread**0.5 if spread else 0.0


def ranks(values: list) -> list[Fraction]:
    return [Fraction(2 * sum(v < own for v in values) + values.count(own) + 1, 2) for own in values]


@fast
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_scores_of_numbers_are_those_of_the_definitions(pairs):
    said, true = (list(side) for side in zip(*pairs, strict=True))
    errors = [Fraction(s) - Fraction(t) for s, t in pairs]
    spread = sum(deviation**2 for deviation in centred(true))
    squares = sum(error**2 for error in errors)
    expected = {
        "mse": float(squares / len(pairs)),
        "mae": float(sum(map(abs, errors)) / len(pairs)),
        "r2": float(1 - squares / spread) if spread else float(not squares),
        "pearson": correlation(said, true),
        "spearman": correlation(ranks(said), ranks(true)),
    }
    found = label_scores("regression", said, true)
    assert found == pytest.approx(expected, abs=1e-9) and list(found) == list(expected)
    assert LabelMetric("regression").compute(predictions=said, references=true) == found


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (("single_label", [0], [0, 1]), r"\(1,\).*\(2,\)"),
        (("regression", [], []), "no documents"),
        (("single_label", [0.5], [1]), r"0\.5.*0, 1, 2"),
        (("single_label", [0], [-100]), "-100.*0, 1, 2"),
        (("multi_label", [[0.1], [np.nan]], [[1], [0]]), "document 1 has nan"),
        (("multi_label", [[0.1]], [[2]]), r"2.*0 and 1"),
        (("multi_label", [[0.1]], [[1]], [0.1, 0.2]), "2 thresholds for 1"),
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


def test_a_metric_of_evaluate_takes_rows_in_parts_and_makes_no_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "metrics"))
    metric = LabelMetric("single_label", cache_dir=str(tmp_path / "given"))
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add(prediction=1, reference=1)
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
    assert metric.compute(predictions=[1], references=[1])["accuracy"] == 1.0
    assert list(tmp_path.iterdir()) == []
