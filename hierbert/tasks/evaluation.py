"""A model's answers for every document of a corpus, and their figures.

Documents are assigned to the processes by tokens and come back by their index, so that no number
of processes, batch or padding can lose or double one.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from hierbert.data.document import Example
from hierbert.data.epoch_plan import share_by_tokens
from hierbert.errors import ConfigError, quote_all
from hierbert.log import Progress
from hierbert.model.answering import answer_batch
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import TOKENS_PER_BATCH
from hierbert.model.ragged import batches_by_tokens
from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring.metric import METRICS
from hierbert.tasks.prepared import PreparedDocument, collate_targets
from hierbert.tasks.task import Task


class StoppedError(Exception):
    """The answers were not waited for, on any process, because one of them was asked to stop."""


class VectorSource(Protocol):
    """Where the vectors of a frozen encoder come from."""

    def batch(self, documents: Sequence[SegmentedDocument]) -> tuple[Tensor, Tensor]:
        """Segment vectors (P, H) and sentence vectors (N, H) of documents."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a model says about one document, and how far off it is.

    Attributes:
        index: Of the document in the corpus.
        kept: What each task's scoring reads, by the task's name.
        losses: Of each task, by its name; None where the document has no target.
        finite: Whether every number behind it is.
        places: Where in the document lies what it rests on, by the task's name, see `Head.places`;
            of tasks and documents for which that was asked, and can be told.
    """

    index: int
    kept: dict[str, Any]
    losses: dict[str, float | None]
    finite: bool = True
    places: dict[str, list[float]] = field(default_factory=dict)


def answer_documents(
    model: HierBertForDocuments,
    documents: Sequence[PreparedDocument],
    accelerator: Accelerator | None,
    tasks: Sequence[Task],
    vectors: VectorSource | None = None,
    description: str = "evaluating",
    stop: Callable[[], bool] | None = None,
    places_of: Collection[int] = (),
) -> list[Answer]:
    """A model's answers for a corpus, in its order, the same on every process.

    The model is a bare one, whose mode is put back. Without an accelerator, this process answers
    alone, in the model's precision; without `vectors`, tokens are encoded. `stop` is asked after
    each batch: where it says so on any process, StoppedError is raised on all. `places_of` are the
    documents of which `Answer.places` are asked, which costs no pass of the encoder.
    """
    sizes = [document.tokens for document in documents]
    processes, rank = 1, 0
    if accelerator is not None:
        processes, rank = accelerator.num_processes, accelerator.process_index
    own = share_by_tokens(range(len(documents)), sizes, processes)[rank]
    answers: list[Answer] = []
    was_training = model.training
    model.eval()
    # Evaluation from cached vectors takes a moment: nothing to show.
    shown = None if vectors is None else False
    with torch.no_grad(), Progress(sum(sizes[i] for i in own), description, "tokens", shown) as bar:
        for indices in batches_by_tokens(own, sizes.__getitem__, TOKENS_PER_BATCH):
            batch = [documents[index] for index in indices]
            answers += _answer_batch(model, indices, batch, accelerator, tasks, vectors, places_of)
            bar.advance(sum(document.tokens for document in batch))
            if stop is not None and stop():
                break
        model.train(was_training)
        # Each process answers for itself; they agree here, where they meet anyway.
        if stop is not None and any(gather_object([stop()])):
            raise StoppedError
    if accelerator is not None:
        answers = gather_object(answers)
    rows = {answer.index: answer for answer in answers}
    return [rows[index] for index in range(len(documents))]


def _answer_batch(
    model: HierBertForDocuments,
    indices: list[int],
    documents: list[PreparedDocument],
    accelerator: Accelerator | None,
    tasks: Sequence[Task],
    vectors: VectorSource | None,
    places_of: Collection[int],
) -> list[Answer]:
    segmented = [document.segmented for document in documents]
    cached = None if vectors is None else vectors.batch(segmented)
    targets = collate_targets(documents, tasks)
    with nullcontext() if accelerator is None else accelerator.autocast():
        answered = answer_batch(model, segmented, list(targets), cached, targets)
    answers = []
    for index, document, one in zip(indices, documents, answered, strict=True):
        kept = {task.name: task.keep(one, document, model.config) for task in tasks}
        finite = all(one.finite.values())
        told = [task.name for task in tasks] if finite and index in places_of else []
        places = {name: own for name in told if (own := model.heads[name].places(model, one))}
        answers.append(Answer(index, kept, one.losses, finite, places))
    return answers


def score_answers(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    tasks: Sequence[Task],
    model: HierBertForDocuments,
) -> dict[str, float]:
    """Each metric by its name, 0 to 1 (losses and errors: 0 and above).

    Documents without a target are left out of a task's scores, a task that no document has a
    target of altogether; figures of answers that are not finite are nan. Each task's loss is there
    beside their sum, weighted as the model's heads are.
    """
    scores: dict[str, float] = {}
    loss = 0.0
    for task in tasks:
        own = task.score(documents, [answer.kept[task.name] for answer in answers], model.config)
        if not own:
            continue
        scores |= own
        known = [answer.losses[task.name] for answer in answers]
        losses = [value for value in known if value is not None]
        if losses:
            scores[f"{task.name}_loss"] = float(np.mean(losses))
            loss += model.heads[task.name].loss_weight(model.config) * float(np.mean(losses))
    scores["loss"] = loss
    return scores


def not_finite(
    what: str,
    figures: Mapping[str, float],
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
) -> str | None:
    """Which figures of `what` are not finite, in one line with the documents; None if all are."""
    wrong = [f"{name} ({v:g})" for name, v in figures.items() if not math.isfinite(v)]
    if not wrong:
        return None
    ids = [documents[answer.index].id for answer in answers if not answer.finite]
    who = "every document alone has finite answers"
    if ids:
        count = f"{len(ids):,} of {len(documents):,} documents"
        who = f"{count} have answers that are not: {quote_all(ids)}"
    verb = "is" if len(wrong) == 1 else "are"
    return f"{what}: its {' and '.join(wrong)} {verb} not finite; {who}"


def check_metric(name: str, tasks: Sequence[Task], validation: Sequence[Example]) -> None:
    """Refuse a metric (ConfigError) that validation cannot give, before anything costs time."""
    allowed = ["auto", "loss"]
    for task in tasks:
        if any(task.encode(example) is not None for example in validation):
            allowed += task.metrics()
    if len(allowed) == 2:
        raise ConfigError(
            "no validation document has a label or a summary: nothing can choose the best "
            "checkpoint; give data.validation documents with some"
        )
    if name not in allowed:
        raise ConfigError(
            f"training.metric={name} is not allowed; for these validation documents choose from "
            f"{', '.join(allowed)}"
        )


def choose_metric(name: str, scores: dict[str, float], tasks: Sequence[Task]) -> float:
    """The figure that chooses checkpoints: a metric, negated where lower is better.

    "auto" is that of each task (its `auto_metric`, or among several tasks one that is bounded by 1
    like the others), in the mean. A KeyError where the scores lack the metric.
    """
    if name != "auto":
        return _greater_is_better(name, scores)
    scored = [task for task in tasks if task.auto_metric in scores]
    chosen = [
        _greater_is_better(task.auto_metric if len(scored) == 1 else task.bounded_metric, scores)
        for task in scored
    ]
    return float(np.mean(chosen)) if chosen else -scores["loss"]


def _greater_is_better(name: str, scores: dict[str, float]) -> float:
    lower = name == "loss" or METRICS[name].better == "lower"
    return -scores[name] if lower else scores[name]
