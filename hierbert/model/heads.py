"""Heads: each reads a bundle of vectors, gives scores and losses, and turns scores into answers.

A document without targets has a loss of exactly 0 and no gradient, whatever its scores. Checkpoints
may hold any head that is registered here; `HierBertForDocuments` names none of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .aggregation import POSITION_FEATURES, Aggregator, position_features
from .configuration_hierbert import HierBertConfig
from .decoding import SummaryRule, label_answer, summary_sentences, summary_text
from .ragged import group_log_softmax, group_mean, group_of_unit, group_starts
from .segmentation import SegmentedDocument

MISSING_LABEL = -100


@dataclass
class Structure:
    """Which units belong together in a flat batch; D documents, P segments, N sentences.

    Attributes:
        segments_per_document: int64 (D,), with the sum P.
        sentences_per_document: int64 (D,), with the sum N.
        sentence_segments: Segment in which each sentence begins, counted through the batch,
            ascending, int64 (N,); None where no head reads sentences, as the next.
        sentence_tokens: Tokens of each sentence, int64 (N,).
    """

    segments_per_document: Tensor
    sentences_per_document: Tensor
    sentence_segments: Tensor | None = None
    sentence_tokens: Tensor | None = None

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> "Structure":
        """Those of a model's inputs that have these names."""
        values: dict[str, Any] = {each.name: inputs.get(each.name) for each in fields(cls)}
        return cls(**values)


@dataclass
class Vectors:
    """What heads read of a batch; D documents, P segments, N sentences, H hidden.

    Attributes:
        document: float (D, H).
        segment: As the encoder pools them, before the aggregator, float (P, H).
        segment_states: After the aggregator, float (P, H).
        structure: Which of them belong together.
        sentence: float32 (N, H); None where no head reads them.
        features: The output of each `Feature` that a head reads, by its name.
    """

    document: Tensor
    segment: Tensor
    segment_states: Tensor
    structure: Structure
    sentence: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)


class Head(nn.Module):
    """One question that a model answers from its vectors; made from the model's config.

    Attributes:
        name: Of the head and of its task, such as "classification". Its targets are the argument
            ``targets.NAME`` of `HierBertForDocuments.forward`.
        verb: What users ask a model for: "classify".
        attribute: The name of the head's module in a model, and so the prefix of its weights.
        reads: Of "document", "segment", "segment_states", "sentence" and the names of features;
            sentence vectors and features are only made for a head that reads them.
        level: Whether there is one row of scores for each document, or one for each sentence.
        options_class: Of what `answer` takes as options; None where it takes none.
    """

    name: ClassVar[str]
    verb: ClassVar[str]
    attribute: ClassVar[str]
    reads: ClassVar[frozenset[str]]
    level: ClassVar[Literal["document", "sentence"]] = "document"
    options_class: ClassVar[type | None] = None

    def forward(self, vectors: Vectors) -> Tensor:
        """Scores, float with a row for each document, or for each sentence."""
        raise NotImplementedError

    def losses(
        self, scores: Tensor, targets: Tensor, structure: Structure
    ) -> tuple[Tensor, Tensor]:
        """The loss of each document, float32 (D,), and which documents count, bool (D,).

        A document that does not count has a loss of exactly 0. `targets` are what the task's
        `collate` makes.
        """
        raise NotImplementedError

    def loss_weight(self, config: HierBertConfig) -> float:
        """The factor of its loss in the sum."""
        return float(getattr(config, f"{self.name}_loss_weight", 1.0))

    def calibrated(self, scores: Tensor, config: HierBertConfig) -> Tensor:
        """The scores to answer with; losses read those before."""
        return scores

    def answer(
        self,
        document: SegmentedDocument,
        scores: Tensor,
        sentence_vectors: Tensor | None,
        config: HierBertConfig,
        options: Any = None,
    ) -> dict[str, Any]:
        """The fields of a row for one document.

        Args:
            document: Of N sentences.
            scores: Those of the document, float32 on the CPU: one row, or (N,).
            sentence_vectors: float (N, H); None where the head reads none.
            config: The model's.
            options: An `options_class`; None for what the config says.
        """
        raise NotImplementedError


HEADS: dict[str, type[Head]] = {}

_Kind = TypeVar("_Kind", bound=type[Head])


def register_head(head: _Kind) -> _Kind:
    """Register a kind of head, as a class decorator; models make theirs in this order."""
    HEADS[head.name] = head
    return head


def check_registered(kind: str, names: Iterable[str], registry: Mapping[str, Any]) -> None:
    """Refuse a head or a feature that is not registered, by its name."""
    for name in names:
        if name not in registry:
            raise ValueError(
                f"this model has a {kind} called {name!r}; those known here are "
                f"{', '.join(registry) or 'none'}; import the module that registers it first"
            )


