"""Commands that are printed: a shell makes of them the words that they were made of."""

import argparse
import subprocess
from pathlib import Path

import pytest

from hierbert.cli.infer import parse_options
from hierbert.cli.push import _parse
from hierbert.cli.train import inference_command
from hierbert.config import RunConfig
from hierbert.errors import HubError
from hierbert.publishing.publish import push_command
from hierbert.publishing.upload import Request
from hierbert.settings import load_config

NAMES = [
    *("plain", "a;id", "$(id)", "`id`", "two words", "two  spaces", "it's", 'a "b"', "$HOME"),
    "a&b",
    *("a|b", "<a>", "*", "?", "[ab]", "{a,b}", "#a", "!!", "\\", "\\n", "~", "é", "-x", "=a"),
    "(a)",
]  # fmt: skip


def words_of(line: str) -> list[str]:
    """What a shell makes of a line."""
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("name", [*NAMES, "a\nb"])
def test_words_are_whole_to_a_shell_and_to_the_command(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    Path(f"{name}.jsonl").write_text("")
    config = load_config(RunConfig, None, ["data.train=t", "data.label_column=l"])
    config.run_dir, config.data.test = name, f"{name}.jsonl"
    config.data.text_column = config.data.id_column = name
    words = words_of(inference_command(config, "train.py"))
    assert words[:2] == ["python", "infer.py"]
    options = parse_options(words[2:])
    assert Path(options.model) == Path(name) / "model" and options.input == [f"{name}.jsonl"]
    assert options.text_column == options.id_column == name

    if "\n" in name:  # no error, which is one line, can tell it
        return
    command = push_command(Request(Path(name), "alice/demo", private=True))
    # As it stands in an error, which is one line.
    line = HubError(f"it was not pushed.\n Push it with: {command}").worded()
    assert "\n" not in line and line.startswith("it was not pushed. Push it")
    words = words_of(line.partition("with: ")[2])
    assert words[:4] == ["python", "-m", "hierbert", "push"]
    pushed: argparse.Namespace = _parse(words[4:], "push")
    assert pushed.model == Path(name) and pushed.private and pushed.repo == "alice/demo"
