"""Linear models of words, of form and place, and of vectors that score sentences, stacked.

As with labels (see `stacking`), each linear model scores a training document by a fit without it.
Small networks then learn from these scores what to make of them; being few, they are trained on
the whole corpus in seconds. What gradient steps have trained is weighed on validation documents.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from hierbert.log import log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.heads import Structure
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.ragged import group_starts
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.sentence_columns import COLUMNS
from hierbert.model.sentence_features import HEADING_WEIGHT, SentenceFeatures
from hierbert.model.sentence_stack import SentenceStack, closeness, stacked
from hierbert.model.summarization_head import SummarizationHead
from hierbert.scoring.logistic import (
    Fitted,
    Floats,
    Targets,
    fit_logistic,
    folds_of,
)
from hierbert.tasks.members import (
    FEWEST_DOCUMENTS,
    FEWEST_FOLDS,
    fit_linear,
    put_members,
    share_of_layers,
)
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import HeldOut

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

# Documents with more sentences than these together teach no more; those drawn teach it.
_MOST_SENTENCES = 100_000
# So many choose the penalties.
_FEW_SENTENCES = 4_096
_DOCUMENTS_AT_ONCE = 64
_DOCUMENTS_PER_STEP = 8
_EPOCHS = 12
_FEWEST_STEPS, _MOST_STEPS = 150, 1_500
_LEARNING_RATE, _WEIGHT_DECAY, _DROPOUT = 3e-3, 0.05, 0.2
# An input that is alike everywhere says nothing; over this, it is silent.
_SILENT = 1e30


@dataclass(frozen=True)
class Labelled:
    """Documents of a split, each with at least one sentence.

    Attributes:
        documents: D of them.
        labels: How much each of their sentences belongs into a summary, float32 (N,).
        selectable: Whether it may be selected, bool (N,).
    """

    documents: Sequence[SegmentedDocument]
    labels: Tensor
    selectable: Tensor

    @property
    def lengths(self) -> Tensor:
        """Sentences of each document, int64 (D,)."""
        return torch.tensor([len(one.sentence_spans) for one in self.documents])


@dataclass
class SentenceSum:
    """A head's scores of sentences as a sum of its layers' and of a stack's.

    Attributes:
        weights: Of each member, by name.
        features: What the stack reads.
        stack: The member of that name.
        results: What was found.
        line: The same in words.
        held_out: Nothing: scores of sentences are not calibrated.
    """

    weights: dict[str, float]
    features: SentenceFeatures
    stack: SentenceStack
    results: dict[str, Any]
    line: str
    held_out: HeldOut

    def put_into(self, model: HierBertForDocuments) -> None:
        """Let a model's summarization head be this sum; its layers stay as they are."""
        put_members(
            model,
            SummarizationHead.name,
            {"sentence_weights": self.weights, "sentence_stack": self.stack.settings},
            [self.features],
            {"stack": self.stack},
        )

    def members(
        self,
        documents: Sequence[PreparedDocument],
        kept: Sequence[Any],
        config: HierBertConfig,
        vectors: "VectorSource | None",
    ) -> dict[str, tuple[HeldOut, Sequence[Any]]]:
        """None: the report's baselines are of the same kinds."""
        return {}


