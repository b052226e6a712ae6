"""Answers to figures: the metrics of both tasks and the one that chooses checkpoints."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from hierbert.data.document import Example
from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.errors import ConfigError
from hierbert.evaluation.answers import Answer
from hierbert.scoring import METRICS, confusion_matrix, metrics_of, per_label_table
from hierbert.scoring.calibration import Calibration
from hierbert.scoring.calibration import fit_temperature as fit_temperature_to
from hierbert.scoring.evaluate_metric import LabelMetric
from hierbert.scoring.intervals import label_intervals as intervals_of


def score_answers(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    label_map: LabelMap | None,
    threshold: float = 0.5,
    loss_weights: tuple[float, float] = (1.0, 1.0),
) -> dict[str, float]:
    """Score the answers for a corpus.

    Args:
        answers: One for each document, in order.
        documents: The corpus; those without a label or summary are left out of its scores.
        label_map: Of the classification head; None without one.
        threshold: Probability from which a label of several applies.
        loss_weights: Of the classification and the summarization loss.

    Returns:
        Each metric by its name, 0 to 1 (losses and errors: 0 and above). A task whose labels
        no document has is absent; figures of answers that are not finite are nan. Both losses are
        there beside their weighted sum.
    """
    scores: dict[str, float] = {}
    losses = [0.0, 0.0]
    if label_map is not None:
        labelled = [i for i, document in enumerate(documents) if document.label is not None]
        if labelled:
            scores.update(_classification(answers, documents, labelled, label_map, threshold))
            losses[0] = float(np.mean([answers[i].classification_loss for i in labelled]))
            scores["classification_loss"] = losses[0]
    summarized = [answer for answer in answers if answer.rouge is not None]
    if summarized:
        for metric in metrics_of("summary"):
            name = metric.name
            scores[name] = float(np.mean([a.rouge[name] for a in summarized if a.rouge]))
        counted = [a.summarization_loss for a in summarized if a.summarization_loss is not None]
        if counted:
            losses[1] = float(np.mean(counted))
            scores["summarization_loss"] = losses[1]
    scores["loss"] = loss_weights[0] * losses[0] + loss_weights[1] * losses[1]
    return scores


def _classification(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    labelled: list[int],
    label_map: LabelMap,
    threshold: float,
) -> dict[str, float]:
    logits = _logits(answers, labelled)
    labels = [documents[i].label for i in labelled]
    if not np.isfinite(logits).all():
        names = [metric.name for metric in metrics_of(label_map.problem_type)]
        return dict.fromkeys(names, math.nan)
    metric = LabelMetric(label_map.problem_type)
    if label_map.problem_type == "single_label":
        return metric.compute(predictions=logits.argmax(1), references=labels)
    if label_map.problem_type == "regression":
        return metric.compute(predictions=logits[:, 0], references=labels)
    return metric.compute(
        predictions=_sigmoid(logits),
        references=indicators(labels, len(label_map.names)),
        thresholds=threshold,
    )


def label_report(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    label_map: LabelMap,
    threshold: float = 0.5,
) -> dict[str, object]:
    """Per-label figures and, for one label a document, the confusion matrix.

    Args:
        answers: One for each document, in order.
        documents: The corpus.
        label_map: Names of the labels; not of a regression.
        threshold: Probability from which a label of several applies.

    Returns:
        "labels": rows as `per_label_table` gives them; "confusion": counts, rows are true
        labels and columns predicted ones.
    """
    labelled = [i for i, document in enumerate(documents) if document.label is not None]
    logits = _logits(answers, labelled)
    labels = [documents[i].label for i in labelled]
    if label_map.problem_type == "multi_label":
        predicted = (_sigmoid(logits) >= threshold).astype(int)
        references = indicators(labels, len(label_map.names))
        return {"labels": per_label_table(predicted, references, label_map.names)}
    predictions = logits.argmax(1)
    return {
        "labels": per_label_table(predictions, labels, label_map.names),
        "confusion": confusion_matrix(predictions, labels, len(label_map.names)).tolist(),
    }


def label_intervals(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    label_map: LabelMap,
    seed: int,
    threshold: float = 0.5,
) -> dict[str, dict[str, float]]:
    """95 % intervals of the scores of labels, as `hierbert.scoring.intervals.label_intervals`.

    Args:
        answers: One for each document, in order.
        documents: Unlabelled ones are passed over.
        label_map: Of the classification head.
        seed: Of the draws.
        threshold: Probability from which a label of several applies.

    Returns:
        "low" and "high" by metric; empty without labelled documents.
    """
    labelled = [i for i, document in enumerate(documents) if document.label is not None]
    if not labelled:
        return {}
    logits = _logits(answers, labelled)
    labels = [documents[i].label for i in labelled]
    if label_map.problem_type == "single_label":
        return intervals_of("single_label", logits.argmax(1), labels, seed)
    if label_map.problem_type == "regression":
        return intervals_of("regression", logits[:, 0], labels, seed)
    references = indicators(labels, logits.shape[1])
    return intervals_of("multi_label", _sigmoid(logits) >= threshold, references, seed)


def fit_temperature(
    answers: Sequence[Answer], documents: Sequence[PreparedDocument], label_map: LabelMap
) -> Calibration | None:
    """Find the temperature under which the labels of a corpus are likeliest.

    Args:
        answers: One for each document, in order, at temperature 1.
        documents: Those without a label are passed over.
        label_map: Single-label or multi-label.

    Returns:
        From 0.05 to 20; None without a labelled document.
    """
    labelled = [i for i, document in enumerate(documents) if document.label is not None]
    if not labelled:
        return None
    logits = _logits(answers, labelled)
    labels = [documents[i].label for i in labelled]
    if label_map.problem_type == "multi_label":
        return fit_temperature_to(logits, indicators(labels, logits.shape[1]))
    return fit_temperature_to(logits, labels)


_AUTO_METRICS = {"single_label": "macro_f1", "multi_label": "map", "regression": "mse"}


def check_metric(
    name: str, label_map: LabelMap | None, summarize: bool, validation: Sequence[Example]
) -> None:
    """Refuse a metric that the validation documents cannot give, before anything costs time.

    Args:
        name: `training.metric`.
        label_map: Of the classification head; None without one.
        summarize: Whether there is a summarization head.
        validation: The validation documents.

    Raises:
        ConfigError: Names the metric and those that can be had.
    """
    allowed = ["auto", "loss"]
    has_labels = any(example.label is not None for example in validation)
    has_summaries = any(example.summary is not None for example in validation)
    if label_map is not None and has_labels:
        allowed += [metric.name for metric in metrics_of(label_map.problem_type)]
    if summarize and has_summaries:
        allowed += [metric.name for metric in metrics_of("summary")]
    if len(allowed) == 2:
        raise ConfigError(
            "no validation document has a label or a summary: nothing can choose the best "
            "checkpoint; give data.validation documents with some"
        )
    if name not in allowed:
        raise ConfigError(
            f"training.metric={name} is not allowed; for these validation documents choose from "
            f"{', '.join(allowed)}"
        )


def choose_metric(
    name: str, scores: dict[str, float], label_map: LabelMap | None, summarize: bool
) -> float:
    """The figure that chooses checkpoints, turned so that greater is better.

    Args:
        name: A metric's name, or "auto".
        scores: Of the validation documents.
        label_map: Of the classification head; None without one.
        summarize: Whether there is a summarization head.

    Returns:
        The metric, negated where lower is better. "auto" is macro_f1 (map for multi-label, mse
        for regression) or rouge1, and for two heads their mean, in which a regression counts
        with its r2: it is bounded by 1 like the other.

    Raises:
        KeyError: There is no such metric among the scores.
    """
    if name != "auto":
        return _greater_is_better(name, scores)
    parts = []
    has_summaries = summarize and "rouge1" in scores
    if label_map is not None:
        key = _AUTO_METRICS[label_map.problem_type]
        if key == "mse" and has_summaries:
            key = "r2"
        if key in scores:
            parts.append(_greater_is_better(key, scores))
    if has_summaries:
        parts.append(scores["rouge1"])
    return float(np.mean(parts)) if parts else -scores["loss"]


def _greater_is_better(name: str, scores: dict[str, float]) -> float:
    lower = name == "loss" or METRICS[name].better == "lower"
    return -scores[name] if lower else scores[name]


def _logits(answers: Sequence[Answer], indices: list[int]) -> np.ndarray:
    return np.array([answers[index].logits for index in indices], dtype=np.float64)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.sigmoid(torch.from_numpy(logits)).numpy()


def indicators(labels: Sequence[list[int]], count: int) -> np.ndarray:
    """Label numbers of each document as 0 and 1 for each of `count` labels, int64 (D, C)."""
    table = np.zeros((len(labels), count), dtype=int)
    for row, names in enumerate(labels):
        table[row, names] = 1
    return table
