import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model.selection import (
    Budget,
    count_words,
    is_unspaced,
    select_sentences,
    sentence_costs,
)
from hierbert.model.summarization_head import SummaryRule

fast = settings(deadline=None, max_examples=150)


@st.composite
def scored_documents(draw):
    size = draw(st.integers(1, 12))
    scores = draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size))
    costs = draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    selectable = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return [float(s) for s in scores], costs, draw(st.integers(1, 30)), selectable


# --- words and budgets


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n ", 0),
        ("One, two -- three.", 4),
        ("Привет, мир", 2),
        ("नमस्ते दुनिया", 2),
        ("안녕하세요 세계", 2),
        ("你好,世界。", 4),
        ("我用 BERT 模型。", 5),
        ("カタカナ", 4),
        ("ภาษาไทย", 7),
        ("ที่", 1),  # one consonant with two combining marks
    ],
)
def test_words_are_counted_by_spaces_or_by_letters(text, words):
    assert count_words(text) == words


def test_unspaced_scripts_leave_out_spaced_ones_and_range_ends_are_in():
    assert all(map(is_unspaced, "中あアㄅไລកမ\u0e00\u0eff\u9fff\u4e00"))
    assert not any(map(is_unspaced, "aéя한अع \u0dff\u0f00\ua000"))


@pytest.mark.parametrize(
    ("settings_of_budget", "named"),
    [
        ({}, "none"),
        ({"max_words": 3, "ratio": 0.5}, "max_words=3, ratio=0.5"),
        ({"max_words": 0}, "max_words=0"),
        ({"max_sentences": -1}, "max_sentences=-1"),
        ({"max_tokens": 2.0}, "max_tokens=2.0"),
        ({"max_characters": True}, "max_characters=True"),
        ({"max_words": "9"}, "max_words='9'"),
        ({"ratio": 0}, "ratio=0"),
        ({"ratio": 1.01}, "ratio=1.01"),
        ({"ratio": math.nan}, "ratio=nan"),
    ],
)
def test_budget_refuses_what_is_not_allowed_and_says_it(settings_of_budget, named):
    with pytest.raises(ValueError, match=named.replace(".", r"\.")):
        Budget(**settings_of_budget)


def test_budget_costs_and_limits_by_unit():
    texts, tokens = ["one two three", "four", "!"], [4, 2, 0]
    for budget, costs in (
        (Budget(max_sentences=2), [1, 1, 1]),
        (Budget(max_words=5), [3, 1, 1]),
        (Budget(max_tokens=5), [4, 2, 1]),
        (Budget(max_characters=5), [14, 5, 2]),
        (Budget(ratio=0.5), [3, 1, 1]),
    ):
        assert sentence_costs(texts, budget, tokens) == costs
    assert [Budget(max_sentences=2).limit(texts), Budget(max_tokens=7).limit(texts)] == [2, 7]
    assert Budget(ratio=0.5).limit(texts) == 2  # of 5 words
    assert Budget(ratio=0.01).limit(texts) == 1
    assert Budget(ratio=0.29).limit(["w " * 100]) == 29


@fast
@given(st.lists(st.text("ab ", min_size=1, max_size=8), min_size=1, max_size=8), st.integers(1, 40))
def test_joined_sentences_keep_a_budget_of_characters(texts, most):
    budget = Budget(max_characters=most)
    costs = sentence_costs(texts, budget, [])
    chosen = select_sentences([1.0] * len(texts), costs, budget.limit(texts))
    if any(len(text) <= most for text in texts):
        assert len("\n".join(texts[index] for index in chosen)) <= most


# --- selection


@fast
@given(scored_documents())
def test_selection_is_greedy_within_the_limit(document):
    scores, costs, limit, selectable = document
    expected, left = [], limit
    ranking = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    ranking = [index for index in ranking if selectable[index]]
    for index in ranking:
        if costs[index] <= left:
            expected.append(index)
            left -= costs[index]
    expected = expected or ranking[:1]
    chosen = select_sentences(scores, costs, limit, order="score", selectable=selectable)
    assert chosen == expected
    in_order = select_sentences(scores, costs, limit, selectable=selectable)
    assert in_order == sorted(expected)


