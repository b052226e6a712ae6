"""From sentence scores to the sentences of a summary within a budget, in pure Python.

The model, every baseline and the oracle select through this module, so that they are compared at
equal length. It does not score sentences and does not join them.

Invariant: a selection never costs more than its limit, with one exception that is stated in
`select_sentences`: a document of which no sentence fits is summarized by its best sentence.
"""

import heapq
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

SUMMARY_BUDGETS = ("max_words", "max_sentences", "max_tokens", "max_characters", "ratio")
SUMMARY_ORDERS = ("document", "score")
# Sentences compared at once for their marginal relevance: at first, and at most.
_LEAST_COMPARED = 4
_MOST_COMPARED = 1024

# Scripts written without spaces between words, as (first, last) code points in ascending order.
# Korean is absent on purpose: it is written with spaces.
_UNSPACED_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),  # Han iteration mark and zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo, extended
    (0x31F0, 0x31FF),  # Katakana, extended
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Burmese, extended
    (0xAA60, 0xAA7F),  # Burmese, extended
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9F),  # Katakana, half width
    (0x1AFF0, 0x1B16F),  # Kana, supplements
    (0x20000, 0x3FFFF),  # Han, extensions B and later
)
_UNSPACED_STARTS = tuple(first for first, _ in _UNSPACED_RANGES)
_UNSPACED = re.compile(
    "[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSPACED_RANGES) + "]"
)


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script without spaces: Chinese, Japanese, Thai, Lao, ..."""
    code = ord(character)
    position = bisect_right(_UNSPACED_STARTS, code) - 1
    return position >= 0 and code <= _UNSPACED_RANGES[position][1]


def count_words(text: str) -> int:
    """The number of words of a text, as a length budget counts them.

    A word is a run of characters between white space. In scripts without spaces (Chinese,
    Japanese, Thai, Lao, Khmer, Burmese) each letter counts as a word, combining marks and
    punctuation do not; what stands between such letters counts as one word where it has a letter
    or a digit, such as a Latin name in a Chinese sentence.
    """
    if text.isascii() or not _UNSPACED.search(text):
        return len(text.split())
    letters = sum(1 for letter in _UNSPACED.findall(text) if letter.isalnum())
    rest = _UNSPACED.sub(" ", text).split()
    return letters + sum(1 for piece in rest if any(map(str.isalnum, piece)))


@dataclass(frozen=True)
class Budget:
    """How long a summary may be: exactly one of `SUMMARY_BUDGETS`.

    Attributes:
        max_words: At most this many words, as `count_words` counts them.
        max_sentences: At most this many sentences.
        max_tokens: At most this many tokens of the encoder, special tokens not counted.
        max_characters: At most this many characters of the sentences joined by one character.
        ratio: At most this part of the document's words, above 0 and at most 1.

    Raises:
        ValueError: None or several are set, or a value is not allowed.
    """

    max_words: int | None = None
    max_sentences: int | None = None
    max_tokens: int | None = None
    max_characters: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                f"a budget has exactly one of {', '.join(SUMMARY_BUDGETS)}; "
                f"got {', '.join(f'{name}={value!r}' for name, value in given.items()) or 'none'}"
            )
        ((name, value),) = given.items()
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "ratio":
            if not is_number or not 0 < value <= 1:
                raise ValueError(f"ratio={value!r} is not allowed: a number above 0, at most 1")
        elif not is_number or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} is not allowed: a whole number of at least 1")

    @property
    def unit(self) -> str:
        """What is counted: ``sentences``, ``words``, ``tokens`` or ``characters``."""
        for unit in ("sentences", "tokens", "characters"):
            if getattr(self, f"max_{unit}") is not None:
                return unit
        return "words"

    def limit(self, texts: Sequence[str]) -> int:
        """The greatest total of `sentence_costs` of a summary of these sentences, at least 1."""
        if self.ratio is not None:
            # The small addition undoes rounding: 0.29 * 100 is 28.999999999999996.
            return max(1, int(self.ratio * sum(map(count_words, texts)) + 1e-9))
        if self.max_characters is not None:
            return self.max_characters + 1  # n sentences have n - 1 characters between them
        return int(getattr(self, f"max_{self.unit}"))


def sentence_costs(
    texts: Sequence[str], budget: Budget, token_counts: Sequence[int] | None = None
) -> list[int]:
    """What each sentence takes from a budget.

    Args:
        texts: The document's sentences.
        budget: Only its unit matters here.
        token_counts: The number of tokens of each sentence; needed for ``max_tokens`` only.

    Returns:
        One cost per sentence, at least 1. In characters a sentence costs one more than its
        length, for the character that joins it to the next.

    Raises:
        ValueError: Tokens are to be counted and `token_counts` is missing or of another length.
    """
    if budget.unit == "sentences":
        return [1] * len(texts)
    if budget.unit == "characters":
        return [len(text) + 1 for text in texts]
    if budget.unit == "words":
        return [max(1, count_words(text)) for text in texts]
    if token_counts is None or len(token_counts) != len(texts):
        got = "none" if token_counts is None else str(len(token_counts))
        raise ValueError(
            f"a budget of max_tokens needs one token count per sentence: "
            f"{len(texts)} sentences, token counts: {got}"
        )
    return [max(1, int(count)) for count in token_counts]


class SimilarityToSelected(Protocol):
    """How similar sentences are to those that one selection has selected so far."""

    def select(self, index: int) -> None:
        """Note that a sentence was selected."""

    def nearest(self, indices: Sequence[int], first: int) -> Sequence[float]:
        """The greatest cosine of each given sentence to the selected ones, a finite number.

        Args:
            indices: At least one sentence.
            first: How many of the selected ones, in the order of selection, to leave out; fewer
                than there are.
        """


def select_sentences(
    scores: Sequence[float],
    costs: Sequence[int],
    limit: int,
    *,
    order: str = "document",
    redundancy: float = 0.0,
    similarity: Callable[[], SimilarityToSelected] | None = None,
    selectable: Sequence[bool] | None = None,
) -> list[int]:
    """Select sentences greedily by score until the budget is spent.

    A sentence that does not fit into what is left of the budget is passed over, and a shorter
    one after it may still fit. When no selectable sentence fits the limit, the best one is
    selected alone, so that a document is never without a summary. Ties go to the earlier sentence.

    With `redundancy` the next sentence is the one of greatest
    ``(1 - redundancy) * relevance - redundancy * similarity`` (maximal marginal relevance,
    Carbonell and Goldstein 1998), where relevance is the score brought to 0..1 by the least and
    the greatest score of the document's selectable sentences (all 0 when they are equal), and
    similarity is the greatest cosine to a selected sentence, negative ones counting as 0.

    Time is that of sorting without `redundancy`. With it, only sentences that come to the top are
    compared with the selected ones: at worst all of them (equal scores), in practice some times
    as many as are selected.

    Args:
        scores: One finite score per sentence, greater is better.
        costs: What each sentence takes from the budget, from `sentence_costs`.
        limit: What may be spent, from `Budget.limit`.
        order: ``document`` for the order of the text, ``score`` for the order of selection.
        redundancy: 0 (off) to 1: how much similarity to the selected sentences counts.
        similarity: Makes what compares sentences with selected ones, anew for this selection
            (`summarization_head.Cosines` of sentence vectors); needed with `redundancy`.
        selectable: Which sentences may be selected; all when None.

    Returns:
        Indices of the selected sentences; empty when there is none to select from.

    Raises:
        ValueError: A length or a value is not allowed, or a score is not finite.
    """
    values = [float(score) for score in scores]
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise ValueError(f"score of sentence {index} is {value}: scores must be finite")
    if len(costs) != len(values):
        raise ValueError(f"{len(values)} scores, but {len(costs)} costs")
    if any(cost < 0 for cost in costs):
        raise ValueError(f"a cost is {min(costs)}: costs must be at least 0")
    if limit < 1:
        raise ValueError(f"limit={limit} is not allowed: at least 1")
    if redundancy > 0 and similarity is None:
        raise ValueError(f"redundancy={redundancy!r} needs similarity, which is missing")
    if selectable is not None and len(selectable) != len(values):
        raise ValueError(f"{len(values)} scores, but selectable for {len(selectable)} sentences")

    candidates = [i for i in range(len(values)) if selectable is None or selectable[i]]
    candidates.sort(key=lambda index: -values[index])  # stable: ties stay in document order
    if not candidates:
        return []
    if min(costs[index] for index in candidates) > limit:
        return [candidates[0]]
    if similarity is None or redundancy == 0:
        selected = _by_score(candidates, costs, limit)
    else:
        selected = _by_marginal_relevance(
            candidates, values, costs, limit, redundancy, similarity()
        )
    return sorted(selected) if order == "document" else selected


def _by_score(candidates: list[int], costs: Sequence[int], limit: int) -> list[int]:
    cheapest = min(costs[index] for index in candidates)
    selected: list[int] = []
    left = limit
    for index in candidates:
        if left < cheapest:
            break
        if costs[index] <= left:
            selected.append(index)
            left -= costs[index]
    return selected


def _by_marginal_relevance(
    candidates: list[int],
    values: list[float],
    costs: Sequence[int],
    limit: int,
    redundancy: float,
    similarity: SimilarityToSelected,
) -> list[int]:
    """Greedy selection by marginal relevance that compares no more sentences than it must.

    What a sentence is worth only falls while others are selected, so that its last known worth
    is an upper bound (lazy greedy, Minoux 1978): the one on top of a heap is the best of all as
    soon as its worth is up to date. Those that come to the top out of date are compared with
    the selected ones together, twice as many each time until one can be selected.
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
