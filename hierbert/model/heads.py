"""Heads: they read vectors by name (sentence, segment, document) and know nothing of text.

Each gives its answers and, where labels are there, a loss for each document. A document without
a label has a loss of exactly 0 and no gradient, whatever its scores.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .aggregation import POSITION_FEATURES, Aggregator, position_features
from .configuration_hierbert import HierBertConfig
from .ragged import group_log_softmax, group_mean, group_of_unit, group_starts

MISSING_LABEL = -100


class ClassificationHead(nn.Module):
    """Document vectors to logits; single-label, multi-label or regression.

    Args:
        config: `problem_type` (single-label when None), `num_labels`, `class_weights`,
            `label_smoothing`, `label_mean`, `label_scale` and `dropout` are read.
    """

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

    def forward(self, document_vectors: Tensor) -> Tensor:
        """Logits, float (D, C), of document vectors, float (D, H)."""
        return self.output(self.dropout(self.norm(document_vectors)))

    def losses(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each document and which documents count.

        Args:
            logits: float (D, C).
            labels: Single-label: int64 (D,), `MISSING_LABEL` where none is known.
                Multi-label: float (D, C) of 0 and 1. Regression: float (D,) or (D, C), in
                their own unit: the logits are compared with (label - mean) / scale.
                NaN anywhere in a document's row leaves the document out.

        Returns:
            Losses, float32 (D,), 0 for documents without label; labelled, bool (D,).
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


class SummarizationHead(nn.Module):
    """A score for each sentence, from its vector, its segment's, its document's and its place.

    Args:
        config: Reads `hidden_size`, `sentence_layers`, `sentence_reach`, `attention_heads`,
            `dropout` and `listwise_loss_weight`.
    """

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

    def forward(
        self,
        sentence_vectors: Tensor,
        segment_states: Tensor,
        document_vectors: Tensor,
        sentences_per_document: Tensor,
        sentence_segments: Tensor,
        sentence_tokens: Tensor,
    ) -> Tensor:
        """Score all sentences of a batch.

        Args:
            sentence_vectors: float (N, H).
            segment_states: Contextual segment vectors, float (P, H).
            document_vectors: float (D, H).
            sentences_per_document: int64 (D,), with the sum N.
            sentence_segments: Segment in which each sentence begins, int64 (N,), ascending.
            sentence_tokens: Tokens of each sentence, int64 (N,).

        Returns:
            Scores (logits), float (N,).
        """
        if len(sentence_vectors) == 0:
            # Every process must run every parameter, also for a batch of empty documents.
            around = self._around(segment_states[:1]) + self._beside(document_vectors[:1])
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
        around = self._around(segment_states)[sentence_segments]
        around = around + self._beside(document_vectors)[documents]
        states = self._states(sentence_vectors, around, place)
        del around, place  # each as large as the sentence vectors of a long document
        return self._score(states, sentences_per_document[sentences_per_document > 0])

    def _around(self, segment_states: Tensor) -> Tensor:
        """What a segment says to its sentences, float (P, H)."""
        return self.from_segment(self.segment_norm(segment_states))

    def _beside(self, document_vectors: Tensor) -> Tensor:
        """What a document says to its sentences, float (D, H)."""
        return self.from_document(self.document_norm(document_vectors))

    def _states(self, sentences: Tensor, around: Tensor, place: Tensor) -> Tensor:
        """Sentences with what is around them and their places, float (N, H)."""
        sentences = sentences.to(self.hidden.weight.dtype)
        return self.sentence_norm(sentences) + around + self.from_place(place.to(sentences.dtype))

    def _score(self, states: Tensor, sizes: Tensor) -> Tensor:
        """Scores, float (N,), of the sentences of documents of these sizes."""
        states, _ = self.context(self.dropout(states), sizes)
        return self.output(self.dropout(F.gelu(self.hidden(states)))).squeeze(-1)

    def losses(
        self, scores: Tensor, sentence_labels: Tensor, sentences_per_document: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss of each document: mean binary cross-entropy plus a listwise term.

        The listwise term is the divergence of the softmax of the scores from the labels'
        distribution (ListNet, Cao et al. 2007); a few positives among hundreds of sentences
        weigh in it as much as they should.

        Args:
            scores: float (N,).
            sentence_labels: How much each sentence belongs into the summary, float (N,) in
                [0, 1]; NaN in any sentence of a document leaves the document out.
            sentences_per_document: int64 (D,), with the sum N.

        Returns:
            Losses, float32 (D,), 0 for documents without labels; labelled, bool (D,).
        """
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
