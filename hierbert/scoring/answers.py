"""What systems answered to documents, from rows of answers.jsonl, and how far they differ."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.scoring.intervals import label_gains, label_intervals, paired_difference

TRUE, OWN = "true", "hierbert"
# Beside the tasks, in each row.
_OF_ROWS = ("id", "tokens")


@dataclass(frozen=True)
class TaskAnswers:
    """Of one task, in the order of the documents.

    Attributes:
        kind: "single_label", "multi_label", "regression" or, of scores, "summary".
        keys: Of each document its id, and how often that stood in rows before.
        tokens: Of each document.
        systems: What each answers: labels, lists of labels, numbers, or scores.
        true: What is true; None of scores.
    """

    kind: str
    keys: list[tuple[str, int]]
    tokens: list[int]
    systems: dict[str, list[Any]]
    true: list[Any] | None

    def at(self, places: Sequence[int]) -> "TaskAnswers":
        """Those to some documents."""
        systems = {name: [each[p] for p in places] for name, each in self.systems.items()}
        keys, tokens = [self.keys[p] for p in places], [self.tokens[p] for p in places]
        true = None if self.true is None else [self.true[p] for p in places]
        return TaskAnswers(self.kind, keys, tokens, systems, true)

    def intervals(self, seed: int) -> dict[str, dict[str, dict[str, float]]]:
        """95 % intervals of labels and numbers, by the system and the metric."""
        if self.true is None:
            return {}
        arrays = _arrays(self.kind, {**self.systems, TRUE: self.true})
        true = arrays.pop(TRUE)
        return {name: label_intervals(self.kind, each, true, seed) for name, each in arrays.items()}


def task_answers(rows: Iterable[Mapping[str, Any]]) -> dict[str, TaskAnswers]:
    """Answers by the task's name.

    Args:
        rows: Of answers.jsonl.

    Raises:
        ValueError: A row is not as it is written.
    """
    kept: dict[str, list[tuple[tuple[str, int], int, dict[str, Any]]]] = {}
    seen = Counter[str]()
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), str):
            raise ValueError(f"line {number} is no row of answers")
        key = row["id"], seen[row["id"]]
        seen[row["id"]] += 1
        for task, systems in row.items():
            if task in _OF_ROWS:
                continue
            if not isinstance(systems, Mapping) or OWN not in systems:
                raise ValueError(f"line {number}: {task!r} has no answer of {OWN!r}")
            kept.setdefault(task, []).append((key, int(row.get("tokens") or 0), dict(systems)))
    return {task: _answers(own) for task, own in kept.items()}


def difference_of(
    first: TaskAnswers, second: TaskAnswers, seed: int
) -> tuple[dict[str, dict[str, float]], int]:
    """How far the model of the first is from that of the second, on the documents of both.

    Returns:
        By metric "mean", "low", "high" and "p", as `paired_difference` gives them; of scores by
        "score". Empty where no document is the same, with the same truth. And how many are.
    """
    places = {key: place for place, key in enumerate(second.keys)}
    pairs = [(place, places[key]) for place, key in enumerate(first.keys) if key in places]
    if first.true is not None and second.true is not None:
        pairs = [(a, b) for a, b in pairs if _same(first.true[a], second.true[b])]
    if not pairs or first.kind != second.kind:
        return {}, 0
    one, other = first.at([a for a, _ in pairs]), second.at([b for _, b in pairs])
    if one.true is None:
        found = paired_difference(one.systems[OWN], other.systems[OWN], seed)
        return {"score": dict(zip(("mean", "low", "high", "p"), found, strict=True))}, len(pairs)
    arrays = _arrays(one.kind, {"a": one.systems[OWN], "b": other.systems[OWN], TRUE: one.true})
    gains = label_gains(one.kind, arrays["a"], {"b": arrays["b"]}, arrays[TRUE], seed)
    return gains["b"], len(pairs)


def _answers(kept: list[tuple[tuple[str, int], int, dict[str, Any]]]) -> TaskAnswers:
    names = [name for name in kept[0][2] if all(name in systems for _, _, systems in kept)]
    systems = {name: [row[name] for _, _, row in kept] for name in names}
    true = systems.pop(TRUE, None)
    kind = "summary"
    if true is not None:
        first = next(iter(true))
        kind = "single_label" if isinstance(first, str) else "regression"
        kind = "multi_label" if isinstance(first, list) else kind
    return TaskAnswers(kind, [key for key, _, _ in kept], [n for _, n, _ in kept], systems, true)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        return sorted(first) == sorted(second)
    return bool(first == second)


def _arrays(kind: str, answers: Mapping[str, Sequence[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Labels as numbers (D) or 0 and 1 (D, C), the same ones in all; numbers as they are."""
    if kind == "regression":
        return {name: np.array(each, dtype=np.float64) for name, each in answers.items()}
    lists = {
        name: [one if isinstance(one, list) else [one] for one in each]
        for name, each in answers.items()
    }
    labels = sorted({label for each in lists.values() for one in each for label in one})
    numbers = {label: number for number, label in enumerate(labels)}
    if kind == "single_label":
        return {
            name: np.array([numbers[one[0]] for one in each], dtype=np.int64)
            for name, each in lists.items()
        }
    found = {}
    for name, each in lists.items():
        table = np.zeros((len(each), max(1, len(labels))), dtype=np.int64)
        for row, one in zip(table, each, strict=True):
            row[[numbers[label] for label in one]] = 1
        found[name] = table
    return found
