"""Which words two texts share, and which sentences say the same, in any script.

It does not count the words of a budget, which stand between white space: see
`selection.count_words`.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from .selection import UNSPACED, is_unspaced

_ENDS_SENTENCE = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\u061f\u0964]['\")\]\u201d\u2019\u00bb\u300d]*\s*$"
)
_NUMBER = re.compile(r"\d+(?: \d+)*")
_LETTERS = re.compile(r"[^\W\d_]+")
# The number of an item: "1. ", "(2) ".
_ITEM = re.compile(r"[(\[]?\d{1,3}[.)\]]+\s+")
# A header of a page is shorter; of what is longer the number of a page is the first of all.
_MAX_HEADER_CHARACTERS = 80
_LEAST_FOOTER_WORDS = 12
_MOST_SMALL = 6  # words in small letters of a header


def folded_words(text: str) -> list[str]:
    """The words of any text in order, in linear time.

    A word is a run of letters, digits and combining marks, after compatibility normalization (NFKC)
    and case folding; soft hyphens and joiners are no part of it. In scripts that put no spaces
    between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character is a word.
    """
    if text.isascii():
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKC", _in_short_runs(text)).casefold()
        folded = unicodedata.normalize("NFKC", folded)
    return folded.translate(_SEPARATED).split()


def _in_short_runs(text: str) -> str:
    """A text with a joiner, itself a mark, behind every 30 marks of a run that goes on.

    Marks are put in order pair by pair, in time with the square of a run's length. No language has
    such runs (Unicode's stream-safe text format, UAX 15, is the same rule).
    """
    return _thirty_marks().sub("\\g<0>\N{COMBINING GRAPHEME JOINER}", text)


@cache
def _thirty_marks() -> re.Pattern[str]:
    marks = [chr(code) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code))]
    # These become marks: two Tibetan ones in one, and half-width Japanese ones.
    single = "".join(marks) + "\u0f73\u0f75\u0f81\uff9e\uff9f"
    return re.compile(f"[{single}]{{30}}(?=[{single}])")


class _Separated(dict[int, str]):
    """What stands for a character so that splitting at spaces gives words; filled on demand."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if character.isalnum() or category.startswith("M"):
            replacement = f" {character} " if is_unspaced(character) else character
        elif category == "Cf" and character != "\N{ZERO WIDTH SPACE}":
            replacement = ""  # soft hyphens and joiners stand inside words
        else:
            replacement = " "
        self[code] = replacement
        return replacement


_SEPARATED = _Separated()


def repeats(texts: Sequence[str]) -> list[str]:
    """For each sentence what it has in common with those that say the same.

    Sentences of the same words are alike, whatever their case, their punctuation and how letters
    are encoded. Numbers are words of what is a sentence: it has an end and two words in small
    letters, or many of those. They are no words of what is short and is no sentence, such as
    headers of pages, nor is one before a long text, nor one before a sentence that is there without
    it too.
    """
    said = [_said(text) for text in texts]
    there = set(said)
    for place, text in enumerate(texts):
        if (item := _ITEM.match(text)) and (bare := _said(text[item.end() :])) in there:
            said[place] = bare
    return said


def _said(text: str) -> str:
    words = " ".join(folded_words(text)) or text.strip()
    if not _NUMBER.search(words):
        return words
    letters = _LETTERS.findall(text)
    small = sum(1 for word in letters if not word[0].isupper())
    is_prose = small > 1 or UNSPACED.search(text) is not None
    is_sentence = (is_prose and _ENDS_SENTENCE.search(text) is not None) or small > _MOST_SMALL
    if len(text) <= _MAX_HEADER_CHARACTERS and not is_sentence:
        return _NUMBER.sub("0", words)
    first = _NUMBER.match(words) if len(letters) >= _LEAST_FOOTER_WORDS else None
    return f"0{words[first.end() :]}" if first else words
