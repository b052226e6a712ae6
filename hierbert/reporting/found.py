"""What a report is made of: the files of a run or an evaluation, and examples that are in none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hierbert.errors import RunError, error_text
from hierbert.files import read_json
from hierbert.scoring.answers import TaskAnswers, task_answers
from hierbert.scoring.metric import METRICS, Metric, metrics_of, shown_metrics

RESULTS, ANSWERS, METRIC_LINES, SETTINGS = (
    "results.json",
    "answers.jsonl",
    "metrics.jsonl",
    "config.resolved.yaml",
)
_LARGEST_BYTES = 256 << 20
_SECTIONS_DEEP = 8


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        name: Of the run or the evaluation.
        results: What results.json holds.
        metrics: The lines of metrics.jsonl; none of an evaluation.
        answers: What answers.jsonl holds, by the task's name.
        examples: Documents with excerpts, which are in no file but a report; see `Task.report`.
        settings: By dotted names; None where they are not known.
        left_out: Why there is no excerpt; "" where there may be some.
    """

    name: str
    results: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]] = ()
    answers: Mapping[str, TaskAnswers] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] | None = None
    left_out: str = ""

    @property
    def seed(self) -> int:
        """Of all draws."""
        return int(self.results.get("seed") or 0)

    def headlines(self, scores: Mapping[str, Any]) -> list[Metric]:
        """The metrics of scores that tables show."""
        return [metric for metric in shown_metrics(scores.keys()) if metric.headline]


def read_found(
    folder: Path, examples: Mapping[str, Any] | None = None, left_out: str = ""
) -> Found:
    """What lies in a folder of a run or an evaluation.

    Raises:
        RunError: There is no results.json, or a file is damaged or cannot be read.
    """
    if not (folder / RESULTS).is_file():
        raise RunError(f"{folder} holds no {RESULTS}: name the folder of a run or an evaluation")
    results = read_json(folder / RESULTS, RunError)
    if not isinstance(results.get("scores"), dict):
        raise RunError(f"{folder / RESULTS} is no result of a run or an evaluation: no scores")
    rows = _lines(folder / ANSWERS)
    try:
        answers = task_answers(rows, in_tree="tree" in results)
    except (ValueError, TypeError) as error:
        raise RunError(f"{folder / ANSWERS} is damaged: {error_text(error)}") from error
    return Found(
        folder.resolve().name,
        results,
        [line for line in _lines(folder / METRIC_LINES) if "step" in line],
        answers,
        examples or {},
        _settings(folder / SETTINGS),
        left_out,
    )


def figure(metric: Metric, value: float | None, ends: Mapping[str, float] | None = None) -> str:
    """A score as it stands in a table, with its interval where that is known."""
    if value is None:
        return "-"
    if not ends:
        return metric.shown(value)
    return f"{metric.shown(value)} ({metric.shown(ends['low'])} to {metric.shown(ends['high'])})"


def difference(metric: Metric, gain: Mapping[str, float]) -> list[str]:
    """A difference as it stands in a table: with its interval, its p, and whether it is sure."""
    mean, low, high = (
        f"{100 * gain[key]:+.1f}" if metric.percent else f"{gain[key]:+.4g}"
        for key in ("mean", "low", "high")
    )
    surely = gain["low"] > 0 or gain["high"] < 0
    better = (gain["mean"] > 0) == (metric.better == "higher")
    word = ("better" if better else "worse") if surely else "not sure"
    if gain["mean"] == gain["low"] == gain["high"] == 0:
        word = "the same"
    return [f"{mean} ({low} to {high})", f"{gain['p']:.3f}", word]


def metric_of(answers: TaskAnswers, name: str) -> Metric:
    """The metric of a difference, which of scores is the first one of their kind."""
    return METRICS[name] if name in METRICS else metrics_of(answers.kind)[0]


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line; none where there is no file."""
    if not path.is_file():
        return []
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise RunError(f"{path} is larger than {_LARGEST_BYTES >> 20} MiB")
        rows = [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error_text(error)}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise RunError(f"{path} is damaged: a line is no JSON object")
    return rows


def _settings(path: Path) -> dict[str, Any] | None:
    """Settings by dotted names; None where they cannot be read, for the results say enough."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return dict(_flat(values)) if isinstance(values, dict) else None


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value and before.count(".") < _SECTIONS_DEEP:
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", value))
    return found
