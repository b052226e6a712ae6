"""What systems answered to documents, from rows of answers.jsonl, and how far they differ."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.scoring.intervals import label_gains, label_intervals, paired_difference

TRUE, OWN = "true", "hierbert"
# Beside the tasks, in each row.
OF_ROWS = ("id", "tokens", "text_hash")


@dataclass(frozen=True)
class TaskAnswers:
    """Of one task, in the order of the documents."""

    kind: str  # Of labels as metrics have it, such as "tree"; "regression"; of scores "summary".
    ids: list[str]  # Of each document, not always one document's alone.
    tokens: list[int]  # Of each document.
    hashes: list[str]  # `text_hash` of each document; "" of rows that earlier versions wrote.
    systems: dict[str, list[Any]]  # What each answers: labels, lists of labels, numbers, or scores.
    true: list[Any] | None  # What is true; None of scores.

    def at(self, places: Sequence[int]) -> "TaskAnswers":
        """Those to some documents."""
        systems = {name: [each[p] for p in places] for name, each in self.systems.items()}
        ids, hashes = [self.ids[p] for p in places], [self.hashes[p] for p in places]
        tokens = [self.tokens[p] for p in places]
        true = None if self.true is None else [self.true[p] for p in places]
        return TaskAnswers(self.kind, ids, tokens, hashes, systems, true)

    def intervals(self, seed: int) -> dict[str, dict[str, dict[str, float]]]:
        """95 % intervals of labels and numbers, by the system and the metric."""
        if self.true is None:
            return {}
        arrays = _arrays(self.kind, {**self.systems, TRUE: self.true})
        true = arrays.pop(TRUE)
        return {name: label_intervals(self.kind, each, true, seed) for name, each in arrays.items()}


def text_hash(text: str) -> str:
    """What tells a document from others of its id, 16 hexadecimal digits."""

    # Lone surrogates are no UTF-8.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def task_answers(
    rows: Iterable[Mapping[str, Any]], in_tree: bool = False
) -> dict[str, TaskAnswers]:
    """Answers in rows of answers.jsonl, by the task's name; a ValueError for what is none.

    Lists of labels do not show whether these are nodes `in_tree`, all of a path.
    """
    kept: dict[str, list[tuple[Mapping[str, Any], dict[str, Any]]]] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), str):
            raise ValueError(f"line {number} is no row of answers")
        for task, systems in row.items():
            if task in OF_ROWS:
                continue
            if not isinstance(systems, Mapping) or OWN not in systems:
                raise ValueError(f"line {number}: {task!r} has no answer of {OWN!r}")
            kept.setdefault(task, []).append((row, dict(systems)))
    return {task: _answers(own, in_tree) for task, own in kept.items()}


def difference_of(
    first: TaskAnswers, second: TaskAnswers, seed: int
) -> tuple[dict[str, dict[str, float]], int]:
    """How far the model of the first is from that of the second, on the documents of both.

    Ids alone do not tell documents apart: files of one name give equal ones. The hash of the text,
    or where either has none the number of tokens, and the truth have to be the same too. Gives by
    metric "mean", "low", "high" and "p", as `paired_difference` (of scores by "score"; empty where
    no document is the same, with the same truth), and how many are the same.
    """
    by_text = has_hashes(first, second)
    places = {key: place for place, key in enumerate(_keys(second, by_text))}
    keys = enumerate(_keys(first, by_text))
    pairs = [(place, places[key]) for place, key in keys if key in places]
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


def has_hashes(*answers: TaskAnswers) -> bool:
    """Whether all rows of all of them tell the text."""
    return all(all(one.hashes) for one in answers)


def _keys(answers: TaskAnswers, by_text: bool) -> list[tuple[str, str | int, int]]:
    """Of each document its id, its text or length, and how often both stood in rows before."""
    marks: Sequence[str | int] = answers.hashes if by_text else answers.tokens
    seen = Counter[tuple[str, str | int]]()
    keys = []
    for both in zip(answers.ids, marks, strict=True):
        keys.append((*both, seen[both]))
        seen[both] += 1
    return keys


def _answers(kept: list[tuple[Mapping[str, Any], dict[str, Any]]], in_tree: bool) -> TaskAnswers:
    names = [name for name in kept[0][1] if all(name in systems for _, systems in kept)]
    systems = {name: [own[name] for _, own in kept] for name in names}
    true = systems.pop(TRUE, None)
    kind = "summary"
    if true is not None:
        first = next(iter(true))
        kind = "single_label" if isinstance(first, str) else "regression"
        if isinstance(first, list):
            kind = "tree" if in_tree else "multi_label"
    ids = [row["id"] for row, _ in kept]
    tokens = [int(row.get("tokens") or 0) for row, _ in kept]
    hashes = [str(row.get("text_hash") or "") for row, _ in kept]
    return TaskAnswers(kind, ids, tokens, hashes, systems, true)


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
