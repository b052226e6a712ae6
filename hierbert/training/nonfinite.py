"""Losses, gradients and figures that are not finite: which documents make them, and what to say.

Documents of a step are tried one by one, after it has happened and without any effect on the run:
weights, gradients and random states stay as they were. What to do about it is the loop's decision.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from hierbert.config import RunConfig
from hierbert.errors import RunError
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.tasks.evaluation import Answer, choose_metric, score_answers
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Task

MOST_IN_A_ROW = 10
"""So many steps in a row that are not finite end a run that skips them: it is not the documents."""
HELP = "a lower learning rate or mixed_precision=no may help"
_NAMED = 8


def find_nonfinite(
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


def leave_out_or_stop(
    what: str, alone: Sequence[str], everyone: Sequence[str], in_a_row: int | None
) -> str:
    """What to say of a step that is left out, or the end of the run.

    Args:
        what: What is not finite.
        alone: Ids of the documents that make it alone, over all processes.
        everyone: Ids of all documents of the step.
        in_a_row: How many such steps came one after the other, this one included; None where
            one is enough.

    Returns:
        A line, where the run goes on.

    Raises:
        RunError: It does not.
    """
    who = f"none of its documents does it alone; they are {_some(everyone)}"
    if alone:
        who = f"documents that do it alone: {_some(alone)}"
    line = f"{what} is not finite; {who}"
    if in_a_row is None:
        raise RunError(f"{line}; {HELP}, and training.on_nonfinite_loss=skip leaves it out")
    if in_a_row >= MOST_IN_A_ROW:
        raise RunError(f"{line}; it is the last of {in_a_row} such steps in a row; {HELP}")
    return f"left out: {line}"


def score_validation(
    config: RunConfig,
    model: HierBertForDocuments,
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    tasks: Sequence[Task],
    step: int,
) -> tuple[dict[str, float], float, str | None]:
    """Score the validation documents.

    Args:
        config: Names the metric.
        model: That answered.
        answers: One for each document.
        documents: The corpus.
        tasks: Of the run.
        step: After which it is, for messages.

    Returns:
        Every figure; the one that chooses checkpoints, greater is better; and why the weights
        cannot be chosen by it, None where they can.
    """
    scores = score_answers(answers, documents, tasks, model)
    metric = choose_metric(config.training.metric, scores, tasks)
    figures = {"loss": scores["loss"]}
    if config.training.metric != "loss":
        figures["metric"] = metric
    return scores, metric, not_finite(f"validation after step {step}", figures, answers, documents)


def not_finite(
    what: str,
    figures: Mapping[str, float],
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
) -> str | None:
    """What is wrong with the figures of a corpus, in words.

    Args:
        what: Whose figures, such as "validation after step 3".
        figures: Those that have to be finite, by name.
        answers: One for each document.
        documents: The corpus.

    Returns:
        One line that names the figure and the documents; None where all is well.
    """
    wrong = [f"{name} ({v:g})" for name, v in figures.items() if not math.isfinite(v)]
    if not wrong:
        return None
    ids = [documents[answer.index].id for answer in answers if not answer.finite]
    who = "every document alone has finite answers"
    if ids:
        who = f"{len(ids):,} of {len(documents):,} documents have answers that are not: "
        who += _some(ids)
    verb = "is" if len(wrong) == 1 else "are"
    return f"{what}: its {' and '.join(wrong)} {verb} not finite; {who}; {HELP}"


def _has_finite_gradient(loss: Tensor, weights: Sequence[nn.Parameter]) -> bool:
    if not loss.requires_grad:
        return True
    # Unlike backward, this leaves the weights' own gradients alone, and tells no other process.
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return all(bool(value.isfinite().all()) for value in gradients if value is not None)


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more
