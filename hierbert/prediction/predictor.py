"""The class that people load and use: labels, summaries and vectors for texts, with offsets.

Documents are encoded in batches by tokens; a document's answers do not depend on the batch. Memory
is set by the batch, not by how many documents there are.
"""

import contextlib
import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

import torch
from transformers.utils import PushToHubMixin

from hierbert.config import ModelConfig, SegmentationConfig
from hierbert.data.in_memory import document_texts
from hierbert.errors import (
    ConfigError,
    ModelError,
    RunError,
    did_you_mean,
    not_allowed,
    setting_name,
    type_name,
)
from hierbert.loading.backends import TORCH
from hierbert.loading.building import build_from_encoder
from hierbert.loading.forking import threads_are_used
from hierbert.loading.model import compile_encoder, find_device, load_model
from hierbert.loading.probing import probe_tokens_per_forward
from hierbert.loading.untrained import build_summarizer
from hierbert.model.answering import answer_batch, answer_fields, not_finite
from hierbert.model.configuration_hierbert import fields_of_heads
from hierbert.model.documents import DocumentLike, Texts, with_fields
from hierbert.model.heads import HEADS, Answered
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.summarization_head import SummaryRule
from hierbert.pages.document import document_page
from hierbert.prediction.batches import segmented_batches
from hierbert.prediction.evaluating import evaluate_model
from hierbert.prediction.option_arguments import takes_selection_options
from hierbert.prediction.predictions import Prediction
from hierbert.prediction.rewriting import Rewriter, Rewriting
from hierbert.vectors.cache import CacheOptions, VectorCache

_EMBED = "embed"
_SUMMARIZES = "summarization"
# The more passes a batch has, the more alike are the lengths of the segments in each.
_PASSES_PER_BATCH = 16
Answering = Callable[[Iterable[DocumentLike]], Iterator[Prediction]]


