import os
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

import hierbert.errors
from hierbert.errors import (
    ConfigError,
    DataError,
    HierBertError,
    ModelError,
    RunError,
    did_you_mean,
    error_text,
    flag_setting,
    printable,
    run_command,
    setting_name,
)


def raiser(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.fixture(autouse=True)
def first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


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


def test_other_ranks_leave_the_first_time_to_speak_and_then_tell_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    assert run_command(raiser(DataError("a.csv is empty"))) == 2
    assert capsys.readouterr().err == "process 1: a.csv is empty\n" and sum(waited) > 1


def test_a_rank_without_other_processes_is_no_rank(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in ("1", "abc", "-1"):
        monkeypatch.setenv("RANK", rank)
        assert run_command(raiser(DataError("a.csv is empty"))) == 2
        assert capsys.readouterr().err == "error: a.csv is empty\n"


def test_an_interrupt_gives_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raiser(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(raiser(ZeroDivisionError()))


@pytest.mark.parametrize("lines", [3, 10_000])
def test_a_reader_that_goes_away_is_no_error(lines: int) -> None:
    # Few lines are still in Python's buffer when the command ends, many are more than a pipe holds.
    code = (
        "import runpy, sys\n"
        f"run_command = runpy.run_path({hierbert.errors.__file__!r})['run_command']\n"
        "def command():\n"
        "    sys.stdin.readline()\n"
        f"    for _ in range({lines}): print('x' * 100)\n"
        "sys.exit(run_command(command))\n"
    )
    # An unbuffered child has nothing left to flush at its end, which is where it can go wrong.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
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


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x00\x7f\x9b", r"a\x00\x7f\x9b"),
        ("half \ud83d", r"half \ud83d"),
        ("grün 漢字 😀 \t.", "grün 漢字 😀 \t."),
    ],
)
def test_an_error_gives_the_terminal_no_orders(said, shown) -> None:
    assert printable(said) == shown


def test_the_error_line_is_shown_without_orders(capsys) -> None:
    def fail() -> None:
        raise DataError("id 'a\x1b]0;title\x07' of \ud83d")

    assert run_command(fail) == 2
    assert capsys.readouterr().err == "error: id 'a\\x1b]0;title\\x07' of \\ud83d\n"


@pytest.mark.parametrize(
    ("error", "in_train", "in_infer"),
    [
        (DataError("a.csv is empty"), "a.csv is empty", "a.csv is empty"),
        (
            DataError(
                "is no number",
                place="a.csv, row 3",
                setting="label_column",
                value="x",
                allowed="numbers",
            ),
            "a.csv, row 3: data.label_column='x' is no number; allowed: numbers",
            "a.csv, row 3: --label-column='x' is no number; allowed: numbers",
        ),
        (
            ConfigError("is too small", setting="train.batch_tokens", value=0, allowed="1 or more"),
            "train.batch_tokens=0 is too small; allowed: 1 or more",
            "--batch-tokens=0 is too small; allowed: 1 or more",
        ),
        # What the message says itself is not said twice.
        (
            DataError(
                f"no column 'x'; set {setting_name('text_column')} to one of 'a', 'b'",
                setting="text_column",
                value="x",
                allowed="'a', 'b'",
            ),
            "no column 'x'; set data.text_column to one of 'a', 'b'",
            "no column 'x'; set --text-column to one of 'a', 'b'",
        ),
    ],
)
def test_an_error_words_its_setting_where_it_is_printed(error, in_train, in_infer, capsys) -> None:
    for again in (error, pickle.loads(pickle.dumps(error))):
        assert (str(again), again.worded(flag_setting)) == (in_train, in_infer)
    assert run_command(raiser(error), flag_setting) == 2
    assert capsys.readouterr().err == f"error: {in_infer}\n"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file", "a/b"), "No such file"),
        (ValueError("bad\n  value."), "bad value"),
        (KeyError("x"), "KeyError 'x'"),
        (ValueError(), "ValueError"),
        (ValueError("the token hf_1 is refused"), "the token *** is refused"),
        (ValueError("x" * 1000), "x" * 300 + "..."),
    ],
)
def test_any_error_has_one_short_line(error, text) -> None:
    assert error_text(error, "hf_1") == text


def test_the_nearest_option_is_offered() -> None:
    assert did_you_mean("Txet", ["id", "Text", "label"]) == "; did you mean 'Text'?"
    assert did_you_mean("zzz", ["id", "text"]) == did_you_mean("x" * 1000, ["x" * 999]) == ""
