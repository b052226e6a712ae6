"""Scores of labels: one label per document, several, or a number.

Each kind has a function over numpy arrays and an `evaluate.Metric` around it. They do not turn
scores into labels, except that several labels are cut at thresholds.

Invariant: the figures are those of scikit-learn with the settings named in the docstrings. A
mean over labels (macro, weighted) takes the labels that occur in the references or in the
predictions, as scikit-learn does by default for single labels; labels that occur in neither say
nothing about the model and would pull the mean towards 0.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt

from hierbert.evaluation.metric import InMemoryMetric

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def confusion_matrix(
    predictions: npt.ArrayLike, references: npt.ArrayLike, label_count: int
) -> _Ints:
    """Count the documents of each pair of true and predicted label.

    Args:
        predictions: Predicted label numbers (D), 0 to `label_count` - 1.
        references: True label numbers (D).
        label_count: Number of labels.

    Returns:
        Counts, int64 (C, C): rows are true labels, columns predicted ones.

    Raises:
        ValueError: If there are no documents, lengths differ or a number is not a label's.
    """
    predicted, true = _label_numbers(predictions, references)
    for name, values in (("prediction", predicted), ("reference", true)):
        outside = values[(values < 0) | (values >= label_count)]
        if outside.size:
            raise ValueError(f"{name} {outside[0]} is not a label: 0 to {label_count - 1}")
    pairs = np.bincount(true * label_count + predicted, minlength=label_count**2)
    return pairs.reshape(label_count, label_count)


def single_label_scores(predictions: npt.ArrayLike, references: npt.ArrayLike) -> dict[str, float]:
    """Score one predicted label per document.

    Args:
        predictions: Predicted label numbers (D).
        references: True label numbers (D).

    Returns:
        ``accuracy``, ``macro_f1``, ``micro_f1`` (equal to accuracy when each document has one
        label) and ``weighted_f1``, over the labels that occur in references or predictions.

    Raises:
        ValueError: If there are no documents, lengths differ or a number is below 0.
    """
    predicted, true = _label_numbers(predictions, references)
    present, numbers = np.unique(np.concatenate([predicted, true]), return_inverse=True)
    if present[0] < 0:
        raise ValueError(f"label number {present[0]} is not allowed: at least 0")
    predicted, true = numbers[: len(predicted)], numbers[len(predicted) :]
    hits = np.bincount(true[true == predicted], minlength=len(present))
    support = np.bincount(true, minlength=len(present))
    f1 = _f1(hits, np.bincount(predicted, minlength=len(present)), support)
    accuracy = float(hits.sum() / len(true))
    return {
        "accuracy": accuracy,
        "macro_f1": float(f1.mean()),
        "micro_f1": accuracy,
        "weighted_f1": float(np.average(f1, weights=support)),
    }


def per_label_table(
    predictions: npt.ArrayLike, references: npt.ArrayLike, label_names: Sequence[str]
) -> list[dict[str, str | int | float]]:
    """Precision, recall and F1 of each label, for one or for several labels per document.

    Args:
        predictions: Predicted label numbers (D), or 0 and 1 for each label (D, C).
        references: True labels in the same form.
        label_names: The name of each label (C).

    Returns:
        One row per label, in order: ``label``, ``precision``, ``recall``, ``f1`` (0.0 where
        there is nothing to divide by), ``support`` (documents that truly have the label) and
        ``predicted`` (documents said to have it).

    Raises:
        ValueError: As `confusion_matrix`, or if the number of columns is not that of the names.
    """
    if np.ndim(references) == 2:
        predicted, true = _label_table(predictions), _label_table(references)
        if predicted.shape != true.shape or true.shape[1] != len(label_names):
            raise ValueError(
                f"predictions {predicted.shape} and references {true.shape} "
                f"do not go with {len(label_names)} labels"
            )
        hits, claimed, support = (predicted & true).sum(0), predicted.sum(0), true.sum(0)
    else:
        matrix = confusion_matrix(predictions, references, len(label_names))
        hits, claimed, support = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
    precision = hits / np.maximum(claimed, 1)
    recall = hits / np.maximum(support, 1)
    f1 = _f1(hits, claimed, support)
    return [
        {
            "label": name,
            "precision": float(precision[row]),
            "recall": float(recall[row]),
            "f1": float(f1[row]),
            "support": int(support[row]),
            "predicted": int(claimed[row]),
        }
        for row, name in enumerate(label_names)
    ]


def multi_label_scores(
    probabilities: npt.ArrayLike,
    references: npt.ArrayLike,
    thresholds: float | Sequence[float] = 0.5,
) -> dict[str, float]:
    """Score several labels per document.

    A label is predicted where its probability is at least its threshold.

    Args:
        probabilities: Probability or score of each label, float (D, C).
        references: 0 and 1 for each label (D, C).
        thresholds: One for all labels, or one per label (C).

    Returns:
        ``macro_f1`` and ``weighted_f1`` over the labels that occur in references or
        predictions; ``micro_f1``; ``samples_f1``, the mean over documents, 1 for a document that
        has no label and is given none; ``subset_accuracy``, the share of documents with all labels
        right; and ``map``, the mean over labels that occur in the references of average precision.
        A figure without anything to average is 0.0.

    Raises:
        ValueError: If there are no documents, shapes differ, a reference is neither 0 nor 1, or
            a probability is not a number.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    true = _label_table(references)
    if scores.shape != true.shape:
        raise ValueError(f"probabilities are {scores.shape}, but references {true.shape}")
    _refuse_not_finite("probability", scores)
    cut = np.asarray(thresholds, dtype=np.float64)
    if cut.shape not in ((), (true.shape[1],)):
        raise ValueError(f"{cut.size} thresholds for {true.shape[1]} labels: one, or one each")
    predicted = scores >= cut

    matched = predicted & true
    hits, claimed, support = matched.sum(0), predicted.sum(0), true.sum(0)
    f1 = _f1(hits, claimed, support)
    present = (claimed + support) > 0
    both_empty = ~(predicted | true).any(1)
    per_document = np.where(both_empty, 1.0, _f1(matched.sum(1), predicted.sum(1), true.sum(1)))
    precisions = [_average_precision(scores[:, c], true[:, c]) for c in np.flatnonzero(support)]
    return {
        "macro_f1": float(f1[present].mean()) if present.any() else 0.0,
        "micro_f1": float(_f1(hits.sum(), claimed.sum(), support.sum())),
        "weighted_f1": float(np.average(f1, weights=support)) if support.any() else 0.0,
        "samples_f1": float(per_document.mean()),
        "subset_accuracy": float((predicted == true).all(1).mean()),
        "map": float(np.mean(precisions)) if precisions else 0.0,
    }


