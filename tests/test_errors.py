import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hierbert.errors import (
    ConfigError,
    DataError,
    HierBertError,
    ModelError,
    RunError,
    run_command,
)


def raiser(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.fixture(autouse=True)
def first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)


def test_a_command_that_works_gives_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(lambda: print("answer")) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("answer\n", "")


@pytest.mark.parametrize("kind", [HierBertError, ConfigError, DataError, ModelError, RunError])
def test_a_mistake_is_one_line_without_a_traceback(
    kind: type[HierBertError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raiser(kind("a.csv, row 3:\n  no\tlabel"))) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: a.csv, row 3: no label\n")


def test_other_ranks_leave_the_word_to_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert run_command(raiser(DataError("a.csv is empty"))) == 2
    assert capsys.readouterr().err == ""


def test_an_interrupt_gives_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raiser(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(raiser(ZeroDivisionError()))


def test_a_reader_that_goes_away_is_no_error() -> None:
    # More than a pipe holds, so that the writer meets the closed end.
    code = (
        "import sys\n"
        "from hierbert.errors import run_command\n"
        "sys.exit(run_command(lambda: [print('x' * 100) for _ in range(10_000)] and None))\n"
    )
    root = Path(__file__).parent.parent
    # An unbuffered child has nothing left to flush at its end, which is where it can go wrong.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"x" * 100 + b"\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
