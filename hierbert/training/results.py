"""What a run finds and leaves at its end: results.json, tables and the model."""

import copy
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hierbert.errors import RunError, printable
from hierbert.files import write_folder_whole, write_json, write_text
from hierbert.log import format_seconds, log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.prediction.mistake_pages import write_mistake_pages
from hierbert.prediction.predictor import HierBert
from hierbert.reporting.report import report_folder
from hierbert.scoring.tables import join_parts
from hierbert.tasks.evaluation import Answer, not_finite, score_answers
from hierbert.tasks.evidence_places import asked_for_places
from hierbert.tasks.prepared import PreparedDocument, length_histogram, lengths_of
from hierbert.tasks.results import environment, report_answers, resources, result_tables
from hierbert.tasks.slices import score_slices
from hierbert.tasks.task import Completed, HeldOut, Task
from hierbert.training.loop import TrainingLoop
from hierbert.training.nonfinite import HELP
from hierbert.training.processes import on_first_process
from hierbert.training.run import Run
from hierbert.training.run_folder import writing


def score_run(
    run: Run, loop: TrainingLoop, started: float
) -> tuple[dict[str, Any], list[Answer], list[dict[str, Any]], dict[str, Any]]:
    """Calibrate on the validation documents and score the test documents, else the validation's.

    Gives what results.json is to hold, the answers that were scored, the rows of answers.jsonl, and
    examples for the report; a RunError where a score is not finite. The run `started` then, by the
    monotonic clock.
    """
    completed, fitted = _complete(run)
    split = "test" if "test" in run.splits else "validation"
    documents, state = run.splits[split], loop.state
    began = time.monotonic()
    answers, scores = _scored(run, split, f"scoring {split}", asked_for_places(documents))
    seconds = time.monotonic() - began
    work = {"encoding": run.encoding}
    # Of a frozen encoder, these read vectors: tokens a second would mislead.
    if run.vectors is None:
        work["training"] = loop.tokens, loop.seconds
        work["scoring"] = sum(one.tokens for one in documents), seconds
    results: dict[str, Any] = {
        "split": split,
        "documents": len(documents),
        "seed": run.config.seed,
        "epochs": state.epoch,
        "steps": state.step,
        "best_step": state.best_step,
        "nonfinite_steps": state.nonfinite_steps,
        "scores": scores,
        # Of the weights that steps have left in the model, without what was fitted beside them.
        "validation": state.best_scores,
    }
    took = resources(work, run.accelerator.device, run.accelerator)
    took["training_seconds"] = round(loop.seconds, 1)
    took["course"] = loop.course

    def complete() -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
        entries, rows, examples = report_answers(
            answers,
            documents,
            run.tasks,
            run.model.config,
            train=run.splits["train"],
            seed=run.config.seed,
            baselines=run.config.baselines,
            vectors=run.unlearnt_vectors,
        )
        entries |= {
            **fitted,
            **_members(run, completed, documents, answers, fitted),
            "slices": score_slices(answers, documents, {}, run.tasks, run.model, run.config.seed),
            "lengths": {name: lengths_of(own) for name, own in run.splits.items()},
            "length_histogram": length_histogram(run.splits),
            "resources": took,
            "seconds": round(time.monotonic() - started, 1),
            "environment": environment(),
        }
        return entries, rows, examples

    entries, rows, examples = on_first_process(run.accelerator, complete)
    return results | entries, answers, rows, examples


def _scored(
    run: Run, split: str, description: str, places_of: Collection[int] = ()
) -> tuple[list[Answer], dict[str, float]]:
    """Answers for a split and their scores; a RunError where one is not finite."""
    answers = run.answer(split, description, places_of=places_of)
    documents = run.splits[split]
    scores = score_answers(answers, documents, run.tasks, run.model)
    problem = not_finite(f"scoring {split}", scores, answers, documents)
    if problem is not None:
        where = run.folder / "metrics.jsonl"
        raise RunError(f"{problem}; {HELP} (training itself is done, see {where})")
    return answers, scores


