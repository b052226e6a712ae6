"""A process and all it has started, ended at once and without warning, as kill -9 does.

It ends nothing but what was started here, by process ids.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.common.cells import ROOT


def start(
    arguments: Sequence[str],
    processes: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> psutil.Popen:
    """Start a script of the repository, on several processes through torchrun.

    Args:
        arguments: The script, from the root of the repository, and its arguments.
        processes: How many.
        log: Where what it prints is added.
        environment: Variables beside the own ones.

    Returns:
        The process; that of torchrun where there are several.
    """
    script, *rest = arguments
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        launch += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    variables = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        **(environment or {}),
    }
    with log.open("ab") as sink:
        return psutil.Popen(
            [*launch, str(ROOT / script), *rest], stdout=sink, stderr=sink, env=variables
        )


def kill_all(process: psutil.Popen) -> None:
    """Send SIGKILL to a process and to everything below it, and wait for its end."""
    with suppress(psutil.NoSuchProcess):
        # Stopped, it starts nothing while we look.
        process.suspend()
        below = process.children(recursive=True)
        for one in below:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.kill()
        psutil.wait_procs(below, timeout=30)
    process.wait()


def kill_one(process: psutil.Popen, number: int, timeout_seconds: float) -> None:
    """Send SIGKILL to one process of several; what started them ends the others by itself.

    Args:
        process: torchrun.
        number: Which of its workers, in the order of their ids.
        timeout_seconds: After that everything is killed.
    """
    workers = []
    with suppress(psutil.NoSuchProcess):
        workers = sorted(process.children(), key=lambda one: one.pid)
    if not workers:
        kill_all(process)
        return
    with suppress(psutil.NoSuchProcess):
        workers[number % len(workers)].kill()
    try:
        process.wait(timeout_seconds)
    except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
        kill_all(process)
