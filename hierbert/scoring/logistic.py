"""Logistic regression over many inputs and few documents, with the scores of held-out folds.

Convex: the same documents give the same weights, whatever order an optimizer would have seen them
in. The penalty is chosen by the log loss of documents that were held out, which also gives each
training document a score that it had no part in: what a stack is fitted on.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Strengths of the inputs against the penalty, from one that learns next to nothing to one that
# separates the training documents; tried from the middle on, as long as held-out documents gain.
_STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
_FIRST = 5
_FOLDS = 5
# The inner products of so few documents fit in memory (32 MiB), and are the faster way; of more
# documents, so many choose.
FEW_DOCUMENTS = 2_048
# What L-BFGS remembers takes room for so many weights, a few times.
_MANY_WEIGHTS = 1_000_000
_MOST_ITERATIONS = 300
# Of the loss, from one iteration to the next; less changes no figure.
_TOLERANCE = 1e-7
_JITTER = 1e-8
_PENALTY_OF_BIAS = 1.0
# An input that hardly differs between documents says nothing; divided by this, it is silent.
_SILENT = 1e30


@dataclass(frozen=True)
class Fitted:
    """A logistic regression; D documents, F inputs, C labels.

    Attributes:
        weights: float64 (F, C).
        bias: float64 (C,).
        held_out: The scores of each training document by a fit without it, float64 (D, C).
        strength: Of the inputs against the penalty, as it was chosen.
        log_loss: Of `held_out`, in nats a document (of several labels: a label).
    """

    weights: Floats
    bias: Floats
    held_out: Floats
    strength: float
    log_loss: float


@dataclass(frozen=True)
class Targets:
    """The labels of D documents, and how much each counts.

    Attributes:
        labels: 0 and 1 for each of C labels, float64 (D, C).
        several: Whether a document may have several labels, each with a probability of its own.
        class_weights: Of each label, float64 (C,); None: all count the same. Of one label a
            document it is the weight of its documents, of several that of the documents it
            applies to.
    """

    labels: Floats
    several: bool
    class_weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: npt.NDArray[Any]) -> "Targets":
        return Targets(self.labels[rows], self.several, self.class_weights)

    def losses(self, scores: Floats) -> Floats:
        """Negative log-likelihood of each document in nats, float64 (D,); of several, a label's.

        Scores are logits, float64 (D, C).
        """
        found: Floats
        if self.several:
            cells = np.logaddexp(0, scores) - self.labels * scores
            found = (self._weights * cells).mean(1)
        else:
            found = np.logaddexp.reduce(scores, axis=1) - (self.labels * scores).sum(1)
            found = found * self._weights[:, 0]
        return found

    def loss_and_errors(self, scores: Floats) -> tuple[float, Floats]:
        """The sum of all negative log-likelihoods in nats, and its gradient, float64 (D, C)."""
        labels_each = self.labels.shape[1] if self.several else 1
        total = labels_each * float(self.losses(scores).sum())
        return total, self._weights * (probabilities(scores, self.several) - self.labels)

    @cached_property
    def _weights(self) -> Floats:
        """Of each label of each document, float64 (D, C), or of each document, (D, 1)."""
        if self.class_weights is None:
            return np.ones((len(self.labels), 1))
        own: Floats = 1 + self.labels * (self.class_weights - 1)
        return own if self.several else (self.labels @ self.class_weights)[:, None]


def folds_of(texts: Sequence[str], labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The fold of each document; equal texts are in one, and each has its share of a label.

    Args:
        texts: Of the documents.
        labels: 0 and 1 for each label, (D, C).
    """
    keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    folds = min(_FOLDS, len(set(keys)))
    rarest = labels[:, np.argsort(labels.sum(0), kind="stable")].argmax(1)
    order = sorted(range(len(keys)), key=lambda place: (rarest[place], keys[place]))
    given: dict[bytes, int] = {}
    found = np.zeros(len(keys), dtype=np.int64)
    for place in order:
        found[place] = given.setdefault(keys[place], len(given) % folds)
    return found


def fit_logistic(
    inputs: Any, targets: Targets, folds: npt.NDArray[np.int64], few: int = FEW_DOCUMENTS
) -> Fitted:
    """Fit with the penalty under which held-out documents are likeliest.

    Args:
        inputs: float (D, F), dense or a scipy.sparse array.
        targets: Theirs.
        folds: As `folds_of` gives them; documents of one fold alone leave nothing to choose by.
        few: Of more documents than these, so many choose the penalty.
    """
    from scipy.linalg import solve_triangular

    rows = _rows(inputs)
    if len(targets) > few:
        some = draw_few(len(targets), few)
        strength = _choose(_rows(inputs[some]), targets[some], folds[some])[1]
        loss, strength, scores = _held_out(rows, targets, folds, strength, {})
    else:
        loss, strength, scores = _choose(rows, targets, folds)
    whole = _Problem(rows, targets, strength)
    solution = whole.solve(None)
    weights = solution[:-1]
    if rows is not inputs:
        # Those of the inputs that give the same scores (the representer theorem).
        weights = np.asarray(inputs.T @ solve_triangular(rows, weights, trans="T", lower=True))
    return Fitted(weights, solution[-1], scores, strength, loss)


