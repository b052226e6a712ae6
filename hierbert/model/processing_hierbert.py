"""Texts to a model's inputs: the counterpart of a tokenizer for whole documents."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

# The heads of this package, and with them the features that they read, are registered here: models
# import this file, and processors nothing else.
from .central_sentences import CentralityHead  # noqa: F401
from .configuration_hierbert import HierBertConfig
from .documents import Document, DocumentLike, field_lacking, is_blank, is_document
from .features import collate_features, make_features
from .heads import Structure
from .multi_label import MultiLabelHead  # noqa: F401
from .regression import RegressionHead  # noqa: F401
from .saving import SavedWithCode
from .segment_words import SegmentWords  # noqa: F401
from .segmentation import SegmentedDocument, Segmenter
from .sentence_features import SentenceFeatures  # noqa: F401
from .sentence_query import QUERY, collate_queries
from .single_label import SingleLabelHead  # noqa: F401
from .summarization_head import SummarizationHead  # noqa: F401
from .tree import TreeHead  # noqa: F401
from .words import Words  # noqa: F401

# Of a batch of documents, where nothing else is asked for.
TOKENS_PER_BATCH = 16_384
# Of the tokenizer.
_DOCUMENTS_PER_CALL = 32
# Settings of a processor, which are in its model's config too.
SEGMENTATION_SETTINGS = (
    "max_tokens_per_segment",
    "overlap_sentences",
    "max_segments",
    "max_segments_policy",
    "list_unit",
)


class HierBertProcessor(SavedWithCode, ProcessorMixin):
    """Segments documents and lays them out flat, as `HierBertForDocuments` reads them.

    Args:
        tokenizer: The encoder's fast tokenizer.
        max_tokens_per_segment: As `Segmenter` takes it, and so the next four.
        overlap_sentences: Sentences repeated at the start of the next segment.
        max_segments: Most segments of a document; None for no limit.
        max_segments_policy: "head", "tail", "head_tail" or "spread".
        list_unit: "sentences" or "segments".
        features: Settings of the features that the model's heads read, by name.

    Raises:
        ValueError: The tokenizer is not a fast one, or a segment has no room.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_tokens_per_segment: int = 512,
        overlap_sentences: int = 0,
        max_segments: int | None = None,
        max_segments_policy: str = "head",
        list_unit: str = "sentences",
        features: dict[str, dict] | None = None,
        **kwargs: Any,
    ) -> None:
        self.max_tokens_per_segment = max_tokens_per_segment
        self.overlap_sentences = overlap_sentences
        self.max_segments = max_segments
        self.max_segments_policy = max_segments_policy
        self.list_unit = list_unit
        self.features = features
        super().__init__(tokenizer, **kwargs)
        own = {name: getattr(self, name) for name in SEGMENTATION_SETTINGS}
        self._segmenter = Segmenter(tokenizer, **own)
        # Without memory for what they have learnt, which only the model reads.
        with torch.device("meta"):
            self._features = make_features(features)

    @classmethod
    def from_config(
        cls, tokenizer: PreTrainedTokenizerBase, config: HierBertConfig
    ) -> "HierBertProcessor":
        """The processor of a model, whose config holds the same settings."""
        own = {name: getattr(config, name) for name in SEGMENTATION_SETTINGS}
        return cls(tokenizer, **own, features=config.features)

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The settings, for `save_pretrained`, without what is made of them."""
        values = super().to_dict(*args, **kwargs)
        made = ["_segmenter", "_features", *(() if self.features else ("features",))]
        return {name: value for name, value in values.items() if name not in made}

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of what the model's features read of a document beside its text."""
        names = (name for feature in self._features.values() for name in feature.fields)
        return tuple(dict.fromkeys(names))

    @property
    def needed_fields(self) -> tuple[str, ...]:
        """Those of them that no document may lack."""
        each = self._features.values()
        needed = {name for one in each for name in one.fields if name not in one.may_lack}
        return tuple(name for name in self.fields if name in needed)

    def segment(self, documents: Sequence[DocumentLike]) -> list[SegmentedDocument]:
        """Cut documents into segments; see `Segmenter.__call__`.

        Raises:
            ValueError: A document lacks a field that the model's features read, or has a query that
                is no string.
        """
        fields, needed = self.fields, self.needed_fields
        for one in documents:
            if lacking := field_lacking(one, needed):
                raise ValueError(f"a document {lacking}")
        each: Sequence[Any] = documents
        given: list[Document] = [one if is_document(one) else Document(one) for one in each]
        segmented = self._segmenter([one.text for one in given])
        if not fields:
            return segmented
        read: list[dict[str, Any]]
        read = [{name: one.fields.get(name) for name in fields} for one in given]
        for own in read:
            if not isinstance(own.get(QUERY, ""), str | None):
                raise ValueError(f"a document has the query {own[QUERY]!r}: a string is needed")
        # Many documents may be asked the same.
        asked: list[str] = list({own[QUERY]: None for own in read if not is_blank(own.get(QUERY))})
        queries = dict(zip(asked, self._segmenter(asked), strict=True))
        return [
            replace(document, fields=own, query=queries.get(own.get(QUERY, "")))
            for own, document in zip(read, segmented, strict=True)
        ]

    def segment_each(self, documents: Iterable[DocumentLike]) -> Iterator[SegmentedDocument]:
        """Cut documents into segments as they come; there may be no end of them."""
        coming = iter(documents)
        while part := list(islice(coming, _DOCUMENTS_PER_CALL)):
            yield from self.segment(part)

    def __call__(self, documents: DocumentLike | Sequence[DocumentLike]) -> BatchFeature:
        """Make a batch of documents.

        Args:
            documents: One text, or a list of documents: texts, or lists of their sentences
                or segments.

        Returns:
            The tensors of `collate`, and those that features need, in a `BatchFeature` (so that
            `.to(device)` works).

        Raises:
            ValueError: There is no document at all.
        """
        single = isinstance(documents, str) or is_document(documents)
        batch: Any = [documents] if single else documents
        if not len(batch):
            raise ValueError("there is no document to make a batch of: give at least one text")
        segmented = self.segment(batch)
        inputs = collate(segmented) | collate_features(self._features, segmented)
        if QUERY in self.fields:
            inputs |= collate_queries(segmented)
        return BatchFeature(inputs)


def collate(documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
    """Lay out at least one document flat; D documents, P segments, N sentences, T tokens.

    Returns:
        int64 tensors: `input_ids` (T,), `sentence_index` (T,), `segment_lengths` (P,), and
        those of `Structure`.
    """
    indices, before = [], 0
    for document in documents:
        index = document.sentence_index.long()
        indices.append(torch.where(index >= 0, index + before, index))
        before += len(document.sentence_spans)
    return {
        "input_ids": torch.cat([document.input_ids for document in documents]).long(),
        "sentence_index": torch.cat(indices),
        "segment_lengths": torch.cat([document.segment_lengths for document in documents]),
        **vars(Structure.of_documents(documents)),
    }
