"""Sentences by their place in a graph: scores without training; see `summary_baselines`.

The matrix of all pairs of sentences is never built: TextRank grows with the number of words,
LexRank keeps the similar pairs of sentences that are not too far apart.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

from hierbert.model import centrality
from hierbert.model.sentence_words import SentenceWords
from hierbert.scoring.rouge_words import RougeWords

_Floats = npt.NDArray[np.float64]


def lexrank(
    sentences: Sequence[str], *, threshold: float = 0.1, reach: int | None = None
) -> list[float]:
    """LexRank over stemmed words: see `hierbert.model.centrality.lexrank`; one score a sentence."""
    return centrality.lexrank(_words(sentences), threshold=threshold, reach=reach).tolist()


def centroid(sentences: Sequence[str]) -> list[float]:
    """How near each sentence is to all, over stemmed words: see `centrality.centroid`."""
    return centrality.centroid(_words(sentences)).tolist()


def textrank(sentences: Sequence[str]) -> list[float]:
    """TextRank (Mihalcea and Tarau 2004, section 4): centrality by shared words.

    The similarity of two sentences is the number of different words they share over the sum of
    the logarithms of their lengths in words; all words count, stemmed where they are ASCII.
    It gives one score per sentence; they sum to 1.
    """
    if not sentences:
        return []
    counts = _word_counts(sentences)
    # Sentences of equal length are alike to the denominator, so that the sum over pairs becomes
    # one over words and different lengths, of which there are few.
    different, length_of = np.unique(counts.sum(1), return_inverse=True)
    logarithms = np.log(np.maximum(different, 1.0))
    sums = logarithms[:, None] + logarithms[None, :]
    inverse = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    # A word of one sentence is shared by none.
    shared = counts[:, np.bincount(counts.indices, minlength=counts.shape[1]) > 1]
    shared.data[:] = 1.0
    transposed = shared.T.tocsr()
    own = np.diff(shared.indptr) * inverse.diagonal()[length_of]
    starts = np.arange(len(sentences) + 1)

    def spread(mass: _Floats) -> _Floats:
        # The mass that reaches each sentence from those of each length (N, lengths).
        by_length = sparse.csr_array(
            (mass, length_of, starts), shape=(len(sentences), len(different))
        )
        arriving = (shared @ (transposed @ by_length)).tocoo()
        row, length = arriving.coords
        total = np.bincount(row, arriving.data * inverse[length_of[row], length], len(sentences))
        return np.maximum(total - own * mass, 0.0)  # no sentence is like itself

    walk = centrality.stationary(
        lambda mass: torch.from_numpy(spread(mass.numpy())), len(sentences)
    )
    return walk.tolist()


def _words(sentences: Sequence[str]) -> SentenceWords:
    return SentenceWords(list(map(RougeWords().tokenize, sentences)))


def _word_counts(sentences: Sequence[str]) -> sparse.csr_array:
    """How often each word occurs in each sentence, float64 (N, words)."""
    from sklearn.feature_extraction import DictVectorizer

    words = map(RougeWords().tokenize, sentences)
    return sparse.csr_array(DictVectorizer().fit_transform(map(Counter, words)))
