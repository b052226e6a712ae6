import math
from collections import Counter

import numpy as np
import pytest
from hierbert.evaluation import baselines
from hierbert.evaluation.baselines import lead, lexrank, majority_class, random, tail, textrank
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model.selection import Budget, select_within

fast = settings(deadline=None, max_examples=100)
documents = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", "of"]), max_size=6).map(" ".join),
    min_size=1,
    max_size=8,
)


def walk(similarity, damping=0.15):
    """The stationary distribution by solving for it, from a dense matrix."""
    size = len(similarity)
    transition = np.full((size, size), 1.0 / size)
    for row in range(size):
        if similarity[row].sum() > 1e-9:
            transition[row] = similarity[row] / similarity[row].sum()
    matrix = np.eye(size) - (1 - damping) * transition.T
    return np.linalg.solve(matrix, np.full(size, damping / size))


def cosines(sentences, idf=None):
    bags = [Counter(sentence.split()) for sentence in sentences]
    if idf is None:
        vocabulary = {word for bag in bags for word in bag}
        idf = {word: math.log(len(bags) / sum(word in bag for bag in bags)) for word in vocabulary}
    similarity = np.zeros((len(bags), len(bags)))
    norms = [math.sqrt(sum((n * idf.get(w, 0)) ** 2 for w, n in bag.items())) for bag in bags]
    for i, first in enumerate(bags):
        for j, second in enumerate(bags):
            product = sum(n * second[w] * idf.get(w, 0) ** 2 for w, n in first.items())
            if norms[i] * norms[j] > 0:
                similarity[i, j] = product / (norms[i] * norms[j])
    return similarity


@fast
@given(documents)
def test_continuous_lexrank_is_the_stationary_walk_along_cosines(sentences):
    assert lexrank(sentences) == pytest.approx(walk(cosines(sentences)), abs=1e-6)


@fast
@given(documents, st.sampled_from([0.1, 0.31]))
def test_lexrank_with_threshold_is_the_stationary_walk_along_pairs(sentences, threshold):
    near = (cosines(sentences) > threshold).astype(float)
    assert lexrank(sentences, threshold=threshold) == pytest.approx(walk(near), abs=1e-6)


@fast
@given(documents, st.integers(1, 8))
def test_lexrank_with_threshold_knows_no_pairs_out_of_reach(sentences, reach):
    places = np.arange(len(sentences))
    near = (cosines(sentences) > 0.1) & (abs(places[:, None] - places) <= reach)
    expected = pytest.approx(walk(near.astype(float)), abs=1e-6)
    assert lexrank(sentences, threshold=0.1, reach=reach) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_PAIRS_AT_ONCE", 3)
        assert lexrank(sentences, threshold=0.1, reach=reach) == expected


def test_lexrank_refuses_a_reach_below_one():
    with pytest.raises(ValueError, match="reach=0 is not allowed"):
        lexrank(["a b"], threshold=0.1, reach=0)


@fast
@given(documents)
def test_textrank_is_the_same_by_a_few_words_at_a_time(sentences):
    expected = pytest.approx(textrank(sentences), abs=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_CELLS_AT_ONCE", 4)
        assert textrank(sentences) == expected


@fast
@given(documents)
def test_lexrank_takes_given_rarities(sentences):
    idf = {"a": 2.0, "b": 0.5, "of": 0.1}
    expected = walk(cosines(sentences, idf), damping=0.3)
    assert lexrank(sentences, idf=idf, damping=0.3) == pytest.approx(expected, abs=1e-6)


@fast
@given(documents)
def test_textrank_is_the_stationary_walk_along_shared_words(sentences):
    size = len(sentences)
    similarity = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            first, second = sentences[i].split(), sentences[j].split()
            if i != j and len(first) and len(second) and len(first) * len(second) > 1:
                shared = len(set(first) & set(second))
                similarity[i, j] = shared / (math.log(len(first)) + math.log(len(second)))
    assert textrank(sentences) == pytest.approx(walk(similarity), abs=1e-6)


@pytest.mark.parametrize("rank", [lexrank, textrank, lambda s: lexrank(s, threshold=0.1)])
def test_graph_scores_prefer_the_sentence_that_the_others_are_about(rank):
    sentences = [
        "solar panels lose power in heat",
        "heat reduces what solar panels give",
        "panels and heat and solar power and rain",
        "rain cleans panels",
        "an unrelated remark",
    ]
    scores = rank(sentences)
    assert max(scores) == scores[2]
    assert sum(scores) == pytest.approx(1)
    assert all(type(score) is float for score in scores)


@pytest.mark.parametrize("rank", [lexrank, textrank, lambda s: lexrank(s, threshold=0.1)])
def test_graph_scores_of_odd_documents(rank):
    assert rank([]) == []
    assert rank(["one sentence"]) == pytest.approx([1.0])
    assert rank(["", "...", ""]) == pytest.approx([1 / 3] * 3)
    assert rank(["the same"] * 4) == pytest.approx([1 / 4] * 4)


@pytest.mark.parametrize("rank", [lexrank, textrank])
def test_graph_scores_refuse_a_walk_that_need_not_settle(rank):
    with pytest.raises(ValueError, match="damping=0 is not allowed"):
        rank(["a b"], damping=0)


def test_graph_scores_of_thousands_of_sentences_are_finite():
    dice = np.random.default_rng(0)
    frequencies = 1 / np.arange(1, 5001)
    words = dice.choice(5000, p=frequencies / frequencies.sum(), size=(5000, 20))
    sentences = [" ".join(f"w{word}" for word in row) for row in words]
    for scores in (lexrank(sentences), textrank(sentences), lexrank(sentences, threshold=0.1)):
        assert len(scores) == 5000 and sum(scores) == pytest.approx(1)


def test_lead_and_tail_take_the_ends():
    sentences = ["a", "b", "c", "d"]
    assert select_within(lead(sentences), sentences, Budget(max_sentences=2)) == [0, 1]
    assert select_within(tail(sentences), sentences, Budget(max_sentences=2)) == [2, 3]


def test_random_depends_on_document_and_seed_alone():
    sentences = ["x"] * 20
    first = random(sentences, "paper 1", seed=1)
    assert first == random(sentences, "paper 1", seed=1)
    assert first != random(sentences, "paper 2", seed=1)
    assert first != random(sentences, "paper 1", seed=2)
    assert len(set(first)) == 20 and all(0 <= score < 1 for score in first)


def test_random_prefers_no_place():
    means = np.mean([random(["x"] * 10, f"{number}") for number in range(2000)], axis=0)
    assert means == pytest.approx([0.5] * 10, abs=0.04)  # 6 deviations of a mean of 2000


def test_majority_class_is_the_most_frequent_and_then_the_first_seen():
    assert majority_class(["b", "a", "a", "b", "c"]) == "b"
    assert majority_class(iter([3, 1, 1])) == 1
    with pytest.raises(ValueError, match="no labels"):
        majority_class([])
