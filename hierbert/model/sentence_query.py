"""How near each sentence is to what is asked: by the words of the question, and by its vector.

Computed from a document and its question alone; where nothing is asked, nothing is near.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .aggregation import in_parts
from .features import Feature, register_feature
from .heads import Structure, Vectors
from .ragged import group_max, group_of_unit
from .segmentation import SegmentedDocument
from .sentence_columns import standing_out
from .sentence_words import stems

QUERY = "query"
"""The field of a document that says what is asked about it."""
# Of BM25 (Robertson and Zaragoza 2009, section 3.4): how soon a word that is repeated says no more,
# and how much less a word says in a long sentence.
_SATURATION, _LENGTH = 1.2, 0.75
# A sentence that answers need not repeat the words of the question, but those around it do.
_REACH = 16
# Chosen on training meetings of QMSum, as the reach: see docs/results.md.
_CENTRAL, _FAR = 0.5, 0.01
_MOST_WORDS = 1_000
_QUERY_INPUTS = 15


@register_feature
class QueryWords(Feature):
    """How near a sentence, and it with those around it, is by words: float32 (N, 2), see `bm25`."""

    name = "query_words"
    fields = may_lack = (QUERY,)

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """The scores themselves, for words stay where the text is."""
        found = [torch.zeros(0, 2)]
        for one in documents:
            if one.query is None:
                found.append(torch.zeros(len(one.sentence_spans), 2))
                continue
            words, asked = [stems(text) for text in one.sentences], stems(one.query.text)
            found.append(torch.stack([bm25(words, asked, reach) for reach in (0, _REACH)], 1))
        return {"scores": torch.cat(found)}

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each sentence of the batch."""
        if not inputs:
            raise ValueError("features.query_words.* are missing: HierBertProcessor makes them")
        return inputs["scores"]


def bm25(sentences: Sequence[Sequence[str]], asked: Sequence[str], reach: int = 0) -> Tensor:
    """How near sentences are to words that are asked for, float32 (N,); 0 where one has none.

    Okapi BM25 of each sentence together with those around it; all of these are the collection.

    Args:
        sentences: The words of each, N of them.
        asked: Words; one that is there twice counts once.
        reach: So many sentences before and after one are read with it.
    """
    count = len(sentences)
    found: dict[str, list[int]] = {word: [] for word in asked}
    for place, words in enumerate(sentences):
        for word in words:
            if word in found:
                found[word].append(place)
    sizes = _around(torch.tensor([len(words) for words in sentences]), reach)
    soon = _SATURATION * (1 - _LENGTH + _LENGTH * sizes / sizes.mean().clamp(min=1e-9))
    scores = torch.zeros(count, dtype=torch.float64)
    # The rarest: what is asked may be as long as a document.
    for places in sorted((one for one in found.values() if one), key=len)[:_MOST_WORDS]:
        times = _around(torch.bincount(torch.tensor(places), minlength=count), reach)
        having = int((times > 0).sum())
        weight = math.log(1 + (count - having + 0.5) / (having + 0.5))
        scores += weight * times * (_SATURATION + 1) / (times + soon)
    return scores.float()


def _around(counts: Tensor, reach: int) -> Tensor:
    """The sum of each number and of so many before and after it, float64 (N,), of (N,)."""
    sums = F.pad(counts.double().cumsum(0), (1, 0))
    places = torch.arange(len(counts))
    ends = (places + reach + 1).clamp(max=len(counts))
    return (sums[ends] - sums[(places - reach).clamp(min=0)]).double()


def asked_about(central: Tensor, near: Tensor) -> Tensor:
    """How much sentences of a document belong into its summary, float32 (N,), at most 1.

    How near a sentence is, and half of how central it is, times how near it is with those around
    it; each relative to the best one of the document. Where no sentence is near, it is how central
    they are.

    Args:
        central: At most 1, float (N,).
        near: In K ways, one or more pairs of columns: of a sentence alone, and of it with those
            around it; float (N, K), 0 where one is not near at all.
    """
    best = near.clamp(min=0.0).amax(0) if len(near) else near.new_zeros(near.shape[1])
    if not bool((best > 0).any()):
        return central
    shares = near.clamp(min=0.0) / best.clamp(min=1e-9)
    alone, around = shares[:, 0::2].mean(1), shares[:, 1::2].mean(1)
    scores = (alone + _CENTRAL * central) * (around + _FAR)
    return scores / scores.max().clamp(min=1e-9)


