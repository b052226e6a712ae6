"""What a trained model has to beat: sentence scores without training, and the majority class.

Each summary baseline gives one score per sentence for
`hierbert.model.selection.select_sentences`, so that it is held to the same budget as the model.
The graph methods never build the matrix of all pairs of sentences: time and memory of an
iteration grow with the number of words, except for LexRank with a threshold, which keeps the
pairs above it, of sentences that are not too far apart.

Invariant: scores depend on the document (and, for `random`, its id and the seed) only.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hierbert.data.words import RougeWords
from hierbert.model.configuration_hierbert import SENTENCE_REACH

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
_Label = TypeVar("_Label", bound=Hashable)

# Stop when an iteration moves the scores, which sum to 1, by less than this in all.
_TOLERANCE = 1e-8
_MAX_ITERATIONS = 200

# LexRank with a threshold looks for pairs so many sentences apart, as the model's head does.
PAIR_REACH = SENTENCE_REACH

# What one step of an iteration holds at most: numbers of a table, pairs of sentences.
_CELLS_AT_ONCE = 1 << 21
_PAIRS_AT_ONCE = 1 << 20


def lead(sentences: Sequence[str]) -> list[float]:
    """Prefer earlier sentences.

    Args:
        sentences: The document's sentences.

    Returns:
        One score per sentence.
    """
    return [-float(index) for index in range(len(sentences))]


def tail(sentences: Sequence[str]) -> list[float]:
    """Prefer later sentences.

    Args:
        sentences: The document's sentences.

    Returns:
        One score per sentence.
    """
    return [float(index) for index in range(len(sentences))]


def random(sentences: Sequence[str], document_id: str, seed: int = 0) -> list[float]:
    """Prefer no sentence: scores drawn anew for each document, the same in every run.

    Args:
        sentences: The document's sentences.
        document_id: The document's id; with the seed it fixes the draws.
        seed: Any whole number.

    Returns:
        One score per sentence, from 0 to 1.
    """
    digest = hashlib.sha256(f"{seed}:{document_id}".encode(errors="surrogatepass")).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    return [float(score) for score in generator.random(len(sentences))]


def lexrank(
    sentences: Sequence[str],
    *,
    threshold: float | None = None,
    damping: float = 0.15,
    idf: Mapping[str, float] | None = None,
    reach: int | None = PAIR_REACH,
) -> list[float]:
    """LexRank (Erkan and Radev 2004, sections 3.2 and 3.3): centrality by TF-IDF cosines.

    The stationary distribution of a walk that goes from sentence to sentence by similarity, a
    sentence's similarity to itself included, and with probability `damping` anywhere.

    Without a threshold time and memory are linear in the words. With one they are linear in the
    sentences by the `reach`, which is not in the paper and does nothing in documents of at most
    ``reach + 1`` sentences: at most 8 bytes for each sentence and each place of its reach.

    Args:
        sentences: The document's sentences.
        threshold: None for continuous LexRank, where the walk follows the cosines; else the walk
            follows the pairs whose cosine is above it, all alike (the paper takes 0.1).
        damping: Probability of going anywhere.
        idf: Inverse document frequency of words as `RougeWords` gives them, missing ones
            counting 0; None for ``log(N / n)`` over the document's own N sentences.
        reach: With a threshold, sentences further apart are no pair; None: all are compared.

    Returns:
        One score per sentence; they sum to 1.

    Raises:
        ValueError: If `damping` or `reach` is not allowed.
    """
    if reach is not None and reach < 1:
        raise ValueError(f"reach={reach!r} is not allowed: at least 1, or None")
    words = _WordTable(sentences)
    if not words.sentence_count:
        return []
    if idf is None:
        frequencies = np.bincount(words.columns, minlength=len(words.names))
        rarity = np.log(words.sentence_count / np.maximum(frequencies, 1))
    else:
        rarity = np.array([idf.get(name, 0.0) for name in words.names], np.float64)
    weights = words.counts * rarity[words.columns]
    norms = np.sqrt(_sums(words.rows, weights**2, words.sentence_count))
    weights = weights / np.where(norms > 0, norms, 1.0)[words.rows]
    if threshold is None:
        spread = _through_words(words, weights)
    else:
        spread = _through_pairs(words, weights, threshold, reach or words.sentence_count)
    return _stationary(spread, words.sentence_count, damping)


def textrank(sentences: Sequence[str], *, damping: float = 0.15) -> list[float]:
    """TextRank (Mihalcea and Tarau 2004, section 4): centrality by shared words.

    The similarity of two sentences is the number of different words they share over the sum of
    the logarithms of their lengths in words; all words count, stemmed where they are ASCII.

    Args:
        sentences: The document's sentences.
        damping: Probability of going anywhere (1 - d of the paper).

    Returns:
        One score per sentence; they sum to 1.
    """
    words = _WordTable(sentences)
    if not words.sentence_count:
        return []
    lengths = _sums(words.rows, words.counts, words.sentence_count)
    # Sentences of equal length are alike to the denominator, so that the sum over pairs becomes
    # one over words and different lengths, of which there are few.
    different, length_of = np.unique(lengths, return_inverse=True)
    logarithms = np.log(np.maximum(different, 1.0))
    sums = logarithms[:, None] + logarithms[None, :]
    inverse = np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)
    # A word of one sentence is shared by none.
    occurring = np.bincount(words.columns, minlength=len(words.names))
    shared = np.flatnonzero(occurring[words.columns] > 1)
    shared = shared[np.argsort(words.columns[shared], kind="stable")]
    rows, columns = words.rows[shared], words.columns[shared]
    own = np.bincount(rows, minlength=words.sentence_count) * inverse.diagonal()[length_of]
    # Some words at a time, each a row of a table with a column for each length.
    numbers = np.unique(columns, return_inverse=True)[1]
    words_at_once = max(1, _CELLS_AT_ONCE // len(different))
    bounds = np.searchsorted(numbers, np.arange(0, len(words.names) + words_at_once, words_at_once))
    parts = [slice(first, end) for first, end in pairwise(bounds) if end > first]

    def spread(mass: _Floats) -> _Floats:
        total = np.zeros(words.sentence_count)
        for part in parts:
            table_rows = numbers[part] - numbers[part.start]
            cells = table_rows * len(different) + length_of[rows[part]]
            held = _sums(cells, mass[rows[part]], (table_rows[-1] + 1) * len(different))
            arriving = (held.reshape(-1, len(different)) @ inverse).reshape(-1)[cells]
            total += _sums(rows[part], arriving, words.sentence_count)
        return np.maximum(total - own * mass, 0.0)  # no sentence is like itself

    return _stationary(spread, words.sentence_count, damping)


def majority_class(labels: Iterable[_Label]) -> _Label:
    """The most frequent label, of equally frequent ones the first seen.

    Args:
        labels: Labels of the training documents.

    Returns:
        The label to predict for every document.

    Raises:
        ValueError: If there are no labels.
    """
    counts = Counter(labels)
    if not counts:
        raise ValueError("there are no labels to take the majority of")
    return counts.most_common(1)[0][0]


class _WordTable:
    """How often each word occurs in each sentence, as entries sorted by sentence.

    Attributes:
        names: The words (V).
        rows: The sentence of each entry, ascending.
        columns: The word of each entry.
        counts: How often the word occurs in the sentence.
    """

    def __init__(self, sentences: Sequence[str]) -> None:
        tokenizer = RougeWords()
        numbers: dict[str, int] = {}
        rows: list[int] = []
        columns: list[int] = []
        counts: list[int] = []
        for row, sentence in enumerate(sentences):
            occurring = Counter(tokenizer.tokenize(sentence))
            rows.extend([row] * len(occurring))
            columns.extend(numbers.setdefault(word, len(numbers)) for word in occurring)
            counts.extend(occurring.values())
        self.sentence_count = len(sentences)
        self.names = list(numbers)
        self.rows: _Ints = np.array(rows, np.int64)
        self.columns: _Ints = np.array(columns, np.int64)
        self.counts: _Floats = np.array(counts, np.float64)


def _sums(places: _Ints, values: _Floats, count: int) -> _Floats:
    """Sum the values that go to each of `count` places."""
    return np.bincount(places, values, count).astype(np.float64, copy=False)


def _through_words(words: _WordTable, weights: _Floats) -> Callable[[_Floats], _Floats]:
    """Multiplication by the cosines of all pairs, as weights times their transpose."""

    def spread(mass: _Floats) -> _Floats:
        held = _sums(words.columns, weights * mass[words.rows], len(words.names))
        return _sums(words.rows, weights * held[words.columns], words.sentence_count)

    return spread


def _through_pairs(
    words: _WordTable, weights: _Floats, threshold: float, reach: int
) -> Callable[[_Floats], _Floats]:
    """Multiplication by 1 for each pair of sentences whose cosine is above a threshold."""
    parts = list(_pairs_above(words, weights, threshold, reach))

    def spread(mass: _Floats) -> _Floats:
        total = np.empty(words.sentence_count)
        for first_row, counts, seconds in parts:
            firsts = np.repeat(np.arange(len(counts)), counts)
            end_row = first_row + len(counts)
            total[first_row:end_row] = _sums(firsts, mass[seconds], len(counts))
        return total

    return spread


def _pairs_above(
    words: _WordTable, weights: _Floats, threshold: float, reach: int
) -> Iterator[tuple[int, _Ints, npt.NDArray[np.int32]]]:
    """Pairs of sentences whose cosine is above a threshold, each in both directions.

    Args:
        words: Of N sentences.
        weights: Of the entries of `words`; those of a sentence have the norm 1.
        threshold: At least 0.
        reach: Most sentences between the first of a pair and the second, the second included.

    Yields:
        For some sentences in a row: the number of the first, how many pairs each of them has,
        and what these pair it with, ascending.
    """
    count = words.sentence_count
    by_word = np.argsort(words.columns, kind="stable")
    posted_rows, posted_weights = words.rows[by_word], weights[by_word]
    # For each entry, where the entries of its word are, as far as they are in reach.
    places = posted_rows + words.columns[by_word] * count
    word_start = words.columns * count
    starts = np.searchsorted(places, word_start + np.maximum(words.rows - reach, 0))
    ends = np.searchsorted(places, word_start + np.minimum(words.rows + reach, count - 1), "right")
    row_starts = np.searchsorted(words.rows, np.arange(count + 1)).tolist()
    first_row, held = 0, 0
    counts: list[int] = []
    seconds: list[npt.NDArray[np.int32]] = []
    for row in range(count):
        entries = [
            (weights[entry], slice(starts[entry], ends[entry]))
            for entry in range(row_starts[row], row_starts[row + 1])
            if weights[entry] != 0
        ]
        near = np.zeros(0, np.int64)
        if entries:
            first = max(0, row - reach)
            cosines = np.bincount(
                np.concatenate([posted_rows[span] for _, span in entries]) - first,
                np.concatenate([weight * posted_weights[span] for weight, span in entries]),
            )
            near = np.flatnonzero(cosines > threshold) + first
        counts.append(len(near))
        seconds.append(near.astype(np.int32))
        held += len(near)
        if held >= _PAIRS_AT_ONCE or row == count - 1:
            yield first_row, np.array(counts, np.int64), np.concatenate(seconds)
            first_row, counts, seconds, held = row + 1, [], [], 0


def _stationary(
    spread: Callable[[_Floats], _Floats], sentence_count: int, damping: float
) -> list[float]:
    """Power iteration on a symmetric similarity, its rows made to sum to 1.

    Args:
        spread: Multiplication by the similarities.
        sentence_count: Number of sentences (N), at least 1.
        damping: Probability of going anywhere, above 0 and at most 1.

    Returns:
        The stationary distribution. A sentence similar to none goes anywhere.

    Raises:
        ValueError: If `damping` is not allowed.
    """
    if not 0 < damping <= 1:
        raise ValueError(f"damping={damping!r} is not allowed: above 0, at most 1")
    degrees = spread(np.ones(sentence_count))
    connected = degrees > 1e-12
    mass = np.full(sentence_count, 1.0 / sentence_count)
    for _ in range(_MAX_ITERATIONS):
        walking = np.where(connected, mass / np.where(connected, degrees, 1.0), 0.0)
        anywhere = damping + (1 - damping) * mass[~connected].sum()
        following = anywhere / sentence_count + (1 - damping) * spread(walking)
        moved = np.abs(following - mass).sum()
        mass = following / following.sum()
        if moved < _TOLERANCE:
            break
    return [float(score) for score in mass]
