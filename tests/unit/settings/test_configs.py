"""The shipped configs and the help of train.py: what they show is understood, and all is named."""

import re
import shlex

import pytest
from commands import ROOT

from hierbert.cli.train import EXAMPLES, FLAGS
from hierbert.config import RunConfig
from hierbert.settings import dump_config, load_config, parse_command_line
from hierbert.settings_text import walk

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
KEYS = [key for key, item in walk(RunConfig) if item.section is None]


def commands(text: str) -> list[list[str]]:
    """The calls of train.py in a text, continued lines joined, as arguments."""
    found = re.findall(r"^.*?\btrain\.py (.+)$", text.replace("\\\n", " "), flags=re.MULTILINE)
    return [shlex.split(call) for call in found]


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_a_config_is_what_its_header_says_and_reads_again_as_written(
    path, monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(ROOT)
    text = path.read_text(encoding="utf-8")
    lines = re.match(r"(#.*\n)*", text)
    assert lines is not None
    header = re.sub("^# ?", "", lines[0], flags=re.MULTILINE)
    found = commands(header)
    assert found, "the header shows no command"
    for arguments in found:
        command = parse_command_line(arguments, RunConfig, FLAGS)
        assert command.config is not None and command.config.resolve() == path
        load_config(RunConfig, command.config, command.overrides)
    sections = {key.partition(".")[0] for key in KEYS if "." in key}
    named = re.findall(r"\b([a-z_]+\.[a-z_]+)\b(?!/)", header)
    assert {name for name in named if name.partition(".")[0] in sections} <= set(KEYS)
    config = load_config(RunConfig, path, [] if "train:" in text else ["data.train=my.csv"])
    for comments in (False, True):
        written = tmp_path / "config.yaml"
        written.write_text(dump_config(config, comments=comments), encoding="utf-8")
        assert load_config(RunConfig, written) == config


def test_the_examples_of_help_are_understood() -> None:
    found = commands(EXAMPLES)
    assert len(found) >= 4
    for arguments in found:
        command = parse_command_line(arguments, RunConfig, FLAGS)
        if command.config and command.config.parts[0] == "configs":
            load_config(RunConfig, ROOT / command.config, command.overrides)
