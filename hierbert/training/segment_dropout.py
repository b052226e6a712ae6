"""A part of each long document in a training step, drawn anew in every epoch.

A step costs no more for a document of a hundred segments than for one of eight, and the layers
above meet other parts of it each time (as whole words or inputs are dropped elsewhere).
"""

import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from hierbert.model.segmentation import SegmentedDocument
from hierbert.tasks.prepared import PreparedDocument


class SegmentDropout:
    """Which segments of training documents are read.

    Args:
        most: Segments of a document in a step; None: all.
        seed: Of the run.
    """

    def __init__(self, most: int | None, seed: int) -> None:
        self.most, self.seed = most, seed

    def draw(self, document: PreparedDocument, index: int, epoch: int) -> PreparedDocument:
        """The part of a document that an epoch reads; `index` is its place in the corpus."""
        count = len(document.segmented.segment_lengths)
        if self.most is None or count <= self.most:
            return document
        chance = random.Random(f"segments {self.seed} {epoch} {index}")
        return _part(document, chance.sample(range(count), self.most))

    def longest(self, document: PreparedDocument) -> PreparedDocument:
        """The part with the most tokens that may be drawn."""
        lengths = document.segmented.segment_lengths
        if self.most is None or len(lengths) <= self.most:
            return document
        return _part(document, lengths.topk(self.most).indices.tolist())


def _part(document: PreparedDocument, segments: Sequence[int]) -> PreparedDocument:
    return replace(document, segmented=keep_segments(document.segmented, segments))


def keep_segments(document: SegmentedDocument, segments: Sequence[int]) -> SegmentedDocument:
    """A document with some of its segments alone, at least one, in their order.

    Its sentences are those that begin in them. The text stays whole.
    """
    kept = torch.zeros(len(document.segment_lengths), dtype=torch.bool)
    kept[list(segments)] = True
    tokens = kept.repeat_interleave(document.segment_lengths)
    sentences = kept[document.sentence_segments]
    # The last place is that of tokens without a sentence, -1.
    numbers = torch.full((len(sentences) + 1,), -1, dtype=torch.int32)
    numbers[:-1][sentences] = torch.arange(int(sentences.sum()), dtype=torch.int32)
    places = kept.cumsum(0) - 1
    return replace(
        document,
        sentence_spans=_kept(document.sentence_spans, sentences),
        segment_spans=_kept(document.segment_spans, kept),
        input_ids=document.input_ids[tokens],
        segment_lengths=document.segment_lengths[kept],
        sentence_index=numbers[document.sentence_index[tokens].long()],
        token_starts=document.token_starts[tokens],
        sentence_segments=places[document.sentence_segments[sentences]],
        sentence_tokens=document.sentence_tokens[sentences],
    )


def _kept(spans: list[tuple[int, int]], kept: torch.Tensor) -> list[tuple[int, int]]:
    return [span for span, stays in zip(spans, kept.tolist(), strict=True) if stays]
