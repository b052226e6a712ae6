"""Scores of labels: one label per document, several, a number; of trees see `hierarchical`.

The figures are those of scikit-learn and SciPy. A mean over labels (macro, weighted) takes those
that occur in the references or in the predictions, as scikit-learn does by default for single
labels: others would pull the mean towards 0.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.scoring.metric import Metric, add_metrics, metrics_of
from hierbert.scoring.reliability import calibration_error, log_loss, risk_area

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
# A table of more pairs would be most of results.json, and say nothing to a reader.
_MOST_CONFUSED = 1000


def label_scores(
    problem_type: str,
    predictions: npt.ArrayLike,
    references: npt.ArrayLike,
    threshold: float | Sequence[float] = 0.5,
    probabilities: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Every metric of a problem type over D documents, by its name, in the order of tables.

    Args:
        problem_type: ``single_label``, ``multi_label``, ``regression`` or ``tree``.
        predictions: Label numbers from 0 on, integers (D); or the probability of each label,
            float (D, C); or numbers (D); or, of a tree, 0 and 1 for each node (D, C).
        references: Label numbers (D); or 0 and 1 for each label or node (D, C); or numbers (D).
        threshold: Of several labels, the probability from which a label is predicted: one, or one
            for each label.
        probabilities: Of one label, the probability of each, float (D, C); None leaves out what
            reads them.

    A mean with nothing to average is 0.0. A ValueError where there are no documents, shapes differ,
    or a value is not finite.
    """
    predicted, true = np.asarray(predictions), np.asarray(references)
    if predicted.shape != true.shape:
        raise ValueError(f"predictions are {predicted.shape}, but references {true.shape}")
    if not true.size:
        raise ValueError("there are no documents to score")
    bad = np.argwhere(~np.isfinite(predicted))
    if len(bad):
        raise ValueError(f"document {bad[0][0]} has {predicted[tuple(bad[0])]}: not finite")
    given = {"predictions": predicted}
    if probabilities is not None:
        given["probabilities"] = np.asarray(probabilities)
    if problem_type == "multi_label":
        reached = (predicted >= np.asarray(threshold)).astype(int)
        given = {"probabilities": predicted, "predictions": reached}
    metrics = [metric for metric in metrics_of(problem_type) if metric.reads in given]
    return {metric.name: float(metric.score(given[metric.reads], true)) for metric in metrics}


def label_details(
    predictions: _Ints, references: _Ints, label_names: Sequence[str]
) -> dict[str, list[Any]]:
    """What lies behind the scores of labels: label numbers (D), or 0 and 1 for each label (D, C).

    "labels" has a row for each, in order: ``label``, ``precision``, ``recall``, ``f1`` (0.0 where
    there is nothing to divide by), ``support`` (documents that truly have it) and ``predicted``
    (those that are given it). Of one label per document "confusion" has the documents of each pair
    of true (row) and predicted (column) label, of up to 1,000 labels.
    """
    from sklearn import metrics

    count = len(label_names)
    columns = metrics.precision_recall_fscore_support(
        _widened(references), _widened(predictions), labels=range(count), zero_division=0
    )
    given = predictions.sum(0) if predictions.ndim == 2 else np.bincount(predictions, None, count)
    names = ("label", "precision", "recall", "f1", "support", "predicted")
    values = zip(label_names, *(column.tolist() for column in (*columns, given)), strict=True)
    details = {"labels": [dict(zip(names, row, strict=True)) for row in values]}
    if predictions.ndim == 1 and count <= _MOST_CONFUSED:
        table = metrics.confusion_matrix(references, predictions, labels=range(count))
        details["confusion"] = table.tolist()
    return details


def _accuracy(predicted: _Ints, true: _Ints) -> float:
    return float((predicted == true).reshape(len(true), -1).all(1).mean())


def _f1(average: str) -> Callable[[_Ints, _Ints], float]:
    def score(predicted: _Ints, true: _Ints) -> float:
        from sklearn import metrics

        # A document without labels that is given none is right.
        settings: dict[str, Any] = {"average": average, "zero_division": int(average == "samples")}
        if average != "samples" and true.ndim == 2:
            settings["labels"] = np.flatnonzero((predicted | true).any(0))
            if not len(settings["labels"]):
                return 0.0
        return metrics.f1_score(_widened(true), _widened(predicted), **settings)

    return score


