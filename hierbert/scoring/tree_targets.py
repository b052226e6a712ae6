"""Labels of a tree as what a linear model is fitted to: of each document the choices on its way.

A document decides between the children of the nodes it belongs to, and says nothing of the others:
of a thousand nodes those are some tens.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hierbert.model.label_tree import LabelTree
from hierbert.scoring.logistic import Floats, Targets

_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TreeTargets(Targets):
    """The paths of D documents, closed under ancestors; `several` and class weights say nothing."""

    tree: LabelTree = field(kw_only=True)
    # Added to the scores of each node while they are learnt, float64 (C,).
    adjustment: Floats | float = 0.0

    def __getitem__(self, rows: npt.NDArray[Any]) -> "TreeTargets":
        labels = self.labels[rows]
        return TreeTargets(labels, self.several, tree=self.tree, adjustment=self.adjustment)

    def losses(self, scores: Floats) -> Floats:
        """Negative log-likelihood of each document's path in nats, float64 (D,)."""
        return self._losses(scores)[0]

    def loss_and_errors(self, scores: Floats) -> tuple[float, Floats]:
        """The sum of all negative log-likelihoods in nats, and its gradient, float64 (D, C)."""
        losses, shares = self._losses(scores)
        rows, columns = self._cells
        errors = np.zeros_like(scores)
        errors[rows, columns] = shares - self.labels[rows, columns]
        return float(losses.sum()), errors

    def choices_of(self, scores: Floats, level: int) -> tuple[Floats, _Integers]:
        """What documents decide at a level: scores (M, N), and which is right, int64 (M,).

        The last column is that it is none of them; what there is not to choose has -inf.
        """
        rows, columns = self._cells
        starts, stops = self._choices
        lengths = np.diff(starts, append=len(rows))
        own = np.flatnonzero(self.tree.levels.numpy()[columns[starts]] == level)
        places = np.arange(lengths[own].max() if len(own) else 0)
        inside = places < lengths[own, None]
        cells = np.where(inside, starts[own, None] + places, 0)
        found = np.full((len(own), len(places) + 1), -np.inf)
        found[:, :-1] = np.where(inside, scores[rows[cells], columns[cells]], -np.inf)
        found[stops[own], -1] = 0.0
        right = inside & (self.labels[rows[cells], columns[cells]] == 1)
        none = ~right.any(1, keepdims=True)
        return found, np.concatenate([right, none], 1).argmax(1)

    def _losses(self, scores: Floats) -> tuple[Floats, Floats]:
        """Losses, and of each cell the probability under its parent."""
        rows, columns = self._cells
        own = (scores + self.adjustment)[rows, columns]
        starts, stops = self._choices
        highest = np.maximum(np.maximum.reduceat(own, starts), np.where(stops, 0.0, -np.inf))
        lengths = np.diff(starts, append=len(own))
        shares = np.exp(own - np.repeat(highest, lengths))
        # That it goes no further, where it may, has a score of 0.
        sums = np.add.reduceat(shares, starts) + np.where(stops, np.exp(-highest), 0.0)
        shares /= np.repeat(sums, lengths)
        chosen = np.add.reduceat(self.labels[rows, columns] * own, starts)
        each = highest + np.log(sums) - chosen
        losses: Floats = np.bincount(rows[starts], weights=each, minlength=len(scores))
        return losses, shares

    @cached_property
    def _cells(self) -> tuple[_Integers, _Integers]:
        """Documents and nodes of all that is decided, (M,) each; a choice's are side by side."""
        asked = self.tree.asked(torch.from_numpy(self.labels)).numpy()
        rows, columns = np.nonzero(asked)
        order = np.lexsort((columns, self._groups[columns], rows))
        return rows[order], columns[order]

    @cached_property
    def _choices(self) -> tuple[_Integers, npt.NDArray[np.bool_]]:
        """Where each choice begins among the cells, and whether it may be none of them."""
        rows, columns = self._cells
        groups = self._groups[columns]
        starts = np.flatnonzero(np.diff(rows, prepend=-1) | np.diff(groups, prepend=-1))
        if self.tree.several:
            return starts, np.ones(len(starts), dtype=bool)
        return starts, self.tree.may_stop.numpy()[groups[starts]]

    @property
    def _groups(self) -> _Integers:
        """Of each node its choice, int64 (C,); of several paths each node is one."""
        groups: _Integers = self.tree.groups.numpy()
        return np.arange(len(groups)) if self.tree.several else groups
