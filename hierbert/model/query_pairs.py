"""What a linear model says of the words of a question together with those of a sentence.

A question that is asked of many documents, such as what a paper contributes, has answers that share
words, and places, which the question does not name.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .features import Feature, register_feature
from .heads import Structure
from .ragged import group_of_unit
from .segmentation import SegmentedDocument
from .sentence_query import QUERY
from .sentence_words import stems
from .words import buckets_of, pair_hashes, summed_weights, word_hash

BUCKETS = 1 << 18
"""Of pairs of words."""
# Of a question so many different words are read, and what stands for any question.
_MOST_WORDS = 16
# Where a sentence is, in so many parts of its document, counts as a word of it.
_PLACES = (5, 20)


@register_feature
class QueryPairs(Feature):
    """A score of each sentence, float32 (N, 1); 0 where nothing is asked."""

    name = "query_pairs"
    fields = may_lack = (QUERY,)
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {}
        self.register_buffer("weights", torch.zeros(BUCKETS))

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """Hashed words.

        Returns:
            int64 `asked` (D, _MOST_WORDS + 1), of questions, -1 for none, and of different words of
            sentences `words` (W,) and how many each has, `sizes` (N,); none where nothing is asked.
        """
        asked = torch.full((len(documents), _MOST_WORDS + 1), -1)
        words: list[int] = []
        sizes: list[int] = []
        for document, row in zip(documents, asked, strict=True):
            count = len(document.sentence_spans)
            if document.query is None:
                sizes += [0] * count
                continue
            own = list(dict.fromkeys(stems(document.query.text)))[:_MOST_WORDS]
            row[: len(own) + 1] = torch.tensor([0, *map(word_hash, own)])
            for place, text in enumerate(document.sentences):
                # A set of strings has another order in each process.
                different = dict.fromkeys(stems(text))
                parts = [f"\0{parts}\0{place * parts // count}" for parts in _PLACES]
                words += map(word_hash, (*different, *parts))
                sizes.append(len(different) + len(parts))
        return {
            "asked": asked,
            "words": torch.tensor(words, dtype=torch.int64),
            "sizes": torch.tensor(sizes, dtype=torch.int64),
        }

    def pairs(
        self, inputs: dict[str, Tensor], structure: Structure
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For each word of questions the buckets and values of it with all words, (W,) each."""
        asked, words, sizes = (inputs[name] for name in ("asked", "words", "sizes"))
        of_sentence = group_of_unit(structure.sentences_per_document)
        documents = of_sentence[group_of_unit(sizes)]
        together = sizes[group_of_unit(sizes)] * (asked >= 0).sum(1)[documents]
        values = together.float().rsqrt()
        for column in asked.T:
            own = column[documents]
            yield buckets_of(pair_hashes(own, words), BUCKETS), values * (own >= 0)

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each sentence of the batch."""
        if not inputs:
            raise ValueError("features.query_pairs.* are missing: HierBertProcessor makes them")
        sizes, weights = inputs["sizes"], self.weights.float()[:, None]
        scores = torch.zeros(len(sizes), 1, device=weights.device)
        if not len(inputs["words"]):
            return scores
        for buckets, values in self.pairs(inputs, structure):
            scores = scores + summed_weights(weights, buckets, values, sizes)
        return scores
