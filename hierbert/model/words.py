"""The words of a document as a feature: hashed, so that a checkpoint holds none of them."""

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .features import Feature, register_feature
from .heads import Structure
from .segmentation import SegmentedDocument


@register_feature
class Words(Feature):
    """TF-IDF of hashed words, float (D, buckets), each row of length 1 or 0.

    Args:
        buckets: Into which words are hashed.
    """

    name = "words"

    def __init__(self, buckets: int = 4096) -> None:
        super().__init__()
        self.buckets = buckets
        self.idf: Tensor
        self.register_buffer("idf", torch.ones(buckets))

    def _counts(self, text: str) -> Counter[int]:
        words = text.lower().split()
        return Counter(zlib.crc32(word.encode("utf-8", "replace")) % self.buckets for word in words)

    def fit(
        self, documents: Sequence[SegmentedDocument], targets: Mapping[str, Sequence[Any]]
    ) -> None:
        """Learn how rare each bucket is among the training documents."""
        seen = torch.ones(self.buckets)
        for document in documents:
            seen[list(self._counts(document.text))] += 1
        self.idf.copy_(math.log(1 + len(documents)) - seen.log() + 1)

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """`counts`, float (D, buckets): 1 + log of how often each bucket occurs."""
        counts = torch.zeros(len(documents), self.buckets)
        for row, document in enumerate(documents):
            for bucket, count in self._counts(document.text).items():
                counts[row, bucket] = 1 + math.log(count)
        return {"counts": counts}

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """The feature of a batch."""
        return nn.functional.normalize(inputs["counts"] * self.idf, dim=1)
