"""Hooks of a training run."""

from collections.abc import Mapping
from typing import Any


class Callback:
    """What a program does while a model is trained; a subclass overrides what it wants.

    Called on every process. An exception ends the run: its newest checkpoint is whole, and a
    resume goes on from it.
    """

    def on_step(self, step: int, figures: Mapping[str, float]) -> None:
        """After an optimizer step.

        Args:
            step: Counted from 1.
            figures: Losses of the step: `loss`, and that of each head.
        """

    def on_evaluation(self, step: int, scores: Mapping[str, float]) -> bool | None:
        """After an evaluation of the validation documents, before its checkpoint.

        Args:
            step: After which it is.
            scores: Every metric, and `metric`, which chooses checkpoints: greater is better.

        Returns:
            True ends training here; the best weights are taken as at any end.
        """

    def on_end(self, results: Mapping[str, Any]) -> None:
        """After the run; `results` is what results.json holds."""
