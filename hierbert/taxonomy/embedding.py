"""Vectors of the nodes of a tree in a few dimensions: near each other means near in the tree.

Points of a Poincaré ball (Nickel and Kiela 2017, *Poincaré Embeddings for Learning Hierarchical
Representations*): there is room for a tree's leaves in few dimensions, as circles grow
exponentially with their radius. A point is kept as a vector in the tangent space at the origin, as
long as its distance from there, so that nothing has to be projected and any optimizer will do. All
of a node's ancestors are to be nearer than any other node, which is one loss for the whole set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierbert.log import Progress
from hierbert.taxonomy.fit_checkpoint import FitCheckpoint
from hierbert.taxonomy.tree import Groups, Taxonomy, gathered

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


def ancestor_pairs(
    taxonomy: Taxonomy, held_out: float = 0.0, seed: int = 0
) -> tuple[Groups, Groups]:
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
    owners, nodes = above.owners, len(taxonomy)
    kept, out = (
        Groups.by_owner(owners[one], above.values[one], nodes) for one in (~is_out, is_out)
    )
    return kept, out


def fit_tree_vectors(
    taxonomy: Taxonomy,
    dimensions: int = 10,
    *,
    euclidean: bool = False,
    pairs: Groups | None = None,
    epochs: int = _EPOCHS,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> TreeVectors:
    """Find a point for each node such that its ancestors are nearer than all others.

    Args:
        taxonomy: K nodes.
        dimensions: d, of the points.
        euclidean: Find points of the plane instead, by the same loss.
        pairs: Which ancestors are known; the others of the closure are left out. None: all.
        epochs: How often each node is asked about.
        seed: Of first points and order.
        checkpoint: File to go on from where it is of this very fit, written every half minute and
            at the end.
    """
    every, _ = ancestor_pairs(taxonomy)
    known = every if pairs is None else pairs
    order = _depth_first(taxonomy)
    order = order[known.lengths[order] > 0]
    steps = -(-len(order) // _NODES_PER_STEP)
    first = torch.rand((len(taxonomy), dimensions), generator=_drawing(seed, -1)).double()
    table = nn.Embedding.from_pretrained((2 * first - 1) * _FIRST_RANGE, freeze=False, sparse=True)
    # Of each step only the rows that it reads are moved.
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=_LEARNING_RATE)
    own = [taxonomy.fingerprint, known.offsets.tobytes(), known.values.tobytes(), dimensions]
    kept = FitCheckpoint(checkpoint, [*own, euclidean, epochs, seed])
    done = _restore(kept, table, optimizer, steps)
    between = _straight if euclidean else _of_tangents
    words = "fitting points of the plane" if euclidean else "fitting points of the ball"
    with Progress(epochs * steps, words, unit="steps", initial=done * steps) as bar:
        for epoch in range(done, epochs):
            for number, (nodes, others) in enumerate(_steps(taxonomy, order, seed, epoch)):
                share = (epoch * steps + number) / (epochs * steps)
                optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - share)
                place = np.full(len(taxonomy), -1)
                place[others] = np.arange(len(others))
                are_above, are_left_out = (
                    _table(found, nodes, place, len(others)) for found in (known, every)
                )
                are_left_out[torch.arange(len(nodes)), torch.from_numpy(place[nodes])] = True
                points = table(torch.from_numpy(others))
                distances = _SHARPNESS * between(points[torch.from_numpy(place[nodes])], points)
                least = torch.logsumexp((-distances).masked_fill(are_left_out, -torch.inf), 1)
                most = torch.logsumexp(distances.masked_fill(~are_above, -torch.inf), 1)
                optimizer.zero_grad()
                F.softplus(least + most).mean().backward()
                optimizer.step()
                bar.advance()
            moments = optimizer.state[table.weight]
            ended = epoch + 1 == epochs
            kept.write(epoch + 1, {"points": table.weight.detach(), **moments}, at_once=ended)
    points = table.weight.detach()
    return TreeVectors(
        taxonomy.nodes, (points if euclidean else _in_ball(points)).numpy(), euclidean
    )


def _restore(
    kept: FitCheckpoint, table: nn.Embedding, optimizer: torch.optim.Optimizer, steps: int
) -> int:
    """Put what was kept into both; gives the epochs that are done."""
    if (found := kept.read()) is None:
        return 0
    epochs, state = found
    if state["points"].shape != table.weight.shape:
        return 0
    with torch.no_grad():
        table.weight.copy_(state.pop("points"))
    optimizer.state[table.weight] = {"step": epochs * steps, **state}
    return epochs


def reconstruction(
    vectors: TreeVectors, taxonomy: Taxonomy, pairs: Groups | None = None
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
    nodes = np.flatnonzero(asked.lengths)
    for start in range(0, len(nodes), _ASKED_AT_ONCE):
        some = nodes[start : start + _ASKED_AT_ONCE]
        distances = vectors.distances(some)
        others = distances.copy()
        above, owners = gathered(every, some)
        others[owners, above] = np.inf
        others[np.arange(len(some)), some] = np.inf
        for row in range(len(some)):
            own = np.sort(distances[row, asked[some[row]]])
            # Of each other node how many of them are nearer, and of each of them how many others.
            behind = np.searchsorted(own, others[row])
            nearer = np.bincount(behind, minlength=len(own) + 1)[:-1].cumsum()
            ranks += (nearer + 1.0).tolist()
            place = np.arange(1, len(own) + 1)
            precisions.append(float((place / (place + nearer)).mean()))
    return {
        "mean_rank": float(np.mean(ranks)),
        "map": float(np.mean(precisions)),
    }


def _drawing(seed: int, epoch: int) -> torch.Generator:
    """Of each epoch its own, so that one can be gone on with."""
    mixed = np.random.SeedSequence([seed, epoch + 1]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0] >> np.uint64(1)))


def _steps(
    taxonomy: Taxonomy, order: npt.NDArray[np.int64], seed: int, epoch: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Of each step of an epoch the nodes that are asked about, and those to compare them with.

    Args:
        taxonomy: The tree.
        order: The nodes that are asked about, depth first.
        seed: Of the order and of what is drawn.
        epoch: From 0.
    """
    generator, count = _drawing(seed, epoch), len(taxonomy)
    if count <= _ALL_NODES:
        mixed = order[torch.randperm(len(order), generator=generator).numpy()]
        for start in range(0, len(order), _NODES_PER_STEP):
            yield mixed[start : start + _NODES_PER_STEP], np.arange(count)
        return
    # So that the same nodes are not always asked about together.
    shifted = np.roll(order, int(torch.randint(len(order), (), generator=generator)))
    starts = np.arange(0, len(order), _NODES_PER_STEP)
    for start in starts[torch.randperm(len(starts), generator=generator).numpy()]:
        nodes = shifted[start : start + _NODES_PER_STEP]
        drawn = torch.randint(count, (_DRAWN_NODES,), generator=generator).numpy()
        above, below = (gathered(one, nodes)[0] for one in (taxonomy.ancestors, taxonomy.children))
        yield nodes, np.unique(np.concatenate([nodes, drawn, above, below]))


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


def _table(
    groups: Groups, nodes: npt.NDArray[np.int64], place: npt.NDArray[np.int64], columns: int
) -> Tensor:
    """Whose ancestors are at which place, bool (nodes, columns)."""
    ancestors, rows = gathered(groups, nodes)
    table = torch.zeros((len(nodes), columns), dtype=torch.bool)
    table[torch.from_numpy(rows), torch.from_numpy(place[ancestors])] = True
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
