"""What the tests of training share."""

from pathlib import Path

import pytest
from small_runs import Settings, small_run


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to the folder `run`."""
    return small_run(tmp_path, encoders["bert"])
