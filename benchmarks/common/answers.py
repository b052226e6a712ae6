"""What systems answered to each test document, small enough to be committed, and tests of it.

No text, id or name is kept: labels are numbers, scores have four digits. Runs that tested the same
documents are averaged, so that an interval is over documents and not over runs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.scoring.answers import OF_ROWS
from hierbert.scoring.intervals import difference, resampled_scores
from hierbert.scoring.metric import METRICS, metrics_of, shown_metrics

_SAMPLES = 1000
TRUE = "true"


def packed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows of a run's answers.jsonl, as they are kept: a line of text for each system."""
    kept: dict[str, Any] = {
        # Tells whether two runs tested the same documents.
        "documents": hashlib.sha256("\n".join(row["id"] for row in rows).encode()).hexdigest()[:12]
    }
    for task in dict.fromkeys(key for row in rows for key in row if key not in OF_ROWS):
        own = [row for row in rows if task in row]
        systems = {name: [row[task][name] for row in own] for name in own[0][task]}
        true = systems.get(TRUE, [None])[0]
        names = isinstance(true, list | str)
        if names:
            kind = "multi_label" if isinstance(true, list) else "single_label"
            lists = [_as_list(answer) for each in systems.values() for answer in each]
            labels = sorted({label for labels in lists for label in labels})
            numbers = {label: str(number) for number, label in enumerate(labels)}
        else:
            kind, numbers = "summary" if true is None else "regression", {}
        kept[task] = {"kind": kind, "tokens": " ".join(str(row["tokens"]) for row in own)}
        for name, each in systems.items():
            cells = [
                ",".join(numbers[n] for n in _as_list(one)) or "-" if names else f"{one:.4g}"
                for one in each
            ]
            kept[task][name] = " ".join(cells)
    return kept


@dataclass(frozen=True)
class Answers:
    """Of one run and task.

    Attributes:
        kind: "single_label", "multi_label", "regression" or "summary".
        documents: What tells whether two runs tested the same ones.
        tokens: Of each document, int64 (D).
        systems: Of each system the labels (D) or (D, C), or numbers (D), or scores (D).
        true: The same of the labels or numbers; None of summaries.
    """

    kind: str
    documents: str
    tokens: npt.NDArray[np.int64]
    systems: dict[str, npt.NDArray[Any]]
    true: npt.NDArray[Any] | None

    def of_length(self, low: int, high: float) -> "Answers":
        """Those to documents of more than `low` tokens, and not more than `high`."""
        there = (self.tokens > low) & (self.tokens <= high)
        systems = {name: each[there] for name, each in self.systems.items()}
        true = None if self.true is None else self.true[there]
        return Answers(self.kind, self.documents, self.tokens[there], systems, true)

    def metrics(self) -> list[str]:
        """What is tested."""
        if self.true is None:
            return ["rouge1"]
        names = [metric.name for metric in metrics_of(self.kind)]
        return [metric.name for metric in shown_metrics(names) if metric.resampled]


def unpacked(kept: dict[str, Any], task: str) -> Answers:
    """What `packed` has made of a task."""
    own = {name: text.split() for name, text in kept[task].items() if name != "kind"}
    kind, tokens = kept[task]["kind"], np.array(own.pop("tokens"), dtype=np.int64)
    if kind == "multi_label":
        given = [int(n) for each in own.values() for cell in each for n in _cell(cell)]
        count = 1 + max(given, default=0)
        systems = {name: np.array([_row(c, count) for c in each]) for name, each in own.items()}
    else:
        number = int if kind == "single_label" else float
        systems = {name: np.array(each, dtype=number) for name, each in own.items()}
    true = systems.pop(TRUE, None)
    return Answers(kind, kept["documents"], tokens, systems, true)


def bootstrap(runs: Sequence[Answers], system: str, metric: str) -> tuple[float, Any]:
    """The mean of a score over runs, and of the same runs on bootstrap samples, float64 (S).

    Runs that tested the same documents have the same samples, and so have all systems.
    """
    samples = []
    for run in runs:
        seed, own = int(run.documents[:7], 16), run.systems[system]
        if run.true is None:
            drawn = np.random.default_rng(seed).integers(0, len(own), (_SAMPLES, len(own)))
            samples.append(own[drawn].mean(1))
        else:
            samples.append(resampled_scores(run.kind, own, run.true, seed)[metric])
    return score(runs, system, metric), np.mean(samples, axis=0)


def score(runs: Sequence[Answers], system: str, metric: str) -> float:
    """The mean over runs."""
    found = []
    for run in runs:
        own = run.systems[system]
        found.append(own.mean() if run.true is None else METRICS[metric].score(own, run.true))
    return float(np.mean(found))


def interval(runs: Sequence[Answers], system: str, metric: str) -> tuple[float, float, float]:
    """The mean over runs and its 95 % interval over documents."""
    mean, low, high, _ = difference(*bootstrap(runs, system, metric))
    return mean, low, high


def gain(
    runs: Sequence[Answers], first: str, second: str, metric: str
) -> tuple[float, float, float, float]:
    """The mean of first minus second, its 95 % interval by a paired bootstrap, and its p."""
    (mean, samples), (other, others) = (bootstrap(runs, name, metric) for name in (first, second))
    return difference(mean - other, samples - others)


def mcnemar(runs: Sequence[Answers], first: str, second: str) -> float:
    """The p of McNemar's exact test of two systems with one label a document (McNemar 1947).

    Documents that several runs tested count once, by the first of them.
    """
    from scipy.stats import binomtest

    better = worse = 0
    for run in {run.documents: run for run in reversed(runs)}.values():
        right, other = (run.systems[name] == run.true for name in (first, second))
        better, worse = better + int((right & ~other).sum()), worse + int((other & ~right).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def _as_list(answer: str | list[str]) -> list[str]:
    return [answer] if isinstance(answer, str) else answer


def _cell(text: str) -> list[str]:
    return [] if text == "-" else text.split(",")


def _row(text: str, count: int) -> npt.NDArray[np.int64]:
    row = np.zeros(count, dtype=np.int64)
    row[[int(number) for number in _cell(text)]] = 1
    return row
