"""Vectors of the nodes of a tree in a few dimensions: near each other means near in the tree.

Points of a Poincaré ball (Nickel and Kiela 2017, *Poincaré Embeddings for Learning Hierarchical
Representations*): there is room for a tree's leaves in few dimensions, as circles grow
exponentially with their radius. A point is kept as a vector in the tangent space at the origin, as
long as its distance from there, so that nothing has to be projected and any optimizer will do. All
of a node's ancestors are to be nearer than any other node, which is one loss for the whole set.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierbert.log import Progress
from hierbert.taxonomy.tree import Taxonomy

_LEARNING_RATE, _FIRST_RANGE = 0.1, 1e-3
# Of the loss: how far nearer is near enough.
_SHARPNESS = 4.0
_NODES_PER_STEP = 128
# A node is the one that is asked about so many times.
_EPOCHS = 250
# Of larger trees a step compares with those around its nodes, and as many others drawn.
_ALL_NODES, _DRAWN_NODES = 2_048, 1_024
_ASKED_AT_ONCE = 128
# Below that two points are one, and a square root has no slope.
_LEAST = 1e-15


@dataclass(frozen=True)
class TreeVectors:
    """A point for each node.

    Attributes:
        nodes: K ids.
        points: float64 (K, d): inside the unit ball, or of the plane where `euclidean`.
        euclidean: Whether distances are those of the plane.
    """

    nodes: tuple[str, ...]
    points: npt.NDArray[np.float64]
    euclidean: bool = False

    def distances(self, nodes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """From some of the nodes to all, float64 (N, K)."""
        points = torch.from_numpy(self.points)
        between = _straight if self.euclidean else _of_ball_points
        return between(points[torch.from_numpy(nodes)], points).numpy()


@dataclass(frozen=True)
class Pairs:
    """Pairs of a node and an ancestor.

    Attributes:
        nodes: int64 (M,), ascending.
        ancestors: int64 (M,).
    """

    nodes: npt.NDArray[np.int64]
    ancestors: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.nodes)

    def of(self, nodes: npt.NDArray[np.int64]) -> "Pairs":
        """Those of some nodes, which are then numbered by their places there."""
        starts, ends = (np.searchsorted(self.nodes, nodes, side) for side in ("left", "right"))
        lengths = ends - starts
        shifts = starts - (np.cumsum(lengths) - lengths)
        places = np.arange(int(lengths.sum())) + np.repeat(shifts, lengths)
        return Pairs(np.repeat(np.arange(len(nodes)), lengths), self.ancestors[places])


def ancestor_pairs(taxonomy: Taxonomy, held_out: float = 0.0, seed: int = 0) -> tuple[Pairs, Pairs]:
    """All pairs of a tree, and those that are held out: never a node and its parent.

    Args:
        taxonomy: The tree.
        held_out: Which part of all pairs.
        seed: Of the draw.
    """
    above = taxonomy.ancestors
    far = np.flatnonzero(above.distances > 1)
    wanted = min(len(far), round(held_out * len(above.values)))
    drawn = np.random.default_rng(seed).choice(far, wanted, replace=False)
    is_out = np.zeros(len(above.values), bool)
    is_out[drawn] = True
    kept, out = (Pairs(above.owners[one], above.values[one]) for one in (~is_out, is_out))
    return kept, out


def fit_tree_vectors(
    taxonomy: Taxonomy,
    dimensions: int = 10,
    *,
    euclidean: bool = False,
    pairs: Pairs | None = None,
    epochs: int = _EPOCHS,
    seed: int = 0,
) -> TreeVectors:
    """Find a point for each node such that its ancestors are nearer than all others.

    Args:
        taxonomy: K nodes.
        dimensions: d, of the points.
        euclidean: Find points of the plane instead, by the same loss.
        pairs: Which ancestors are known; the others of the closure are left out. None: all.
        epochs: How often each node is asked about.
        seed: Of first points and order.
    """
    every, _ = ancestor_pairs(taxonomy)
    known = every if pairs is None else pairs
    asked = np.unique(known.nodes)
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand((len(taxonomy), dimensions), generator=generator, dtype=torch.float64)
    table = nn.Embedding.from_pretrained((2 * first - 1) * _FIRST_RANGE, freeze=False, sparse=True)
    # Of each step only the rows that it reads are moved.
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=_LEARNING_RATE)
    between = _straight if euclidean else _of_tangents
    steps = max(1, epochs * -(-len(asked) // _NODES_PER_STEP))
    words = "fitting points of the plane" if euclidean else "fitting points of the ball"
    with Progress(steps, words, unit="steps") as bar:
        for step, (nodes, others) in enumerate(_steps(taxonomy, asked, steps, generator)):
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * (1 - step / steps)
            place = np.full(len(taxonomy), -1)
            place[others] = np.arange(len(others))
            are_above, are_left_out = (
                _table(found.of(nodes), place, len(nodes), len(others)) for found in (known, every)
            )
            are_left_out[torch.arange(len(nodes)), torch.from_numpy(place[nodes])] = True
            rows = torch.from_numpy(others)
            points = table(rows)
            distances = _SHARPNESS * between(points[torch.from_numpy(place[nodes])], points)
            least = torch.logsumexp((-distances).masked_fill(are_left_out, -torch.inf), 1)
            most = torch.logsumexp(distances.masked_fill(~are_above, -torch.inf), 1)
            optimizer.zero_grad()
            F.softplus(least + most).mean().backward()
            optimizer.step()
            bar.advance()
    points = table.weight.detach()
    return TreeVectors(
        taxonomy.nodes, (points if euclidean else _in_ball(points)).numpy(), euclidean
    )


def reconstruction(
    vectors: TreeVectors, taxonomy: Taxonomy, pairs: Pairs | None = None
) -> dict[str, float]:
    """How well ancestors stand out among all nodes by their distance.

    A node's ancestors are ranked among the nodes that are none; ties count against them.

    Args:
        vectors: Of all nodes.
        taxonomy: The tree.
        pairs: Ancestors that are looked for; None: all. The others are left out of the ranking.

    Returns:
        `mean_rank` over the pairs, 1 at best, and `map`, the mean over nodes of the average
        precision, 1 at best.
    """
    every, _ = ancestor_pairs(taxonomy)
    asked = every if pairs is None else pairs
    ranks: list[float] = []
    precisions: list[float] = []
    nodes = np.unique(asked.nodes)
    for start in range(0, len(nodes), _ASKED_AT_ONCE):
        some = nodes[start : start + _ASKED_AT_ONCE]
        distances = vectors.distances(some)
        others = distances.copy()
        above = every.of(some)
        others[above.nodes, above.ancestors] = np.inf
        others[np.arange(len(some)), some] = np.inf
        others.sort(1)
        wanted = asked.of(some)
        for row in range(len(some)):
            own = np.sort(distances[row, wanted.ancestors[wanted.nodes == row]])
            nearer = np.searchsorted(others[row], own, side="right")
            ranks += (nearer + 1.0).tolist()
            place = np.arange(1, len(own) + 1)
            precisions.append(float((place / (place + nearer)).mean()))
    return {
        "mean_rank": float(np.mean(ranks)),
        "map": float(np.mean(precisions)),
    }


def _steps(
    taxonomy: Taxonomy, asked: npt.NDArray[np.int64], steps: int, generator: torch.Generator
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Of each step the nodes that are asked about, and those that they are compared with."""
    count = len(taxonomy)
    if count <= _ALL_NODES:
        every = np.arange(count)
        left = np.zeros(0, np.int64)
        for _ in range(steps):
            if not len(left):
                left = asked[torch.randperm(len(asked), generator=generator).numpy()]
            yield left[:_NODES_PER_STEP], every
            left = left[_NODES_PER_STEP:]
        return
    order = _depth_first(taxonomy)
    order = order[np.isin(order, asked)]
    starts = np.arange(0, len(order), _NODES_PER_STEP)
    left = np.zeros(0, np.int64)
    above = taxonomy.ancestors
    for _ in range(steps):
        if not len(left):
            left = starts[torch.randperm(len(starts), generator=generator).numpy()]
            # So that the same nodes are not always asked about together.
            shift = int(torch.randint(len(order), (), generator=generator))
        nodes = np.roll(order, shift)[left[0] : left[0] + _NODES_PER_STEP]
        left = left[1:]
        drawn = torch.randint(count, (_DRAWN_NODES,), generator=generator).numpy()
        near = [np.concatenate([above[node], taxonomy.children[node]]) for node in nodes]
        yield nodes, np.unique(np.concatenate([nodes, drawn, *near]))


