"""From sentence scores to the sentences of a summary within a budget.

The model, every baseline and the oracle select through this module, so that they are compared at
equal length. It does not score sentences and does not join them.

Invariant: a selection never costs more than its limit, with one exception that is stated in
`select_sentences`: a document of which nothing fits is summarized by its best candidate.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SUMMARY_BUDGETS = ("max_words", "max_sentences", "max_tokens", "max_characters", "ratio")

# To each of so many selected sentences all others are compared; what is longer is no longer short
# for want of repetition, and time stays linear.
_MOST_COMPARED = 1_000

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
    redundancy: float = 0.0,
    similar_to: "Callable[[int], Tensor] | None" = None,
    selectable: Sequence[bool] | None = None,
    alike: Sequence[str | int] | None = None,
) -> list[int]:
    """Select sentences greedily by score until the budget is spent.

    A sentence that does not fit into what is left of the budget is passed over, and a shorter
    one after it may still fit. When no selectable sentence fits the limit, the best one is
    selected alone, so that a document is never without a summary; what is longer than a limit is
    cut before: see `cut_to_limit`. Ties go to the earlier sentence.

    With `redundancy` the next sentence is the one of greatest
    ``(1 - redundancy) * relevance - redundancy * similarity`` (maximal marginal relevance,
    Carbonell and Goldstein 1998), where relevance is the score brought to 0..1 by the least and
    the greatest score of the document's selectable sentences (all 0 when they are equal), and
    similarity is the greatest one to a selected sentence, negative ones counting as 0.

    Args:
        scores: One finite score for each of N sentences, greater is better.
        costs: What each sentence takes from the budget, from `sentence_costs`.
        limit: What may be spent, from `Budget.limit`.
        order: ``document`` for the order of the text, ``score`` for the order of selection.
        redundancy: 0 (off) to 1: how much similarity to the selected sentences counts.
        similar_to: How similar each sentence is to one of them, at most 1, float (N,); without
            it `redundancy` has no effect.
        selectable: Which sentences may be selected; all when None.
        alike: Of sentences for which this is equal one is selected at most: see `repeats` of
            `same_words`.

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
    if redundancy and similar_to is not None:
        selected = _by_marginal_relevance(scores, costs, limit, redundancy, similar_to, pool, alike)
    else:
        selected, said = [], set()
        for index in sorted(pool, key=lambda index: -scores[index]):
            if costs[index] <= limit and alike[index] not in said:
                selected.append(index)
                said.add(alike[index])
                limit -= costs[index]
    return sorted(selected) if order == "document" else selected


def _by_marginal_relevance(
    scores: Sequence[float],
    costs: Sequence[int],
    limit: int,
    redundancy: float,
    similar_to: "Callable[[int], Tensor]",
    pool: list[int],
    alike: Sequence[str | int],
) -> list[int]:
    """Indices of `pool` in the order of their selection."""
    # Here, for settings are read before torch is there.
    import torch

    relevance = torch.tensor(scores, dtype=torch.float64)
    least, greatest = relevance[pool].min(), relevance[pool].max()
    relevance = (relevance - least) / ((greatest - least) or 1.0)
    prices = torch.tensor(costs)
    numbers = {key: number for number, key in enumerate(alike)}
    group = torch.tensor([numbers[key] for key in alike])
    similarity = torch.zeros_like(relevance)
    waiting = torch.zeros(len(scores), dtype=torch.bool)
    waiting[pool] = True
    selected: list[int] = []
    while len(selected) < _MOST_COMPARED and (waiting := waiting & (prices <= limit)).any():
        worth = (1 - redundancy) * relevance - redundancy * similarity
        best = int(worth.masked_fill(~waiting, -torch.inf).argmax())
        selected.append(best)
        limit -= costs[best]
        waiting &= group != group[best]
        similarity = torch.maximum(similarity, similar_to(best).double())
    worth = (1 - redundancy) * relevance - redundancy * similarity
    left, said = waiting.tolist(), set()
    for index in worth.argsort(descending=True, stable=True).tolist():
        if left[index] and costs[index] <= limit and alike[index] not in said:
            selected.append(index)
            said.add(alike[index])
            limit -= costs[index]
    return selected
