"""The words that ROUGE and the oracle count, so that the oracle optimizes what ROUGE measures.

Invariant: for ASCII text the words are those of ``rouge_score`` with the same stemming.
"""

from functools import lru_cache

from rouge_score.tokenizers import DefaultTokenizer

from hierbert.model.same_words import folded_words


class RougeWords:
    """Splits a text into words; takes the place of a tokenizer of ``rouge_score``.

    ``rouge_score`` keeps only ``[a-z0-9]``, by which a text in another script scores 0. Here the
    words are `folded_words`; ASCII ones of more than 3 characters are stemmed (Porter), others left
    as they are.
    """

    def tokenize(self, text: str) -> list[str]:
        """The words of any text in order."""
        return [_stem(word) if word.isascii() else word for word in folded_words(text)]


_STEMMER = DefaultTokenizer(use_stemmer=True)


@lru_cache(maxsize=1 << 17)
def _stem(word: str) -> str:
    """The stem that ``rouge_score`` gives to one lower-case ASCII word; Porter is slow."""
    return "".join(_STEMMER.tokenize(word))
