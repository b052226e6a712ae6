"""Oracle sentences: the extract of a document that a greedy search finds closest to its summary.

The search sees the whole document and is exact: each round takes the sentence that raises
ROUGE-1 F1 + ROUGE-2 F1 the most, with clipped counts as ROUGE has them. It does not look for the
best extract of all (greedy is not optimal) and does not cache.

Invariant: the result equals that of a greedy search that scores every extract from scratch.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hierbert.scoring.rouge_words import RougeWords

# Scores are sums of two fractions: equal ones may differ in the last bits, and ties go to the
# earlier sentence.
_TIE = 1e-12

_Ints = npt.NDArray[np.int64]


def oracle_sentences(
    sentences: Sequence[str],
    reference: str,
    *,
    min_gain: float = 1e-3,
    costs: Sequence[int] | None = None,
    limit: int | None = None,
    selectable: Sequence[bool] | None = None,
) -> list[int]:
    """Select the sentences that are together closest to a reference summary.

    Bigrams of the document are taken within sentences, those of the reference over its whole
    text (as ``rouge_score`` takes them). With a budget the rules of
    `hierbert.model.selection.select_sentences` hold: a sentence that does not fit into what is
    left is passed over, and when no selectable sentence fits, the best one is selected alone.

    Args:
        sentences: All sentences of the document.
        reference: The reference summary.
        min_gain: Stop when the best sentence raises the sum of the two F1 by less than this.
        costs: What each sentence takes from the budget; given together with `limit`.
        limit: What may be spent.
        selectable: Which sentences may be selected; all when None.

    Returns:
        Indices of sentences in the order of selection; empty when the reference or the document
        has no words, or no sentence gains enough.

    Raises:
        ValueError: If only one of `costs` and `limit` is given, or lengths differ.
    """
    count = len(sentences)
    if (costs is None) != (limit is None):
        raise ValueError("costs and limit are given together or not at all")
    for name, given in (("costs", costs), ("selectable", selectable)):
        if given is not None and len(given) != count:
            raise ValueError(f"{count} sentences, but {name} for {len(given)}")
    tokenizer = RougeWords()
    reference_words = tokenizer.tokenize(reference)
    if not reference_words or not count:
        return []

    sentence_words = [tokenizer.tokenize(sentence) for sentence in sentences]
    overlaps = [
        _Overlap(reference_words, sentence_words),
        _Overlap(list(pairwise(reference_words)), [list(pairwise(w)) for w in sentence_words]),
    ]
    allowed = np.ones(count, bool) if selectable is None else np.asarray(selectable, bool).copy()
    spend = np.zeros(count, np.int64) if costs is None else np.asarray(costs, np.int64)
    left = 0 if limit is None else limit
    only_one = bool(allowed.any()) and not (spend[allowed] <= left).any()

    selected: list[int] = []
    score = 0.0
    while True:
        open_to_selection = allowed if only_one else allowed & (spend <= left)
        if not open_to_selection.any():
            return selected
        scores = np.where(open_to_selection, sum(part.f1_with_each() for part in overlaps), -1.0)
        best = int(np.argmax(scores >= scores.max() - _TIE))
        if scores[best] - score < max(min_gain, _TIE):
            return selected
        selected.append(best)
        if only_one:
            return selected
        score = float(scores[best])
        allowed[best] = False
        left -= int(spend[best])
        for part in overlaps:
            part.take(best)


def oracle_labels(sentence_count: int, selected: Iterable[int]) -> list[float]:
    """One label per sentence: 1.0 for each selected index, else 0.0.

    Raises:
        ValueError: An index is outside the document.
    """
    labels = [0.0] * sentence_count
    for index in selected:
        if not 0 <= index < sentence_count:
            raise ValueError(f"sentence {index} is outside a document of {sentence_count}")
        labels[index] = 1.0
    return labels


def graded_labels(sentences: Sequence[str], reference: str, selected: Iterable[int]) -> list[float]:
    """Sentence labels that also credit sentences close to the reference that were not selected.

    A handful of selected sentences among hundreds is little to learn from, and a sentence that
    says nearly the same as a selected one is no wrong answer. Half of a label is whether the
    sentence was selected, half its ROUGE-2 F1 alone, relative to the document's best sentence
    (a sentence's own ROUGE as the target, as in Ren et al. 2017).

    Args:
        sentences: All sentences of the document.
        reference: The reference summary.
        selected: Indices of the oracle's sentences.

    Returns:
        One label per sentence, from 0.0 to 1.0.

    Raises:
        ValueError: An index is outside the document.
    """
    labels = oracle_labels(len(sentences), selected)
    tokenizer = RougeWords()
    bigrams = [list(pairwise(tokenizer.tokenize(sentence))) for sentence in sentences]
    reference_bigrams = list(pairwise(tokenizer.tokenize(reference)))
    if not sentences or not reference_bigrams:
        return labels
    alone = _Overlap(reference_bigrams, bigrams).f1_with_each()
    best = float(alone.max())
    if best == 0.0:
        return labels
    return [(label + float(f1) / best) / 2 for label, f1 in zip(labels, alone, strict=True)]


class _Overlap:
    """Clipped matches of every sentence with what the selected ones leave of the reference.

    `remaining` holds how often each n-gram of the reference is still unmatched; `gains` holds
    what each sentence would match of it. When a sentence is taken, only the sentences whose match
    changes are looked at, by an inverted index: those that have an n-gram more often than it is
    still unmatched. Over a whole search that is at most once for each word of the document.
    """

    def __init__(self, reference: Sequence[object], sentences: Sequence[Sequence[object]]) -> None:
        reference_counts = Counter(reference)
        number_of = {ngram: number for number, ngram in enumerate(reference_counts)}
        rows: list[int] = []
        columns: list[int] = []
        counts: list[int] = []
        for row, ngrams in enumerate(sentences):
            shared = Counter(ngram for ngram in ngrams if ngram in number_of)
            rows.extend([row] * len(shared))
            columns.extend(number_of[ngram] for ngram in shared)
            counts.extend(shared.values())
        by_sentence = np.array(rows, np.int64), np.array(columns, np.int64)
        entry_counts: _Ints = np.array(counts, np.int64)
        # By n-gram, and those who have most of it first.
        order = np.lexsort((-entry_counts, by_sentence[1]))
        self.remaining: _Ints = np.array(list(reference_counts.values()), np.int64)
        self.reference_total = len(reference)
        self.lengths: _Ints = np.array([len(ngrams) for ngrams in sentences], np.int64)
        self.hits = 0
        self.total = 0

        # Entries once in the order of sentences and once in the order of n-grams.
        self.entry_ngrams = by_sentence[1]
        self.entry_counts = entry_counts
        self.sentence_starts = np.searchsorted(by_sentence[0], np.arange(len(sentences) + 1))
        self.inverted_sentences = by_sentence[0][order]
        # Negative, to be searched in ascending order.
        self.inverted_counts = -self.entry_counts[order]
        self.ngram_starts = np.searchsorted(
            self.entry_ngrams[order], np.arange(len(reference_counts) + 1)
        )
        self.gains: _Ints = np.zeros(len(sentences), np.int64)
        matched = np.minimum(self.entry_counts, self.remaining[self.entry_ngrams])
        np.add.at(self.gains, by_sentence[0], matched)

    def f1_with_each(self) -> npt.NDArray[np.float64]:
        """F1 of the selected sentences together with each other one, as float64 (N)."""
        lengths = self.total + self.lengths + self.reference_total
        return 2.0 * (self.hits + self.gains) / np.maximum(lengths, 1)

    def take(self, index: int) -> None:
        """Add a sentence to the selected ones."""
        self.hits += int(self.gains[index])
        self.total += int(self.lengths[index])
        for entry in range(self.sentence_starts[index], self.sentence_starts[index + 1]):
            ngram = self.entry_ngrams[entry]
            before = int(self.remaining[ngram])
            after = max(0, before - int(self.entry_counts[entry]))
            if after == before:
                continue
            self.remaining[ngram] = after
            first, end = self.ngram_starts[ngram], self.ngram_starts[ngram + 1]
            more = int(np.searchsorted(self.inverted_counts[first:end], -after))
            postings = slice(first, first + more)
            counts = -self.inverted_counts[postings]
            # A sentence occurs once in the postings of an n-gram, so plain indexing is enough.
            self.gains[self.inverted_sentences[postings]] -= np.minimum(
                counts, before
            ) - np.minimum(counts, after)
