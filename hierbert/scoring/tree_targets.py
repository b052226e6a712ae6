"""Labels of a tree as what a linear model is fitted to: of each document the choices on its way.

A document decides between the children of the nodes it belongs to, and says nothing of the others:
of a thousand nodes those are some tens.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import logsumexp, softmax

from hierbert.model.label_tree import LabelTree
from hierbert.scoring.logistic import (
    FEW_DOCUMENTS,
    FEWEST_FOLDS,
    Fitted,
    Floats,
    Rows,
    Targets,
    fit_logistic,
    one_thread,
)

_Integers = npt.NDArray[np.int64]
# So few documents choose no penalty of their own.
_FEW_OF_A_CHOICE = 40
_USUAL = 1.0


@dataclass(frozen=True)
class TreeTargets(Targets):
    """The paths of D documents, closed under ancestors; `several` and class weights say nothing."""

    tree: LabelTree = field(kw_only=True)
    # Added to the scores of each node while they are learnt, float64 (C,).
    adjustment: Floats | float = 0.0
    # Whose choices alone are read; None: all.
    level: int | None = None

    def __getitem__(self, rows: npt.NDArray[Any]) -> "TreeTargets":
        return replace(self, labels=self.labels[rows])

    def parts(self) -> list[tuple[Targets, npt.NDArray[np.bool_]]]:
        """The choices of each level: what says most of the top need not do so below.

        Where whole paths compete there is one choice.
        """
        if self.tree.of_paths:
            return []
        levels = self.tree.levels.numpy()
        each = range(1, int(levels.max()) + 1)
        found = [(replace(self, level=level), levels == level) for level in each]
        return [(part, nodes) for part, nodes in found if len(part._cells[0])]

    def fit(
        self,
        inputs: Any,
        folds: _Integers,
        units: _Integers | None = None,
        few: int | None = None,
    ) -> Fitted:
        """A logistic regression of whole paths, or of each choice by the documents that make it.

        The loss is a sum over choices that share no weights. Each has the penalty under which its
        held-out documents are likeliest; one of few documents takes that of the choice above.
        """
        if self.tree.of_paths:
            return super().fit(inputs, folds, units, few)
        with one_thread():
            return self._fit(Rows(inputs, units), folds, few)

    def _fit(self, rows: Rows, folds: _Integers, few: int | None) -> Fitted:
        learnt = np.zeros((rows.inputs.shape[1] + 1, self.labels.shape[1]))
        held_out = np.zeros_like(self.labels)
        strengths: dict[int, float] = {}
        for choice in self._each_choice():
            strength = next((strengths[one] for one in choice.above if one in strengths), _USUAL)
            some, own = choice.documents, choice.targets
            if len(some) >= 2 and own.labels.shape[1] + own.may_stop >= 2:
                own_folds = folds[some]
                if len(np.unique(own_folds)) < FEWEST_FOLDS:
                    own_folds = np.arange(len(some)) % len(some)
                fitted = fit_logistic(
                    rows[some].inputs,
                    own,
                    own_folds,
                    rows[some].units,
                    FEW_DOCUMENTS if few is None else few,
                    strength=strength if len(some) < _FEW_OF_A_CHOICE else None,
                )
                strength = fitted.strength
                found = np.vstack([fitted.weights, fitted.bias])
                learnt[:, choice.nodes] = found
                scores = rows.scores(found)[0]
                scores[some] = fitted.held_out
                held_out[:, choice.nodes] = scores
            strengths[choice.group] = strength
        loss = float(self.losses(held_out).mean())
        return Fitted(learnt[:-1], learnt[-1], held_out, _USUAL, loss)

    def _each_choice(self) -> Iterator["_Choice"]:
        """All choices, those at the top first."""
        rows, columns = self._cells
        starts, stops = self._choices
        groups = self._groups[columns[starts]]
        levels = self.tree.levels.numpy()
        parents = self.tree.groups.numpy()
        of_nodes = self._groups
        order = np.lexsort((rows[starts], groups, levels[columns[starts]]))
        ends = np.flatnonzero(np.diff(groups[order], append=-1)) + 1
        for first, last in itertools.pairwise([0, *ends]):
            own = order[first:last]
            group, documents = int(groups[own[0]]), rows[starts[own]]
            nodes = np.flatnonzero(of_nodes == group)
            labels = self.labels[documents][:, nodes]
            targets = _ChoiceTargets(labels, False, may_stop=bool(stops[own[0]]))
            # The choice in which the parent of these was chosen.
            parent = int(parents[nodes[0]])
            above = () if parent == len(levels) else (int(of_nodes[parent]),)
            yield _Choice(group, above, documents, nodes, targets)

    def losses(self, scores: Floats) -> Floats:
        """Negative log-likelihood of each document's path in nats, float64 (D,)."""
        if self.tree.of_paths:
            own, labels = torch.from_numpy(scores + self.adjustment), torch.from_numpy(self.labels)
            found: Floats = self.tree.losses(own, labels).numpy()
            return found
        return self._losses(scores)[0]

    def loss_and_errors(self, scores: Floats) -> tuple[float, Floats]:
        """The sum of all negative log-likelihoods in nats, and its gradient, float64 (D, C)."""
        if self.tree.of_paths:
            given = torch.from_numpy(scores + self.adjustment)
            slopes: Floats = self.tree.probabilities(given).numpy() - self.labels
            return float(self.losses(scores).sum()), slopes
        losses, shares = self._losses(scores)
        rows, columns = self._cells
        errors = np.zeros_like(scores)
        errors[rows, columns] = shares - self.labels[rows, columns]
        return float(losses.sum()), errors

    def paths_of(self, scores: Floats) -> tuple[Floats, _Integers]:
        """Scores of all paths, float64 (D, E), and which is right, int64 (D,)."""
        ends = np.flatnonzero(self.tree.may_end.numpy())
        depths = self.labels * self.tree.levels.numpy()
        right = np.searchsorted(ends, depths.argmax(1))
        return self.tree.summed(torch.from_numpy(scores)).numpy()[:, ends], right

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
        losses = np.zeros(len(scores))
        np.add.at(losses, rows[starts], highest + np.log(sums) - chosen)
        return losses, shares

    @cached_property
    def _cells(self) -> tuple[_Integers, _Integers]:
        """Documents and nodes of all that is decided, (M,) each; a choice's are side by side."""
        asked = self.tree.asked(torch.from_numpy(self.labels)).numpy()
        if self.level is not None:
            asked = asked * (self.tree.levels.numpy() == self.level)
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


