"""Turns sentence scores into a summary within a budget, in pure Python.

The model, every baseline and the oracle select through this module, so that they are compared at
equal length. It does not score sentences and does not join them.

Invariant: a selection never costs more than its limit, with one exception that is stated in
`select_sentences`: a document of which no sentence fits is summarized by its best sentence.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .marginal_relevance import SimilarityToSelected, by_marginal_relevance

ORDERS = ("document", "score")

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
_OUTER_PUNCTUATION = re.compile(r"^[\W_]+|[\W_]+$")


def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that puts no spaces between words.

    Args:
        character: One character.

    Returns:
        True for Chinese and Japanese characters, Thai, Lao, Khmer and Burmese.
    """
    code = ord(character)
    position = bisect_right(_UNSPACED_STARTS, code) - 1
    return position >= 0 and code <= _UNSPACED_RANGES[position][1]


def count_words(text: str) -> int:
    """Count the words of a text the way a length budget counts them.

    A word is a run of characters between white space. In scripts without spaces (Chinese,
    Japanese, Thai, Lao, Khmer, Burmese) each letter counts as a word, combining marks and
    punctuation do not; what stands between such letters counts as one word where it has a letter
    or a digit, such as a Latin name in a Chinese sentence.

    Args:
        text: Any text.

    Returns:
        The number of words, 0 for a blank text.
    """
    if text.isascii() or not _UNSPACED.search(text):
        return len(text.split())
    letters = sum(1 for letter in _UNSPACED.findall(text) if letter.isalnum())
    rest = _UNSPACED.sub(" ", text).split()
    return letters + sum(1 for piece in rest if any(map(str.isalnum, piece)))


@dataclass(frozen=True)
class Budget:
    """How long a summary may be: exactly one of these is set.

    Attributes:
        max_sentences: At most this many sentences.
        max_words: At most this many words, as `count_words` counts them.
        max_tokens: At most this many tokens of the encoder, special tokens not counted.
        max_characters: At most this many characters of the sentences joined by one character.
        ratio: At most this part of the document's words, above 0 and at most 1.

    Raises:
        ValueError: If none or several are set, or a value is not allowed.
    """

    max_sentences: int | None = None
    max_words: int | None = None
    max_tokens: int | None = None
    max_characters: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                f"a budget has exactly one of {', '.join(vars(self))}; "
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
        """The greatest total of `sentence_costs` that a summary of a document may have.

        Args:
            texts: The document's sentences; only a ratio depends on them.

        Returns:
            The limit, at least 1, in the unit of `sentence_costs`.
        """
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
        budget: The budget, of which only the unit matters here.
        token_counts: The number of tokens of each sentence; needed for ``max_tokens`` only.

    Returns:
        One cost per sentence, at least 1. In characters a sentence costs one more than its
        length, for the character that joins it to the next.

    Raises:
        ValueError: If tokens are to be counted and `token_counts` is missing or of other length.
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


