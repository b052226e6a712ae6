"""The words of each sentence, hashed, what is counted of it, and what linear models say of both.

As with the words of a document, no vocabulary is kept; see `words`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .features import Feature, register_feature
from .heads import Structure
from .ragged import group_of_unit
from .segmentation import SegmentedDocument
from .sentence_columns import COLUMNS, headings_of, sentence_columns
from .words import buckets_of, summed_weights, word_hashes

# Of a heading's words beside those of the sentence itself.
HEADING_WEIGHT = 0.5
# What is further from the mean than so many spreads says no more.
_FURTHEST = 6.0


@register_feature
class SentenceFeatures(Feature):
    """Scores of linear models, and standardised columns, of each sentence: float (N, M + COLUMNS).

    Of the M models the first reads the words, its own and those of the heading above it, and the
    last these and the columns; without words there is that of the columns alone.

    Args:
        words: Whether words are read.
        buckets: Of a sentence's words, a power of 2.
        heading_buckets: Of those of the heading above it.
    """

    name = "sentence_features"
    word_weights: Tensor
    heading_weights: Tensor
    column_weights: Tensor
    bias: Tensor
    center: Tensor
    scale: Tensor

    def __init__(
        self, words: bool = True, buckets: int = 1 << 16, heading_buckets: int = 1 << 12
    ) -> None:
        super().__init__()
        self.words, self.buckets, self.heading_buckets = words, buckets, heading_buckets
        self.models = 2 if words else 1
        if words:
            self.register_buffer("word_weights", torch.zeros(buckets, self.models))
            self.register_buffer("heading_weights", torch.zeros(heading_buckets, self.models))
        self.register_buffer("column_weights", torch.zeros(COLUMNS, self.models))
        self.register_buffer("bias", torch.zeros(self.models))
        self.register_buffer("center", torch.zeros(COLUMNS))
        self.register_buffer("scale", torch.ones(COLUMNS))

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with."""
        names = ("words", "buckets", "heading_buckets")
        return {name: getattr(self, name) for name in names}

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """What is counted, and the words of sentences and of headings.

        Returns:
            float32 `columns` (N, COLUMNS). With words, of W different ones of the sentences int64
            `buckets` and float32 `values` (W,) and int64 `sizes` (N,); of those of G headings
            `heading_buckets`, `heading_values` and `heading_sizes` (G,), and the `heading` of each
            sentence (N,). The first heading of each document is none, without words.
        """
        columns = [torch.zeros(0, COLUMNS)]
        found: dict[str, list[Tensor]] = {}
        headings = 0
        for document in documents:
            hashes, words = word_hashes(document.sentences)
            if len(words):
                columns.append(sentence_columns(document, hashes, words))
            if not self.words:
                continue
            own = dict(
                zip(("buckets", "values", "sizes"), _bags(hashes, words, self.buckets), strict=True)
            )
            above = headings_of(document)
            different, places = torch.cat([above.new_full((1,), -1), above]).unique(
                return_inverse=True
            )
            own["heading"] = places[1:] + headings
            headings += len(different)
            of_heading = _words_at(hashes, words, different)
            bags = _bags(*of_heading, self.heading_buckets)
            own |= dict(
                zip(("heading_buckets", "heading_values", "heading_sizes"), bags, strict=True)
            )
            for name, values in own.items():
                found.setdefault(name, []).append(values)
        return {"columns": torch.cat(columns)} | {n: torch.cat(v) for n, v in found.items()}

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each sentence of the batch."""
        if not inputs:
            raise ValueError(
                "features.sentence_features.* are missing: HierBertProcessor makes them"
            )
        columns = self.standardised(inputs["columns"])
        # Weights that add up to little differences lose them in half precision.
        with torch.autocast(columns.device.type, enabled=False):
            scores = columns @ self.column_weights.float() + self.bias.float()
            if self.words and len(columns):
                scores = scores + summed_weights(
                    self.word_weights, inputs["buckets"], inputs["values"], inputs["sizes"]
                )
                of_headings = summed_weights(
                    self.heading_weights,
                    inputs["heading_buckets"],
                    inputs["heading_values"],
                    inputs["heading_sizes"],
                )
                scores = scores + HEADING_WEIGHT * of_headings[inputs["heading"]]
        return torch.cat([scores, columns], 1)

    def set_model(self, place: int, weights: Tensor, bias: float) -> None:
        """Set the weights of a linear model: of the words and of the headings, of the columns.

        Args:
            place: Of the model.
            weights: Of all inputs that it reads, float (F,).
            bias: Its own.
        """
        parts = [self.column_weights] if place == self.models - 1 else []
        if self.words:
            parts = [self.word_weights, self.heading_weights, *parts]
        for part, own in zip(parts, weights.split([len(part) for part in parts]), strict=True):
            part[:, place] = own.to(part.dtype)
        self.bias[place] = bias

    def standardised(self, columns: Tensor) -> Tensor:
        """Columns less their mean and over their spread, as in the training documents."""
        apart = (columns.float() - self.center.float()) / self.scale.float()
        return apart.clamp(-_FURTHEST, _FURTHEST)


def _words_at(hashes: Tensor, words: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
    """The words of some sentences, ascending, and how many each has; -1 is one without any."""
    counts = torch.where(sentences < 0, 0, words[sentences]) if len(words) else sentences * 0
    wanted = torch.zeros(len(words), dtype=torch.bool)
    wanted[sentences[sentences >= 0]] = True
    return hashes[wanted[group_of_unit(words)]], counts


def _bags(hashes: Tensor, words: Tensor, buckets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Different buckets of each text, their counts over the norm, and how many there are."""
    keys = group_of_unit(words) * buckets + buckets_of(hashes, buckets)
    keys, counts = keys.unique(return_counts=True)
    owners, values = keys // buckets, counts.float()
    norms = torch.zeros(len(words)).index_add(0, owners, values * values).sqrt()
    return keys % buckets, values / norms[owners], owners.bincount(minlength=len(words))
