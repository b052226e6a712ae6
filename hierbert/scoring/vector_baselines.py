"""What labels of a trained model have to beat of vectors: linear models of a frozen encoder's.

Each reads a document as one row of numbers or as several, standardises them and classifies each row
by logistic regression; of several rows the probabilities are averaged, as a vote.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.log import log
from hierbert.scoring.logistic import (
    Floats,
    Targets,
    draw_few,
    fit_logistic,
    folds_of,
    probabilities,
    standardising,
)
from hierbert.scoring.thresholds import from_a_half

_Rows = npt.NDArray[np.float32]
# Of more training documents, so many are drawn; of more rows of theirs, so many are taken evenly.
_MOST_DOCUMENTS = 20_000
_MOST_ROWS = 32_768
_FEWEST_TEXTS = 3
# What BERT reads at once, but for its two special tokens: the beginning of a document, or, where
# the end is read too, 128 tokens of the one and 382 of the other (Sun et al. 2019, section 5.3).
_TOKENS_AT_ONCE = 510
_HEAD_TOKENS = 128
_SURE = 1e-12


@dataclass(frozen=True)
class DocumentVectors:
    """What a frozen encoder makes of a document; S segments, at least 1, N sentences, H hidden.

    Attributes:
        segments: Segment vectors, float32 (S, H).
        sentences: Sentence vectors, means over tokens as they were read in their segments, float32
            (N, H).
        sentence_tokens: Tokens of each sentence, int64 (N,).
    """

    segments: _Rows
    sentences: _Rows
    sentence_tokens: npt.NDArray[np.int64]


@dataclass(frozen=True)
class VectorBaseline:
    """Labels by a linear model of what a frozen encoder makes of documents.

    Attributes:
        name: Its key in results.
        title: What tables and model cards call it.
        rows: What it reads of a document, float (R, F), F numbers in each of at least one row.
        problem_types: What it applies to, of "single_label" and "multi_label".
        most_labels: With more labels it is left out; None: never.
    """

    name: str
    title: str
    rows: Callable[[DocumentVectors], npt.NDArray[np.floating]]
    problem_types: tuple[str, ...] = ("single_label", "multi_label")
    most_labels: int | None = 256


Read = Callable[[int], DocumentVectors]
"""Gives the vectors of a document by its place in a list."""


def mean_of_segments(vectors: DocumentVectors) -> _Rows:
    """The mean of a document's segment vectors."""
    return vectors.segments.mean(0, keepdims=True)


def first_tokens(vectors: DocumentVectors) -> _Rows:
    """The mean of the tokens at a document's beginning."""
    return _mean_of_tokens(vectors, _TOKENS_AT_ONCE, 0)


def head_and_tail(vectors: DocumentVectors) -> _Rows:
    """The mean of the tokens at a document's beginning and at its end."""
    return _mean_of_tokens(vectors, _HEAD_TOKENS, _TOKENS_AT_ONCE - _HEAD_TOKENS)


def each_segment(vectors: DocumentVectors) -> _Rows:
    """All segment vectors of a document."""
    return vectors.segments


def _mean_of_tokens(vectors: DocumentVectors, head: int, tail: int) -> _Rows:
    """The mean of so many tokens of each end; of a part of a sentence, the sentence's stands."""
    tokens = vectors.sentence_tokens
    ends = tokens.cumsum()
    of_head = (head - (ends - tokens)).clip(0, tokens)
    of_tail = (ends - (tokens.sum() - tail)).clip(0, tokens)
    weights = np.minimum(of_head + of_tail, tokens).astype(np.float32)
    mean: _Rows = weights @ vectors.sentences / max(1.0, weights.sum())
    return mean[None]


def predict_by_vectors(
    baselines: Sequence[VectorBaseline],
    texts: Sequence[str],
    labels: npt.NDArray[Any],
    train: Read,
    asked: Read,
    count: int,
) -> dict[str, npt.NDArray[Any]]:
    """Answers of the baselines that can be fitted, as `label_scores` takes them, by their names.

    All read a document's vectors together, which may have to be encoded: `train` those of the
    labelled training documents, at least one, whose texts and labels these are, `asked` those of
    the `count` documents to answer.
    """
    several, known = labels.ndim == 2, np.unique(labels)
    places = draw_few(len(texts), _MOST_DOCUMENTS)
    if not baselines or len(known) < 2 or len({texts[place] for place in places}) < _FEWEST_TEXTS:
        return {}
    labels = labels[places]
    table = (labels if several else labels[:, None] == known).astype(np.float64)
    folds = folds_of([texts[place] for place in places], table)
    most = max(1, _MOST_ROWS // len(places))
    read: dict[str, list[npt.NDArray[np.floating]]] = {one.name: [] for one in baselines}
    for place in places:
        vectors = train(int(place))
        for one in baselines:
            read[one.name].append(_evenly(one.rows(vectors), most))
    models = {}
    for one in baselines:
        rows = read.pop(one.name)
        if all(np.isfinite(own).all() for own in rows):
            models[one.name] = one, _fit(rows, table, folds, several)
        else:
            log.warning(f"{one.title} is left out: vectors of training documents are not finite")
    votes: dict[str, list[Floats]] = {name: [] for name in models}
    for place in range(count):
        vectors = asked(place)
        for name, (one, model) in models.items():
            votes[name].append(model.vote(one.rows(vectors)))
    found: dict[str, npt.NDArray[Any]] = {}
    for name, (_, model) in models.items():
        shares = np.stack(votes[name])
        if not np.isfinite(shares).all():
            log.warning(
                f"{models[name][0].title} is left out: vectors it is asked of are not finite"
            )
        elif several:
            found[name] = from_a_half(_logits(model.held_out), labels, _logits(shares))
        else:
            found[name] = known[shares.argmax(1)]
    return found


@dataclass(frozen=True)
class _Linear:
    """A linear model of standardised rows; `held_out` are probabilities of training documents."""

    center: npt.NDArray[Any]
    scale: npt.NDArray[Any]
    weights: Floats
    bias: Floats
    held_out: Floats
    several: bool

    def vote(self, rows: npt.NDArray[np.floating]) -> Floats:
        """The mean of the rows' probabilities, float64 (C,)."""
        scores = ((rows - self.center) / self.scale) @ self.weights + self.bias
        mean: Floats = probabilities(scores, self.several).mean(0)
        return mean


def _fit(
    rows: Sequence[npt.NDArray[np.floating]],
    table: Floats,
    folds: npt.NDArray[np.int64],
    several: bool,
) -> _Linear:
    """A model of the rows of documents, whose labels (D, C) and folds (D,) these are."""
    sizes = np.array([len(own) for own in rows])
    joined = np.concatenate(rows)
    center, scale = standardising(joined)
    inputs = ((joined - center) / scale).astype(np.float64)
    targets = Targets(table.repeat(sizes, axis=0), several)
    fitted = fit_logistic(inputs, targets, folds.repeat(sizes))
    each = probabilities(fitted.held_out, several)
    held_out = np.add.reduceat(each, sizes.cumsum() - sizes) / sizes[:, None]
    return _Linear(center, scale, fitted.weights, fitted.bias, held_out, several)


def _evenly(rows: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Rows as they are, or so many of them from all over."""
    if len(rows) <= most:
        return rows
    taken: npt.NDArray[Any] = rows[((np.arange(most) + 0.5) * len(rows) / most).astype(int)]
    return taken


def _logits(shares: Floats) -> Floats:
    from scipy.special import logit

    found: Floats = logit(shares.clip(_SURE, 1 - _SURE))
    return found
