"""Baselines of label trees, where the right answer is known."""

import numpy as np
import pytest

from hierbert.scoring import tree_baselines as module
from hierbert.scoring.hierarchical import consistent_share
from hierbert.scoring.labels import label_scores
from hierbert.scoring.tree_baselines import TREE_BASELINES, tree_baselines
from hierbert.scoring.vector_baselines import DocumentVectors

# 0 over 1 (over 3 and 4) and 2; 5 over 6.
PARENTS = [[], [0], [0], [1], [1], [], [5]]
PATHS = {3: [0, 1, 3], 4: [0, 1, 4], 2: [0, 2], 6: [5, 6], 1: [0, 1]}
WORDS = {3: "fugue organ", 4: "sonata piano", 2: "guitar chord", 6: "goal striker", 1: "quaver"}
BY_WORDS = ["tfidf_knn", "tfidf_centroid"]


def table_of(sets) -> np.ndarray:
    table = np.zeros((len(sets), len(PARENTS)), int)
    for row, nodes in zip(table, sets, strict=True):
        row[nodes] = 1
    return table


def rows_of(table: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in table]


def corpus(ends):
    """Each end has words of its own, and each document one that no other one has."""
    texts = [f"{WORDS[end]} filler{place}" for place, end in enumerate(ends)]
    return texts, table_of([PATHS[end] for end in ends])


ENDS = [3, 4, 2, 6, 1] * 5 + [2]


def test_words_find_the_path_and_the_commonest_is_the_commonest() -> None:
    texts, table = corpus(ENDS)
    asked = ["fugue", "piano sonata in ten parts", "chord", "striker", "quaver", "?", ""]
    found = tree_baselines(PARENTS, texts, table, asked)
    assert list(found) == ["majority", *BY_WORDS]
    assert rows_of(found["majority"]) == [[0, 2]] * 7
    for name in BY_WORDS:
        # Words that no document has leave the commonest.
        right = [PATHS[end] for end in (3, 4, 2, 6, 1)]
        assert rows_of(found[name]) == [*right, [0, 2], [0, 2]], name
    again = tree_baselines(PARENTS, texts, table, asked)
    assert all((again[name] == found[name]).all() for name in found)


def test_neighbours_that_disagree_about_the_leaf_stop_above_it() -> None:
    """Words tell what is under 1, and nothing of its four leaves.

    Two nodes of three answered have an F1 of 4/5; with a leaf, which is right once in four, it is
    (3 + 3 * 2) / 4 / 3 = 3/4.
    """
    parents = [[], [0], [1], [1], [1], [1], [], [6]]
    chance = np.random.default_rng(0)
    ends = np.array([2, 3, 4, 5] * 15 + [7] * 15)
    words = [f"{'sport' if end == 7 else 'music'} w{chance.integers(1000)}" for end in ends]
    table = np.zeros((75, 8), int)
    table[np.arange(75), ends] = 1
    table[:60, :2] = table[60:, 6] = 1
    found = tree_baselines(parents, words, table, ["music", "sport"])
    assert rows_of(found["tfidf_knn"]) == [[0, 1], [6, 7]]


def test_votes_go_down_the_tree_and_stop() -> None:
    table = table_of([PATHS[end] for end in (3, 4, 4, 6)])
    known = module.TreeDocuments(PARENTS, [""] * 4, table.astype(np.int8), [], None)
    votes = module._Votes(known, known.nodes, np.array([[0, 1, 2, 3]]), np.ones((1, 4)))
    # Shares: 0 and 1 of three quarters, 4 of a half, 3, 5 and 6 of a quarter.
    assert votes.nodes.tolist() == [0, 1, 4]
    assert votes.shares == pytest.approx([0.75, 0.75, 0.5])
    assert votes.reaching(0.6).tolist() == [True, True, False]
    # The surest are answered whatever the stop is.
    assert votes.reaching(0.9).tolist() == [True, True, False]
    # Truly 0, 1 and 3: 2 hits of 3 answered and 3 true; of 2 answered and 3 true.
    expected = {0.5: 4 / 6, 0.6: 4 / 5, 0.9: 4 / 5}
    f1s = dict(zip(module._STOPS, votes.f1s(known.nodes[[0]]), strict=True))
    assert {stop: f1s[stop] for stop in expected} == pytest.approx(expected)
    # Of equal shares the first node; nobody votes for what is like nothing.
    votes = module._Votes(
        known, known.nodes, np.array([[0, 1], [0, 1]]), np.array([[1.0, 1], [0, 0]])
    )
    assert votes.rows.tolist() == [0, 0, 0] and votes.nodes.tolist() == [0, 1, 3]
    assert votes.any.tolist() == [True, False]


