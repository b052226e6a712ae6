"""Numbers to answers: logits to labels, sentence scores to a summary with its places.

The last step of every use of a model, in training's evaluation, in the predictor, and where only
the checkpoint's own files are at hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from .configuration_hierbert import HierBertConfig
from .segmentation import SegmentedDocument
from .selection import Budget, count_words, select_within


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
        budget: Its greatest length.
        order: "document" or "score".
        redundancy: Weight of maximal marginal relevance, 0 (off) to 1.
        min_words_per_sentence: Shorter sentences are not selected, unless there is no longer one.
    """

    budget: Budget
    order: str = "document"
    redundancy: float = 0.0
    min_words_per_sentence: int = 0

    @classmethod
    def from_config(cls, config: HierBertConfig) -> "SummaryRule":
        """The way of summarizing that a model was trained for."""
        whole = config.summary_budget != "ratio"
        limit: Any = int(config.summary_limit) if whole else config.summary_limit
        budget = Budget(**{config.summary_budget: limit})
        return cls(
            budget,
            config.summary_order,
            config.summary_redundancy,
            config.summary_min_words_per_sentence,
        )

    def selectable(self, texts: Sequence[str]) -> list[bool]:
        """Which sentences may be in a summary: those that say something, headings left out.

        Args:
            texts: The document's sentences.

        Returns:
            One answer for each; where none is long enough, all that are not blank.
        """
        long_enough = [
            bool(text.strip()) and count_words(text) >= self.min_words_per_sentence
            for text in texts
        ]
        return long_enough if any(long_enough) else [bool(text.strip()) for text in texts]

    def select(
        self, document: SegmentedDocument, scores: Sequence[float], vectors: Tensor | None = None
    ) -> list[int]:
        """Indices of the selected sentences, in the summary's order.

        Args:
            document: Of N sentences.
            scores: N.
            vectors: Sentence vectors, float (N, H); without them redundancy has no effect.

        Returns:
            Indices into the document's sentences.
        """
        texts = document.sentences
        similar = _cosines(vectors) if self.redundancy and vectors is not None else None
        return select_within(
            scores,
            texts,
            self.budget,
            token_counts=document.sentence_tokens.tolist(),
            order=self.order,
            redundancy=self.redundancy if similar else 0.0,
            similarity=similar,
            selectable=self.selectable(texts),
        )


def _cosines(vectors: Tensor) -> Callable[[int], list[float]]:
    units = F.normalize(vectors.float(), dim=1)
    return lambda index: (units @ units[index]).tolist()


def summary_text(document: SegmentedDocument, selected: Sequence[int]) -> str:
    """The selected sentences, each on one line, also where it was broken over lines."""
    sentences = document.sentences
    return "\n".join(" ".join(sentences[index].split()) for index in selected)


def summary_sentences(
    document: SegmentedDocument, selected: Sequence[int], scores: Tensor
) -> list[SummarySentence]:
    """The selected sentences with their places.

    Args:
        document: Of N sentences.
        selected: Indices of sentences.
        scores: Logits of all sentences, float (N,).

    Returns:
        One for each selected sentence, in the given order.
    """
    shares = scores.sigmoid().tolist()
    spans = [document.sentence_spans[index] for index in selected]
    return [
        SummarySentence(document.text[start:end], start, end, shares[index])
        for index, (start, end) in zip(selected, spans, strict=True)
    ]


def regression_values(logits: Tensor, config: HierBertConfig) -> Tensor:
    """The numbers a regression predicts, in the unit of its labels.

    Args:
        logits: float, any shape.
        config: `label_mean` and `label_scale` are read.

    Returns:
        float32, of the same shape.
    """
    return logits.float() * config.label_scale + config.label_mean


def label_answer(logits: Tensor, config: HierBertConfig) -> dict[str, Any]:
    """What the logits of one document say.

    Args:
        logits: float (C,).
        config: Names of the labels, the problem type, and the threshold.

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
