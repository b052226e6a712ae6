"""Selection of sentences that differ from each other: maximal marginal relevance.

The rule is in `hierbert.model.selection.select_sentences`, which calls this module. It knows no
vectors: what compares sentences is given to it.

Invariant: the selection equals that of a search which compares every sentence with every
selected one.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Protocol

# Sentences compared at once: at first, and at most.
_LEAST_COMPARED = 4
_MOST_COMPARED = 1024


class SimilarityToSelected(Protocol):
    """How similar sentences are to those that one selection has selected so far."""

    def select(self, index: int) -> None:
        """Take note of a selected sentence, by its index."""

    def nearest(self, indices: Sequence[int], first: int) -> Sequence[float]:
        """The greatest cosine of each given sentence to the selected ones.

        Args:
            indices: At least one sentence.
            first: How many of the selected ones, in the order of selection, to leave out; less
                than there are.

        Returns:
            One number, finite, for each of `indices`.
        """


def by_marginal_relevance(
    candidates: list[int],
    values: list[float],
    costs: Sequence[int],
    limit: int,
    redundancy: float,
    similarity: SimilarityToSelected,
    accepts: Callable[[int], bool],
) -> list[int]:
    """Greedy selection by marginal relevance that compares no more sentences than it must.

    What a sentence is worth only falls while others are selected, so that its last known worth
    is an upper bound (lazy greedy, Minoux 1978): the one on top of a heap is the best of all as
    soon as its worth is up to date. Those that come to the top out of date are compared with
    the selected ones together, twice as many each time until one can be selected.

    Args:
        candidates: Sentences to select from, at least one.
        values: The score of every sentence of the document.
        costs: What every sentence takes from the budget.
        limit: What may be spent.
        redundancy: How much similarity counts, above 0 and at most 1.
        similarity: For this selection alone.
        accepts: Asked once, before a sentence is selected; what it refuses is passed over.

    Returns:
        Indices in the order of selection; ties go to the earlier sentence.

    Raises:
        ValueError: A similarity is not a number, or there are too few or too many of them.
    """
    lowest = min(values[index] for index in candidates)
    spread = max(values[index] for index in candidates) - lowest
    worth = {
        index: (1 - redundancy) * (values[index] - lowest) / spread if spread > 0 else 0.0
        for index in candidates
    }
    closeness = dict.fromkeys(candidates, 0.0)
    compared = dict.fromkeys(candidates, 0)  # with how many of the selected, the first ones
    heap = [(-worth[index], index) for index in candidates]
    heapq.heapify(heap)
    selected: list[int] = []
    left = limit
    together = _LEAST_COMPARED
    while heap:
        best = heap[0][1]
        if costs[best] > left:
            heapq.heappop(heap)  # what does not fit now never will: the budget only shrinks
        elif compared[best] == len(selected):
            heapq.heappop(heap)
            if accepts(best):
                selected.append(best)
                similarity.select(best)
                left -= costs[best]
                together = _LEAST_COMPARED
        else:
            stale: dict[int, list[int]] = {}
            for _ in range(min(together, len(heap))):
                index = heapq.heappop(heap)[1]
                if costs[index] <= left:
                    stale.setdefault(compared[index], []).append(index)
            for known, indices in stale.items():
                if known < len(selected):
                    _compare(indices, known, similarity, closeness)
                for index in indices:
                    compared[index] = len(selected)
                    value = worth[index] - redundancy * closeness[index]
                    heapq.heappush(heap, (-value, index))
            together = min(2 * together, _MOST_COMPARED)
    return selected


def _compare(
    indices: list[int], first: int, similarity: SimilarityToSelected, closeness: dict[int, float]
) -> None:
    """Bring up to date how close sentences are to the nearest of the selected ones."""
    nearest = similarity.nearest(indices, first)
    if len(nearest) != len(indices):
        raise ValueError(f"similarity gave {len(nearest)} values for {len(indices)} sentences")
    for index, value in zip(indices, nearest, strict=True):
        if math.isnan(value):
            raise ValueError(f"similarity of sentence {index} to selected ones is not a number")
        closeness[index] = max(closeness[index], float(value))
