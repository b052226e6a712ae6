"""Numbers to answers: logits to labels, sentence scores to a summary with its places.

The last step of every use of a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .configuration_hierbert import HierBertConfig
from .segmentation import SegmentedDocument
from .selection import SUMMARY_ORDERS, Budget, count_words, select_sentences, sentence_costs


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
class SummaryRule:
    """How scored sentences become a summary.

    Attributes:
        budget: The greatest length of the summary.
        order: "document" or "score".
        redundancy: Weight of maximal marginal relevance, 0 (off) to 1.
        min_words_per_sentence: Shorter sentences are not selected, unless there is no longer one.

    Raises:
        ValueError: A value is not allowed.
    """

    budget: Budget
    order: str = "document"
    redundancy: float = 0.0
    min_words_per_sentence: int = 0

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

    def selectable(self, texts: Sequence[str]) -> list[bool]:
        """Which sentences may be selected: the long enough, or all that are not blank."""
        not_blank = [bool(text.strip()) for text in texts]
        long_enough = [
            there and count_words(text) >= self.min_words_per_sentence
            for there, text in zip(not_blank, texts, strict=True)
        ]
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
            redundancy=0.0 if vectors is None else self.redundancy,
            similarity=None if vectors is None else partial(Cosines, vectors),
            selectable=self.selectable(texts),
        )


class Cosines:
    """Cosines of sentence vectors to those of the sentences that one selection has selected.

    A vector of zeros has the cosine 0 to all.

    Args:
        vectors: Sentence vectors, float (N, H); they are read, not copied.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors
        self.lengths = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float32)
        self.lengths.clamp_(min=1e-12)
        # The selected ones lie side by side, in a table that doubles when it is full.
        self.selected = vectors.new_empty((16, vectors.shape[1]), dtype=torch.float32)
        self.count = 0

    def select(self, index: int) -> None:
        """Note that a sentence was selected."""
        if self.count == len(self.selected):
            self.selected = torch.cat([self.selected, torch.empty_like(self.selected)])
        self.selected[self.count] = self._units([index])[0]
        self.count += 1

    def nearest(self, indices: Sequence[int], first: int) -> list[float]:
        """The greatest cosine of each sentence to the selected ones but for the `first`."""
        return (self._units(indices) @ self.selected[first : self.count].T).amax(1).tolist()

    def _units(self, indices: Sequence[int]) -> Tensor:
        rows = torch.tensor(indices, device=self.vectors.device)
        return self.vectors[rows].float() / self.lengths[rows, None]


def summary_text(document: SegmentedDocument, selected: Sequence[int]) -> str:
    """The selected sentences, each on one line, also where it was broken over lines."""
    sentences = document.sentences
    return "\n".join(" ".join(sentences[index].split()) for index in selected)


def summary_sentences(
    document: SegmentedDocument, selected: Sequence[int], scores: Tensor
) -> list[SummarySentence]:
    """The selected sentences with their places; `scores` are the logits of all, float (N,)."""
    shares = scores.sigmoid().tolist()
    spans = [document.sentence_spans[index] for index in selected]
    return [
        SummarySentence(document.text[start:end], start, end, shares[index])
        for index, (start, end) in zip(selected, spans, strict=True)
    ]


def regression_values(logits: Tensor, config: HierBertConfig) -> Tensor:
    """The numbers a regression predicts, in the unit of its labels; float32 of any shape."""
    return logits.float() * config.label_scale + config.label_mean


def label_answer(logits: Tensor, config: HierBertConfig) -> dict[str, Any]:
    """The answer of one document's logits, float (C,).

    Returns:
        `label` and `probabilities`; multi-label: `labels`, those that reach the threshold,
        likeliest first, and `probabilities`; regression: `label`, a number.
    """
    if config.problem_type == "regression":
        return {"label": float(regression_values(logits, config)[0])}
    names = [config.id2label[number] for number in range(config.num_labels)]
    several = config.problem_type == "multi_label_classification"
    shares = logits.sigmoid() if several else logits.softmax(0)
    probabilities = dict(zip(names, shares.tolist(), strict=True))
    if not several:
        return {"label": names[int(shares.argmax())], "probabilities": probabilities}
    reached = [name for name in names if probabilities[name] >= config.decision_threshold]
    reached.sort(key=lambda name: -probabilities[name])
    return {"labels": reached, "probabilities": probabilities}