def _mean_precision(probabilities: _Floats, true: _Ints) -> float:
    from sklearn import metrics

    each = [
        metrics.average_precision_score(true[:, label], probabilities[:, label])
        for label in np.flatnonzero(true.any(0))
    ]
    return float(np.mean(each)) if each else 0.0


def _r2(predicted: _Floats, true: _Floats) -> float:
    # By hand only where all are equal: deviations from a rounded mean need not be 0.
    if true.min() == true.max():
        return float((predicted == true).all())
    from sklearn import metrics

    return metrics.r2_score(true, predicted)


def _pearson(predicted: _Floats, true: _Floats) -> float:
    if predicted.min() == predicted.max() or true.min() == true.max():
        return 0.0
    return np.corrcoef(predicted, true)[0, 1]


def _spearman(predicted: _Floats, true: _Floats) -> float:
    from scipy import stats

    return _pearson(stats.rankdata(predicted), stats.rankdata(true))


def _accuracies(weights: _Floats, predicted: _Floats, true: _Floats) -> _Floats:
    return weights @ (predicted * true).sum(1) / len(true)


def macro_f1s(weights: _Floats, predicted: Any, true: Any) -> _Floats:
    """Of samples: see `Metric.resampled`; tables are dense or scipy.sparse arrays."""
    hits, sizes = weights @ (predicted * true), weights @ predicted + weights @ true
    # A label that a sample neither holds nor is given says nothing.
    return (2 * hits / np.maximum(sizes, 1)).sum(1) / np.maximum((sizes > 0).sum(1), 1)


def micro_f1s(weights: _Floats, predicted: Any, true: Any) -> _Floats:
    """Of samples: see `Metric.resampled`; tables are dense or scipy.sparse arrays."""
    hits, sizes = weights @ (predicted * true), weights @ predicted + weights @ true
    return 2 * hits.sum(1) / np.maximum(sizes.sum(1), 1)


_ONE, _SEVERAL, _NUMBER = ("single_label",), ("multi_label",), ("regression",)
_BOTH = _ONE + _SEVERAL

_headline = partial(Metric, headline=True)
_unsure = partial(Metric, better="lower", reads="probabilities", percent=False)


def _error(name: str, title: str, size: Callable[[Any], Any]) -> Metric:
    return Metric(
        name,
        title,
        _NUMBER,
        lambda predicted, true: size(predicted - true).mean(),
        name,
        better="lower",
        resampled=lambda weights, predicted, true: (
            weights @ size(predicted - true)[:, 0] / len(true)
        ),
        headline=True,
        percent=False,
    )


add_metrics(
    _headline("accuracy", "Accuracy", _ONE, _accuracy, "accuracy", resampled=_accuracies),
    _headline("macro_f1", "Macro-F1", _BOTH, _f1("macro"), "f1", resampled=macro_f1s),
    _headline(
        "micro_f1", "Micro-F1", _BOTH, _f1("micro"), "f1", resampled=micro_f1s, repeats="accuracy"
    ),
    Metric("weighted_f1", "Weighted F1", _BOTH, _f1("weighted"), "f1"),
    Metric("samples_f1", "Samples F1", _SEVERAL, _f1("samples")),
    Metric("subset_accuracy", "Subset accuracy", _SEVERAL, _accuracy),
    _headline(
        "map", "Mean average precision", _SEVERAL, _mean_precision, "map", reads="probabilities"
    ),
    _unsure("log_loss", "Log loss", _BOTH, log_loss),
    _unsure("ece", "Expected calibration error", _BOTH, calibration_error),
    _unsure("aurc", "Area under risk and coverage", _ONE, risk_area),
    _error("mse", "Mean squared error", np.square),
    _error("mae", "Mean absolute error", np.abs),
    _headline("r2", "R²", _NUMBER, _r2, "r_squared", percent=False),
    Metric("pearson", "Pearson correlation", _NUMBER, _pearson, "pearsonr", percent=False),
    Metric("spearman", "Spearman correlation", _NUMBER, _spearman, "spearmanr", percent=False),
)


def _widened(labels: _Ints) -> _Ints:
    """With a column of 0 more, as scikit-learn takes a table of one column for label numbers."""
    return np.pad(labels, ((0, 0), (0, 1))) if labels.ndim == 2 else labels
