"""Labels, probabilities, summaries and vectors for texts, with offsets into them.

Documents are encoded in batches by tokens; a document's answers do not depend on the batch. Memory
is set by the batch, not by how many documents there are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hierbert.errors import ConfigError, ModelError
from hierbert.evaluation.answers import SummaryRule
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor, collate
from hierbert.model.segmentation import DocumentText, Omission, SegmentedDocument
from hierbert.model.selection import Budget
from hierbert.prediction.loading import load_model

TASKS = ("classify", "summarize", "embed")
TOKENS_PER_BATCH = 16_384
_DOCUMENTS_PER_CALL = 32
_CHARACTERS_PER_CALL = 200_000


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
class Prediction:
    """All that was asked about one document; what was not asked is None.

    Attributes:
        label: The likeliest label; for regression the number.
        labels: Multi-label: those that reach the model's threshold, likeliest first.
        probabilities: Of every label; None for regression.
        summary: The sentences joined by newlines, each on one line.
        sentences: The summary's sentences, in its order.
        document_vector: H numbers.
        segment_vectors: S lists of H numbers, after the encoder and before the aggregator.
        segment_spans: Start and end of each segment in characters.
        omission: What `max_segments` left out of the document; None when nothing was.
    """

    label: str | float | None = None
    labels: list[str] | None = None
    probabilities: dict[str, float] | None = None
    summary: str | None = None
    sentences: list[SummarySentence] | None = None
    document_vector: list[float] | None = None
    segment_vectors: list[list[float]] | None = None
    segment_spans: list[tuple[int, int]] | None = None
    omission: Omission | None = None


class HierBertPredictor:
    """Answers for documents of any length.

        predictor = HierBertPredictor.from_pretrained("runs/quickstart/model")
        predictor.classify(texts)[0].label
        predictor.summarize(texts, max_words=100)[0].sentences

    Args:
        model: A trained model, on its device.
        processor: Its processor.
        batch_tokens: Tokens of a batch of documents; a longer document is a batch of its own.
    """

    def __init__(
        self,
        model: HierBertForDocuments,
        processor: HierBertProcessor,
        batch_tokens: int = TOKENS_PER_BATCH,
    ) -> None:
        if batch_tokens < 1:
            raise ConfigError(f"batch_tokens={batch_tokens} is not allowed: at least 1")
        self.model = model.eval()
        self.processor = processor
        self.batch_tokens = batch_tokens

    @classmethod
    def from_pretrained(
        cls,
        source: str,
        *,
        device: str = "auto",
        dtype: str = "float32",
        batch_tokens: int = TOKENS_PER_BATCH,
        **hub: Any,
    ) -> "HierBertPredictor":
        """Load a model from a folder or the Hub.

        Args:
            source: A folder that training saved (``runs/NAME/model``), or a Hub id.
            device: "auto", "cpu", "cuda", ...
            dtype: "float32", "bfloat16" or "float16".
            batch_tokens: Tokens of a batch of documents.
            **hub: `revision`, `token` and the like for a Hub id.

        Returns:
            The predictor.

        Raises:
            ConfigError: There is no such device or dtype.
            ModelError: There is no such model, or it is incomplete.
        """
        model, processor = load_model(source, device, dtype, **hub)
        return cls(model, processor, batch_tokens)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What this model can be asked: of "classify", "summarize", "embed"."""
        heads = {"classify": self.model.classifier, "summarize": self.model.summarizer}
        return tuple(task for task in TASKS if task == "embed" or heads[task] is not None)

    def classify(self, texts: Sequence[DocumentText]) -> list[Prediction]:
        """Labels and probabilities.

        Args:
            texts: Documents.

        Returns:
            One prediction each, in order.

        Raises:
            ModelError: The model has no classification head.
        """
        return list(self.predict(texts, ("classify",)))

    def summarize(
        self,
        texts: Sequence[DocumentText],
        *,
        max_words: int | None = None,
        max_sentences: int | None = None,
        max_tokens: int | None = None,
        max_characters: int | None = None,
        ratio: float | None = None,
        order: str | None = None,
        redundancy: float | None = None,
    ) -> list[Prediction]:
        """Summaries from the documents' own sentences.

        Args:
            texts: Documents.
            max_words: At most one of these five; without any, the model's own budget holds.
            max_sentences: Most sentences.
            max_tokens: Most tokens of the encoder.
            max_characters: Most characters.
            ratio: Part of the document's words.
            order: "document" or "score"; None for the model's own.
            redundancy: Maximal marginal relevance, 0 to 1; None for the model's own.

        Returns:
            One prediction each, in order.

        Raises:
            ConfigError: More than one budget, or a value that is not allowed.
            ModelError: The model has no summarization head.
        """
        budget = {
            "max_words": max_words,
            "max_sentences": max_sentences,
            "max_tokens": max_tokens,
            "max_characters": max_characters,
            "ratio": ratio,
        }
        rule = self.summary_rule(budget, order, redundancy)
        return list(self.predict(texts, ("summarize",), rule))

    def embed(
        self, texts: Sequence[DocumentText], *, segment_vectors: bool = False
    ) -> list[Prediction]:
        """Document vectors, and segment vectors where asked for.

        Args:
            texts: Documents.
            segment_vectors: Whether to give those too.

        Returns:
            One prediction each, in order.
        """
        return list(self.predict(texts, ("embed",), segment_vectors=segment_vectors))

    def summary_rule(
        self,
        budget: dict[str, Any] | None = None,
        order: str | None = None,
        redundancy: float | None = None,
    ) -> SummaryRule:
        """How to summarize: the model's own way, but for what is given.

        Args:
            budget: Fields of `Budget`; None values count as not given.
            order: "document" or "score".
            redundancy: 0 to 1.

        Returns:
            The rule.

        Raises:
            ConfigError: A value is not allowed.
        """
        config = self.model.config
        given = {name: value for name, value in (budget or {}).items() if value is not None}
        if not given:
            limit = config.summary_limit
            whole = config.summary_budget != "ratio"
            given = {config.summary_budget: int(limit) if whole else limit}
        order = config.summary_order if order is None else order
        redundancy = config.summary_redundancy if redundancy is None else redundancy
        if order not in ("document", "score"):
            raise ConfigError(f"order={order!r} is not allowed; choose from document, score")
        if not 0 <= redundancy <= 1:
            raise ConfigError(f"redundancy={redundancy} is not allowed: 0 to 1")
        try:
            return SummaryRule(Budget(**given), order, redundancy)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def predict(
        self,
        texts: Iterable[DocumentText],
        tasks: Sequence[str] | None = None,
        rule: SummaryRule | None = None,
        segment_vectors: bool = False,
    ) -> Iterator[Prediction]:
        """Stream predictions; each document is encoded once for all tasks.

        Args:
            texts: Documents; read as they are needed.
            tasks: Of "classify", "summarize", "embed"; None for all the model's heads.
            rule: How to summarize; None for the model's own way.
            segment_vectors: Whether "embed" gives those too.

        Yields:
            One prediction for each document, in order.

        Raises:
            ModelError: The model has no head for a task.
        """
        asked = self.check_tasks(tasks)
        rule = rule or self.summary_rule()
        for batch in self._batches(texts):
            yield from self._predict_batch(batch, asked, rule, segment_vectors)

    def check_tasks(self, tasks: Sequence[str] | None) -> tuple[str, ...]:
        """The tasks asked for, or those of all heads.

        Raises:
            ConfigError: There is no such task.
            ModelError: The model has no head for it.
        """
        if tasks is None:
            return tuple(task for task in self.tasks if task != "embed")
        for task in tasks:
            if task not in TASKS:
                raise ConfigError(f"task {task!r} is not allowed; choose from {', '.join(TASKS)}")
            if task not in self.tasks:
                raise ModelError(
                    f"this model cannot {task}: it has no head for it; it can "
                    f"{', '.join(self.tasks)}"
                )
        return tuple(tasks)

    def _batches(self, texts: Iterable[DocumentText]) -> Iterator[list[SegmentedDocument]]:
        """Segmented documents in batches by tokens, read as they are needed."""
        batch: list[SegmentedDocument] = []
        tokens = 0
        for document in self._segmented(texts):
            size = len(document.input_ids)
            if batch and tokens + size > self.batch_tokens:
                yield batch
                batch, tokens = [], 0
            batch.append(document)
            tokens += size
        if batch:
            yield batch

    def _segmented(self, texts: Iterable[DocumentText]) -> Iterator[SegmentedDocument]:
        waiting: list[DocumentText] = []
        characters = 0
        for text in texts:
            waiting.append(text)
            characters += _characters(text)
            if len(waiting) >= _DOCUMENTS_PER_CALL or characters >= _CHARACTERS_PER_CALL:
                yield from self.processor.segment(waiting)
                waiting, characters = [], 0
        if waiting:
            yield from self.processor.segment(waiting)

    def _predict_batch(
        self,
        documents: list[SegmentedDocument],
        tasks: Sequence[str],
        rule: SummaryRule,
        segment_vectors: bool,
    ) -> Iterator[Prediction]:
        device = self.model.device
        inputs = {name: value.to(device) for name, value in collate(documents).items()}
        with torch.inference_mode():
            output = self.model(**inputs)
        sentences = inputs["sentences_per_document"].tolist()
        segments = inputs["segments_per_document"].tolist()
        fields: list[dict[str, Any]] = [{"omission": d.omission} for d in documents]
        if "classify" in tasks and output.logits is not None:
            for row, logits in zip(fields, output.logits.float().cpu(), strict=True):
                row.update(self._labels(logits))
        if "summarize" in tasks and output.sentence_scores is not None:
            scores = output.sentence_scores.float().cpu().sigmoid().split(sentences)
            logits_by_document = output.sentence_scores.float().cpu().split(sentences)
            vectors = output.sentence_vectors.cpu().split(sentences)
            for i, (row, document) in enumerate(zip(fields, documents, strict=True)):
                selected = rule.select(document, logits_by_document[i].tolist(), vectors[i])
                row.update(_summary(document, selected, scores[i].tolist()))
        if "embed" in tasks:
            for row, vector in zip(fields, output.document_vectors.float().cpu(), strict=True):
                row["document_vector"] = vector.tolist()
            if segment_vectors:
                parts = output.segment_vectors.float().cpu().split(segments)
                for row, part, document in zip(fields, parts, documents, strict=True):
                    row["segment_vectors"] = part.tolist()
                    row["segment_spans"] = document.segment_spans
        return (Prediction(**row) for row in fields)

    def _labels(self, logits: torch.Tensor) -> dict[str, Any]:
        config = self.model.config
        if config.problem_type == "regression":
            return {"label": float(logits[0])}
        names = [config.id2label[number] for number in range(config.num_labels)]
        several = config.problem_type == "multi_label_classification"
        shares = logits.sigmoid() if several else logits.softmax(0)
        probabilities = dict(zip(names, shares.tolist(), strict=True))
        if not several:
            return {"label": names[int(shares.argmax())], "probabilities": probabilities}
        reached = [n for n in names if probabilities[n] >= config.decision_threshold]
        reached.sort(key=lambda name: -probabilities[name])
        return {"labels": reached, "probabilities": probabilities}


def _summary(
    document: SegmentedDocument, selected: list[int], scores: list[float]
) -> dict[str, Any]:
    sentences = []
    for index in selected:
        start, end = document.sentence_spans[index]
        sentences.append(SummarySentence(document.text[start:end], start, end, scores[index]))
    # A sentence that was broken over lines is one line of the summary.
    lines = [" ".join(sentence.text.split()) for sentence in sentences]
    return {"summary": "\n".join(lines), "sentences": sentences}


def _characters(text: DocumentText) -> int:
    if isinstance(text, str):
        return len(text)
    return sum(_characters(part) for part in text)