def fit_sentence_stack(
    head: SummarizationHead,
    train: Labelled,
    validation: Labelled,
    layers: Floats,
    losses: Callable[[Floats], Floats],
    *,
    words: bool,
    vectors: "VectorSource | None",
    seed: int,
) -> SentenceSum | None:
    """Fit a stack to training documents, and what it and a head's layers weigh.

    Args:
        head: Whose losses the networks learn by.
        train: Training documents.
        validation: Documents that were not trained on.
        layers: What the head's layers say of the sentences of those, float64 (N,).
        losses: Of each validation document by the scores of all sentences, float64 (D,).
        words: Whether words are read.
        vectors: Of a frozen encoder; None reads none.
        seed: Of the networks.

    Returns:
        The sum; None where there are too few documents, or the stack is worth nothing beside the
        layers.
    """
    train = _few(train)
    folds = _folds(train)
    if len(folds) < FEWEST_DOCUMENTS or len(np.unique(folds)) < FEWEST_FOLDS:
        return None
    lengths = train.lengths
    log.info(f"fitting models of {int(lengths.sum()):,} sentences of {len(lengths):,} documents")
    features = SentenceFeatures(words)
    by_sentence = np.repeat(folds, lengths.numpy())
    targets = Targets(train.labels.double().numpy()[:, None], several=True)
    fitted, columns = _fit_features(features, train.documents, targets, by_sentence)
    hidden_size = None
    if vectors is not None:
        of_sentences = _vectors(vectors, train.documents)
        if bool(of_sentences.isfinite().all()):
            hidden_size = of_sentences.shape[1]
        else:
            log.warning("sentence vectors that are not finite: summaries get no model of vectors")
            vectors = None
    stack = SentenceStack(features.models, COLUMNS, hidden_size)
    if stack.linear is not None:
        fitted["vectors"] = fit_linear(
            stack.linear, of_sentences.numpy(), targets, by_sentence, _FEW_SENTENCES
        )
        columns = torch.cat([columns, closeness(of_sentences, lengths)], 1)
    held_out = np.concatenate([one.held_out for one in fitted.values()], 1)
    inputs = stacked(torch.from_numpy(held_out).float(), columns, lengths)
    _set_spread(stack.center, stack.scale, inputs)
    _train(stack, stack.standardised(inputs), train, head, seed)
    scores = _ask(features, stack, validation.documents, vectors)
    weights = {"stack": 1.0}
    margin = 1.0 if vectors is not None else 0.0
    known = Targets(validation.labels.double().numpy()[:, None], several=True)
    asked_folds = np.repeat(_folds(validation), validation.lengths.numpy())
    share = share_of_layers(
        known,
        asked_folds,
        scores[:, None],
        layers[:, None],
        margin,
        lambda given: losses(given[:, 0]),
    )
    if share is not None:
        weights = {"stack": share[0], "deep": share[1]}
    # What weighs nothing does not travel.
    if weights["stack"] <= 0:
        return None
    log_losses = {name: one.log_loss for name, one in fitted.items()}
    parts = " + ".join(f"{weight:.2f} x {name}" for name, weight in weights.items())
    shown = ", ".join(f"{name} {loss:.4f}" for name, loss in log_losses.items())
    return SentenceSum(
        weights,
        features,
        stack,
        {"sentence_members": {"weights": weights, "log_loss": log_losses}},
        f"scores of sentences: {parts} (log loss of held-out training sentences: {shown})",
        HeldOut([], []),
    )


def _few(labelled: Labelled) -> Labelled:
    """All documents, or as many as have so many sentences, at least one."""
    lengths = labelled.lengths
    if int(lengths.sum()) <= _MOST_SENTENCES:
        return labelled
    order = np.random.default_rng(0).permutation(len(lengths))
    fits = np.cumsum(lengths.numpy()[order]) <= _MOST_SENTENCES
    fits[:FEWEST_DOCUMENTS] = True
    chosen = np.sort(order[fits])
    rows = np.isin(np.repeat(np.arange(len(lengths)), lengths.numpy()), chosen)
    return Labelled(
        [labelled.documents[place] for place in chosen],
        labelled.labels[rows],
        labelled.selectable[rows],
    )


def _folds(labelled: Labelled) -> npt.NDArray[np.int64]:
    """The fold of each document."""
    texts = [one.text for one in labelled.documents]
    return folds_of(texts, np.zeros((len(texts), 1)))


def _fit_features(
    features: SentenceFeatures,
    documents: Sequence[SegmentedDocument],
    targets: Targets,
    folds: npt.NDArray[np.int64],
) -> tuple[dict[str, Fitted], Tensor]:
    """Fit the linear models of a feature; gives them, and the columns, standardised."""
    read = features.collate(documents)
    _set_spread(features.center, features.scale, read["columns"])
    columns = features.standardised(read["columns"])
    inputs: dict[str, Any] = {"features": columns.double().numpy()}
    if features.words:
        words = _rows(read, "", features.buckets)
        headings = HEADING_WEIGHT * _rows(read, "heading_", features.heading_buckets)
        words = sparse.hstack([words, headings[read["heading"].numpy()]], format="csr")
        inputs = {
            "words": words,
            "words and features": sparse.hstack([words, inputs["features"]], format="csr"),
        }
    fitted = {
        name: fit_logistic(rows, targets, folds, few=_FEW_SENTENCES)
        for name, rows in inputs.items()
    }
    for place, one in enumerate(fitted.values()):
        features.set_model(place, torch.from_numpy(one.weights[:, 0]), float(one.bias[0]))
    return fitted, columns


