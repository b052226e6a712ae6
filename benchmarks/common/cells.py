"""One process for each measurement of memory, within a limit of time and of memory.

Invariant: a cell that is stopped says which limit stopped it; a cell that fails says why.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.common.rounds import say

ROOT = Path(__file__).resolve().parent.parent.parent
_POLL_SECONDS = 0.05
_LONGEST_REASON = 200
MIB, GIB = 2**20, 2**30
# Of the memory that is free: the rest is for the system and for this process.
_SHARE_OF_FREE = 0.85


@dataclass(frozen=True)
class Cell:
    """What a process measured, or None and why it did not get to its end; and its seconds."""

    result: dict[str, Any] | None
    stopped: str
    seconds: float


def run_cell(
    module: str, request: dict[str, Any], timeout_seconds: float, max_rss_gib: float
) -> Cell:
    """Run a module of the benchmarks in a process of its own, within these limits.

    It is called with `--cell REQUEST --cell-output FILE`, and seen every 50 ms.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "cell.json"
        errors = Path(scratch) / "errors.txt"
        command = [sys.executable, "-m", module, "--cell", json.dumps(request)]
        command += ["--cell-output", str(output)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        with errors.open("wb") as sink:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=sink)
            try:
                stopped = _watch(process, timeout_seconds, max_rss_gib)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        seconds = time.monotonic() - started
        if stopped:
            return Cell(None, stopped, seconds)
        if not output.is_file():
            return Cell(None, _reason(errors, process.returncode), seconds)
        result = json.loads(output.read_text(encoding="utf-8"))
        if "unavailable" in result:
            return Cell(None, result["unavailable"], seconds)
        return Cell(result, "", seconds)


class Cells:
    """The cells of one run, kept for its JSON file, each within a limit of time and of memory.

    What is `hidden` goes into every request, and not into what is kept or said of it.
    """

    def __init__(self, timeout_seconds: float, most_gib: float = math.inf, **hidden: Any) -> None:
        self.timeout_seconds = timeout_seconds
        self.most_gib = most_gib
        self.hidden = hidden
        self.done: list[dict[str, Any]] = []

    def run(self, module: str, timeout_seconds: float | None = None, **request: Any) -> Cell:
        """Run a cell within the memory that is free, and say how it ended; see `run_cell`."""
        limits = (timeout_seconds or self.timeout_seconds, min(self.most_gib, usable_memory_gib()))
        cell = run_cell(f"benchmarks.{module}", {**request, **self.hidden}, *limits)
        size = " ".join(f"{v:,}" if isinstance(v, int) else str(v) for v in request.values())
        say(f"{size}: {cell.stopped or f'{cell.seconds:.0f} s'}")
        self.done.append({"request": request, "result": cell.result, "stopped": cell.stopped})
        return cell


def answer_request(
    doc: str | None, measure: Callable[[dict[str, Any], str], dict[str, Any] | None]
) -> None:
    """The command line of a cell: measure what is asked for and write it down.

    `measure` takes the request and the file for the answer, which it may write itself.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--cell", required=True, help="the request, as JSON")
    parser.add_argument("--cell-output", required=True, help="where the answer goes")
    options = parser.parse_args()
    result = measure(json.loads(options.cell), options.cell_output)
    if result is not None:
        answer(options.cell_output, result)


def answer(output: str, result: dict[str, Any]) -> None:
    """Write what a cell measured, for the process that started it."""
    Path(output).write_text(json.dumps(result), encoding="utf-8")


def usable_memory_gib() -> float:
    """Memory that a cell may have now."""
    return _SHARE_OF_FREE * psutil.virtual_memory().available / GIB


def _watch(process: subprocess.Popen[bytes], timeout_seconds: float, max_rss_gib: float) -> str:
    """Wait for a process; why it was stopped, or nothing when it ended by itself."""
    watched = psutil.Process(process.pid)
    deadline = time.monotonic() + timeout_seconds
    while process.poll() is None:
        try:
            used = watched.memory_info().rss / GIB
        except psutil.Error:
            break
        if used > max_rss_gib:
            process.kill()
            return f"stopped: more than {max_rss_gib:.1f} GiB"
        if time.monotonic() > deadline:
            process.kill()
            return f"stopped: more than {timeout_seconds:.0f} s"
        time.sleep(_POLL_SECONDS)
    process.wait()
    return ""


def _reason(errors: Path, code: int) -> str:
    lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was said")
    return f"failed with exit code {code}: {last[:_LONGEST_REASON]}"
