"""What the README names exists: settings, flags, files and functions."""

import re
from pathlib import Path

from commands import succeed
from small_runs import printed_config

import hierbert
from hierbert import HierBertPredictor

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FLAG = r"(?<![\w-])--[a-z][a-z_-]*"


def test_every_setting_in_the_readme_exists() -> None:
    known = printed_config("data.train=a.jsonl", "data.label_column=label").keys()
    named = set(
        re.findall(r"\b((?:data|model|training|segmentation|summary|publish)\.[a-z_]+)", TEXT)
    )
    # `model.` also begins a file's name in Python examples.
    assert len(named) > 15
    # A file of weights has such a name too; the other is written of ahead of its setting.
    assert named - known == {"model.safetensors"}


def test_every_flag_in_the_readme_exists() -> None:
    commands = ("train.py", "infer.py", "hierbert-push")
    known = {
        flag
        for command in commands
        for flag in re.findall(FLAG, succeed(command, "--help", here=True).stdout)
    }
    # Of pip, torchrun, accelerate, TensorBoard, pytest and the benchmarks.
    others = {
        "--nproc_per_node",
        "--multi_gpu",
        "--num_processes",
        "--cpu",
        "--index-url",
        "--shutdown-timeout",
        "--seeds",
        "--name",
        "--data",
        "--label-column",
        "--hypothesis-profile",
        "--logdir",
    }
    named = set(re.findall(FLAG, TEXT))
    assert len(named) > 10
    assert named - known - others == set()


def test_every_file_in_the_readme_exists() -> None:
    named = set(re.findall(r"\b(?:configs|benchmarks|\.ci)/[\w./-]+", TEXT))
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []


def test_the_python_example_uses_what_is_there() -> None:
    for method in re.findall(r"predictor\.(\w+)\(", TEXT):
        assert callable(getattr(HierBertPredictor, method))
    for name in re.findall(r"`(HierBert\w+)`", TEXT):
        assert hasattr(hierbert, name)


def test_nothing_is_left_to_fill_in() -> None:
    # The card's own TODO lines are spoken of once.
    text = TEXT.replace("The card leaves TODO lines to you", "")
    assert re.findall(r"(?m)^[A-Z_]{5,}$|TODO|FIXME", text) == []
