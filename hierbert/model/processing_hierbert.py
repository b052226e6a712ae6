"""Texts to a model's inputs, and a model's outputs to labels and sentences.

The counterpart of a tokenizer for whole documents: `HierBertForDocuments` reads what it returns.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from .configuration_hierbert import HierBertConfig
from .saving import SavedWithCode
from .segmentation import DocumentText, SegmentedDocument, Segmenter

# Of a batch of documents, where nothing else is asked for.
TOKENS_PER_BATCH = 16_384
# A call of the tokenizer takes so many.
DOCUMENTS_PER_CALL = 32


class HierBertProcessor(SavedWithCode, ProcessorMixin):
    """Segments documents and lays them out flat, as `HierBertForDocuments` reads them.

    Args:
        tokenizer: The encoder's fast tokenizer.
        max_tokens_per_segment: See `Segmenter`, as the next four.
        overlap_sentences: Sentences repeated at the start of the next segment.
        max_segments: Most segments of a document; None for no limit.
        max_segments_policy: "head", "tail", "head_tail" or "spread".
        list_unit: "sentences" or "segments".

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
        **kwargs: Any,
    ) -> None:
        self.max_tokens_per_segment = max_tokens_per_segment
        self.overlap_sentences = overlap_sentences
        self.max_segments = max_segments
        self.max_segments_policy = max_segments_policy
        self.list_unit = list_unit
        super().__init__(tokenizer, **kwargs)
        self._segmenter = Segmenter(
            tokenizer,
            max_tokens_per_segment=max_tokens_per_segment,
            overlap_sentences=overlap_sentences,
            max_segments=max_segments,
            max_segments_policy=max_segments_policy,
            list_unit=list_unit,
        )

    @classmethod
    def from_config(
        cls, tokenizer: PreTrainedTokenizerBase, config: HierBertConfig
    ) -> "HierBertProcessor":
        """The processor that goes with a model: its segmentation is in the model's config."""
        return cls(
            tokenizer,
            max_tokens_per_segment=config.segment_tokens,
            overlap_sentences=config.overlap_sentences,
            max_segments=config.max_segments,
            max_segments_policy=config.max_segments_policy,
            list_unit=config.list_unit,
        )

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What `save_pretrained` writes: the settings, without the segmenter built from them."""
        values = super().to_dict(*args, **kwargs)
        values.pop("_segmenter", None)
        return values

    def segment(self, documents: Sequence[DocumentText]) -> list[SegmentedDocument]:
        """Cut documents into segments; see `Segmenter.__call__`."""
        return self._segmenter(documents)

    def __call__(self, documents: DocumentText | Sequence[DocumentText]) -> BatchFeature:
        """Make a batch of documents.

        Args:
            documents: One text, or a list of documents: texts, or lists of their sentences
                or segments.

        Returns:
            What `collate` returns, as a `BatchFeature` (so that `.to(device)` works).

        Raises:
            ValueError: There is no document at all.
        """
        if isinstance(documents, str):
            documents = [documents]
        if not len(documents):
            raise ValueError("there is no document to make a batch of: give at least one text")
        return BatchFeature(collate(self.segment(documents)))


def batches_by_tokens(
    documents: Iterable[SegmentedDocument], batch_tokens: int, most_documents: int | None = None
) -> Iterator[list[SegmentedDocument]]:
    """Put documents into batches, in their order, as they come.

    Args:
        documents: May have no end.
        batch_tokens: Most tokens of a batch; a longer document is a batch of its own.
        most_documents: Most documents of a batch; None for no limit.

    Yields:
        At least one document each.
    """
    batch: list[SegmentedDocument] = []
    tokens = 0
    for document in documents:
        size = len(document.input_ids)
        if batch and (tokens + size > batch_tokens or len(batch) == most_documents):
            yield batch
            batch, tokens = [], 0
        batch.append(document)
        tokens += size
    if batch:
        yield batch


def collate(documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
    """Lay segmented documents out flat; D documents, P segments, N sentences, T tokens.

    Args:
        documents: At least one.

    Returns:
        int64 tensors: `input_ids` (T,), `sentence_index` (T,), `segment_lengths` (P,), and
        those of `collate_structure`.
    """
    sentences = [len(document.sentence_spans) for document in documents]
    shifted, before = [], 0
    for document, count in zip(documents, sentences, strict=True):
        index = document.sentence_index.long()
        shifted.append(torch.where(index >= 0, index + before, index))
        before += count
    return {
        "input_ids": torch.cat([document.input_ids for document in documents]).long(),
        "sentence_index": torch.cat(shifted),
        "segment_lengths": torch.cat([document.segment_lengths for document in documents]),
        **collate_structure(documents),
    }


def collate_structure(documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
    """The part of a batch that is needed with tokens and with cached vectors alike.

    Args:
        documents: At least one.

    Returns:
        int64 tensors: `segments_per_document` (D,), `sentences_per_document` (D,),
        `sentence_segments` (N,) counted through the batch, `sentence_tokens` (N,).
    """
    segments = [len(document.segment_lengths) for document in documents]
    home, before = [], 0
    for document, count in zip(documents, segments, strict=True):
        home.append(document.sentence_segments + before)
        before += count
    return {
        "segments_per_document": torch.tensor(segments),
        "sentences_per_document": torch.tensor([len(d.sentence_spans) for d in documents]),
        "sentence_segments": torch.cat(home),
        "sentence_tokens": torch.cat([document.sentence_tokens for document in documents]),
    }
