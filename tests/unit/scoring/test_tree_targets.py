"""The fitted loss of paths is the learnt one, and its gradient that of torch."""

import numpy as np
import pytest
import torch

from hierbert.model.label_tree import LabelTree
from hierbert.scoring.tree_targets import TreeTargets

#   0 ( 1 ( 3, 4 ), 2 ), 5 ( 6 )
PARENTS = [[], [0], [0], [1], [1], [], [5]]
ENDS = (3, 2, 1, 6, 0, 5, 4)


@pytest.fixture(params=[False, True], ids=["one path", "several"])
def tree(request) -> LabelTree:
    return LabelTree(PARENTS, [] if request.param else [0, 1, 5], request.param)


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
