"""Kills of the batch job: is every row there once, whatever was killed, how often, and where?

A job of two processes writes shards of a generated corpus, some rows of which are broken. It is
killed at random and resumed until it ends; then its output is compared, row by row, with that of a
job of one process that nobody touched, and with the corpus itself.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common.rounds import say
from benchmarks.common.tiny import make_text, save_tiny_model
from benchmarks.soaking.kills import command, newest, run_and_kill

_ROWS = 1_500
_BROKEN_EVERY = 97
_LONG_EVERY = 301
_ROWS_PER_SHARD = 100
_LONGEST_LIFE_SECONDS = 2.5
# Float32 sums of another batch differ by this at most (README, "What it promises").
_TOLERANCE = 1e-5


@dataclass
class Findings:
    """What came of the kills.

    Attributes:
        kills: How many there were.
        of_one: Of these, kills of one worker; the others were of all processes at once.
        jobs: Jobs that got to their end.
        rows: Rows that these had to deal with.
        lost: Rows that are in no output.
        doubled: Rows that are there more than once.
        wrong: Rows that differ from the untouched job's, or are out of order.
        problems: What went wrong, in words.
    """

    kills: int = 0
    of_one: int = 0
    jobs: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or wrong."""
        return not (self.lost or self.doubled or self.wrong or self.problems)


def write_corpus(path: Path, seed: int) -> None:
    """Documents of very different length, and broken rows among them."""
    chance = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(_ROWS):
            if number % _BROKEN_EVERY == _BROKEN_EVERY - 1:
                file.write('{"id": "broken", "text": \n')
                continue
            words = 30_000 if number % _LONG_EVERY == 0 else chance.randint(0, 900)
            row = {"id": f"d{number}", "text": make_text(chance, words)}
            file.write(json.dumps(row) + "\n")


def soak(kills: int, seed: int, scratch: Path) -> Findings:
    """Kill jobs until there were so many kills and the last job has ended.

    Args:
        kills: At least this many.
        seed: Of the corpus, the model and the moments.
        scratch: Folder for everything.

    Returns:
        What was found.
    """
    model = save_tiny_model(scratch, seed)
    corpus = scratch / "docs.jsonl"
    write_corpus(corpus, seed)
    chance = random.Random(f"kills of inference {seed}")
    arguments = ["--model", str(model), "--input", str(corpus), "--on-error", "skip"]
    arguments += ["--rows-per-shard", str(_ROWS_PER_SHARD), "--batch-tokens", "4000"]
    untouched = scratch / "untouched"
    end = run_and_kill(command("infer.py", [*arguments, "--output", str(untouched)], 1))
    if end.code != 3:
        raise SystemExit(f"the untouched job failed:\n{end.said}")
    expected = _read(untouched)
    found = Findings()
    while found.kills < kills:
        output = scratch / f"job-{found.jobs}"
        words = [*arguments, "--output", str(output), "--resume"]
        _one_job(words, output, kills, chance, found)
        found.jobs += 1
        if found.problems:
            break
        _compare(_read(output), expected, found)
    return found


def _one_job(
    words: list[str], output: Path, kills: int, chance: random.Random, found: Findings
) -> None:
    """Kill and resume one job until it ends."""
    while True:
        # A resumed job may have another number of processes.
        processes = chance.choice((2, 2, 2, 1, 3))
        before = newest(output / ".unfinished", "*.log")
        dying = found.kills < kills
        end = run_and_kill(
            command("infer.py", words, processes),
            (lambda before=before: newest(output / ".unfinished", "*.log") > before)  # type: ignore[misc]
            if dying
            else None,
            chance.uniform(0, _LONGEST_LIFE_SECONDS),
            chance,
        )
        if end.killed:
            found.kills += 1
            found.of_one += end.killed == "one"
            say(f"inference: kill {found.kills} of {kills} ({end.killed}, {processes} processes)")
            continue
        # torchrun has an exit code of its own for a process that ends with 3.
        complete = (output / "manifest.json").is_file() and json.loads(
            (output / "manifest.json").read_text(encoding="utf-8")
        )["complete"]
        if not complete:
            found.problems.append(f"a job that was not killed did not end:\n{end.said}")
        return


def _read(output: Path) -> dict[str, list[dict[str, Any]]]:
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    names = [part["file"] for part in manifest["parts"] if part["file"]]
    return {
        "answers": [row for name in names for row in _rows(output / name)],
        "errors": _rows(output / "errors.jsonl"),
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _compare(
    made: dict[str, list[dict[str, Any]]],
    expected: dict[str, list[dict[str, Any]]],
    found: Findings,
) -> None:
    """Count rows that are lost, doubled, out of order or different."""
    # By the corpus itself, so that a fault of the untouched job shows too.
    numbers = {f"d{n}" for n in range(_ROWS) if n % _BROKEN_EVERY != _BROKEN_EVERY - 1}
    broken = {n + 1 for n in range(_ROWS) if n % _BROKEN_EVERY == _BROKEN_EVERY - 1}
    there = Counter(row["id"] for row in made["answers"])
    failed = Counter(row["row"] for row in made["errors"])
    found.rows += len(numbers) + len(broken)
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
