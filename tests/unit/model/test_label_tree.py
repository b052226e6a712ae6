"""What logits say of a tree of labels, against products and sums worked out node by node."""

import math
import random
from types import SimpleNamespace

import pytest
import torch

from hierbert.model.classification_head import LabelRule
from hierbert.model.label_tree import LabelTree
from hierbert.model.tree import TreeSettings

Parents = list[list[int]]


def drawn_tree(seed: int, several: bool) -> tuple[Parents, list[int]]:
    """Up to twelve nodes in any order, and inner nodes at which a path may end."""
    draw = random.Random(seed)
    count = draw.randint(1, 12)
    places = draw.sample(range(count), count)
    parents: Parents = [[] for _ in range(count)]
    for number, node in enumerate(places):
        most = draw.choice([0, 1, 1, *([2, 3] if several else [])])
        parents[node] = sorted(draw.sample(places[:number], min(most, number)))
    inner = sorted({parent for own in parents for parent in own})
    return parents, [] if several else [node for node in inner if draw.random() < 0.5]


def ancestry(node: int, parents: Parents) -> set[int]:
    return {node}.union(*(ancestry(parent, parents) for parent in parents[node]))


def conditional(node: int, row: list[float], parents: Parents, stops: list[int]) -> float:
    own = parents[node]
    siblings = [other for other in range(len(parents)) if parents[other] == own]
    stays = 1.0 if own and own[0] in stops else 0.0
    return math.exp(row[node]) / (sum(math.exp(row[other]) for other in siblings) + stays)


TREES = [(seed, several) for seed in range(25) for several in (False, True)]


