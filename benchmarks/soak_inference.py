"""The inference half of the soak test: batch jobs that are killed again and again.

A job writes shards of a generated corpus, some rows of which are broken, on one to three processes
or on Ray, another way each time it is resumed. It is killed at random until it ends; then its
output is held, row by row, against that of a job of one process that nobody touched, and against
the corpus itself. When a job comes to its end before all kills are spent, another begins.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.common import kills as killing
from benchmarks.common.kills import SoakError, ends_before, kill_all
from benchmarks.common.models import save_model
from benchmarks.common.report import table
from benchmarks.common.tiny import make_encoder, make_text

ROWS = 1_500
_BROKEN_EVERY = 97
_LONG_EVERY = 301
_WORDS, _LONG_WORDS = 900, 30_000
_ROWS_PER_SHARD = 100
# Processes, 0 for Ray with two actors, where it is installed.
_WAYS = (2, 2, 1, 3, *([0, 0] if find_spec("ray") else []))
# Of the kills on several processes: one of them alone; Ray starts another and goes on.
_SHARE_OF_ONE_WORKER = 0.4
_LONGEST_LIFE_SECONDS = 2.5
# Float32 sums of another batch differ by this at most (docs/how-it-works.md).
_TOLERANCE = 1e-5


@dataclass
class Found:
    """What came of the kills, by what was killed, to all rows of the jobs that were killed.

    A row is lost, there more than once, or wrong: out of order, or other than in the untouched job.
    """

    kills: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    seconds: float = 0.0


def soak_inference(
    folder: Path, kills: int, seed: int, say: Callable[[str], None]
) -> tuple[list[str], dict[str, Any], bool]:
    """Kill batch jobs, and see whether every row is there once.

    Lines of Markdown, everything that was seen, and whether no row was lost, doubled or wrong.
    """
    encoder = make_encoder(folder / "encoder", seed)
    save_model(str(encoder), folder / "model", seed, summarization=False)
    write_corpus(folder / "docs.jsonl", seed)
    found = _Soak(folder, kills, seed, say).run()
    good = not (found.lost or found.doubled or found.wrong)
    header = ["batch jobs", "kills", "of one worker", "jobs", "rows", "lost", "doubled", "wrong"]
    total, alone = sum(found.kills.values()), found.kills["one worker"]
    counts = (total, alone, found.jobs, found.rows, found.lost, found.doubled, found.wrong)
    ways = f"{ROWS:,} rows in shards, 1 to 3 processes{', Ray' if 0 in _WAYS else ''}"
    row = [ways, *(f"{count:,}" for count in counts)]
    return table(header, [row]), {**vars(found), "kills": dict(found.kills)}, good


def write_corpus(path: Path, seed: int) -> None:
    """Documents of very different length, and broken rows among them."""
    chance = random.Random(f"corpus {seed}")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number in range(ROWS):
            if _is_broken(number):
                file.write('{"id": "broken", "text": \n')
                continue
            words = _LONG_WORDS if number % _LONG_EVERY == 0 else chance.randint(0, _WORDS)
            text = make_text(chance, words)
            file.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")


def _is_broken(number: int) -> bool:
    return number % _BROKEN_EVERY == _BROKEN_EVERY - 1


class _Soak:
    """Jobs under kills."""

    def __init__(self, folder: Path, kills: int, seed: int, say: Callable[[str], None]) -> None:
        self.folder, self.kills, self.say = folder, kills, say
        self.chance = random.Random(f"kills of jobs {seed}")
        self.found = Found()

    def run(self) -> Found:
        started = time.monotonic()
        untouched = self.folder / "untouched"
        process = self._start(untouched, 1)
        try:
            ends_before(process, untouched.name, lambda: False)
        finally:
            kill_all(process)
        expected = self._read(untouched)
        while sum(self.found.kills.values()) < self.kills:
            job = self.folder / f"job-{self.found.jobs}"
            while not self._live_and_die(job):
                pass
            self.found.jobs += 1
            compare(self._read(job), expected, self.found)
        self.found.seconds = round(time.monotonic() - started, 1)
        return self.found

    def _start(self, output: Path, processes: int) -> psutil.Popen:
        arguments = [
            *("infer.py", "--model", str(self.folder / "model")),
            *("--input", str(self.folder / "docs.jsonl"), "--output", str(output)),
            *("--rows-per-shard", str(_ROWS_PER_SHARD), "--batch-tokens", "4000"),
            *("--on-error", "skip", "--resume"),
        ]
        if not processes:
            arguments += ["--engine", "ray", "--actors", "2"]
        return killing.start(arguments, processes or 1, self.folder / f"{output.name}.log")

    def _live_and_die(self, job: Path) -> bool:
        """Start a job, or go on with it, and kill it at a random moment; whether it ended first."""
        processes = self.chance.choice(_WAYS)
        one_worker = processes != 1 and self.chance.random() < _SHARE_OF_ONE_WORKER
        life = self.chance.uniform(0, _LONGEST_LIFE_SECONDS)
        dying = sum(self.found.kills.values()) < self.kills
        process, before = self._start(job, processes), _written(job)
        moment: float | None = None

        def is_time() -> bool:
            nonlocal moment, dying
            # The clock starts when rows are written: before, libraries are loaded.
            if moment is None and dying and _written(job) > before:
                moment = time.monotonic() + life
            if moment is None or time.monotonic() < moment:
                return False
            if processes or not one_worker:
                return True
            if _kill_actor(process, self.chance):
                self._count("one worker", "an actor on Ray")
                moment, dying = None, False
            return False

        try:
            if ends_before(process, job.name, is_time):
                return True
            if one_worker:
                killing.kill_one(process, self.chance.randrange(processes), killing.LONGEST_SECONDS)
        finally:
            kill_all(process)
        which = "one worker" if one_worker else "all"
        self._count(which, f"{which} of {processes or 'Ray'}")
        return False

    def _count(self, kind: str, words: str) -> None:
        self.found.kills[kind] += 1
        killed = sum(self.found.kills.values())
        self.say(f"batch job: kill {killed} of {self.kills} ({words})")

    def _read(self, output: Path) -> dict[str, list[dict[str, Any]]]:
        """Answers and errors of a job; a SoakError where it is not whole."""
        manifest = output / "manifest.json"
        content = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
        if not content.get("complete"):
            said = killing.last_words(self.folder / f"{output.name}.log")
            raise SoakError(f"{output.name} ended before its end: {said}")
        names = [part["file"] for part in content["parts"] if part["file"]]
        return {
            "answers": [row for name in names for row in _rows(output / name)],
            "errors": _rows(output / "errors.jsonl"),
        }


def _written(job: Path) -> int:
    """When a unit was last begun, written to or ended, in nanoseconds; 0 before the first."""
    newest = 0
    for path in (job / ".unfinished").glob("units-*/*-*"):
        try:
            newest = max(newest, path.stat().st_mtime_ns)
        except FileNotFoundError:
            continue
    return newest


def _kill_actor(process: psutil.Popen, chance: random.Random) -> bool:
    """Send SIGKILL to one of the actors of a job on Ray; whether there was one."""
    actors = []
    with suppress(psutil.Error):
        for one in process.children(recursive=True):
            with suppress(psutil.Error):
                if "UnitAnswerer" in " ".join(one.cmdline()):
                    actors.append(one)
    if not actors:
        return False
    with suppress(psutil.Error):
        chance.choice(sorted(actors, key=lambda one: one.pid)).kill()
    return True


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def compare(
    made: dict[str, list[dict[str, Any]]],
    expected: dict[str, list[dict[str, Any]]],
    found: Found,
) -> None:
    """Count rows that are lost, doubled, out of order or different."""
    # Ids by the corpus itself, so that a fault of the untouched job shows too.
    numbers = {f"d{number}" for number in range(ROWS) if not _is_broken(number)}
    broken = {number + 1 for number in range(ROWS) if _is_broken(number)}
    there = Counter(row["id"] for row in made["answers"])
    failed = Counter(row["row"] for row in made["errors"])
    found.rows += ROWS
    found.lost += len(numbers - there.keys()) + len(broken - failed.keys())
    found.doubled += sum(count - 1 for count in (*there.values(), *failed.values()))
    found.wrong += len(there.keys() - numbers) + len(failed.keys() - broken)
    found.wrong += made["errors"] != expected["errors"]
    for row, wanted in zip(made["answers"], expected["answers"], strict=False):
        same = row["id"] == wanted["id"] and all(
            abs(row["probabilities"][name] - value) <= _TOLERANCE
            for name, value in wanted["probabilities"].items()
        )
        found.wrong += not same