@register_head
class ClassificationHead(Head):
    """Document vectors to logits; single-label, multi-label or regression.

    Args:
        config: `problem_type` (single-label when None), `num_labels`, `class_weights`,
            `label_smoothing`, `label_mean`, `label_scale` and `dropout` are read.
    """

    name = "classification"
    verb = "classify"
    attribute = "classifier"
    reads = frozenset(["document"])

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__()
        self.problem_type = config.problem_type or "single_label_classification"
        self.label_smoothing = config.label_smoothing
        self.class_weights = config.class_weights
        self.label_mean = config.label_mean
        self.label_scale = config.label_scale
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, vectors: Vectors) -> Tensor:
        """Logits, float (D, C)."""
        return self.output(self.dropout(self.norm(vectors.document)))

    def calibrated(self, scores: Tensor, config: HierBertConfig) -> Tensor:
        """Logits over the config's temperature."""
        return scores / config.temperature

    def answer(
        self,
        document: SegmentedDocument,
        scores: Tensor,
        sentence_vectors: Tensor | None,
        config: HierBertConfig,
        options: None = None,
    ) -> dict[str, Any]:
        """`label` or `labels`, and `probabilities`: see `label_answer`."""
        return label_answer(scores, config)

    def losses(
        self, logits: Tensor, labels: Tensor, structure: Structure | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy; binary for several labels; the squared error for numbers.

        Args:
            logits: float (D, C).
            labels: Single-label: int64 (D,), `MISSING_LABEL` where none is known.
                Multi-label: float (D, C) of 0 and 1. Regression: float (D,) or (D, C), in
                their own unit: the logits are compared with (label - mean) / scale.
                NaN anywhere in a document's row leaves the document out.
            structure: Not read.
        """
        logits = logits.float()
        weights = None
        if self.class_weights is not None:
            weights = torch.tensor(self.class_weights, device=logits.device)
        if self.problem_type == "single_label_classification":
            labelled = labels != MISSING_LABEL
            losses = F.cross_entropy(
                logits,
                labels.masked_fill(~labelled, 0),
                weight=weights,
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
        else:
            targets = labels.float().view(logits.shape)
            labelled = ~targets.isnan().any(1)
            targets = targets.masked_fill(~labelled[:, None], 0.0)
            if self.problem_type == "regression":
                targets = (targets - self.label_mean) / self.label_scale
                losses = F.mse_loss(logits, targets, reduction="none").mean(1)
            else:
                losses = F.binary_cross_entropy_with_logits(
                    logits, targets, pos_weight=weights, reduction="none"
                ).mean(1)
        return torch.where(labelled, losses, losses * 0.0), labelled


@register_head
class SummarizationHead(Head):
    """A score for each sentence, from its vector, its segment's, its document's and its place.

    Args:
        config: Reads `hidden_size`, `sentence_layers`, `sentence_reach`, `attention_heads`,
            `dropout` and `listwise_loss_weight`.
    """

    name = "summarization"
    verb = "summarize"
    attribute = "summarizer"
    reads = frozenset(["document", "segment_states", "sentence"])
    level = "sentence"
    options_class = SummaryRule

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.listwise_loss_weight = config.listwise_loss_weight
        self.sentence_norm = nn.LayerNorm(hidden)
        self.segment_norm = nn.LayerNorm(hidden)
        self.document_norm = nn.LayerNorm(hidden)
        self.from_segment = nn.Linear(hidden, hidden)
        self.from_document = nn.Linear(hidden, hidden)
        # Place in the document, place in the segment, and the sentence's length in tokens.
        self.from_place = nn.Linear(2 * POSITION_FEATURES + 1, hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.context = Aggregator(
            hidden,
            config.sentence_layers,
            config.heads,
            config.dropout,
            group_token=False,
            reach=config.sentence_reach,
        )
        self.hidden = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, 1)

    def forward(self, vectors: Vectors) -> Tensor:
        """A score (logit) for each sentence of the batch, float (N,).

        Raises:
            ValueError: There are no sentence vectors, or it is not known where they belong.
        """
        structure, sentence_vectors = vectors.structure, vectors.sentence
        sentence_segments, sentence_tokens = structure.sentence_segments, structure.sentence_tokens
        if sentence_vectors is None or sentence_segments is None or sentence_tokens is None:
            raise ValueError(
                "a model that summarizes needs sentence_index, sentence_segments and "
                "sentence_tokens, as HierBertProcessor makes them"
            )
        sentences_per_document = structure.sentences_per_document
        segment_states, document_vectors = vectors.segment_states, vectors.document
        if len(sentence_vectors) == 0:
            # Every process must run every parameter, also for a batch of empty documents.
            around = self._from_segments(segment_states[:1]) + self._from_documents(
                document_vectors[:1]
            )
            place = sentence_vectors.new_zeros(1, 2 * POSITION_FEATURES + 1)
            nothing = sentence_vectors.new_zeros(1, sentence_vectors.shape[1])
            one = torch.ones_like(sentences_per_document[:1])
            return self._score(self._states(nothing, around, place), one)[:0]
        documents = group_of_unit(sentences_per_document)
        index = torch.arange(len(sentence_vectors), device=sentence_vectors.device)
        in_document = index - group_starts(sentences_per_document)[documents]
        per_segment = torch.bincount(sentence_segments, minlength=len(segment_states))
        in_segment = index - group_starts(per_segment)[sentence_segments]
        place = torch.cat(
            [
                position_features(in_document, sentences_per_document[documents]),
                position_features(in_segment, per_segment[sentence_segments]),
                torch.log1p(sentence_tokens.float())[:, None] / 4.0,
            ],
            dim=1,
        )
        # Once a segment and a document, not once a sentence.
        around = self._from_segments(segment_states)[sentence_segments]
        around = around + self._from_documents(document_vectors)[documents]
        states = self._states(sentence_vectors, around, place)
        del around, place  # each as large as the sentence vectors of a long document
        return self._score(states, sentences_per_document[sentences_per_document > 0])

    def _from_segments(self, segment_states: Tensor) -> Tensor:
        """Each segment's part in the states of its sentences, float (P, H)."""
        return self.from_segment(self.segment_norm(segment_states))

    def _from_documents(self, document_vectors: Tensor) -> Tensor:
        """Each document's part in the states of its sentences, float (D, H)."""
        return self.from_document(self.document_norm(document_vectors))

    def _states(self, sentences: Tensor, around: Tensor, place: Tensor) -> Tensor:
        """Sentences with what is around them and their places, float (N, H)."""
        sentences = sentences.to(self.hidden.weight.dtype)
        return self.sentence_norm(sentences) + around + self.from_place(place.to(sentences.dtype))

    def _score(self, states: Tensor, sizes: Tensor) -> Tensor:
        """Scores, float (N,), of the sentences of documents of these sizes."""
        states, _ = self.context(self.dropout(states), sizes)
        return self.output(self.dropout(F.gelu(self.hidden(states)))).squeeze(-1)

    def answer(
        self,
        document: SegmentedDocument,
        scores: Tensor,
        sentence_vectors: Tensor | None,
        config: HierBertConfig,
        options: SummaryRule | None = None,
    ) -> dict[str, Any]:
        """`summary`, its sentences a line each, and `sentences`, with their places."""
        rule = options or SummaryRule.from_config(config)
        selected = rule.select(document, scores.tolist(), sentence_vectors)
        return {
            "summary": summary_text(document, selected),
            "sentences": summary_sentences(document, selected, scores),
        }

    def losses(
        self, scores: Tensor, sentence_labels: Tensor, structure: Structure
    ) -> tuple[Tensor, Tensor]:
        """The mean binary cross-entropy of a document's sentences plus a listwise term.

        The listwise term is the divergence of the softmax of the scores from the labels'
        distribution (ListNet, Cao et al. 2007); a few positives among hundreds of sentences
        weigh in it as much as they should.

        Args:
            scores: float (N,).
            sentence_labels: How much each sentence belongs into the summary, float (N,) in
                [0, 1]; NaN in any sentence of a document leaves the document out.
            structure: Of the batch.
        """
        sentences_per_document = structure.sentences_per_document
        scores = scores.float()
        targets = sentence_labels.float()
        documents = group_of_unit(sentences_per_document)
        missing = torch.zeros(len(sentences_per_document), device=scores.device)
        missing = missing.index_add(0, documents, targets.isnan().float())
        labelled = (missing == 0) & (sentences_per_document > 0)
        targets = targets.masked_fill(~labelled[documents], 0.0)
        pointwise = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        losses = group_mean(pointwise, sentences_per_document)
        if self.listwise_loss_weight:
            mass = torch.zeros_like(missing).index_add(0, documents, targets)
            shares = targets / mass.clamp(min=1e-9)[documents]
            cross = -shares * group_log_softmax(scores, sentences_per_document)
            entropy = torch.special.entr(shares)
            listwise = torch.zeros_like(missing).index_add(0, documents, cross - entropy)
            losses = losses + self.listwise_loss_weight * listwise
        return torch.where(labelled, losses, losses * 0.0), labelled
