"""The words of a document, hashed, and what a linear model says of them.

Vectors and words know different things. No vocabulary is kept, which would publish the words of a
private corpus: a word is known by its bucket alone, which many words share. (Whoever has the
weights can still try out the words they think of.)
"""

import math
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .features import Feature, LeftOut, register_feature
from .heads import Structure
from .ragged import group_starts
from .segmentation import SegmentedDocument
from .selection import UNSPACED
from .sentences import Span

WORD = re.compile(rf"{UNSPACED.pattern}|(?:(?!{UNSPACED.pattern})\w)+")
_ASCII_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
# Odd numbers, so that products with them lose no bits (Knuth's multiplicative hashing).
_PAIR, _SPREAD = 0x9E3779B1, 0x85EBCA77
_BITS = 32


def word_hash(word: str) -> int:
    """A number of 32 bits, the same in each process."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def word_hashes(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The words of texts, as numbers of 32 bits.

    A word is a run of letters and digits without regard to case, all digits alike; in scripts
    without spaces each letter is one.

    Returns:
        Of all words in order int64 (W,), and of how many each text has (len(texts),).
    """
    known: dict[str, int] = {}
    hashes: list[int] = []
    counts = []
    for text in texts:
        folded, pattern = _folded(text)
        words = pattern.findall(folded)
        for word in set(words):
            if word not in known:
                known[word] = word_hash(word)
        hashes += [known[word] for word in words]
        counts.append(len(words))
    return torch.tensor(hashes, dtype=torch.int64), torch.tensor(counts, dtype=torch.int64)


def word_places(text: str) -> Tensor:
    """Where each word of `word_hashes` starts and ends in a text, int64 (W, 2)."""
    folded, pattern = _folded(text)
    found = [word.span() for word in pattern.finditer(folded)]
    places = torch.tensor(found, dtype=torch.int64).view(-1, 2)
    if len(folded) == len(text):
        return places
    # Of some letters several are made, as "ss" of "ß".
    sizes = torch.tensor([len(letter.casefold()) for letter in text])
    letters = torch.arange(len(text)).repeat_interleave(sizes)
    return torch.stack([letters[places[:, 0]], letters[places[:, 1] - 1] + 1], 1)


def _folded(text: str) -> tuple[str, re.Pattern[str]]:
    """A text as its words are told apart, and what they are there."""
    folded = _DIGIT.sub("0", text.casefold())
    return folded, _ASCII_WORD if folded.isascii() else WORD


def pair_hashes(first: Tensor, second: Tensor) -> Tensor:
    """Of pairs of words, by those of both, int64 like these."""
    return (first * _PAIR + second) % 2**_BITS


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
    return buckets_of(hashes, buckets), buckets_of(_pairs_of(hashes), buckets)


def _pairs_of(hashes: Tensor) -> Tensor:
    return pair_hashes(hashes[:-1], hashes[1:])


class _Terms:
    """The words of a text, or its pairs of words: W of them, in U different buckets.

    Args:
        hashes: int64 (W,).
        places: Start and end of each in the document, int64 (W, 2).
        buckets: A power of 2.
        is_pair: Which of the two they are.
    """

    def __init__(self, hashes: Tensor, places: Tensor, buckets: int, is_pair: bool) -> None:
        self.hashes, self.places, self.is_pair = hashes, places, is_pair
        self.buckets, self.inverse, self.counts = buckets_of(hashes, buckets).unique(
            return_inverse=True, return_counts=True
        )

    def without(self, words: slice) -> tuple[Tensor, Tensor]:
        """Buckets and counts that are left without some words."""
        if words.start == words.stop:
            return self.buckets, self.counts
        gone = self.inverse[max(0, words.start - self.is_pair) : words.stop]
        counts = self.counts - gone.bincount(minlength=len(self.counts))
        return self.buckets[counts > 0], counts[counts > 0]


class _Text:
    """A part of a document that is read as one text, and its terms: words, and pairs of them."""

    def __init__(self, document: SegmentedDocument, span: Span, buckets: int, pairs: bool) -> None:
        text = document.text[slice(*span)]
        hashes, places = word_hashes([text])[0], word_places(text) + span[0]
        self._span, self._starts = span, places[:, 0].contiguous()
        self.terms = [_Terms(hashes, places, buckets, is_pair=False)]
        if pairs:
            both = torch.stack([places[:-1, 0], places[1:, 1]], 1)
            self.terms.append(_Terms(_pairs_of(hashes), both, buckets, is_pair=True))

    def without(self, span: Span) -> list[tuple[Tensor, Tensor]]:
        """Buckets and counts of words, and of pairs, without the words that begin in a span."""
        if span[1] <= self._span[0] or self._span[1] <= span[0]:
            return [(terms.buckets, terms.counts) for terms in self.terms]
        first, last = torch.searchsorted(self._starts, torch.tensor(span)).tolist()
        return [terms.without(slice(first, max(first, last))) for terms in self.terms]


