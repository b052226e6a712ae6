"""The table of metrics: what results, tables, model cards and settings know of each.

The entries import what they compute with when they compute: the help of a command lists them.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """One figure that says how good answers are.

    Attributes:
        name: Its key in scores and settings.
        title: What tables and model cards call it.
        problem_types: What it applies to: ``single_label``, ``multi_label``, ``regression``,
            ``tree``, ``summary``.
        score: Called with predictions and references, both as in `label_scores`;
            gives a number. Of summaries: with D texts and D reference texts; gives one score a
            document, float64 (D).
        hub_type: Its name among the metrics of the Hub; None leaves it out of model cards.
        better: Whether higher or lower is better.
        reads: Of labels: whether `score` reads what is predicted, or the probabilities behind it,
            without which it is left out.
        resampled: Computes the metric on S bootstrap samples at once, for its interval: called
            with how often each document is in each sample, float64 (S, D), with predictions and
            with references, both float64 (D, C): 0 and 1 for each label, or one number; of a tree
            for each node that occurs in either. Gives float64 (S). None: there is no interval.
        repeats: The metric that has the same value in problem types that both apply to: tables,
            model cards and intervals leave this one out there.
        headline: Whether the tables and progress lines of training show it.
        percent: Whether tables show it times 100.
        hub_factor: What the Hub's figure is multiplied by.
    """

    name: str
    title: str
    problem_types: tuple[str, ...]
    score: Callable[[Any, Any], Any]
    hub_type: str | None = None
    better: Literal["higher", "lower"] = "higher"
    reads: Literal["predictions", "probabilities"] = "predictions"
    resampled: Callable[[Any, Any, Any], Any] | None = None
    repeats: str | None = None
    headline: bool = False
    percent: bool = True
    hub_factor: int = 1

    def shown(self, value: float) -> str:
        """A value as it stands in a table."""
        return f"{100 * value:.1f}" if self.percent else f"{value:.4g}"


METRICS: dict[str, Metric] = {}
"""Every metric by its name, in the order of tables."""


def add_metrics(*metrics: Metric) -> None:
    """Enter metrics into `METRICS`, in the order of tables.

    Raises:
        ValueError: A name is taken.
    """
    for metric in metrics:
        if metric.name in METRICS:
            raise ValueError(f"there is a metric {metric.name!r} already")
        METRICS[metric.name] = metric


def metrics_of(problem_type: str) -> list[Metric]:
    """The metrics of a problem type, as in `Metric.problem_types`, in order."""
    return [metric for metric in METRICS.values() if problem_type in metric.problem_types]


def shown_metrics(names: Collection[str]) -> list[Metric]:
    """The metrics with these names, in order, without those that repeat another one of them.

    Names that are no metric's are passed over.
    """
    return [
        metric
        for metric in METRICS.values()
        if metric.name in names and metric.repeats not in names
    ]