def _rows(read: dict[str, Tensor], kind: str, buckets: int) -> sparse.csr_array:
    """What stands for texts in a linear model, a row each."""
    sizes = read[f"{kind}sizes"]
    starts = np.concatenate([group_starts(sizes).numpy(), [int(sizes.sum())]])
    values = read[f"{kind}values"].double().numpy()
    return sparse.csr_array(
        (values, read[f"{kind}buckets"].numpy(), starts), shape=(len(sizes), buckets)
    )


def _vectors(vectors: "VectorSource", documents: Sequence[SegmentedDocument]) -> Tensor:
    """Sentence vectors of documents, float32 (N, H)."""
    return torch.cat([vectors.batch(batch)[1].float() for batch in _batches(documents)])


def _ask(
    features: SentenceFeatures,
    stack: SentenceStack,
    documents: Sequence[SegmentedDocument],
    vectors: "VectorSource | None",
) -> Floats:
    """What a stack says of sentences, float64 (N,)."""
    found = [np.zeros(0)]
    with torch.no_grad():
        for batch in _batches(documents):
            lengths = torch.tensor([len(one.sentence_spans) for one in batch])
            own = None if vectors is None else vectors.batch(batch)[1]
            structure = Structure(torch.ones_like(lengths), lengths)
            rows = features(features.collate(batch), structure)
            found.append(stack(rows, own, lengths).double().numpy())
    return np.concatenate(found)


def _batches(documents: Sequence[SegmentedDocument]) -> Sequence[Sequence[SegmentedDocument]]:
    return [
        documents[start : start + _DOCUMENTS_AT_ONCE]
        for start in range(0, len(documents), _DOCUMENTS_AT_ONCE)
    ]


def _set_spread(center: Tensor, scale: Tensor, rows: Tensor) -> None:
    """Set the mean and the spread of inputs, of rows (N, F)."""
    center.copy_(rows.mean(0))
    spread = rows.std(0, correction=0)
    scale.copy_(torch.where(spread > 1e-6 * (1 + center.abs()), spread, _SILENT))


def _train(
    stack: SentenceStack, inputs: Tensor, train: Labelled, head: SummarizationHead, seed: int
) -> None:
    """Train the networks of a stack, all at once, on the selectable sentences."""
    lengths, may = train.lengths, train.selectable
    owners = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[may]
    inputs, labels = inputs[may], train.labels[may]
    lengths = torch.bincount(owners, minlength=len(lengths))
    starts = group_starts(lengths)
    documents = lengths.nonzero().flatten()
    if not len(documents):
        return
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for name, shape in stack.shapes(inputs.shape[1]).items():
        # As torch.nn.Linear has them.
        inward = stack.hidden_units if name == "output_weights" else inputs.shape[1]
        inward = stack.hidden_units if name == "output_bias" else inward
        drawn = torch.rand(shape, generator=generator) * 2 - 1
        weights[name] = (drawn / math.sqrt(inward)).requires_grad_()
    steps_per_epoch = math.ceil(len(documents) / _DOCUMENTS_PER_STEP)
    steps = min(max(_EPOCHS * steps_per_epoch, _FEWEST_STEPS), _MOST_STEPS)
    optimizer = torch.optim.AdamW(weights.values(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    order = torch.zeros(0, dtype=torch.int64)
    for _ in range(steps):
        if not len(order):
            order = documents[torch.randperm(len(documents), generator=generator)]
        chosen, order = order[:_DOCUMENTS_PER_STEP], order[_DOCUMENTS_PER_STEP:]
        rows = torch.cat(
            [torch.arange(int(starts[i]), int(starts[i] + lengths[i])) for i in chosen]
        )
        kept = torch.rand((stack.networks, len(rows), stack.hidden_units), generator=generator)
        dropout = (kept >= _DROPOUT) / (1 - _DROPOUT)
        with torch.enable_grad():
            scores = stack.ask(inputs[rows], weights, dropout)
            # Each network has all documents to itself.
            each = lengths[chosen].repeat(stack.networks)
            structure = Structure(torch.ones_like(each), each)
            known = labels[rows].repeat(stack.networks)
            own, _ = head.losses(scores.flatten(), known, structure)
            optimizer.zero_grad()
            (own.sum() / len(chosen)).backward()
        optimizer.step()
        schedule.step()
    for name, values in weights.items():
        getattr(stack, name).copy_(values.detach())
