"""Losses and gradients that are not finite: which documents make them, and what to say.

Documents of a step are tried one by one, after it has happened and without any effect on the run:
weights, gradients and random states stay as they were. What to do about it is the loop's decision.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from hierbert.errors import RunError, quote_all

MOST_IN_A_ROW = 10
"""So many steps in a row that are not finite end a run that skips them: it is not the documents."""
HELP = "a lower learning rate or mixed_precision=no may help"


def find_nonfinite(
    indices: Sequence[int],
    loss_of: Callable[[int], Tensor],
    weights: Sequence[nn.Parameter],
    precision: Callable[[], AbstractContextManager[object]],
) -> list[int]:
    """Those of some documents whose loss, or whose gradient, is not finite when they are alone."""
    found = []
    # Of this process's device alone: others belong to other processes.
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(gpus):
        for index in indices:
            with precision():
                loss = loss_of(index)
            values = [loss.detach()]
            if loss.requires_grad:
                # Unlike backward, this leaves the weights' own gradients alone, and tells no other
                # process.
                values += torch.autograd.grad(loss, weights, allow_unused=True)
            if not all(value is None or bool(value.isfinite().all()) for value in values):
                found.append(index)
    return found


def leave_out_or_stop(
    what: str, alone: Sequence[str], everyone: Sequence[str], in_a_row: int | None
) -> str:
    """What to say of a step that is left out; a RunError where the run does not go on.

    Ids of the documents that make it alone, and of all of the step; `in_a_row` is how many such
    steps came one after the other, None where one is enough.
    """
    who = "documents that do it alone: " if alone else "no document does it alone; they are "
    line = f"{what} is not finite; {who}{quote_all(alone or everyone)}"
    if in_a_row is None:
        raise RunError(f"{line}; {HELP}, and training.on_nonfinite_loss=skip leaves it out")
    if in_a_row >= MOST_IN_A_ROW:
        raise RunError(f"{line}; it is the last of {in_a_row} such steps in a row; {HELP}")
    return f"left out: {line}"
