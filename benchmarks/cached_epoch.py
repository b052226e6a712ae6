"""How long an epoch takes with cached vectors, against the first, which makes them.

It runs train.py as a user does and watches the files of the run: config.resolved.yaml is written
before the first document is encoded, and metrics.jsonl gets a line at the end of each epoch.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.common.cells import ROOT
from benchmarks.common.sample import Sample

LEAST_DOCUMENTS = 4
_POLL_SECONDS = 0.005
_EPOCHS = 3
_LONGEST_SECONDS = 900


class CachedEpochFailed(Exception):
    """The run did not come to its end; the message holds its last line."""


def measure_epochs(encoder: str, sample: Sample, seed: int) -> list[float]:
    """Seconds of each epoch with a frozen encoder; the first, with segmenting and encoding.

    Validation and checkpoint are in it; a fifth of the documents validate, and labels alternate.
    A CachedEpochFailed with too few documents, or where train.py fails or takes a quarter of an
    hour.
    """
    if len(sample.documents) < LEAST_DOCUMENTS:
        raise CachedEpochFailed(
            f"{len(sample.documents)} documents are too few to train on: at least "
            f"{LEAST_DOCUMENTS}; raise --epochs"
        )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        chance = random.Random(seed)
        documents = list(sample.documents)
        chance.shuffle(documents)
        validating = len(documents) // 5 + 1
        for name, part in (
            ("validation", documents[:validating]),
            ("train", documents[validating:]),
        ):
            rows = [
                {"id": f"{d.corpus}/{d.id}", "text": d.text, "label": "ab"[number % 2]}
                for number, d in enumerate(part)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        settings = [
            f"data.train={folder / 'train.jsonl'}",
            f"data.validation={folder / 'validation.jsonl'}",
            "data.label_column=label",
            f"run_dir={folder / 'run'}",
            f"seed={seed}",
            f"model.encoder={encoder}",
            "training.freeze_encoder=true",
            f"training.epochs={_EPOCHS}",
            f"training.cache_dir={folder / 'cache'}",
            "show_sample=false",
            "baselines=false",
        ]
        log = folder / "log.txt"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), *settings],
                stdout=sink,
                stderr=sink,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            try:
                marks = _watch(process, folder / "run")
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        if process.returncode or len(marks) != _EPOCHS + 1:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise CachedEpochFailed(f"train.py failed: {lines[-1] if lines else 'it said nothing'}")
        return [later - earlier for earlier, later in pairwise(marks)]


def _watch(process: subprocess.Popen[bytes], run: Path) -> list[float]:
    """When the run's settings were there, and each line of its metrics."""
    settings, metrics = run / "config.resolved.yaml", run / "metrics.jsonl"
    marks: list[float] = []
    deadline = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        now = time.monotonic()
        if not marks and settings.is_file():
            marks.append(now)
        if marks and metrics.is_file():
            lines = metrics.read_bytes().count(b"\n")
            marks += [now] * (lines + 1 - len(marks))
        if ended:
            break
        time.sleep(_POLL_SECONDS)
    return marks
