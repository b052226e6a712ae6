"""Exit codes, one line for a mistake, and the log on standard error."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime

import pytest
from commands import ROOT

from hierbert.cli.common import run_command
from hierbert.errors import (
    ConfigError,
    DataError,
    HierBertError,
    ModelError,
    RunError,
    flag_setting,
)
from hierbert.log import log, write_from_signal


def raiser(error: BaseException) -> Callable[[list[str]], None]:
    def command(arguments: list[str]) -> None:
        raise error

    return command


@pytest.fixture(autouse=True)
def first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


KINDS = (HierBertError, ConfigError, DataError, ModelError, RunError)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        *((kind("a.csv, row 3:\n  no\tlabel"), "a.csv, row 3: no label") for kind in KINDS),
        # A terminal is given no orders.
        (DataError("id 'a\x1b]0;title\x07' of \ud83d"), "id 'a\\x1b]0;title\\x07' of \\ud83d"),
    ],
)
def test_a_mistake_is_one_line_without_a_traceback(error, line, capsys) -> None:
    assert run_command(raiser(error), []) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"error: {line}\n")


def test_other_ranks_leave_the_first_time_to_speak_and_then_tell_their_own(
    monkeypatch, capsys
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    assert run_command(raiser(DataError("a.csv is empty")), []) == 2
    assert capsys.readouterr().err == "process 1: a.csv is empty\n" and sum(waited) > 1


def test_a_rank_without_other_processes_is_no_rank(monkeypatch, capsys) -> None:
    for rank in ("1", "abc", "-1"):
        monkeypatch.setenv("RANK", rank)
        assert run_command(raiser(DataError("a.csv is empty")), []) == 2
        assert capsys.readouterr().err == "error: a.csv is empty\n"


def test_an_interrupt_gives_130_and_a_defect_keeps_its_traceback(capsys) -> None:
    assert run_command(raiser(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "warning: interrupted\n"
    with pytest.raises(ZeroDivisionError):
        run_command(raiser(ZeroDivisionError()), [])


@pytest.mark.parametrize("lines", [3, 10_000])
def test_a_reader_that_goes_away_is_no_error(lines: int) -> None:
    # Few lines are still in Python's buffer when the command ends, many are more than a pipe holds.
    code = (
        "import sys\n"
        "from hierbert.cli.common import run_command\n"
        "def command(_):\n"
        "    sys.stdin.readline()\n"
        f"    for _ in range({lines}): print('x' * 100)\n"
        "sys.exit(run_command(command, []))\n"
    )
    # An unbuffered child has nothing left to flush at its end, which is where it can go wrong.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    environment["PYTHONPATH"] = str(ROOT)
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        os.close(writer)
        os.close(reader)
        _, said = process.communicate(b"go on\n", timeout=60)
    assert (process.returncode, said) == (0, b"")


def test_settings_are_named_as_the_command_line_does(capsys) -> None:
    error = DataError("is no column", setting="text_column", value="x")
    for name_of, name in ((flag_setting, "--text-column"), (str.upper, "TEXT_COLUMN")):
        assert run_command(raiser(error), [], name_of) == 2
        assert capsys.readouterr().err == f"error: {name}='x' is no column\n"


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        ([], ["plain", "warning: careful", "error: wrong"]),
        (["--quiet"], ["warning: careful", "error: wrong"]),
        (["--log-level", "error"], ["error: wrong"]),
        (["--log-level=debug"], ["fine", "plain", "warning: careful", "error: wrong"]),
    ],
)
def test_the_level_decides_what_is_written(flags, written, capsys) -> None:
    seen = []

    def command(arguments: list[str]) -> int:
        seen.extend(arguments)
        log.debug("fine")
        log.info("plain")
        log.warning("careful")
        log.error("wrong")
        return 3

    assert run_command(command, ["a", *flags, "b", "--", "--quiet"]) == 3
    assert capsys.readouterr().err.splitlines() == written
    assert seen == ["a", "b", "--", "--quiet"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_json_log_is_one_object_a_line(rank, capsys, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def command(arguments: list[str]) -> None:
        log.info("grün\n%d", 3)
        raise ConfigError("is missing", setting="text_column")

    assert run_command(command, ["--log-json"]) == 2
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    mistake = {"level": "error", "message": "data.text_column is missing", "rank": rank}
    info = {"level": "info", "message": "grün\n3", "rank": 0}
    assert lines == ([info, mistake] if rank == 0 else [mistake])


@pytest.mark.parametrize("flags", [["--log-level", "loud"], ["--log-level"], ["--log-level="]])
def test_a_level_that_there_is_not_is_one_line(flags, capsys) -> None:
    assert run_command(raiser(AssertionError()), flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--log-level" in error and "warning" in error


def test_a_defect_is_a_line_of_a_json_log(capsys) -> None:
    assert run_command(raiser(ZeroDivisionError("by zero")), ["--log-json"]) == 1
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "critical" and "ZeroDivisionError: by zero" in line["traceback"]


@pytest.mark.parametrize(
    ("flags", "written"),
    [([], ["", "stopping"]), (["--quiet"], []), (["--log-json"], ["stopping"])],
)
def test_what_a_signal_says_has_the_form_of_the_log(flags, written, capfd) -> None:
    assert run_command(lambda _: write_from_signal("stopping"), flags) == 0
    lines = capfd.readouterr().err.splitlines()
    as_json = "--log-json" in flags
    assert [json.loads(line)["message"] if as_json else line for line in lines] == written
