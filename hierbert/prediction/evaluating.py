"""Any model on any labelled or summarized documents, scored and reported as a run's are."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from accelerate import Accelerator

from hierbert.data.columns import Columns, check_columns, field_setting, label_blanks
from hierbert.data.corpus import find_corpora, load_examples
from hierbert.data.document import Example
from hierbert.data.repeated import warn_of_repeated
from hierbert.data.sources import Corpus
from hierbert.errors import ConfigError, DataError, ModelError, not_allowed, setting_name
from hierbert.loading.fingerprints import model_fingerprint
from hierbert.log import log
from hierbert.scoring.tables import join_parts
from hierbert.tasks.evaluation import answer_documents, not_finite, score_answers
from hierbert.tasks.evidence_places import asked_for_places
from hierbert.tasks.labels import UnknownLabel
from hierbert.tasks.prepared import (
    PreparedDocument,
    length_histogram,
    lengths_of,
    log_documents,
    log_lengths,
    prepare_documents,
)
from hierbert.tasks.results import environment, report_answers, resources, result_tables
from hierbert.tasks.slices import score_slices, slice_tables
from hierbert.tasks.task import Task, tasks_of_model

if TYPE_CHECKING:
    from hierbert.prediction.predictor import HierBert

_NAME = "input"


class Evaluation(dict[str, float]):
    """A model's scores: each metric by its name, 0 to 1; losses and errors are 0 and above.

    Attributes:
        results: What `hierbert evaluate` writes as results.json: these scores, intervals, figures
            of each label, baselines, slices and more.
        report: The tables of the results, to be read.
        answers: Rows of answers.jsonl, as a run has it.
        examples: What quotes documents, for a report.
    """

    def __init__(
        self,
        results: dict[str, Any],
        report: str,
        answers: Sequence[Mapping[str, Any]] = (),
        examples: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(results["scores"])
        self.results = results
        self.report = report
        self.answers, self.examples = answers, examples or {}


def evaluate_model(
    predictor: "HierBert",
    documents: Corpus,
    *,
    text_column: str = "text",
    label_column: str | Sequence[str] | None = "label",
    summary_column: str | None = "summary",
    id_column: str | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    label_separator: str | None = None,
    empty_label: Literal["unknown", "none"] = "unknown",
    unknown_labels: Literal["refuse", "leave_out"] = "refuse",
    by: str | Sequence[str] = (),
    train: Corpus | None = None,
    baselines: bool = True,
    seed: int = 0,
    accelerator: Accelerator | None = None,
) -> Evaluation:
    """Score the model's answers, as `hierbert evaluate` does.

    Args:
        documents: A path, a glob, a Hub dataset (its test split unless another is named), or
            rows in memory, with their labels or reference summaries.
        text_column: Of the documents.
        label_column: Of the labels, where the model classifies, or several such columns; None
            leaves them out.
        summary_column: Of the reference summaries, where it summarizes; None leaves them out.
        id_column: Of the ids; None takes a column ``id``, else makes ids.
        encoding: Of text files.
        delimiter: Between the fields of csv; None where the header tells.
        columns: Of other fields that the model's tasks and features read, by the field's name,
            which is also the default; of a task's field None leaves the task out.
        label_separator: What splits a string into several labels, such as ``;``.
        empty_label: What a blank label says of several: that they are unknown, or that none
            applies.
        unknown_labels: "leave_out" leaves documents out whose label the model does not know.
        by: Columns whose values are scored each for itself, in ``results["slices"]``.
        train: Training documents, in the same columns, for baselines that learn from some.
        baselines: Whether to score those that the model has to beat too.
        seed: Of intervals and of random baselines.
        accelerator: Of several processes that call this together; but on the first, what they get
            is the scores alone.

    Returns:
        Each metric by its name, 0 to 1; losses and errors are 0 and above. It is a dict, with
        all that was found in its `results`, and tables of it in its `report`.

    Raises:
        ConfigError: `columns` names a field that the model does not read, or is no mapping; or
            a setting changes nothing with this model.
        DataError: A column is missing, a label is unknown, or nothing can be scored.
        ModelError: The model gives no finite numbers.
        RunError: The device has too little memory.
    """
    started = time.monotonic()
    predictor.check_tasks(None)
    model = predictor.model
    own = {"label": label_column, "summary": summary_column}
    tasks, fields = _asked(predictor, own, {} if columns is None else columns)
    if empty_label not in ("unknown", "none"):
        raise not_allowed("empty_label", empty_label, "unknown, none")
    for name, given in (
        ("label_separator", label_separator is not None),
        ("empty_label", empty_label != "unknown"),
    ):
        if given and "label" not in fields:
            raise ConfigError("is for labels, and none are read", setting=name)
    written = {field_setting(name): column for name, column in fields.items()}
    written |= {"label_separator": label_separator, "empty_label": empty_label}
    tasks = [task.reading(written) for task in tasks]
    learning = [task for task in tasks if baselines and task.learning_baselines()]
    if train is not None and not learning:
        raise ConfigError(
            "is given, and no baseline learns from training documents", setting="train"
        )
    by = [by] if isinstance(by, str) else list(by)
    kept = {name: name for name in by}
    read = Columns(text_column, id_column, fields, delimiter, kept, label_blanks(empty_label))
    specs = {"documents": documents} | ({} if train is None else {"train": train})
    sources = find_corpora(specs, read)
    examples = load_examples(sources["documents"], read, encoding)
    examples, left_out = _known(examples, tasks, unknown_labels)
    if not any(task.encode(example) is not None for task in tasks for example in examples):
        reason = f" ({left_out:,} are left out, for the model does not know their labels)"
        raise DataError(
            f"no document has a label or a summary to score by{reason if left_out else ''}; name "
            f"their column with {setting_name('label_column')} or "
            f"{setting_name('summary_column')}, and those of other fields with columns"
        )
    log_documents(_NAME, examples, tasks)
    train_prepared: list[PreparedDocument] = []
    if train is not None:
        learnt = load_examples(sources["train"], replace(read, kept={}), encoding)
        learnt, _ = _known(learnt, tasks, unknown_labels)
        log_documents("train", learnt, learning)
        warn_of_repeated({"train": learnt, _NAME: examples})
        train_prepared = prepare_documents(
            learnt, predictor.processor, learning, description="segmenting train"
        )
    elif titles := [title for task in learning for title in task.learning_baselines()]:
        log.info(f"left out without training documents (train): {', '.join(titles)}")
    prepared = prepare_documents(
        examples, predictor.processor, tasks, description=f"segmenting {_NAME}"
    )
    log_lengths({_NAME: prepared}, predictor.processor)
    with predictor.reading():
        began = time.monotonic()
        if predictor.vectors is not None and accelerator is not None:
            predictor.vectors.fill([one.segmented for one in prepared], accelerator)
        answers = answer_documents(
            model,
            prepared,
            accelerator,
            tasks,
            predictor.vectors,
            places_of=asked_for_places(prepared),
        )
        seconds = time.monotonic() - began
    scores = score_answers(answers, prepared, tasks, model)
    problem = not_finite("the model's answers", scores, answers, prepared)
    if problem is not None:
        raise ModelError(problem)
    # Of vectors that were found, tokens a second would mislead.
    tokens = sum(one.tokens for one in prepared)
    work = {} if predictor.vectors else {"scoring": (tokens, seconds)}
    took = resources(work, model.device, accelerator)
    if accelerator is not None and not accelerator.is_main_process:
        return Evaluation({"scores": scores}, "")
    entries, rows, quoted = report_answers(
        answers,
        prepared,
        tasks,
        model.config,
        train=train_prepared,
        seed=seed,
        baselines=baselines,
    )
    results: dict[str, Any] = {
        "model": {
            "fingerprint": model_fingerprint(model, predictor.processor),
            "revision": predictor.commit,
            "dtype": predictor.dtype,
        },
        "input": _names(documents),
        "train": None if train is None else _names(train),
        "split": _NAME,
        "documents": len(prepared),
        "left_out": left_out,
        "seed": seed,
        "scores": scores,
        **entries,
    }
    values = {name: [example.kept[name] for example in examples] for name in kept}
    results["slices"] = score_slices(answers, prepared, values, tasks, model, seed)
    results |= {
        "lengths": {_NAME: lengths_of(prepared)},
        "length_histogram": length_histogram({_NAME: prepared}),
        "resources": took,
        "seconds": round(time.monotonic() - started, 1),
        "environment": environment(),
    }
    tables = [*result_tables(tasks, results), *slice_tables(tasks, results["slices"])]
    return Evaluation(results, join_parts(tables), rows, quoted)


def _asked(
    predictor: "HierBert", own: Mapping[str, Any], columns: Mapping[str, str | None]
) -> tuple[list[Task], dict[str, Any]]:
    """The model's tasks whose column is not None, and the columns that are read, by field."""
    tasks = tasks_of_model(predictor.model.config)
    of_tasks = {task.field for task in tasks if task.field}
    of_features, needed = predictor.processor.fields, predictor.processor.needed_fields
    optional = [*of_features, *(name for task in tasks for name in task.optional_fields)]
    others = check_columns(
        columns, [*optional, *of_tasks], may_lack=of_tasks.difference(of_features)
    )
    given = {**own, **others}
    asked = [
        task
        for task in tasks
        if task.field is None or given.get(task.field, task.field) is not None
    ]
    read = [task.field for task in asked if task.field]
    read += [name for name in dict.fromkeys(optional) if name in needed or name in others]
    return asked, {name: given.get(name) or name for name in read}


def _known(
    examples: Sequence[Example], tasks: Sequence[Task], unknown_labels: str
) -> tuple[list[Example], int]:
    """The examples whose labels the model knows, and how many are left out."""
    if unknown_labels not in ("refuse", "leave_out"):
        raise not_allowed("unknown_labels", unknown_labels, "refuse, leave_out")
    known = []
    for example in examples:
        try:
            for task in tasks:
                task.encode(example)
        except UnknownLabel:
            if unknown_labels == "refuse":
                raise
        else:
            known.append(example)
    left_out = len(examples) - len(known)
    if left_out:
        log.info(f"left out, for the model does not know their labels: {left_out:,} documents")
    return known, left_out


def _names(documents: Corpus) -> list[str] | None:
    """The names by which documents were given; None for rows in memory."""
    given: Any = documents if isinstance(documents, list) else [documents]
    if all(isinstance(one, str | os.PathLike) for one in given):
        return [os.fspath(one) for one in given]
    return None
