"""How central sentences are to their document: by the sum of all, or by a walk between them.

Both need no training. What sentences are alike by is theirs: words, or an encoder's vectors.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from .configuration_hierbert import SENTENCE_REACH

# Probability of going anywhere, 1 - d of the paper.
_DAMPING = 0.15
# Stop when an iteration moves the scores, which sum to 1, by less than this in all.
_TOLERANCE = 1e-8
_MAX_ITERATIONS = 200
# Of a document, so many pairs are compared at most; and so many at once.
MOST_PAIRS = 1 << 23
_PAIRS_AT_ONCE = 1 << 20


class AlikeSentences(Protocol):
    """N sentences that can be compared.

    Attributes:
        count: N.
    """

    count: int

    def centroid_cosines(self) -> Tensor:
        """The cosine of each sentence to the sum of all, float (N,)."""
        ...

    def cosines(self, first: int, last: int, begin: int, end: int) -> Tensor:
        """Of the sentences first to last with those from begin to end, which hold them."""
        ...


class SentenceVectors:
    """Sentences by vectors, compared without what all of a document have in common.

    Args:
        vectors: float (N, H).
    """

    def __init__(self, vectors: Tensor) -> None:
        self.count = len(vectors)
        self._vectors = vectors.float()
        self._centred = _unit(self._vectors - self._vectors.mean(0))

    def centroid_cosines(self) -> Tensor:
        """The cosine of each sentence to the sum of all, float32 (N,)."""
        vectors = _unit(self._vectors)
        return vectors @ _unit(vectors.sum(0, keepdim=True))[0]

    def cosines(self, first: int, last: int, begin: int, end: int) -> Tensor:
        """Of the sentences first to last with those from begin to end, float32."""
        return self._centred[first:last] @ self._centred[begin:end].T


def centroid(sentences: AlikeSentences) -> Tensor:
    """The cosine of each sentence to the document's centroid (Radev et al. 2004), float (N,)."""
    return sentences.centroid_cosines()


def lexrank(
    sentences: AlikeSentences, *, threshold: float = 0.1, reach: int | None = None
) -> Tensor:
    """LexRank (Erkan and Radev 2004, section 3.2): the stationary distribution of a walk.

    It goes from a sentence to any whose cosine to it is above the threshold, itself included, and
    with a probability of 0.15 anywhere; from one that is like no other, anywhere.

    Args:
        sentences: Of a document, N of them.
        threshold: Of the cosine; the paper takes 0.1.
        reach: Sentences further apart are no pair, which is not in the paper, so that time and
            memory are bounded; None for 2,048, or less where a document has more than
            2,048 sentences, so that at most 8 million pairs are compared.

    Returns:
        float64 (N,), with the sum 1.
    """
    count = sentences.count
    if reach is None:
        reach = max(1, min(SENTENCE_REACH, MOST_PAIRS // (2 * max(1, count))))
    at_once = max(1, min(2 * reach, _PAIRS_AT_ONCE // max(1, min(count, 4 * reach))))
    lengths, columns = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int32)]
    for first in range(0, count, at_once):
        last = min(first + at_once, count)
        begin, end = max(0, first - reach), min(count, last + reach)
        near = sentences.cosines(first, last, begin, end) > threshold
        own, others = torch.arange(first, last)[:, None], torch.arange(begin, end)[None]
        near &= (own - others).abs() <= reach
        lengths.append(near.sum(1))
        columns.append((near.nonzero()[:, 1] + begin).int())
    similar, there = torch.cat(lengths), torch.cat(columns)

    def spread(mass: Tensor) -> Tensor:
        # "unsafe" leaves a check out, which fails where there is no sentence.
        return torch.segment_reduce(mass[there], "sum", lengths=similar, unsafe=True, initial=0.0)

    return stationary(spread, count)


def stationary(spread: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """Power iteration on symmetric similarities, their rows made to sum to 1: float64 (count,).

    `spread` multiplies by the similarities. A sentence similar to none goes anywhere.
    """
    degrees = spread(torch.ones(count, dtype=torch.float64))
    connected = degrees > 1e-12
    mass = torch.full((count,), 1.0 / max(1, count), dtype=torch.float64)
    for _ in range(_MAX_ITERATIONS):
        walking = torch.where(connected, mass / degrees.clamp(min=1e-12), 0.0)
        anywhere = _DAMPING + (1 - _DAMPING) * mass[~connected].sum()
        following = anywhere / count + (1 - _DAMPING) * spread(walking)
        moved = (following - mass).abs().sum()
        mass = following / following.sum()
        if moved < _TOLERANCE:
            break
    return mass


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp(min=1e-12)
