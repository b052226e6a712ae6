"""How far the scores of labels can be trusted: intervals from documents drawn with replacement.

The counterpart of `bootstrap` for scores that are no means over documents, such as F1. Invariant:
the draws are those of `bootstrap` for the same seed and number of documents.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.evaluation.answers import Answer

_Floats = npt.NDArray[np.float64]

_SAMPLES = 1000
_CONFIDENCE = 0.95
# So many drawn values are held at once, whatever the number of documents.
_VALUES_AT_ONCE = 1_000_000


def label_intervals(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    label_map: LabelMap,
    seed: int,
    threshold: float = 0.5,
) -> dict[str, dict[str, float]]:
    """95 % intervals of the scores that a table shows (percentile bootstrap over documents).

    Args:
        answers: One for each document, in order.
        documents: Unlabelled ones are passed over.
        label_map: Of the classification head.
        seed: Of the draws.
        threshold: Probability from which a label of several applies.

    Returns:
        "low" and "high" of `accuracy` and `macro_f1` (single_label), `micro_f1` and `macro_f1`
        (multi_label), or `mse` and `mae` (regression); empty without labelled documents.
    """
    labelled = [i for i, document in enumerate(documents) if document.label is not None]
    if not labelled:
        return {}
    logits = np.array([answers[i].logits for i in labelled], dtype=np.float64)
    labels = [documents[i].label for i in labelled]
    scorers: dict[str, Callable[[_Floats], _Floats]] = {}
    if label_map.problem_type == "regression":
        errors = logits[:, 0] - np.array(labels, dtype=np.float64)
        scorers["mse"] = lambda weights: weights @ errors**2 / len(labels)
        scorers["mae"] = lambda weights: weights @ np.abs(errors) / len(labels)
    else:
        predicted, true = np.zeros(logits.shape), np.zeros(logits.shape)
        if label_map.problem_type == "single_label":
            predicted[np.arange(len(labels)), logits.argmax(1)] = 1
            true[np.arange(len(labels)), labels] = 1
            right = (predicted * true).sum(1)
            scorers["accuracy"] = lambda weights: weights @ right / len(labels)
        else:
            predicted[torch.sigmoid(torch.from_numpy(logits)).numpy() >= threshold] = 1
            for row, names in enumerate(labels):
                true[row, names] = 1
            scorers["micro_f1"] = lambda weights: _micro_f1(weights, predicted, true)
        scorers["macro_f1"] = lambda weights: _macro_f1(weights, predicted, true)
    parts: dict[str, list[_Floats]] = {name: [] for name in scorers}
    for weights in _drawn(len(labels), seed):
        for name, scorer in scorers.items():
            parts[name].append(scorer(weights))
    tail = (1 - _CONFIDENCE) / 2
    ends = {n: np.quantile(np.concatenate(rows), [tail, 1 - tail]) for n, rows in parts.items()}
    return {name: {"low": float(low), "high": float(high)} for name, (low, high) in ends.items()}


def _drawn(count: int, seed: int) -> Iterator[_Floats]:
    """How often each document is in each sample, float (samples, D), in parts."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _VALUES_AT_ONCE // count)
    for start in range(0, _SAMPLES, at_once):
        rows = generator.integers(0, count, (min(at_once, _SAMPLES - start), count))
        yield np.stack([np.bincount(row, minlength=count) for row in rows]).astype(float)


def _counts(weights: _Floats, predicted: _Floats, true: _Floats) -> tuple[_Floats, _Floats]:
    """Hits, and claims plus support, of each label in each sample, float (samples, C)."""
    return weights @ (predicted * true), weights @ predicted + weights @ true


def _macro_f1(weights: _Floats, predicted: _Floats, true: _Floats) -> _Floats:
    hits, sizes = _counts(weights, predicted, true)
    # A label that a sample neither holds nor is given says nothing.
    present = sizes > 0
    f1 = 2 * hits / np.maximum(sizes, 1)
    return (f1 * present).sum(1) / np.maximum(present.sum(1), 1)


def _micro_f1(weights: _Floats, predicted: _Floats, true: _Floats) -> _Floats:
    hits, sizes = _counts(weights, predicted, true)
    return 2 * hits.sum(1) / np.maximum(sizes.sum(1), 1)
