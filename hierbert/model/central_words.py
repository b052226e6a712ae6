"""How central each sentence is to its document by its words alone, as a feature of the document."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .centrality import AlikeSentences, centroid, lexrank
from .features import Feature, register_feature
from .heads import Structure
from .segmentation import SegmentedDocument
from .sentence_words import SentenceWords, stems

METHODS: Mapping[str, Callable[[AlikeSentences], Tensor]] = {
    "lexrank": lexrank,
    "centroid": centroid,
}
"""Each gives a score for each of a document's sentences."""


@register_feature
class CentralWords(Feature):
    """How central each sentence is by its words: float32 (N,), at most 1, which the best one has.

    Args:
        method: One of `METHODS`.
    """

    name = "central_words"

    def __init__(self, method: str = "lexrank") -> None:
        super().__init__()
        self.method = METHODS[method]
        self.settings: dict[str, Any] = {"method": method}

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """The scores themselves, for words stay where the text is."""
        words = (SentenceWords([stems(text) for text in each.sentences]) for each in documents)
        return {"scores": torch.cat([relative(self.method(each)) for each in words])}

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One number for each sentence of the batch."""
        return inputs["scores"]


def relative(scores: Tensor) -> Tensor:
    """Scores of a document's sentences, of which the best has 1, float32 (N,)."""
    best = scores.max() if len(scores) else 1.0
    return (scores / (best if best > 0 else 1.0)).float()