def _complete(run: Run) -> tuple[dict[str, Completed], dict[str, Any]]:
    """Fit in the model what is not learnt by steps; what was fitted, by task, and its results."""
    if not any(task.calibrates for task in run.tasks):
        return {}, {}
    validation = run.splits["validation"]
    answers, _ = _scored(run, "validation", "calibrating")
    completed: dict[str, Completed] = {}
    entries: dict[str, Any] = {}
    for task in run.tasks:
        kept = [answer.kept[task.name] for answer in answers]

        def fit(
            task: Task = task, kept: Sequence[Any] = kept
        ) -> tuple[Completed | None, dict[str, Any]]:
            found = task.complete(run.model, run.splits, kept, run.unlearnt_vectors, run.processor)
            held_out = HeldOut(validation, kept) if found is None else found.held_out
            if not (run.config.training.calibrate and task.calibrates):
                return found, {}
            return found, task.calibrate(held_out.documents, held_out.kept, run.model.config)

        found, fitted = on_first_process(run.accelerator, fit)
        if found is not None:
            found.put_into(run.model)
            completed[task.name] = found
            entries |= found.results
            log.info(found.line)
        if fitted:
            run.model.config.update(fitted["config"])
            entries |= fitted["results"]
            log.info(fitted["line"])
    if completed:
        run.processor = HierBertProcessor.from_config(run.processor.tokenizer, run.model.config)
    for task in run.tasks:
        if task.tunes:
            answers, _ = _scored(run, "validation", "choosing how to select")
            kept = [answer.kept[task.name] for answer in answers]

            def tune(task: Task = task, kept: Sequence[Any] = kept) -> dict[str, Any]:
                return task.tune(validation, kept, run.model.config)

            tuned = on_first_process(run.accelerator, tune)
            run.model.config.update(tuned["config"])
            entries |= tuned["results"]
            log.info(tuned["line"])
    return completed, entries


def _members(
    run: Run,
    completed: Mapping[str, Completed],
    documents: Sequence[PreparedDocument],
    answers: Sequence[Answer],
    fitted: Mapping[str, Any],
) -> dict[str, Any]:
    """What was fitted, with scores of the parts of a model as they would answer alone."""
    scores: dict[str, dict[str, float]] = {}
    ends: dict[str, dict[str, dict[str, float]]] = {}
    for task in run.tasks:
        if task.name not in completed:
            continue
        kept = [answer.kept[task.name] for answer in answers]
        config = run.model.config
        parts = completed[task.name].members(documents, kept, config, run.vectors)
        for name, (held_out, own) in parts.items():
            alone = copy.deepcopy(config)
            if run.config.training.calibrate:
                own_fit = task.calibrate(held_out.documents, held_out.kept, alone)
                alone.update(own_fit.get("config", {}))
            scores[name] = task.score(documents, own, alone)
            ends[name] = task.intervals(documents, own, alone, run.config.seed)
    members = {**fitted.get("members", {}), "scores": scores, "intervals": ends}
    return {"members": members} if scores else {}


def save_run(
    run: Run,
    results: dict[str, Any],
    answers: Sequence[Answer],
    rows: Sequence[Mapping[str, Any]],
    examples: Mapping[str, Any],
) -> str:
    """Write model, answers.jsonl, results.json and report, each whole, on the first process.

    Gives what there is to read of the results; an empty text on other processes.
    """
    report: list[str] = []
    if run.accelerator.is_main_process:

        def write(aside: Path) -> None:
            run.model.save_pretrained(aside)
            run.processor.save_pretrained(aside)

        with writing(run.folder / "model"):
            write_folder_whole(run.folder / "model", write)
        with writing(run.folder / "answers.jsonl"):
            lines = "".join(f"{json.dumps(row)}\n" for row in rows)
            write_text(run.folder / "answers.jsonl", lines)
        with writing(run.folder / "results.json"):
            write_json(run.folder / "results.json", results)
        if run.config.report == "pages":
            write_mistake_pages(run.folder, HierBert(run.model, run.processor), examples)
        report_folder(run.folder, run.config.report, examples)
        report += result_tables(run.tasks, results)
        if run.config.show_sample:
            split = results["split"]
            first = run.splits[split][0], answers[0]
            report.append(sample_answer(*first, run.tasks, split, run.model.config))
        log.info(f"run folder: {run.folder} ({format_seconds(results['seconds'])})")
    run.accelerator.wait_for_everyone()
    return join_parts(report)


def sample_answer(
    document: PreparedDocument,
    answer: Answer,
    tasks: Sequence[Task],
    split: str,
    config: HierBertConfig,
) -> str:
    """A document of a split and the model's answers to it, in some lines."""
    lines = [f"One {split} document: {document.id}"]
    for task in tasks:
        lines += task.sample(document, answer.kept[task.name], config)
    # They quote what stands in a stranger's document.
    return "\n".join(printable(line) for line in lines)