def _depth_first(taxonomy: Taxonomy) -> npt.NDArray[np.int64]:
    """Nodes so that those below one follow it; of several ways the first."""
    seen, found = np.zeros(len(taxonomy), bool), []
    waiting = taxonomy.top[::-1].tolist()
    while waiting:
        node = waiting.pop()
        if not seen[node]:
            seen[node] = True
            found.append(node)
            waiting += taxonomy.children[node][::-1].tolist()
    return np.array(found)


def _table(pairs: Pairs, place: npt.NDArray[np.int64], rows: int, columns: int) -> Tensor:
    """Which pairs there are, bool (rows, columns)."""
    table = torch.zeros((rows, columns), dtype=torch.bool)
    table[torch.from_numpy(pairs.nodes), torch.from_numpy(place[pairs.ancestors])] = True
    return table


def _straight(first: Tensor, second: Tensor) -> Tensor:
    return _squares(first, second).sqrt()


def _of_tangents(first: Tensor, second: Tensor) -> Tensor:
    """Distances in the ball of points by their tangent vectors, float64 (A, B)."""
    return _hyperbolic(
        _in_ball(first), _in_ball(second), *(_stretch(each) for each in (first, second))
    )


def _of_ball_points(first: Tensor, second: Tensor) -> Tensor:
    """The same of points of the ball."""
    stretches = (1 / (1 - (each * each).sum(1)).clamp(min=_LEAST) for each in (first, second))
    return _hyperbolic(first, second, *stretches)


def _hyperbolic(first: Tensor, second: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Distances, by the points and what stretches lengths at each, 1 / (1 - r^2)."""
    apart = 2 * _squares(first, second) * one[:, None] * other
    # The inverse of cosh at 1 + apart, which has a slope at 0.
    return torch.log1p(apart + (apart * (apart + 2)).sqrt())


def _squares(first: Tensor, second: Tensor) -> Tensor:
    sums = (first * first).sum(1)[:, None] + (second * second).sum(1)
    return (sums - 2 * first @ second.T).clamp(min=_LEAST)


def _lengths(tangents: Tensor) -> Tensor:
    return (tangents * tangents).sum(-1, keepdim=True).clamp(min=_LEAST).sqrt()


def _in_ball(tangents: Tensor) -> Tensor:
    """Points of the ball, as far from its middle as their tangent vectors are long."""
    lengths = _lengths(tangents)
    return tangents * (torch.tanh(lengths / 2) / lengths)


def _stretch(tangents: Tensor) -> Tensor:
    """1 / (1 - r^2) at the points, without rounding r first."""
    return torch.cosh(_lengths(tangents).squeeze(-1) / 2) ** 2
