"""Files of a job or a run that changed, and input that does: done again or refused, never used."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from small_runs import outcome, signal_at_step, small_run

from hierbert.extend import READERS, Reader, Row, Source

ROWS = make_rows(14, seed=21, sentences=3)
PER_SHARD = 4
NESTED = "[" * 100_000
DEEP = "[" * 400 + "]" * 400


@pytest.fixture
def model(models: dict[str, Path]) -> Path:
    return models["both"]


def job(model: Path, source: Path, output: Path, *more: str) -> list[Any]:
    return ["infer.py", "--model", model, "--input", source, "--output", output, *more]


def interrupted(model: Path, folder: Path, *more: str) -> tuple[list[Any], Path]:
    """A job of shards that stopped at its 14th row, which is mended since: how it goes on."""
    docs = write_jsonl(folder / "docs.jsonl", ROWS[:13])
    docs.write_text(docs.read_text() + "{\n")
    command = job(model, docs, folder / "out", "--rows-per-shard", str(PER_SHARD), *more)
    refuse(*command, "--no-check", here=True)
    write_jsonl(docs, ROWS)
    return [*command, "--no-check", "--resume"], folder / "out"


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder of shards: ids and labels, as texts."""
    rows: list[Any] = []
    for path in sorted(folder.glob("part-*")):
        if path.suffix == ".jsonl":
            rows += read_jsonl(path)
        elif path.suffix == ".parquet":
            rows += pq.read_table(path).to_pylist()
        else:
            rows += csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
    return [{name: row[name] for name in ("id", "label", "summary")} for row in rows]


