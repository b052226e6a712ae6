"""The words that ROUGE and the oracle count, so that the oracle optimizes what ROUGE measures.

Invariant: for ASCII text the words are those of ``rouge_score`` with the same stemming.
"""

import unicodedata
from functools import lru_cache

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
            folded = unicodedata.normalize("NFKC", text).casefold()
            folded = unicodedata.normalize("NFKC", folded)
        words = folded.translate(_SEPARATED).split()
        return [_stem(word) if word.isascii() else word for word in words]


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
