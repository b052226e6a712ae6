"""How much of a text is repeated, and how much of one text stands in another."""

from itertools import pairwise

from hierbert.scoring.rouge_words import RougeWords

RUN_WORDS = 8


def repeated_share(text: str) -> float:
    """The part of a text's pairs of words that were there before, 0 to 1.

    One less the unique n-gram ratio (Xiao and Carenini 2020), of bigrams of stemmed words.
    """
    words = RougeWords().tokenize
    pairs = [pair for line in text.split("\n") for pair in pairwise(words(line))]
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def copied_share(text: str, source: str) -> float:
    """The part of a text's runs of `RUN_WORDS` words that stand in another text, 0 to 1."""
    own = _runs(text)
    inside = set(_runs(source)) if own else set()
    return sum(run in inside for run in own) / len(own) if own else 0.0


def _runs(text: str) -> list[tuple[str, ...]]:
    words = RougeWords().tokenize(text)
    return [*zip(*(words[first:] for first in range(RUN_WORDS)), strict=False)]