def summed_weights(weights: Tensor, buckets: Tensor, values: Tensor, sizes: Tensor) -> Tensor:
    """The weights of each text's buckets, times their values: float32 (texts, M).

    Args:
        weights: Of all buckets, in M models, float (buckets, M).
        buckets: Of all texts, int64 (W,).
        values: Theirs, float (W,).
        sizes: How many each text has, int64 (texts,).
    """
    summed = nn.functional.embedding_bag(
        buckets,
        weights,
        group_starts(sizes),
        mode="sum",
        per_sample_weights=values.to(weights.dtype),
    )
    return summed.float()


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
    def spans(document: SegmentedDocument) -> list[Span]:
        """Where the texts are that are read of a document: one, the whole of it, here."""
        return [(0, len(document.text))]

    @classmethod
    def texts(cls, document: SegmentedDocument) -> list[str]:
        """What is read of a document."""
        return [document.text[start:end] for start, end in cls.spans(document)]

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """Different buckets of each text, their counts, and how many there are.

        Returns:
            int64 `buckets` and `counts` (W,), and `sizes` (U, 1), or (U, 2) with pairs: those of
            a text's words stand before those of its pairs.
        """
        kinds = 2 if self.pairs else 1
        texts = (text for one in documents for text in self.texts(one))
        hashed = (hashed_words(text, self.buckets)[:kinds] for text in texts)
        return self._laid_out(kind.unique(return_counts=True) for one in hashed for kind in one)

    def _laid_out(self, counted: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        found = list(counted)
        kinds = 2 if self.pairs else 1
        return {
            "buckets": torch.cat([buckets for buckets, _ in found]),
            "counts": torch.cat([counts for _, counts in found]),
            "sizes": torch.tensor([len(buckets) for buckets, _ in found]).view(-1, kinds),
        }

    def leaving_out(self, document: SegmentedDocument) -> Callable[[LeftOut], dict[str, Tensor]]:
        """What collates a document without the words that begin in a part, and their pairs."""
        return partial(self._collate_without, self._texts_of(document))

    def _texts_of(self, document: SegmentedDocument) -> list[_Text]:
        return [_Text(document, span, self.buckets, self.pairs) for span in self.spans(document)]

    def _collate_without(self, texts: list[_Text], left_out: LeftOut) -> dict[str, Tensor]:
        rows = zip(left_out.spans, self._kept(left_out).tolist(), strict=True)
        return self._laid_out(
            counted
            for span, row in rows
            for text, is_kept in zip(texts, row, strict=True)
            if is_kept
            for counted in text.without(span)
        )

    @staticmethod
    def _kept(left_out: LeftOut) -> Tensor:
        """Which texts are still read, bool (R, U)."""
        return torch.ones(len(left_out.spans), 1, dtype=torch.bool)

    def contributions(
        self, document: SegmentedDocument, slopes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weight times value of each word and each pair of a document, where it stands.

        Args:
            document: Any.
            slopes: By how much each thing that is explained grows with each logit of the feature,
                float (C, L).

        Returns:
            Of M words and pairs their places, int64 (M, 2), numbers that equal ones share,
            int64 (M,), and contributions, float32 (M, L), which with those of the bias add up to
            the feature's logits times the slopes.
        """
        texts = self._texts_of(document)
        all_terms = [terms for text in texts for terms in text.terms]
        inputs = self._laid_out((terms.buckets, terms.counts) for terms in all_terms)
        inputs = {name: value.to(self.idf.device) for name, value in inputs.items()}
        values = self.weigh(**inputs) / inputs["counts"]
        shares = self._shares(self.logits(inputs)).repeat_interleave(len(texts[0].terms), 0)
        found = []
        each_own = values.split([len(terms.buckets) for terms in all_terms])
        for terms, value, share in zip(all_terms, each_own, shares, strict=True):
            weights = self.weights[terms.buckets.to(self.idf.device)].float()
            each = value[:, None] * (weights @ (share[:, None] * slopes.to(share.device)))
            found.append(each.cpu()[terms.inverse])
        hashes = [terms.hashes + terms.is_pair * 2**_BITS for terms in all_terms]
        return torch.cat([t.places for t in all_terms]), torch.cat(hashes), torch.cat(found)

    @staticmethod
    def _shares(logits: Tensor) -> Tensor:
        """How much the feature grows with the logits of each text, float (U, C), as these are."""
        return torch.ones_like(logits)

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each document."""
        return self.logits(inputs)

    def logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """One row for each text, float32 (U, C); of a text without known words, the bias."""
        if not inputs:
            raise ValueError("features.words.* are missing: HierBertProcessor makes them")
        values, sizes = self.weigh(**inputs), inputs["sizes"].sum(1)
        return summed_weights(self.weights, inputs["buckets"], values, sizes) + self.bias.float()

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
    for bits in range(18, 11, -1):
        if labels << bits <= _MOST_WEIGHTS:
            return 1 << bits
    return None


_MOST_WEIGHTS = 1 << 24
