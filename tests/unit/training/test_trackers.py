"""Figures in TensorBoard: those of metrics.jsonl, each step once, whatever happened in between."""

from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import KilledError, dying, error_of

from hierbert.cli.train import main
from hierbert.training.loop import TrainingLoop
from hierbert.training.trackers import Trackers

TRACKED = "training.trackers=[tensorboard]"
LOG, EVALUATE = Trackers.log, TrainingLoop._evaluate


@pytest.fixture
def arguments(arguments) -> list[str]:
    # Three epochs of three steps.
    often = ["training.eval_every_steps=1", "training.checkpoint_every_steps=2"]
    return arguments("training.epochs=3", *often)


def shown(run_dir: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows: values by name and step; it shows no step twice."""
    events = EventAccumulator(str(run_dir / "hierbert"))
    events.Reload()
    found = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    values = {name: {event.step: event.value for event in own} for name, own in found.items()}
    assert all(len(values[name]) == len(own) for name, own in found.items())
    return values


def written(run_dir: Path) -> dict[str, dict[int, Any]]:
    """The same of metrics.jsonl, which has a line for each step."""
    lines = {line.pop("step"): line for line in read_jsonl(run_dir / "metrics.jsonl")}
    assert len(lines) == (run_dir / "metrics.jsonl").read_text().count("\n")
    return {
        name: {
            step: pytest.approx(float(line[name]), rel=1e-6)
            for step, line in lines.items()
            if name in line
        }
        for name in dict.fromkeys(name for line in lines.values() for name in line)
    }


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


@pytest.mark.parametrize(
    ("owner", "dies"), [("Trackers.log", late), ("TrainingLoop._evaluate", due)]
)
def test_tensorboard_shows_what_metrics_jsonl_holds_and_what_is_done_again_once(
    arguments, tmp_path, monkeypatch, owner, dies
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(f"hierbert.training.loop.{owner}", dies)
        main([*arguments, TRACKED])
    assert main([*arguments, TRACKED, "--resume"]) == 0
    assert shown(tmp_path / "run") == written(tmp_path / "run")
    assert list(shown(tmp_path / "run")["validation.loss"]) == [*range(1, 10)]


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
    assert list(shown(tmp_path / "run")["validation.loss"]) == [4, 5, 6, 7, 8, 9]
