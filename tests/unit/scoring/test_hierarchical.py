"""Scores of label trees against their definitions, with sets of nodes in plain Python."""

import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.scoring.evaluate_metric import LabelMetric
from hierbert.scoring.hierarchical import consistent_share, level_scores
from hierbert.scoring.intervals import label_gains, label_intervals
from hierbert.scoring.labels import label_scores

NAMES = ["hf1", "hf1_macro", "exact_path", "lca_f1", "mean_depth"]
# 0 over 1 (over 3 and 4) and 2; 5 over 6.
PARENTS = [[], [0], [0], [1], [1], [], [5]]
LEVELS = [1, 2, 2, 3, 3, 1, 2]


def path_to(node: int | None, parents: list[list[int]]) -> list[int]:
    """From the node up; of no node, nothing."""
    found: list[int] = []
    while node is not None:
        found.append(node)
        node = parents[node][0] if parents[node] else None
    return found


def table_of(sets, count: int) -> np.ndarray:
    table = np.zeros((len(sets), count), int)
    for row, nodes in zip(table, sets, strict=True):
        row[list(nodes)] = 1
    return table


def f1(hits: int, sizes: int) -> float:
    return 2 * hits / sizes if sizes else 0.0


def lca_f1(said: list[int], true: list[int]) -> float:
    """Of two paths from the end up: the lowest common node, and what is below it in each."""
    said, true = [*said, -1], [*true, -1]
    lowest = next(node for node in said if node in true)
    low_said, low_true = (set(own[: own.index(lowest) + 1]) for own in (said, true))
    both = len(low_said & low_true)
    precision, recall = both / len(low_said), both / len(low_true)
    return 2 * precision * recall / (precision + recall)


@st.composite
def trees(draw, several: bool = False):
    """Parents, each before its children, and the ends of answers and references."""
    count = draw(st.integers(1, 8))
    parents = [
        [above] if (above := draw(st.integers(-1, node - 1))) >= 0 else [] for node in range(count)
    ]
    ends = st.none() | st.integers(0, count - 1)
    if several:
        ends = st.lists(st.integers(0, count - 1), max_size=3)
    return parents, draw(st.lists(st.tuples(ends, ends), min_size=1, max_size=10))


@settings(deadline=None, max_examples=60)
@given(trees())
def test_scores_of_paths_are_those_of_the_definitions(drawn) -> None:
    parents, ends = drawn
    pairs = [(path_to(s, parents), path_to(t, parents)) for s, t in ends]
    said, true = ([set(own) for own in side] for side in zip(*pairs, strict=True))
    hits = Counter(node for s, t in zip(said, true, strict=True) for node in s & t)
    sizes = Counter(node for own in said + true for node in own)
    each = [f1(hits[node], size) for node, size in sizes.items()]
    expected = {
        "hf1": f1(hits.total(), sizes.total()),
        "hf1_macro": statistics.fmean(each) if each else 0.0,
        "exact_path": statistics.fmean(s == t for s, t in ends),
        "lca_f1": statistics.fmean(lca_f1(s, t) for s, t in pairs),
        "mean_depth": statistics.fmean(map(len, said)),
    }
    tables = (table_of(side, len(parents)) for side in (said, true))
    found = label_scores("tree", *tables)
    assert found == pytest.approx(expected) and list(found) == NAMES


def test_scores_by_hand() -> None:
    """Answers 0-1-3, 0-2, 5 and none; truly 0-1-4, 0-2, 0 and 5-6."""
    said = table_of([[0, 1, 3], [0, 2], [5], []], 7)
    true = table_of([[0, 1, 4], [0, 2], [0], [5, 6]], 7)
    expected = {
        # 2 + 2 shared nodes, of 6 answered and 8 true.
        "hf1": 8 / 14,
        # Node 0: 2 hits of 2 answers and 3; 1 and 2 right; 3, 4, 5 and 6 never.
        "hf1_macro": (4 / 5 + 1 + 1) / 7,
        "exact_path": 1 / 4,
        # {1, 3} and {1, 4}; the same; {root, 5} and {root, 0}; {root} and {root, 5, 6}.
        "lca_f1": (1 / 2 + 1 + 1 / 2 + 1 / 2) / 4,
        "mean_depth": 6 / 4,
    }
    for own in (said, said.astype(np.int8)):
        assert label_scores("tree", own, true) == pytest.approx(expected)
    metric = LabelMetric("tree")
    assert metric.compute(predictions=said, references=true) == pytest.approx(expected)
    nothing = np.zeros((2, 7), int)
    assert list(label_scores("tree", nothing, nothing).values()) == [0, 0, 1, 1, 0]


def test_of_several_paths_common_nodes_stand_for_one_ancestor() -> None:
    """Truly 0-1-3 and 5-6: where one of them is missed, 2 or 3 nodes are missed."""
    true = table_of([[0, 1, 3, 5, 6]], 7)
    for own, expected in (([0, 1, 3, 5, 6], 1), ([0, 1, 3], 2 / 4), ([5, 6], 2 / 5)):
        found = label_scores("tree", table_of([own], 7), true)
        assert found["lca_f1"] == pytest.approx(expected)