def regression_scores(predictions: npt.ArrayLike, references: npt.ArrayLike) -> dict[str, float]:
    """Score one predicted number per document.

    Args:
        predictions: Predicted numbers (D).
        references: True numbers (D).

    Returns:
        ``mse``, ``mae``, ``r2`` (as scikit-learn: when all references are equal, 1 if all
        predictions are right, else 0), ``pearson`` and ``spearman`` (0.0 where one side is
        constant).

    Raises:
        ValueError: If there are no documents, lengths differ or a number is not finite.
    """
    predicted = np.asarray(predictions, dtype=np.float64).reshape(-1)
    true = np.asarray(references, dtype=np.float64).reshape(-1)
    _check_lengths(len(predicted), len(true))
    _refuse_not_finite("prediction", predicted)
    _refuse_not_finite("reference", true)
    error = predicted - true
    unexplained = float((error**2).sum())
    # Equal values are told by comparison: their deviations from a rounded mean need not be 0.
    if true.min() == true.max():
        r2 = 1.0 if unexplained == 0 else 0.0
    else:
        r2 = 1.0 - unexplained / float(((true - true.mean()) ** 2).sum())
    return {
        "mse": unexplained / len(true),
        "mae": float(np.abs(error).mean()),
        "r2": r2,
        "pearson": _correlation(predicted, true),
        "spearman": _correlation(_ranks(predicted), _ranks(true)),
    }


