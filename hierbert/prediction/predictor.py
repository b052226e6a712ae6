"""Labels, probabilities, summaries and vectors for texts, with offsets into them.

Documents are encoded in batches by tokens; a document's answers do not depend on the batch. Memory
is set by the batch, not by how many documents there are.
"""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from transformers.utils import PushToHubMixin

from hierbert.errors import ConfigError, ModelError, RunError
from hierbert.model.decoding import SummaryRule, label_answer, summary_sentences, summary_text
from hierbert.model.modeling_hierbert import HierBertForDocuments, HierBertOutput
from hierbert.model.processing_hierbert import HierBertProcessor, collate, collate_structure
from hierbert.model.segmentation import DocumentText, SegmentedDocument
from hierbert.model.selection import Budget
from hierbert.prediction.batches import segmented_batches
from hierbert.prediction.loading import compile_encoder, load_model
from hierbert.prediction.predictions import Prediction
from hierbert.probing import probe_tokens_per_forward
from hierbert.vectors.cache import CacheOptions, VectorCache

TASKS = ("classify", "summarize", "embed")
# The more passes a batch has, the more alike are the lengths of the segments in each.
_PASSES_PER_BATCH = 16
_HEADS = {"classify": "classification", "summarize": "summarization"}


class HierBertPredictor(PushToHubMixin):
    """Answers for documents of any length.

        predictor = HierBertPredictor.from_pretrained("runs/quickstart/model")
        predictor.classify(texts)[0].label
        predictor.summarize(texts, max_words=100)[0].sentences

    Args:
        model: A trained model, on its device.
        processor: Its processor.
        batch_tokens: Tokens of a batch of documents; a longer document is a batch of its own.
            None for 16 times `tokens_per_forward`.
        tokens_per_forward: Tokens of one pass of the encoder; "auto" measures which is fastest
            here, None takes what the model's config says.
        compile: Whether to compile the encoder's layers, with torch.compile: takes some seconds
            once, and pays off over many documents. None compiles an encoder in int8, which
            gains most by it, where this machine can.
        vector_cache: Folder that keeps the vectors of every document, or `CacheOptions`, so that
            a document that was read before, here, in training or by another process with the
            same encoder, is not encoded again whatever the task; None keeps none. The encoder
            must not be changed afterwards.

    Attributes:
        tokens_per_forward: What was chosen.
        dtype: What the encoder computes in.
        tokens_read: Tokens of all documents answered so far.
        commit: Of the Hub, which the model was loaded from; None of a folder.

    Raises:
        ConfigError: A number is below 1, nothing can be compiled here, or an option of the cache
            is not allowed.
        RunError: The cache cannot be written.
    """

    def __init__(
        self,
        model: HierBertForDocuments,
        processor: HierBertProcessor,
        batch_tokens: int | None = None,
        tokens_per_forward: int | Literal["auto"] | None = None,
        compile: bool | None = None,
        vector_cache: str | os.PathLike[str] | CacheOptions | None = None,
    ) -> None:
        for name, value in (
            ("batch_tokens", batch_tokens),
            ("tokens_per_forward", tokens_per_forward),
        ):
            if isinstance(value, str) and (name, value) != ("tokens_per_forward", "auto"):
                raise ConfigError(f"{name}={value!r} is not allowed: a number")
            if isinstance(value, int) and value < 1:
                raise ConfigError(f"{name}={value} is not allowed: at least 1")
        self.model = model.eval()
        self.processor = processor
        # A tokenizer's settings are its state: a caller who uses this one while a worker segments
        # must not change what the worker reads.
        self._own_processor = copy.deepcopy(processor)
        encoder = model.hierbert.segment_encoder
        if compile or (compile is None and encoder.precision == "int8"):
            compile_encoder(encoder, needed=compile is not None)
        if tokens_per_forward == "auto":
            tokens_per_forward = probe_tokens_per_forward(encoder, model.config.segment_tokens)
        if tokens_per_forward is not None:
            encoder.tokens_per_forward = tokens_per_forward
        self.dtype = encoder.precision
        self.tokens_per_forward = encoder.tokens_of_a_pass(model.device)
        self.batch_tokens = batch_tokens or _PASSES_PER_BATCH * self.tokens_per_forward
        self.tokens_read = 0
        self.commit: str | None = None
        self.vectors = None
        if vector_cache is not None:
            self.vectors = VectorCache(vector_cache, model.hierbert, self.dtype)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        device: str = "auto",
        dtype: str = "float32",
        batch_tokens: int | None = None,
        tokens_per_forward: int | Literal["auto"] | None = None,
        compile: bool | None = None,
        vector_cache: str | os.PathLike[str] | CacheOptions | None = None,
        **hub: Any,
    ) -> "HierBertPredictor":
        """Load a model from a folder or the Hub.

        Args:
            source: A folder that training saved (``runs/NAME/model``), or a Hub id.
            device: "auto", "cpu", "cuda", ...
            dtype: "float32"; "bfloat16", "float16" or "int8" (of the encoder, on a CPU) for other
                answers sooner; or "auto" for the fastest here of the first three.
            batch_tokens: See the class, as the next two.
            tokens_per_forward: Tokens of one pass of the encoder.
            compile: Whether to compile the encoder's layers; None does so with int8.
            vector_cache: Where vectors are kept for the next time; None keeps none.
            **hub: `revision`, `token` and the like for a Hub id.

        Returns:
            The predictor.

        Raises:
            ConfigError: There is no such device or dtype.
            ModelError: There is no such model, or it is incomplete.
            RunError: The cache cannot be written.
        """
        model, processor, commit = load_model(source, device, dtype, **hub)
        made = cls(model, processor, batch_tokens, tokens_per_forward, compile, vector_cache)
        made.commit = commit
        return made

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save the model and its processor, so that they load where there is no hierbert.

        `push_to_hub(repo_id)` does the same on the Hub.

        Args:
            save_directory: The folder.
            **kwargs: As `PreTrainedModel.save_pretrained` takes them.

        Raises:
            ValueError: The model is in int8.
            OSError: A file cannot be written.
        """
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What this model can be asked: of "classify", "summarize", "embed"."""
        heads = {"classify": self.model.classifier, "summarize": self.model.summarizer}
        return tuple(task for task in TASKS if task == "embed" or heads[task] is not None)

    def classify(self, texts: str | Iterable[DocumentText]) -> list[Prediction]:
        """Labels and probabilities.

        Args:
            texts: Documents, each a text or a list of its sentences or segments; or one text.

        Returns:
            One prediction each, in order.

        Raises:
            ModelError: The model has no classification head.
        """
        return list(self.predict(texts, ("classify",)))

    def summarize(
        self,
        texts: str | Iterable[DocumentText],
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
            texts: Documents, each a text or a list of its sentences or segments; or one text.
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
        self, texts: str | Iterable[DocumentText], *, segment_vectors: bool = False
    ) -> list[Prediction]:
        """Document vectors, and segment vectors where asked for.

        Args:
            texts: Documents, each a text or a list of its sentences or segments; or one text.
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
        own = SummaryRule.from_config(self.model.config)
        given = {name: value for name, value in (budget or {}).items() if value is not None}
        order = own.order if order is None else order
        redundancy = own.redundancy if redundancy is None else redundancy
        if order not in ("document", "score"):
            raise ConfigError(f"order={order!r} is not allowed; choose from document, score")
        if not 0 <= redundancy <= 1:
            raise ConfigError(f"redundancy={redundancy} is not allowed: 0 to 1")
        try:
            budget_given = Budget(**given) if given else own.budget
            return replace(own, budget=budget_given, order=order, redundancy=redundancy)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def predict(
        self,
        texts: str | Iterable[DocumentText],
        tasks: Sequence[str] | None = None,
        rule: SummaryRule | None = None,
        segment_vectors: bool = False,
    ) -> Iterator[Prediction]:
        """Stream predictions; each document is encoded once for all tasks.

        Args:
            texts: As for `classify`; read as they are needed, so they may have no end.
            tasks: Of "classify", "summarize", "embed"; None for all the model's heads.
            rule: How to summarize; None for the model's own way.
            segment_vectors: Whether "embed" gives those too.

        Yields:
            One prediction for each document, in order.

        Raises:
            ConfigError: There is no such task.
            DataError: A document is neither a string nor a list of strings.
            ModelError: The model has no head for a task, or gives no finite numbers.
            RunError: The device has too little memory for a batch.
        """
        asked = self.check_tasks(tasks)
        rule = rule or self.summary_rule()
        texts = [texts] if isinstance(texts, str) else texts
        try:
            if self.vectors is not None:
                self.vectors.refresh()
            for batch in segmented_batches(self._own_processor, texts, self.batch_tokens):
                yield from self._predict_batch(batch, asked, rule, segment_vectors)
        finally:
            # Also when the caller takes no more of them, or is interrupted.
            if self.vectors is not None:
                self.vectors.flush()

    def check_tasks(self, tasks: Sequence[str] | None) -> tuple[str, ...]:
        """The tasks asked for, or those of all heads.

        Raises:
            ConfigError: There is no such task.
            ModelError: The model has no head for it.
        """
        if tasks is None:
            return tuple(task for task in self.tasks if task != "embed")
        tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
        for task in tasks:
            if task not in TASKS:
                raise ConfigError(f"task {task!r} is not allowed; choose from {', '.join(TASKS)}")
            if task not in self.tasks:
                raise ModelError(
                    f"this model cannot {task}: it has no head for it; it can "
                    f"{', '.join(self.tasks)}"
                )
        return tasks

    def _predict_batch(
        self,
        documents: list[SegmentedDocument],
        tasks: Sequence[str],
        rule: SummaryRule,
        segment_vectors: bool,
    ) -> Iterator[Prediction]:
        heads = [_HEADS[task] for task in tasks if task in _HEADS]
        output = self._forward(documents, heads)
        self.tokens_read += sum(len(document.input_ids) for document in documents)
        sentences = [len(document.sentence_spans) for document in documents]
        segments = [len(document.segment_lengths) for document in documents]
        fields: list[dict[str, Any]] = [{"omission": d.omission} for d in documents]
        if "classify" in tasks:
            assert output.logits is not None  # check_tasks has seen to the heads
            for row, logits in zip(fields, output.logits.float().cpu(), strict=True):
                row.update(label_answer(logits, self.model.config))
        if "summarize" in tasks:
            assert output.sentence_scores is not None and output.sentence_vectors is not None
            scores = output.sentence_scores.float().cpu().split(sentences)
            vectors = output.sentence_vectors.cpu().split(sentences)
            for i, (row, document) in enumerate(zip(fields, documents, strict=True)):
                selected = rule.select(document, scores[i].tolist(), vectors[i])
                row["summary"] = summary_text(document, selected)
                row["sentences"] = summary_sentences(document, selected, scores[i])
        if "embed" in tasks:
            assert output.document_vectors is not None and output.segment_vectors is not None
            for row, vector in zip(fields, output.document_vectors.float().cpu(), strict=True):
                row["document_vector"] = vector.tolist()
            if segment_vectors:
                parts = output.segment_vectors.float().cpu().split(segments)
                for row, part, document in zip(fields, parts, documents, strict=True):
                    row["segment_vectors"] = part.tolist()
                    row["segment_spans"] = document.segment_spans
        return (Prediction(**row) for row in fields)

    def _inputs(self, documents: list[SegmentedDocument]) -> dict[str, torch.Tensor]:
        """What the model reads: tokens, or vectors where they are kept."""
        if self.vectors is None:
            inputs = collate(documents)
        else:
            segment_vectors, sentence_vectors = self.vectors.batch(documents)
            inputs = collate_structure(documents)
            inputs |= {"segment_vectors": segment_vectors, "sentence_vectors": sentence_vectors}
        return {name: value.to(self.model.device) for name, value in inputs.items()}

    def _forward(self, documents: list[SegmentedDocument], heads: list[str]) -> HierBertOutput:
        try:
            with torch.inference_mode():
                output = self.model(**self._inputs(documents), heads=heads)
        except torch.OutOfMemoryError as error:
            tokens = sum(len(document.input_ids) for document in documents)
            raise RunError(
                f"{self.model.device} has too little memory for {tokens:,} "
                "tokens; lower tokens_per_forward, or batch_tokens"
            ) from error
        for values in (output.document_vectors, output.logits, output.sentence_scores):
            if values is not None and not bool(values.isfinite().all()):
                raise ModelError(
                    f"this model does not give finite numbers in {self.model.dtype}; "
                    "its weights are broken, or it needs dtype float32"
                )
        return output
