"""Which documents make a loss or a gradient that is not finite.

Asked after it has happened, document by document, without any effect on the run: weights,
gradients and random states stay as they were. What to do about it is the loop's decision.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from hierbert.errors import RunError

MOST_IN_A_ROW = 10
"""So many steps in a row that are not finite end a run that skips them: it is not the documents."""
HELP = "a lower learning rate or mixed_precision=no may help"
_NAMED = 8


def is_finite(numbers: Iterable[float]) -> bool:
    """Whether all numbers are finite."""
    return all(math.isfinite(number) for number in numbers)


def find_culprits(
    indices: Sequence[int],
    loss_of: Callable[[int], Tensor],
    weights: Sequence[nn.Parameter],
    precision: Callable[[], AbstractContextManager[object]],
) -> list[int]:
    """Documents whose loss, or whose gradient, is not finite when they are alone.

    Args:
        indices: Of the documents to try.
        loss_of: The loss of one document by its index, with its graph.
        weights: Those that are trained.
        precision: Makes the context that training computes in.

    Returns:
        The indices of those documents, in order.
    """
    found = []
    # Of this process's device alone: others belong to other processes.
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(gpus):
        for index in indices:
            with precision():
                loss = loss_of(index)
            if not math.isfinite(float(loss.detach())) or not _has_finite_gradient(loss, weights):
                found.append(index)
    return found


def culprits_text(culprits: Sequence[str], everyone: Sequence[str]) -> str:
    """Who did it, in words.

    Args:
        culprits: Ids of the documents that did it alone, over all processes.
        everyone: Ids of all documents of the step.

    Returns:
        A part of a sentence.
    """
    if culprits:
        return f"documents that do it alone: {list_ids(culprits)}"
    return f"none of its documents does it alone; they are {list_ids(everyone)}"


def decide(what: str, who: str, in_a_row: int | None) -> str:
    """What to say of a step that is left out, or the end of the run.

    Args:
        what: What is not finite.
        who: As `culprits_text` says it.
        in_a_row: How many such steps came one after the other, this one included; None where
            one is enough.

    Returns:
        A line, where the run goes on.

    Raises:
        RunError: It does not.
    """
    line = f"{what} is not finite; {who}"
    if in_a_row is None:
        raise RunError(f"{line}; {HELP}, and training.on_nonfinite_loss=skip leaves it out")
    if in_a_row >= MOST_IN_A_ROW:
        raise RunError(f"{line}; it is the last of {in_a_row} such steps in a row; {HELP}")
    return f"left out: {line}"


def _has_finite_gradient(loss: Tensor, weights: Sequence[nn.Parameter]) -> bool:
    if not loss.requires_grad:
        return True
    # Unlike backward, this leaves the weights' own gradients alone, and tells no other process.
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return all(bool(value.isfinite().all()) for value in gradients if value is not None)


def list_ids(ids: Sequence[str]) -> str:
    """Some ids, and how many more there are."""
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more
