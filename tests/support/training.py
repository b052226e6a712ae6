"""What the unit tests of training share: how a run dies, its weights, the one line of a refusal."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hierbert.cli.train import main
from hierbert.config import RunConfig
from hierbert.training.trainer import HierBertTrainer


class KilledError(Exception):
    """Stands in for kill -9: nothing of the run's own catches it."""


@contextlib.contextmanager
def dying(where: tuple[Any, str], after: int) -> Iterator[None]:
    """Lets a function run `after` times and then die in its place, as long as the context lasts."""
    owner, name = where
    original, calls = getattr(owner, name), []

    def run(*given: Any, **named: Any) -> Any:
        if len(calls) == after:
            raise KilledError
        calls.append(0)
        return original(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, run)
        yield


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(run_dir / "model" / "model.safetensors")


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line with which the command refuses in process."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def train(config: RunConfig, resume: bool = False) -> dict[str, Any]:
    """The results of a run of these settings."""
    trainer = HierBertTrainer(config=config)
    results = trainer.train(resume)
    print(trainer.report)
    return results
