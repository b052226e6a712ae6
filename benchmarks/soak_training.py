"""The training half of the soak test: runs that are killed again and again, and end as if not.

Each kind of run is trained once without a kill. Then it is trained again and killed at random
moments, resumed after each, and in the end held against the first: weights, metrics and results
must be equal to the last bit. When it comes to its end before all kills are spent, another begins.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]

from benchmarks.common import kills as killing
from benchmarks.common.kills import SoakError, ends_before, kill_all
from benchmarks.common.report import table
from benchmarks.common.tiny import make_documents, make_encoder

TRAIN_DOCUMENTS, VALIDATION_DOCUMENTS = 240, 16
# Of the kills: at any moment since the start, most of which goes into loading libraries. The others
# come soon after the run has written something.
_SHARE_OF_ANY_MOMENT = 0.2
_MEAN_DELAY_SECONDS = 0.4
# Of those, the ones that wait until a file is being written; it is there for some milliseconds.
_SHARE_OF_WRITES = 0.5
_LONGEST_WRITE_SECONDS = 0.02
# Of the kills on several processes: one of them alone.
_SHARE_OF_ONE_WORKER = 0.3
_CLOCK = ("seconds", "resources", "environment")

COMMON_SETTINGS = (
    "data.label_column=label",
    "model.aggregator_layers=1",
    "segmentation.max_tokens_per_segment=64",
    "training.documents_per_batch=8",
    "training.epochs=4",
    "training.head_learning_rate=5e-3",
    "training.encoder_learning_rate=5e-4",
    "training.checkpoint_every_steps=1",
    "training.eval_every_steps=7",
    "baselines=false",
    "show_sample=false",
)


class Kind(NamedTuple):
    """One kind of run: its name in the table, processes, and settings beside the common ones."""

    name: str
    processes: int
    settings: tuple[str, ...]


KINDS = (
    Kind("all weights, dropout, accumulation", 1, ("training.accumulation_steps=2",)),
    Kind("frozen encoder, cached vectors", 1, ("training.freeze_encoder=true",)),
    Kind("all weights, graphs computed again", 2, ("training.memory=recompute",)),
)


@dataclass
class Soaked:
    """What came of one kind of run."""

    kind: Kind
    steps: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    runs: int = 0
    differences: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """For the JSON."""
        values = {**vars(self), "kind": self.kind.name, "seconds": round(self.seconds, 1)}
        return {**values, "processes": self.kind.processes, "settings": [*self.kind.settings]}


def soak_training(
    folder: Path, kills: int, seed: int, say: Callable[[str], None]
) -> tuple[list[str], dict[str, Any], bool]:
    """Kill training of all kinds in turn, and see whether it ends as if it had not been.

    Lines of Markdown, everything that was seen, and whether all runs were equal.
    """
    make_encoder(folder / "encoder", seed)
    make_documents(folder / "train.jsonl", TRAIN_DOCUMENTS, seed)
    make_documents(folder / "validation.jsonl", VALIDATION_DOCUMENTS, seed + 1)
    found = []
    for number, kind in enumerate(KINDS):
        share = kills // len(KINDS) + (number < kills % len(KINDS))
        if share:
            soak = _Soak(folder, kind, number, seed, say)
            found.append(soak.run(share))
    return _lines(found), {"kinds": [one.record() for one in found]}, _is_equal(found)


class _Soak:
    """One kind of run under kills."""

    def __init__(
        self, folder: Path, kind: Kind, number: int, seed: int, say: Callable[[str], None]
    ) -> None:
        self.folder, self.kind, self.say = folder, kind, say
        self.name = f"{number}"
        self.chance = random.Random(f"kills {seed} {number}")
        self.soaked = Soaked(kind)

    def run(self, kills: int) -> Soaked:
        started = time.monotonic()
        whole = self.folder / f"whole-{self.name}"
        self._finish(whole)
        took = time.monotonic() - started
        expected = outcome(whole)
        self.soaked.steps = expected["results"]["steps"]
        while self.soaked.kills.total() < kills:
            run = self.folder / f"killed-{self.name}-{self.soaked.runs}"
            ended = False
            while not ended and self.soaked.kills.total() < kills:
                ended = self._live_and_die(run, took)
            if not ended:
                self._finish(run)
            self.soaked.runs += 1
            self.soaked.differences += differences(expected, outcome(run), run.name)
        self.soaked.seconds = time.monotonic() - started
        return self.soaked

    def _start(self, run: Path) -> psutil.Popen:
        settings = [
            f"data.train={self.folder / 'train.jsonl'}",
            f"data.validation={self.folder / 'validation.jsonl'}",
            f"model.encoder={self.folder / 'encoder'}",
            f"run_dir={run}",
            # Each run has a cache of its own, which the kills hit too.
            f"training.cache_dir={run}-cache",
            *COMMON_SETTINGS,
            *self.kind.settings,
        ]
        log = self.folder / f"{run.name}.log"
        return killing.start(["train.py", *settings, "--resume"], self.kind.processes, log)

    def _finish(self, run: Path) -> None:
        """Let a run go on to its end."""
        process = self._start(run)
        try:
            ends_before(process, run.name, lambda: False)
        finally:
            kill_all(process)
        self._check(process.returncode, run)

    def _live_and_die(self, run: Path, took: float) -> bool:
        """Start a run, or go on with it, and kill it at a random moment; whether it ended first."""
        process = self._start(run)
        any_moment = self.chance.random() < _SHARE_OF_ANY_MOMENT
        delay = self.chance.expovariate(1 / _MEAN_DELAY_SECONDS)
        moment = time.monotonic() + self.chance.uniform(0, took) if any_moment else None
        one_worker = self.kind.processes > 1 and self.chance.random() < _SHARE_OF_ONE_WORKER
        in_a_write = not any_moment and self.chance.random() < _SHARE_OF_WRITES
        into_it = self.chance.uniform(0, _LONGEST_WRITE_SECONDS)
        before = written(run)

        def is_time() -> bool:
            nonlocal moment
            if moment is None and written(run) != before:
                moment = time.monotonic() + delay
            if moment is None or time.monotonic() < moment:
                return False
            if in_a_write:
                if not doing(run).startswith("writing"):
                    return False
                time.sleep(into_it)
            return True

        try:
            if ends_before(process, run.name, is_time):
                self._check(process.returncode, run)
                return True
            if one_worker:
                killing.kill_one(
                    process, self.chance.randrange(self.kind.processes), killing.LONGEST_SECONDS
                )
        finally:
            kill_all(process)
        self.soaked.kills[doing(run)] += 1
        total = self.soaked.kills.total()
        self.say(f"training, {self.kind.name}: kill {total} while {doing(run)}")
        return False

    def _check(self, code: int, run: Path) -> None:
        if code != 0:
            log = self.folder / f"{run.name}.log"
            raise SoakError(f"{run.name} ended with {code}: {killing.last_words(log)}")


def written(run: Path) -> tuple[int, ...]:
    """Something that changes when a run goes on, and whenever it writes a checkpoint or its end."""
    paths = (run / "checkpoints", run / "metrics.jsonl", run / "model")
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


def doing(run: Path) -> str:
    """What a killed run was doing, by what it left behind."""
    # What is being written has a dot before its name.
    for pattern, what in {
        "checkpoints/.step_*": "writing a checkpoint",
        "checkpoints/.best_step_*": "writing the best weights",
        ".model.*": "writing the model",
        "model": "after the model was written",
        "checkpoints/step_*": "between two checkpoints, or starting",
    }.items():
        if any(run.glob(pattern)):
            return what
    return "before the first checkpoint"


def outcome(run: Path) -> dict[str, Any]:
    """What must not depend on kills: weights, metrics, and results but for the clock."""
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    for name in _CLOCK:
        results.pop(name)
    return {
        "weights": (run / "model" / "model.safetensors").read_bytes(),
        "metrics": (run / "metrics.jsonl").read_bytes(),
        "results": results,
    }


def differences(expected: dict[str, Any], found: dict[str, Any], name: str) -> list[str]:
    """Names of what is not equal, with that of the run."""
    return [f"{name}: {part}" for part in expected if expected[part] != found[part]]


def _is_equal(found: list[Soaked]) -> bool:
    return bool(found) and not any(one.differences for one in found)


def _lines(found: list[Soaked]) -> list[str]:
    rows = []
    for one in found:
        writing = sum(count for what, count in one.kills.items() if what.startswith("writing"))
        differing = {line.rpartition(": ")[2] for line in one.differences}
        numbers = (one.kind.processes, one.steps, one.kills.total(), writing, one.runs)
        parts = ("weights", "metrics", "results")
        verdicts = ["differ" if part in differing else "equal" for part in parts]
        rows.append([one.kind.name, *map(str, numbers), *verdicts])
    header = ["training", "processes", "steps of a run", "kills", "while a file was written"]
    return table([*header, "runs", "weights, bit for bit", "metrics", "results"], rows)
