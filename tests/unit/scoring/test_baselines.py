import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model.selection import select_sentences
from hierbert.scoring import baselines
from hierbert.scoring.baselines import (
    LABEL_BASELINES,
    SUMMARY_BASELINES,
    LabelBaseline,
    label_baselines,
    lexrank,
    textrank,
)

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
    bags = [Counter(sentence.split()) for sentence in sentences]
    vocabulary = {word for bag in bags for word in bag}
    idf = {word: math.log(len(bags) / sum(word in bag for bag in bags)) for word in vocabulary}
    similarity = np.zeros((len(bags), len(bags)))
    norms = [math.sqrt(sum((n * idf[w]) ** 2 for w, n in bag.items())) for bag in bags]
    for i, first in enumerate(bags):
        for j, second in enumerate(bags):
            product = sum(n * second[w] * idf[w] ** 2 for w, n in first.items())
            if norms[i] * norms[j] > 0:
                similarity[i, j] = product / (norms[i] * norms[j])
    return similarity


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
    size = len(sentences)
    similarity = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            first, second = sentences[i].split(), sentences[j].split()
            if i != j and len(first) and len(second) and len(first) * len(second) > 1:
                shared = len(set(first) & set(second))
                similarity[i, j] = shared / (math.log(len(first)) + math.log(len(second)))
    assert textrank(sentences) == pytest.approx(walk(similarity), abs=1e-6)


@pytest.mark.parametrize("rank", [lexrank, textrank])
def test_graph_scores_of_odd_documents(rank):
    assert rank([]) == []
    assert rank(["one sentence"]) == pytest.approx([1.0])
    assert rank(["", "...", ""]) == pytest.approx([1 / 3] * 3)
    assert rank(["the same"] * 4) == pytest.approx([1 / 4] * 4)


def test_lead_and_tail_take_the_ends():
    sentences = ["a", "b", "c", "d"]
    for name, ends in (("Lead", [0, 1]), ("Tail", [2, 3])):
        scores = SUMMARY_BASELINES[name](sentences, "id", 0)
        assert select_sentences(scores, [1] * len(sentences), 2) == ends


def test_random_depends_on_document_and_seed_alone_and_prefers_no_place():
    random = SUMMARY_BASELINES["Random"]
    first = random(["x"] * 20, "paper 1", 1)
    assert first == random(["y"] * 20, "paper 1", 1)
    assert first != random(["x"] * 20, "paper 2", 1) and first != random(["x"] * 20, "paper 1", 2)
    assert len(set(first)) == 20 and all(0 <= score < 1 for score in first)
    means = np.mean([random(["x"] * 10, f"{number}", 0) for number in range(2000)], axis=0)
    assert means == pytest.approx([0.5] * 10, abs=0.04)  # 6 deviations of a mean of 2000


def test_every_summary_baseline_scores_every_sentence():
    assert list(SUMMARY_BASELINES) == ["Random", "Lead", "Tail", "TextRank", "LexRank"]
    sentences = ["one word here", "two words here", "three"]
    scores = {name: rank(sentences, "id", 3) for name, rank in SUMMARY_BASELINES.items()}
    assert scores["LexRank"] == lexrank(sentences, threshold=0.1)
    assert all(len(each) == 3 for each in scores.values())


def test_label_baselines_are_scored_like_a_model(monkeypatch):
    texts, asked = ["t"] * 3, ["u"] * 2
    single = label_baselines("single_label", texts, [2, 1, 2], asked, [2, 0])["majority"]
    assert single["accuracy"] == 0.5 and single["macro_f1"] == pytest.approx(1 / 3)
    number = label_baselines("regression", texts, [1.0, 2.0, 6.0], asked, [3.0, 5.0])["majority"]
    assert number["mse"] == 2.0 and number["mae"] == 1.0
    first_seen = label_baselines("single_label", texts, [2, 1, 1, 2], asked, [2, 2])["majority"]
    assert first_seen["accuracy"] == 1.0
    tables = [[1, 0]] * 3, asked, [[1, 0], [0, 1]]
    assert label_baselines("multi_label", texts, *tables) == {"majority": {}}
    # A new one is one entry.
    all_labels = LabelBaseline("all", "All", ("multi_label",), lambda t, y, a: np.ones((len(a), 2)))
    monkeypatch.setattr(baselines, "LABEL_BASELINES", [*LABEL_BASELINES, all_labels])
    found = label_baselines("multi_label", texts, *tables)
    assert found["all"]["micro_f1"] == pytest.approx(2 / 3) and found["majority"] == {}
