"""The head that summarizes: a score for each sentence, and from scores to a summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .aggregation import POSITION_FEATURES, Aggregator, position_features
from .configuration_hierbert import HierBertConfig
from .heads import Answered, Head, Structure, Vectors, register_head
from .ragged import group_log_softmax, group_mean, group_of_unit, group_starts
from .segmentation import SegmentedDocument
from .selection import (
    SUMMARY_BUDGETS,
    SUMMARY_ORDERS,
    Budget,
    count_words,
    select_sentences,
    sentence_costs,
)


@dataclass(frozen=True)
class SummarySentence:
    """A sentence of a summary: `text` is exactly the document's characters start to end.

    Attributes:
        text: As it stands in the document.
        start: First character.
        end: One after the last character.
        score: How much it belongs into a summary, 0 to 1.
    """

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class SummarySentenceOfKind(SummarySentence):
    """The same, with its `kind`, one of `sentence_kinds.KINDS`, where that was asked for."""

    kind: str


@dataclass(frozen=True)
class SummaryRule:
    """How scored sentences become a summary.

    Attributes:
        budget: The greatest length of the summary.
        order: "document" or "score".
        redundancy: Weight of maximal marginal relevance, 0 (off) to 1.
        min_words_per_sentence: Shorter sentences are not selected, unless there is no longer one.
        sentence_kinds: Whether an answer tells the kind of each sentence.

    Raises:
        ValueError: A value is not allowed.
    """

    budget: Budget
    order: str = "document"
    redundancy: float = 0.0
    min_words_per_sentence: int = 0
    sentence_kinds: bool = False

    def __post_init__(self) -> None:
        if self.order not in SUMMARY_ORDERS:
            allowed = ", ".join(SUMMARY_ORDERS)
            raise ValueError(f"order={self.order!r} is not allowed; choose from {allowed}")
        if not 0 <= self.redundancy <= 1:
            raise ValueError(f"redundancy={self.redundancy!r} is not allowed: 0 to 1")

    @classmethod
    def from_config(cls, config: HierBertConfig) -> "SummaryRule":
        """How a model was trained to summarize."""
        limit: Any = config.summary_limit
        limit = limit if config.summary_budget == "ratio" else int(limit)
        return cls(
            Budget(**{config.summary_budget: limit}),
            config.summary_order,
            config.summary_redundancy,
            config.summary_min_words_per_sentence,
        )

    def selectable(self, document: SegmentedDocument) -> list[bool]:
        """Which sentences may be selected: prose that is long enough.

        Where there is none, all that are long enough; where there is none either, or the whole
        document is wanted, all that are not blank.
        """
        texts = document.sentences
        not_blank = [bool(text.strip()) for text in texts]
        if self.budget.ratio == 1:
            return not_blank
        long_enough = [
            there and count_words(text) >= self.min_words_per_sentence
            for there, text in zip(not_blank, texts, strict=True)
        ]
        prose = [
            may_be and kind == "prose"
            for may_be, kind in zip(long_enough, document.sentence_kinds, strict=True)
        ]
        if any(prose):
            return prose
        return long_enough if any(long_enough) else not_blank

    def select(
        self, document: SegmentedDocument, scores: Sequence[float], vectors: Tensor | None = None
    ) -> list[int]:
        """Indices of the selected sentences, in the summary's order.

        Args:
            document: Of N sentences.
            scores: N.
            vectors: Sentence vectors, float (N, H); without them redundancy has no effect.
        """
        texts = document.sentences
        return select_sentences(
            scores,
            sentence_costs(texts, self.budget, document.sentence_tokens.tolist()),
            self.budget.limit(texts),
            order=self.order,
            redundancy=self.redundancy,
            vectors=vectors,
            selectable=self.selectable(document),
        )


def summary_text(document: SegmentedDocument, selected: Sequence[int]) -> str:
    """The selected sentences, each on one line, also where it was broken over lines."""
    sentences = document.sentences
    return "\n".join(" ".join(sentences[index].split()) for index in selected)


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
    settings = (*SUMMARY_BUDGETS, "order", "redundancy", "sentence_kinds")

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
            everything = [segment_states, document_vectors, *self.parameters()]
            return sentence_vectors[:, 0] + sum(each.sum() for each in everything)
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
        around = self.from_segment(self.segment_norm(segment_states))[sentence_segments]
        around = around + self.from_document(self.document_norm(document_vectors))[documents]
        sentences = sentence_vectors.to(self.hidden.weight.dtype)
        states = self.sentence_norm(sentences) + around + self.from_place(place.to(sentences.dtype))
        del around, place  # each as large as the sentence vectors of a long document
        states, _ = self.context(
            self.dropout(states), sentences_per_document[sentences_per_document > 0]
        )
        return self.output(self.dropout(F.gelu(self.hidden(states)))).squeeze(-1)

    @classmethod
    def options(cls, config: HierBertConfig, given: Mapping[str, Any]) -> SummaryRule:
        """The model's own rule, but for what is given; at most one budget."""
        changes = {name: value for name, value in given.items() if value is not None}
        budget = {name: changes.pop(name) for name in SUMMARY_BUDGETS if name in changes}
        if budget:
            changes["budget"] = Budget(**budget)
        return replace(SummaryRule.from_config(config), **changes)

    def answer(
        self, answered: Answered, config: HierBertConfig, options: SummaryRule
    ) -> dict[str, Any]:
        """`summary`, its sentences a line each, and `sentences`, with their places.

        Where the kinds of sentences are asked for, `sentence_kinds` holds those of all.
        """
        document, scores = answered.document, answered.scores[self.name]
        selected = options.select(document, scores.tolist(), answered.sentence_vectors)
        shares = scores.sigmoid().tolist()
        sentences: list[SummarySentence] = []
        for index in selected:
            start, end = document.sentence_spans[index]
            own = (document.text[start:end], start, end, shares[index])
            if options.sentence_kinds:
                sentences.append(SummarySentenceOfKind(*own, document.sentence_kinds[index]))
            else:
                sentences.append(SummarySentence(*own))
        answer = {"summary": summary_text(document, selected), "sentences": sentences}
        if options.sentence_kinds:
            answer["sentence_kinds"] = [
                {"start": start, "end": end, "kind": kind}
                for (start, end), kind in zip(
                    document.sentence_spans, document.sentence_kinds, strict=True
                )
            ]
        return answer

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
