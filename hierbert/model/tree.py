"""Documents that have a path in a tree of labels, or several paths."""

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .classification_head import ClassificationHead, LabelRule, register_labels
from .configuration_hierbert import HierBertConfig
from .heads import Answered, Structure
from .label_tree import LabelTree

DECISIONS = ("expected_f1", "leaf", "path")
# Of nodes that are neither in the answer nor beside it, those of less are not told.
_LEAST_TOLD = 0.01


@dataclass(frozen=True)
class TreeSettings:
    """What `HierBertConfig.label_tree` says; C nodes, whose names are in `id2label`.

    Attributes:
        parents: Of each node the numbers of its parents; none at the top.
        stops: Inner nodes at which an answer may end.
        several: Whether a document may have several paths; those whose probability reaches the
            config's thresholds.
        of_paths: Whether one path's softmax is over whole paths, not over siblings.
        decision: Which node of one path is the answer: "leaf", the likeliest leaf; "path", the last
            on the way from likeliest child to likeliest child whose probability is at least
            `min_probability`; "expected_f1", the one with the highest sum over its path of
            probability less `cost`, which stops where it is unsure of what is below.
        min_probability: See there.
        cost: See there.
        temperatures: What logits of each level are divided by, from the top; those below the last
            as it is. None: by 1.
        adjustment: Added to logits of each node while they are learnt, so that rare children are
            not passed over; None: nothing.
        names: What each node is called; None: as in `id2label`.
        read_names: Whether, with a frozen encoder, what nodes are called has a part in the sum.
    """

    parents: list[list[int]]
    stops: list[int] = field(default_factory=list)
    several: bool = False
    decision: str = "expected_f1"
    min_probability: float = 0.5
    cost: float = 0.4
    temperatures: list[float] | None = None
    adjustment: list[float] | None = None
    names: list[str] | None = None
    read_names: bool = False
    of_paths: bool = False

    @classmethod
    def of(cls, config: HierBertConfig) -> "TreeSettings":
        """Those of a config; a ValueError where one is not allowed."""
        given = config.label_tree or {}
        unknown = set(given) - {one.name for one in fields(cls)}
        if "parents" not in given or unknown:
            raise ValueError(
                f"label_tree has {', '.join(sorted(given)) or 'nothing'}; it needs parents, and "
                f"allowed are {', '.join(one.name for one in fields(cls))}"
            )
        found = cls(**given)
        try:
            found._check(config.num_labels)
        except TypeError as error:
            raise ValueError(f"label_tree holds what is not allowed: {error}") from None
        return found

    def _check(self, nodes: int) -> None:
        lists = [self.stops, *self.parents]
        if not all(isinstance(own, list) for own in lists) or any(
            type(number) is not int for own in lists for number in own
        ):
            raise ValueError("label_tree: parents are not allowed: a list of numbers for each node")
        for name in ("parents", "adjustment", "names"):
            own = getattr(self, name)
            if own is not None and len(own) != nodes:
                raise ValueError(f"label_tree: {name} are {len(own)}, but there are {nodes} labels")
        if self.decision not in DECISIONS:
            raise ValueError(
                f"label_tree: decision={self.decision!r} is not allowed; choose from "
                f"{', '.join(DECISIONS)}"
            )
        for name in ("min_probability", "cost"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"label_tree: {name}={getattr(self, name)} is not allowed: 0 to 1")
        if self.temperatures is not None and not all(0 < t < torch.inf for t in self.temperatures):
            raise ValueError("label_tree: temperatures are not allowed: finite and above 0")

    def as_config(self) -> dict[str, Any]:
        """As the config holds them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def tree(self) -> LabelTree:
        """The tree."""
        # Made while answering, it is read where gradients are too.
        with torch.inference_mode(False):
            return LabelTree(self.parents, self.stops, self.several, self.of_paths)

    def answers(self, logits: Tensor, rule: LabelRule) -> Tensor:
        """Which nodes the answers to documents have, closed under parents, bool (D, C).

        Args:
            logits: Over the temperatures, float (D, C).
            rule: Of it thresholds are read for several paths, `min_probability` for one, and depth.
        """
        tree = self.tree
        shares = tree.probabilities(logits)
        if self.several:
            found = tree.closed(
                shares.double() >= torch.tensor(rule.thresholds, dtype=torch.float64)
            )
        else:
            node = self._ends(logits, shares, rule.min_probability)[:, None]
            found = tree.closed(node == torch.arange(len(tree)))
        return found if rule.depth is None else found & (tree.levels <= rule.depth)

    def _ends(self, logits: Tensor, shares: Tensor, least: float | None) -> Tensor:
        """The last node of each answer, int64 (D,); -1 for no node."""
        if least is not None or self.decision == "path":
            return self.tree.greedy(
                logits, shares, self.min_probability if least is None else least
            )
        if self.decision == "leaf":
            return shares.masked_fill(~self.tree.is_leaf, -1.0).argmax(1)
        return (self.tree.summed(shares) - self.cost * self.tree.levels).argmax(1)

    def divisors(self) -> Tensor:
        """What the logits of each node are divided by, float64 (C,), or (1,) for all."""
        if self.temperatures is None:
            return torch.ones(1, dtype=torch.float64)
        levels = self.tree.levels.clamp(max=len(self.temperatures))
        return torch.tensor(self.temperatures, dtype=torch.float64)[levels - 1]


@register_labels("tree")
class TreeHead(ClassificationHead):
    """Document vectors to logits of nodes, of which each document has those of a path."""

    title = "tree"
    own_settings = frozenset(["top_labels", "depth", "min_probability"])
    member_weights: Tensor

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        self._settings = TreeSettings.of(config)
        self._read_from = config.label_tree
        if self.logit_weights is not None:
            shape = len(self.logit_weights), config.num_labels
            self.register_buffer("member_weights", torch.ones(shape))

    def weight_of(self, member: str) -> Tensor:
        """What a member's logits are multiplied by: its weight, more or less of it by the level."""
        weights = self.logit_weights or {}
        # By name: a config keeps no order.
        own = self.member_weights[sorted(weights).index(member)].float()
        return weights[member] * own

    @classmethod
    def temperatures(cls, config: HierBertConfig) -> Tensor:
        """Of each node that of its level, float64 (C,) or (1,)."""
        return TreeSettings.of(config).divisors()

    def calibrated(self, scores: Tensor, config: HierBertConfig) -> Tensor:
        """Logits over the temperatures of their levels."""
        return scores / self._now(config).divisors().to(scores)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each node, of logits float (..., C)."""
        rows = logits.float().reshape(-1, logits.shape[-1])
        return self._settings.tree.probabilities(rows).view(logits.shape)

    def answer(
        self, answered: Answered, config: HierBertConfig, options: LabelRule
    ) -> dict[str, Any]:
        """The path, or paths, that a document's logits, float (C,), say, and `probabilities`.

        These are of the nodes of the answer, of all that stand beside them, and of others from 0.01
        on. Of `top_labels` each is a node at which documents end.
        """
        settings = self._now(config)
        logits = answered.scores[self.name]
        shares = self.probabilities(logits)
        nodes = settings.answers(logits[None].float(), options)[0].nonzero()[:, 0].tolist()
        answer = self.worded(nodes, shares, config)
        told = dict.fromkeys(sorted(nodes, key=lambda node: (-float(shares[node]), node)))
        # Where there is no answer, what stands at the top.
        beside = settings.tree.siblings(nodes or settings.tree.path(0)[:1])
        beside += (shares >= _LEAST_TOLD).nonzero()[:, 0].tolist()
        told |= dict.fromkeys(sorted(beside, key=lambda node: (-float(shares[node]), node)))
        answer["probabilities"] = {config.id2label[node]: float(shares[node]) for node in told}
        if options.top_labels is not None:
            ends = settings.tree.may_end.nonzero()[:, 0].tolist()
            likeliest = sorted(ends, key=lambda node: -float(shares[node]))[: options.top_labels]
            answer["top_labels"] = [
                {"label": config.id2label[node], "probability": float(shares[node])}
                for node in likeliest
            ]
        return answer

    def worded(self, nodes: list[int], shares: Tensor, config: HierBertConfig) -> dict[str, Any]:
        """`label` and `path` of the nodes that an answer has; none is None and an empty path."""
        path = [config.id2label[node] for node in self._from_the_top(nodes)]
        return {"label": path[-1] if path else None, "path": path}

    def answered_labels(self, logits: Tensor, options: LabelRule) -> list[int]:
        """The last nodes of the answer, likeliest first."""
        nodes = self._settings.answers(logits[None].float(), options)[0].nonzero()[:, 0].tolist()
        shares = self.probabilities(logits)
        return sorted(self._ends_of(nodes), key=lambda node: -float(shares[node]))

    def explained(self, logits: Tensor, labels: list[int], config: HierBertConfig) -> Tensor:
        """The logit of the probability of each of L nodes, float (R, L), of logits (R, C)."""
        tree = self._settings.tree.to(logits.device)
        found = tree.log_probabilities(logits.float())[:, labels]
        # Of what is certain it would have no end.
        found = found.clamp(max=-torch.finfo(found.dtype).eps)
        return found - torch.log(-torch.expm1(found))

    def losses(
        self, logits: Tensor, labels: Tensor, structure: Structure | None = None
    ) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of each document's path, float32 (D,), and which have one.

        Args:
            logits: float (D, C).
            labels: 0 and 1 for each node, closed under parents, float (D, C); NaN anywhere in its
                row leaves a document out.
            structure: Not read.
        """
        tree, scores, targets = (
            self._settings.tree.to(logits.device),
            logits.float(),
            labels.float(),
        )
        labelled = ~targets.isnan().any(1)
        # What is answered has nothing added.
        if self._settings.adjustment is not None and self.training:
            scores = scores + torch.tensor(self._settings.adjustment, device=scores.device)
        losses = tree.losses(scores, targets.masked_fill(~labelled[:, None], 0.0))
        return torch.where(labelled, losses, losses * 0.0), labelled

    def _now(self, config: HierBertConfig) -> TreeSettings:
        """The settings of a config, in which what is fitted changes and the tree stays."""
        if config.label_tree is not self._read_from:
            tree, self._settings = self._settings.tree, TreeSettings.of(config)
            self._settings.__dict__["tree"] = tree
            self._read_from = config.label_tree
        return self._settings

    def _from_the_top(self, nodes: list[int]) -> list[int]:
        levels = self._settings.tree.levels
        return sorted(nodes, key=lambda node: int(levels[node]))

    def _ends_of(self, nodes: list[int]) -> list[int]:
        """Those of them that are above no other."""
        above = {parent for node in nodes for parent in self._settings.parents[node]}
        return [node for node in nodes if node not in above]


