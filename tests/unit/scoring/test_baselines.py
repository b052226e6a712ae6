"""Baselines: graph methods are walks solved by linear algebra; the rest are counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model.selection import select_sentences
from hierbert.scoring import baselines
from hierbert.scoring.baselines import SUMMARY_BASELINES, label_baselines, lexrank, textrank

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


def cosines(sentences):
    """Of every two sentences, with log(N / n) as the weight of a word."""
    vocabulary = sorted({word for sentence in sentences for word in sentence.split()})
    counts = np.array([[s.split().count(word) for word in vocabulary] for s in sentences], float)
    counts = counts.reshape(len(sentences), len(vocabulary))
    weights = counts * np.log(len(sentences) / (counts > 0).sum(0))
    norms = np.linalg.norm(weights, axis=1)
    scale = np.outer(norms, norms)
    return np.divide(weights @ weights.T, scale, out=np.zeros_like(scale), where=scale > 0)


@fast
@given(documents, st.sampled_from([0.1, 0.31]), st.sampled_from([1, 2, 5, 2048]))
def test_lexrank_is_the_stationary_walk_along_pairs_in_reach(sentences, threshold, reach):
    places = np.arange(len(sentences))
    near = (cosines(sentences) > threshold) & (abs(places[:, None] - places) <= reach)
    expected = pytest.approx(walk(near.astype(float)), abs=1e-6)
    assert lexrank(sentences, threshold=threshold, reach=reach) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_PAIRS_AT_ONCE", 3)
        assert lexrank(sentences, threshold=threshold, reach=reach) == expected


@fast
@given(documents)
def test_textrank_is_the_stationary_walk_along_shared_words(sentences):
    words = [sentence.split() for sentence in sentences]
    similarity = np.zeros((len(words), len(words)))
    for i, first in enumerate(words):
        for j, second in enumerate(words):
            if i != j and len(first) * len(second) > 1:
                shared = len(set(first) & set(second))
                similarity[i, j] = shared / (math.log(len(first)) + math.log(len(second)))
    assert textrank(sentences) == pytest.approx(walk(similarity), abs=1e-6)


@pytest.mark.parametrize("rank", [lexrank, textrank])
def test_graph_scores_of_odd_documents(rank):
    assert rank([]) == []
    for odd in (["one sentence"], ["", "...", ""], ["the same"] * 4):
        assert rank(odd) == pytest.approx([1 / len(odd)] * len(odd))


def test_baselines_of_summaries_that_read_no_words():
    sentences = ["a", "b", "c", "d"]
    for name, ends in (("Lead", [0, 1]), ("Tail", [2, 3])):
        scores = SUMMARY_BASELINES[name](sentences, "id", 0)
        assert select_sentences(scores, [1] * len(sentences), 2) == ends
    random = SUMMARY_BASELINES["Random"]
    first = random(["x"] * 20, "paper 1", 1)
    assert first == random(["y"] * 20, "paper 1", 1)
    assert first != random(["x"] * 20, "paper 2", 1) and first != random(["x"] * 20, "paper 1", 2)
    means = np.mean([random(["x"] * 10, f"{number}", 0) for number in range(2000)], axis=0)
    assert means == pytest.approx([0.5] * 10, abs=0.04)  # 6 deviations of a mean of 2000


def test_baselines_of_labels_are_scored_like_a_model():
    texts, asked = ["t"] * 4, ["u"] * 2
    single = label_baselines("single_label", texts, [2, 1, 1, 2], asked, [2, 0])["majority"]
    assert single["accuracy"] == 0.5 and single["macro_f1"] == pytest.approx(1 / 3)
    numbers = [1.0, 2.0, 6.0, 3.0]
    number = label_baselines("regression", texts, numbers, asked, [3.0, 5.0])["majority"]
    assert number["mse"] == 2.0 and number["mae"] == 1.0
    tables = [[1, 0]] * 4, asked, [[1, 0], [0, 1]]
    assert label_baselines("multi_label", texts, *tables) == {"majority": {}}
