"""Logistic regression in folds, against scikit-learn's and against its own definition."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from hierbert.scoring.logistic import _PENALTY_OF_BIAS, Targets, fit_logistic, folds_of


def problem(width: int, several: bool, labels: int = 3):
    generator = np.random.default_rng(width)
    inputs = generator.normal(size=(60, width))
    truth = inputs[:, :labels] * 2 + generator.normal(size=(60, labels))
    inputs /= width**0.5
    if several:
        return inputs, (truth > 0.5).astype(float)
    return inputs, np.eye(labels)[truth.argmax(1)]


def with_bias(inputs: np.ndarray) -> np.ndarray:
    """Inputs for a library that has no penalty of its own for the bias."""
    return np.column_stack([inputs, np.full(len(inputs), _PENALTY_OF_BIAS**-0.5)])


def of_library(inputs: np.ndarray, labels: np.ndarray, strength: float, several: bool):
    scaled = with_bias(inputs * strength**0.5)

    def fit(numbers: np.ndarray) -> np.ndarray:
        model = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=10_000)
        return model.fit(scaled, numbers).coef_

    if several:
        coefficients = np.vstack([fit(labels[:, place]) for place in range(labels.shape[1])])
    else:
        coefficients = fit(labels.argmax(1))
    return coefficients[:, :-1].T * strength**0.5, coefficients[:, -1]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("width", [5, 200])  # fewer and more inputs than documents
def test_weights_are_those_of_the_library_with_the_best_penalty(width, several) -> None:
    inputs, labels = problem(width, several)
    folds = np.arange(60) % 5
    given = sparse.csr_array(inputs) if width == 200 else inputs
    found = fit_logistic(given, Targets(labels, several), folds)

    def scores(strength: float) -> np.ndarray:
        held_out = np.zeros_like(labels)
        for fold in range(5):
            out = folds == fold
            weights, bias = of_library(inputs[~out], labels[~out], strength, several)
            held_out[out] = inputs[out] @ weights + bias
        return held_out

    def loss(held_out: np.ndarray) -> float:
        if several:
            likely = np.where(labels == 1, held_out, -held_out)
            return float(np.log1p(np.exp(-likely)).mean())
        shares = np.exp(held_out) / np.exp(held_out).sum(1, keepdims=True)
        return float(-np.log(shares[labels == 1]).mean())

    weights, _ = of_library(inputs, labels, found.strength, several)
    expected = scores(found.strength)
    if not several:  # of a softmax only differences count
        expected -= expected.mean(1, keepdims=True)
    held_out = found.held_out - (0 if several else found.held_out.mean(1, keepdims=True))
    assert held_out == pytest.approx(expected, abs=2e-3)
    assert found.weights == pytest.approx(weights, abs=2e-3)
    assert found.log_loss == pytest.approx(loss(expected), abs=1e-4)
    near = [loss(scores(found.strength * factor)) for factor in (0.3, 3.0)]
    assert found.log_loss <= min(near) + 1e-3


@pytest.mark.parametrize("several", [False, True])
def test_of_documents_of_several_rows_the_soft_maximum_is_fitted(several) -> None:
    inputs, labels = problem(7, several)
    units = np.array([1, 3, 2] * 10)
    labels = labels[: len(units)]
    folds = np.arange(30) % 5
    owners = np.repeat(np.arange(30), units)
    found = fit_logistic(sparse.csr_array(inputs), Targets(labels, several), folds, units)

    def loss(weights: np.ndarray, bias: np.ndarray) -> float:
        rows = np.exp(inputs @ weights + bias)
        scores = np.log([rows[owners == place].mean(0) for place in range(30)])
        if several:
            fits = np.log1p(np.exp(np.where(labels == 1, -scores, scores))).sum()
        else:
            fits = -np.log(
                (np.exp(scores) / np.exp(scores).sum(1, keepdims=True))[labels == 1]
            ).sum()
        penalty = (weights**2).sum() / found.strength + _PENALTY_OF_BIAS * (bias**2).sum()
        return float(fits + 0.5 * penalty)

    least = loss(found.weights, found.bias)
    generator = np.random.default_rng(0)
    for _ in range(50):
        step = generator.normal(size=(8, 3)) * 0.02
        assert loss(found.weights + step[:7], found.bias + step[7]) > least
    one = fit_logistic(inputs, Targets(np.repeat(labels, units, 0), several), np.arange(60) % 5)
    same = np.ones(60, dtype=np.int64)
    alike = fit_logistic(
        inputs, Targets(np.repeat(labels, units, 0), several), np.arange(60) % 5, same
    )
    assert alike.weights == pytest.approx(one.weights, abs=1e-2)
    assert alike.held_out == pytest.approx(one.held_out, abs=1e-2)


def test_many_documents_are_fitted_as_few_are(monkeypatch) -> None:
    inputs, labels = problem(200, False)
    folds = np.arange(60) % 5
    monkeypatch.setattr("hierbert.scoring.logistic.FEW_DOCUMENTS", 50)
    many = fit_logistic(sparse.csr_array(inputs), Targets(labels, False), folds)
    monkeypatch.setattr("hierbert.scoring.logistic._STRENGTHS", (many.strength,))
    monkeypatch.setattr("hierbert.scoring.logistic._FIRST", 0)
    monkeypatch.setattr("hierbert.scoring.logistic.FEW_DOCUMENTS", 4096)
    same = fit_logistic(inputs, Targets(labels, False), folds)
    assert many.weights == pytest.approx(same.weights, abs=2e-3)
    assert many.held_out == pytest.approx(same.held_out, abs=2e-3)


def test_folds_keep_equal_documents_together_and_share_labels_out() -> None:
    keys = [str(place // 2) for place in range(100)]  # each document twice
    labels = np.zeros((100, 2))
    labels[:20, 0] = labels[20:, 1] = 1
    folds = folds_of(keys, labels)
    assert set(folds) == set(range(5))
    assert (folds[::2] == folds[1::2]).all()
    assert [int((folds[:20] == fold).sum()) for fold in range(5)] == [4] * 5
    order = np.random.default_rng(0).permutation(100)
    again = folds_of([keys[place] for place in order], labels[order])
    assert (again == folds[order]).all()


def test_a_label_that_a_fold_lacks_and_one_document_give_finite_scores() -> None:
    inputs, labels = problem(5, False)
    labels = np.column_stack([labels, np.zeros(60)])
    labels[0] = [0, 0, 0, 1]
    found = fit_logistic(inputs, Targets(labels, False), np.arange(60) % 5)
    assert np.isfinite(found.held_out).all() and np.isfinite(found.weights).all()
    same = fit_logistic(np.ones((4, 9)), Targets(np.eye(2)[[0, 1, 0, 1]], False), np.arange(4) % 2)
    assert np.isfinite(same.held_out).all()


@pytest.mark.parametrize("several", [False, True])
def test_labels_weigh_what_they_are_told(several) -> None:
    """A weight of 3 says what three copies of a document say."""
    inputs, labels = problem(5, several, labels=2)
    scores = np.random.default_rng(1).normal(size=labels.shape)
    targets = Targets(labels, several, np.array([3.0, 1.0]))
    losses = targets.losses(scores)
    if several:
        shares = 1 / (1 + np.exp(-scores))
        cells = -labels * np.log(shares) * [3, 1] - (1 - labels) * np.log(1 - shares)
        assert losses == pytest.approx(cells.mean(1))
    else:
        copies = np.repeat(np.arange(60), np.where(labels[:, 0] == 1, 3, 1))
        alike = Targets(labels[copies], False)
        assert losses.sum() == pytest.approx(alike.losses(scores[copies]).sum())
        folds = np.arange(60) % 5
        found = fit_logistic(inputs, targets, folds)
        same = fit_logistic(inputs[copies], alike, folds[copies])
        assert found.weights == pytest.approx(same.weights, abs=2e-3)
        assert found.strength == same.strength
    total, errors = targets.loss_and_errors(scores)
    moved = scores.copy()
    moved[3, 1] += 1e-5
    slope = (targets.loss_and_errors(moved)[0] - total) / 1e-5
    assert errors[3, 1] == pytest.approx(slope, abs=1e-4)


def test_a_few_choose_the_penalty_of_many_with_or_without_held_out_scores() -> None:
    inputs, labels = problem(5, several=True)
    folds = np.arange(60) % 5
    given = (inputs, Targets(labels, several=True), folds)
    whole, bare = (fit_logistic(*given, few=40, held_out=wanted) for wanted in (True, False))
    assert (
        whole.strength == bare.strength and len(whole.held_out) == 60 and len(bare.held_out) == 40
    )
    assert (whole.weights == bare.weights).all() and (whole.bias == bare.bias).all()
