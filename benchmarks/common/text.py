"""Text of any length, of real words that are one token each, so that its tokens can be counted."""

import random
from typing import Any

_SHORTEST, _LONGEST = 3, 10
_WORDS_PER_SENTENCE = (8, 24)
_MOST_WORDS = 4_000


def single_token_words(tokenizer: Any) -> list[str]:
    """Lower-case words that a tokenizer reads as one token, sorted; at most 4,000."""
    found = [
        word
        for word in sorted(tokenizer.get_vocab())
        if word.isascii() and word.isalpha() and word.islower()
        if _SHORTEST <= len(word) <= _LONGEST
    ]
    # In the middle of a line, as they will stand: some vocabularies know words only with a space.
    words = [
        word
        for word, ids in zip(
            found, tokenizer(found, add_special_tokens=False)["input_ids"], strict=True
        )
        if len(ids) == 1
    ]
    if not words:
        raise ValueError("the tokenizer's vocabulary holds no whole words to make a text of")
    step = max(1, len(words) // _MOST_WORDS)
    return words[::step][:_MOST_WORDS]


def make_sentences(words: list[str], tokens: int, seed: int) -> list[str]:
    """Sentences of so many tokens in all, full stops counted."""
    chance = random.Random(seed)
    sentences = []
    left = tokens
    while left > 0:
        size = min(chance.randint(*_WORDS_PER_SENTENCE) + 1, left)
        # A sentence of a full stop alone is none.
        if left - size == 1:
            size += 1
        drawn = chance.choices(words, k=max(1, size - 1))
        sentences.append(" ".join(drawn).capitalize() + ".")
        left -= size
    return sentences


def make_text(words: list[str], tokens: int, seed: int) -> str:
    """One document of so many tokens, special tokens not counted."""
    return " ".join(make_sentences(words, tokens, seed))


def make_segments(words: list[str], segments: int, tokens: int, seed: int) -> list[str]:
    """Texts of exactly so many tokens each, special tokens not counted, without full stops."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=tokens)) for _ in range(segments)]