class HierBert(PushToHubMixin):
    """Answers for documents of any length::

        model = HierBert.from_pretrained("runs/quickstart/model")
        model.classify(texts)[0].label
        model.summarize(texts, max_words=100)[0].sentences

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
        backend: What computes it: "torch", or a runtime beside it.
        tokens_read: Tokens of all documents answered so far.
        commit: Of the Hub, which the model was loaded from; None of a folder.
        settings: Of a model that is not trained yet: what it was made with, as `train.py` names
            it, so that training begins from the seed; None of a trained one.

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
        if compile and encoder.runtime is not None:
            raise ConfigError(f"compile is for backend torch, not for {encoder.runtime.name}")
        if compile or (compile is None and encoder.is_int8):
            compile_encoder(encoder, needed=compile is not None)
        if tokens_per_forward == "auto":
            threads_are_used()
            tokens_per_forward = probe_tokens_per_forward(encoder, model.config.segment_tokens)
        if tokens_per_forward is not None:
            encoder.tokens_per_forward = tokens_per_forward
        self.dtype = encoder.precision
        self.backend = TORCH if encoder.runtime is None else encoder.runtime.name
        self.tokens_per_forward = encoder.tokens_of_a_pass(model.device)
        self.batch_tokens = batch_tokens or _PASSES_PER_BATCH * self.tokens_per_forward
        self.tokens_read = 0
        self.commit: str | None = None
        self.settings: dict[str, Any] | None = None
        self.vectors = None
        if vector_cache is not None:
            self.vectors = VectorCache(vector_cache, model.hierbert)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        device: str = "auto",
        dtype: str = "float32",
        backend: str = TORCH,
        batch_tokens: int | None = None,
        tokens_per_forward: int | Literal["auto"] | None = None,
        compile: bool | None = None,
        vector_cache: str | os.PathLike[str] | CacheOptions | None = None,
        **hub: Any,
    ) -> "HierBert":
        """Load a model from a folder or the Hub.

        Args:
            source: A folder that training saved (``runs/NAME/model``), or a Hub id.
            device: "auto", "cpu", "cuda", ...
            dtype: "float32"; "bfloat16", "float16" or "int8" (of the encoder, on a CPU) for other
                answers sooner; or "auto" for the fastest here of the first three.
            backend: What encodes on a CPU: "torch"; "openvino" or "onnx" (the extras of these
                names), in float32 for the same answers up to rounding, or openvino in int8; "auto"
                for what is fastest here in float32.
            batch_tokens: See the class, as the next two.
            tokens_per_forward: Tokens of one pass of the encoder.
            compile: Whether to compile the encoder's layers; None does so with int8.
            vector_cache: Where vectors are kept for the next time; None keeps none.
            **hub: `revision`, `token` and the like for a Hub id.

        Returns:
            The predictor.

        Raises:
            ConfigError: There is no such device, dtype or backend, or not together.
            ModelError: There is no such model, or it is incomplete.
            RunError: The cache cannot be written.
        """
        model, processor, commit = load_model(source, device, dtype, backend, **hub)
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

    @classmethod
    def from_encoder(
        cls,
        encoder: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str = "auto",
        **settings: Any,
    ) -> "HierBert":
        """Put a new model around a pretrained encoder, for `HierBertTrainer` to train.

        Until it is trained, a document's vector is the mean of its segments' vectors.

        Args:
            encoder: A folder, a name that an installed package carries, or a Hub id, with
                safetensors weights.
            revision: Branch, tag or commit on the Hub.
            device: "auto", "cpu", "cuda", ...
            **settings: As ``model.*`` and ``segmentation.*`` of `train.py` are called, such as
                `pooling` or `max_tokens_per_segment`.

        Returns:
            A model without heads: training makes those that its documents ask for.

        Raises:
            ConfigError: A setting is unknown or not allowed, or there is no such device.
            ModelError: There is no such encoder, or it is not whole.
        """
        name = os.fspath(encoder)
        known = model_settings()
        _check_settings(settings, known)
        model, processor = build_from_encoder(
            name, revision, f"encoder {name}", {**fields_of_heads([]), **settings}
        )
        made = cls(model.to(find_device(device)), processor)
        made.settings = {"model.encoder": name, "model.encoder_revision": revision}
        made.settings |= {known[setting]: value for setting, value in settings.items()}
        return made

    @classmethod
    def summarizer(
        cls,
        encoder: str | os.PathLike[str] | None = None,
        *,
        method: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        **settings: Any,
    ) -> "HierBert":
        """A model that summarizes without any training: by the sentences that are most central.

        How long a summary is, `summarize` says, else it has at most 100 words. It can be saved,
        loaded, evaluated and published as any other.

        Args:
            encoder: By whose sentence vectors sentences are alike, as of `from_encoder`; None for
                their words, with no weights at all.
            method: "lexrank" or "centroid"; see `hierbert.model.centrality`. None for the first of
                words, and the second of an encoder's vectors.
            revision: Branch, tag or commit of the encoder on the Hub.
            device: "auto", "cpu", "cuda", ...
            **settings: As ``segmentation.*`` of `train.py` is called, such as
                `max_tokens_per_segment`.

        Returns:
            A model with one head. Without an encoder its tokens are words, and it has no vectors
            to "embed" by.

        Raises:
            ConfigError: There is no such method or device, or a setting is unknown or not allowed.
            ModelError: There is no such encoder, or it is not whole.
        """
        _check_settings(settings, [one.name for one in fields(SegmentationConfig)])
        name = None if encoder is None else os.fspath(encoder)
        model, processor = build_summarizer(name, revision, method, settings)
        return cls(model.to(find_device(device)), processor)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What this model can be asked: of "classify", "summarize", "embed", and other heads'."""
        verbs = tuple(head.verb for head in self.model.heads.values())
        # What has no layers says nothing of a text.
        has_vectors = getattr(self.model.config.encoder_config, "num_hidden_layers", None) != 0
        return (*verbs, _EMBED) if has_vectors else verbs

    def classify(
        self,
        texts: Texts,
        *,
        threshold: float | None = None,
        top_labels: int | None = None,
        abstain_below: float | None = None,
        depth: int | None = None,
        min_probability: float | None = None,
        evidence: bool | Sequence[str] | None = None,
        evidence_count: int | None = None,
        evidence_exact: bool | None = None,
    ) -> list[Prediction]:
        """Labels and probabilities.

        Args:
            texts: Documents, each a text or a list of its sentences or segments; or one text.
            threshold: Of several labels: the probability from which each applies, 0 to 1; None for
                the model's own.
            top_labels: How many of the likeliest labels to name in `top_labels` too.
            abstain_below: Of one label: the probability below which `label` is None, 0 (never) to
                1; None for the model's own.
            depth: Of a tree of labels: how many levels an answer has at most; None for all.
            min_probability: Of a tree with one path a document: the probability that each node of
                an answer has at least, 0 to 1; None for the model's own decision.
            evidence: Whether to tell in `evidence` which segments, sentences and words the labels
                of an answer come from; or names of labels, to tell it of these too.
            evidence_count: How many of each to tell, the strongest first; None for 5.
            evidence_exact: Whether to encode segments anew without each sentence that is told.

        Returns:
            One prediction each, in order.

        Raises:
            ConfigError: A value is not allowed, or not of a model of this kind.
            ModelError: The model has no classification head.
        """
        given = {
            "threshold": threshold,
            "top_labels": top_labels,
            "abstain_below": abstain_below,
            "depth": depth,
            "min_probability": min_probability,
            "evidence": evidence,
            "evidence_count": evidence_count,
            "evidence_exact": evidence_exact,
        }
        return list(self.predict(texts, ("classify",), given))

    def token_evidence(
        self,
        text: DocumentLike,
        labels: Sequence[str] | None = None,
        *,
        segments: int = 3,
        steps: int = 32,
    ) -> list[dict[str, Any]]:
        """Which tokens speak for the labels of an answer, by integrated gradients; needs captum.

        Args:
            text: One document.
            labels: Names of labels to explain too; None for those of the answer alone.
            segments: How many of the strongest segments of each label to read token by token.
            steps: Of the integral, each a pass forward and back over the segment.

        Returns:
            Of each label its `label` and `segments`, strongest first, each with `start`, `end`,
            `contribution` in logits, which is that of its `tokens` (`start`, `end`,
            `contribution`) and of the special ones added up, and `error`, by how much this misses
            what the logit gains over a segment of masks.

        Raises:
            ConfigError: captum is not installed, a label is unknown, or the encoder is int8.
            DataError: It is no document.
            ModelError: The model has no classification head.
        """
        from hierbert.prediction.token_evidence import HEAD, token_evidence

        self.check_tasks(["classify"])
        for name, value in (("segments", segments), ("steps", steps)):
            if type(value) is not int or value < 1:
                allowed = "a whole number, at least 1"
                raise not_allowed(f".{name}", value, allowed)
        rule = self._options([HEAD], {"evidence": labels or True})[HEAD]
        documents = list(document_texts([text], self.processor.needed_fields))
        [document] = self.processor.segment(documents)
        return token_evidence(self.model, self.processor, document, rule, segments, steps)

    @takes_selection_options
    def summarize(
        self,
        texts: Texts,
        *,
        max_words: int | None = None,
        max_sentences: int | None = None,
        max_tokens: int | None = None,
        max_characters: int | None = None,
        ratio: float | None = None,
        sentence_kinds: bool | None = None,
        evidence: bool | None = None,
        query: str | None = None,
        rewrite: str | os.PathLike[str] | Rewriter | None = None,
        **selection: Any,
    ) -> list[Prediction]:
        """Summaries from the documents' own sentences.

        Args:
            texts: Documents, each a text or a list of its sentences or segments; or one text.
            max_words: At most one of these five; without any, the model's own budget holds.
            max_sentences: Most sentences.
            max_tokens: Most tokens of the encoder.
            max_characters: Most characters.
            ratio: Part of the document's words.
            sentence_kinds: Whether to tell the kind of each sentence (prose, heading, list, code,
                table, reference, boilerplate): `kind` of those of the summary, and of all in
                `sentence_kinds`.
            evidence: Whether to tell in `sentence_evidence` what the score of each of `sentences`
                is made of; see docs/evidence.md.
            query: A question, or words, that the summaries should be about. A document may have one
                of its own, ``Document(text, {"query": ...})``, which counts first. None, and a
                document's own that is blank, ask for the general summary.
            rewrite: A model that turns each summary into prose: a folder, a GGUF file, a Hub id, or
                a `Rewriter`.
            **selection: Options of `hierbert.model.selection_options`.

        Returns:
            One prediction each, in order. `query_unmatched` is True where no word of the query is
            in the document.

        Raises:
            ConfigError: More than one budget, a value that is not allowed, or a query to a model
                that was trained without any.
            ModelError: The model has no summarization head.
        """
        given = {
            "max_words": max_words,
            "max_sentences": max_sentences,
            "max_tokens": max_tokens,
            "max_characters": max_characters,
            "ratio": ratio,
            "sentence_kinds": sentence_kinds,
            "evidence": evidence,
            "query": query,
            **selection,
        }
        return list(self.predict(texts, ("summarize",), given, rewrite=rewrite))

    def embed(
        self,
        texts: Texts,
        *,
        segment_vectors: bool = False,
    ) -> list[Prediction]:
        """Document vectors, and segment vectors where asked for.

        Args:
            texts: Documents, each a text or a list of its sentences or segments; or one text.
            segment_vectors: Whether to give those too.

        Returns:
            One prediction each, in order.
        """
        return list(self.predict(texts, ("embed",), segment_vectors=segment_vectors))

    @takes_selection_options
    def summary_rule(self, budget: dict[str, Any] | None = None, **selection: Any) -> SummaryRule:
        """How to summarize: the model's own way, but for what is given.

        Args:
            budget: Fields of `Budget`; None values count as not given.
            **selection: Options of `hierbert.model.selection_options`.

        Returns:
            What `predict` takes as its rule.

        Raises:
            ConfigError: A value is not allowed.
        """
        given = {**(budget or {}), **selection}
        return self._options([_SUMMARIZES], given)[_SUMMARIZES]

    def predict(
        self,
        texts: Texts,
        tasks: Sequence[str] | None = None,
        rule: "SummaryRule | Mapping[str, Any] | None" = None,
        segment_vectors: bool = False,
        rewrite: str | os.PathLike[str] | Rewriter | None = None,
    ) -> Iterator[Prediction]:
        """Stream predictions; each document is encoded once for all tasks.

        Args:
            texts: As for `classify`; read as they are needed, so they may have no end.
            tasks: Of "classify", "summarize", "embed"; None for all the model's heads.
            rule: How to answer, where the model's own way is not wanted: values by the names of
                `Head.settings`, such as ``{"max_words": 50}``, or a `SummaryRule`.
            segment_vectors: Whether "embed" gives those too.
            rewrite: What rewrites summaries, as of `summarize`.

        Yields:
            One prediction for each document, in order.

        Raises:
            ConfigError: There is no such task, or a value is not allowed.
            DataError: A document is neither a string nor a list of strings, or lacks a field.
            ModelError: The model has no head for a task, or gives no finite numbers.
            RunError: The device has too little memory for a batch.
        """
        answers = self.answering(tasks, rule, segment_vectors, rewrite)
        return answers(document_texts(texts, self.processor.needed_fields))

    def answering(
        self,
        tasks: Sequence[str] | None = None,
        rule: "SummaryRule | Mapping[str, Any] | None" = None,
        segment_vectors: bool = False,
        rewrite: str | os.PathLike[str] | Rewriter | None = None,
    ) -> Answering:
        """What `predict` asks, checked once, to be asked as often as wanted.

        Args:
            tasks: As of `predict`, as all others.
            rule: How to answer.
            segment_vectors: Whether "embed" gives those too.
            rewrite: What rewrites summaries.

        Returns:
            Called with documents, which it does not check, it gives a prediction for each, in
            order.

        Raises:
            ConfigError: There is no such task, or a value is not allowed.
            ModelError: The model has no head for a task.
        """
        asked = self.check_tasks(tasks)
        heads = [name for name, head in self.model.heads.items() if head.verb in asked]
        fields: dict[str, Any] = {}
        if isinstance(rule, SummaryRule):
            options = {**self._options(heads, {}), _SUMMARIZES: rule}
        elif rule is not None and not isinstance(rule, Mapping):
            allowed = "a mapping of settings, or what summary_rule gives"
            raise ConfigError(f"rule is {type_name(rule)}", allowed=allowed)
        else:
            options = self._options(heads, rule or {})
            fields = {n: v for n in self.processor.fields if (v := (rule or {}).get(n))}
        rewriting = None if rewrite is None else self._rewriting(rewrite, heads)
        embed = _EMBED in asked

        def answers(documents: Iterable[DocumentLike]) -> Iterator[Prediction]:
            given = (with_fields(one, fields) for one in documents)
            return self._predictions(given, heads, options, embed, segment_vectors, rewriting)

        return answers

    def has_evidence(self, tasks: Sequence[str]) -> bool:
        """Whether an answer to some tasks can tell where it comes from."""
        learnt = self.model.config.summary_scores == "learnt"
        return "classify" in tasks or ("summarize" in tasks and learnt)

    def page(
        self,
        text: DocumentLike,
        tasks: Sequence[str] | None = None,
        rule: "SummaryRule | Mapping[str, Any] | None" = None,
        title: str = "",
    ) -> str:
        """A document's page: its text, with the evidence of its labels and its summary highlighted.

        Args:
            text: The document, as one of `classify`.
            tasks: As of `predict`.
            rule: As of `predict`; evidence is told unless it says otherwise.
            title: The heading.

        Returns:
            HTML, whole and loading nothing: for a file of its own, in UTF-8.

        Raises:
            ConfigError: As of `predict`, as the others.
            DataError: The document is none.
            ModelError: The model has no head for a task.
            RunError: The device has too little memory.
        """
        asked = self.check_tasks(tasks)
        if self.has_evidence(asked) and (rule is None or isinstance(rule, Mapping)):
            rule = {**(rule or {})}
            if rule.get("evidence") is None:
                rule["evidence"] = True
        [prediction] = self.predict([text], asked, rule)
        return document_page(prediction.text or "", prediction.row(), title)

    def _rewriting(
        self, given: str | os.PathLike[str] | Rewriter, heads: Sequence[str]
    ) -> Rewriting:
        """What rewrites summaries, loaded on the device of this model."""
        rewriter = Rewriter.of(given)
        if _SUMMARIZES not in heads:
            raise ConfigError("is for the task summarize", setting=".rewrite")
        generator = rewriter.load(self.model.device)
        # The other tokenizer is in use while documents are segmented.
        return Rewriting(generator, rewriter.instruction, self.processor.tokenizer)

    def _options(self, heads: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
        """How heads answer: each takes what it knows of the values given."""
        known = [name for head in heads for name in HEADS[head].settings]
        for name, value in given.items():
            if value is not None and name not in known:
                raise ConfigError(
                    f"{name} cannot be set for these tasks{did_you_mean(name, known)}"
                )
        options = {}
        for head in heads:
            own = {name: value for name, value in given.items() if name in HEADS[head].settings}
            try:
                options[head] = HEADS[head].options(self.model.config, own)
            except ValueError as error:
                name, _, rest = str(error).partition("=")
                message = f"{setting_name('.' + name)}={rest}" if name in own else str(error)
                raise ConfigError(message) from error
        return options

    evaluate = evaluate_model

    def check_tasks(self, tasks: Sequence[str] | None) -> tuple[str, ...]:
        """The tasks asked for, or those of all heads.

        Raises:
            ConfigError: There is no such task.
            ModelError: The model has no head for it.
        """
        if tasks is None:
            tasks = tuple(task for task in self.tasks if task != _EMBED)
            if not tasks:
                raise ModelError(f"this model has no head: it can only {_EMBED}")
            return tasks
        tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
        known = known_tasks()
        for task in tasks:
            if task not in known:
                raise ConfigError(f"task {task!r} is not allowed; choose from {', '.join(known)}")
            if task not in self.tasks:
                raise ModelError(
                    f"this model cannot {task}: it has no head for it; it can "
                    f"{', '.join(self.tasks)}"
                )
        return tasks

    def _predictions(
        self,
        documents: Iterator[DocumentLike],
        heads: list[str],
        options: Mapping[str, Any],
        embed: bool,
        segment_vectors: bool,
        rewriting: Rewriting | None,
    ) -> Iterator[Prediction]:
        with self.reading():
            for batch in segmented_batches(self._own_processor, documents, self.batch_tokens):
                for one in self._answer(batch, heads, options):
                    fields = answer_fields(self.model, one, options)
                    if rewriting is not None:
                        rule = options[_SUMMARIZES]
                        fields |= rewriting.fields(fields["sentences"], one.document, rule)
                    if embed:
                        fields["document_vector"] = one.document_vector.tolist()
                    if embed and segment_vectors:
                        fields["segment_vectors"] = one.segment_vectors.tolist()
                        fields["segment_spans"] = one.document.segment_spans
                    yield Prediction.of(fields, one.document.omission, one.document.text)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around answers: kept vectors are found at its start, and kept at its end."""
        threads_are_used()
        try:
            if self.vectors is not None:
                self.vectors.refresh()
            yield
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"{self.model.device} has too little memory; lower tokens_per_forward, or "
                "batch_tokens"
            ) from error
        finally:
            # Also when the caller takes no more of them, or is interrupted.
            if self.vectors is not None:
                self.vectors.flush()

    def _answer(
        self, documents: list[SegmentedDocument], heads: list[str], options: Mapping[str, Any]
    ) -> list[Answered]:
        vectors = None if self.vectors is None else self.vectors.batch(documents)
        with torch.inference_mode():
            answered = answer_batch(self.model, documents, heads, vectors, options=options)
        if problem := not_finite(self.model, answered):
            raise ModelError(problem)
        self.tokens_read += sum(document.tokens for document in documents)
        return answered


def _check_settings(settings: Iterable[str], known: Iterable[str]) -> None:
    for setting in settings:
        if setting not in known:
            near = did_you_mean(setting, known)
            raise ConfigError(f"{setting} is no setting of a model{near}")


def known_tasks() -> list[str]:
    """What some model can be asked."""
    return [*(head.verb for head in HEADS.values()), _EMBED]


def model_settings() -> dict[str, str]:
    """Settings of a model that follow from no document: a short name, and as `train.py` has it."""
    of_run = ("encoder", "encoder_revision", "start_from", "decision_threshold", "abstain_below")
    parts = {"model": ModelConfig, "segmentation": SegmentationConfig}
    return {
        field.name: f"{part}.{field.name}"
        for part, schema in parts.items()
        for field in fields(schema)
        if field.name not in of_run
    }


# The name of this class before models could be trained from Python.
HierBertPredictor = HierBert
