"""Where a training run is: plain numbers and words that go into a checkpoint as JSON."""

from dataclasses import dataclass, field, fields
from typing import Any

from hierbert.state_files import of_shape


@dataclass
class TrainerState:
    """Where a run is, in values that JSON knows."""

    epoch: int = 0  # Epochs finished.
    step_in_epoch: int = 0  # Steps done in the current epoch.
    step: int = 0  # Steps done in all, those that changed nothing included.
    # Whether the weights are to be evaluated before the next step: a signal came first.
    evaluation_due: bool = False
    best_metric: float | None = None
    # Of the same evaluation; its loss decides between equal metrics.
    best_scores: dict[str, float] = field(default_factory=dict)
    best_step: int = -1  # Before the first evaluation.
    # Size and hash of the file of the best weights.
    best_file: dict[str, Any] = field(default_factory=dict)
    evaluations_without_gain: int = 0
    ended: bool = False  # By a callback.
    gradient_norm: float = 0.0  # Of the last step that changed weights, before clipping.
    # Sums since the last line of metrics, and the steps in them.
    losses: dict[str, float] = field(default_factory=dict)
    losses_steps: int = 0
    skipped_steps: int = 0  # Of fp16: they overflowed and changed nothing.
    nonfinite_steps: int = 0  # Left out because their loss or gradient was not finite.
    nonfinite_in_a_row: int = 0
    # The hashes of `RunIdentity`; none where an earlier version saved the state.
    identity: dict[str, str] = field(default_factory=dict)

    @property
    def updates(self) -> int:
        """Steps that changed weights, which the schedule has followed."""
        return self.step - self.skipped_steps - self.nonfinite_steps

    def note_scores(self, metric: float, scores: dict[str, float]) -> bool:
        """Take note of an evaluation: whether these weights are the best so far.

        The metric decides, greater is better; of equal ones that with the lower loss among scores.
        """
        best = self.best_metric
        gain = best is None or metric > best
        # Metrics of few documents are often equal; the loss still tells weights apart.
        better = gain or (metric == best and scores["loss"] < self.best_scores["loss"])
        # Patience counts gains of the metric alone: a loss may creep down for ever.
        self.evaluations_without_gain = 0 if gain else self.evaluations_without_gain + 1
        if better:
            self.best_metric, self.best_scores, self.best_step = metric, scores, self.step
        return better

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainerState":
        """The state that a checkpoint holds, which is as it was written.

        Values that an earlier version kept beside these follow from them. A ShapeError where one is
        of another type.
        """
        names = {item.name for item in fields(cls)}
        own = {name: value for name, value in values.items() if name in names}
        return of_shape(own, cls, "its state")
