"""Labels that have parents: what the logits of its nodes say of a tree of labels.

Of one path a document, a softmax over siblings gives each node a probability under its parent
(conditional softmax, Plaud et al. 2024, "Revisiting Hierarchical Text Classification"), or one
softmax over whole paths, each with the sum of its nodes' logits: with logits at the leaves alone
that is a classifier that knows no tree, and nodes above them are what leaves share. Of several
paths each node has its own (conditional sigmoid). That of a node is the product of these from the
top down, so that no child is likelier than its parent. Nothing here loops over nodes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

_LEAST = torch.finfo(torch.float32).tiny


class LabelTree:
    """C nodes and their parents.

    Args:
        parents: Of each node the numbers of its parents; none at the top.
        stops: Inner nodes at which an answer may end too: that a document goes no further down is
            one more child of theirs, with a logit of 0.
        several: Whether a document may have several paths, and a node several parents.
        of_paths: Whether, of one path, the softmax is over whole paths.

    Raises:
        ValueError: A number is no node's, a circle, several parents where there is one path.
    """

    def __init__(
        self,
        parents: Sequence[Sequence[int]],
        stops: Sequence[int] = (),
        several: bool = False,
        of_paths: bool = False,
    ) -> None:
        self.several, self.of_paths, count = several, of_paths, len(parents)
        lengths = torch.tensor([len(own) for own in parents], dtype=torch.int64)
        flat = torch.tensor([one for own in parents for one in own], dtype=torch.int64)
        ends = torch.tensor([*stops], dtype=torch.int64)
        if not count or any(len(x) and not 0 <= x.min() <= x.max() < count for x in (flat, ends)):
            raise ValueError(f"parents and stops are not allowed: numbers of {count} nodes")
        if not several and int(lengths.max()) > 1:
            raise ValueError("a node with several parents is not allowed where there is one path")
        owners = torch.arange(count).repeat_interleave(lengths)
        self._pairs = _closure(lengths, flat)
        self.levels = self._pairs[0].bincount(minlength=count)
        """Of each node how many nodes its way from the top has, itself too, int64 (C,)."""
        if several:
            self.levels = _longest_ways(owners, flat, count)
        # Siblings share a number: their parent's, or that of the top.
        groups = torch.full((count,), count)
        groups[owners] = flat
        self.groups, self._group_count = groups, count + 1
        self.may_stop = torch.zeros(count + 1, dtype=torch.bool)
        self.may_stop[ends] = True
        self.is_leaf = torch.ones(count, dtype=torch.bool)
        self.is_leaf[flat] = False
        self.may_end = self.is_leaf | self.may_stop[:count]
        """Leaves, and inner nodes at which documents end, bool (C,)."""

    def __len__(self) -> int:
        return len(self.groups)

    def to(self, device: torch.device) -> "LabelTree":
        """It on a device."""
        if self.levels.device == device:
            return self
        moved = object.__new__(LabelTree)
        moved.__dict__.update(
            {
                name: value.to(device) if isinstance(value, Tensor) else value
                for name, value in vars(self).items()
            }
        )
        return moved

    def path(self, node: int) -> list[int]:
        """The nodes above a node, from the top, and itself; of several parents all of them."""
        owners, above = self._pairs
        own = above[slice(*torch.searchsorted(owners, torch.tensor([node, node + 1])).tolist())]
        found: list[int] = own[self.levels[own].argsort(stable=True)].tolist()
        return found

    def siblings(self, nodes: Sequence[int]) -> list[int]:
        """All nodes that share a parent with some, these too, ascending."""
        wanted = torch.zeros(self._group_count, dtype=torch.bool)
        wanted[self.groups[torch.tensor([*nodes], dtype=torch.int64)]] = True
        found: list[int] = wanted[self.groups].nonzero()[:, 0].tolist()
        return found

    def closed(self, nodes: Tensor) -> Tensor:
        """Which nodes some nodes are, or are above, bool (D, C) like these."""
        return self.summed(nodes.double(), upwards=True) > 0

    def summed(self, values: Tensor, upwards: bool = False) -> Tensor:
        """Of each node the sum over its way from the top; upwards: over all that are below it."""
        owners, above = self._pairs
        if upwards:
            owners, above = above, owners
        sums = torch.sparse_coo_tensor(
            torch.stack([owners, above]),
            torch.ones(len(owners), dtype=values.dtype, device=values.device),
            (len(self), len(self)),
            check_invariants=False,
        )
        return torch.sparse.mm(sums, values.T).T

    def conditional(self, logits: Tensor) -> Tensor:
        """Log probability of each node where its parents apply, float (D, C), of logits."""
        if self.several:
            return torch.nn.functional.logsigmoid(logits)
        logits = self._with_below(logits)
        return logits - self._normalizers(logits)[:, self.groups]

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Log probability that each node applies, float (D, C), of logits float (D, C)."""
        return self.summed(self.conditional(logits))

    def probabilities(self, logits: Tensor) -> Tensor:
        """The same as probabilities."""
        return self.log_probabilities(logits).exp()

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of each document in nats, float (D,).

        Args:
            logits: float (D, C).
            targets: 0 and 1 for each node, closed under parents, float (D, C).
        """
        if self.several:
            cells = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, targets, reduction="none"
            )
            return (cells * self.asked(targets)).sum(1)
        logits = self._with_below(logits)
        normalizers = self._normalizers(logits)
        # Each node of the path was chosen among its siblings; where it stops, that was chosen.
        return (targets * (logits - normalizers[:, self.groups])).sum(1).neg() + (
            self._stopped(targets) * normalizers
        ).sum(1)

    def asked(self, targets: Tensor) -> Tensor:
        """Which nodes a document decides on: those whose parents all apply, float (D, C)."""
        missed = self.summed(1 - targets) - (1 - targets)
        return (missed == 0).to(targets.dtype)

    def greedy(self, logits: Tensor, probabilities: Tensor, least: float) -> Tensor:
        """The deepest node on the way from child to likeliest child, int64 (D,).

        It goes down while a child has at least that probability; -1 where none at the top has.
        """
        conditional = self.conditional(logits)
        numbers = torch.arange(len(self), device=logits.device).expand_as(logits)
        highest = self._per_group(conditional, "amax", -torch.inf)[:, self.groups]
        # Of equal children the first.
        first = self._per_group(
            numbers.masked_fill(conditional < highest, len(self)), "amin", len(self)
        )
        missed = (numbers != first[:, self.groups]).to(logits.dtype)
        reached = (self.summed(missed) == 0) & (probabilities.double() >= least)
        depth, node = torch.where(reached, self.levels, 0).max(1)
        return node.masked_fill(depth == 0, -1)

    def _with_below(self, logits: Tensor) -> Tensor:
        """Where paths compete, the logit of all paths through a node, but for what is above it."""
        if not self.of_paths:
            return logits
        found = logits
        for level in range(int(self.levels.max()) - 1, 0, -1):
            is_above = (self.levels == level) & ~self.is_leaf
            ways = self._normalizers(found)[:, : len(self)]
            found = torch.where(is_above, logits + ways, found)
        return found

    def _stopped(self, targets: Tensor) -> Tensor:
        """At which groups a path stops though it could go on, float (D, G)."""
        inside = torch.cat([targets, targets.new_zeros(len(targets), 1)], 1)
        return inside * (self._sums(targets) == 0) * self.may_stop

    def _sums(self, values: Tensor) -> Tensor:
        """Of each group of siblings, float (D, G)."""
        found = values.new_zeros(len(values), self._group_count)
        return found.index_add(1, self.groups, values)

    def _per_group(self, values: Tensor, reduce: str, fill: float) -> Tensor:
        found = values.new_full((len(values), self._group_count), fill)
        return found.scatter_reduce(1, self.groups.expand_as(values), values, reduce)

    def _normalizers(self, logits: Tensor) -> Tensor:
        """Log of the sum of the exponentials of each group's logits, float (D, G)."""
        start = logits.new_full((self._group_count,), -torch.inf).masked_fill(self.may_stop, 0.0)
        highest = torch.maximum(self._per_group(logits.detach(), "amax", -torch.inf), start)
        highest = highest.masked_fill(highest == -torch.inf, 0.0)
        sums = self._sums((logits - highest[:, self.groups]).exp())
        # Not times 0 elsewhere: of logits all far below 0 it is infinite.
        sums = sums + (-highest).exp().masked_fill(~self.may_stop, 0.0)
        return highest + sums.clamp(min=_LEAST).log()


