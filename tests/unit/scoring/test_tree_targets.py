"""The fitted loss of paths is the learnt one, and its gradient that of torch."""

import numpy as np
import pytest
import torch

from hierbert.model.label_tree import LabelTree
from hierbert.scoring.logistic import Targets
from hierbert.scoring.tree_targets import TreeTargets

#   0 ( 1 ( 3, 4 ), 2 ), 5 ( 6 )
PARENTS = [[], [0], [0], [1], [1], [], [5]]
ENDS = (3, 2, 1, 6, 0, 5, 4)


@pytest.fixture(params=["one path", "several", "whole paths"])
def tree(request) -> LabelTree:
    several = request.param == "several"
    return LabelTree(PARENTS, [] if several else [0, 1, 5], several, request.param == "whole paths")


def paths(tree: LabelTree) -> torch.Tensor:
    return tree.closed(torch.nn.functional.one_hot(torch.tensor(ENDS), 7)).double()


def test_losses_and_gradients(tree) -> None:
    targets = paths(tree)
    logits = (3 * torch.randn(7, 7, dtype=torch.float64)).requires_grad_()
    losses = tree.losses(logits, targets)
    (slopes,) = torch.autograd.grad(losses.sum(), logits)
    fitted = TreeTargets(targets.numpy(), tree.several, tree=tree)
    scores = logits.detach().numpy()
    total, errors = fitted.loss_and_errors(scores)
    np.testing.assert_allclose(fitted.losses(scores), losses.detach().numpy())
    np.testing.assert_allclose(errors, slopes.numpy(), atol=1e-12)
    assert total == pytest.approx(float(losses.detach().sum()))
    some = np.array([5, 1])
    np.testing.assert_allclose(fitted[some].losses(scores[some]), losses.detach().numpy()[some])


def test_what_is_added_while_they_are_learnt(tree) -> None:
    added = np.linspace(-2, 1, 7)
    targets, scores = paths(tree).numpy(), np.random.default_rng(0).normal(size=(7, 7))
    with_added = TreeTargets(targets, tree.several, tree=tree, adjustment=added)
    plain = TreeTargets(targets, tree.several, tree=tree)
    np.testing.assert_allclose(with_added.losses(scores), plain.losses(scores + added))
    np.testing.assert_allclose(
        with_added[np.arange(3)].losses(scores[:3]), plain.losses(scores + added)[:3]
    )


def test_paths_and_which_is_right() -> None:
    tree = LabelTree(PARENTS, [0, 1, 5], of_paths=True)
    targets = TreeTargets(paths(tree).numpy(), False, tree=tree)
    scores = np.arange(49.0).reshape(7, 7)
    found, right = targets.paths_of(scores)
    # 0, 0 1, 0 2, 0 1 3, 0 1 4, 5, 5 6: all may end.
    assert found[0].tolist() == [0, 1, 2, 4, 5, 5, 11]
    assert right.tolist() == list(ENDS) and targets.parts() == []


def test_a_fit_of_whole_paths_is_that_of_leaves_where_nothing_is_above_them() -> None:
    drawn = np.random.default_rng(0)
    inputs, labels = drawn.normal(size=(60, 4)), np.eye(3)[drawn.integers(3, size=60)]
    folds = np.arange(60) % 5
    tree = LabelTree([[], [], []], of_paths=True)
    of_paths = TreeTargets(labels, False, tree=tree).fit(inputs, folds)
    flat = Targets(labels, False).fit(inputs, folds)
    np.testing.assert_allclose(of_paths.weights, flat.weights, atol=1e-4)
    assert of_paths.log_loss == pytest.approx(flat.log_loss, abs=1e-5)


def test_choices_of_a_level() -> None:
    tree = LabelTree(PARENTS, [0, 1, 5])
    targets = TreeTargets(paths(tree).numpy(), False, tree=tree)
    scores = np.arange(49.0).reshape(7, 7)
    found, chosen = targets.choices_of(scores, 3)
    # Documents 0, 2 and 6 decide below node 1: for 3, for none, for 4.
    assert found[:, :2].tolist() == [[3, 4], [17, 18], [45, 46]]
    assert found[:, -1].tolist() == [0, 0, 0] and chosen.tolist() == [0, 2, 1]
    top, right = targets.choices_of(scores, 1)
    assert np.isneginf(top[:, -1]).all() and right.tolist() == [0, 0, 0, 1, 0, 1, 0]
    assert targets.choices_of(scores, 4)[0].shape == (0, 1)
