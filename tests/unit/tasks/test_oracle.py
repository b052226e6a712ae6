"""Oracles: those of a greedy search that scores every extract anew, in exact fractions."""

import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.tasks.oracle import graded_labels, oracle_labels, oracle_sentences

MIN_GAIN = 0.0012345678901

short_sentences = st.lists(st.sampled_from("abcde"), max_size=7).map(" ".join)


def ngrams(words, size):
    return Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def exact_score(selected, sentences, reference):
    """ROUGE-1 F1 + ROUGE-2 F1 of an extract, from scratch and as a fraction."""
    total = Fraction(0)
    for size in (1, 2):
        candidate = Counter()
        for index in selected:
            candidate += ngrams(sentences[index].split(), size)
        target = ngrams(reference.split(), size)
        hits = sum((candidate & target).values())
        if hits:
            precision = Fraction(hits, sum(candidate.values()))
            recall = Fraction(hits, sum(target.values()))
            total += 2 * precision * recall / (precision + recall)
    return total


def brute_force(sentences, reference, costs=None, limit=None, selectable=None):
    pool = [i for i in range(len(sentences)) if selectable is None or selectable[i]]
    selected, score, left = [], Fraction(0), limit
    alone = costs is not None and all(costs[i] > limit for i in pool)
    while True:
        best, best_score = None, None
        for index in pool:
            if index in selected or (costs is not None and not alone and costs[index] > left):
                continue
            value = exact_score([*selected, index], sentences, reference)
            if best is None or value > best_score:
                best, best_score = index, value
        if best is None or best_score - score < Fraction(MIN_GAIN):
            return selected
        selected.append(best)
        score = best_score
        if alone:
            return selected
        if costs is not None:
            left -= costs[best]


@settings(deadline=None, max_examples=150)
@given(st.lists(short_sentences, max_size=8), short_sentences, st.data())
def test_oracle_equals_a_greedy_search_from_scratch(sentences, reference, data):
    assert oracle_sentences(sentences, reference, min_gain=MIN_GAIN) == brute_force(
        sentences, reference
    )
    size = len(sentences)
    costs = data.draw(st.lists(st.integers(1, 8), min_size=size, max_size=size))
    selectable = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    limit = data.draw(st.integers(1, 20))
    assert oracle_sentences(
        sentences, reference, min_gain=MIN_GAIN, costs=costs, limit=limit, selectable=selectable
    ) == brute_force(sentences, reference, costs, limit, selectable)


def test_where_only_what_may_not_be_selected_fits_the_best_sentence_is_alone():
    sentences, costs = ["a", "b c d", "b c"], [1, 3, 2]
    allowed = {"costs": costs, "limit": 1, "selectable": [False, True, True]}
    assert oracle_sentences(sentences, "b c d", **allowed) == [1]
    assert brute_force(sentences, "b c d", **allowed) == [1]


def test_oracle_of_a_longer_document_equals_a_greedy_search_from_scratch():
    dice = random.Random(0)
    # A few frequent words, which the reference runs out of bit by bit, and many rare ones.
    words = [chr(97 + min(int(dice.expovariate(0.2)), 25)) for _ in range(900)]
    sentences = [" ".join(words[start : start + 10]) for start in range(0, 900, 10)]
    reference = " ".join(dice.sample(words, 120))
    costs = [dice.randint(1, 9) for _ in sentences]
    assert oracle_sentences(
        sentences, reference, min_gain=MIN_GAIN, costs=costs, limit=40
    ) == brute_force(sentences, reference, costs, 40)


@pytest.mark.parametrize(
    ("sentences", "reference", "first"),
    [
        # Words are those of ROUGE: stemmed, without marks and case.
        (["dogs are running home", "a bird", "the cats sat"], "A CAT sits. The cat sat.", 2),
        # 4/8 + 2/6 and 10/12 + 0/10 are both 5/6, but not in floating point: the earlier one.
        (["a b x", "e d c b a y y"], "a b c d e", 0),
        (["e d c b a y y", "a b x"], "a b c d e", 0),
        # "x y" is a bigram of the reference, whose full stop is no word.
        (["y x", "x y"], "p x. y q", 1),
    ],
)
def test_the_first_sentence_of_an_oracle_by_hand(sentences, reference, first):
    assert oracle_sentences(sentences, reference)[0] == first


def test_oracle_of_nothing_is_nothing():
    for sentences, reference in (([], "a b"), (["a b"], ""), (["", "!"], "a")):
        assert oracle_sentences(sentences, reference) == []


def test_labels_are_the_selection_or_half_of_it_and_half_own_overlap() -> None:
    sentences = ["The cat sat.", "The cat ran far.", "A dog."]
    assert oracle_labels(3, [2, 0]) == [1.0, 0.0, 1.0]
    # Reference bigrams: the-cat, cat-sat. Own ROUGE-2 F1 by hand: 2*2/(2+2), 2*1/(3+2), 0.
    labels = graded_labels(sentences, "the cat sat", [0])
    assert labels == pytest.approx([1.0, 0.2, 0.0])
    assert graded_labels(sentences, "zebra zebra", [2]) == [0.0, 0.0, 1.0]
    assert graded_labels([], "the cat", []) == []
