"""Intervals of label scores, and what a run says it took."""

import re
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from hierbert.training.results import Stopwatch, peak_memory_mib, resources


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
    monkeypatch.setattr("hierbert.training.results.time.monotonic", lambda: next(ticks))
    with Stopwatch() as watch:
        assert watch.seconds == 0.0
    assert watch.seconds == 2.5
