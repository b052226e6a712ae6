"""Intervals of label scores, and what a run says it took."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from hierbert.data.labels import LabelMap
from hierbert.evaluation.answers import Answer
from hierbert.evaluation.scores import label_intervals
from hierbert.training.resources import Stopwatch, peak_memory_mib, resources


def test_intervals_pass_over_unlabelled_documents() -> None:
    def found(labels: list[int | None]) -> dict[str, dict[str, float]]:
        answers = [Answer(i, logits=row) for i, row in enumerate([[1, 0, 0], [0, 9, 0], [0, 1, 0]])]
        # Of a document the intervals read the label only.
        documents: Any = [SimpleNamespace(label=label) for label in labels]
        return label_intervals(answers, documents, LabelMap(["a", "b", "c"], "single_label"), 0)

    assert found([0, None, 1])["accuracy"] == {"low": 1.0, "high": 1.0}
    assert found([None, None, None]) == {}


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