def test_equal_texts_are_not_each_others_neighbours() -> None:
    """Each text stands there twice, and its words say nothing of others: one would be sure."""
    texts = [f"only{place // 2} common" for place in range(12)]
    near, likeness = module._nearest(
        *module.tfidf(texts, texts, 100), 12, np.arange(12) // 2, np.arange(12) // 2
    )
    for place in range(12):
        assert likeness[place, -2:] == pytest.approx([0, 0])
        assert set(near[place, -2:].tolist()) == {place // 2 * 2, place // 2 * 2 + 1}


def test_the_nearest_are_the_same_however_they_are_grouped(monkeypatch) -> None:
    texts, _ = corpus(ENDS)
    rows, _ = module.tfidf(texts, texts, 100)
    dense = (rows @ rows.T).toarray()
    for at_once in (1, 60, 1000):
        monkeypatch.setattr(module, "_PAIRS_AT_ONCE", at_once)
        near, likeness = module._nearest(rows, rows, 7)
        assert near.tolist() == [
            sorted(range(len(texts)), key=lambda one: (-own[one], one))[:7] for own in dense
        ]
        assert (likeness == -np.sort(-dense, 1)[:, :7]).all()


def test_of_several_paths_nodes_with_enough_of_the_votes_are_answered() -> None:
    ends = [[0, 1, 3], [0, 2], [0, 2, 5, 6], [0, 1, 3, 5, 6]]
    words = ["organ", "guitar", "guitar goal", "organ goal"]
    texts = [f"{words[place % 4]} filler{place}" for place in range(40)]
    found = tree_baselines(PARENTS, texts, table_of(ends * 10), words)
    for name in BY_WORDS:
        assert rows_of(found[name]) == ends, name
    # Two ways up to one node: its parents come along.
    graph = [[], [], [0, 1]]
    table = np.tile([[1, 1, 1], [1, 0, 0]], (10, 1))
    found = tree_baselines(graph, ["both", "one"] * 10, table, ["both", "one"])
    for name in BY_WORDS:
        assert found[name].tolist() == [[1, 1, 1], [1, 0, 0]], name


@pytest.mark.parametrize(
    ("texts", "ends"),
    [
        (["", "  ", "?"], [3, 3, 6]),
        (["fugue"], [3]),
        (["fugue", "fugue", "goal"], [3, 3, 3]),
        (["\x00\ud800", "\n", "<script>"], [3, 3, 6]),
    ],
)
def test_what_says_nothing_is_answered_as_the_majority(texts, ends) -> None:
    table = table_of([PATHS[end] for end in ends])
    found = tree_baselines(PARENTS, texts, table, ["fugue", "", "\ud800 x"])
    for name, answer in found.items():
        assert rows_of(answer) == [[0, 1, 3]] * 3, name
    for name, answer in tree_baselines(PARENTS, texts, table, []).items():
        assert answer.shape == (0, 7), name


def test_documents_without_nodes_and_a_tree_of_one_node_are_answered() -> None:
    for table in (np.zeros((4, 7), int), table_of([[], [0, 2], [], [5]])):
        for answer in tree_baselines(
            PARENTS, ["a b", "b c", "c d", "ef gh"], table, ["c"]
        ).values():
            assert consistent_share(answer, PARENTS) == 1.0
    one = tree_baselines([[]], ["word", "other"], [[1], [1]], ["word"])
    assert all(answer.tolist() == [[1]] for answer in one.values())


def test_random_documents_get_one_path_each() -> None:
    chance = np.random.default_rng(1)
    texts = [" ".join(f"w{word}" for word in own) for own in chance.integers(0, 9, (80, 4))]
    table = table_of([PATHS[end] for end in chance.choice(list(PATHS), 50)])
    for answer in tree_baselines(PARENTS, texts[:50], table, texts[50:]).values():
        assert all(nodes in PATHS.values() or len(nodes) == 1 for nodes in rows_of(answer))
        assert consistent_share(answer, PARENTS) == 1.0


def test_of_many_documents_some_are_drawn_with_their_own_nodes(monkeypatch) -> None:
    monkeypatch.setattr(module, "_MOST_DOCUMENTS", 60)
    monkeypatch.setattr(module, "_MOST_CHOOSING", 20)
    texts, table = corpus(np.random.default_rng(2).choice(list(PATHS), 100).tolist())
    found = tree_baselines(PARENTS, texts, table, [WORDS[end] for end in PATHS])
    known = module.TreeDocuments(PARENTS, texts, table.astype(np.int8), ["?"], None)
    assert known.words is not None and known.words[1].shape[0] == 60
    for name in BY_WORDS:
        assert rows_of(found[name]) == list(PATHS.values()), name


def vectors_of(ends, noise: float = 0.1):
    draw = np.random.default_rng(3)
    axes = {end: np.eye(5)[place] for place, end in enumerate(PATHS)}
    made = [
        DocumentVectors(
            (axes[end] + draw.normal(0, noise, (2, 5))).astype(np.float32),
            np.zeros((1, 5), np.float32),
            np.array([4]),
        )
        for end in ends
    ]
    return made.__getitem__


def test_a_flat_classifier_of_vectors_answers_with_whole_paths(monkeypatch, capsys) -> None:
    texts, table = corpus(ENDS)
    asked = [3, 4, 2, 6, 1]
    given = (PARENTS, texts, table, ["?"] * 5)
    found = tree_baselines(*given, (vectors_of(ENDS), vectors_of(asked)))
    assert list(found) == [one.name for one in TREE_BASELINES]
    scores = label_scores("tree", found["flat_leaves"], table_of([PATHS[end] for end in asked]))
    assert scores["hf1"] == scores["exact_path"] == 1.0
    assert found["flat_leaves"].dtype == np.int8
    broken = vectors_of(ENDS, np.nan), vectors_of(asked)
    assert "flat_leaves" not in tree_baselines(*given, broken)
    # Nothing is read where there is nothing to learn.
    unread = (pytest.fail, pytest.fail)
    own = [[0], [0, 1], [0, 2], [5], [0, 5]]
    assert "flat_leaves" not in tree_baselines(PARENTS, texts[:5], table_of(own), ["?"], unread)
    monkeypatch.setattr(module, "_MOST_SETS", 4)
    assert "flat_leaves" not in tree_baselines(*given, unread)
    said = capsys.readouterr().err
    assert "nearly each document" in said and "5 sets of nodes would take too long" in said
