"""Figures in TensorBoard: those of metrics.jsonl, each step once, whatever happened in between."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import small_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training import KilledError

from hierbert.cli.train import main
from hierbert.training.loop import TrainingLoop
from hierbert.training.trackers import Trackers


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> list[str]:
    # Three epochs of three steps.
    build = small_run(tmp_path, encoders["bert"])
    return build(
        "training.epochs=3", "training.eval_every_steps=1", "training.checkpoint_every_steps=2"
    )


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


def die_in(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    dying: Callable[..., Any],
    arguments: list[str],
) -> None:
    """Train until a method in the place of another dies."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with pytest.raises(KilledError):
            main(arguments)


def test_tensorboard_shows_what_metrics_jsonl_holds(arguments, tmp_path) -> None:
    assert main([*arguments, "training.trackers=[tensorboard]"]) == 0
    assert shown(tmp_path / "run") == written(tmp_path / "run")
    assert [step for step, _ in shown(tmp_path / "run")["validation.loss"]] == [*range(1, 10)]


def test_steps_that_are_done_again_are_shown_once(arguments, tmp_path, monkeypatch) -> None:
    log: Callable[..., None] = Trackers.log

    def dying(self: Trackers, values: dict[str, Any]) -> None:
        log(self, values)
        # Two evaluations behind the checkpoint of step 4, which are written and lost.
        if values["step"] == 6 or (values["step"] == 5 and len(values) > 3):
            raise KilledError

    tracked = [*arguments, "training.trackers=[tensorboard]"]
    die_in(monkeypatch, Trackers, "log", dying, tracked)
    assert main([*tracked, "--resume"]) == 0
    assert shown(tmp_path / "run") == written(tmp_path / "run")


def test_an_evaluation_that_is_done_again_is_shown_once(arguments, tmp_path, monkeypatch) -> None:
    """One that came too late for a checkpoint which says that it is due."""
    evaluate = TrainingLoop._evaluate

    def dying(self: TrainingLoop) -> None:
        if self.state.step == 2:
            self.state.evaluation_due = True
            self._save()
            evaluate(self)
            raise KilledError
        evaluate(self)

    tracked = [*arguments, "training.trackers=[tensorboard]"]
    die_in(monkeypatch, TrainingLoop, "_evaluate", dying, tracked)
    assert main([*tracked, "--resume"]) == 0
    assert shown(tmp_path / "run") == written(tmp_path / "run")
    assert [step for step, _ in shown(tmp_path / "run")["validation.loss"]] == [*range(1, 10)]


@pytest.fixture
def begun(arguments, tmp_path, monkeypatch) -> list[str]:
    """Arguments of a run that was killed after its first epoch of 3 steps."""
    epoch = TrainingLoop._epoch

    def dying(self: TrainingLoop, *given: Any, **named: Any) -> Any:
        if self.state.epoch == 1:
            raise KilledError
        return epoch(self, *given, **named)

    die_in(monkeypatch, TrainingLoop, "_epoch", dying, arguments)
    return arguments


def test_trackers_may_be_added_when_a_run_goes_on(begun, tmp_path) -> None:
    assert main([*begun, "training.trackers=[tensorboard]", "--resume"]) == 0
    steps = {step for values in shown(tmp_path / "run").values() for step, _ in values}
    assert steps == {4, 5, 6, 7, 8, 9}


def test_a_tracker_that_does_not_start_is_one_line(begun, tmp_path, capsys) -> None:
    (tmp_path / "run" / "hierbert").write_text("in the way of TensorBoard's folder")
    capsys.readouterr()
    assert main([*begun, "training.trackers=[tensorboard]", "--resume"]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("error: training.trackers=tensorboard cannot be started: ")
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 3
