"""The inference command as a job: shards, errors.jsonl, several processes, signals, resuming."""

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from commands import read_jsonl, run, succeed, write_jsonl
from conftest import make_rows
from inference import (
    answer,
    infer,
    kept_rows,
    save_model,
    small_units,
    start_infer,
    the_error,
)
from parts import manifest_of

from hierbert.cli.infer import parse_options
from hierbert.errors import ModelError, RunError
from hierbert.model.segmentation import SegmentedDocument
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.run import Run

ROWS = make_rows(11, seed=5)
POISON = "poison " * 3


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"])


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "docs.jsonl", ROWS)


def same(found: list[Any], expected: list[Any]) -> None:
    """Rows are equal but for rounding."""
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert (row["label"], row["summary"]) == (wanted["label"], wanted["summary"])
        assert row["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)


@pytest.fixture
def fail_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], BaseException]], None]:
    """Let the model fail whenever a poisoned document is in its batch."""

    def install(make_error: Callable[[str], BaseException]) -> None:
        forward = HierBertPredictor._answer

        def poisoned(
            self: HierBertPredictor, documents: list[SegmentedDocument], *more: Any
        ) -> Any:
            for document in documents:
                if document.text == POISON:
                    raise make_error("it is poisoned")
            return forward(self, documents, *more)

        monkeypatch.setattr(HierBertPredictor, "_answer", poisoned)

    return install


def test_shards_of_every_format_hold_the_rows_of_the_one_file(model, docs, tmp_path) -> None:
    expected = answer(model, docs, tmp_path / "one.jsonl")
    for kind in ("jsonl", "csv", "parquet"):
        folder = tmp_path / kind
        arguments = ("--rows-per-shard", "4", "--output-format", kind)
        assert infer(model, "--input", docs, "--output", folder, *arguments) == 0
        names = [f"part-{number:05d}.{kind}" for number in range(3)]
        assert sorted(os.listdir(folder)) == ["manifest.json", *names]
        found: list[Any] = []
        for name in names:
            if kind == "jsonl":
                found += read_jsonl(folder / name)
            elif kind == "parquet":
                found += pq.read_table(folder / name).to_pylist()
            else:
                with (folder / name).open(encoding="utf-8", newline="") as file:
                    rows = list(csv.DictReader(file))
                found += [{**r, "probabilities": json.loads(r["probabilities"])} for r in rows]
        same(found, expected)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert [part["rows"] for part in manifest["parts"]] == [4, 4, 3]
        assert [part["file"] for part in manifest["parts"]] == names
        assert manifest["complete"] and manifest["rows_done"] == 11
        sizes = [(folder / name).stat().st_size for name in names]
        assert [part["bytes"] for part in manifest["parts"]] == sizes


def test_shards_need_a_folder(model, docs, tmp_path, capsys) -> None:
    more = ("--rows-per-shard", "4")
    assert infer(model, "--input", docs, "--output", tmp_path / "o.jsonl", *more) == 2
    assert "--rows-per-shard makes a folder; name one without an ending" in the_error(capsys)
    assert infer(model, "--input", docs, "--output", tmp_path, *more) == 2
    assert "holds the input" in the_error(capsys)
    assert infer(model, "--input", docs, "--output", "-", *more) == 2
    assert "--rows-per-shard needs an output on disk" in the_error(capsys)
    assert sorted(os.listdir(tmp_path)) == ["docs.jsonl"]