def test_nothing_to_select_from_gives_nothing():
    assert select_sentences([], [], 5) == []
    assert select_sentences([1.0], [1], 5, selectable=[False]) == []


class Table:
    """Similarities to selected sentences, out of a table of all pairs."""

    def __init__(self, cosines):
        self.cosines = cosines
        self.selected = []
        self.pairs = 0

    def select(self, index):
        self.selected.append(index)

    def nearest(self, indices, first):
        others = self.selected[first:]
        assert indices and others
        self.pairs += len(indices) * len(others)
        return [max(self.cosines[other][index] for other in others) for index in indices]


def marginal_relevance_by_definition(scores, costs, limit, pool, redundancy, cosines):
    """Every sentence against every selected one, in every round."""
    low, high = min((scores[i] for i in pool), default=0), max((scores[i] for i in pool), default=0)
    selected, left = [], limit
    while True:
        best, best_value = None, None
        for index in pool:
            if index in selected or costs[index] > left:
                continue
            relevance = (scores[index] - low) / (high - low) if high > low else 0.0
            nearest = max([0.0, *(cosines[other][index] for other in selected)])
            value = (1 - redundancy) * relevance - redundancy * nearest
            if best is None or value > best_value:
                best, best_value = index, value
        if best is None:
            break
        selected.append(best)
        left -= costs[best]
    if not selected and pool:
        selected = [max(pool, key=lambda index: scores[index])]
    return selected


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 12) | st.integers(30, 90),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_redundancy_follows_the_definition_of_marginal_relevance(size, redundancy, distinct, seed):
    dice = random.Random(seed)
    # Halves and eighths are exact in binary, so that ties are ties in any order of computation.
    scores = [dice.random() if distinct else float(dice.randint(0, 2)) for _ in range(size)]
    costs = [dice.randint(1, 9) for _ in range(size)]
    cosines = [[dice.randint(-8, 8) / 8 for _ in range(size)] for _ in range(size)]
    selectable = [dice.random() < 0.8 for _ in range(size)]
    pool = [index for index in range(size) if selectable[index]]
    limit = dice.randint(1, 3 * size)
    chosen = select_sentences(
        scores,
        costs,
        limit,
        order="score",
        redundancy=redundancy,
        similarity=Table(cosines),
        selectable=selectable,
    )
    expected = marginal_relevance_by_definition(scores, costs, limit, pool, redundancy, cosines)
    assert chosen == expected


def test_redundancy_compares_few_of_many_sentences():
    class Alike(Table):
        def nearest(self, indices, first):
            self.pairs += len(indices) * (len(self.selected) - first)
            return [0.5] * len(indices)

    size, many = 20_000, 1000
    table = Alike(None)
    scores = [float((index * 7919) % size) for index in range(size)]
    chosen = select_sentences(
        scores, [1] * size, many, redundancy=0.5, similarity=table, order="score"
    )
    # All are equally alike to any selected one, so that the scores alone decide.
    assert chosen == sorted(range(size), key=lambda index: -scores[index])[:many]
    # Each that comes to the top meets each selected one once; all pairs would be 20 million.
    assert table.pairs < 2 * many * many


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select_sentences([1, math.nan], [1, 1], 1), "score of sentence 1 is nan"),
        (lambda: select_sentences([math.inf], [1], 1), "score of sentence 0 is inf"),
        (lambda: select_sentences([1], [1, 1], 1), "1 scores, but 2 costs"),
        (lambda: SummaryRule(Budget(ratio=0.5), order="rank"), "order='rank'"),
        (lambda: SummaryRule(Budget(ratio=0.5), redundancy=1.5), "redundancy=1.5"),
    ],
)
def test_selection_refuses_what_is_not_allowed_and_says_it(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class CountedCosts(list):
    reads = 0

    def __getitem__(self, index):
        type(self).reads += 1
        return super().__getitem__(index)


def test_selection_of_many_sentences_reads_each_cost_a_few_times():
    size = 50_000
    scores = [float((index * 7919) % size) for index in range(size)]
    costs = CountedCosts([1 + index % 40 for index in range(size)])
    chosen = select_sentences(scores, costs, size)
    assert sum(costs[index] for index in chosen) <= size
    assert CountedCosts.reads < 6 * size