@register_labels("tree_of_paths")
class TreeOfPathsHead(TreeHead):
    """Document vectors to logits of nodes, of which each document has those of several paths."""

    title = "tree with several paths"
    own_settings = frozenset(["top_labels", "depth", "threshold"])

    def worded(self, nodes: list[int], shares: Tensor, config: HierBertConfig) -> dict[str, Any]:
        """`labels`, the last nodes of the answer, likeliest first, and `paths` to each.

        Where nodes have several parents more paths follow, until each node of the answer is on one.
        """
        ends = sorted(self._ends_of(nodes), key=lambda node: -float(shares[node]))
        paths = [self._way_to(end, shares) for end in ends]
        # Of several parents each is shown, by a way of its own where it is on no other.
        for node in self._from_the_top(nodes)[::-1]:
            if not any(node in path for path in paths):
                paths.append(self._way_through(node, nodes, shares))
        return {
            "labels": [config.id2label[end] for end in ends],
            "paths": [[config.id2label[node] for node in path] for path in paths],
        }

    def _way_through(self, node: int, nodes: list[int], shares: Tensor) -> list[int]:
        """From the top down to a node, and on over some nodes to where they end."""
        way = self._way_to(node, shares)
        while below := [one for one in nodes if way[-1] in self._settings.parents[one]]:
            way.append(max(below, key=lambda one: float(shares[one])))
        return way

    def _way_to(self, node: int, shares: Tensor) -> list[int]:
        """From the top down to a node; of several parents by the likeliest."""
        way = [node]
        while above := self._settings.parents[way[-1]]:
            way.append(max(above, key=lambda parent: float(shares[parent])))
        return way[::-1]
