"""What the tests of the inference command share: models in folders, and the command in process."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl
from small_models import build

from hierbert.cli.infer import main


def save_model(folder: Path, encoder: Path, **settings: Any) -> Path:
    """A model and its processor in a folder, as training leaves them."""
    for part in build(encoder, **settings):
        part.save_pretrained(folder)
    return folder


def infer(model: Path, *arguments: str | Path) -> int:
    """The command within this process, which saves the seconds of its imports."""
    return main(["--model", str(model), *map(str, arguments)])


def answer(model: Path, documents: Path | list[Path], output: Path, *more: str) -> list[Any]:
    """Rows of a job that must succeed and leave nothing but its output."""
    inputs = documents if isinstance(documents, list) else [documents]
    assert infer(model, "--output", output, *more, "--input", *inputs) == 0
    left = sorted(path.name for path in output.parent.glob(f"*{output.name}*"))
    assert left == [output.name]
    return read_jsonl(output) if output.suffix == ".jsonl" else []


def kept_rows(output: Path) -> list[Any]:
    """Answers that an interrupted job of one file has kept, by a reading of the log's own form."""
    folder = output.with_name(output.name + ".partial")
    rows = []
    for path in sorted(folder.glob("part-*.jsonl")):
        rows += read_jsonl(path)
    for log in sorted((folder / ".unfinished").glob("[0-9]*.*")):
        lines = log.read_bytes().split(b"\n")[:-1]
        rows += [json.loads(line.split(b" ", 4)[4]) for line in lines if b" answer " in line]
    return rows


def the_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only error line, which is the last."""
    *before, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ") and not [line for line in before if "error" in line]
    return last.removeprefix("error: ")
