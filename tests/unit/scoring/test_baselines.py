"""Baselines: graph methods are walks solved by linear algebra; the rest are counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model import centrality
from hierbert.model.selection import select_sentences
from hierbert.scoring.baselines import lexrank, textrank
from hierbert.scoring.label_baselines import label_baselines
from hierbert.scoring.labels import label_scores
from hierbert.scoring.summary_baselines import SUMMARY_BASELINES

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
        patch.setattr(centrality, "_PAIRS_AT_ONCE", 3)
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


def scored(kind, texts, labels, asked, references):
    """The scores of what each baseline answers."""
    found = label_baselines(kind, texts, labels, asked)
    return {name: label_scores(kind, given, references) for name, given in found.items()}


def test_baselines_of_labels_are_scored_like_a_model():
    texts, asked = ["t"] * 4, ["u"] * 2
    single = scored("single_label", texts, [2, 1, 1, 2], asked, [2, 0])
    assert single["majority"]["accuracy"] == 0.5
    assert single["majority"]["macro_f1"] == pytest.approx(1 / 3)
    # Nothing to read: no more than the commonest label.
    assert single["tfidf_svm"] == single["tfidf_logistic"] == single["majority"]
    numbers = [1.0, 2.0, 6.0, 3.0]
    number = scored("regression", texts, numbers, asked, [3.0, 5.0])
    assert number["majority"]["mse"] == 2.0 and number["majority"]["mae"] == 1.0
    assert number.keys() == {"majority"}


def test_the_commonest_labels_are_as_many_as_score_best():
    labels = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]])

    def micro_f1(many: int) -> float:
        given = np.tile([1, 1, 0] if many == 2 else [1, 1, 1] if many == 3 else [1, 0, 0], (4, 1))
        return 2 * (given & labels).sum() / (given.sum() + labels.sum())

    best = max(range(1, 4), key=micro_f1)
    found = scored("multi_label", ["t"] * 4, labels, ["u"] * 4, labels)["majority"]
    assert found["micro_f1"] == pytest.approx(micro_f1(best))


@pytest.mark.parametrize("several", [False, True])
def test_words_tell_what_words_say(several):
    """One word of a text decides, or each says of a label whether it applies."""
    names = ["law", "sea", "art"]
    texts = [f"{names[n % 3]} {names[(n * n) % 3]} day{n % 5} the" for n in range(60)]
    has = np.array([[name in text.split() for name in names] for text in texts]).astype(int)
    labels = has if several else np.array([n % 3 for n in range(60)])
    kind = "multi_label" if several else "single_label"
    found = scored(kind, texts[:45], labels[:45], texts[45:], labels[45:])
    for name in ("tfidf_svm", "tfidf_logistic"):
        if several:
            assert found[name]["micro_f1"] == 1.0 and found[name]["map"] == 1.0
        else:
            counted = [name.split()[0] for name in texts[45:]]
            right = [names.index(word) == n for word, n in zip(counted, labels[45:], strict=True)]
            assert found[name]["accuracy"] > found["majority"]["accuracy"] and all(right)


def test_of_many_documents_some_are_drawn_and_many_labels_are_left_out(monkeypatch):
    texts = [f"{'law sea'.split()[n % 2]} day{n % 5} the" for n in range(50)]  # noqa: SIM905
    labels = [n % 2 for n in range(50)]
    monkeypatch.setattr("hierbert.scoring.label_baselines._MOST_DOCUMENTS", 30)
    found = scored("single_label", texts, labels, texts, labels)
    assert found["tfidf_svm"]["accuracy"] == found["tfidf_logistic"]["accuracy"] == 1.0
    many = list(range(300))
    found = label_baselines("single_label", ["t"] * 300, many, ["u"])
    assert found.keys() == {"majority"}
