"""Nodes that have parents: a tree, or a graph without circles where some have several.

What follows from the parents is computed when it is asked for, all of it as flat arrays. Invariant:
no node is its own ancestor, ids are strings and differ, and nothing here recurses.
"""

import graphlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hierbert.errors import DataError, quote, quote_all

_Integers = npt.NDArray[np.int64]

MOST_PAIRS = 50_000_000
"""A graph with more pairs of a node and an ancestor is refused: 50 million take 0.8 GB."""


@dataclass(frozen=True)
class Groups:
    """Lists of nodes, one for each node, in two arrays.

    Attributes:
        offsets: Where each list begins, and the end of the last, int64 (K + 1,).
        values: The lists one after the other, int64 (M,).
    """

    offsets: _Integers
    values: _Integers

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> "Groups":
        """From K lists."""
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        flat = np.fromiter((one for each in lists for one in each), np.int64, int(lengths.sum()))
        return cls(_offsets(lengths), flat)

    @classmethod
    def by_owner(cls, owners: _Integers, values: _Integers, nodes: int) -> "Groups":
        """From values, and of each whose list it is in, ascending."""
        return cls(_offsets(np.bincount(owners, minlength=nodes)), values)

    @property
    def lengths(self) -> _Integers:
        """Of each list, int64 (K,)."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> _Integers:
        """Of each value the node whose list it is in, int64 (M,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def __getitem__(self, node: int) -> _Integers:
        return self.values[self.offsets[node] : self.offsets[node + 1]]


@dataclass(frozen=True)
class Ancestors(Groups):
    """All nodes above each, the nearest first.

    Attributes:
        distances: Of each value the fewest steps up to it, int64 (M,); a parent's is 1.
    """

    distances: _Integers


class Taxonomy:
    """Nodes and their parents.

    Args:
        nodes: K ids, each once.
        parents: Of each node the numbers of its parents, its place among `nodes`; none at the top.
        names: What each is called; by default its id. Names may repeat.
        texts: What each is, in words; None for nothing.

    Raises:
        DataError: No node, an id that repeats, a circle.
    """

    def __init__(
        self,
        nodes: Iterable[str],
        parents: Sequence[Sequence[int]],
        names: Sequence[str] | None = None,
        texts: Sequence[str | None] | None = None,
    ) -> None:
        self.nodes = tuple(nodes)
        self.names = self.nodes if names is None else tuple(names)
        self.texts = (None,) * len(self.nodes) if texts is None else tuple(texts)
        self.parents = Groups.of(parents)
        if not self.nodes:
            raise DataError("a taxonomy has no node")
        self.numbers: Mapping[str, int] = {node: place for place, node in enumerate(self.nodes)}
        if len(self.numbers) < len(self.nodes):
            twice, _ = Counter(self.nodes).most_common(1)[0]
            raise DataError(f"a taxonomy has the node {quote(twice)} twice")
        self._levels = self._sorted()

    def __len__(self) -> int:
        return len(self.nodes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taxonomy) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """Of nodes, names and parents, whatever their order is in the file."""
        rows = sorted(
            (node, self.names[place], sorted(self.nodes[one] for one in self.parents[place]))
            for place, node in enumerate(self.nodes)
        )
        return hashlib.sha256(repr(rows).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def is_tree(self) -> bool:
        """Whether no node has several parents."""
        return int(self.parents.lengths.max()) <= 1

    @cached_property
    def children(self) -> Groups:
        """Of each node, in the order of the nodes."""
        order = np.argsort(self.parents.values, kind="stable")
        parents, children = self.parents.values[order], self.parents.owners[order]
        return Groups.by_owner(parents, children, len(self))

    @property
    def top(self) -> _Integers:
        """The nodes without a parent."""
        return np.flatnonzero(self.parents.lengths == 0)

    @property
    def leaves(self) -> _Integers:
        """The nodes without a child."""
        return np.flatnonzero(self.children.lengths == 0)

    @cached_property
    def levels(self) -> _Integers:
        """Of each node how far below the top it is by the longest way, int64 (K,), from 1."""
        found = np.zeros(len(self), np.int64)
        for level, nodes in enumerate(self._levels, start=1):
            found[nodes] = level
        return found

    @cached_property
    def ancestors(self) -> Ancestors:
        """The closure: all nodes above each, itself left out.

        Raises:
            DataError: There are more than `MOST_PAIRS`.
        """
        starts, lengths = np.zeros(len(self), np.int64), np.zeros(len(self), np.int64)
        values, distances = np.zeros(1024, np.int64), np.zeros(1024, np.int64)
        used = 0
        for nodes in self._levels[1:]:
            parents, owners = gathered(self.parents, nodes)
            total = used + len(parents) + int(lengths[parents].sum())
            if total > MOST_PAIRS:
                raise DataError(
                    f"a taxonomy of {len(self):,} nodes is so deep that it has more than "
                    f"{MOST_PAIRS:,} pairs of a node and an ancestor"
                )
            places = _places(starts[parents], lengths[parents])
            found = np.concatenate([parents, values[places]])
            steps = np.concatenate([np.ones(len(parents), np.int64), distances[places] + 1])
            owner = np.concatenate([owners, np.repeat(owners, lengths[parents])])
            if not self.is_tree:
                # The shortest of several ways to an ancestor.
                order = np.lexsort((steps, found, owner))
                owner, found, steps = owner[order], found[order], steps[order]
                new = np.ones(len(owner), bool)
                new[1:] = (np.diff(owner) != 0) | (np.diff(found) != 0)
                owner, found, steps = owner[new], found[new], steps[new]
            order = np.lexsort((found, steps, owner))
            if used + len(found) > len(values):
                room = 2 * (used + len(found))
                values, distances = np.resize(values, room), np.resize(distances, room)
            values[used : used + len(found)] = found[order]
            distances[used : used + len(found)] = steps[order]
            lengths[nodes] = np.bincount(owner, minlength=len(nodes))
            starts[nodes] = used + np.cumsum(lengths[nodes]) - lengths[nodes]
            used += len(found)
        places = _places(starts, lengths)
        return Ancestors(_offsets(lengths), values[places], distances[places])

    def path(self, node: int) -> list[int]:
        """From the top down to a node, itself the last; of several parents the highest."""
        found = [node]
        while len(above := self.parents[found[-1]]):
            found.append(int(above[np.argmin(self.levels[above])]))
        return found[::-1]

    def _sorted(self) -> list[_Integers]:
        """Nodes by the longest way from the top: each stands behind all that are above it."""
        sorter: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter()
        for node in range(len(self)):
            sorter.add(node, *self.parents[node].tolist())
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            # It begins and ends with the same node, each above the next.
            circle = [self.nodes[node] for node in error.args[1][:-1]]
            raise DataError(
                f"a taxonomy goes in a circle: each of {quote_all(circle)} is above the next, and "
                "the last above the first"
            ) from error
        found = []
        while sorter.is_active():
            ready = sorter.get_ready()
            found.append(np.array(sorted(ready), np.int64))
            sorter.done(*ready)
        return found


def _offsets(lengths: npt.NDArray[np.integer]) -> _Integers:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _places(starts: _Integers, lengths: _Integers) -> _Integers:
    """The places of runs of so many that begin there, one run after the other."""
    shifts = starts - (np.cumsum(lengths) - lengths)
    return np.arange(int(lengths.sum())) + np.repeat(shifts, lengths)


def gathered(groups: Groups, nodes: _Integers) -> tuple[_Integers, _Integers]:
    """The lists of some nodes one after the other, and of each value whose of them it is."""
    lengths = groups.lengths[nodes]
    places = _places(groups.offsets[nodes], lengths)
    return groups.values[places], np.repeat(np.arange(len(nodes)), lengths)
