"""Intervals of label scores, and what a run says it took."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hierbert.evaluation.bootstrap import mean_interval
from hierbert.evaluation.intervals import label_intervals
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.tasks.evaluation import Answer
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.prepared import PreparedDocument
from hierbert.training.resources import Stopwatch, peak_memory_mib, resources

NAMES = ["a", "b", "c"]


def corpus(labels: list, logits: list) -> tuple[list[Answer], list[PreparedDocument]]:
    answers = [Answer(index, logits=list(row)) for index, row in enumerate(logits)]
    # Of a document the intervals read the label only.
    return answers, [PreparedDocument(str(i), None, label) for i, label in enumerate(labels)]  # type: ignore[arg-type]


def samples(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, (1000, count))


def macro_f1(true: np.ndarray, said: np.ndarray) -> float:
    """By the definition: 2 TP / (2 TP + FP + FN), of the labels that occur."""
    each = []
    for label in set(true) | set(said):
        hits = ((true == label) & (said == label)).sum()
        each.append(2 * hits / ((true == label).sum() + (said == label).sum()))
    return float(np.mean(each))


def ends(values: list[float]) -> dict[str, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {"low": pytest.approx(low), "high": pytest.approx(high)}


@settings(deadline=None, max_examples=4)
@given(st.integers(2, 25), st.integers(0, 2**31))
def test_intervals_are_those_of_scores_computed_sample_by_sample(count: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(count, 3)).round(2)
    labels = chance.integers(0, 2, count)  # the third label is only ever predicted
    answers, documents = corpus(labels.tolist(), logits.tolist())
    found = label_intervals(answers, documents, LabelMap(NAMES, "single_label"), seed)
    said = logits.argmax(1)
    _, low, high = mean_interval((said == labels).astype(float), seed)
    assert found["accuracy"] == {"low": pytest.approx(low), "high": pytest.approx(high)}
    rows = samples(count, seed)
    macro = [macro_f1(labels[row], said[row]) for row in rows]
    assert found["macro_f1"] == ends(macro)


def test_intervals_of_several_labels_and_of_numbers() -> None:
    chance = np.random.default_rng(5)
    logits = chance.normal(size=(15, 3))
    true = chance.integers(0, 2, (15, 3))
    several = [np.flatnonzero(row).tolist() for row in true]
    answers, documents = corpus(several, logits.tolist())
    found = label_intervals(answers, documents, LabelMap(NAMES, "multi_label"), 3, threshold=0.4)
    said = (1 / (1 + np.exp(-logits)) >= 0.4).astype(int)
    rows = samples(15, 3)
    micro = [
        2 * (true[row] & said[row]).sum() / max(1, true[row].sum() + said[row].sum())
        for row in rows
    ]
    assert found["micro_f1"] == ends(micro)
    numbers = chance.normal(size=15)
    answers, documents = corpus(numbers.tolist(), logits[:, :1].tolist())
    found = label_intervals(answers, documents, LabelMap([], "regression"), 3)
    errors = logits[:, 0] - numbers
    assert found["mse"] == ends([float((errors[row] ** 2).mean()) for row in rows])
    assert found["mae"] == ends([float(np.abs(errors[row]).mean()) for row in rows])


def test_unlabelled_documents_do_not_count() -> None:
    answers, documents = corpus([0, None, 1], [[1, 0, 0], [0, 9, 0], [0, 1, 0]])
    found = label_intervals(answers, documents, LabelMap(NAMES, "single_label"), 0)
    assert found["accuracy"] == {"low": 1.0, "high": 1.0}
    answers, documents = corpus([None], [[1, 0, 0]])
    assert label_intervals(answers, documents, LabelMap(NAMES, "single_label"), 0) == {}


def test_rates_come_from_tokens_and_seconds() -> None:
    work = {"encoding": (3000, 1.5), "scoring": (0, 2.0)}
    found = resources(Accelerator(), work, {"training": 12.34})
    assert found["encoding_tokens_per_second"] == 2000.0
    assert found["scoring_tokens_per_second"] is None  # nothing was read: no rate, not 0
    assert found["training_seconds"] == 12.3 and found["processes"] == 1
    assert found["device"]
    assert ("peak_device_memory_mib" in found) == torch.cuda.is_available()


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells it twice")
def test_the_peak_is_what_the_system_says() -> None:
    status = Path("/proc/self/status").read_text()
    peak_kib = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
    assert peak_memory_mib() == pytest.approx(peak_kib / 1024, rel=0.05)


def test_a_stopwatch_counts_seconds(monkeypatch) -> None:
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr("hierbert.training.resources.time.monotonic", lambda: next(ticks))
    with Stopwatch() as watch:
        assert watch.seconds == 0.0
    assert watch.seconds == 2.5
