"""Exit codes, one line for a mistake, and the log on standard error."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime

import pytest
from commands import ROOT

from hierbert.cli.common import run_command
from hierbert.cli.train import main as train
from hierbert.errors import ConfigError
from hierbert.log import log, write_from_signal


def raiser(error: BaseException) -> Callable[[list[str]], None]:
    def command(arguments: list[str]) -> None:
        raise error

    return command


@pytest.fixture(autouse=True)
def first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


# One line is still in Python's buffer when the command ends; the help is more than that holds.
@pytest.mark.parametrize("asked", ["--version", "--help"])
def test_a_reader_that_goes_away_is_no_error(asked) -> None:
    # An unbuffered child has nothing left to flush at its end, which is where it can go wrong.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, ROOT / "train.py", asked]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=env, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


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


@pytest.mark.parametrize("flags", [["--log-level", "loud"], ["--log-level"], ["--log-level="]])
def test_a_level_that_there_is_not_is_one_line(flags, capsys) -> None:
    assert run_command(raiser(AssertionError()), flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--log-level" in error and "warning" in error


@pytest.mark.parametrize("rank", [0, 1])
def test_a_json_log_is_one_object_a_line_and_other_ranks_speak_last(
    rank, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)

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
    # What all processes meet the first says alone: the launcher ends the others meanwhile.
    assert (sum(waited) > 1) == (rank == 1)
    assert run_command(command, ["--quiet"]) == 2
    start = ("error", "process 1")[rank]
    assert capsys.readouterr().err == f"{start}: data.text_column is missing\n"


def test_a_defect_keeps_its_traceback_or_is_a_line_of_a_json_log(capsys) -> None:
    defect = ZeroDivisionError("by zero")
    with pytest.raises(ZeroDivisionError):
        run_command(raiser(defect), [])
    assert run_command(raiser(defect), ["--log-json"]) == 1
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


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.ENAMETOOLONG])
def test_a_file_that_the_system_refuses_is_one_line(number, capsys) -> None:
    error = OSError(number, os.strerror(number), "runs/a b")
    assert run_command(raiser(error), []) == 2
    assert capsys.readouterr().err == f"error: 'runs/a b': {os.strerror(number)}\n"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone", "x"), PermissionError(13, "no")])
def test_a_file_that_the_program_lost_is_a_defect(error) -> None:
    with pytest.raises(type(error)):
        run_command(raiser(error), [])


def test_a_folder_whose_name_is_too_long_is_one_line(capsys) -> None:
    arguments = ["data.train=x.jsonl", "data.label_column=label", f"run_dir={'x' * 5000}"]
    assert train(arguments) == 2
    assert "File name too long" in capsys.readouterr().err