def _closure(lengths: Tensor, parents: Tensor) -> tuple[Tensor, Tensor]:
    """Each node with itself and all above it, by the node: int64 (M,) each."""
    count = len(lengths)
    starts, has_ways = lengths.cumsum(0) - lengths, int(lengths.max()) > 1
    keys = torch.arange(count) * (count + 1)
    found = [keys]
    # A way of more steps than there are nodes goes in a circle.
    for _ in range(count):
        nodes, above = keys // count, keys % count
        steps = lengths[above]
        if not steps.any():
            every = torch.cat(found).unique()
            return every // count, every % count
        before = steps.cumsum(0) - steps
        places = torch.arange(int(steps.sum())) + (starts[above] - before).repeat_interleave(steps)
        keys = nodes.repeat_interleave(steps) * count + parents[places]
        # Several ways of as many steps may lead to one node.
        keys = keys.unique() if has_ways else keys
        found.append(keys)
    raise ValueError("parents are not allowed: they go in a circle")


def _longest_ways(owners: Tensor, parents: Tensor, count: int) -> Tensor:
    """Of each node the nodes of the longest way from the top, itself too, int64 (C,)."""
    levels = torch.ones(count, dtype=torch.int64)
    while True:
        longer = levels.scatter_reduce(0, owners, levels[parents] + 1, "amax")
        if torch.equal(longer, levels):
            return levels
        levels = longer
