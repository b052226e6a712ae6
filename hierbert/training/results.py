"""What a run finds and leaves at its end: results.json, tables, the model, and what it took."""

import contextlib
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.errors import RunError, printable
from hierbert.files import write_folder_whole, write_json
from hierbert.log import format_seconds, log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.tasks.evaluation import Answer, score_answers
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Scored, Task
from hierbert.training.loop import TrainingLoop
from hierbert.training.nonfinite import not_finite
from hierbert.training.processes import on_first_process
from hierbert.training.run import Run, lengths_of
from hierbert.training.run_folder import writing

_BYTES_PER_MIB = 2**20


def score_run(run: Run, loop: TrainingLoop, started: float) -> tuple[dict[str, Any], list[Answer]]:
    """Calibrate on the validation documents and score the test documents, else the validation's.

    Gives what results.json is to hold, and the answers that were scored; a RunError where a score
    is not finite. The run `started` then, by the monotonic clock.
    """
    calibration = _calibrate(run) if run.config.training.calibrate else {}
    split = "test" if "test" in run.splits else "validation"
    documents, state = run.splits[split], loop.state
    began = time.monotonic()
    answers = run.answer(split, f"scoring {split}")
    seconds = time.monotonic() - began
    scores = score_answers(answers, documents, run.tasks, run.model)
    problem = not_finite(f"scoring {split}", scores, answers, documents)
    if problem is not None:
        where = run.folder / "metrics.jsonl"
        raise RunError(f"{problem} (training itself is done, see {where})")
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
        # Of the weights that are in the model now.
        "validation": state.best_scores,
    }
    took = resources(run.accelerator, work, loop.seconds)

    def complete() -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for task in run.tasks:
            scored = Scored(
                documents=documents,
                kept=[answer.kept[task.name] for answer in answers],
                train=run.splits["train"],
                config=run.model.config,
                seed=run.config.seed,
                baselines=run.config.baselines,
            )
            entries |= task.report(scored)
        return entries | {
            **calibration,
            "lengths": {name: lengths_of(own) for name, own in run.splits.items()},
            "resources": took,
            "seconds": round(time.monotonic() - started, 1),
            "environment": environment(),
        }

    return results | on_first_process(run.accelerator, complete), answers


def _calibrate(run: Run) -> dict[str, Any]:
    """Fit answers to the validation documents, in the model's config."""
    validation, answers = run.splits["validation"], run.answer("validation", "calibrating")
    entries: dict[str, Any] = {}
    for task in run.tasks:
        fitted = task.calibrate(validation, [answer.kept[task.name] for answer in answers])
        if fitted:
            run.model.config.update(fitted["config"])
            entries |= fitted["results"]
            log.info(fitted["line"])
    return entries


def save_run(run: Run, results: dict[str, Any], answers: Sequence[Answer]) -> str:
    """Write the model and results.json, each whole, on the first process.

    Gives what there is to read of the results; an empty text on other processes.
    """
    report = ""
    if run.accelerator.is_main_process:

        def write(aside: Path) -> None:
            run.model.save_pretrained(aside)
            run.processor.save_pretrained(aside)

        with writing(run.folder / "model"):
            write_folder_whole(run.folder / "model", write)
        with writing(run.folder / "results.json"):
            write_json(run.folder / "results.json", results)
        tables = [table for task in reversed(run.tasks) for table in task.tables(results)]
        report = "\n{}\n".format("\n\n".join(tables))
        if run.config.show_sample:
            split = results["split"]
            first = run.splits[split][0], answers[0]
            report += "\n" + sample_answer(*first, run.tasks, split, run.model.config)
        log.info(f"run folder: {run.folder} ({format_seconds(results['seconds'])})")
    run.accelerator.wait_for_everyone()
    return report


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


def environment() -> dict[str, str]:
    """Versions that figures depend on."""
    from hierbert import __version__

    return {
        "hierbert": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def resources(
    accelerator: Accelerator, work: Mapping[str, tuple[int, float]], training_seconds: float
) -> dict[str, Any]:
    """The "resources" of results.json; all processes call it together.

    From the tokens and seconds of each kind of work, others' work on the machine included: None for
    a rate where nothing was encoded, and for the peak (of the process that took most) where the
    system does not tell.
    """
    gpu = accelerator.device.type == "cuda"
    device_mib = torch.cuda.max_memory_allocated() / _BYTES_PER_MIB if gpu else 0.0
    gathered = gather_object([(peak_memory_mib(), device_mib)])
    peaks = [peak for peak, _ in gathered if peak is not None]
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else _device_name(accelerator.device),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }
    for kind, (tokens, seconds) in work.items():
        rate = round(tokens / seconds, 1) if tokens and seconds else None
        found[f"{kind}_tokens_per_second"] = rate
    found["training_seconds"] = round(training_seconds, 1)
    found["peak_memory_mib"] = round(max(peaks), 1) if peaks else None
    if gpu:
        found["peak_device_memory_mib"] = round(max(peak for _, peak in gathered), 1)
    return found


def _device_name(device: torch.device) -> str:
    if device.type != "cpu":
        return device.type.upper()
    # Only Linux tells the model, and only there `platform.processor` does not.
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or "CPU"


def peak_memory_mib() -> float | None:
    """The most memory this process has held so far, in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    # Where there is /proc: of this process alone, while ru_maxrss begins at what its parent held.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / _BYTES_PER_MIB if sys.platform == "darwin" else peak / 1024