def test_intervals_and_gains_are_those_of_scores_computed_sample_by_sample() -> None:
    chance = np.random.default_rng(4)
    # Node 6 is only ever answered, nodes 3 and 4 are only ever true.
    said, true = (
        table_of([path_to(end, PARENTS) for end in chance.choice(ends, 12)], 7)
        for ends in ([0, 1, 2, 5, 6], [0, 1, 2, 3, 4, 5])
    )
    rows = np.random.default_rng(9).integers(0, 12, (1000, 12))
    found = label_intervals("tree", said, true, seed=9)
    gains = label_gains("tree", said, {"right": true}, true, seed=9)["right"]
    assert list(found) == list(gains) == NAMES[:3]
    each = [label_scores("tree", said[own], true[own]) for own in rows]
    for name, observed in list(label_scores("tree", said, true).items())[:3]:
        ends = np.quantile([own[name] for own in each], [0.025, 0.975])
        assert list(found[name].values()) == pytest.approx(list(ends))
        assert gains[name]["mean"] == pytest.approx(observed - 1)
        assert [gains[name]["low"], gains[name]["high"]] == pytest.approx(list(ends - 1))
    nothing = np.zeros((6, 3), int)
    assert label_intervals("tree", nothing, nothing, 0)["hf1"] == {"low": 0.0, "high": 0.0}


def test_scores_of_levels_by_hand() -> None:
    said = table_of([[0, 1, 3], [0, 1, 3], [0, 1], [0, 2], [5, 6], [0, 2]], 7)
    true = table_of([[0, 1, 3], [0, 1, 4], [0, 1, 4], [0, 1, 4], [5], [5, 6]], 7)
    first, second, third = level_scores(said, true, LEVELS, counts=[9, 5, 7, 1, 4, 2, 3])
    assert first == {
        "level": 1,
        "nodes": 2,
        "documents": 6,
        "accuracy": 5 / 6,
        # Node 0: 4 of 5 answers and of 4; node 5, the rarer one: 1 of 1 and of 2.
        "macro_f1": pytest.approx((8 / 9 + 2 / 3) / 2),
        "rare_macro_f1": pytest.approx(2 / 3),
        "confusions": [{"true": 5, "answered": 0, "count": 1}],
    }
    assert second == {
        "level": 2,
        "nodes": 3,
        # The fifth stays at level 1, and what it is answered below counts for the nodes alone.
        "documents": 5,
        "accuracy": 3 / 5,
        # Node 1: 3 of 3 and of 4; nodes 2 and 6 never; counts of 5 and 3 are the rarer ones.
        "macro_f1": pytest.approx((6 / 7) / 3),
        "rare_macro_f1": pytest.approx((6 / 7) / 2),
        "confusions": [
            {"true": 1, "answered": 2, "count": 1},
            {"true": 6, "answered": 2, "count": 1},
        ],
    }
    assert third == {
        "level": 3,
        "nodes": 2,
        "documents": 4,
        "accuracy": 1 / 4,
        # Node 3: 1 of 2 answers and of 1; node 4 never answered.
        "macro_f1": pytest.approx((2 / 3) / 2),
        "rare_macro_f1": pytest.approx(2 / 3),
        "confusions": [
            {"true": 4, "answered": None, "count": 2},
            {"true": 4, "answered": 3, "count": 1},
        ],
    }
    assert level_scores(said, true, LEVELS)[0]["rare_macro_f1"] is None
    (empty,) = level_scores(np.zeros((2, 1)), np.zeros((2, 1)), [1], [0])
    assert list(empty.values()) == [1, 1, 0, None, None, None, []]
    for row in (second, third):
        assert {type(value) for value in row.values()} <= {int, float, list}


@settings(deadline=None, max_examples=40)
@given(trees(several=True))
def test_levels_of_several_paths_are_compared_as_sets(drawn) -> None:
    parents, ends = drawn
    said, true = (
        [{node for end in own for node in path_to(end, parents)} for own in side]
        for side in zip(*ends, strict=True)
    )
    levels = [len(path_to(node, parents)) for node in range(len(parents))]
    tables = [table_of(side, len(parents)) for side in (said, true)]
    rows = level_scores(*tables, levels)
    assert [row["level"] for row in rows] == list(range(1, max(levels) + 1))
    for row in rows:
        nodes = {node for node, level in enumerate(levels) if level == row["level"]}
        pairs = [(s & nodes, t & nodes) for s, t in zip(said, true, strict=True)]
        reached = [s == t for s, t in pairs if t]
        confused = Counter(
            (real, wrong) for s, t in pairs for real in t - s for wrong in (s - t or {None})
        )
        assert row["documents"] == len(reached)
        assert row["accuracy"] == pytest.approx(statistics.fmean(reached) if reached else None)
        # The commonest first, of equal ones the first nodes, and an answer that stopped last.
        order = sorted(
            confused,
            key=lambda pair: (-confused[pair], pair[0], 99 if pair[1] is None else pair[1]),
        )
        expected = [{"true": t, "answered": s, "count": confused[t, s]} for t, s in order[:5]]
        assert row["confusions"] == expected


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_an_answer_is_consistent_where_every_node_has_all_its_parents(data) -> None:
    count = data.draw(st.integers(1, 6))
    parents = [
        sorted(data.draw(st.sets(st.integers(0, node - 1), max_size=2))) if node else []
        for node in range(count)
    ]
    rows = data.draw(st.lists(st.sets(st.integers(0, count - 1)), min_size=1, max_size=6))
    expected = [all(above in own for node in own for above in parents[node]) for own in rows]
    found = consistent_share(table_of(rows, count), parents)
    assert found == pytest.approx(statistics.fmean(expected))


def test_no_answers_are_not_consistent_and_many_children_are_counted() -> None:
    assert consistent_share(np.zeros((0, 7), int), PARENTS) == 0.0
    # 300 children: more than an int8 holds.
    star = [[], *[[0]] * 300]
    rows = np.ones((2, 301), np.int8)
    rows[1, 0] = 0
    assert consistent_share(rows, star) == 0.5
