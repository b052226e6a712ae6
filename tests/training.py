"""What the tests of training share: the weights of a run, and the one line of a refusal."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hierbert.training.cli import main


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(run_dir / "model" / "model.safetensors")


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line with which the command refuses in process."""
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]
