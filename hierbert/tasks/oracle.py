"""Oracle sentences: the extract of a document that a greedy search finds closest to its summary.

The search sees the whole document and is exact: each round takes the sentence that raises
ROUGE-1 F1 + ROUGE-2 F1 the most, with clipped counts as ROUGE has them. It does not look for the
best extract of all (greedy is not optimal) and does not cache.

Invariant: the result equals that of a greedy search that scores every extract from scratch.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hierbert.scoring.rouge_words import RougeWords

# Scores are sums of two fractions: equal ones may differ in the last bits, and ties go to the
# earlier sentence.
_TIE = 1e-12
_LEAST_GAIN = 1e-3
# Searches, and the share of the sentences that each may select from.
_SEARCHES, _SHARE = 12, 0.6

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def oracle_sentences(
    sentences: Sequence[str],
    reference: str,
    *,
    min_gain: float = _LEAST_GAIN,
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
        costs: What each sentence takes from the budget; None and no `limit` for no budget.
        limit: What may be spent.
        selectable: Which sentences may be selected; all when None.

    Returns:
        Indices of sentences in the order of selection; empty when the reference or the document
        has no words, or no sentence gains enough.
    """
    allowed = np.ones(len(sentences), bool) if selectable is None else np.array(selectable, bool)
    spend = np.zeros(len(sentences), np.int64) if costs is None else np.array(costs, np.int64)
    return _search(_overlaps(sentences, reference), spend, limit or 0, allowed, min_gain)


def _overlaps(sentences: Sequence[str], reference: str) -> "list[_Overlap]":
    """Of single words and of pairs; `_search` uses them up."""
    tokenizer = RougeWords()
    words = tokenizer.tokenize(reference)
    own = [tokenizer.tokenize(sentence) for sentence in sentences]
    pairs = [list(pairwise(one)) for one in own]
    return [_Overlap(words, own), _Overlap(list(pairwise(words)), pairs)]


def _search(
    overlaps: "list[_Overlap]",
    spend: _Ints,
    left: int,
    allowed: npt.NDArray[np.bool_],
    least: float,
) -> list[int]:
    """The greedy search of `oracle_sentences`, which changes none but the overlaps."""
    allowed = allowed.copy()
    only_one = not (spend[allowed] <= left).any()

    selected: list[int] = []
    score = 0.0
    while True:
        open_to_selection = allowed if only_one else allowed & (spend <= left)
        if not open_to_selection.any():
            return selected
        scores = np.where(open_to_selection, sum(part.f1_with_each() for part in overlaps), -1.0)
        best = int(np.argmax(scores >= scores.max() - _TIE))
        if scores[best] - score < max(least, _TIE):
            return selected
        selected.append(best)
        if only_one:
            return selected
        score = float(scores[best])
        allowed[best] = False
        left -= int(spend[best])
        for part in overlaps:
            part.take(best)


def bagged_labels(
    sentences: Sequence[str],
    reference: str,
    *,
    costs: Sequence[int],
    limit: int,
    selectable: Sequence[bool],
) -> list[float]:
    """Sentence labels by how often a search takes a sentence where others are out of its reach.

    Of near equal sentences the plain search takes one, by a hair. Half of a label is whether it
    takes the sentence, half how often a search among a random part of the sentences does.

    Args:
        sentences: All sentences of the document.
        reference: The reference summary.
        costs: What each sentence takes from the budget.
        limit: What may be spent.
        selectable: Which sentences may be selected.

    Returns:
        One label per sentence, from 0.0 to 1.0; the same each time.
    """
    overlaps, spend = _overlaps(sentences, reference), np.array(costs, np.int64)
    allowed = np.array(selectable, bool)
    drawn = np.random.default_rng(len(sentences))

    def taken(among: npt.NDArray[np.bool_]) -> _Floats:
        found = np.zeros(len(sentences))
        found[_search([one.fresh() for one in overlaps], spend, limit, among, _LEAST_GAIN)] = 1.0
        return found

    times, tries = np.zeros(len(sentences)), np.zeros(len(sentences))
    for _ in range(_SEARCHES):
        among = allowed & (drawn.random(len(sentences)) < _SHARE)
        times, tries = times + taken(among), tries + among
    labels: _Floats = (times / np.maximum(tries, 1) + taken(allowed)) / 2
    return labels.tolist()


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
    """
    labels = oracle_labels(len(sentences), selected)
    words = RougeWords().tokenize
    alone = _Overlap(
        list(pairwise(words(reference))), [list(pairwise(words(one))) for one in sentences]
    ).f1_with_each()
    best = alone.max(initial=0.0)
    if best == 0.0:
        return labels
    return [(label + float(f1) / best) / 2 for label, f1 in zip(labels, alone, strict=True)]


def oracle_labels(sentence_count: int, selected: Iterable[int]) -> list[float]:
    """One label per sentence: 1.0 for each selected index, else 0.0."""
    chosen = set(selected)
    return [float(index in chosen) for index in range(sentence_count)]


class _Overlap:
    """Clipped matches of every sentence with what the selected ones leave of the reference."""

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
        # An entry for each sentence and n-gram that it shares with the reference, in order.
        self.sentences: _Ints = np.array(rows, np.int64)
        self.ngrams: _Ints = np.array(columns, np.int64)
        self.counts: _Ints = np.array(counts, np.int64)
        # How often each n-gram of the reference is still unmatched.
        self.remaining: _Ints = np.array(list(reference_counts.values()), np.int64)
        self.reference_total = len(reference)
        self.lengths: _Ints = np.array([len(ngrams) for ngrams in sentences], np.int64)
        self.hits = 0
        self.total = 0

    def fresh(self) -> "_Overlap":
        """Another, of which nothing is used up, where nothing of this one is."""
        other = copy.copy(self)
        other.remaining = self.remaining.copy()
        return other

    def f1_with_each(self) -> npt.NDArray[np.float64]:
        """F1 of the selected sentences together with each other one, as float64 (N)."""
        matches = np.minimum(self.counts, self.remaining[self.ngrams])
        gains = np.bincount(self.sentences, matches, len(self.lengths))
        lengths = self.total + self.lengths + self.reference_total
        return 2.0 * (self.hits + gains) / np.maximum(lengths, 1)

    def take(self, index: int) -> None:
        """Add a sentence to the selected ones."""
        own = slice(*np.searchsorted(self.sentences, [index, index + 1]))
        matches = np.minimum(self.counts[own], self.remaining[self.ngrams[own]])
        self.remaining[self.ngrams[own]] -= matches
        self.hits += int(matches.sum())
        self.total += int(self.lengths[index])
