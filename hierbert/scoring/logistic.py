"""Logistic regression over many inputs and few documents, with the scores of held-out folds.

Convex: the same documents give the same weights, whatever order an optimizer would have seen them
in. The penalty is chosen by the log loss of documents that were held out, which also gives each
training document a score that it had no part in: what a stack is fitted on.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
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
# Documents of which nothing can be held out teach no weights.
FEWEST_DOCUMENTS = 4
FEWEST_FOLDS = 2
# What L-BFGS remembers takes room for so many weights, a few times.
_MANY_WEIGHTS = 1_000_000
# Steps of fewer weights are too small to be shared between threads.
_WORTH_THREADS = 100_000
_MOST_ITERATIONS = 300
# Of documents of several rows, or of many, an iteration costs more, and the last ones change no
# figure.
_MOST_OF_MANY_ROWS = 60
_MANY_ROWS = 16_384
# Of the loss, from one iteration to the next; less changes no figure.
_TOLERANCE = 1e-7
_JITTER = 1e-8
_PENALTY_OF_BIAS = 1.0
# An input that hardly differs between documents says nothing; divided by this, it is silent.
_SILENT = 1e30


@dataclass(frozen=True)
class Fitted:
    """A logistic regression; D documents, F inputs, C labels."""

    weights: Floats  # float64 (F, C).
    bias: Floats  # float64 (C,).
    held_out: Floats  # The scores of each training document by a fit without it, float64 (D, C).
    strength: float  # Of the inputs against the penalty, as it was chosen.
    log_loss: float  # Of `held_out`, in nats a document (of several labels: a label).

    @classmethod
    def of_scores(cls, scores: Floats, targets: "Targets") -> "Fitted":
        """Scores, float64 (D, C), that nothing was fitted for."""
        nothing = np.zeros((0, scores.shape[1]))
        return cls(
            nothing, np.zeros(scores.shape[1]), scores, 0.0, float(targets.losses(scores).mean())
        )


@dataclass(frozen=True)
class Targets:
    """The labels of D documents, and how much each counts."""

    labels: Floats  # 0 and 1 for each of C labels, float64 (D, C).
    several: bool  # Whether a document may have several labels, each with a probability of its own.
    # Of each label, float64 (C,); None: all count the same. Of one label a document it is the
    # weight of its documents, of several that of the documents it applies to.
    class_weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: npt.NDArray[Any]) -> "Targets":
        return Targets(self.labels[rows], self.several, self.class_weights)

    def fit(
        self,
        inputs: Any,
        folds: npt.NDArray[np.int64],
        units: npt.NDArray[np.int64] | None = None,
        few: int | None = None,
    ) -> Fitted:
        """The logistic regression of them; see `fit_logistic`."""
        return fit_logistic(inputs, self, folds, units, FEW_DOCUMENTS if few is None else few)

    def parts(self) -> list[tuple["Targets", npt.NDArray[np.bool_]]]:
        """Parts of the labels that members of a sum are weighed for each for itself, if any."""
        return []

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

    `labels` are 0 and 1 for each label, (D, C).
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
    inputs: Any,
    targets: Targets,
    folds: npt.NDArray[np.int64],
    units: npt.NDArray[np.int64] | None = None,
    few: int = FEW_DOCUMENTS,
    held_out: bool = True,
    strength: float | None = None,
) -> Fitted:
    """Fit with the penalty under which held-out documents are likeliest.

    Args:
        inputs: float (D, F), dense or a scipy.sparse array; of this, inputs that are 0 everywhere
            take no time, and have weights of 0.
        targets: Theirs.
        folds: As `folds_of` gives them; documents of one fold alone leave nothing to choose by.
        units: How many rows of the inputs each document has, at least 1, int64 (D,): its score is
            then the log of the mean of theirs' exponentials. None: one.
        few: Of more documents than these, so many choose the penalty.
        held_out: Whether scores of held-out documents are wanted, which of more than a few cost a
            fit for each fold; else those of the few alone are given.
        strength: Of the inputs against the penalty; None: it is chosen.
    """
    from scipy import sparse
    from scipy.linalg import solve_triangular

    used: Any = slice(None)
    width = inputs.shape[1]
    if sparse.issparse(inputs):
        used = np.unique(inputs.nonzero()[1])
        inputs = inputs[:, used]
        inputs.eliminate_zeros()
    rows = Rows(inputs, units)
    products = rows.products()
    if strength is not None:
        loss, strength, scores = _held_out(products, targets, folds, strength, {})
    elif len(targets) > few:
        some = draw_few(len(targets), few)
        loss, strength, scores = _choose(rows[some].products(), targets[some], folds[some])
        if held_out:
            loss, strength, scores = _held_out(products, targets, folds, strength, {})
    else:
        loss, strength, scores = _choose(products, targets, folds)
    solution = _Problem(products, targets, strength).solve(None)
    weights = solution[:-1]
    if products is not rows:
        # Those of the inputs that give the same scores (the representer theorem).
        factor = products.inputs
        weights = np.asarray(inputs.T @ solve_triangular(factor, weights, trans="T", lower=True))
    every = np.zeros((width, weights.shape[1]))
    every[used] = weights
    return Fitted(every, solution[-1], scores, strength, loss)


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
    rows: "Rows", targets: Targets, folds: npt.NDArray[np.int64]
) -> tuple[float, float, Floats]:
    """The result of `_held_out` with the strength that has the lowest loss."""
    starts: dict[int, Floats] = {}
    first = best = _held_out(rows, targets, folds, _STRENGTHS[_FIRST], starts)
    for tried in (_STRENGTHS[_FIRST + 1 :], _STRENGTHS[_FIRST - 1 :: -1]):
        for strength in tried:
            found = _held_out(rows, targets, folds, strength, starts)
            if found[0] >= best[0]:
                break
            best = found
        if best is not first:
            # The loss falls to one lowest place: the other way it would rise.
            break
    return best


def _held_out(
    rows: "Rows",
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
        scores[out] = rows[out].scores(starts[fold])[0]
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
    iterations: int = _MOST_ITERATIONS,
) -> Floats:
    """Where a smooth convex function, given with its gradient, is smallest, by L-BFGS."""
    from scipy.optimize import minimize as scipy_minimize

    def flat(values: Floats) -> tuple[float, Floats]:
        value, gradient = function(values.reshape(start.shape))
        return value, gradient.ravel()

    options = {
        "maxiter": iterations,
        "ftol": _TOLERANCE,
        "maxcor": 5 if start.size > _MANY_WEIGHTS else 10,
    }
    with one_thread() if start.size < _WORTH_THREADS else nullcontext():
        found = scipy_minimize(
            flat, start.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options
        )
    solution: Floats = found.x.reshape(start.shape)
    return solution


def one_thread() -> AbstractContextManager[Any]:
    """Calculate with matrices in one thread.

    Threads that wait for one another at each small step take many times as long as one alone.
    """
    limits: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limits


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Problem:
    """Loss plus half the squared weights over the strength, in weights (F + 1, C), bias last."""

    def __init__(self, rows: "Rows", targets: Targets, strength: float) -> None:
        self._rows, self._targets = rows, targets
        # The bias has a penalty too, a weak one: without it labels that never occur drift away.
        self._penalties = np.full((rows.inputs.shape[1] + 1, 1), 1 / strength)
        self._penalties[-1] = _PENALTY_OF_BIAS

    def solve(self, start: Floats | None) -> Floats:
        """The best weights, looked for from `start` on."""
        if start is None:
            start = np.zeros((len(self._penalties), self._targets.labels.shape[1]))
        # In units in which the penalty is the same in all directions.
        units = np.sqrt(self._penalties)

        def loss(values: Floats) -> tuple[float, Floats]:
            scores, shares = self._rows.scores(values / units)
            total, errors = self._targets.loss_and_errors(scores)
            slopes = self._rows.slopes(errors, shares) / units
            return total + 0.5 * float((values * values).sum()), slopes + values

        many = self._rows.units is not None or len(self._targets) > _MANY_ROWS
        most = _MOST_OF_MANY_ROWS if many else _MOST_ITERATIONS
        return minimize(loss, start * units, iterations=most) / units


@dataclass(frozen=True)
class Rows:
    """The inputs of D documents, one row each, or as many as `units` says (D,)."""

    inputs: Any
    units: npt.NDArray[np.int64] | None = None

    def __getitem__(self, documents: npt.NDArray[Any]) -> "Rows":
        """Those of some documents, in their order; a mask, or ascending places."""
        if self.units is None:
            return Rows(self.inputs[documents])
        kept = np.zeros(len(self.units), dtype=bool)
        kept[documents] = True
        return Rows(self.inputs[np.repeat(kept, self.units)], self.units[kept])

    def scores(self, weights: Floats) -> tuple[Floats, Floats | float]:
        """Of the documents, float64 (D, C), and what each row has to say in its document's."""
        # Mixed precisions would copy the inputs each time.
        own: Floats = self.inputs @ weights[:-1].astype(self.inputs.dtype) + weights[-1]
        if self.units is None:
            return own, 1.0
        starts = self._starts
        highest = np.maximum.reduceat(own, starts)
        shares = np.exp(own - np.repeat(highest, self.units, 0))
        sums = np.add.reduceat(shares, starts)
        shares /= np.repeat(sums, self.units, 0)
        return highest + np.log(sums / self.units[:, None]), shares

    def slopes(self, errors: Floats, shares: Floats | float) -> Floats:
        """The gradient by weights (F + 1, C), of that by the documents' scores (D, C)."""
        if self.units is not None:
            errors = shares * np.repeat(errors, self.units, 0)
        of_inputs = self.inputs.T @ errors.astype(self.inputs.dtype)
        return np.vstack([of_inputs, errors.sum(0)])

    @property
    def _starts(self) -> npt.NDArray[np.int64]:
        assert self.units is not None
        return np.cumsum(self.units) - self.units

    def products(self) -> "Rows":
        """Rows with the inner products of the inputs, lower triangular (D, D).

        A logistic regression sees its inputs through these alone. Of many rows, or of few inputs,
        the inputs themselves.
        """
        rows, width = self.inputs.shape
        if rows > FEW_DOCUMENTS or width <= rows:
            return self
        inputs = self.inputs.astype(np.float64)
        products = inputs @ inputs.T
        products = np.asarray(products.todense() if hasattr(products, "todense") else products)
        # Of equal documents the products alone have no factor.
        np.fill_diagonal(products, products.diagonal() * (1 + _JITTER) + _JITTER)
        return Rows(np.linalg.cholesky(products), self.units)
