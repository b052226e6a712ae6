"""The words of a document, hashed, and what a linear model says of them.

Vectors and words know different things. No vocabulary is kept, which would publish the words of a
private corpus: a word is known by its bucket alone, which many words share. (Whoever has the
weights can still try out the words they think of.)
"""

import math
import re
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .features import Feature, register_feature
from .heads import Structure
from .segmentation import SegmentedDocument
from .selection import UNSPACED

WORD = re.compile(rf"{UNSPACED.pattern}|(?:(?!{UNSPACED.pattern})\w)+")
_ASCII_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
# Odd numbers, so that products with them lose no bits (Knuth's multiplicative hashing).
_PAIR, _SPREAD = 0x9E3779B1, 0x85EBCA77
_BITS = 32


def word_hashes(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The words of texts, as numbers of 32 bits.

    A word is a run of letters and digits without regard to case, all digits alike; in scripts
    without spaces each letter is one.

    Returns:
        Of all words in order int64 (W,), and of how many each text has (len(texts),).
    """
    # Python's own hash differs from process to process.
    known: dict[str, int] = {}
    hashes: list[int] = []
    counts = []
    for text in texts:
        folded = _DIGIT.sub("0", text.casefold())
        words = (_ASCII_WORD if folded.isascii() else WORD).findall(folded)
        for word in set(words):
            if word not in known:
                known[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        hashes += [known[word] for word in words]
        counts.append(len(words))
    return torch.tensor(hashes, dtype=torch.int64), torch.tensor(counts, dtype=torch.int64)


def buckets_of(hashes: Tensor, buckets: int) -> Tensor:
    """The bucket of each word, int64 like the hashes; `buckets` is a power of 2."""
    return (hashes * _SPREAD) % 2**_BITS >> _BITS - (buckets.bit_length() - 1)


def hashed_words(text: str, buckets: int) -> tuple[Tensor, Tensor]:
    """The buckets of a text's words in order, and of the pairs of words that follow one another.

    Args:
        text: Any; see `word_hashes`.
        buckets: A power of 2.

    Returns:
        Of W words int64 (W,), and of their pairs int64 (max(0, W - 1),).
    """
    hashes, _ = word_hashes([text])
    pairs = (hashes[:-1] * _PAIR + hashes[1:]) % 2**_BITS
    return buckets_of(hashes, buckets), buckets_of(pairs, buckets)


@register_feature
class Words(Feature):
    """Logits of labels from a document's words: float (D, C).

    A document is its hashed words, weighed ``(1 + log count) * idf`` and divided by their norm;
    beside them its pairs of words, divided by their own.

    Args:
        labels: C, of the model.
        buckets: A power of 2.
        pairs: Whether pairs of words are read too.
    """

    name = "words"
    idf: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(self, labels: int, buckets: int, pairs: bool) -> None:
        super().__init__()
        self.buckets, self.pairs = buckets, pairs
        self.register_buffer("idf", torch.zeros(buckets))
        self.register_buffer("weights", torch.zeros(buckets, labels))
        self.register_buffer("bias", torch.zeros(labels))

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with."""
        return {"labels": len(self.bias), "buckets": self.buckets, "pairs": self.pairs}

    @staticmethod
    def texts(document: SegmentedDocument) -> list[str]:
        """What is read of a document: U texts, which are D, one for each document, here."""
        return [document.text]

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """Different buckets of each text, their counts, and how many there are.

        Returns:
            int64 `buckets` and `counts` (W,), and `sizes` (U, 1), or (U, 2) with pairs: those of
            a text's words stand before those of its pairs.
        """
        kinds = 2 if self.pairs else 1
        texts = (text for one in documents for text in self.texts(one))
        hashed = (hashed_words(text, self.buckets)[:kinds] for text in texts)
        found = [kind.unique(return_counts=True) for one in hashed for kind in one]
        return {
            "buckets": torch.cat([buckets for buckets, _ in found]),
            "counts": torch.cat([counts for _, counts in found]),
            "sizes": torch.tensor([len(buckets) for buckets, _ in found]).view(-1, kinds),
        }

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each text; of a text without known words, the bias."""
        if not inputs:
            raise ValueError("features.words.* are missing: HierBertProcessor makes them")
        values, sizes = self.weigh(**inputs), inputs["sizes"].sum(1)
        starts = sizes.cumsum(0) - sizes
        summed = nn.functional.embedding_bag(
            inputs["buckets"],
            self.weights,
            starts,
            mode="sum",
            per_sample_weights=values.to(self.weights.dtype),
        )
        return summed.float() + self.bias.float()

    def weigh(self, buckets: Tensor, counts: Tensor, sizes: Tensor) -> Tensor:
        """The numbers that stand for texts in a linear model, float32 (W,).

        Arguments are what `collate` gives.
        """
        values = (1 + counts.float().log()) * self.idf[buckets].float()
        each = sizes.flatten()
        owners = torch.arange(len(each), device=each.device).repeat_interleave(each)
        squares = torch.zeros(len(each), device=values.device)
        norms = squares.index_add(0, owners, values * values).sqrt()
        return values / norms.clamp(min=torch.finfo(torch.float32).tiny)[owners]

    def learn_idf(self, buckets: Tensor, owners: Tensor, documents: int) -> None:
        """Set the inverse document frequencies, smoothed; 0 for buckets of one document alone.

        Args:
            buckets: Of all documents, as `collate` gives them, int64 (W,).
            owners: The document of each, int64 (W,).
            documents: How many there are.
        """
        # A word and a pair of one document may share a bucket.
        different = (owners * self.buckets + buckets).unique() % self.buckets
        having = different.bincount(minlength=self.buckets).float()
        idf = math.log(1 + documents) - (1 + having).log() + 1
        self.idf.copy_(idf.masked_fill(having < 2, 0.0))


def buckets_for(labels: int) -> int | None:
    """Buckets whose weights take at most 64 MiB; None where labels are too many for words."""
    for bits in (18, 17, 16, 15, 14):
        if labels << bits <= _MOST_WEIGHTS:
            return 1 << bits
    return None


_MOST_WEIGHTS = 1 << 24