def select_sentences(
    scores: Sequence[float],
    costs: Sequence[int],
    limit: int,
    *,
    order: str = "document",
    redundancy: float = 0.0,
    similarity: Callable[[], SimilarityToSelected] | None = None,
    block_ngrams: int = 0,
    texts: Sequence[str] | None = None,
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
        similarity: Makes what tells the similarity of sentences to selected ones, anew for
            this selection (`hierbert.model.decoding.Cosines` of sentence vectors); needed with
            `redundancy`.
        block_ngrams: Pass over a sentence that shares this many words in a row with a selected
            one; 0 is off. It suits short documents, not long ones.
        texts: The sentences, needed with `block_ngrams`.
        selectable: Which sentences may be selected; all when None.

    Returns:
        Indices of the selected sentences; empty when there is none to select from.

    Raises:
        ValueError: If a length or a value is not allowed, or a score is not finite.
    """
    values = [float(score) for score in scores]
    _check_inputs(values, costs, limit, order, redundancy, similarity, block_ngrams, texts)
    if selectable is None:
        candidates = list(range(len(values)))
    elif len(selectable) == len(values):
        candidates = [index for index in range(len(values)) if selectable[index]]
    else:
        raise ValueError(f"{len(values)} scores, but selectable for {len(selectable)} sentences")
    candidates.sort(key=lambda index: -values[index])  # stable: ties stay in document order
    if not candidates:
        return []
    if min(costs[index] for index in candidates) > limit:
        return [candidates[0]]

    repeats = _Repeats(texts, block_ngrams)
    if similarity is None or redundancy == 0:
        selected = _by_score(candidates, costs, limit, repeats)
    else:
        selected = by_marginal_relevance(
            candidates, values, costs, limit, redundancy, similarity(), repeats.accepts
        )
    return sorted(selected) if order == "document" else selected


def select_within(
    scores: Sequence[float],
    texts: Sequence[str],
    budget: Budget,
    *,
    token_counts: Sequence[int] | None = None,
    order: str = "document",
    redundancy: float = 0.0,
    similarity: Callable[[], SimilarityToSelected] | None = None,
    block_ngrams: int = 0,
    selectable: Sequence[bool] | None = None,
) -> list[int]:
    """Select sentences of a document within a budget: costs, limit and selection in one call.

    Args:
        scores: One finite score per sentence.
        texts: The document's sentences.
        budget: How long the summary may be.
        token_counts: Tokens of each sentence, needed for a budget of ``max_tokens``.
        order, redundancy, similarity, block_ngrams, selectable: As in `select_sentences`.

    Returns:
        Indices of the selected sentences.

    Raises:
        ValueError: As `sentence_costs` and `select_sentences`.
    """
    return select_sentences(
        scores,
        sentence_costs(texts, budget, token_counts),
        budget.limit(texts),
        order=order,
        redundancy=redundancy,
        similarity=similarity,
        block_ngrams=block_ngrams,
        texts=texts,
        selectable=selectable,
    )


def _plain_words(text: str) -> list[str]:
    """Words without case and outer punctuation; letters of scripts without spaces stand alone."""
    spaced = _UNSPACED.sub(lambda match: f" {match[0]} ", text.casefold())
    pieces = (_OUTER_PUNCTUATION.sub("", piece) for piece in spaced.split())
    return [piece for piece in pieces if piece]


class _Repeats:
    """Remembers the n-grams of the selected sentences; does nothing when `size` is 0."""

    def __init__(self, texts: Sequence[str] | None, size: int) -> None:
        self.texts = texts
        self.size = size
        self.seen: set[tuple[str, ...]] = set()

    def accepts(self, index: int) -> bool:
        """Whether a sentence shares no n-gram with those accepted before; then remembers it."""
        if self.size == 0 or self.texts is None:
            return True
        words = _plain_words(self.texts[index])
        ngrams = set(zip(*(words[start:] for start in range(self.size)), strict=False))
        if not self.seen.isdisjoint(ngrams):
            return False
        self.seen |= ngrams
        return True


def _by_score(
    candidates: list[int], costs: Sequence[int], limit: int, repeats: _Repeats
) -> list[int]:
    cheapest = min(costs[index] for index in candidates)
    selected: list[int] = []
    left = limit
    for index in candidates:
        if left < cheapest:
            break
        if costs[index] <= left and repeats.accepts(index):
            selected.append(index)
            left -= costs[index]
    return selected


def _check_inputs(
    values: list[float],
    costs: Sequence[int],
    limit: int,
    order: str,
    redundancy: float,
    similarity: Callable[[], SimilarityToSelected] | None,
    block_ngrams: int,
    texts: Sequence[str] | None,
) -> None:
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise ValueError(f"score of sentence {index} is {value}: scores must be finite")
    if len(costs) != len(values):
        raise ValueError(f"{len(values)} scores, but {len(costs)} costs")
    if any(cost < 0 for cost in costs):
        raise ValueError(f"a cost is {min(costs)}: costs must be at least 0")
    if limit < 1:
        raise ValueError(f"limit={limit} is not allowed: at least 1")
    if order not in ORDERS:
        raise ValueError(f"order={order!r} is not allowed: one of {', '.join(ORDERS)}")
    if not 0 <= redundancy <= 1:
        raise ValueError(f"redundancy={redundancy!r} is not allowed: from 0 to 1")
    if redundancy > 0 and similarity is None:
        raise ValueError(f"redundancy={redundancy!r} needs similarity, which is missing")
    if block_ngrams < 0:
        raise ValueError(f"block_ngrams={block_ngrams!r} is not allowed: at least 0")
    if block_ngrams > 0 and (texts is None or len(texts) != len(values)):
        got = "none" if texts is None else str(len(texts))
        raise ValueError(
            f"block_ngrams needs one text per score: {len(values)} scores, {got} texts"
        )