def draw_few(documents: int, most: int) -> npt.NDArray[np.int64]:
    """Places of so many documents, or of all where there are fewer; the same each time, ascending.

    What is drawn of more is any subset of its size.
    """
    return np.sort(np.random.default_rng(0).permutation(documents)[:most])


def standardising(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What to subtract from each input, and then to divide it by: (F,) each, of rows (D, F).

    Then each has the same spread and rows are about as long as 1, whatever F is.
    """
    center, spread, sizes = rows.mean(0), rows.std(0), np.abs(rows).mean(0)
    scale = np.where(spread > 1e-4 * sizes + 1e-6, spread * rows.shape[1] ** 0.5, _SILENT)
    return center, scale


def _choose(
    rows: Any, targets: Targets, folds: npt.NDArray[np.int64]
) -> tuple[float, float, Floats]:
    """The result of `_held_out` with the strength that has the lowest loss."""
    starts: dict[int, Floats] = {}
    best = _held_out(rows, targets, folds, _STRENGTHS[_FIRST], starts)
    for tried in (_STRENGTHS[_FIRST + 1 :], _STRENGTHS[_FIRST - 1 :: -1]):
        for strength in tried:
            found = _held_out(rows, targets, folds, strength, starts)
            if found[0] >= best[0]:
                break
            best = found
    return best


def _held_out(
    rows: Any,
    targets: Targets,
    folds: npt.NDArray[np.int64],
    strength: float,
    starts: dict[int, Floats],
) -> tuple[float, float, Floats]:
    """Mean loss of all documents by fits without their folds; the strength; their scores.

    `starts` are solutions of a strength before, which are near, and become those of this one.
    """
    scores = np.zeros_like(targets.labels)
    for fold in np.unique(folds):
        out = folds == fold
        own = _Problem(rows[~out], targets[~out], strength)
        starts[fold] = own.solve(starts.get(fold))
        scores[out] = own.scores(rows[out], starts[fold])
    return float(targets.losses(scores).mean()), strength, scores


def probabilities(scores: Floats, several: bool) -> Floats:
    """Of each label, float64 (D, C)."""
    from scipy.special import expit, softmax

    found: Floats = expit(scores) if several else softmax(scores, axis=1)
    return found


def minimize(
    function: Callable[[Floats], tuple[float, Floats]],
    start: Floats,
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
) -> Floats:
    """Where a smooth convex function, given with its gradient, is smallest, by L-BFGS."""
    from scipy.optimize import minimize as scipy_minimize

    def flat(values: Floats) -> tuple[float, Floats]:
        value, gradient = function(values.reshape(start.shape))
        return value, gradient.ravel()

    options = {
        "maxiter": _MOST_ITERATIONS,
        "ftol": _TOLERANCE,
        "maxcor": 5 if start.size > _MANY_WEIGHTS else 10,
    }
    found = scipy_minimize(
        flat, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    solution: Floats = found.x.reshape(start.shape)
    return solution


class _Problem:
    """Loss plus half the squared weights over the strength, in weights (F + 1, C), bias last."""

    def __init__(self, rows: Any, targets: Targets, strength: float) -> None:
        self._rows, self._targets = rows, targets
        # The bias has a penalty too, a weak one: without it labels that never occur drift away.
        self._penalties = np.full((rows.shape[1] + 1, 1), 1 / strength)
        self._penalties[-1] = _PENALTY_OF_BIAS

    def solve(self, start: Floats | None) -> Floats:
        """The best weights, looked for from `start` on."""
        if start is None:
            start = np.zeros((self._rows.shape[1] + 1, self._targets.labels.shape[1]))
        # In units in which the penalty is the same in all directions.
        units = np.sqrt(self._penalties)

        def loss(values: Floats) -> tuple[float, Floats]:
            weights = values / units
            total, errors = self._targets.loss_and_errors(self.scores(self._rows, weights))
            slopes = np.vstack([self._rows.T @ errors, errors.sum(0)]) / units
            return total + 0.5 * float((values * values).sum()), slopes + values

        return minimize(loss, start * units) / units

    def scores(self, rows: Any, weights: Floats) -> Floats:
        found: Floats = rows @ weights[:-1] + weights[-1]
        return found


def _rows(inputs: Any) -> Any:
    """Rows with the inner products of the inputs, lower triangular (D, D).

    A logistic regression sees its inputs through these alone. Of many documents, or few inputs,
    the inputs themselves.
    """
    documents, width = inputs.shape
    if documents > FEW_DOCUMENTS or width <= documents:
        return inputs
    products = inputs @ inputs.T
    products = np.asarray(products.todense() if hasattr(products, "todense") else products)
    # Of equal documents the products alone have no factor.
    np.fill_diagonal(products, products.diagonal() * (1 + _JITTER) + _JITTER)
    return np.linalg.cholesky(products)