def test_rows_that_cannot_be_read_go_to_the_errors_and_are_counted(model, tmp_path, capsys) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[2], lines[5], lines[10] = "{", '{"id": "x", "text": 5}', json.dumps(ROWS[0])
    docs = tmp_path / "docs.jsonl"
    docs.write_text("\n".join(lines) + "\n")
    output = tmp_path / "o.jsonl"
    assert infer(model, "--input", docs, "--output", output) == 2, "stop is the default"
    assert "docs.jsonl, line 3" in the_error(capsys) and not output.exists()
    assert infer(model, "--input", docs, "--output", output, "--on-error", "skip") == 3
    errors = tmp_path / "o.errors.jsonl"
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (f"8 documents -> {output}; 3 rows could not be answered (see {errors})")
    good = [row for number, row in enumerate(ROWS) if number not in (2, 5, 10)]
    assert [row["id"] for row in read_jsonl(output)] == [row["id"] for row in good]
    found = read_jsonl(errors)
    assert [(row["row"], row["id"]) for row in found] == [(3, None), (6, "x"), (11, ROWS[0]["id"])]
    assert [row["location"] for row in found] == [f"{docs}, line {n}" for n in (3, 6, 11)]
    for row, words in zip(found, ("broken JSON", "column 'text' holds 5", "twice"), strict=True):
        assert words in row["reason"]
    # Errors of another job are not written over.
    output.unlink()
    assert infer(model, "--input", docs, "--output", output, "--on-error", "skip") == 2
    assert "o.errors.jsonl exists" in the_error(capsys)
    # Nor do they outlive an overwritten one.
    write_jsonl(docs, ROWS)
    assert infer(model, "--input", docs, "--output", output, "--overwrite") == 0
    assert not errors.exists()


def test_errors_on_standard_output_are_told_on_standard_error(model, tmp_path, capsys) -> None:
    docs = tmp_path / "docs.jsonl"
    docs.write_text('{"text": "A cat."}\n{"text": null}\n{"text": "A dog."}\n')
    assert infer(model, "--input", docs, "--output", "-", "--on-error", "skip") == 3
    captured = capsys.readouterr()
    assert [json.loads(line)["id"] for line in captured.out.splitlines()] == ["docs-1", "docs-3"]
    assert f"row 2 ({docs}, line 2" in captured.err
    assert captured.err.splitlines()[-1] == (
        "2 documents -> standard output; 1 rows could not be answered"
    )


@pytest.mark.parametrize("number", [0, 4, 10])
def test_a_document_the_model_fails_on_costs_that_document_alone(
    model, tmp_path, fail_on, number
) -> None:
    rows = [dict(row) for row in ROWS]
    expected = answer(model, write_jsonl(tmp_path / "good.jsonl", rows), tmp_path / "good-o.jsonl")
    rows[number]["text"] = POISON
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    fail_on(ModelError)
    output = tmp_path / "o"
    arguments = ("--input", docs, "--output", output, "--rows-per-shard", "3")
    assert infer(model, *arguments, "--on-error", "skip", "--batch-tokens", "150") == 3
    found = [row for part in sorted(output.glob("part-*")) for row in read_jsonl(part)]
    same(found, [row for row in expected if row["id"] != rows[number]["id"]])
    [error] = read_jsonl(output / "errors.jsonl")
    assert error == {
        "row": number + 1,
        "location": f"{docs}, line {number + 1}",
        "id": rows[number]["id"],
        "reason": "it is poisoned",
    }


def out_of_memory(why: str) -> RunError:
    error = RunError(why)
    error.__cause__ = torch.OutOfMemoryError(why)
    return error


@pytest.mark.parametrize("make_error", [ModelError, out_of_memory, KeyError])
def test_after_a_stop_the_job_goes_on_past_the_document_when_asked(
    model, tmp_path, fail_on, make_error, capsys, monkeypatch
) -> None:
    small_units(monkeypatch)
    rows = [dict(row) for row in ROWS]
    rows[6]["text"] = POISON
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    fail_on(make_error)
    output = tmp_path / "o.jsonl"
    arguments = ("--input", docs, "--output", output, "--batch-tokens", "150")
    if make_error is KeyError:
        with pytest.raises(KeyError):  # a defect keeps its traceback
            infer(model, *arguments)
    else:
        assert infer(model, *arguments) == 2
        line = the_error(capsys)
        assert "docs.jsonl, line 7" in line and "it is poisoned" in line
    before = len(kept_rows(output))
    assert before == 6
    assert infer(model, *arguments, "--resume", "--on-error", "skip") == 3
    assert f"10 documents ({before} rows of them before)" in capsys.readouterr().err
    ids = [row["id"] for row in read_jsonl(output)]
    assert ids == [row["id"] for n, row in enumerate(rows) if n != 6]
    [error] = read_jsonl(tmp_path / "o.errors.jsonl")
    assert error["row"] == 7 and "it is poisoned" in error["reason"]


