"""transformers pipelines over the processor and the model: long documents in, answers out.

They segment, batch by tokens and answer as the rest of hierbert does, so that a document's answer
does not depend on the others here either. One pipeline asks one head.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from transformers import Pipeline

from .answering import answer_batch, answer_fields, not_finite
from .documents import DocumentLike, is_document, no_texts, with_fields
from .heads import HEADS
from .processing_hierbert import TOKENS_PER_BATCH
from .ragged import batches_by_tokens
from .segmentation import SegmentedDocument
from .selection import SUMMARY_BUDGETS


class DocumentPipeline(Pipeline):
    """What all pipelines share; a subclass names its head and what may be set.

    `batch_tokens` bounds the tokens of a batch of documents (a longer document is a batch of its
    own), `batch_size` its documents.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_image_processor = False
    _load_video_processor = False
    _load_feature_extractor = False

    _head = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.processor is None:
            raise ValueError(
                "this pipeline needs the model's processor: give a model's name, or processor="
            )
        if self._head not in self.model.heads:
            raise ValueError(
                f"this model cannot {HEADS[self._head].verb}: it has no head for it; its heads are "
                f"{', '.join(self.model.heads)}"
            )

    def __call__(self, inputs: Any, batch_size: int | None = None, **settings: Any) -> Any:
        """Answer about documents.

        Args:
            inputs: One text; or a list of documents, each a text or a list of its own sentences
                or segments; or any other iterable of documents, which is read as needed.
            batch_size: Most documents of a batch; None leaves it to `batch_tokens`.
            **settings: `batch_tokens`, and what the pipeline's class names.

        Returns:
            One answer for one text, a list for a list, an iterator for anything else.

        Raises:
            ValueError: A setting is unknown or not allowed, the inputs are no texts (a table, a
                mapping, a set, a file, bytes, None), or the model's numbers are not finite.
        """
        given = {**self._postprocess_params, **self._sanitize_parameters(**settings)[2]}
        tokens = given.pop("batch_tokens", TOKENS_PER_BATCH)
        most = self._batch_size if batch_size is None else batch_size
        if most is not None and most < 1:
            raise ValueError(f"batch_size={most} is not allowed: at least 1")
        one = isinstance(inputs, str) or is_document(inputs)
        if not one and (problem := no_texts(inputs)):
            raise ValueError(
                f"what is to be answered is no text, but {problem}; give a string, or a list or "
                "another iterable of strings or of lists of sentences"
            )
        answers = self._answers([inputs] if one else inputs, most, tokens, given)
        if one:
            return next(answers)
        return list(answers) if isinstance(inputs, (list, tuple)) else answers

    def _answers(
        self, documents: Iterable[DocumentLike], most: int | None, tokens: int, given: dict
    ) -> Iterator[dict[str, Any]]:
        own = {name: given[name] for name in self.processor.fields if given.get(name)}
        segmented = self.processor.segment_each(
            with_fields(_text(one, number), own) for number, one in enumerate(documents)
        )
        for batch in batches_by_tokens(segmented, lambda one: one.tokens, tokens, most):
            yield from self.run_single(batch, {}, given, given)

    def _sanitize_parameters(
        self, **settings: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        head = HEADS[self._head]
        allowed = ("batch_tokens", *head.settings)
        for name in settings:
            if name not in allowed:
                raise ValueError(f"{name} is not allowed here; allowed are {', '.join(allowed)}")
        given = {name: value for name, value in settings.items() if value is not None}
        if given.get("batch_tokens", 1) < 1:
            raise ValueError(f"batch_tokens={given['batch_tokens']} is not allowed: at least 1")
        own = {name: value for name, value in given.items() if name in head.settings}
        head.options(self.model.config, own)  # refuses what is not allowed
        return {}, {}, given

    def preprocess(self, documents: list[SegmentedDocument], **settings: Any) -> dict[str, Any]:
        """A batch of segmented documents, as it is."""
        return {"documents": documents}

    def _forward(self, batch: dict[str, Any], **settings: Any) -> dict[str, Any]:
        options = self._options(settings)
        answered = answer_batch(self.model, batch["documents"], [self._head], options=options)
        if problem := not_finite(self.model, answered):
            raise ValueError(problem)
        return {"answered": answered}

    def postprocess(self, outputs: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
        """One answer for each document of a batch."""
        options = self._options(settings)
        answers = []
        for one in outputs["answered"]:
            answer = self._answer(answer_fields(self.model, one, options))
            if one.document.omission:
                answer["omission"] = asdict(one.document.omission)
            answers.append(answer)
        return answers

    def _options(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {self._head: HEADS[self._head].options(self.model.config, settings)}

    def _answer(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a row as this pipeline gives them."""
        return fields

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save the model and the processor, which transformers' own pipelines leave out."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)


def _text(given: Any, number: int) -> DocumentLike:
    """One of several documents, if it is one."""
    if isinstance(given, (str, list, tuple)) or is_document(given):
        return given
    raise ValueError(
        f"document {number} of what is to be answered is no text, but of type "
        f"{type(given).__name__}; give a string or a list of sentences"
    )


class DocumentClassificationPipeline(DocumentPipeline):
    """Labels of long documents: ``pipeline("document-classification", model=...)``.

    An answer holds `label`, `score` and the `probabilities` of all labels; of a multi-label model
    `labels` and `probabilities`; of a tree of labels `path` (or `paths`) too, and the probabilities
    of the nodes that matter; of a regression `label`, a number. Where the model's `max_segments`
    left something out of a document, `omission` says how much. Settings, when building it or with
    each call: `threshold`, of several labels the probability from which each applies; `top_labels`,
    how many of the likeliest to name; `abstain_below`, of one label the probability below which
    `label` is None and `abstained` true; of a tree `depth`, how many levels an answer has at most,
    and `min_probability`, that each of its nodes has at least; `evidence` and `evidence_count`,
    which segments, sentences and words the labels come from.
    """

    _head = "classification"

    def _answer(self, fields: dict[str, Any]) -> dict[str, Any]:
        if "probabilities" in fields and "label" in fields:
            shares = fields["probabilities"]
            fields["score"] = shares.get(fields["label"], max(shares.values()))
        return fields


class DocumentSummarizationPipeline(DocumentPipeline):
    """Extracts of long documents: ``pipeline("document-summarization", model=...)``.

    An answer holds the `summary`, one sentence a line, and its `sentences`, each with `text`,
    `start` and `end` in characters of the document, and `score`. Settings, when building it or
    with each call: one of `max_words`, `max_sentences`, `max_tokens`, `max_characters` and `ratio`;
    those of `selection_options.OPTIONS`, such as `order`. Without them the model's own hold.
    `query` is what the summary should be about, of a model that was made with queries.
    With ``sentence_kinds=True`` each has its `kind`, and the answer those of all sentences; with
    ``evidence=True`` it has `sentence_evidence`, what the score of each is made of.
    """

    _head = "summarization"

    def _sanitize_parameters(
        self, **settings: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        before, forward, given = super()._sanitize_parameters(**settings)
        if any(name in given for name in SUMMARY_BUDGETS):
            # Of a call, a budget takes the place of the pipeline's own.
            given = {**dict.fromkeys(SUMMARY_BUDGETS), **given}
        return before, forward, given

    def _answer(self, fields: dict[str, Any]) -> dict[str, Any]:
        fields["sentences"] = [asdict(sentence) for sentence in fields["sentences"]]
        return fields


PIPELINES: dict[str, type[DocumentPipeline]] = {
    "document-classification": DocumentClassificationPipeline,
    "document-summarization": DocumentSummarizationPipeline,
}
# Names that transformers has pipelines for: they are ours for our models alone, which say so in
# their config.
STANDARD_PIPELINES: dict[str, type[DocumentPipeline]] = {
    "text-classification": DocumentClassificationPipeline,
}
