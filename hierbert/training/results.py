"""What a run prints and writes at its end: results.json, tables, the model, and what it took."""

import contextlib
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.errors import printable
from hierbert.files import write_folder_whole, write_json
from hierbert.log import log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.tasks.evaluation import Answer
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Task
from hierbert.training.run_folder import writing

_BYTES_PER_MIB = 2**20


def lengths_of(documents: Sequence[PreparedDocument]) -> dict[str, int]:
    """Median, 90th percentile (the nearest document above), longest and sum of tokens."""
    sizes = sorted(document.tokens for document in documents)
    return {
        "documents": len(sizes),
        "median_tokens": sizes[len(sizes) // 2],
        "p90_tokens": sizes[math.ceil(0.9 * len(sizes)) - 1],
        "longest_tokens": sizes[-1],
        "tokens": sum(sizes),
    }


def log_lengths(
    splits: Mapping[str, Sequence[PreparedDocument]], processor: HierBertProcessor
) -> None:
    """Say how long the documents are, and what was left out of them."""
    for name, documents in splits.items():
        numbers = lengths_of(documents)
        log.info(
            f"{name}: {numbers['tokens']:,} tokens in segments of up to "
            f"{processor.max_tokens_per_segment}; a document has {numbers['median_tokens']:,} "
            f"(median), {numbers['p90_tokens']:,} (90 %), {numbers['longest_tokens']:,} (longest)"
        )
        omissions = [d.segmented.omission for d in documents if d.segmented.omission]
        if omissions:
            tokens = sum(omission.tokens for omission in omissions)
            share = 100 * tokens / (tokens + numbers["tokens"])
            log.info(
                f"{name}: segmentation.max_segments={processor.max_segments} left out "
                f"{tokens:,} tokens ({share:.1f} %) of {len(omissions):,} documents"
            )


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


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results.json whole; a RunError if it cannot be written."""
    with writing(path):
        write_json(path, results)


def environment() -> dict[str, str]:
    """Versions that figures depend on."""
    from hierbert import __version__

    return {
        "hierbert": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def save_model(folder: Path, model: HierBertForDocuments, processor: HierBertProcessor) -> None:
    """Write the model and its processor as `from_pretrained` reads them to `folder`, whole.

    Raises:
        RunError: It cannot be written.
    """

    def write(aside: Path) -> None:
        model.save_pretrained(aside)
        processor.save_pretrained(aside)

    with writing(folder):
        write_folder_whole(folder, write)


def resources(
    accelerator: Accelerator, work: Mapping[str, tuple[int, float]], training_seconds: float
) -> dict[str, Any]:
    """What a run took, other work on the machine included; all processes call it together.

    Args:
        accelerator: The run's.
        work: For each kind, tokens that this process encoded and the seconds it took.
        training_seconds: Of the training steps and their evaluations.

    Returns:
        `device`, `processes`, `threads`, `<kind>_tokens_per_second` of all processes together
        (None where nothing was encoded), `training_seconds`, `peak_memory_mib` of the process
        that took most (None where the system does not tell), and on a GPU
        `peak_device_memory_mib`.
    """
    gpu = accelerator.device.type == "cuda"
    device_mib = torch.cuda.max_memory_allocated() / _BYTES_PER_MIB if gpu else None
    gathered = gather_object([(work, peak_memory_mib(), device_mib)])
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else _device_name(accelerator.device),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }
    for kind in work:
        tokens = sum(other[kind][0] for other, _, _ in gathered)
        longest = max(other[kind][1] for other, _, _ in gathered)
        found[f"{kind}_tokens_per_second"] = (
            round(tokens / longest, 1) if tokens and longest else None
        )
    found["training_seconds"] = round(training_seconds, 1)
    peaks = [peak for _, peak, _ in gathered if peak is not None]
    found["peak_memory_mib"] = round(max(peaks), 1) if peaks else None
    if gpu:
        found["peak_device_memory_mib"] = round(max(peak for _, _, peak in gathered), 1)
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
