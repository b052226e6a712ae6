"""The words that ROUGE and the oracle count, so that the oracle optimizes what ROUGE measures.

Invariant: for ASCII text the words are those of ``rouge_score`` with the same stemming.
"""

import re
import unicodedata
from functools import cache, lru_cache

from rouge_score.tokenizers import DefaultTokenizer

from hierbert.model.selection import is_unspaced


class RougeWords:
    """Splits a text into words; takes the place of a tokenizer of ``rouge_score``.

    ``rouge_score`` keeps only ``[a-z0-9]``, by which a text in another script scores 0. Here a
    word is a run of letters, digits and combining marks of any script, after compatibility
    normalization (NFKC) and case folding. In scripts that put no spaces between words (Chinese,
    Japanese, Thai, Lao, Khmer, Burmese) each character is a word. ASCII words of more than 3
    characters are stemmed (Porter), other words are left as they are.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of any text in order."""
        if text.isascii():
            folded = text.lower()
        else:
            folded = unicodedata.normalize("NFKC", _in_short_runs(text)).casefold()
            folded = unicodedata.normalize("NFKC", folded)
        words = folded.translate(_SEPARATED).split()
        return [_stem(word) if word.isascii() else word for word in words]


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
_STEMMER = DefaultTokenizer(use_stemmer=True)


@lru_cache(maxsize=1 << 17)
def _stem(word: str) -> str:
    """The stem that ``rouge_score`` gives to one lower-case ASCII word; Porter is slow."""
    return "".join(_STEMMER.tokenize(word))
