"""What the line of a gain says of its interval."""

import pytest

from hierbert.scoring.metric import METRICS
from hierbert.scoring.tables import gain_line


@pytest.mark.parametrize(
    ("name", "low", "high", "told"),
    [
        ("accuracy", 0.01, 0.2, ""),
        ("accuracy", -0.364, -0.22, "; worse"),
        ("accuracy", -0.1, 0.1, "; no sure gain"),
        ("accuracy", 0.0, 0.1, "; no sure gain"),
        # Of an error less is more.
        ("mse", -0.2, -0.1, ""),
        ("mse", 0.1, 0.2, "; worse"),
    ],
)
def test_a_sure_loss_is_called_worse(name: str, low: float, high: float, told: str) -> None:
    gain = {"mean": (low + high) / 2, "low": low, "high": high}
    line = gain_line(METRICS[name], "Words", gain, "test")
    assert line.partition("]")[2] == told
    # Documents that chose the weights are no judge of either.
    assert "test split says more" in gain_line(METRICS[name], "Words", gain, "validation")
