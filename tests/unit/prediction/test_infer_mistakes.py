"""Mistakes at the inference command: one line, exit code 2, nothing written or lost."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import write_jsonl
from conftest import make_rows
from inference import answer, infer, kept_rows, save_model, small_units, the_error

from hierbert.prediction import answer_files, parts
from hierbert.prediction.predictor import HierBertPredictor

ROWS = make_rows(6)


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"])


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return write_jsonl(folder / "docs.jsonl", ROWS)


def refused(capsys: pytest.CaptureFixture[str], model: Path, *arguments: str | Path) -> str:
    capsys.readouterr()
    assert infer(model, *arguments) == 2
    return the_error(capsys)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', "'1' occurs twice"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: broken JSON in column 10"),
        ("a.jsonl", b'{"text": "a"}\n{"text": null}\n', "line 2: column 'text' holds None"),
        ("a.jsonl", b'{"text": "\xe9"}\n', "line 1: is not utf-8.* set --encoding"),
        ("a.csv", b"text\nab\nc,d\n", "row 2: .*2 fields, but the header has 1"),
        ("a.csv", b"id,body\n1,ab\n", "no column 'text'; .* set --text-column"),
        ("a.jsonl", b'{"txt": "a"}', "set --text-column to one of them; did you mean 'txt'"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.csv", b"text\n", "holds no rows"),
        ("a.jsonl.gz", b"not gzip", "damaged or not gzip"),
        ("a.parquet", b"PAR1", "cannot be read as parquet"),
        ("a.pdf", b"%PDF", "no known ending"),
    ],
)
def test_broken_input_leaves_nothing_behind(
    model, tmp_path, capsys, name, content, message
) -> None:
    (tmp_path / name).write_bytes(content)
    line = refused(capsys, model, "--input", tmp_path / name, "--output", tmp_path / "o.csv")
    assert re.search(message, line), line
    assert str(tmp_path / name) in line and os.listdir(tmp_path) == [name]


def test_input_that_is_not_there(model, docs, tmp_path, capsys) -> None:
    near = docs.with_name("doc.jsonl")
    line = refused(capsys, model, "--input", near, "--output", tmp_path / "o.jsonl")
    assert "there is no file or folder" in line and "did you mean" in line
    line = refused(capsys, model, "--input", tmp_path / "*.csv", "--output", tmp_path / "o.jsonl")
    assert "no file matches" in line
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-words", "0"], "--max-words: '0' is not allowed: a whole number, at least 1"),
        (["--max-words", "x"], "argument --max-words: 'x' is not allowed: a whole number"),
        (["--max-words", "5", "--ratio", "0.1"], "not allowed with argument --max-words"),
        (["--ratio", "1.5"], "ratio=1.5 is not allowed: a number above 0, at most 1"),
        (["--redundancy", "2"], "redundancy=2.0 is not allowed: 0 to 1"),
        (["--batch-tokens", "0"], "--batch-tokens: '0' is not allowed"),
        (["--tokens-per-forward", "-1"], "'-1' is not allowed: auto, or at least 1"),
        (["--task", "translate"], "--task translate: "),
        (["--device", "cuda:7"], "device 'cuda:7' cannot be used here"),
        (["--encoding", "klingon"], "--encoding='klingon' is an unknown encoding"),
        (["--segment-vectors"], "--segment-vectors is for the task embed; the tasks here are"),
        (["--task", "embed", "--order", "score"], "--order is for the task summarize"),
        (["--task", "classify", "--max-words", "5"], "--max-words is for the task summarize"),
        (["--output-format", "xml"], "invalid choice: 'xml'"),
        (["--max-word", "5"], "unrecognized arguments: --max-word 5"),
    ],
)
def test_flags_that_make_no_sense(model, docs, tmp_path, capsys, flags, message) -> None:
    line = refused(capsys, model, "--input", docs, "--output", tmp_path / "o.jsonl", *flags)
    assert message in line
    assert os.listdir(tmp_path) == ["in"]


def test_a_task_the_model_has_no_head_for(encoders, docs, tmp_path, capsys) -> None:
    summarizer = save_model(docs.parent / "model", encoders["bert"], classification=False)
    arguments = ("--input", docs, "--output", tmp_path / "o.jsonl", "--task", "classify")
    line = refused(capsys, summarizer, *arguments)
    assert "this model cannot classify" in line and "it can summarize, embed" in line


def test_several_processes_need_files(model, docs, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for given in (("-", tmp_path / "o.jsonl"), (docs, "-")):
        line = refused(capsys, model, "--input", given[0], "--output", given[1])
        assert "--input - and --output - are for one process" in line
    monkeypatch.setenv("WORLD_SIZE", "two")
    line = refused(capsys, model, "--input", docs, "--output", tmp_path / "o.jsonl")
    assert "the environment of the launcher is broken: WORLD_SIZE=two" in line


def test_outputs_that_cannot_be(model, docs, tmp_path, capsys) -> None:
    """Each is refused before the model is loaded: its folder is not even looked at."""
    nowhere = tmp_path / "nowhere"
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "plain").write_text("x")
    cases = {
        "o.txt": "the format 'txt' is not allowed; choose from jsonl, csv, parquet",
        "no/o.jsonl": "there is no folder",
        "plain/o.jsonl": "there is no folder",
        "folder.csv": "is no regular file",
        "in/docs.jsonl": "is one of the inputs",
    }
    before = sorted(os.listdir(tmp_path))
    for name, message in cases.items():
        arguments = ("--input", docs, "--output", tmp_path / name, "--overwrite")
        assert message in refused(capsys, nowhere, *arguments), name
    device = ("--input", docs, "--output", "/dev/null", "--output-format", "csv", "--overwrite")
    assert "is no regular file" in refused(capsys, nowhere, *device)
    arguments = ("--input", docs, "--output", "-", "--output-format", "parquet")
    assert "parquet needs a file" in refused(capsys, nowhere, *arguments)
    assert "--resume needs an output on disk" in refused(
        capsys, nowhere, *arguments[:-2], "--resume"
    )
    assert sorted(os.listdir(tmp_path)) == before
    # A folder that takes no files, for root too.
    if Path("/proc/self").is_dir():
        line = refused(capsys, model, "--input", docs, "--output", "/proc/self/o.jsonl")
        assert line.startswith("--output /proc/self/o.jsonl cannot be written: ")


def test_an_output_that_exists_is_replaced_only_when_asked(model, docs, tmp_path, capsys) -> None:
    output = tmp_path / "o.jsonl"
    output.write_text("precious")
    line = refused(capsys, model, "--input", docs, "--output", output)
    assert line == f"--output {output} exists; name another file or --overwrite it"
    capsys.readouterr()
    assert infer(model, "--input", docs, "--output", output, "--resume") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "--resume" in line and str(output) in line and "complete" in line
    assert output.read_text() == "precious"
    assert len(answer(model, docs, output, "--overwrite")) == 6


def test_outputs_in_the_folder_of_the_inputs_are_no_inputs(model, docs, capsys) -> None:
    rows = answer(model, docs.parent, docs.with_name("out.jsonl"))
    assert len(rows) == 6
    line = refused(
        capsys, model, "--input", docs.parent, "--output", docs.with_name("out.jsonl"),
        "--overwrite",
    )  # fmt: skip
    assert "out.jsonl is one of the inputs" in line


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], None]:
    """Let a job stop with an error when it writes its n-th row; each row is a unit."""
    small_units(monkeypatch)

    def stop(rows: int, error: BaseException) -> None:
        written = iter(range(rows))

        def write(row: dict[str, object]) -> str:
            if next(written, None) is None:
                raise error
            return answer_files.encode_line(row)

        monkeypatch.setattr(parts, "encode_line", write)

    return stop


def test_a_job_goes_on_only_with_the_same_settings_and_input(
    model, docs, tmp_path, capsys, stop_after, monkeypatch
) -> None:
    output = tmp_path / "o.csv"
    arguments = ("--input", docs, "--output", output, "--max-words", "10")
    stop_after(3, KeyboardInterrupt())
    assert infer(model, *arguments) == 130
    told = capsys.readouterr().err
    assert "o.csv.partial holds the answers of 3 rows" in told and "--resume" in told
    monkeypatch.undo()
    line = refused(capsys, model, *arguments)
    assert "--resume goes on with it; --overwrite starts anew" in line
    line = refused(capsys, model, *arguments[:-1], "11", "--dtype", "bfloat16", "--resume")
    assert "--max-words was 10 and is 11; --dtype was 'float32' and is 'bfloat16'" in line
    everything = docs.read_text()
    for changed in (ROWS[:2], [ROWS[1], ROWS[0], *ROWS[2:]]):
        write_jsonl(docs, changed)
        line = refused(capsys, model, *arguments, "--resume")
        assert "--resume: the input has changed: " in line
        assert len(kept_rows(output)) == 3
    docs.write_text(everything)
    settings = tmp_path / "o.csv.partial" / "manifest.json"
    kept = settings.read_text()
    for broken in ("{", "[1]", "[" * 100_000):
        settings.write_text(broken)
        assert "cannot be read" in refused(capsys, model, *arguments, "--resume")
    settings.write_text(kept)
    # What rows do not depend on may change.
    answer(model, docs, output, "--max-words", "10", "--resume", "--batch-tokens", "99")
    answer(model, docs, tmp_path / "whole.csv", "--max-words", "10")
    lines = [path.read_text().count("\n") for path in (output, tmp_path / "whole.csv")]
    assert lines[0] == lines[1] > 6


def test_a_job_that_is_overwritten_starts_anew(model, docs, tmp_path, stop_after, monkeypatch):
    output = tmp_path / "o.jsonl"
    stop_after(3, KeyboardInterrupt())
    assert infer(model, "--input", docs, "--output", output, "--max-words", "5") == 130
    monkeypatch.undo()
    rows = answer(model, docs, output, "--overwrite", "--max-words", "20")
    assert len(rows) == 6 and max(len(row["summary"].split()) for row in rows) > 5


def test_a_full_disk_keeps_the_rows_before_it(
    model, docs, tmp_path, capsys, stop_after, monkeypatch
) -> None:
    output = tmp_path / "o.jsonl"
    full = OSError(28, "No space left on device")
    stop_after(0, full)
    line = refused(capsys, model, "--input", docs, "--output", output)
    assert line == f"--output {output} cannot be written: No space left on device"
    assert os.listdir(tmp_path) == ["in"], "a job without a row leaves nothing"
    stop_after(4, full)
    refused(capsys, model, "--input", docs, "--output", output)
    assert len(kept_rows(output)) == 4
    monkeypatch.undo()
    assert len(answer(model, docs, output, "--resume")) == 6


def test_a_disk_that_is_full_at_the_end_keeps_all_rows(
    model, docs, tmp_path, capsys, monkeypatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "o.csv"
    monkeypatch.setattr(answer_files, "_write_csv", fail)
    line = refused(capsys, model, "--input", docs, "--output", output)
    assert line == f"--output {output} cannot be written: No space left on device"
    assert sorted(os.listdir(tmp_path)) == ["in", "o.csv.partial"]
    assert len(kept_rows(output)) == 6
    monkeypatch.undo()
    monkeypatch.setattr(HierBertPredictor, "_answer", fail)  # nothing is computed again
    answer(model, docs, output, "--resume")


def test_a_model_folder_that_is_none(docs, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    run.mkdir()
    line = refused(capsys, run, "--input", docs, "--output", tmp_path / "o.jsonl")
    assert line == f"{run} is no model folder: config.json is missing"
    shutil.rmtree(run)
    line = refused(capsys, run, "--input", docs, "--output", tmp_path / "o.jsonl")
    assert line == f"there is no model folder {run}"


def test_settings_kept_beside_the_rows_name_all_that_rows_depend_on(
    model, docs, tmp_path, stop_after
) -> None:
    stop_after(1, KeyboardInterrupt())
    assert infer(model, "--input", docs, "--output", tmp_path / "o.jsonl", "--ratio", "0.5") == 130
    kept = json.loads((tmp_path / "o.jsonl.partial" / "manifest.json").read_text())
    assert kept["sources"] == [{"name": str(docs), "bytes": docs.stat().st_size}]
    settings = kept["settings"]
    assert settings["ratio"] == 0.5 and settings["task"] == ["classify", "summarize"]
    assert not {"output", "device", "batch_tokens", "resume"} & set(settings)


def test_the_home_of_nobody_is_a_folder_that_is_not_there(model, docs, capsys) -> None:
    for given in ("~nobody-of-that-name/o.jsonl", "~nobody-of-that-name/o"):
        more = [] if given.endswith("jsonl") else ["--rows-per-shard", "2"]
        line = refused(capsys, model, "--input", docs, "--output", given, *more)
        assert line == f"--output {given}: there is no folder ~nobody-of-that-name"
