"""What the tests of resumed runs share: small runs, how they die, and what they must come to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import write_jsonl
from conftest import make_rows
from training import weights


class _KilledError(Exception):
    """Stands in for kill -9: nothing of the run's own catches it."""


def small_run(
    folder: Path, encoder: Path, documents: int, *settings: str
) -> Callable[..., list[str]]:
    """What builds the arguments of a run of 2 epochs on documents made here; to `folder / run`."""
    train = write_jsonl(folder / "train.jsonl", make_rows(documents, seed=1))
    validation = write_jsonl(folder / "validation.jsonl", make_rows(4, seed=2))

    def build(*more: str) -> list[str]:
        return [
            f"data.train={train}",
            f"data.validation={validation}",
            "data.label_column=label",
            f"model.encoder={encoder}",
            f"run_dir={folder / 'run'}",
            "model.aggregator_layers=1",
            "segmentation.max_tokens_per_segment=32",
            "training.documents_per_batch=4",
            "training.epochs=2",
            # Large enough that a lost or doubled step shows.
            "training.head_learning_rate=1e-2",
            "baselines=false",
            "show_sample=false",
            *settings,
            *more,
        ]

    return build


def six_steps(folder: Path, encoder: Path) -> Callable[..., list[str]]:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to `folder / run`."""
    return small_run(folder, encoder, 11, "training.encoder_learning_rate=1e-3")


def outcome(run_dir: Path) -> dict[str, Any]:
    """What must not depend on interruptions: weights, metrics, results but for the clock."""
    results = json.loads((run_dir / "results.json").read_text())
    for name in ("seconds", "resources", "environment"):
        results.pop(name)
    tensors = {name: value.numpy().tobytes() for name, value in weights(run_dir).items()}
    return {
        "weights": tensors,
        "metrics": (run_dir / "metrics.jsonl").read_text(),
        "results": results,
    }


def dying(monkeypatch: pytest.MonkeyPatch, where: tuple[Any, str], after: int) -> Any:
    """Lets a function run `after` times and then dies in its place."""
    owner, name = where
    original, calls = getattr(owner, name), []

    def run(*given: Any, **named: Any) -> Any:
        if len(calls) == after:
            raise _KilledError
        calls.append(0)
        return original(*given, **named)

    monkeypatch.setattr(owner, name, run)
