"""What results say of documents that were scored, whoever scored them: a run, or `evaluate`."""

import contextlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.scoring.answers import text_hash
from hierbert.tasks.evaluation import Answer, VectorSource
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Scored, Task

_BYTES_PER_MIB = 2**20


def report_answers(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    tasks: Sequence[Task],
    config: HierBertConfig,
    *,
    train: Sequence[PreparedDocument] = (),
    seed: int = 0,
    baselines: bool = True,
    vectors: VectorSource | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Entries of results.json that every task makes of answers; rows of answers.jsonl; examples.

    The arguments are those of `Scored`. A row has what each system answers, by the task's name.
    Examples quote documents, see `Task.report`.
    """
    entries: dict[str, Any] = {}
    examples: dict[str, Any] = {}
    rows: list[dict[str, Any]] = [
        {"id": one.id, "tokens": one.tokens, "text_hash": text_hash(one.segmented.text)}
        for one in documents
    ]
    for task in tasks:
        kept = [answer.kept[task.name] for answer in answers]
        own = task.report(Scored(documents, kept, train, config, seed, baselines, vectors))
        systems = own.pop("by_document", {})
        examples |= own.pop("examples", {})
        places = [i for i, one in enumerate(documents) if one.targets[task.name] is not None]
        for number, place in enumerate(places if systems else ()):
            rows[place][task.name] = {name: each[number] for name, each in systems.items()}
        entries |= own
    return entries, rows, examples


def result_tables(tasks: Sequence[Task], results: dict[str, Any]) -> Iterator[str]:
    """What there is to read of results.json, for a terminal: its tables."""
    for task in reversed(tasks):
        yield from task.tables(results)


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
    work: Mapping[str, tuple[int, float]], device: torch.device, accelerator: Accelerator | None
) -> dict[str, Any]:
    """The "resources" of results.json; all processes of an accelerator call it together.

    From the tokens and seconds of each kind of work, others' work on the machine included: None for
    a rate where nothing was encoded, and for the peak (of the process that took most) where the
    system does not tell.
    """
    gpu = device.type == "cuda"
    gathered = [memory_now(device)]
    if accelerator is not None:
        gathered = gather_object(gathered)
    peaks = [one["memory_mib"] for one in gathered if "memory_mib" in one]
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else _device_name(device),
        "processes": 1 if accelerator is None else accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }
    for kind, (tokens, seconds) in work.items():
        rate = round(tokens / seconds, 1) if tokens and seconds else None
        found[f"{kind}_tokens_per_second"] = rate
    found["peak_memory_mib"] = max(peaks, default=None)
    if gpu:
        found["peak_device_memory_mib"] = max(one["device_memory_mib"] for one in gathered)
    return found


def memory_now(device: torch.device) -> dict[str, float]:
    """The most memory that this process, and its device, have held so far, where they tell."""
    found = {"memory_mib": peak_memory_mib()}
    if device.type == "cuda":
        found["device_memory_mib"] = torch.cuda.max_memory_allocated() / _BYTES_PER_MIB
    return {name: round(value, 1) for name, value in found.items() if value is not None}


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
