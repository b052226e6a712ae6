"""What batch jobs keep: rows in shards or in one file, units, the manifest, rows unanswered."""

import contextlib
import csv
import io
import json
import random
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.common.flips import Target, run
from benchmarks.common.models import save_model
from benchmarks.common.tiny import make_encoder, make_text

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


INFERENCE_TARGETS = [
    _job("jsonl"),
    _job("csv"),
    _job("parquet"),
    _job("file"),
    _job("jsonl", whole=True),
]
