"""The inference command where the disk is full, a document fails, or another job interferes."""

import os
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, write_jsonl
from conftest import make_rows
from inference import answer, infer, kept_rows, save_model, small_units, start_infer, the_error

from hierbert.errors import ConfigError, ModelError
from hierbert.prediction import answer_files
from hierbert.prediction import job as job_module
from hierbert.prediction import predictor as predictor_module
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.processes import Processes

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


def no_space(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_after_a_stop_the_job_goes_on_past_the_document_when_asked(
    model, docs, tmp_path, capsys, monkeypatch
) -> None:
    small_units(monkeypatch)
    rows = [dict(row) for row in ROWS]
    rows[6]["text"] = POISON
    write_jsonl(docs, rows)
    forward = HierBertPredictor._answer

    def poisoned(self: HierBertPredictor, documents: list[Any], *more: Any) -> Any:
        if any(document.text == POISON for document in documents):
            raise ModelError("it is poisoned")
        return forward(self, documents, *more)

    monkeypatch.setattr(HierBertPredictor, "_answer", poisoned)
    output = tmp_path / "o.jsonl"
    arguments = ("--output", output, "--batch-tokens", "150")
    line = refused(capsys, model, "--input", docs, *arguments)
    assert line == f"{docs}, line 7: it is poisoned"
    assert len(kept_rows(output)) == 6
    # Rows are known by what they are, not by where they lie.
    moved = docs.rename(tmp_path / "moved.jsonl")
    assert infer(model, "--input", moved, *arguments, "--resume", "--on-error", "skip") == 3
    errors = tmp_path / "o.errors.jsonl"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"10 documents (6 rows of them before) -> {output}; 1 rows could not be answered "
        f"(see {errors})"
    )
    assert [row["id"] for row in read_jsonl(output)] == [r["id"] for r in rows if r is not rows[6]]
    [error] = read_jsonl(errors)
    assert (error["row"], error["id"]) == (7, rows[6]["id"]) and "poisoned" in error["reason"]


def test_a_disk_that_is_full_is_one_line_and_keeps_what_was_done(
    model, docs, tmp_path, capsys, monkeypatch
) -> None:
    output = tmp_path / "o.csv"
    arguments = ("--input", docs, "--output", output)
    told = f"--output {output} cannot be written: No space left on device"
    monkeypatch.setattr(OutputFolder, "start", no_space)
    assert refused(capsys, model, *arguments) == told
    assert os.listdir(tmp_path) == ["in"], "a job without a row leaves nothing"
    monkeypatch.undo()
    written, sync = iter(range(4)), os.fsync

    def full(handle: int) -> None:
        if "unit" in os.readlink(f"/proc/self/fd/{handle}") and next(written, None) is None:
            no_space()
        sync(handle)

    small_units(monkeypatch)
    monkeypatch.setattr(os, "fsync", full)
    assert refused(capsys, model, *arguments) == told
    # A unit's file is synced, and then its folder.
    assert len(kept_rows(output)) == 2
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(answer_files, "_write_csv", no_space)
    assert refused(capsys, model, *arguments, "--resume") == told
    assert sorted(os.listdir(tmp_path)) == ["in", "o.csv.partial"]
    assert len(kept_rows(output)) == 11
    monkeypatch.undo()
    monkeypatch.setattr(HierBertPredictor, "_answer", no_space)  # nothing is computed again
    answer(model, docs, output, "--resume")


def test_a_full_disk_behind_standard_output_is_one_line(model, docs) -> None:
    with open("/dev/full", "wb") as full:
        process = start_infer(model, "--input", docs, "--output", "-", stdout=full)
        errors = process.communicate()[1].decode()
    assert process.returncode == 2
    assert errors.splitlines()[-1] == "error: --output - cannot be written: No space left on device"


@pytest.mark.parametrize("broken", ["WORLD_SIZE=two", "RANK=2", "RANK=-1", "LOCAL_RANK=-1"])
def test_an_environment_that_no_launcher_makes_is_refused(broken, monkeypatch) -> None:
    for setting in ("WORLD_SIZE=2", broken):
        monkeypatch.setenv(*setting.split("="))
    with pytest.raises(ConfigError, match=f"launcher is broken: .*{broken}"):
        Processes.from_environment()


def test_a_job_goes_on_with_the_commit_and_the_measurements_that_it_began_with(
    model, docs, tmp_path, monkeypatch
) -> None:
    small_units(monkeypatch)
    real, asked, measured = HierBertPredictor.from_pretrained, [], iter((384, 240))

    def load(source: str, **given: Any) -> HierBertPredictor:
        revision = given.pop("revision", None)
        asked.append((source, revision, given["tokens_per_forward"]))
        predictor = real(model, **given)
        predictor.commit = revision or "c0ffee"
        return predictor

    def write(row: dict[str, object]) -> str:
        if row["id"] == "d3":
            raise KeyboardInterrupt
        return answer_files.encode_line(row)

    monkeypatch.setattr(HierBertPredictor, "from_pretrained", load)
    monkeypatch.setattr(predictor_module, "probe_tokens_per_forward", lambda *_: next(measured))
    monkeypatch.setattr(job_module, "encode_line", write)
    arguments = ("--input", docs, "--output", tmp_path / "o.jsonl", "--tokens-per-forward", "auto")
    assert infer(Path("user/name"), *arguments) == 130
    assert infer(Path("user/name"), *arguments, "--resume") == 130
    assert asked == [("user/name", None, "auto"), ("user/name", "c0ffee", 384)]
    assert next(measured) == 240, "it was measured once"


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
    assert "o.jsonl exists; name another file or --overwrite" in refused(capsys, model, *arguments)
    assert max(len(row["summary"].split()) for row in read_jsonl(tmp_path / "o.jsonl")) < 20
