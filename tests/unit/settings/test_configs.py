"""The shipped configs: each is read, says how it is run, and survives being written and read."""

import re
import shlex
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from commands import ROOT

from hierbert.cli.train import DESCRIPTION, EXAMPLES, FLAGS, main
from hierbert.config import RunConfig
from hierbert.settings import dump_config, load_config, parse_command_line

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
NAMES = [path.name for path in CONFIGS]


def header(path: Path) -> str:
    """The comment that opens a file, without its marks."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def commands(text: str) -> list[list[str]]:
    """The calls of train.py in a text, continued lines joined, as arguments."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"^.*?\btrain\.py (.+)$", joined, flags=re.MULTILINE)
    return [shlex.split(call) for call in found]


def load(path: Path) -> RunConfig:
    needed = [] if "train:" in path.read_text(encoding="utf-8") else ["data.train=my.csv"]
    return load_config(RunConfig, path, needed)


def test_there_are_configs() -> None:
    assert {"quickstart.yaml", "classification.yaml", "summarization.yaml"} <= set(NAMES)


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_a_config_is_read_and_goes_to_a_folder_of_its_own(path) -> None:
    config = load(path)
    assert config.run_dir == f"runs/{path.stem}"
    assert [load(other).run_dir for other in CONFIGS].count(config.run_dir) == 1


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_the_command_in_its_header_is_understood(path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    found = commands(header(path))
    assert found, "the header shows no command"
    for arguments in found:
        command = parse_command_line(arguments, RunConfig, "", "", "train.py", FLAGS)
        assert command is not None and command.config is not None
        assert command.config.resolve() == path
        load_config(RunConfig, command.config, command.overrides)


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
@pytest.mark.parametrize("comments", [False, True])
def test_what_is_written_reads_as_the_same_settings(path, comments, tmp_path) -> None:
    config = load(path)
    written = tmp_path / "config.yaml"
    written.write_text(dump_config(config, comments=comments), encoding="utf-8")
    assert load_config(RunConfig, written) == config


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_settings_named_in_the_header_exist(path) -> None:
    known = set(keys(RunConfig))
    sections = {key.partition(".")[0] for key in known if "." in key}
    named = re.findall(r"\b([a-z_]+\.[a-z_]+)\b(?!/)", header(path))
    for name in named:
        if name.partition(".")[0] in sections:
            assert name in known, name


def keys(schema: type, prefix: str = "") -> list[str]:
    """Every setting by its dotted key."""
    found = []
    for item in fields(schema):
        inner = item.type if is_dataclass(item.type) else None
        if inner is not None:
            found += keys(inner, f"{prefix}{item.name}.")
        else:
            found.append(prefix + item.name)
    return found


def test_help_lists_every_setting_with_its_default(capsys) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert DESCRIPTION.strip().splitlines()[0] in printed and "--resume" in printed
    entries = re.findall(r"^ +([\w.]+)  \(.*?(?:default (.*)|required)\)$", printed, re.MULTILINE)
    assert sorted(name for name, _ in entries) == sorted(keys(RunConfig))
    needed = ["data.train=x", "data.label_column=y"]
    given = ("data.train", "data.label_column")
    # Written out, the defaults of the help change nothing.
    written = [f"{name}={default}" for name, default in entries if name not in given]
    assert load_config(RunConfig, None, [*needed, *written]) == load_config(RunConfig, None, needed)


def test_the_examples_of_help_are_understood() -> None:
    found = commands(EXAMPLES)
    assert len(found) >= 4
    for arguments in found:
        command = parse_command_line(arguments, RunConfig, "", "", "train.py", FLAGS)
        assert command is not None
        if command.config and command.config.parts[0] == "configs":
            assert command.config.name in NAMES
            load_config(RunConfig, ROOT / command.config, command.overrides)
