"""Ancestors, levels, children and paths of trees and graphs, against a walk by hand."""

import random
from itertools import pairwise

import numpy as np
import pytest

from hierbert.errors import DataError
from hierbert.taxonomy import tree
from hierbert.taxonomy.tree import Taxonomy


def drawn(seed: int, nodes: int, most_parents: int) -> Taxonomy:
    """A graph whose nodes stand in any order in the file."""
    rng = random.Random(seed)
    order = list(range(nodes))
    rng.shuffle(order)
    parents: list[list[int]] = [[] for _ in order]
    for place, node in enumerate(order):
        above = order[:place]
        parents[node] = rng.sample(above, min(len(above), rng.randint(0, most_parents)))
    return Taxonomy([f"n{node}" for node in range(nodes)], parents)


def steps_up(taxonomy: Taxonomy, node: int) -> dict[int, int]:
    """Of each ancestor the fewest steps, by walking up one step at a time."""
    found: dict[int, int] = {}
    here, steps = {node}, 0
    while here:
        steps += 1
        here = {int(one) for each in here for one in taxonomy.parents[each]}
        for one in here:
            found.setdefault(one, steps)
    return found


def longest_way(taxonomy: Taxonomy, node: int) -> int:
    return 1 + max((longest_way(taxonomy, int(one)) for one in taxonomy.parents[node]), default=0)


@pytest.mark.parametrize("most_parents", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_what_follows_from_parents_is_what_a_walk_finds(seed: int, most_parents: int) -> None:
    taxonomy = drawn(seed, 60, most_parents)
    ancestors, levels = taxonomy.ancestors, taxonomy.levels
    for node in range(60):
        walked = steps_up(taxonomy, node)
        start, end = ancestors.offsets[node : node + 2]
        steps = ancestors.distances[start:end].tolist()
        assert dict(zip(ancestors[node].tolist(), steps, strict=True)) == walked
        assert steps == sorted(steps)
        assert levels[node] == longest_way(taxonomy, node)
        assert sorted(taxonomy.children[node]) == [
            one for one in range(60) if node in taxonomy.parents[one]
        ]
        path = taxonomy.path(node)
        assert len(path) <= levels[node] and path[-1] == node
        assert not len(taxonomy.parents[path[0]])
        assert all(a in taxonomy.parents[b] for a, b in pairwise(path))
    assert taxonomy.is_tree is (most_parents == 1)
    assert set(taxonomy.leaves) == {n for n in range(60) if not len(taxonomy.children[n])}
    assert set(taxonomy.top) == {n for n in range(60) if not steps_up(taxonomy, n)}


def test_a_thousand_levels_are_no_matter() -> None:
    chain = Taxonomy(map(str, range(1_000)), [[], *([node] for node in range(999))])
    assert chain.levels.tolist() == list(range(1, 1_001))
    assert chain.ancestors[999].tolist() == list(range(998, -1, -1))
    assert chain.path(999) == list(range(1_000))


def test_a_closure_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_PAIRS", 44)
    chain = Taxonomy(map(str, range(10)), [[], *([node] for node in range(9))])
    with pytest.raises(DataError, match="so deep that it has more than 44 pairs"):
        _ = chain.ancestors
    monkeypatch.setattr(tree, "MOST_PAIRS", 45)
    assert len(Taxonomy(chain.nodes, [[], *([n] for n in range(9))]).ancestors.values) == 45


@pytest.mark.parametrize(
    ("nodes", "parents", "said"),
    [
        ([], [], "has no node"),
        (["a", "a"], [[], []], "the node 'a' twice"),
        (["a", "b", "c"], [[2], [0], [1]], "goes in a circle"),
    ],
)
def test_what_is_no_tree_is_refused(nodes: list[str], parents: list[list[int]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Taxonomy(nodes, parents)


def test_a_circle_is_told_from_the_top() -> None:
    """Each that is named is a parent of the next, and no node outside the circle is named."""
    with pytest.raises(DataError) as caught:
        Taxonomy(["x", "a", "b", "c"], [[], [0, 3], [1], [2]])
    named = str(caught.value).split("each of ")[1].split(" is above")[0].replace("'", "")
    circle = named.split(", ")
    assert sorted(circle) == ["a", "b", "c"]
    above = {"a": "c", "b": "a", "c": "b"}
    assert all(above[b] == a for a, b in zip(circle, [*circle[1:], circle[0]], strict=True))


def test_a_fingerprint_is_of_the_tree_not_of_its_order() -> None:
    one = Taxonomy(["a", "b", "c"], [[], [0], [0, 1]])
    same = Taxonomy(["c", "a", "b"], [[2, 1], [], [1]])
    assert one == same and hash(one) == hash(same)
    assert one != Taxonomy(["a", "b", "c"], [[], [0], [0]])
    assert one != Taxonomy(["a", "b", "c"], [[], [0], [0, 1]], names=["a", "b", "other"])


def test_arrays_are_of_whole_numbers() -> None:
    single = Taxonomy(["a"], [[]])
    for array in (single.levels, single.ancestors.values, single.children.values, single.leaves):
        assert array.dtype == np.int64
    assert single.ancestors[0].tolist() == [] and single.path(0) == [0]
