"""Inference as a job: shards, interruptions and how it goes on, foreign files, kept vectors."""

import csv
import io
import json
import os
import shutil
import signal
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows

ROWS = make_rows(11, seed=5)
MANY = make_rows(250, seed=9, sentences=3)


@pytest.fixture
def model(models: dict[str, Path]) -> Path:
    return models["both"]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return write_jsonl(folder / "docs.jsonl", ROWS)


def job(model: Path, source: Path | str, output: Path | str, *more: str | Path) -> list[Any]:
    return ["infer.py", "--model", model, "--input", source, "--output", output, *more]


def same(found: list[Any], expected: list[Any]) -> None:
    """Rows are equal but for rounding."""
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert (row["label"], row["summary"]) == (wanted["label"], wanted["summary"])
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)


def read_parts(folder: Path) -> list[Any]:
    """The rows of a folder of shards."""
    rows: list[Any] = []
    for path in sorted(folder.glob("part-*")):
        if path.suffix == ".jsonl":
            rows += read_jsonl(path)
        elif path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        else:
            with path.open(encoding="utf-8", newline="") as file:
                found = list(csv.DictReader(file))
            rows += [{**row, "probabilities": json.loads(row["probabilities"])} for row in found]
    return rows


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_shards_hold_the_rows_of_the_one_file(model, docs, tmp_path, kind) -> None:
    succeed(*job(model, docs, tmp_path / "one.jsonl"), here=True)
    folder = tmp_path / "shards"
    more = ("--rows-per-shard", "4", "--output-format", kind)
    succeed(*job(model, docs, folder, *more), here=True)
    names = [f"part-{number:05d}.{kind}" for number in range(3)]
    assert sorted(os.listdir(folder)) == ["manifest.json", *names]
    same(read_parts(folder), read_jsonl(tmp_path / "one.jsonl"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert [manifest[name] for name in ("rows_done", "answers", "errors")] == [11, 11, 0]
    assert {"format", "model", "settings", "sources"} <= manifest.keys()
    parts = manifest["parts"]
    assert [part["file"] for part in parts] == names
    assert [part["rows"] for part in parts] == [part["answers"] for part in parts] == [4, 4, 3]
    assert [part["bytes"] for part in parts] == [(folder / name).stat().st_size for name in names]
    # Whole work is replaced only when that is asked for.
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    assert "--overwrite" in refuse(*job(model, docs, folder, *more), here=True)
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before
    succeed(*job(model, docs, folder, "--rows-per-shard", "6", "--overwrite"), here=True)
    assert sorted(os.listdir(folder)) == ["manifest.json", "part-00000.jsonl", "part-00001.jsonl"]


def test_errors_of_shards_are_in_their_folder(model, docs, tmp_path) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[1] = lines[6] = "{"
    docs.write_text("\n".join(lines) + "\n")
    folder = tmp_path / "o"
    more = ("--rows-per-shard", "5", "--on-error", "skip")
    done = run(*job(model, docs, folder, *more), here=True)
    assert done.returncode == 3 and "errors.jsonl" in done.stderr.splitlines()[-1]
    # Shards are cut by rows of the input, answered or not.
    counts = [len(read_jsonl(folder / f"part-0000{number}.jsonl")) for number in range(3)]
    assert counts == [4, 4, 1]
    errors = read_jsonl(folder / "errors.jsonl")
    assert [(row["row"], row["location"], row["id"]) for row in errors] == [
        (number, f"{docs}, line {number}", None) for number in (2, 7)
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [part["errors"] for part in manifest["parts"]] == [1, 1, 0]


def test_shards_need_a_folder_of_their_own(model, docs, tmp_path) -> None:
    more = ("--rows-per-shard", "4")
    for output, told in (
        (tmp_path / "o.jsonl", "--rows-per-shard"),
        (docs.parent, str(docs.parent)),
        ("-", "--rows-per-shard"),
    ):
        error = refuse(*job(model, docs, output, *more, "--overwrite")[:-1], here=True)
        assert told in error and "--output" in error
    assert sorted(os.listdir(tmp_path)) == ["in"] and os.listdir(docs.parent) == ["docs.jsonl"]


def test_nothing_that_no_job_made_is_ever_removed(model, docs, tmp_path) -> None:
    folder = tmp_path / "o"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    (folder / "part-00000.jsonl").write_text("mine")
    beside = tmp_path / "o.errors.jsonl"
    beside.write_text("my own list\n")
    for more in ((), ("--overwrite",), ("--resume",)):
        refuse(*job(model, docs, folder, "--rows-per-shard", "4", *more), here=True)
        refuse(*job(model, docs, tmp_path / "o.jsonl", *more), here=True)
    assert (folder / "thesis.txt").read_text() == "precious"
    assert (folder / "part-00000.jsonl").read_text() == "mine"
    assert beside.read_text() == "my own list\n"


class Interrupted(io.RawIOBase):
    """Standard input that comes row by row; before its last rows this process gets a signal."""

    def __init__(self, rows: list[Any], number: int) -> None:
        self._lines = [json.dumps(row).encode() + b"\n" for row in reversed(rows)]
        self._last, self._number = len(rows) // 5, number

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if len(self._lines) == self._last:
            os.kill(os.getpid(), self._number)
        line = self._lines.pop() if self._lines else b""
        buffer[: len(line)] = line
        return len(line)


def interrupt(arguments: list[Any], number: int = signal.SIGINT) -> CompletedProcess[str]:
    """Send a command a signal when it has read most of its input."""

    def uncaught(*_: object) -> None:
        raise AssertionError("the command does not catch this signal")

    # In the background of a shell SIGINT is ignored, and a job lets it be.
    needed = {signal.SIGTERM: uncaught, signal.SIGINT: signal.default_int_handler}
    before = {each: signal.signal(each, handler) for each, handler in needed.items()}
    try:
        done = run(*arguments, here=True, stdin=Interrupted(MANY, number))
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert "Traceback" not in done.stderr
    assert "--resume" in done.stderr
    return done


def resume(arguments: list[Any]) -> CompletedProcess[str]:
    data = "".join(json.dumps(row) + "\n" for row in MANY)
    return run(*arguments, "--resume", here=True, stdin=data)


@pytest.fixture(scope="module")
def expected(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The rows of `MANY`, without an interruption."""
    folder = tmp_path_factory.mktemp("expected")
    docs = write_jsonl(folder / "many.jsonl", MANY)
    succeed(*job(models["both"], docs, folder / "o.jsonl"), here=True)
    return read_jsonl(folder / "o.jsonl")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_file_is_there_when_it_is_whole(
    model, expected, tmp_path, number, code
) -> None:
    output = tmp_path / "o.jsonl"
    arguments = job(model, "-", output, "--batch-tokens", "100")
    assert interrupt(arguments, number).returncode == code
    assert os.listdir(tmp_path) == [], "too little was done to be kept"
    done = resume(arguments)
    assert done.returncode == 0, done.stderr
    same(read_jsonl(output), expected)
    assert os.listdir(tmp_path) == ["o.jsonl"]


def test_interrupted_shards_go_on_with_the_same_rows_model_and_settings_alone(
    model, expected, tmp_path
) -> None:
    output = tmp_path / "o"
    arguments = job(model, "-", output, "--batch-tokens", "100", "--rows-per-shard", "20")
    assert interrupt([*arguments, "--max-words", "10"]).returncode == 130
    # A shard is there as soon as it is done, and is whole.
    names = sorted(path.name for path in output.glob("part-*"))
    assert names and all(len(read_jsonl(output / name)) == 20 for name in names)
    kept = {name: (output / name).read_bytes() for name in names}
    rows = "".join(json.dumps(row) + "\n" for row in MANY)
    swapped = "".join(json.dumps(row) + "\n" for row in [MANY[1], MANY[0], *MANY[2:]])
    other = Path(shutil.copytree(model, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "decision_threshold": 0.4}))
    words = [*arguments, "--max-words", "10"]
    changed = [
        (words, rows, ["--resume", "--overwrite", str(output)]),
        ([*arguments, "--max-words", "11", "--resume"], rows, ["--max-words", "10", "11"]),
        ([*words, "--task", "summarize", "--resume"], rows, ["task", "summarize"]),
        ([*words, "--resume"], swapped, ["--resume", "input"]),
        (["infer.py", "--model", other, *words[3:], "--resume"], rows, ["model"]),
    ]
    for given, data, told in changed:
        error = refuse(*given, here=True, stdin=data)
        assert all(word in error for word in told), error
        assert {name: (output / name).read_bytes() for name in names} == kept
    moved = shutil.copytree(model, tmp_path / "moved")
    # What rows do not depend on may be another now.
    done = resume(["infer.py", "--model", moved, *words[3:], "--batch-tokens", "500"])
    assert done.returncode == 0 and "resuming after" in done.stderr, done.stderr
    found = read_parts(output)
    assert [row["id"] for row in found] == [row["id"] for row in MANY]
    assert [row["label"] for row in found] == [row["label"] for row in expected]
    assert {name: (output / name).read_bytes() for name in names} == kept
    assert len(os.listdir(output)) == 14 and "manifest.json" in os.listdir(output)


def test_resuming_what_never_began_begins_it_and_overwriting_begins_anew(
    model, expected, tmp_path
) -> None:
    output = tmp_path / "o.jsonl"
    interrupt(job(model, "-", output, "--batch-tokens", "100", "--max-words", "5"))
    docs = write_jsonl(tmp_path / "many.jsonl", MANY)
    succeed(*job(model, docs, output, "--overwrite"), here=True)
    same(read_jsonl(output), expected)
    succeed(*job(model, docs, tmp_path / "never.jsonl", "--resume"), here=True)
    assert (tmp_path / "never.jsonl").read_bytes() == output.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["many.jsonl", "never.jsonl", "o.jsonl"]


def test_kept_vectors_change_no_answer_whatever_the_task(model, docs, tmp_path) -> None:
    succeed(*job(model, docs, tmp_path / "plain.jsonl"), here=True)
    cache = ("--cache-dir", tmp_path / "vectors")
    succeed(*job(model, docs, tmp_path / "v.jsonl", "--task", "embed", *cache), here=True)
    kept = {path: path.stat().st_size for path in cache[1].rglob("*") if path.is_file()}
    assert sum(kept.values()) > 11 * 32 * 4
    succeed(*job(model, docs, tmp_path / "kept.jsonl", *cache), here=True)
    same(read_jsonl(tmp_path / "kept.jsonl"), read_jsonl(tmp_path / "plain.jsonl"))
    assert {path: path.stat().st_size for path in kept} == kept


def test_without_a_check_rows_are_answered_until_the_broken_one(model, docs, tmp_path) -> None:
    docs.write_text(docs.read_text() + "{\n")
    error = refuse(*job(model, docs, tmp_path / "o.jsonl", "--no-check"), here=True)
    assert f"{docs}, line 12" in error and not (tmp_path / "o.jsonl").exists()
    done = run(
        *job(model, docs, tmp_path / "o.jsonl", "--no-check", "--resume", "--on-error", "skip"),
        here=True,
    )
    assert done.returncode == 3
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == [row["id"] for row in ROWS]
    assert [row["row"] for row in read_jsonl(tmp_path / "o.errors.jsonl")] == [12]


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one_and_tell_a_mistake_once(
    model, expected, tmp_path
) -> None:
    docs = write_jsonl(tmp_path / "many.jsonl", MANY)
    succeed(*job(model, docs, tmp_path / "two.jsonl"), processes=2)
    same(read_jsonl(tmp_path / "two.jsonl"), expected)
    docs.write_text(docs.read_text() + "{\n")
    shards = job(model, docs, tmp_path / "o", "--rows-per-shard", "90")
    refuse(*shards, "--no-check")
    write_jsonl(docs, MANY)
    assert "resuming after" in succeed(*shards, "--resume", processes=2).stderr
    same(read_parts(tmp_path / "o"), expected)
    write_jsonl(docs, [*MANY, MANY[0]])
    done = run(*job(model, docs, tmp_path / "wrong.jsonl"), processes=2)
    # torchrun ends with 1 whatever its processes say.
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(errors) == 1 and "'d0'" in errors[0]
    assert not (tmp_path / "wrong.jsonl").exists()


@pytest.mark.slow
def test_ray_gives_the_rows_of_one_process(model, expected, tmp_path) -> None:
    pytest.importorskip("ray")
    docs = write_jsonl(tmp_path / "many.jsonl", MANY)
    # Without an ending it is a folder, of shards of ten thousand rows.
    succeed(*job(model, docs, tmp_path / "o", "--engine", "ray", "--output-format", "parquet"))
    assert sorted(os.listdir(tmp_path / "o")) == ["manifest.json", "part-00000.parquet"]
    same(read_parts(tmp_path / "o"), expected)


def test_a_complete_job_is_complete_for_its_own_model_settings_and_input_alone(
    model, docs, tmp_path
) -> None:
    output = tmp_path / "o"
    whole = job(model, docs, output, "--rows-per-shard", "4", "--resume")
    succeed(*whole, here=True)
    kept = {path.name: path.read_bytes() for path in output.iterdir()}
    done = succeed(*whole, here=True)
    assert "complete" in done.stderr
    other = Path(shutil.copytree(model, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "decision_threshold": 0.4}))
    more = write_jsonl(tmp_path / "more.jsonl", make_rows(12, seed=5))
    for given, told in (
        (job(other, docs, output, "--rows-per-shard", "4", "--resume"), "model"),
        ([*whole, "--task", "summarize"], "task"),
        (job(model, more, output, "--rows-per-shard", "4", "--resume"), "input"),
    ):
        assert told in refuse(*given, here=True)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == kept
