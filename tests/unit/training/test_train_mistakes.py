"""Mistakes at the training command: one line, exit code 2, nothing written or lost."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from commands import read_jsonl, refuse, write_jsonl
from conftest import make_rows
from training import error_of, one_file_run, weights

from hierbert.training import loop, run_folder
from hierbert.training.cli import main


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a small run on a file of documents; it goes to the folder `run`."""
    return one_file_run(tmp_path, encoders["bert"])


def rows_but(**changes: Any) -> list[dict[str, Any]]:
    """Rows of which the last one is changed."""
    rows = make_rows(4, seed=1)
    rows[-1] = {**rows[-1], **changes}
    return rows


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize(
    ("content", "more", "parts"),
    [
        (lines(rows_but()), ["data.text_column=body"], ["'body'", "'text'", "data.text_column"]),
        (lines(rows_but()), ["data.label_column=lable"], ["'lable'", "did you mean 'label'"]),
        (lines(rows_but(label=3)), [], ["bad.jsonl, line 4", "3 (a number)", "one type"]),
        (b"", [], ["bad.jsonl", "holds no rows"]),
        (lines(rows_but())[:-9], [], ["bad.jsonl, line 4", "JSON"]),
        (lines(rows_but())[:-9] + b"\xff\xfe\n", [], ["bad.jsonl", "utf-8", "data.encoding"]),
        (lines(rows_but(id="d0")), [], ["'d0' occurs twice", "line 1", "line 4"]),
        (lines([{**r, "label": "a"} for r in make_rows(4)]), [], ["1 label ('a')", "line 1"]),
        (lines([{**r, "label": None} for r in make_rows(4)]), [], ["'label'", "bad.jsonl, line 1"]),
        (
            lines([{**r, "summary": None} for r in make_rows(4)]),
            ["data.summary_column=summary"],
            ["data.train", "'summary'", "bad.jsonl, line 1"],
        ),
        (lines(rows_but(text=None)), [], ["line 4", "'text'", "null"]),
        (lines(rows_but()), ["training.epochs=many"], ["training.epochs", "many", "whole number"]),
        (lines(rows_but()), ["training.epoch=3"], ["training.epoch", "training.epochs"]),
        (lines(rows_but()), ["training.mixed_precision=fp16"], ["fp16 needs a GPU"]),
        (lines(rows_but()), ["training.trackers=[wandb]"], ["pip install wandb"]),
        (lines(rows_but()), ["model.encoder=nobody/nothing"], ["nobody/nothing", "local folder"]),
        (lines(make_rows(2)), [], ["too few documents for a validation split"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments, tmp_path, capsys, content, more, parts
) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    # The state of accelerate outlives a run in the same process and refuses another precision.
    AcceleratorState._reset_state()
    error = error_of(capsys, arguments(*more, train=tmp_path / "bad.jsonl"))
    for part in parts:
        assert part in error, error
    assert not (tmp_path / "run").exists()
    AcceleratorState._reset_state()


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([{"id": "v", "text": "A.", "label": "flim"}], ["line 1", "'flim'", "did you mean 'film'"]),
        ([{"id": "v", "text": "A.", "label": None}], ["no validation document has a label"]),
    ],
)
def test_bad_validation_documents(arguments, tmp_path, capsys, rows, parts) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", rows)
    error = error_of(capsys, arguments(f"data.validation={other}"))
    assert all(part in error for part in parts), error
    assert not (tmp_path / "run").exists()


def test_a_mistake_as_a_process(arguments, tmp_path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "A.", "label": "a"}\n{"text": ')
    assert "train.jsonl, line 2" in refuse("train.py", *arguments())
    assert not (tmp_path / "run").exists()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    torch.save(_Trap(folder / "unpickled"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


class _Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def of_another_size(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def of_a_translator(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "t5", "num_layers": 1, "d_model": 8}')


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (without_weights, "no weights in a .safetensors file"),
        (pickled, "pytorch_model.bin is not read"),
        (cut, "damaged or not whole"),
        (of_another_size, "damaged or do not fit"),
        (without_tokenizer, "no vocabulary"),
        (of_a_translator, "encoder-decoder"),
    ],
)
def test_an_encoder_that_is_not_whole_is_refused(
    arguments, encoders, tmp_path, capsys, damage, part
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], folder)
    damage(folder)
    error = error_of(capsys, arguments(f"model.encoder={folder}"))
    assert part in error and str(folder) in error
    assert not (folder / "unpickled").exists() and not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_refused_first(arguments, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "train.jsonl").write_text("not even read")
    error = error_of(capsys, arguments(f"run_dir={tmp_path}/file/run"))
    assert "file/run cannot be written" in error and "Not a directory" in error
    assert "is a file" in error_of(capsys, arguments(f"run_dir={tmp_path}/file"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    assert "holds something already" in error_of(capsys, arguments())
    assert "holds no run" in error_of(capsys, [*arguments(), "--resume"])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_a_cache_that_cannot_be_written(arguments, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    cache = f"training.cache_dir={tmp_path}/file/cache"
    error = error_of(capsys, arguments(cache, "training.freeze_encoder=true"))
    assert "Not a directory" in error and "training.cache_dir" in error
    assert not (tmp_path / "run").exists()
    # Without vectors the cache only saves time.
    assert main(arguments(cache, summary=True)) == 0


@pytest.mark.parametrize("target", ["checkpoints/", "best_step_", "model", "metrics.jsonl"])
def test_a_full_disk_is_one_line_and_the_run_resumes(
    arguments, tmp_path, capsys, monkeypatch, target
) -> None:
    """The real limit of the operating system on a file's size stands in for the full disk."""
    places = {
        "checkpoints/": (loop, "save_checkpoint"),
        "best_step_": (loop, "save_best"),
        "model": (run_folder.HierBertForDocuments, "save_pretrained"),
        "metrics.jsonl": (loop.Trackers, "log"),
    }
    owner, name = places[target]
    original = getattr(owner, name)

    def limited(*given: Any, **named: Any) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            return original(*given, **named)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, limited)
        error = error_of(capsys, arguments())
    assert target in error and "cannot be written" in error and "--resume" in error
    left = [path.name for path in (tmp_path / "run").rglob(".*")]
    assert left == [] and not (tmp_path / "run" / "model").exists()
    assert main([*arguments(), "--resume"]) == 0
    assert main(arguments(f"run_dir={tmp_path / 'whole'}")) == 0
    first, second = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(first[key].equal(second[key]) for key in first)
    assert read_jsonl(tmp_path / "run/metrics.jsonl") == read_jsonl(
        tmp_path / "whole/metrics.jsonl"
    )