def test_what_is_wrong_with_all_documents_stops_the_job(model, tmp_path, fail_on, capsys) -> None:
    rows = [{"id": f"d{n}", "text": POISON} for n in range(40)]
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    fail_on(ModelError)
    output = tmp_path / "o.jsonl"
    assert infer(model, "--input", docs, "--output", output, "--on-error", "skip") == 2
    line = the_error(capsys)
    assert line.startswith("none of the first 20 documents could be answered; the last, ")


def test_a_device_that_fails_for_good_costs_no_document(
    model, docs, tmp_path, capsys, monkeypatch
) -> None:
    """After a fault of a GPU, every call fails: that is told, and no row is given up for it."""
    forward, calls = HierBertPredictor._answer, []

    def faulty(self: HierBertPredictor, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return forward(self, *arguments)

    small_units(monkeypatch)
    monkeypatch.setattr(HierBertPredictor, "_answer", faulty)
    output = tmp_path / "o.jsonl"
    arguments = ("--input", docs, "--output", output, "--on-error", "skip", "--batch-tokens", "150")
    assert infer(model, *arguments) == 2
    assert "since then nothing can: RuntimeError: CUDA error" in the_error(capsys)
    before = len(kept_rows(output))
    assert 0 < before < 11
    monkeypatch.undo()
    assert infer(model, *arguments, "--resume") == 0
    assert len(read_jsonl(output)) == 11


def test_a_disk_that_fills_up_is_no_fault_of_a_document(
    model, docs, tmp_path, fail_on, capsys
) -> None:
    write_jsonl(docs, [*ROWS, {"id": "last", "text": POISON}])
    fail_on(lambda why: OSError(28, "No space left on device"))
    output = tmp_path / "o.jsonl"
    with pytest.raises(OSError, match="No space"):
        infer(model, "--input", docs, "--output", output, "--on-error", "skip")
    assert not output.exists()


def test_a_job_goes_on_with_the_same_model_and_rows_wherever_they_lie(
    model, docs, tmp_path, capsys, fail_on, monkeypatch, encoders
) -> None:
    rows = [*ROWS, {"id": "last", "text": POISON}]
    write_jsonl(docs, rows)
    fail_on(ModelError)
    small_units(monkeypatch)
    output = tmp_path / "o.jsonl"
    arguments = ("--output", output, "--batch-tokens", "150", "--resume")
    assert infer(model, "--input", docs, *arguments) == 2
    monkeypatch.undo()
    capsys.readouterr()
    other = save_model(tmp_path / "other", encoders["bert"], decision_threshold=0.4)
    assert infer(other, "--input", docs, *arguments) == 2
    assert "the job has changed: --model is another model" in the_error(capsys)
    moved = shutil.copytree(model, tmp_path / "moved")
    before = len(kept_rows(output))
    (tmp_path / "elsewhere").mkdir()
    docs.rename(tmp_path / "elsewhere" / "other.jsonl")
    assert infer(moved, *arguments, "--input", tmp_path / "elsewhere" / "other.jsonl") == 0
    assert before and f"({before} rows of them before)" in capsys.readouterr().err
    assert [row["id"] for row in read_jsonl(output)] == [row["id"] for row in rows]


def test_without_a_check_the_first_document_is_not_waited_for(model, docs, tmp_path, capsys):
    answer(model, docs, tmp_path / "o.jsonl", "--no-check")
    said = capsys.readouterr().err
    assert "checking" not in said and "11 documents" in said


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(model, tmp_path, capsys) -> None:
    """Fewer rows than processes among them, and one document longer than all others."""
    rows = make_rows(60, seed=6)
    for row in rows:
        row["text"] *= 16  # so that there are several units
    rows[50]["text"] = " ".join(row["text"] for row in rows) * 3
    docs = write_jsonl(tmp_path / "docs.jsonl", rows)
    expected = answer(model, docs, tmp_path / "one.jsonl")
    arguments = ("infer.py", "--model", model, "--input", docs)
    done = succeed(*arguments, "--output", tmp_path / "two.jsonl", processes=2)
    assert f"60 documents -> {tmp_path / 'two.jsonl'}" in done.stderr
    same(read_jsonl(tmp_path / "two.jsonl"), expected)
    single = write_jsonl(tmp_path / "single.jsonl", rows[:1])
    succeed(
        "infer.py", "--model", model, "--input", single, "--output", tmp_path / "o",
        "--rows-per-shard", "5", processes=2,
    )  # fmt: skip
    same(read_jsonl(tmp_path / "o" / "part-00000.jsonl"), expected[:1])


@pytest.mark.slow
def test_a_mistake_on_two_processes_is_told_once(model, tmp_path) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", [*ROWS, ROWS[0]])
    done = run(
        "infer.py", "--model", model, "--input", docs, "--output", tmp_path / "o.jsonl",
        processes=2,
    )  # fmt: skip
    assert done.returncode == 1  # torchrun's own, whatever the processes say
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "occurs twice" in errors[0]
    assert sorted(os.listdir(tmp_path)) == ["docs.jsonl"]


@pytest.mark.slow
def test_sigterm_ends_the_job_so_that_it_can_go_on(model, tmp_path) -> None:
    rows = make_rows(400, seed=9)
    output = tmp_path / "o"
    arguments = [
        "--input", "-", "--output", output, "--batch-tokens", "100", "--rows-per-shard", "2",
        "--resume",
    ]  # fmt: skip
    process = start_infer(model, *arguments, small=True, stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    # More than is read ahead; the pipe stays open, so that the job cannot end by itself.
    process.stdin.write(b"".join(lines[:320]))
    process.stdin.flush()
    while process.poll() is None and not (output / "part-00002.jsonl").exists():
        pass
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1].decode()
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert f"{output} holds the answers of" in said and "with --resume goes on" in said
    finished = succeed("infer.py", "--model", model, *arguments, stdin=b"".join(lines))
    assert "400 documents" in finished.stderr
    found = [row["id"] for n in range(200) for row in read_jsonl(output / f"part-{n:05d}.jsonl")]
    assert found == [row["id"] for row in rows]


def test_a_process_that_comes_late_does_not_look_at_what_the_first_has_begun(
    model, docs, tmp_path, monkeypatch
) -> None:
    """The first process may be at work before another has read its options."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    begun = OutputFolder(tmp_path / "o", "jsonl", 4)
    begun.start(manifest_of())
    arguments = ["--model", str(model), "--input", str(docs), "--output", str(begun.path)]
    Run(parse_options([*arguments, "--rows-per-shard", "4"]))
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(RunError, match="is of an interrupted job"):
        Run(parse_options([*arguments, "--rows-per-shard", "4"])).execute()


@pytest.mark.slow
def test_two_processes_finish_what_was_all_but_finished(model, docs, tmp_path, monkeypatch) -> None:
    """Every part is whole and only the file is missing: the first has nothing to wait for."""

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "o.csv"
    monkeypatch.setattr("hierbert.prediction.answer_files._write_csv", fail)
    assert infer(model, "--input", docs, "--output", output) == 2
    monkeypatch.undo()
    arguments = ("infer.py", "--model", model, "--input", docs, "--output", output)
    succeed(*arguments, "--resume", processes=2)
    assert sorted(os.listdir(tmp_path)) == ["docs.jsonl", "o.csv"]
