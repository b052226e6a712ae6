"""What a validation says, and whether that can be used: whose numbers are not finite.

It ends no run. Invariant: what it has no complaint about has a finite loss and metric.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hierbert.config import RunConfig
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.scoring import shown_metrics
from hierbert.tasks.evaluation import Answer, choose_metric, score_answers
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Task
from hierbert.training.nonfinite import HELP, is_finite, list_ids


def judge(
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
    settings = config.training
    scores = score_answers(answers, documents, tasks, model)
    metric = choose_metric(settings.metric, scores, tasks)
    figures = {"loss": scores["loss"]}
    if settings.metric != "loss":
        figures["metric"] = metric
    problem = not_finite(f"validation after step {step}", figures, answers, documents)
    return scores, metric, problem


def not_finite(
    what: str,
    figures: dict[str, float],
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
    wrong = [f"{name} ({value:g})" for name, value in figures.items() if not is_finite([value])]
    if not wrong:
        return None
    ids = [documents[answer.index].id for answer in answers if not answer.finite]
    who = "every document alone has finite answers"
    if ids:
        who = f"{len(ids):,} of {len(documents):,} documents have answers that are not: "
        who += list_ids(ids)
    verb = "is" if len(wrong) == 1 else "are"
    return f"{what}: its {' and '.join(wrong)} {verb} not finite; {who}; {HELP}"


def in_words(line: Mapping[str, Any]) -> str:
    """A line of metrics.jsonl for people."""
    scores = {name.removeprefix("validation."): value for name, value in line.items()}
    names = ["loss", *(metric.name for metric in shown_metrics(scores) if metric.headline)]
    shown = [f"{name} {scores[name]:.4f}" for name in names if scores.get(name) is not None]
    return (
        f"epoch {line['epoch']:g}, step {line['step']}: train loss "
        f"{line.get('train.loss', math.nan):.4f}; validation {', '.join(shown)}"
        + (" (best)" if line["best"] else "")
    )
