"""A process and all it has started, ended at once and without warning, as kill -9 does.

It ends nothing but what was started here, by process ids.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.common.cells import ROOT

LONGEST_SECONDS = 600
_POLL_SECONDS = 0.002


class SoakError(Exception):
    """Work failed by itself; the message holds the end of what it printed."""


def start(arguments: Sequence[str], processes: int, log: Path) -> psutil.Popen:
    """Start a script of the repository, through torchrun on several processes.

    What it prints is added to the log.
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
    }
    with log.open("ab") as sink:
        return psutil.Popen(
            [*launch, str(ROOT / script), *rest], stdout=sink, stderr=sink, env=variables
        )


def ends_before(
    process: psutil.Popen,
    name: str,
    is_time: Callable[[], bool],
    longest_seconds: float = LONGEST_SECONDS,
) -> bool:
    """Whether a process comes to its end by itself before it is time to kill it.

    A SoakError where neither comes in that time.
    """
    deadline = time.monotonic() + longest_seconds
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise SoakError(f"{name} did not end in {longest_seconds:g} s")
        if is_time():
            return process.poll() is not None
        time.sleep(_POLL_SECONDS)
    return True


def last_words(log: Path) -> str:
    """The end of what was printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-5:])


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
    """Send SIGKILL to one of torchrun's workers, by the order of their ids.

    What started them ends the others by itself; what has not ended after the timeout is killed.
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
