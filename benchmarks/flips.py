"""Changes random bytes of what hierbert keeps, goes on, and sees that nothing differs in silence.

    python benchmarks/flips.py                   60 bytes of each target, some minutes
    python benchmarks/flips.py --flips 3
    python benchmarks/flips.py --only job-csv

A target is work that stopped on its way: it is made once, copied, one byte of the copy is changed,
and the same work goes on. Then its outcome is that of work that nobody touched, or it was refused
in one line; what is refused is tried once more, for what is damaged may have been put aside.
It needs no data and no pretrained weights. Ends with exit code 1 when something differs.
"""

import argparse
import contextlib
import csv
import io
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.models import save_model
from benchmarks.common.report import RESULTS, finish, table
from benchmarks.common.rounds import say
from benchmarks.common.tiny import make_encoder, make_text

FULL_FLIPS = 60
# Float32 sums of another batch differ by this at most (docs/how-it-works.md).
_TOLERANCE = 1e-5
_OUTCOMES = ("equal", "refused", "refused, then equal", "DIFFERENT", "TRACEBACK")
_BAD = _OUTCOMES[3:]

Command = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Target:
    """What is damaged.

    Attributes:
        name: Of `--only`, and in the table.
        make: Fills a folder with work that is to go on; the number is a seed.
        files: Globs of what is damaged, each as often as the others.
        go_on: Lets the work of a folder go on; gives the exit code, and what was said.
        outcome: What came of it, which no damage may change.
    """

    name: str
    make: Callable[[Path, int], None]
    files: tuple[str, ...]
    go_on: Callable[[Path], tuple[int, str]]
    outcome: Callable[[Path], Any]


