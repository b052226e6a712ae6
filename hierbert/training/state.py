"""Where a training run is: plain numbers and words that go into a checkpoint as JSON."""

from dataclasses import dataclass, field, fields
from typing import Any

# Names in the states of earlier versions that nothing follows from any more.
_EARLIER = {"corpora", "encoder", "evaluated_step", "frozen", "judged_by", "labels", "label_mean"}
_EARLIER |= {"label_scale", "metrics_lines", "plan", "schedule_steps", "settings"}


@dataclass
class TrainerState:
    """Where a run is.

    Attributes:
        epoch: Epochs finished.
        step_in_epoch: Optimizer steps done in the current epoch.
        step: Optimizer steps done in all, those that changed nothing included.
        evaluation_due: Whether the weights are to be evaluated before the next step: a signal
            came first.
        best_metric: Best validation metric so far.
        best_scores: All validation scores of that evaluation; its loss decides between equal
            metrics.
        best_step: Its step; -1 before the first evaluation.
        best_file: Size and hash of the file of its weights.
        evaluations_without_gain: Since the best.
        ended: Whether a callback ended training.
        gradient_norm: Of the last step that changed weights, before clipping.
        losses: Sums of the losses since the last line of metrics, by name.
        losses_steps: Steps in those sums.
        skipped_steps: Steps of fp16 that overflowed and changed nothing, so that the schedule
            waited.
        nonfinite_steps: Steps left out because their loss or gradient was not finite.
        nonfinite_in_a_row: How many of them were the last ones.
        identity: Hashes of the documents and the encoder, as `RunIdentity` has them; none where
            an earlier version saved the state.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    evaluation_due: bool = False
    best_metric: float | None = None
    best_scores: dict[str, float] = field(default_factory=dict)
    best_step: int = -1
    best_file: dict[str, Any] = field(default_factory=dict)
    evaluations_without_gain: int = 0
    ended: bool = False
    gradient_norm: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    losses_steps: int = 0
    skipped_steps: int = 0
    nonfinite_steps: int = 0
    nonfinite_in_a_row: int = 0
    identity: dict[str, str] = field(default_factory=dict)

    @property
    def updates(self) -> int:
        """Steps that changed weights, which the schedule has followed."""
        return self.step - self.skipped_steps - self.nonfinite_steps

    def note_scores(self, metric: float, scores: dict[str, float]) -> bool:
        """Take note of an evaluation: whether these weights are the best so far.

        Args:
            metric: What decides, greater is better; finite.
            scores: All figures, with a finite loss; of equal metrics the one with the lower loss is
                better.
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
    def from_json(cls, values: Any) -> "TrainerState":
        """Read a state of what JSON gave, and believe nothing about it.

        Raises:
            ValueError: It lacks a value, holds another, or one of another type.
        """
        names = {item.name for item in fields(cls)}
        if isinstance(values, dict):
            kept = {name: value for name, value in values.items() if name not in _EARLIER}
            values = {"identity": {}, **kept}
        if not isinstance(values, dict) or values.keys() != names:
            wrong = sorted(names ^ set(values)) if isinstance(values, dict) else "no names"
            raise ValueError(f"its state has other values than expected: {wrong}")
        example = cls(best_metric=0.0)
        for name, value in values.items():
            kind = type(getattr(example, name))
            kinds = (int, float) if kind is float else (kind,)
            if type(value) not in kinds and not (name == "best_metric" and value is None):
                raise ValueError(f"{name} is {value!r:.60}, not of type {kind.__name__}")
        return cls(**values)
