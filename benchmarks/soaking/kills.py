"""Commands that are killed with SIGKILL in the middle of their work.

Invariant: a kill lands while the command works, not while it imports: the clock of a kill starts
when the work shows on the disk.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.common.cells import ROOT

_POLL_SECONDS = 0.01
_LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class End:
    """How a command ended.

    Attributes:
        killed: What was killed, "all" of its processes or "one" of several; empty when it ended by
            itself.
        code: Its exit code.
        said: The end of what it printed.
    """

    killed: str
    code: int
    said: str


def command(script: str, arguments: Sequence[str], processes: int) -> list[str]:
    """A command of hierbert, on one process or on several of this machine."""
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        launch += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    return [*launch, str(ROOT / script), *arguments]


def run_and_kill(
    words: Sequence[str],
    has_begun: Callable[[], bool] | None = None,
    seconds: float = 0.0,
    chance: random.Random | None = None,
) -> End:
    """Run a command, and kill it unless it ends before.

    Args:
        words: From `command`.
        has_begun: Asked until the work shows; None lets the command end by itself.
        seconds: How long it lives after that.
        chance: Whether all of its processes die at once, or one of the workers, is drawn from it;
            None kills all.

    Returns:
        How it ended; nothing of it is left running.

    Raises:
        TimeoutError: It did not begin or end within ten minutes.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=printed, stderr=printed, start_new_session=True
        )
        killed = ""
        try:
            limit = time.monotonic() + _LONGEST_SECONDS
            due = None if has_begun else float("inf")
            while process.poll() is None:
                now = time.monotonic()
                if due is None and has_begun is not None and has_begun():
                    due = now + seconds
                if due is not None and now >= due:
                    killed = _kill(process, chance)
                    break
                if now > limit:
                    raise TimeoutError(f"still running after {_LONGEST_SECONDS:.0f} s: {words}")
                time.sleep(_POLL_SECONDS)
            # What is left after one worker died, its launcher ends.
            code = process.wait(_LONGEST_SECONDS)
        finally:
            _end_all(process)
        printed.seek(0)
        said = printed.read().decode("utf-8", "replace")[-2_000:]
    return End(killed, code, said)


def _kill(process: "subprocess.Popen[bytes]", chance: random.Random | None) -> str:
    """SIGKILL to one worker or to all processes; which."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        workers = psutil.Process(process.pid).children()
        if workers and chance is not None and chance.random() < 0.5:
            chance.choice(workers).kill()
            return "one"
    _end_all(process)
    return "all"


def _end_all(process: "subprocess.Popen[bytes]") -> None:
    """All processes of a command; its launcher puts workers into sessions of their own."""
    family = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    process.wait()


def newest(folder: Path, pattern: str) -> float:
    """When the newest file of a pattern was changed; 0 where there is none."""
    times = [0.0]
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)