class SingleLabel(InMemoryMetric):
    """`single_label_scores` as an `evaluate.Metric` over label numbers."""

    def _info(self) -> evaluate.MetricInfo:
        return _info(single_label_scores, datasets.Value("int64"), datasets.Value("int64"))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return single_label_scores(predictions, references)


class MultiLabel(InMemoryMetric):
    """`multi_label_scores` as an `evaluate.Metric`.

    Predictions are lists of probabilities, references lists of 0 and 1; ``compute`` takes
    ``thresholds`` as well.
    """

    def _info(self) -> evaluate.MetricInfo:
        return _info(
            multi_label_scores,
            datasets.Sequence(datasets.Value("float64")),
            datasets.Sequence(datasets.Value("int64")),
        )

    def _compute(
        self, predictions: Any, references: Any, thresholds: float | Sequence[float] = 0.5
    ) -> dict[str, float]:
        return multi_label_scores(predictions, references, thresholds)


class Regression(InMemoryMetric):
    """`regression_scores` as an `evaluate.Metric` over numbers."""

    def _info(self) -> evaluate.MetricInfo:
        return _info(regression_scores, datasets.Value("float64"), datasets.Value("float64"))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return regression_scores(predictions, references)


def _info(scores: Any, prediction: Any, reference: Any) -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=scores.__doc__ or "",
        citation="",
        inputs_description=f"As `{scores.__name__}` of hierbert.",
        features=datasets.Features({"predictions": prediction, "references": reference}),
    )


def _check_lengths(prediction_count: int, reference_count: int) -> None:
    if prediction_count != reference_count:
        raise ValueError(f"{prediction_count} predictions, but {reference_count} references")
    if reference_count == 0:
        raise ValueError("there are no documents to score")


def _label_numbers(predictions: npt.ArrayLike, references: npt.ArrayLike) -> tuple[_Ints, _Ints]:
    predicted, true = np.asarray(predictions), np.asarray(references)
    _check_lengths(len(predicted), len(true))
    for name, values in (("predictions", predicted), ("references", true)):
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise ValueError(
                f"{name} are {values.dtype} {values.shape}: whole label numbers (D) are allowed"
            )
    return predicted.astype(np.int64), true.astype(np.int64)


def _label_table(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    table = np.asarray(values)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"labels are of shape {table.shape}: documents times labels, none 0")
    if not np.isin(table, (0, 1)).all():
        raise ValueError(f"label {table[~np.isin(table, (0, 1))][0]} is not allowed: 0 or 1")
    return table.astype(bool)


def _refuse_not_finite(name: str, values: _Floats) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise ValueError(f"{name} of document {bad[0][0]} is {values[tuple(bad[0])]}: not finite")


def _f1(hits: Any, claimed: Any, support: Any) -> Any:
    """F1 from counts, 0 where nothing is claimed and nothing is true."""
    return 2 * hits / np.maximum(claimed + support, 1)


def _average_precision(scores: _Floats, true: npt.NDArray[np.bool_]) -> float:
    """Sum over score levels of the recall they add times the precision there (no interpolation)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(true[order])
    last_of_level = np.append(np.diff(scores[order]) != 0, True)
    hits, seen = hits[last_of_level], np.arange(1, len(scores) + 1)[last_of_level]
    return float((np.diff(hits, prepend=0) * (hits / seen)).sum() / true.sum())


def _ranks(values: _Floats) -> _Floats:
    """Ranks from 1; equal values share their mean rank."""
    _, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[numbers]


def _correlation(first: _Floats, second: _Floats) -> float:
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