def run(command: Command, arguments: Sequence[str]) -> tuple[int, str]:
    """A command of this process: its exit code, 1 with a traceback, and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            code = command(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception:
            code = 1
            said.write(traceback.format_exc())
    return code, said.getvalue()


# Batch jobs: rows in shards or in one file, units, the manifest, and rows without an answer.

_ROWS, _BROKEN, _ROWS_PER_SHARD = 47, 30, 10


def _write_rows(path: Path, seed: int) -> None:
    chance = random.Random(f"rows of flips {seed}")
    rows = [
        json.dumps({"id": f"d{number}", "text": make_text(chance, chance.randint(5, 60))})
        for number in range(_ROWS)
    ]
    rows[_BROKEN] = '{"id": "broken", "text": 5}'
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")


def _infer(folder: Path, kind: str, *more: str) -> tuple[int, str]:
    from hierbert.cli.infer import main

    output = ["out.jsonl"] if kind == "file" else ["out", "--rows-per-shard", str(_ROWS_PER_SHARD)]
    if kind != "file":
        output += ["--output-format", kind]
    model, docs = folder.parent / "model", folder / "docs.jsonl"
    arguments = ["--model", str(model), "--input", str(docs), "--output", str(folder / output[0])]
    return run(main, [*arguments, *output[1:], "--on-error", "skip", *more])


def _begin_job(folder: Path, seed: int, kind: str, whole: bool = False) -> None:
    """A job that is whole, or was stopped when all of its units were done."""
    if not (model := folder.parent / "model").is_dir():
        save_model(str(make_encoder(folder.parent / "encoder", seed)), model, seed)
    _write_rows(folder / "docs.jsonl", seed)
    from hierbert.prediction.job import Job

    stop = contextlib.nullcontext() if whole else mock.patch.object(Job, "finish", _interrupt)
    with stop:
        code, said = _infer(folder, kind)
    if code != (3 if whole else 130):
        raise RuntimeError(f"the {kind} job ended with {code}: {said}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _rows_of_job(folder: Path) -> Any:
    """Rows of all parts, those without an answer, and what the manifest counts."""
    names = sorted([*folder.glob("out/part-*"), *folder.glob("out.jsonl")])
    errors = sorted([*folder.glob("out/errors.jsonl"), *folder.glob("out.errors.jsonl")])
    counts = {}
    if (manifest := folder / "out" / "manifest.json").is_file():
        counts = json.loads(manifest.read_text(encoding="utf-8"))
        for part in counts["parts"]:
            part.pop("bytes"), part.pop("sha256")
        for name in ("sessions", "sha256", "errors_sha256"):
            counts.pop(name)
    return [[path.name, _rows_of(path)] for path in [*names, *errors]], counts


def _rows_of(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows: list[Any] = pq.read_table(path).to_pylist()
        return rows
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return [
            {name: _value(cell) for name, cell in row.items()}
            for row in csv.DictReader(io.StringIO(text, newline=""))
        ]
    return [json.loads(line) for line in text.splitlines()]


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _job(kind: str, whole: bool = False) -> Target:
    folder = "out.jsonl.partial" if kind == "file" else "out"
    units, manifest = f"{folder}/.unfinished/units-*/unit-*", f"{folder}/manifest.json"
    files = (units, manifest) if kind == "file" else (units, manifest, "out/part-*")
    if whole:
        files = ("out/manifest.json", "out/part-*", "out/errors.jsonl")
    return Target(
        f"job-{kind}{'-whole' if whole else ''}",
        lambda place, seed: _begin_job(place, seed, kind, whole),
        files,
        lambda place: _infer(place, kind, "--resume"),
        _rows_of_job,
    )


TARGETS = [_job("jsonl"), _job("csv"), _job("parquet"), _job("file"), _job("jsonl", whole=True)]
"""All that is damaged; to damage something else, add an entry."""


def is_equal(found: Any, expected: Any) -> bool:
    """Whether outcomes are equal but for rounding."""
    if isinstance(found, float) and isinstance(expected, float):
        return found == expected or abs(found - expected) <= _TOLERANCE
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            is_equal(value, expected[name]) for name, value in found.items()
        )
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        same_length = len(found) == len(expected)
        return same_length and all(map(is_equal, found, expected))
    return type(found) is type(expected) and bool(found == expected)


def flip(folder: Path, files: Sequence[str], chance: random.Random) -> str:
    """Change one byte of one file of a folder; where it is, in words."""
    found: list[Path] = []
    while not found:
        found = sorted(path for path in folder.glob(chance.choice(files)) if path.stat().st_size)
    path = chance.choice(found)
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    before = content[place]
    content[place] = chance.choice([byte for byte in range(256) if byte != before])
    path.write_bytes(content)
    return f"{path.relative_to(folder)}, byte {place:,}: {before} to {content[place]}"


def damage(target: Target, flips: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Damage a target so often: how often each outcome came, and what was bad."""
    chance = random.Random(f"flips of {target.name} {seed}")
    begun, place = folder / "begun", folder / "place"
    # Where work is may be part of it: it is always at the same place.
    place.mkdir()
    target.make(place, seed)
    place.rename(begun)
    counts: Counter[str] = Counter()
    bad = []

    def lay() -> None:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(begun, place)

    lay()
    code, said = target.go_on(place)
    if code not in (0, 3):
        raise RuntimeError(f"{target.name} cannot go on: {said}")
    expected = target.outcome(place)
    for number in range(flips):
        lay()
        where = flip(place, target.files, chance)
        outcome, said = "refused", ""
        for attempt in ("equal", "refused, then equal"):
            code, said = target.go_on(place)
            if "Traceback" in said or code == 1:
                outcome = "TRACEBACK"
                break
            if code in (0, 3):
                same = is_equal(target.outcome(place), expected)
                outcome = attempt if same else "DIFFERENT"
                break
        counts[outcome] += 1
        if outcome in _BAD:
            bad.append(f"{target.name}: {where}: {outcome}: {said[-500:]}")
        say(f"{target.name}: {number + 1} of {flips}: {where}: {outcome}")
    return counts, bad


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=FULL_FLIPS, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[target.name for target in TARGETS], action="append")
    parser.add_argument("--output", type=Path, help="JSON file; benchmarks/results/flips.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when nothing differed in silence, 1 otherwise."""
    options = build_parser().parse_args(argv)
    if options.flips < 1:
        print(f"error: --flips {options.flips}: a whole number from 1 up", file=sys.stderr)
        return 2
    rows, record, bad = [], {}, []
    for target in TARGETS:
        if options.only and target.name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            counts, found = damage(target, options.flips, options.seed, Path(scratch))
        rows.append([target.name, *(str(counts[name]) for name in _OUTCOMES)])
        record[target.name] = dict(counts)
        bad += found
    full = options.flips >= FULL_FLIPS and not options.only
    good = "Nothing differed in silence." if not bad else "**Something differed.**"
    lines = [*table(["damaged", *_OUTCOMES], rows), "", *bad, good]
    output = options.output or RESULTS / f"flips{'' if full else '-quick'}.json"
    values = {"seed": options.seed, "flips": options.flips, "good": not bad, "targets": record}
    finish("flips", "Bytes that changed", full, lines, values, output=output)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
