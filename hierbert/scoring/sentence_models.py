"""Linear models of sentences: what they read, and those that a model's summaries have to beat.

Invariant: what a sentence scores follows from its document and the training documents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from hierbert.log import log
from hierbert.model.ragged import group_starts
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.sentence_features import HEADING_WEIGHT, SentenceFeatures
from hierbert.scoring.logistic import (
    FEWEST_DOCUMENTS,
    FEWEST_FOLDS,
    Fitted,
    Floats,
    Targets,
    fit_logistic,
    folds_of,
    standardising,
)

# Documents with more sentences than these together teach no more; those drawn teach it.
_MOST_SENTENCES = 100_000
# So many choose the penalties.
FEW_SENTENCES = 4_096
_DOCUMENTS_AT_ONCE = 64
_PLACES = 20
# An input that is alike everywhere says nothing; over this, it is silent.
_SILENT = 1e30
ReadVectors = Callable[[Sequence[SegmentedDocument]], npt.NDArray[np.float32]]
"""Gives the vectors of all sentences of documents, (N, H)."""


@dataclass(frozen=True)
class LabelledSentences:
    """Training documents, each with at least one sentence; N sentences in all.

    Attributes:
        documents: D of them.
        labels: How much each of their sentences belongs into a summary, 0 to 1, float64 (N,).
    """

    documents: Sequence[SegmentedDocument]
    labels: Floats

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Sentences of each document, (D,)."""
        return np.array([len(one.sentence_spans) for one in self.documents], dtype=np.int64)

    @cached_property
    def folds(self) -> npt.NDArray[np.int64]:
        """The fold of each document, (D,)."""
        texts = [one.text for one in self.documents]
        return folds_of(texts, np.zeros((len(texts), 1)))

    @property
    def can_be_held_out(self) -> bool:
        """Whether there are enough different documents to learn from others than are scored."""
        folds = self.folds
        return len(folds) >= FEWEST_DOCUMENTS and len(np.unique(folds)) >= FEWEST_FOLDS

    @property
    def targets(self) -> Targets:
        """The labels, as regressions learn them."""
        return Targets(self.labels[:, None], several=True)


def scores_by_place(
    train: LabelledSentences, asked: Sequence[SegmentedDocument], vectors: ReadVectors | None
) -> Floats:
    """The mean label of training sentences in the same twentieth of their document."""
    places = _twentieths(train.documents)
    counts = np.bincount(places, minlength=_PLACES)
    means = np.bincount(places, train.labels, _PLACES) / np.maximum(counts, 1)
    return means[_twentieths(asked)]


def scores_by_words(
    train: LabelledSentences, asked: Sequence[SegmentedDocument], vectors: ReadVectors | None
) -> Floats | None:
    """A linear model of a sentence's words, those above it, and what is counted of it."""
    if not train.can_be_held_out:
        return None
    features = SentenceFeatures()
    read = features.collate(train.documents)
    set_spread(features.center, features.scale, read["columns"])
    fitted = _fit(linear_inputs(features, read)["words and features"], train)
    found = [np.zeros(0)]
    for batch in in_batches(asked):
        rows = linear_inputs(features, features.collate(batch))["words and features"]
        found.append((rows @ fitted.weights + fitted.bias)[:, 0])
    return np.concatenate(found)


def scores_by_vectors(
    train: LabelledSentences, asked: Sequence[SegmentedDocument], vectors: ReadVectors | None
) -> Floats | None:
    """A linear model of a sentence's vector; None where there are none, or they are not finite."""
    if vectors is None or not train.can_be_held_out:
        return None
    rows = vectors(train.documents)
    if not np.isfinite(rows).all():
        log.warning("a linear model of sentence vectors is left out: they are not finite")
        return None
    center, scale = standardising(rows)
    fitted = _fit(((rows - center) / scale).astype(np.float64), train)
    found = [np.zeros(0)]
    for batch in in_batches(asked):
        own = (vectors(batch) - center) / scale
        found.append((own @ fitted.weights + fitted.bias)[:, 0])
    return np.concatenate(found)


def linear_inputs(features: SentenceFeatures, read: dict[str, Tensor]) -> dict[str, Any]:
    """What each linear model of a feature reads, by its name, in their order: (N, F), or sparse."""
    columns = features.standardised(read["columns"]).double().numpy()
    if not features.words:
        return {"features": columns}
    headings = HEADING_WEIGHT * _rows(read, "heading_", features.heading_buckets)
    own = [_rows(read, "", features.buckets), headings[read["heading"].numpy()]]
    words = sparse.hstack(own, format="csr")
    return {"words": words, "words and features": sparse.hstack([words, columns], format="csr")}


def set_spread(center: Tensor, scale: Tensor, rows: Tensor) -> None:
    """Set the mean and the spread of inputs, of rows (N, F)."""
    center.copy_(rows.mean(0))
    spread = rows.std(0, correction=0)
    scale.copy_(torch.where(spread > 1e-6 * (1 + center.abs()), spread, _SILENT))


def draw_documents(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Places of documents, ascending: of all, or of as many as have not too many sentences.

    `lengths` are the sentences of each, (D,).
    """
    if lengths.sum() <= _MOST_SENTENCES:
        return np.arange(len(lengths))
    order = np.random.default_rng(0).permutation(len(lengths))
    fits = np.cumsum(lengths[order]) <= _MOST_SENTENCES
    fits[:FEWEST_DOCUMENTS] = True
    return np.sort(order[fits])


def in_batches(documents: Sequence[SegmentedDocument]) -> list[Sequence[SegmentedDocument]]:
    """Some documents at a time."""
    starts = range(0, len(documents), _DOCUMENTS_AT_ONCE)
    return [documents[start : start + _DOCUMENTS_AT_ONCE] for start in starts]


def _fit(inputs: Any, train: LabelledSentences) -> Fitted:
    folds = np.repeat(train.folds, train.lengths)
    return fit_logistic(inputs, train.targets, folds, few=FEW_SENTENCES, held_out=False)


def _twentieths(documents: Sequence[SegmentedDocument]) -> npt.NDArray[np.int64]:
    """The part of its document that each sentence is in."""
    counts = [len(one.sentence_spans) for one in documents]
    places = [np.arange(count) * _PLACES // count for count in counts if count]
    return np.concatenate([np.zeros(0, dtype=np.int64), *places])


def _rows(read: dict[str, Tensor], kind: str, buckets: int) -> sparse.csr_array:
    """What stands for texts in a linear model, a row each."""
    sizes = read[f"{kind}sizes"]
    starts = np.concatenate([group_starts(sizes).numpy(), [int(sizes.sum())]])
    values = read[f"{kind}values"].double().numpy()
    return sparse.csr_array(
        (values, read[f"{kind}buckets"].numpy(), starts), shape=(len(sizes), buckets)
    )
