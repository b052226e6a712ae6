"""Linear models of words and of vectors beside a head, and what each weighs in their sum.

Added up in one optimizer, words and vectors spoil each other; stacked by their scores of documents
that they were not fitted to, neither is lost (Wolpert 1992). The linear models score each training
document by a fit without it; what gradient steps have trained scores the validation documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from hierbert.log import log
from hierbert.model.classification_head import OF_SEGMENTS, ClassificationHead, LinearOfVectors
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.heads import Structure
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.name_vectors import NameVectors
from hierbert.model.segment_words import SegmentWords
from hierbert.model.words import Words, buckets_for
from hierbert.scoring.logistic import (
    FEW_DOCUMENTS,
    FEWEST_DOCUMENTS,
    FEWEST_FOLDS,
    Fitted,
    Floats,
    Targets,
    draw_few,
    folds_of,
)
from hierbert.tasks.members import (
    fit_linear,
    gains,
    put_members,
    share_of_layers,
    sum_of,
    weigh,
)
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import HeldOut

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

OfSegments = LinearOfVectors | NameVectors
_DOCUMENTS_AT_ONCE = 64
# Documents times labels: of more, the scores alone would take gigabytes.
_MOST_SCORES = 10_000_000
_MOST_WEIGHTS = 1 << 24
# Words of all segments times labels, which each of some hundred iterations multiplies.
_TINY = 1e-12
_MOST_SEGMENT_WORDS = 300_000_000


@dataclass(frozen=True)
class Labelled:
    """Documents of a split, and their labels."""

    documents: Sequence[PreparedDocument]
    targets: Targets


@dataclass
class Stack:
    """A head's logits as a sum of members: fitted linear models, and the layers it has.

    Attributes:
        weights: Of each member in the sum, by name.
        factors: By how much that is more or less for each label, float32 (C,), by name; empty where
            it is the same for all.
        bias: float32 (C,).
        words: The members that read words, by name.
        of_segments: The members that read segment vectors, by name.
        held_out: The sum's logits, as lists, of documents that it was not fitted to.
        apart: The same of each member alone.
        results: What was chosen.
        line: The same in words.
    """

    weights: dict[str, float]
    factors: dict[str, Tensor]
    bias: Tensor
    words: dict[str, Words]
    of_segments: dict[str, OfSegments]
    held_out: HeldOut
    apart: dict[str, HeldOut]
    results: dict[str, Any]
    line: str

    def __getstate__(self) -> dict[str, Any]:
        # Other processes need what they put into the model, not whole corpora.
        return vars(self) | {"held_out": HeldOut([], []), "apart": {}}

    def put_into(self, model: HierBertForDocuments) -> None:
        """Let a model's classification head be this sum; its layers stay as they are.

        What was fitted stays on the CPU, where its members are asked.
        """
        modules = {OF_SEGMENTS[name][0]: one for name, one in self.of_segments.items()}
        put_members(
            model,
            ClassificationHead.name,
            {"logit_weights": self.weights},
            list(self.words.values()),
            {"bias": self.bias, **modules, **self._factors()},
        )

    def _factors(self) -> dict[str, Tensor]:
        """Those of all members as the head keeps them."""
        if not self.factors:
            return {}
        same = torch.ones_like(self.bias)
        # As the head reads them: a saved config has its keys in that order.
        rows = [self.factors.get(name, same) for name in sorted(self.weights)]
        return {"member_weights": torch.stack(rows)}

    def _weight_of(self, name: str) -> Floats | float:
        factor = self.factors.get(name)
        return self.weights[name] * (1.0 if factor is None else factor.double().numpy())

    def members(
        self,
        documents: Sequence[PreparedDocument],
        kept: Sequence[Any],
        config: HierBertConfig,
        vectors: "VectorSource | None",
    ) -> dict[str, tuple[HeldOut, Sequence[Any]]]:
        """The logits of each member alone: held-out ones, and those of these documents.

        What the linear members leave of the whole is the layers'.
        """
        temperatures = ClassificationHead.kind(config).temperatures(config).numpy()
        rest = np.array(kept, dtype=np.float64) * temperatures - self.bias.double().numpy()
        found = {name: _words_of(words, documents) for name, words in self.words.items()}
        if vectors is not None:
            for name, one in self.of_segments.items():
                found[name] = _logits_of_vectors(one, documents, vectors)
        if "deep" in self.weights:
            for name, own in found.items():
                rest = rest - self._weight_of(name) * own
            found["deep"] = rest / self.weights["deep"]
        return {name: (self.apart[name], own.tolist()) for name, own in found.items()}


def fit_stack(
    train: Labelled,
    validation: Labelled,
    deep: Floats,
    *,
    words: bool,
    vectors: "VectorSource | None",
    names: NameVectors | None = None,
) -> Stack | None:
    """Fit linear models to training documents, and what they and a head's layers weigh.

    Args:
        train: Training documents.
        validation: Documents that were not trained on.
        deep: What the head's layers say of those, float64 (V, C).
        words: Whether to fit the members that read words.
        vectors: Of a frozen encoder; None leaves the member out that reads them.

    Returns:
        The sum; None where there are too few documents, or too many labels, to fit a member.
    """
    if not words and vectors is None:
        return None
    if train.targets.labels.size > _MOST_SCORES:
        documents, labels = train.targets.labels.shape
        log.info(
            f"linear models beside the layers are left out: {documents:,} documents with "
            f"{labels:,} labels are too many"
        )
        return None
    folds = _folds(train)
    if len(folds) < FEWEST_DOCUMENTS or len(np.unique(folds)) < FEWEST_FOLDS:
        return None
    log.info(f"fitting linear models of labels to {len(folds):,} documents")
    fitted: dict[str, Fitted] = {}
    asked: dict[str, Floats] = {}
    of_words: dict[str, Words] = {}
    of_segments: dict[str, OfSegments] = {}
    for kind in (Words, SegmentWords) if words else ():
        if (found := _fit_words(train, folds, kind)) is not None:
            of_words[kind.name], fitted[kind.name] = found
            asked[kind.name] = _words_of(found[0], validation.documents)
    if vectors is not None and (linear := _fit_vectors(train, folds, vectors)) is not None:
        of_segments["vectors"], fitted["vectors"] = linear
        asked["vectors"] = _logits_of_vectors(linear[0], validation.documents, vectors)
    if vectors is not None and names is not None and fitted:
        of_segments["names"] = names
        own = _logits_of_vectors(names, train.documents, vectors)
        fitted["names"] = Fitted.of_scores(own, train.targets)
        asked["names"] = _logits_of_vectors(names, validation.documents, vectors)
    if not fitted:
        return None
    shares, bias, train_sum = _weigh_fitted(fitted, train.targets)
    # As scores have it: whatever labels weigh in the fits.
    alike = replace(train.targets, class_weights=None)
    if SegmentWords.name in fitted:
        fewer = {name: one for name, one in fitted.items() if name != SegmentWords.name}
        shares_of_fewer, bias_of_fewer, sum_of_fewer = _weigh_fitted(fewer, train.targets)
        if not gains(alike.losses(sum_of_fewer), alike.losses(train_sum)):
            log.info("words of segments add nothing sure to those of documents and are left out")
            fitted = fewer
            shares, bias, train_sum = shares_of_fewer, bias_of_fewer, sum_of_fewer
    asked = {name: asked[name] for name in fitted}
    weights = dict(zip(fitted, shares.reshape(len(fitted), -1).mean(1).tolist(), strict=True))
    factors = {}
    if shares.ndim == 2:
        # What weighs nothing in the mean weighs nothing anywhere.
        each = zip(fitted, shares / np.maximum(shares.mean(1, keepdims=True), _TINY), strict=True)
        factors = {name: torch.from_numpy(own).float() for name, own in each}
    validation_sum = sum_of(list(asked.values()), shares, bias)
    both = [*train.documents, *validation.documents]
    apart = {
        name: HeldOut(both, [*one.held_out.tolist(), *asked[name].tolist()])
        for name, one in fitted.items()
    }
    held_out_of = {name: one.held_out for name, one in fitted.items()} | {"sum": train_sum}
    losses = {name: float(alike.losses(own).mean()) for name, own in held_out_of.items()}
    whole = HeldOut(both, [*train_sum.tolist(), *validation_sum.tolist()])
    # With a frozen encoder the layers have to earn their place: without them, training documents
    # are held out too.
    margin = 1.0 if vectors is not None else 0.0
    share = share_of_layers(
        validation.targets,
        _folds(validation),
        validation_sum,
        deep,
        margin,
        validation.targets.losses,
    )
    if share is not None:
        weights = {name: share[0] * weight for name, weight in weights.items()} | {"deep": share[1]}
        bias = share[0] * bias
        validation_sum = share[0] * validation_sum + share[1] * deep
        # Nothing says what the layers would say of training documents without having seen them.
        whole = HeldOut(validation.documents, validation_sum.tolist())
        apart["deep"] = HeldOut(validation.documents, deep.tolist())
    # What weighs nothing does not travel.
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    of_words = {name: words for name, words in of_words.items() if name in weights}
    of_segments = {name: one for name, one in of_segments.items() if name in weights}
    if not weights:
        return None
    factors = {name: own for name, own in factors.items() if name in weights}
    parts = " + ".join(f"{weight:.2f} x {name}" for name, weight in weights.items())
    shown = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    return Stack(
        weights,
        factors,
        torch.from_numpy(bias).float(),
        of_words,
        of_segments,
        whole,
        apart,
        {"members": {"weights": weights, "log_loss": losses}},
        f"logits of labels: {parts} (log loss of held-out training documents: {shown})",
    )


def _fit_words(
    train: Labelled, folds: npt.NDArray[np.int64], kind: type[Words]
) -> tuple[Words, Fitted] | None:
    """A linear model of words, or of words and pairs: whichever says more of held-out documents.

    Of the words of segments, words alone; None where documents have but one, or labels or words are
    too many.
    """
    count = train.targets.labels.shape[1]
    if (buckets := buckets_for(count)) is None:
        return None
    several = np.array([len(kind.texts(one.segmented)) for one in train.documents])
    units = several if kind is not Words else None
    if units is not None and units.max() == 1:
        return None
    choices = [False, True] if units is None else [False]
    if len(choices) > 1 and len(train.documents) > FEW_DOCUMENTS:
        some = draw_few(len(train.documents), FEW_DOCUMENTS)
        few = Labelled([train.documents[place] for place in some], train.targets[some])
        chosen = _fit_words(few, folds[some], kind)
        assert chosen is not None  # labels are as many
        choices = [chosen[0].pairs]
    # Half of the room and time where documents are many rows.
    kept = torch.float64 if units is None else torch.float32
    best: tuple[Words, Fitted] | None = None
    for pairs in choices:
        words = kind(count, buckets, pairs)
        parts = [words.collate([d.segmented for d in batch]) for batch in _batches(train.documents)]
        read = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        sizes = read["sizes"].sum(1)
        owners = torch.arange(len(several)).repeat_interleave(torch.from_numpy(several))
        words.learn_idf(read["buckets"], owners.repeat_interleave(sizes), len(several))
        starts = np.concatenate([[0], sizes.cumsum(0).numpy()])
        inputs = sparse.csr_array(
            (words.weigh(**read).to(kept).numpy(), read["buckets"].numpy(), starts),
            shape=(len(sizes), buckets),
        )
        if units is not None and len(inputs.data) * count > _MOST_SEGMENT_WORDS:
            log.info("words by segment are left out: there are too many for so many labels")
            return None
        fitted = train.targets.fit(inputs, folds, units)
        if best is None or fitted.log_loss < best[1].log_loss:
            words.weights.copy_(torch.from_numpy(fitted.weights))
            words.bias.copy_(torch.from_numpy(fitted.bias))
            best = words, fitted
    return best


def _words_of(words: Words, documents: Sequence[PreparedDocument]) -> Floats:
    """What the words of documents say, float64 (D, C)."""
    found = [np.zeros((0, len(words.bias)))]
    for batch in _batches(documents):
        inputs = words.collate([document.segmented for document in batch])
        found.append(words(inputs, _structure(batch)).double().numpy())
    return np.concatenate(found)


def _fit_vectors(
    train: Labelled, folds: npt.NDArray[np.int64], vectors: "VectorSource"
) -> tuple[LinearOfVectors, Fitted] | None:
    """A linear model of segment vectors; None where they are not finite, or labels too many."""
    pooled = _pooled(train.documents, vectors)
    if pooled.shape[1] * train.targets.labels.shape[1] > _MOST_WEIGHTS:
        return None
    broken = int((~np.isfinite(pooled).all(1)).sum())
    if broken:
        log.warning(
            f"the vectors of {broken:,} training documents are not finite: labels get no linear "
            "model of vectors"
        )
        return None
    linear = LinearOfVectors(pooled.shape[1] // 2, train.targets.labels.shape[1])
    return linear, fit_linear(linear, pooled, train.targets, folds)


def _logits_of_vectors(
    member: OfSegments, documents: Sequence[PreparedDocument], vectors: "VectorSource"
) -> Floats:
    """What the segment vectors of documents say, float64 (D, C)."""
    found = [
        member.of_segments(*own).double().numpy() for own in _segment_vectors(documents, vectors)
    ]
    return np.concatenate(found or [np.zeros((0, member.labels))])


def _pooled(
    documents: Sequence[PreparedDocument], vectors: "VectorSource"
) -> npt.NDArray[np.float32]:
    """Means and maxima of segment vectors, float32 (D, 2 H)."""
    pooled = [LinearOfVectors.pooled(*own) for own in _segment_vectors(documents, vectors)]
    return torch.cat(pooled).numpy()


def _segment_vectors(
    documents: Sequence[PreparedDocument], vectors: "VectorSource"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Segment vectors of some documents at a time, and how many each document has."""
    for batch in _batches(documents):
        own, _ = vectors.batch([document.segmented for document in batch])
        yield own, _structure(batch).segments_per_document


def _folds(labelled: Labelled) -> npt.NDArray[np.int64]:
    """The fold of each document."""
    return folds_of([one.segmented.text for one in labelled.documents], labelled.targets.labels)


def _batches(documents: Sequence[PreparedDocument]) -> Iterator[Sequence[PreparedDocument]]:
    for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
        yield documents[start : start + _DOCUMENTS_AT_ONCE]


def _structure(documents: Sequence[PreparedDocument]) -> Structure:
    return Structure.of_documents([document.segmented for document in documents])


def _weigh_fitted(fitted: Mapping[str, Fitted], targets: Targets) -> tuple[Floats, Floats, Floats]:
    """Weights and bias of linear members, and their sum for documents they were not fitted to."""
    held_out = [one.held_out for one in fitted.values()]
    even = np.full(len(held_out), 1 / len(held_out))
    shares, bias = weigh(held_out, even, targets)
    if parts := targets.parts():
        # Near those of all, of which a part with few documents says little else.
        near, shares = shares, np.repeat(shares[:, None], len(bias), 1)
        for part, labels in parts:
            own, own_bias = weigh(held_out, near, part)
            shares[:, labels], bias[labels] = own[:, None], own_bias[labels]
    return shares, bias, sum_of(held_out, shares, bias)
