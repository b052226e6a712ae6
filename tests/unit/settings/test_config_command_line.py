"""The command line of settings: what is read, what is refused, and what the help teaches."""

import re
from pathlib import Path
from typing import Any

import pytest
from config_schema import Config, Defaults

from hierbert.config_help import format_help
from hierbert.config_loading import parse_command_line
from hierbert.errors import ConfigError


def command(*argv: str) -> Any:
    flags = {"--resume": "Go on with a run.", "--overwrite": "Delete the run folder first."}
    return parse_command_line(argv, Config, "Trains a model.", "example:\n  it", "train.py", flags)


def test_command_line() -> None:
    parsed = command("seed=1", "--config", "a.yaml", "--training.epochs=2", "--resume")
    assert parsed.config == Path("a.yaml")
    assert parsed.overrides == ("seed=1", "training.epochs=2")
    assert parsed.flags == {"--resume"}
    assert not parsed.print_config
    assert command("--config=b.yaml").config == Path("b.yaml")
    assert command("--print-config").print_config
    assert command().config is None
    assert command("data.train=a=b\nc").overrides == ("data.train=a=b\nc",)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--seed", "3"], "unknown option --seed; settings are written key=value: seed=3"),
        (["--learning-rate", "3"], "training.learning_rate=3"),
        (["--epochs", "seed=3"], "training.epochs=value"),
        (["--resum"], "did you mean --resume?"),
        (["--bogus"], "options are --config, --print-config, --help, --resume, --overwrite"),
        (["-x=3"], "unknown option -x=3"),
        (["a.yaml"], "a config file is given as --config a.yaml"),
        (["--config"], "--config needs a file"),
        (["--config", "--resume"], "--config needs a file"),
        (["--config="], "--config needs a file"),
        (["--config=a", "--config", "b"], "given twice"),
        (["--resume=true"], "--resume takes no value"),
        (["=3"], "unexpected argument"),
        (["--"], "unknown option"),
    ],
)
def test_arguments_that_are_refused_say_what_to_write(argv: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)):
        command(*argv)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--config", "a.yaml", "--help") is None
    text = capsys.readouterr().out
    # What it does, then examples, then options, then settings by section.
    marks = ["usage: train.py", "Trains a model.", "example:\n  it", "--resume", "Go on with a run"]
    marks += ["run_dir  (path; default runs/one)", "data.train  (text or [text, ...]; required)"]
    marks += ["training: How the weights are learnt.", "learning_rate  (number; default 2.0e-5)"]
    marks += ["training.memory  (one of keep, recompute; default keep)"]
    marks += ["training.stopping (null by default)", "training.stopping.patience"]
    place = 0
    for mark in marks:
        place = text.index(mark, place)
    assert max(map(len, text.splitlines())) <= 100


def test_help_shows_the_defaults_of_the_section_in_use() -> None:
    text = format_help(Defaults, "", "", "x", {})
    assert "training.epochs  (whole number; default 9)" in text
