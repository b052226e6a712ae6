"""What the tests of training share: a small run, its weights, and the one line of a refusal."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from commands import write_jsonl
from conftest import make_rows
from safetensors.torch import load_file

from hierbert.cli.train import main

SMALL = [
    "model.aggregator_layers=1",
    "segmentation.max_tokens_per_segment=32",
    "training.documents_per_batch=4",
    "training.epochs=1",
    "baselines=false",
]


def one_file_run(folder: Path, encoder: Path) -> Callable[..., list[str]]:
    """What builds the arguments of a small run on a file of documents; to `folder / run`."""
    write_jsonl(folder / "train.jsonl", make_rows(8, seed=1))

    def build(*more: str, train: Path | None = None, summary: bool = False) -> list[str]:
        found = [f"data.train={train or folder / 'train.jsonl'}", f"run_dir={folder / 'run'}"]
        found += [f"model.encoder={encoder}", "data.label_column=label", *SMALL]
        return [*found, *(["data.summary_column=summary"] if summary else []), *more]

    return build


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(run_dir / "model" / "model.safetensors")


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line with which the command refuses in process."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]
