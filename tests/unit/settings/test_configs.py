"""The shipped configs and the help of train.py: what they show is understood, and all is named."""

import re
import shlex

import pytest
from commands import ROOT

from hierbert.cli.train import EXAMPLES, FLAGS
from hierbert.config import RunConfig
from hierbert.settings import load_config, parse_command_line
from hierbert.settings_text import walk

KEYS = {key for key, item in walk(RunConfig) if item.section is None}
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
HEADERS = {
    path.stem: "".join(re.findall(r"(?m)^#.*\n", path.read_text(encoding="utf-8")))
    for path in (ROOT / "configs").glob("*.yaml")
}


@pytest.mark.parametrize("name", ["--help", *sorted(HEADERS)])
def test_the_commands_and_settings_that_are_shown_are_understood(name, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    text = re.sub("(?m)^# ?", "", HEADERS.get(name, EXAMPLES)).replace("\\\n", " ")
    calls = re.findall(r"(?m)^.*?\btrain\.py (.+)$", text)
    assert calls
    for call in calls:
        command = parse_command_line(shlex.split(call), RunConfig, FLAGS)
        assert command.config is not None
        if command.config.parts[0] == "configs":
            load_config(RunConfig, command.config, command.overrides)
        assert name == "--help" or command.config.stem == name
    named = re.findall(r"\b([a-z_]+\.[a-z_]+)\b(?!/)", text)
    assert {key for key in named if key.partition(".")[0] in SECTIONS} <= KEYS