@pytest.mark.parametrize(("seed", "several"), TREES)
def test_probabilities_losses_and_paths_are_those_of_each_node(seed, several) -> None:
    parents, stops = drawn_tree(seed, several)
    nodes = range(len(parents))
    tree = LabelTree(parents, stops, several)
    logits = 3 * torch.randn(
        4, len(nodes), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    above = [ancestry(node, parents) for node in nodes]
    ends = [node for node in nodes if several or tree.may_end[node]]
    chosen = [ends[(7 * row + seed) % len(ends)] for row in range(4)]
    targets = torch.zeros(4, len(nodes), dtype=torch.float64)
    for row, end in enumerate(chosen):
        targets[row, list(above[end])] = 1
    shares, losses = tree.probabilities(logits), tree.losses(logits, targets)
    for row, values in enumerate(logits.tolist()):
        if several:
            each = [1 / (1 + math.exp(-value)) for value in values]
        else:
            each = [conditional(node, values, parents, stops) for node in nodes]
        for node in nodes:
            assert shares[row, node] == pytest.approx(math.prod(each[a] for a in above[node]))
        end, own = chosen[row], above[chosen[row]]
        if several:
            asked = [node for node in nodes if set(parents[node]) <= own]
            parts = [each[node] if node in own else 1 - each[node] for node in asked]
        else:
            parts = [each[node] for node in own]
            below = [node for node in nodes if end in parents[node]]
            if end in stops:
                parts.append(1 - sum(each[node] for node in below))
        assert losses[row] == pytest.approx(-sum(map(math.log, parts)))
    closed = tree.closed(torch.nn.functional.one_hot(torch.tensor(chosen), len(nodes)))
    assert torch.equal(closed.double(), targets)
    for node in nodes:
        assert set(tree.path(node)) == above[node] and tree.path(node)[-1] == node
        siblings = {other for other in nodes if parents[other] == parents[node]}
        assert several or set(tree.siblings([node])) == siblings
    assert torch.autograd.gradcheck(tree.log_probabilities, logits.requires_grad_())


@pytest.mark.parametrize("seed", range(25))
def test_whole_paths_compete_with_the_sums_of_their_logits(seed) -> None:
    parents, stops = drawn_tree(seed, several=False)
    tree = LabelTree(parents, stops, of_paths=True)
    logits = 3 * torch.randn(
        3, len(parents), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    ends = [node for node in range(len(parents)) if tree.may_end[node]]
    shares = tree.probabilities(logits)
    for row, values in enumerate(logits.tolist()):
        each = {end: math.exp(sum(values[a] for a in ancestry(end, parents))) for end in ends}
        for node in range(len(parents)):
            own = [each[end] for end in ends if node in ancestry(end, parents)]
            assert shares[row, node] == pytest.approx(sum(own) / sum(each.values()))
        for end in ends:
            targets = torch.zeros(1, len(parents), dtype=torch.float64)
            targets[0, list(ancestry(end, parents))] = 1
            expected = -math.log(each[end] / sum(each.values()))
            assert tree.losses(logits[row : row + 1], targets)[0] == pytest.approx(expected)
    assert torch.autograd.gradcheck(tree.log_probabilities, logits.requires_grad_())


def test_logits_far_from_0_are_as_good_as_those_near() -> None:
    tree = LabelTree([[], [], [0], [0]])
    near = torch.tensor([[0.0, 1.0, 2.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    wanted = -math.log(1 / (1 + math.e) / (1 + math.exp(-2)))
    # The exponential of 100 is more than float32 holds.
    for shift in (0.0, -100.0, 100.0):
        logits = (near + shift).requires_grad_()
        loss = tree.losses(logits, targets).sum()
        assert loss.item() == pytest.approx(wanted, rel=1e-5)
        (slope,) = torch.autograd.grad(loss, logits)
        assert float(slope[0, 1]) == pytest.approx(math.e / (1 + math.e), rel=1e-5)


@pytest.mark.parametrize("decision", ["leaf", "path", "expected_f1"])
@pytest.mark.parametrize("least", [None, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("depth", [None, 1, 2])
def test_every_answer_is_consistent_whatever_the_rule(decision, least, depth) -> None:
    for seed, several in TREES:
        parents, stops = drawn_tree(seed, several)
        settings = TreeSettings(
            parents,
            stops,
            several,
            decision,
            min_probability=0.4,
            of_paths=not several and seed % 2 == 1,
        )
        logits = 2 * torch.randn(
            6, len(parents), generator=torch.Generator().manual_seed(100 + seed)
        )
        rule = LabelRule([0.3] * len(parents), depth=depth, min_probability=least)
        for row in settings.answers(logits, rule).tolist():
            nodes = {node for node, there in enumerate(row) if there}
            assert all(set(parents[node]) <= nodes for node in nodes)
            if not several:
                assert sum(not parents[node] for node in nodes) <= 1
            if depth == 1:
                assert not any(parents[node] for node in nodes)


def test_where_an_answer_ends() -> None:
    #   0 ( 1 ( 3, 4 ), 2 ), 5
    parents: Parents = [[], [0], [0], [1], [1], []]
    # P: node 0 is 0.8, 1 is 0.6, 2 is 0.2, 3 is 0.33, 4 is 0.27, 5 is 0.2.
    shares = {0: 0.8, 5: 0.2, 1: 0.75, 2: 0.25, 3: 0.55, 4: 0.45}
    logits = torch.tensor([[math.log(shares[node]) for node in range(6)]])

    def end(decision: str, **settings) -> list[int]:
        rule = LabelRule([])
        found = TreeSettings(parents, decision=decision, **settings).answers(logits, rule)
        return found[0].nonzero()[:, 0].tolist()

    assert end("leaf") == [0, 1, 3]
    assert end("path", min_probability=0.5) == [0, 1]
    assert end("path", min_probability=0.3) == [0, 1, 3]
    assert end("path", min_probability=0.9) == []
    # Sums of P - c: node 1 has 0.8 + 0.6 - 2c, node 3 0.33 - c more.
    assert end("expected_f1", cost=0.3) == [0, 1, 3]
    assert end("expected_f1", cost=0.4) == [0, 1]
    assert end("expected_f1", cost=0.7) == [0]


def test_deep_and_broad_trees() -> None:
    chain = LabelTree([[], *([node] for node in range(999))])
    assert chain.levels[999] == 1000
    assert chain.probabilities(torch.randn(2, 1000)).tolist() == [[1.0] * 1000] * 2
    logits = torch.tensor([[1e4, -1e4, 0.0]])
    broad = LabelTree([[], [], []])
    assert broad.probabilities(logits).tolist() == [[1.0, 0.0, 0.0]]
    assert broad.losses(logits, torch.tensor([[0.0, 1.0, 0.0]])).tolist() == [2e4]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs parents"),
        ({"parents": 5}, "not allowed"),
        ({"parents": "abc"}, "a list of numbers"),
        ({"parents": [[], [0.5]]}, "a list of numbers"),
        ({"parents": [[]]}, "parents are 1, but there are 2 labels"),
        ({"parents": [[], []], "stops": 3}, "not allowed"),
        ({"parents": [[], []], "decision": "any"}, "choose from"),
        ({"parents": [[], []], "cost": 2}, "0 to 1"),
        ({"parents": [[], []], "cost": "x"}, "not allowed"),
        ({"parents": [[], []], "temperatures": [0.0]}, "above 0"),
        ({"parents": [[], []], "names": ["a"]}, "names are 1"),
        ({"parents": [[], []], "more": 1}, "allowed are parents"),
    ],
)
def test_what_a_config_may_not_hold(given, said) -> None:
    config = SimpleNamespace(label_tree=given, num_labels=2)
    with pytest.raises(ValueError, match=said):
        TreeSettings.of(config)


@pytest.mark.parametrize(
    ("parents", "stops", "said"),
    [
        ([[1], [0]], [], "circle"),
        ([[0]], [], "circle"),
        ([[], [7]], [], "numbers of 2 nodes"),
        ([[], [0]], [5], "numbers of 2 nodes"),
        ([[], [], [0, 1]], [], "several parents"),
        ([], [], "numbers of 0 nodes"),
    ],
)
def test_what_is_no_tree_is_refused(parents, stops, said) -> None:
    with pytest.raises(ValueError, match=said):
        LabelTree(parents, stops)
