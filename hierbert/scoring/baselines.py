"""What a trained model's summaries have to beat: sentence scores without training.

The scores of summary baselines are held to the same budget as the model's. The graph methods never
build the matrix of all pairs of sentences: TextRank grows with the number of words, LexRank keeps
the similar pairs of sentences that are not too far apart.

Invariant: scores depend on the document (Random: on its id and the seed) only.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hierbert.model.configuration_hierbert import SENTENCE_REACH
from hierbert.scoring.rouge_words import RougeWords

_Floats = npt.NDArray[np.float64]
# Probability of going anywhere, 1 - d of TextRank's paper.
_DAMPING = 0.15
# Stop when an iteration moves the scores, which sum to 1, by less than this in all.
_TOLERANCE = 1e-8
_MAX_ITERATIONS = 200

# So many pairs of sentences are compared at once.
_PAIRS_AT_ONCE = 1 << 21


def lexrank(
    sentences: Sequence[str], *, threshold: float = 0.1, reach: int = SENTENCE_REACH
) -> list[float]:
    """LexRank (Erkan and Radev 2004, section 3.2): centrality by TF-IDF cosines.

    The stationary distribution of a walk that goes from a sentence to any whose cosine to it is
    above the threshold, itself included, and with a probability of 0.15 anywhere. The inverse
    document frequency of a word is ``log(N / n)`` over the document's own N sentences.

    Time and memory are linear in the sentences by the `reach`, which is not in the paper: at most
    24 bytes for each sentence and each place of its reach.

    Args:
        sentences: Of the document.
        threshold: Of the cosine; the paper takes 0.1. The continuous variant (section 3.3), which
            has none, is the weaker one on the quick start's papers.
        reach: Sentences further apart are no pair; at least 1.

    Returns:
        One score per sentence; they sum to 1.
    """
    if not sentences:
        return []
    weights = _word_counts(sentences)
    occurring = np.bincount(weights.indices, minlength=weights.shape[1])
    rows = np.repeat(np.arange(len(sentences)), np.diff(weights.indptr))
    weights.data *= np.log(len(sentences) / occurring)[weights.indices]
    norms = np.sqrt(np.bincount(rows, weights.data**2, len(sentences)))
    weights.data /= np.where(norms > 0, norms, 1.0)[rows]
    pairs = _pairs_above(weights, threshold, reach)
    return _stationary(lambda mass: pairs @ mass, len(sentences))


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

    return _stationary(spread, len(sentences))


def _random(sentences: Sequence[str], document_id: str, seed: int) -> list[float]:
    """Scores drawn anew for each document, the same in every run."""
    digest = hashlib.sha256(f"{seed}:{document_id}".encode(errors="surrogatepass")).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    return generator.random(len(sentences)).tolist()


SUMMARY_BASELINES: dict[str, Callable[[Sequence[str], str, int], list[float]]] = {
    "Random": _random,
    "Lead": lambda sentences, document_id, seed: [-float(i) for i in range(len(sentences))],
    "Tail": lambda sentences, document_id, seed: [float(i) for i in range(len(sentences))],
    "TextRank": lambda sentences, document_id, seed: textrank(sentences),
    "LexRank": lambda sentences, document_id, seed: lexrank(sentences),
}
"""Called with a document's sentences, its id and the run's seed: one score per sentence."""


def _word_counts(sentences: Sequence[str]) -> sparse.csr_array:
    """How often each word occurs in each sentence, float64 (N, words)."""
    from sklearn.feature_extraction import DictVectorizer

    words = map(RougeWords().tokenize, sentences)
    return sparse.csr_array(DictVectorizer().fit_transform(map(Counter, words)))


def _pairs_above(weights: sparse.csr_array, threshold: float, reach: int) -> sparse.csr_array:
    """1 for each pair of sentences at most `reach` apart whose cosine is above a threshold.

    Of weights (N, words) whose rows have norm 1: float64 (N, N), a sentence with itself included.
    """
    weights.eliminate_zeros()
    count = weights.shape[0]
    at_once = max(1, min(2 * reach, _PAIRS_AT_ONCE // min(count, 4 * reach)))
    numbers: list[npt.NDArray[np.int64]] = []
    columns: list[npt.NDArray[np.int32]] = []
    for start in range(0, count, at_once):
        end, first = min(start + at_once, count), max(0, start - reach)
        cosines = (weights[start:end] @ weights[first : end + reach].T).tocsr()
        rows = np.repeat(np.arange(start, end), np.diff(cosines.indptr))
        seconds = cosines.indices + first
        near = (cosines.data > threshold) & (abs(seconds - rows) <= reach)
        numbers.append(np.bincount(rows[near] - start, minlength=end - start))
        columns.append(seconds[near].astype(np.int32))
    indices = np.concatenate(columns)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(numbers))])
    return sparse.csr_array((np.ones(len(indices)), indices, starts), shape=(count, count))


def _stationary(spread: Callable[[_Floats], _Floats], sentence_count: int) -> list[float]:
    """Power iteration on symmetric similarities, their rows made to sum to 1.

    `spread` multiplies by the similarities. A sentence similar to none goes anywhere.
    """
    degrees = spread(np.ones(sentence_count))
    connected = degrees > 1e-12
    mass = np.full(sentence_count, 1.0 / sentence_count)
    for _ in range(_MAX_ITERATIONS):
        walking = np.where(connected, mass / np.where(connected, degrees, 1.0), 0.0)
        anywhere = _DAMPING + (1 - _DAMPING) * mass[~connected].sum()
        following = anywhere / sentence_count + (1 - _DAMPING) * spread(walking)
        moved = np.abs(following - mass).sum()
        mass = following / following.sum()
        if moved < _TOLERANCE:
            break
    return mass.tolist()
