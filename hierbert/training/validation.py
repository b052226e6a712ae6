"""What a validation says, and whether that can be used: whose numbers are not finite.

It ends no run. Invariant: what it has no complaint about has a finite loss and metric.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hierbert.config import RunConfig
from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.evaluation.answers import Answer
from hierbert.evaluation.scores import choose_metric, score_answers
from hierbert.scoring import shown_metrics
from hierbert.training.nonfinite import HELP, is_finite, list_ids


def judge(
    config: RunConfig,
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    label_map: LabelMap | None,
    step: int,
) -> tuple[dict[str, float], float, str | None]:
    """Score the validation documents.

    Args:
        config: Names the metric.
        answers: One for each document.
        documents: The corpus.
        label_map: Of the classification head; None without one.
        step: After which it is, for messages.

    Returns:
        Every figure; the one that chooses checkpoints, greater is better; and why the weights
        cannot be chosen by it, None where they can.
    """
    settings, summarize = config.training, config.data.summary_column is not None
    weights = (settings.classification_loss_weight, settings.summarization_loss_weight)
    scores = score_answers(answers, documents, label_map, config.model.decision_threshold, weights)
    metric = choose_metric(settings.metric, scores, label_map, summarize)
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
