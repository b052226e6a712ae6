"""What the tests of the inference command share: models in folders, and the command in process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT, read_jsonl
from small_models import save_model as save_model

from hierbert.cli.infer import main
from hierbert.prediction import units


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
    """Answers that an interrupted job of one file has kept, by a reading of the units' own form."""
    folder = output.with_name(output.name + ".partial") / ".unfinished"
    rows = []
    for path in sorted(folder.glob("units-*/unit-*")):
        *lines, footer = path.read_bytes().splitlines(keepends=True)
        assert footer.startswith(b"={") and all(line[:1] in (b"+", b"-") for line in lines)
        rows += [json.loads(line[17:]) for line in lines if line.startswith(b"+")]
    return rows


def small_units(monkeypatch: pytest.MonkeyPatch, size: int = 1) -> None:
    """Let units of jobs that begin end with the row that reaches so many bytes."""
    monkeypatch.setattr(units, "_LARGEST_ON_CPU", size)
    monkeypatch.setattr(units, "_SMALLEST", size)


SMALL_UNITS = """
import sys
from hierbert.prediction import units
from hierbert.cli.infer import main
units._LARGEST_ON_CPU = units._SMALLEST = 2000
sys.exit(main(sys.argv[1:]))
"""


def start_infer(
    model: Path, *arguments: str | Path, small: bool = False, **options: Any
) -> subprocess.Popen[bytes]:
    """The command in a process of its own, with plain buffering; its units may be small ones."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    env.pop("PYTHONUNBUFFERED", None)
    script = ["-c", SMALL_UNITS] if small else [str(ROOT / "infer.py")]
    command = [sys.executable, *script, "--model", str(model), *map(str, arguments)]
    return subprocess.Popen(command, env=env, **{"stderr": subprocess.PIPE, **options})


def the_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only error line, which is the last."""
    *before, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: ") and not [line for line in before if "error" in line]
    return last.removeprefix("error: ")
