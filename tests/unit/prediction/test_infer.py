"""The inference command beyond what tests/contract hold: full disks, failures, kills."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, succeed, write_jsonl
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
from jobs import manifest_of

from hierbert.cli.infer import parse_options
from hierbert.errors import ConfigError, ModelError, RunError
from hierbert.prediction import answer_files
from hierbert.prediction import job as job_module
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.processes import Processes
from hierbert.prediction.run import Run

ROWS = make_rows(11, seed=5)
POISON = "poison " * 3


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"])


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return write_jsonl(tmp_path / "in" / "docs.jsonl", ROWS)


def refused(capsys: pytest.CaptureFixture[str], model: Path, *arguments: str | Path) -> str:
    capsys.readouterr()
    assert infer(model, *arguments) == 2
    return the_error(capsys)


def interrupt() -> None:
    raise KeyboardInterrupt


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def fail_on_poison(monkeypatch: pytest.MonkeyPatch, make_error: type[Exception]) -> None:
    """Let the model fail whenever a poisoned document is in its batch."""
    forward = HierBertPredictor._answer

    def poisoned(self: HierBertPredictor, documents: list[Any], *more: Any) -> Any:
        if any(document.text == POISON for document in documents):
            raise make_error("it is poisoned")
        return forward(self, documents, *more)

    monkeypatch.setattr(HierBertPredictor, "_answer", poisoned)


@pytest.mark.parametrize("make_error", [ModelError, KeyError])
def test_after_a_stop_the_job_goes_on_past_the_document_when_asked(
    model, docs, tmp_path, make_error, capsys, monkeypatch
) -> None:
    small_units(monkeypatch)
    rows = [dict(row) for row in ROWS]
    rows[6]["text"] = POISON
    write_jsonl(docs, rows)
    fail_on_poison(monkeypatch, make_error)
    output = tmp_path / "o.jsonl"
    arguments = ("--output", output, "--batch-tokens", "150")
    if make_error is KeyError:
        with pytest.raises(KeyError):  # a defect keeps its traceback
            infer(model, "--input", docs, *arguments)
    else:
        line = refused(capsys, model, "--input", docs, *arguments)
        assert line == f"{docs}, line 7: it is poisoned"
    assert len(kept_rows(output)) == 6
    # Rows are known by what they are, not by where they lie.
    moved = docs.rename(tmp_path / "moved.jsonl")
    assert infer(model, "--input", moved, *arguments, "--resume", "--on-error", "skip") == 3
    said = capsys.readouterr().err.splitlines()
    errors = tmp_path / "o.errors.jsonl"
    assert said[-1] == (
        f"10 documents (6 rows of them before) -> {output}; 1 rows could not be answered "
        f"(see {errors})"
    )
    assert [row["id"] for row in read_jsonl(output)] == [r["id"] for r in rows if r is not rows[6]]
    [error] = read_jsonl(errors)
    assert (error["row"], error["id"]) == (7, rows[6]["id"]) and "poisoned" in error["reason"]


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Any], None]:
    """Let a job stop when it writes its n-th row; each row is a unit."""
    small_units(monkeypatch)

    def stop(rows: int, fail: Callable[[], None]) -> None:
        written = iter(range(rows))

        def write(row: dict[str, object]) -> str:
            if next(written, None) is None:
                fail()
            return answer_files.encode_line(row)

        monkeypatch.setattr(job_module, "encode_line", write)

    return stop


def test_a_full_disk_keeps_the_rows_before_it(
    model, docs, tmp_path, capsys, stop_after, monkeypatch
) -> None:
    output = tmp_path / "o.jsonl"
    monkeypatch.setattr(OutputFolder, "start", no_space)
    line = refused(capsys, model, "--input", docs, "--output", output)
    assert line == f"--output {output} cannot be written: No space left on device"
    assert os.listdir(tmp_path) == ["in"], "a job without a row leaves nothing"
    monkeypatch.undo()
    written, sync = iter(range(4)), os.fsync

    def full(handle: int) -> None:
        if "unit" in os.readlink(f"/proc/self/fd/{handle}") and next(written, None) is None:
            no_space()
        sync(handle)

    small_units(monkeypatch)
    monkeypatch.setattr(os, "fsync", full)
    # A unit's file, and then its folder.
    assert "No space left" in refused(capsys, model, "--input", docs, "--output", output)
    assert len(kept_rows(output)) == 2
    monkeypatch.undo()
    assert len(answer(model, docs, output, "--resume")) == 11


def test_a_disk_that_is_full_at_the_end_keeps_all_rows(
    model, docs, tmp_path, capsys, monkeypatch
) -> None:
    output = tmp_path / "o.csv"
    monkeypatch.setattr(answer_files, "_write_csv", no_space)
    line = refused(capsys, model, "--input", docs, "--output", output)
    assert line == f"--output {output} cannot be written: No space left on device"
    assert sorted(os.listdir(tmp_path)) == ["in", "o.csv.partial"]
    assert len(kept_rows(output)) == 11
    monkeypatch.undo()
    monkeypatch.setattr(HierBertPredictor, "_answer", no_space)  # nothing is computed again
    answer(model, docs, output, "--resume")


@pytest.mark.slow
def test_two_processes_finish_what_was_all_but_finished(model, docs, tmp_path, monkeypatch) -> None:
    """Every unit is done and only the file is missing: the first has nothing to wait for."""
    output = tmp_path / "o.csv"
    monkeypatch.setattr(answer_files, "_write_csv", no_space)
    assert infer(model, "--input", docs, "--output", output) == 2
    arguments = ("infer.py", "--model", model, "--input", docs, "--output", output)
    succeed(*arguments, "--resume", processes=2)
    assert sorted(os.listdir(tmp_path)) == ["in", "o.csv"]


def test_an_interrupted_job_says_what_it_keeps_and_what_it_depends_on(
    model, docs, tmp_path, capsys, stop_after
) -> None:
    arguments = ("--input", docs, "--ratio", "0.5", "--output")
    stop_after(0, interrupt)
    assert infer(model, *arguments, tmp_path / "o.jsonl") == 130
    assert "nothing is kept yet; the same command begins anew" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in"]
    stop_after(3, interrupt)
    assert infer(model, *arguments, tmp_path / "o.jsonl") == 130
    told = capsys.readouterr().err
    assert "o.jsonl.partial holds the answers of 3 rows" in told and "--resume" in told
    kept = json.loads((tmp_path / "o.jsonl.partial" / "manifest.json").read_text())
    assert kept["sources"] == [{"name": str(docs), "bytes": docs.stat().st_size}]
    settings = kept["settings"]
    assert settings["ratio"] == 0.5 and settings["task"] == ["classify", "summarize"]
    assert not {"output", "device", "batch_tokens", "resume"} & set(settings)


def test_a_job_goes_on_with_the_commit_of_the_hub_that_it_began_with(
    model, docs, tmp_path, stop_after, monkeypatch
) -> None:
    real, asked = HierBertPredictor.from_pretrained, []

    def load(source: str, revision: str | None = None, **more: Any) -> HierBertPredictor:
        asked.append((source, revision))
        predictor = real(model, **more)
        predictor.commit = revision or f"c0ffee{len(asked)}"
        return predictor

    monkeypatch.setattr(HierBertPredictor, "from_pretrained", load)
    arguments = (Path("user/name"), "--input", docs, "--output", tmp_path / "o.jsonl")
    stop_after(3, interrupt)
    assert infer(*arguments) == infer(*arguments, "--resume") == 130
    assert asked == [("user/name", None), ("user/name", "c0ffee1")]


def test_standard_input_is_answered_up_to_its_broken_row(
    model, tmp_path, monkeypatch, capsys
) -> None:
    """Also the documents that were read but not yet answered when the row came."""
    small_units(monkeypatch)
    good = "".join(json.dumps(row) + "\n" for row in make_rows(40))
    for output in ("-", tmp_path / "o.jsonl"):
        data = io.BytesIO((good + "{broken\n").encode())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(data)))
        capsys.readouterr()
        assert infer(model, "--input", "-", "--output", output) == 2
        captured = capsys.readouterr()
        assert "standard input, line 41: broken JSON in column 2" in captured.err
        rows = [json.loads(line) for line in captured.out.splitlines()]
        if isinstance(output, Path):
            rows = kept_rows(output)
            assert not output.exists()
        # That the last was a unit by itself was not known yet.
        assert [row["id"] for row in rows] == [f"d{n}" for n in range(40 if output == "-" else 39)]


def test_a_full_disk_behind_standard_output_is_one_line(model, docs) -> None:
    with open("/dev/full", "wb") as full:
        process = start_infer(model, "--input", docs, "--output", "-", stdout=full)
        errors = process.communicate()[1].decode()
    assert process.returncode == 2
    assert errors.splitlines()[-1] == "error: --output - cannot be written: No space left on device"


def test_what_a_limit_left_out_is_told_of_all_documents(encoders, docs, tmp_path, capsys) -> None:
    settings: dict[str, Any] = {"classification": False, "max_segments": 2}
    limited = save_model(tmp_path / "limited", encoders["bert"], **settings)
    write_jsonl(
        docs, [{**row, "text": str(row["text"]) * (n % 5 + 1)} for n, row in enumerate(ROWS)]
    )
    rows = answer(limited, docs, tmp_path / "o.jsonl")
    omissions = [row["omission"]["segments"] for row in rows if "omission" in row]
    assert 0 < len(omissions) < 11
    said = f"max_segments: {len(omissions)} (segments left out: {sum(omissions)}; see `omission`"
    assert said in capsys.readouterr().err
    assert infer(limited, "--input", docs, "--output", "-") == 0
    assert said in capsys.readouterr().err


def test_places_that_are_no_output(model, docs, tmp_path, capsys, monkeypatch) -> None:
    nowhere = tmp_path / "nowhere"  # each is refused before the model is looked at
    to = ("--input", docs, "--output")
    line = refused(capsys, nowhere, *to, "/dev/null", "--output-format", "csv", "--overwrite")
    assert "is no regular file" in line
    for given in ("~nobody-of-that-name/o.jsonl", "~nobody-of-that-name/o"):
        more = [] if given.endswith("jsonl") else ["--rows-per-shard", "2"]
        line = refused(capsys, nowhere, *to, given, *more)
        assert line == f"--output {given}: there is no folder ~nobody-of-that-name"
    # A folder that takes no files, for root too.
    if Path("/proc/self").is_dir():
        line = refused(capsys, model, *to, "/proc/self/o.jsonl")
        assert line.startswith("--output /proc/self/o.jsonl cannot be written: ")
    output = tmp_path / "o.jsonl"
    output.write_text("precious")
    assert infer(nowhere, *to, output, "--resume") == 0
    assert f"--resume: {output} is complete" in capsys.readouterr().err
    assert output.read_text() == "precious"
    # An output among the inputs' files is none of them.
    assert len(answer(model, docs.parent, docs.with_name("out.jsonl"))) == 11


def test_several_processes_need_files_and_an_environment(
    model, docs, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for given in (("-", tmp_path / "o.jsonl"), (docs, "-")):
        line = refused(capsys, model, "--input", given[0], "--output", given[1])
        assert "--input - and --output - are for one process" in line
    for name, value in (("RANK", "2"), ("RANK", "-1"), ("LOCAL_RANK", "-1"), ("WORLD_SIZE", "two")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ConfigError, match=f"launcher is broken: .*{name}={value}"):
                Processes.from_environment()


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


def test_a_job_that_another_has_overtaken_does_not_replace_its_output(
    model, docs, tmp_path, capsys, monkeypatch
) -> None:
    arguments = ("--input", docs, "--output", tmp_path / "o.jsonl")
    real, others = HierBertPredictor.from_pretrained, iter([0])

    def overtaken(*given: Any, **more: Any) -> HierBertPredictor:
        for expected in others:
            assert infer(model, *arguments, "--max-words", "5") == expected
        return real(*given, **more)

    monkeypatch.setattr(HierBertPredictor, "from_pretrained", overtaken)
    assert infer(model, *arguments) == 2
    assert "o.jsonl exists; name another file or --overwrite it" in capsys.readouterr().err
    assert max(len(row["summary"].split()) for row in read_jsonl(tmp_path / "o.jsonl")) < 20


@pytest.mark.slow
def test_a_killed_job_goes_on_where_it_was(model, tmp_path) -> None:
    """No row is lost or doubled, though files were torn."""
    rows = make_rows(400, seed=9)
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    output = tmp_path / "o.jsonl"
    arguments = ("--input", "-", "--output", output, "--batch-tokens", "100", "--resume")
    # Resuming what never began begins it. The pipe stays open: the job cannot end by itself, and
    # what it has is more than it reads ahead.
    process = start_infer(model, *arguments, small=True, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"".join(lines[:320]))
    process.stdin.flush()
    while process.poll() is None and len(kept_rows(output)) <= 5:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(kept_rows(output))
    (folder,) = (tmp_path / "o.jsonl.partial" / ".unfinished").glob("units-*")
    assert 5 < done < 400 and not output.exists()
    (folder / "new-torn").write_bytes(b'+0123456789abcdef{"id": "d399", "lab')
    torn = folder / "unit-00000-000300"
    torn.write_bytes((folder / "unit-00000-000000").read_bytes()[:-7])
    finished = succeed("infer.py", "--model", model, *arguments, stdin=b"".join(lines))
    assert f"resuming after {done} rows" in finished.stderr
    assert f"400 documents ({done} rows of them before) -> {output}" in finished.stderr
    resumed = read_jsonl(output)
    assert [row["id"] for row in resumed] == [row["id"] for row in rows]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.jsonl"]
    whole = answer(model, write_jsonl(tmp_path / "docs.jsonl", rows), tmp_path / "whole.jsonl")
    for row, expected in zip(resumed, whole, strict=True):
        assert (row["label"], row["summary"]) == (expected["label"], expected["summary"])
