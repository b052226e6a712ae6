"""Linear models of words, of form and place, and of vectors that score sentences, stacked.

As with labels (see `stacking`), each linear model scores a training document by a fit without it.
Small networks then learn from these scores, and from LexRank's, what to make of them; being few,
they are trained on the whole corpus in seconds. What gradient steps have trained is weighed on
validation documents. Where all of it says no more of documents that were held out than LexRank,
which learns nothing, that one is the model.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hierbert.log import log
from hierbert.model.central_words import CentralWords
from hierbert.model.heads import Structure
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.ragged import group_starts
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.sentence_columns import COLUMNS
from hierbert.model.sentence_features import SentenceFeatures
from hierbert.model.sentence_stack import SentenceStack, closeness, stacked
from hierbert.model.summarization_head import SummarizationHead
from hierbert.scoring.logistic import Fitted, Floats, draw_few, fit_logistic
from hierbert.scoring.sentence_models import (
    FEW_SENTENCES,
    LabelledSentences,
    draw_documents,
    in_batches,
    linear_inputs,
    set_spread,
)
from hierbert.tasks.members import fit_linear, gains, put_members, share_of_layers
from hierbert.tasks.task import Completed, HeldOut

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

_DOCUMENTS_PER_STEP = 8
# Of very few documents more epochs are known by heart, and say less of others.
_EPOCHS, _MOST_EPOCHS = 12, 30
_FEWEST_STEPS, _MOST_STEPS = 150, 1_500
_LEARNING_RATE, _WEIGHT_DECAY, _DROPOUT = 3e-3, 0.05, 0.2
# Whether training has gained anything is asked of at most so many documents.
_MOST_JUDGED = 200
_LEXRANK = CentralWords.name


@dataclass(frozen=True)
class Labelled(LabelledSentences):
    """Documents of a split, each with at least one sentence.

    Attributes:
        selectable: Whether each sentence may be selected, bool (N,).
        document_losses: Of each document its loss by the scores of its sentences, such as a ROUGE
            with its sign changed.
    """

    selectable: npt.NDArray[np.bool_]
    document_losses: Sequence[Callable[[Floats], float]]

    @cached_property
    def central(self) -> Tensor:
        """LexRank's scores of all sentences, float32 (N,)."""
        if not self.documents:
            return torch.zeros(0)
        return CentralWords().collate(self.documents)["scores"]

    def losses(self, scores: Floats) -> Floats:
        """Of each document by the scores of all sentences, float64 (D,)."""
        each = np.split(scores, np.cumsum(self.lengths)[:-1])
        pairs = zip(self.document_losses, each, strict=True)
        return np.array([loss(own) for loss, own in pairs] if self.document_losses else [])

    def rows(self, documents: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which sentences are of these documents, bool (N,)."""
        chosen = np.isin(np.arange(len(self.documents)), documents)
        return np.repeat(chosen, self.lengths)

    def drawn(self, documents: npt.NDArray[np.int64]) -> "Labelled":
        """Some of them, by ascending places."""
        rows = self.rows(documents)
        found = Labelled(
            [self.documents[place] for place in documents],
            self.labels[rows],
            self.selectable[rows],
            [self.document_losses[place] for place in documents],
        )
        if "central" in vars(self):
            # A walk over all pairs of sentences is not done twice.
            vars(found)["central"] = self.central[rows]
        return found


@dataclass
class SentenceSum(Completed):
    """A head's scores of sentences: a sum of its layers' and of a stack's, or LexRank's.

    Attributes:
        weights: Of each member, by name.
        features: What the members read.
        stack: The member of that name; None where there is none.
        results: What was found.
        line: The same in words.
        held_out: Nothing: scores of sentences are not calibrated.
    """

    weights: dict[str, float]
    features: Sequence[SentenceFeatures | CentralWords]
    stack: SentenceStack | None
    results: dict[str, Any]
    line: str
    held_out: HeldOut

    def put_into(self, model: HierBertForDocuments) -> None:
        """Let a model's summarization head be this sum; its layers stay as they are."""
        settings = None if self.stack is None else self.stack.settings
        put_members(
            model,
            SummarizationHead.name,
            {"sentence_weights": self.weights, "sentence_stack": settings},
            self.features,
            {} if self.stack is None else {"stack": self.stack},
        )


def fit_sentence_stack(
    head: SummarizationHead,
    train: Labelled,
    validation: Labelled,
    layers: Floats,
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
        words: Whether words are read.
        vectors: Of a frozen encoder; None reads none.
        seed: Of the networks.

    Returns:
        The sum, or LexRank alone where documents that were held out are better off with that; None
        where it is the layers alone.
    """
    train = train.drawn(draw_documents(train.lengths))
    found, judged = None, [(validation, layers)]
    if train.can_be_held_out:
        found, judged = _fit_sum(head, train, validation, layers, words, vectors, seed)
    # Of documents that were held out, with what training has made of them and without.
    trained = np.concatenate([labelled.losses(scores) for labelled, scores in judged])
    plain = np.concatenate([one.losses(one.central.double().numpy()) for one, _ in judged])
    if not len(trained):
        return _lexrank_alone("nothing says whether training gained anything", {})
    shown = {
        "documents": len(trained),
        "trained": -float(trained.mean()),
        "lexrank": -float(plain.mean()),
    }
    line = "{trained:.4f}, LexRank {lexrank:.4f} on {documents:,} held-out documents".format(
        **shown
    )
    if gains(trained, plain, 0.0):
        return _lexrank_alone(f"training gained nothing ({line})", shown)
    if found is not None:
        found.results["sentence_members"]["held_out"] = shown
        found.line += f"; {line}"
    return found


def _lexrank_alone(reason: str, shown: dict[str, Any]) -> SentenceSum:
    weights = {_LEXRANK: 1.0}
    results = {"sentence_members": {"weights": weights, "held_out": shown}}
    line = f"scores of sentences: LexRank alone, for {reason}"
    return SentenceSum(weights, [CentralWords()], None, results, line, HeldOut([], []))


def _fit_sum(
    head: SummarizationHead,
    train: Labelled,
    validation: Labelled,
    layers: Floats,
    words: bool,
    vectors: "VectorSource | None",
    seed: int,
) -> tuple[SentenceSum | None, list[tuple[Labelled, Floats]]]:
    """The sum, None for the layers alone; and documents with scores of it that can be judged by."""
    log.info(
        f"fitting models of {len(train.labels):,} sentences of {len(train.documents):,} documents"
    )
    lengths = torch.from_numpy(train.lengths)
    features = SentenceFeatures(words)
    fitted, columns = _fit_features(features, train)
    hidden_size = None
    if vectors is not None:
        of_sentences = sentence_vectors(vectors, train.documents)
        if bool(of_sentences.isfinite().all()):
            hidden_size = of_sentences.shape[1]
        else:
            log.warning("sentence vectors that are not finite: summaries get no model of vectors")
            vectors = None
    stack = SentenceStack(features.models, COLUMNS, hidden_size)
    if stack.linear is not None:
        by_sentence = np.repeat(train.folds, train.lengths)
        fitted["vectors"] = fit_linear(
            stack.linear, of_sentences.numpy(), train.targets, by_sentence, FEW_SENTENCES
        )
        columns = torch.cat([columns, closeness(of_sentences, lengths)], 1)
    held_out = [torch.from_numpy(one.held_out).float() for one in fitted.values()]
    held_out.append(train.central[:, None])
    inputs = stacked(torch.cat(held_out, 1), columns, lengths)
    set_spread(stack.center, stack.scale, inputs)
    inputs = stack.standardised(inputs)
    _train(stack, inputs, train, head, seed)
    scores = _ask(features, stack, validation, vectors)
    margin = 1.0 if vectors is not None else 0.0
    share = share_of_layers(
        validation.targets,
        np.repeat(validation.folds, validation.lengths),
        scores[:, None],
        layers[:, None],
        margin,
        lambda given: validation.losses(given[:, 0]),
    )
    if share is None:
        weights = {"stack": 1.0}
        judged = [
            (validation, scores),
            *_held_out(stack, inputs, train, len(validation.documents), head, seed),
        ]
    elif share[0] > 0:
        weights = {"stack": share[0], "deep": share[1]}
        judged = [(validation, share[0] * scores + share[1] * layers)]
    else:
        # What weighs nothing does not travel.
        return None, [(validation, layers)]
    log_losses = {name: one.log_loss for name, one in fitted.items()}
    parts = " + ".join(f"{weight:.2f} x {name}" for name, weight in weights.items())
    shown = ", ".join(f"{name} {loss:.4f}" for name, loss in log_losses.items())
    found = SentenceSum(
        weights,
        [features, CentralWords()],
        stack,
        {"sentence_members": {"weights": weights, "log_loss": log_losses}},
        f"scores of sentences: {parts} (log loss of held-out training sentences: {shown})",
        HeldOut([], []),
    )
    return found, judged


def _held_out(
    stack: SentenceStack,
    inputs: Tensor,
    train: Labelled,
    judged: int,
    head: SummarizationHead,
    seed: int,
) -> list[tuple[Labelled, Floats]]:
    """Training documents, each scored by networks that others have taught: half of them the other.

    As many as are wanted beside those that are `judged` already.
    """
    wanted = draw_few(len(train.documents), max(0, _MOST_JUDGED - judged))
    found = []
    for half in (0, 1):
        asked = np.array(
            [place for place in wanted if train.folds[place] % 2 == half], dtype=np.int64
        )
        taught = np.flatnonzero(train.folds % 2 != half)
        if not len(asked):
            continue
        other = copy.deepcopy(stack)
        _train(other, inputs[train.rows(taught)], train.drawn(taught), head, seed)
        with torch.no_grad():
            scores = other.mean_score(inputs[train.rows(asked)])
        found.append((train.drawn(asked), scores.double().numpy()))
    return found


def _fit_features(features: SentenceFeatures, train: Labelled) -> tuple[dict[str, Fitted], Tensor]:
    """Fit the linear models of a feature; gives them, and the columns, standardised."""
    read = features.collate(train.documents)
    set_spread(features.center, features.scale, read["columns"])
    folds = np.repeat(train.folds, train.lengths)
    fitted = {
        name: fit_logistic(rows, train.targets, folds, few=FEW_SENTENCES)
        for name, rows in linear_inputs(features, read).items()
    }
    for place, one in enumerate(fitted.values()):
        features.set_model(place, torch.from_numpy(one.weights[:, 0]), float(one.bias[0]))
    return fitted, features.standardised(read["columns"])


def sentence_vectors(vectors: "VectorSource", documents: Sequence[SegmentedDocument]) -> Tensor:
    """Sentence vectors of documents, float32 (N, H)."""
    return torch.cat([vectors.batch(batch)[1].float() for batch in in_batches(documents)])


def _ask(
    features: SentenceFeatures,
    stack: SentenceStack,
    asked: Labelled,
    vectors: "VectorSource | None",
) -> Floats:
    """What a stack says of sentences, float64 (N,)."""
    found, start = [np.zeros(0)], 0
    with torch.no_grad():
        for batch in in_batches(asked.documents):
            lengths = torch.tensor([len(one.sentence_spans) for one in batch])
            central = asked.central[start : start + int(lengths.sum())]
            start += len(central)
            own = None if vectors is None else vectors.batch(batch)[1]
            rows = features(features.collate(batch), Structure.of_documents(batch))
            found.append(stack(rows, central, own, lengths).double().numpy())
    return np.concatenate(found)


def _train(
    stack: SentenceStack, inputs: Tensor, train: Labelled, head: SummarizationHead, seed: int
) -> None:
    """Train the networks of a stack, all at once, on the selectable sentences."""
    lengths, may = torch.from_numpy(train.lengths), torch.from_numpy(train.selectable)
    owners = torch.repeat_interleave(torch.arange(len(lengths)), lengths)[may]
    inputs, labels = inputs[may], torch.from_numpy(train.labels).float()[may]
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
    fewest = min(_FEWEST_STEPS, _MOST_EPOCHS * steps_per_epoch)
    steps = min(max(_EPOCHS * steps_per_epoch, fewest), _MOST_STEPS)
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