@dataclass(frozen=True)
class _ChoiceTargets(Targets):
    """Which of the children of a node documents go on to: at most one."""

    may_stop: bool = field(kw_only=True)  # Whether it may be none, with a score of 0.

    def __getitem__(self, rows: npt.NDArray[Any]) -> "_ChoiceTargets":
        return _ChoiceTargets(self.labels[rows], False, may_stop=self.may_stop)

    def losses(self, scores: Floats) -> Floats:
        """Negative log-likelihood of each document's choice in nats, float64 (D,)."""
        found: Floats = logsumexp(self._with_none(scores), axis=1)
        return found - (self.labels * scores).sum(1)

    def loss_and_errors(self, scores: Floats) -> tuple[float, Floats]:
        """The sum of all negative log-likelihoods in nats, and its gradient, float64 (D, C)."""
        shares = softmax(self._with_none(scores), axis=1)[:, : scores.shape[1]]
        return float(self.losses(scores).sum()), shares - self.labels

    def _with_none(self, scores: Floats) -> Floats:
        return np.pad(scores, ((0, 0), (0, 1))) if self.may_stop else scores


@dataclass(frozen=True)
class _Choice:
    """A choice between nodes, and the documents that make it."""

    group: int
    above: tuple[int, ...]  # The choice that leads to it; empty at the top.
    documents: _Integers
    nodes: _Integers
    targets: _ChoiceTargets
