"""What a run took: tokens a second and peak memory, as its results and its model's page tell.

Figures of the run as it was, other work on the machine included; nothing is measured anew.
"""

import contextlib
import platform
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

_BYTES_PER_MIB = 2**20


class Stopwatch:
    """Seconds of a stretch of work: ``with Stopwatch() as watch: ...``, then `watch.seconds`."""

    seconds = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds = time.monotonic() - self._started


def resources(
    accelerator: Accelerator, work: dict[str, tuple[int, float]], seconds: dict[str, float]
) -> dict[str, Any]:
    """What each kind of work took; all processes call it together.

    Args:
        accelerator: The run's.
        work: For each kind, tokens that this process encoded and the seconds it took.
        seconds: Other stretches of work.

    Returns:
        `device`, `processes`, `threads`, `<kind>_tokens_per_second` of all processes together
        (None where nothing was encoded), `<stretch>_seconds`, `peak_memory_mib` of the process
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
        rate = round(tokens / longest, 1) if tokens and longest > 0 else None
        found[f"{kind}_tokens_per_second"] = rate
    for stretch, value in seconds.items():
        found[f"{stretch}_seconds"] = round(value, 1)
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
