"""Runs that go on as another machine, another hand or an accident left them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import read_jsonl, write_jsonl
from conftest import make_rows

from hierbert.prediction.predictor import HierBertPredictor
from hierbert.training.cli import main
from hierbert.training.loop import Trainer


class _KilledError(Exception):
    """Stands in for kill -9: nothing of the run's own catches it."""


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a run of 4 steps in 2 epochs; to the folder `run`."""
    write_jsonl(tmp_path / "train.jsonl", make_rows(8, seed=1))
    write_jsonl(tmp_path / "validation.jsonl", make_rows(4, seed=2))

    def build(*more: str) -> list[str]:
        return [
            f"data.train={tmp_path / 'train.jsonl'}",
            f"data.validation={tmp_path / 'validation.jsonl'}",
            "data.label_column=label",
            f"model.encoder={encoders['bert']}",
            f"run_dir={tmp_path / 'run'}",
            "model.aggregator_layers=1",
            "segmentation.max_tokens_per_segment=32",
            "training.documents_per_batch=4",
            "training.epochs=2",
            "training.head_learning_rate=1e-2",
            "baselines=false",
            "show_sample=false",
            *more,
        ]

    return build


def numbers(count: int, seed: int, offset: float, prefix: str) -> list[dict[str, Any]]:
    """Documents with a number around an offset that their words decide."""
    return [
        {"id": prefix + str(row["id"]), "text": row["text"], "label": offset + i % 2}
        for i, row in enumerate(make_rows(count, seed))
    ]


def results_of(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "results.json").read_text())


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def dies_before_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    step = Trainer._step

    def run(self: Trainer, plan: Any) -> None:
        if self.state.step == number:
            raise _KilledError
        step(self, plan)

    monkeypatch.setattr(Trainer, "_step", run)


def test_a_regression_goes_on_in_the_unit_that_its_weights_have_learnt(
    arguments, tmp_path, capsys
) -> None:
    write_jsonl(tmp_path / "train.jsonl", numbers(8, 1, 100, "a"))
    write_jsonl(tmp_path / "validation.jsonl", numbers(4, 2, 100, "v"))
    regression = arguments("data.label_type=regression")
    assert main(regression) == 0
    before = results_of(tmp_path / "run")
    texts = [row["text"] for row in numbers(4, 2, 100, "v")]
    answered = HierBertPredictor.from_pretrained(str(tmp_path / "run/model")).predict(texts)
    # Twice as many, the new ones around 9,000; there is no step left to learn them in.
    write_jsonl(tmp_path / "train.jsonl", numbers(8, 1, 100, "a") + numbers(8, 5, 9000, "b"))
    capsys.readouterr()
    for number in range(2):
        allowed = ["--allow-changes"] if number == 0 else []
        assert main([*regression, "--resume", *allowed]) == 0
        said = capsys.readouterr().err
        assert ("mean 100.5 and spread 0.5 stay" in said) == (number == 0)
        after = results_of(tmp_path / "run")
        assert after["scores"] == before["scores"] and after["validation"] == before["validation"]
    again = HierBertPredictor.from_pretrained(str(tmp_path / "run/model")).predict(texts)
    assert [one.label for one in again] == [one.label for one in answered]
    (note,) = read_jsonl(tmp_path / "run/changes.jsonl")
    assert "mean 100.5 and spread 0.5 stay" in note["documents"][-1]