def change(path: Path, place: float) -> None:
    """Flip a bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_part_that_changed_is_made_again_and_no_row_is_answered_twice(
    model, tmp_path, kind
) -> None:
    resume, output = interrupted(model, tmp_path, "--output-format", kind)
    names = [f"part-0000{number}.{kind}" for number in range(3)]
    assert sorted(path.name for path in output.glob("part-*")) == names
    kept = {name: (output / name).read_bytes() for name in names}
    begun = shutil.copytree(output, tmp_path / "begun")
    succeed(*resume, here=True)
    expected = rows_of(output)
    assert [row["id"] for row in expected] == [str(row["id"]) for row in ROWS]
    for number, place in enumerate((0, 0.3, 0.5, 0.8, 1)):
        shutil.rmtree(output)
        shutil.copytree(begun, output)
        change(output / names[number % 3], place)
        done = succeed(*resume, here=True)
        assert f"part {number % 3} is not what the job wrote" in done.stderr
        assert "resuming after 12 rows" in done.stderr
        assert {name: (output / name).read_bytes() for name in names} == kept
        assert rows_of(output) == expected


def manifest_without_checksum(output: Path) -> dict[str, Any]:
    """As a version before wrote it."""
    content = json.loads((output / "manifest.json").read_text())
    del content["sha256"], content["errors_sha256"]
    for part in content["parts"]:
        del part["sha256"]
    return content


def test_a_job_of_a_version_before_goes_on(model, tmp_path) -> None:
    resume, output = interrupted(model, tmp_path)
    (output / "manifest.json").write_text(json.dumps(manifest_without_checksum(output)))
    succeed(*resume, here=True)
    assert [row["id"] for row in rows_of(output)] == [row["id"] for row in ROWS]


def test_a_manifest_of_another_shape_is_one_line(model, tmp_path) -> None:
    resume, output = interrupted(model, tmp_path)
    path = output / "manifest.json"
    whole = manifest_without_checksum(output)
    part = whole["parts"][0]
    texts = [NESTED, DEEP, "", "null", "[]", '{"format": 2}', json.dumps(whole)[:-9], "\x00"]
    texts += [json.dumps({**whole, name: json.loads(DEEP)}) for name in ("settings", "probed")]
    odd: tuple[Any, ...] = (None, "x", -1.5, True, [], [None], {}, {"a": None}, [[1]], 10**400)
    for name, value in whole.items():
        texts += [json.dumps({**whole, name: one}) for one in odd if type(one) is not type(value)]
        texts.append(json.dumps({key: own for key, own in whole.items() if key != name}))
    for name, value in part.items():
        parts = [[{**part, name: one}] for one in odd if type(one) is not type(value)]
        texts += [json.dumps({**whole, "parts": own}) for own in parts]
    refused = 0
    for text in texts:
        path.write_text(text)
        done = run("infer.py", "--model", tmp_path / "nowhere", *resume[3:], here=True)
        assert "Traceback" not in done.stderr and done.returncode == 2, text[:300]
        error = done.stderr.splitlines()[-1]
        assert len(error) < 1000
        refused += str(path) in error or "older or newer" in error
    assert refused >= 100
    succeed(*resume[:-1], "--overwrite", here=True)


@pytest.mark.slow
def test_files_of_a_run_of_another_shape_cost_no_traceback(encoders, tmp_path) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    folder = tmp_path / "run"
    with signal_at_step(3, 2):
        assert run("train.py", *settings(), here=True).returncode == 130
    begun = shutil.copytree(folder, tmp_path / "begun")
    resume = ["--config", folder / "config.resolved.yaml", "--resume"]
    succeed("train.py", *resume, here=True)
    expected = outcome(folder)
    (state,) = (path.relative_to(begun) for path in begun.glob("checkpoints/*/state.json"))
    lines = [
        '["train", ["d0"], "' + "0" * 64 + '"]\n',
        '{"train": 1}\n',
        "5\n",
        f"{DEEP}\n",
        NESTED,
    ]
    damages = [("documents.jsonl", line) for line in [*lines, '["train", {}, []]\n', "\x00\n"]]
    damages += [("metrics.jsonl", line) for line in ('{"step": [1]}\n', "[]\n", NESTED)]
    damages += [("probed.json", text) for text in (NESTED, DEEP, '{"a": null}', f'{{"a": {DEEP}}}')]
    damages += [("probed.json", f'{{"training.kept_tokens": {value}}}') for value in (10**30, "[]")]
    damages += [(str(state), text) for text in (NESTED, "[]", '{"format": 3, "files": null}')]
    for name, text in damages:
        shutil.rmtree(folder)
        shutil.copytree(begun, folder)
        (folder / name).write_text(text)
        done = run("train.py", *resume, here=True)
        assert "Traceback" not in done.stderr and done.returncode in (0, 2), (name, text[:80])
        if done.returncode:
            assert Path(name).name in done.stderr.splitlines()[-1], done.stderr
        elif name != "metrics.jsonl":
            assert outcome(folder) == expected


def test_results_of_another_shape_are_one_line_to_those_who_publish(trained, tmp_path) -> None:
    run_folder = Path(shutil.copytree(trained.parent, tmp_path / "run"))
    path = run_folder / "results.json"
    whole = json.loads(path.read_text())
    texts = [NESTED, DEEP, "[]", "null"]
    texts += [json.dumps({**whole, name: json.loads(DEEP)}) for name in whole]
    for text in texts:
        path.write_text(text)
        command = ("hierbert-push", run_folder / "model", "--repo", "a/b", "--dry-run")
        done = run(*command, here=True)
        assert "Traceback" not in done.stderr and done.returncode in (0, 2), text[:80]


# Input that changes.


@pytest.fixture
def cut_in_half(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A format of JSON Lines whose files are cut in half in one of the readings, counted from 1."""
    state = {"reading": 0, "cut_at": 0}

    def read(source: Source, encoding: str) -> Iterator[Row]:
        state["reading"] += 1
        number, path = 0, source.path
        assert path is not None
        while True:
            if number == 2 and state["reading"] == state["cut_at"]:
                content = path.read_bytes()
                path.write_bytes(content[: content.index(b"\n", len(content) // 2) + 1])
            lines = path.read_text(encoding=encoding).splitlines()
            if number >= len(lines):
                return
            number += 1
            yield Row(json.loads(lines[number - 1]), f"{source.name}, line {number}", number)

    monkeypatch.setitem(READERS, "halved", Reader(read, (".halved",), is_table=False))
    return state


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize(("check", "cut_at"), [("--check", 1), ("--check", 2), ("--no-check", 1)])
def test_input_that_is_cut_in_half_during_a_job_is_refused_as_changed(
    model, tmp_path, cut_in_half, on_error, check, cut_at
) -> None:
    docs = write_jsonl(tmp_path / "docs.halved", ROWS)
    cut_in_half["cut_at"] = cut_at
    output = tmp_path / "o.jsonl"
    more = (check, "--on-error", on_error)
    assert "has changed" in refuse(*job(model, docs, output, *more), here=True)
    assert not output.exists()
    if output.with_name("o.jsonl.partial").is_dir():
        assert "input has changed" in refuse(
            *job(model, docs, output, *more, "--resume"), here=True
        )
    write_jsonl(docs, ROWS)
    succeed(*job(model, docs, output, *more, "--resume"), here=True)
    assert [row["id"] for row in read_jsonl(output)] == [row["id"] for row in ROWS]


def test_a_line_that_a_cut_leaves_half_is_a_change_and_no_broken_row(model, tmp_path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for row in ROWS:
        (folder / f"{row['id']}.txt").write_text(str(row["text"]))
    resume = job(model, folder, tmp_path / "out", "--rows-per-shard", "3", "--resume")
    reads = READERS["folder"].read

    def read(source: Source, encoding: str) -> Iterator[Any]:
        for number, row in enumerate(reads(source, encoding)):
            if number == 5:
                (folder / "d9.txt").write_text(str(ROWS[9]["text"])[:20])
            yield row

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(READERS, "folder", Reader(read))
        assert "has changed" in refuse(*resume, "--no-check", here=True)
    (folder / "d9.txt").write_text(str(ROWS[9]["text"]))
    succeed(*resume, here=True)
    assert [row["id"] for row in rows_of(tmp_path / "out")] == sorted(str(r["id"]) for r in ROWS)


def test_rows_that_are_lost_between_two_starts_are_told(model, tmp_path) -> None:
    resume, output = interrupted(model, tmp_path)
    docs = tmp_path / "docs.jsonl"
    write_jsonl(docs, ROWS[:11])
    assert "docs.jsonl had" in refuse(*resume, here=True)
    assert "input has changed" in refuse(*resume, here=True)
    # More rows at the end are no loss.
    more = [*ROWS, *({**row, "id": f"more-{row['id']}"} for row in ROWS[:3])]
    write_jsonl(docs, more)
    succeed(*resume, here=True)
    assert [row["id"] for row in rows_of(output)] == [row["id"] for row in more]


@pytest.mark.parametrize("place", [0, 0.5, 0.999, "pipe"])
def test_a_unit_that_changed_is_answered_again_at_once(model, tmp_path, place) -> None:
    resume, output = interrupted(model, tmp_path)
    (unit, *_) = sorted(output.glob(".unfinished/units-*/unit-*"))
    kept = rows_of(output)
    for part in output.glob("part-*"):
        part.unlink()
    if place == "pipe":
        unit.unlink()
        os.mkfifo(unit)
    else:
        change(unit, place)
    unit.with_name(f"{unit.name}-copy").write_bytes(b"not the job's")
    done = succeed(*resume, here=True)
    assert f"{unit} is not what the job wrote: its rows are answered again" in done.stderr
    assert rows_of(output)[: len(kept)] == kept
    assert [row["id"] for row in rows_of(output)] == [row["id"] for row in ROWS]


def test_rows_that_were_taken_out_of_unchecked_input_are_told(model, tmp_path) -> None:
    resume, output = interrupted(model, tmp_path)
    docs = tmp_path / "docs.jsonl"
    broken = write_jsonl(docs, ROWS[:13]).read_text() + "{\n"
    docs.write_text(broken)
    before = len(broken)
    write_jsonl(docs, ROWS[:13])
    now = docs.stat().st_size
    done = succeed(*resume, here=True)
    assert f"warning: {docs} had {before:,} bytes, now {now:,}" in done.stderr
    assert len(rows_of(output)) == 13
