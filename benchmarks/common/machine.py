"""What machine this is, how fast it multiplies matrices right now, and how much memory was used.

The probe is the yardstick of every timed figure: a matrix product of the encoder's own size.
"""

import gc
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GIB = 2**30
_PROBE_ROWS = 2_048
_PROBE_PRODUCTS = 9


def machine_facts() -> dict[str, Any]:
    """Processor, cores, memory, and the versions that decide how fast it is."""
    import numpy
    import psutil  # type: ignore[import-untyped]
    import tokenizers
    import torch
    import transformers

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "system": platform.system(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "numpy": numpy.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def show_machine(facts: dict[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB; torch "
        f"{facts['torch']} ({facts['cpu_capability']}), transformers {facts['transformers']}, "
        f"{facts['threads']} threads"
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return f"{name} (family {fields.get('cpu family', '?')} model {fields.get('model', '?')})"


class GemmProbe:
    """A float32 matrix product of the size of the encoder's feed-forward layer."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)
        self.left = torch.randn(_PROBE_ROWS, hidden_size, generator=generator)
        self.right = torch.randn(hidden_size, intermediate_size, generator=generator)
        self.result = torch.empty(_PROBE_ROWS, intermediate_size)
        self.flops = 2 * _PROBE_ROWS * hidden_size * intermediate_size

    def __call__(self) -> float:
        """GFLOP/s now: the median of some products, after one that does not count."""
        import torch

        seconds = []
        with torch.inference_mode(False), torch.no_grad():
            for _ in range(_PROBE_PRODUCTS + 1):
                started = time.perf_counter()
                torch.mm(self.left, self.right, out=self.result)
                seconds.append(time.perf_counter() - started)
        return self.flops / statistics.median(seconds[1:]) / 1e9


def timed(task: Callable[[], object]) -> float:
    """Seconds a task takes, with no garbage of earlier ones to collect in between."""
    gc.collect()
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def peak_rss_bytes() -> int:
    """The greatest resident size of this process so far.

    On Linux from VmHWM: ru_maxrss begins at the size of the process that started this one.
    """
    status = _status("VmHWM")
    if status is not None:
        return status
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss_bytes() -> int:
    """The resident size of this process now."""
    status = _status("VmRSS")
    if status is not None:
        return status
    import psutil

    return int(psutil.Process().memory_info().rss)


def _status(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
