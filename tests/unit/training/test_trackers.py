"""Figures in TensorBoard: those of metrics.jsonl, each step once, whatever happened in between."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import KilledError, dying, error_of

from hierbert.cli.train import main
from hierbert.training.loop import TrainingLoop
from hierbert.training.trackers import Trackers


@pytest.fixture
def arguments(arguments) -> list[str]:
    # Three epochs of three steps.
    often = ["training.eval_every_steps=1", "training.checkpoint_every_steps=2"]
    return arguments("training.epochs=3", *often)


def shown(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: steps and values by name."""
    events = EventAccumulator(str(run_dir / "hierbert"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def written(run_dir: Path) -> dict[str, list[tuple[int, Any]]]:
    """The same of metrics.jsonl."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for line in (run_dir / "metrics.jsonl").read_text().splitlines():
        values = json.loads(line)
        step = values.pop("step")
        for name, value in values.items():
            if isinstance(value, int | float):
                found.setdefault(name, []).append((step, pytest.approx(float(value), rel=1e-6)))
    return found


TRACKED = "training.trackers=[tensorboard]"


def same_everywhere(run_dir: Path) -> None:
    """TensorBoard shows what metrics.jsonl holds, each of nine steps once."""
    assert shown(run_dir) == written(run_dir)
    assert [step for step, _ in shown(run_dir)["validation.loss"]] == [*range(1, 10)]


def test_tensorboard_shows_what_metrics_jsonl_holds(arguments, tmp_path) -> None:
    assert main([*arguments, TRACKED]) == 0
    same_everywhere(tmp_path / "run")


def late(self: Trackers, values: dict[str, Any]) -> None:
    """Two evaluations behind the checkpoint of step 4, which are written and lost."""
    LOG(self, values)
    if values["step"] == 6:
        raise KilledError


def due(self: TrainingLoop) -> None:
    """An evaluation that comes too late for a checkpoint which says that it is due."""
    if self.state.step == 2:
        self.state.evaluation_due = True
        self._save()
    EVALUATE(self)
    if self.state.step == 2:
        raise KilledError


LOG: Callable[..., None] = Trackers.log
EVALUATE = TrainingLoop._evaluate


@pytest.mark.parametrize(
    ("owner", "dies"), [("Trackers.log", late), ("TrainingLoop._evaluate", due)]
)
def test_what_is_done_again_is_shown_once(arguments, tmp_path, monkeypatch, owner, dies) -> None:
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(f"hierbert.training.loop.{owner}", dies)
        main([*arguments, TRACKED])
    assert main([*arguments, TRACKED, "--resume"]) == 0
    same_everywhere(tmp_path / "run")


def test_trackers_may_be_added_when_a_run_goes_on(arguments, tmp_path, capsys) -> None:
    with dying((TrainingLoop, "_epoch"), 1), pytest.raises(KilledError):
        main(arguments)
    more = [*arguments, TRACKED, "--resume"]
    # In the way of TensorBoard's folder.
    (tmp_path / "run/hierbert").touch()
    error = error_of(capsys, more)
    assert error.startswith("error: training.trackers=tensorboard cannot be started: ")
    assert (tmp_path / "run/metrics.jsonl").read_text().count("\n") == 3
    (tmp_path / "run/hierbert").unlink()
    assert main(more) == 0
    steps = {step for values in shown(tmp_path / "run").values() for step, _ in values}
    assert steps == {4, 5, 6, 7, 8, 9}
