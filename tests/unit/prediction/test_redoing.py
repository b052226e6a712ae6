"""A complete job whose files changed: what changed is answered again, and nothing else."""

import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from small_models import save_model

from hierbert.prediction.answerer import Answerer
from hierbert.prediction.job import Job
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.redoing import JobAgain
from hierbert.prediction.units import InputRow

ROWS = make_rows(14, seed=21, sentences=3)


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"])


def complete(model: Path, folder: Path, *more: str) -> tuple[list[Any], dict[str, bytes]]:
    """A whole job of three shards, two ending in a broken row: how it is resumed, its files."""
    docs = write_jsonl(folder / "docs.jsonl", [{**row, "from": f"f{row['id']}"} for row in ROWS])
    lines = docs.read_text().splitlines()
    docs.write_text("\n".join([*lines[:11], "{", *lines[11:], "{", ""]))
    command = ["infer.py", "--model", model, "--input", docs, "--output", folder / "out"]
    command += ["--rows-per-shard", "6", "--on-error", "skip", *more, "--resume"]
    assert run(*command, here=True).returncode == 3
    return command, files_of(folder / "out")


def files_of(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.iterdir()}


def drop(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


# What is done to which files (of parts their numbers), and which parts are answered again.
DAMAGES: list[tuple[Callable[[Path], None], list[Any], list[int]]] = [
    (flip, [0], [0]),
    (cut, [1], [1]),
    (drop, [0, 2], [0, 2]),
    (pipe, [2], [2]),
    (drop, [0, 1, 2], [0, 1, 2]),
    (flip, ["errors.jsonl"], [1, 2]),
    (drop, ["errors.jsonl", 0], [0, 1, 2]),
]


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("jsonl", ["--keep-columns", "from"]),
        ("csv", ["--csv-safe"]),
        pytest.param("jsonl.gz", [], marks=pytest.mark.slow),
        pytest.param("csv", ["--keep-columns", "from"], marks=pytest.mark.slow),
        pytest.param("parquet", ["--keep-columns", "from"], marks=pytest.mark.slow),
    ],
)
def test_of_a_complete_job_the_parts_that_changed_alone_are_answered_again(
    model, tmp_path, monkeypatch, kind, more
) -> None:
    answered: list[str | None] = []
    results = Answerer.results

    def noted(self: Answerer, rows: Iterable[InputRow], *given: Any, **options: Any) -> Any:
        for result in results(self, rows, *given, **options):
            answered.append(result.row.id)
            yield result

    # One document a batch: then an answer is the same to the bit, whatever is answered beside it.
    command, whole = complete(
        model, tmp_path, "--output-format", kind, "--batch-tokens", "1", *more
    )
    monkeypatch.setattr(Answerer, "results", noted)
    ids: list[str | None] = [str(row["id"]) for row in ROWS]
    shards = [ids[:6], [*ids[6:11], None], [*ids[11:], None]]
    for damage, files, again in DAMAGES:
        names = [f"part-0000{one}.{kind}" if isinstance(one, int) else one for one in files]
        for name in names:
            damage(tmp_path / "out" / name)
        if damage is flip:
            assert "exists; --overwrite" in refuse(*command[:-1], here=True)
        answered.clear()
        done = run(*command, here=True)
        assert done.returncode == 3, done.stderr
        assert answered == [one for number in again for one in shards[number]]
        (line,) = [line for line in done.stderr.splitlines() if "done again" in line]
        assert f"{len(again)} of 3 parts" in line and all(repr(name) in line for name in names)
        assert files_of(tmp_path / "out") == whole
    answered.clear()
    assert "nothing more to do" in succeed(*command, here=True).stderr and not answered


def test_a_complete_job_whose_manifest_or_input_changed_is_refused(model, tmp_path) -> None:
    command, whole = complete(model, tmp_path)
    output, docs = tmp_path / "out", tmp_path / "docs.jsonl"
    flip(output / "manifest.json")
    assert f"{output / 'manifest.json'} " in refuse(*command, here=True)
    (output / "manifest.json").write_bytes(whole["manifest.json"])
    (output / "part-00001.jsonl").unlink()
    del whole["part-00001.jsonl"]
    rows = docs.read_text()
    for number in (0, 8, 13):
        # As many bytes in as many rows, of the part that is done again or of another.
        text = str(ROWS[number]["text"])
        docs.write_text(rows.replace(text, text[::-1]))
        assert docs.read_text() != rows and docs.stat().st_size == len(rows)
        for more in ((), ("--no-check",)):
            assert "input has changed" in refuse(*command, *more, here=True)
            assert files_of(output) == whole
    docs.write_text(rows)
    assert run(*command, "--no-check", here=True).returncode == 3
    found = [row["id"] for path in sorted(output.glob("part-*")) for row in read_jsonl(path)]
    assert found == [row["id"] for row in ROWS]


class Killed(BaseException):
    """What nothing in the package catches stands for the end of the process."""


@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [(Job, "read", 3), (OutputFolder, "put", 4), (OutputFolder, "complete", 1)],
)
def test_answering_changed_parts_again_is_resumed_after_a_kill(
    model, tmp_path, monkeypatch, owner, name, calls
) -> None:
    command, whole = complete(model, tmp_path, "--batch-tokens", "1")
    output, original = tmp_path / "out", getattr(owner, name)
    monkeypatch.setattr(JobAgain, "abandon", lambda *_, **__: None)
    for last in range(calls):
        cut(output / "part-00000.jsonl")
        (output / "part-00002.jsonl").unlink()
        count = itertools.count()

        def killed(*given: Any, count: Any = count, last: int = last) -> Any:
            if next(count) == last:
                raise Killed
            return original(*given)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, killed)
            assert "Killed" in run(*command, here=True).stderr
        assert (output / "manifest.json").read_bytes() == whole["manifest.json"]
        # All may be there already, and then nothing is told of the rows without an answer.
        assert run(*command, here=True).returncode in (0, 3)
        assert files_of(output) == whole
