"""From sentence scores to the sentences of a summary within a budget.

The model, every baseline and the oracle select through this module, so that they are compared at
equal length. It does not score sentences and does not join them.

Invariant: a selection never costs more than its limit, with one exception that is stated in
`select_sentences`: a document of which nothing fits is summarized by its best candidate.
"""

import copy
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .knapsack import Choice, best_choices

if TYPE_CHECKING:
    from torch import Tensor

SUMMARY_BUDGETS = ("max_words", "max_sentences", "max_tokens", "max_characters", "ratio")

# To each of so many selected sentences all others are compared; what is longer is no longer short
# for want of repetition, and time stays linear.
_MOST_COMPARED = 1_000
# The knapsack chooses among what is selected for so many times the budget.
_WIDER = 3
_NEVER = 2**62

# Scripts written without spaces between words; Korean is written with spaces.
UNSPACED = re.compile(
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u2e80-\u2fdf"  # Han radicals
    "\u3005-\u3007"  # Han iteration mark and zero
    "\u3021-\u3029"  # Hangzhou numerals
    "\u3040-\u312f"  # Hiragana, Katakana, Bopomofo
    "\u31a0-\u31bf"  # Bopomofo, extended
    "\u31f0-\u31ff"  # Katakana, extended
    "\u3400-\u4dbf"  # Han, extension A
    "\u4e00-\u9fff"  # Han
    "\ua9e0-\ua9ff"  # Burmese, extended
    "\uaa60-\uaa7f"  # Burmese, extended
    "\uf900-\ufaff"  # Han, compatibility
    "\uff66-\uff9f"  # Katakana, half width
    "\U0001aff0-\U0001b16f"  # Kana, supplements
    "\U00020000-\U0003ffff"  # Han, extensions B and later
    "]"
)
# What a text may be cut between: words and, in scripts without spaces, letters.
_WORD = re.compile(rf"{UNSPACED.pattern}[^\w\s]*|(?:(?!{UNSPACED.pattern})\S)+")
_CLAUSE_END = re.compile(
    r"[,;:\u2013\u2014\u060c\u061b\uff0c\uff1b\uff1a\u3001.!?\u2026\u3002]['\")\]\u201d\u2019]*$"
)


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script without spaces: Chinese, Japanese, Thai, Lao, ..."""
    return UNSPACED.match(character) is not None


def count_words(text: str) -> int:
    """The number of words of a text, as a length budget counts them.

    A word is a run of characters between white space. In scripts without spaces (Chinese,
    Japanese, Thai, Lao, Khmer, Burmese) each letter counts as a word, combining marks and
    punctuation do not; what stands between such letters counts as one word where it has a letter
    or a digit, such as a Latin name in a Chinese sentence.
    """
    if text.isascii() or not UNSPACED.search(text):
        return len(text.split())
    letters = sum(1 for letter in UNSPACED.findall(text) if letter.isalnum())
    rest = UNSPACED.sub(" ", text).split()
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
            return max(1, int(self.ratio * sum(sentence_costs(texts, self, ())) + 1e-9))
        if self.max_characters is not None:
            return self.max_characters + 1  # n sentences have n - 1 characters between them
        return int(getattr(self, f"max_{self.unit}"))


def sentence_costs(texts: Sequence[str], budget: Budget, token_counts: Sequence[int]) -> list[int]:
    """What each sentence takes from a budget, at least 1.

    In characters a sentence costs one more than its length, for the character that joins it to the
    next.

    Args:
        texts: The document's sentences.
        budget: Only its unit matters here.
        token_counts: The number of tokens of each sentence.
    """
    if budget.unit == "sentences":
        return [1] * len(texts)
    if budget.unit == "characters":
        return [len(text) + 1 for text in texts]
    if budget.unit == "words":
        return [max(1, count_words(text)) for text in texts]
    return [max(1, count) for count in token_counts]


def cut_to_limit(text: str, cost: Callable[[int, int], int], limit: int) -> list[tuple[int, int]]:
    """Cut a text into pieces that cost no more than a limit, each as long as it can be.

    A piece ends after the last clause in its second half, else between words; in scripts without
    spaces between letters. A word that costs more than the limit is a piece of its own.

    Args:
        text: A sentence, or what has no end of one.
        cost: Of the characters from the first number to the second.
        limit: Most that a piece should cost.

    Returns:
        Start and end of each piece, in order.
    """
    words = [match.span() for match in _WORD.finditer(text)]
    pieces: list[tuple[int, int]] = []
    first = 0

    def spent(last: int) -> int:
        """What the words from the first to this one cost, and all that is between them."""
        return cost(words[first][0], words[last - 1][1])

    while first < len(words):
        # Doubled and then halved: what is far behind the piece is never looked at.
        size = 1
        while first + size < len(words) and spent(first + size) <= limit:
            size *= 2
        tried = range(first + 1, min(first + size, len(words)) + 1)
        last = max(first + 1, first + bisect_right(tried, limit, key=spent))
        if last < len(words):
            ends = (
                i for i in range(last, (first + last) // 2, -1) if _ends_clause(text, words[i - 1])
            )
            last = next(ends, last)
        pieces.append((words[first][0], words[last - 1][1]))
        first = last
    return pieces


def _ends_clause(text: str, word: tuple[int, int]) -> bool:
    return _CLAUSE_END.search(text, *word) is not None


def select_sentences(
    scores: Sequence[float],
    costs: Sequence[int],
    limit: int,
    *,
    order: str = "document",
    method: str = "greedy",
    redundancy: float = 0.0,
    similar_to: "Callable[[int], Tensor] | None" = None,
    selectable: Sequence[bool] | None = None,
    alike: Sequence[str | int] | None = None,
    needs_previous: Sequence[bool] | None = None,
) -> list[int]:
    """Select sentences by score until the budget is spent.

    Relevance is the score brought to 0..1 by the least and the greatest score of the document's
    selectable sentences (all 0 when they are equal).

    By the method ``greedy`` the best sentences are taken in turn; one that does not fit into what
    is left of the budget is passed over, and a shorter one after it may still fit. By ``knapsack``
    the sum of relevance times cost is as great as it can be (all 1 when they are equal): each word
    counts as its sentence does, for a sum over sentences is greatest of many short ones. Then what
    still fits is taken greedily.

    When no selectable sentence fits the limit, the best one is selected alone, so that a document
    is never without a summary; what is longer than a limit is cut before: see `cut_to_limit`. Ties
    go to the earlier sentence.

    With `redundancy` the next sentence is the one of greatest worth,
    ``(1 - redundancy) * relevance - redundancy * similarity`` (maximal marginal relevance,
    Carbonell and Goldstein 1998), where similarity is the greatest one to a selected sentence,
    negative ones counting as 0. The knapsack then chooses among what is so found for three times
    the budget, by these worths.

    Args:
        scores: One finite score for each of N sentences, greater is better.
        costs: What each sentence takes from the budget, from `sentence_costs`.
        limit: What may be spent, from `Budget.limit`.
        order: ``document`` for the order of the text, ``score`` for the order of selection, or of
            scores where that has none.
        method: ``greedy`` or ``knapsack``.
        redundancy: 0 (off) to 1: how much similarity to the selected sentences counts.
        similar_to: How similar each sentence is to one of them, at most 1, float (N,); without
            it `redundancy` has no effect.
        selectable: Which sentences may be selected; all when None.
        alike: Of sentences for which this is equal one is selected at most: see `repeats` of
            `same_words`.
        needs_previous: Which sentences are selected only together with the one before them,
            selectable or not; where these do not fit, they are passed over. None can be so where
            nothing fits that way.

    Returns:
        Indices of the selected sentences; empty when there is none to select from.

    Raises:
        ValueError: There is not one cost for each score, or a score is not finite.
    """
    for index, score in enumerate(scores):
        if not math.isfinite(score):
            raise ValueError(f"score of sentence {index} is {score}: scores must be finite")
    if len(costs) != len(scores):
        raise ValueError(f"{len(scores)} scores, but {len(costs)} costs")
    alike = range(len(scores)) if alike is None else alike
    pool = [index for index in range(len(scores)) if selectable is None or selectable[index]]
    if not pool:
        return []
    if min(costs[index] for index in pool) > limit:
        return [max(pool, key=scores.__getitem__)]
    chosen = _Selection(scores, costs, limit, alike, pool, needs_previous)
    similar_to = similar_to if redundancy else None
    if method == "knapsack":
        chosen = _by_knapsack(chosen, redundancy, similar_to)
    elif similar_to is not None:
        chosen.take_by_marginal_relevance(redundancy, similar_to)
    else:
        chosen.take_in_turn(sorted(pool, key=lambda index: -scores[index]))
    return sorted(chosen.worths) if order == "document" else list(chosen.worths)


class _Selection:
    """What is selected so far, and what may be.

    Attributes:
        relevance: Of each sentence.
        pool: What may be selected for itself.
        prices: What each costs with all that it needs.
        left: Of the budget.
        worths: Of what is selected, in the order of its selection, when it was.
    """

    def __init__(
        self,
        scores: Sequence[float],
        costs: Sequence[int],
        limit: int,
        alike: Sequence[str | int],
        pool: Sequence[int],
        needs_previous: Sequence[bool] | None,
    ) -> None:
        self.scores, self.costs, self.left = scores, costs, limit
        self.alike, self.pool = alike, pool
        least, greatest = (f(scores[index] for index in pool) for f in (min, max))
        span = (greatest - least) or 1.0
        self.relevance = [min(1.0, max(0.0, (score - least) / span)) for score in scores]
        self.all_equal = least == greatest
        self.needs = [False] * len(scores) if needs_previous is None else [*needs_previous]
        # There is none before it.
        self.needs[0] = False
        self.prices: list[int] | Tensor = self._prices()
        if min(self.prices[index] for index in pool) > limit:
            self.needs, self.prices = [False] * len(scores), list(costs)
        self.worths: dict[int, float] = {}
        self.said: set[str | int] = set()

    def _prices(self) -> list[int]:
        prices: list[int] = []
        for cost, needs in zip(self.costs, self.needs, strict=True):
            prices.append(cost + prices[-1] if needs else cost)
        return prices

    def again(self, limit: int) -> "_Selection":
        """The same, of which nothing is selected, within another limit."""
        other = copy.copy(self)
        other.left, other.prices, other.worths, other.said = limit, self._prices(), {}, set()
        return other

    def together(self, index: int) -> list[int]:
        """What has to be selected with a sentence, and is not, in order; nothing if it cannot."""
        if index in self.worths or self.prices[index] > self.left:
            return []
        found: list[int] = []
        own: set[str | int] = set()
        asked = index
        while index not in self.worths:
            key = self.alike[index]
            if key in self.said or key in own:
                # Nor can what needs it: it is never looked at again.
                self._close(asked if key in own else index)
                return []
            found.append(index)
            own.add(key)
            if not self.needs[index]:
                break
            index -= 1
        return found[::-1]

    def _close(self, index: int) -> None:
        """Let a sentence and those that need it never be selected."""
        self.prices[index] = _NEVER
        for following in range(index + 1, len(self.needs)):
            if not self.needs[following]:
                break
            self.prices[following] = _NEVER

    def take(self, indices: Sequence[int], worths: Mapping[int, float]) -> None:
        """Select some, of which those that follow and need them are then cheaper."""
        for index in indices:
            self.worths[index] = worths.get(index, 0.0)
            self.said.add(self.alike[index])
            self.left -= self.costs[index]
            price = 0
            for following in range(index + 1, len(self.costs)):
                price += self.costs[following]
                if not self.needs[following] or price > self.left:
                    break
                self.prices[following] = price

    def take_in_turn(self, order: Sequence[int]) -> None:
        """Select in this order what fits."""
        for index in order:
            found = self.together(index)
            self.take(found, {one: self.relevance[one] for one in found})

    def take_by_marginal_relevance(
        self, redundancy: float, similar_to: "Callable[[int], Tensor]"
    ) -> None:
        """Select by worth what fits."""
        # Here, for settings are read before torch is there.
        import torch

        relevance = torch.tensor(self.relevance, dtype=torch.float64)
        numbers = {key: number for number, key in enumerate(self.alike)}
        group = torch.tensor([numbers[key] for key in self.alike])
        similarity = torch.zeros_like(relevance)
        waiting = torch.zeros(len(self.costs), dtype=torch.bool)
        waiting[list(self.pool)] = True
        for index in [*self.worths][:_MOST_COMPARED]:
            waiting &= group != group[index]
            similarity = torch.maximum(similarity, similar_to(index).double())
        # `take` changes them.
        prices = self.prices = torch.tensor(self.prices)
        for _ in range(_MOST_COMPARED):
            if not (waiting := waiting & (prices <= self.left)).any():
                return
            worth = (1 - redundancy) * relevance - redundancy * similarity
            best = int(worth.masked_fill(~waiting, -torch.inf).argmax())
            waiting[best] = False
            found = self.together(best)
            self.take(found, dict(zip(found, worth[found].tolist(), strict=True)))
            for index in found:
                waiting &= group != group[index]
                similarity = torch.maximum(similarity, similar_to(index).double())
        worth = (1 - redundancy) * relevance - redundancy * similarity
        left = waiting.tolist()
        order = [i for i in worth.argsort(descending=True, stable=True).tolist() if left[i]]
        for index in order:
            found = self.together(index)
            self.take(found, dict(zip(found, worth[found].tolist(), strict=True)))


def _by_knapsack(
    possible: _Selection, redundancy: float, similar_to: "Callable[[int], Tensor] | None"
) -> _Selection:
    """The selection of greatest total worth, and then what still fits."""
    limit = possible.left
    if similar_to is None:
        worths = dict.fromkeys(possible.pool, 1.0)
        if not possible.all_equal:
            worths = {index: possible.relevance[index] for index in possible.pool}
    else:
        wider = possible.again(_WIDER * limit)
        wider.pool = [index for index in wider.pool if wider.prices[index] <= limit]
        wider.take_by_marginal_relevance(redundancy, similar_to)
        worths = wider.worths
    order = sorted(worths, key=lambda index: (-worths[index], index))
    # Of what is alike the best may be selected; what is there for another's sake only has no worth.
    pool, owners = set(possible.pool), dict[str | int, int]()
    for index in [*order, *range(len(possible.costs))]:
        owners.setdefault(possible.alike[index], index)
    choices: list[Choice] = []
    ends: list[int] = []
    start, cost, value, is_open = 0, 0, 0.0, False
    for index, needs in enumerate(possible.needs):
        if not needs:
            start, cost, value, is_open = index, 0, 0.0, True
        # A sentence brings all from the start of those that need each other.
        cost += possible.costs[index]
        is_own = owners[possible.alike[index]] == index
        is_open = is_open and is_own and cost <= limit
        if is_open:
            if index in pool:
                value += worths.get(index, 0.0) * possible.costs[index]
            if index in pool and index in worths:
                choices.append(Choice(start, cost, value))
                ends.append(index)
    chosen = possible.again(limit)
    made = [range(choices[one].group, ends[one] + 1) for one in best_choices(choices, limit)]
    for members in sorted(made, key=lambda one: -max(possible.scores[index] for index in one)):
        chosen.take(members, worths)
    if similar_to is None:
        chosen.take_in_turn(order)
    else:
        chosen.take_by_marginal_relevance(redundancy, similar_to)
    return chosen