def shares_words(document: SegmentedDocument) -> bool:
    """Whether any word of what is asked about a document is in it."""
    asked = set() if document.query is None else set(stems(document.query.text))
    return any(not asked.isdisjoint(stems(text)) for text in document.sentences)


def query_cosines(vectors: Tensor, queries: Tensor, lengths: Tensor) -> Tensor:
    """The cosine of each sentence to what is asked about its document, float32 (N, 2).

    Of the sentence alone, and the mean of it and of those around it; both 0 where nothing is asked.

    Args:
        vectors: Of sentences, float (N, H).
        queries: float (D, H); of zeros where nothing is asked.
        lengths: Sentences of each document, int64 (D,), with the sum N.
    """
    queries = queries.float()
    alone = in_parts(
        lambda rows, own: F.cosine_similarity(rows.float(), queries[own]),
        vectors,
        group_of_unit(lengths),
    )
    # Document by document: sums over others would change the last bits.
    around = [
        _around(one, _REACH) / _around(torch.ones_like(one), _REACH)
        for one in alone.cpu().split(lengths.tolist())
    ]
    nearby = torch.cat([torch.zeros(0), *around]).float()
    return torch.stack([alone, nearby.to(alone.device)], 1)


def near_of(vectors: Vectors) -> Tensor:
    """How near each sentence is to what is asked, float (N, K): in pairs as of `asked_about`.

    By words, and where vectors of queries are read also by those.
    """
    words = vectors.features[QueryWords.name]
    if vectors.query is None or vectors.sentence is None:
        return words
    lengths = vectors.structure.sentences_per_document
    return torch.cat([words, query_cosines(vectors.sentence, vectors.query, lengths)], 1)


def query_inputs(
    scores: Tensor, near: Tensor, lengths: Tensor, pairs: Tensor | None = None
) -> Tensor:
    """What a linear model of asked sentences reads, float32 (N, `inputs_with`).

    Args:
        scores: What is said of sentences where nothing is asked, float (N,).
        near: By words and by vectors, float (N, 4).
        lengths: Sentences of each document, int64 (D,), with the sum N.
        pairs: What `QueryPairs` says of them, float (N, 1); None reads none.
    """
    near = near.float().clamp(min=0.0)
    shares = near / group_max(near, lengths).clamp(min=1e-9)[group_of_unit(lengths)]
    general = standing_out(scores.float()[:, None], lengths)
    alone, around = shares[:, 0::2], shares[:, 1::2]
    # What is near and important is more than the sum of both.
    products = [alone * around, general * alone, general * around]
    read = [general, shares, standing_out(shares, lengths), *products]
    if pairs is not None:
        read += [pairs.float(), standing_out(pairs.float(), lengths)]
    return torch.cat(read, 1)


def inputs_with(pairs: bool) -> int:
    """How many inputs a linear model of asked sentences reads."""
    return _QUERY_INPUTS + 2 * pairs


def collate_queries(documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
    """What is asked about documents, flat; D documents, P segments of questions, T tokens.

    Returns:
        int64 tensors: ``query.input_ids`` (T,), ``query.segment_lengths`` (P,) and
        ``query.segments_per_document`` (D,), 0 where nothing is asked.
    """
    asked = [one.query for one in documents if one.query is not None]
    none = torch.zeros(0, dtype=torch.int64)
    segments = [0 if one.query is None else len(one.query.segment_lengths) for one in documents]
    return {
        "query.input_ids": torch.cat([none, *(one.input_ids.long() for one in asked)]),
        "query.segment_lengths": torch.cat([none, *(one.segment_lengths for one in asked)]),
        "query.segments_per_document": torch.tensor(segments),
    }
