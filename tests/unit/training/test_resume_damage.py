"""What a resumed run finds damaged is passed over, and a full disk damages nothing."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import Settings, outcome, small_run
from training import KilledError, dying, error_of

from hierbert.cli.train import main
from hierbert.training import checkpoints, loop, nonfinite, trainer
from hierbert.training.checkpoints import find_checkpoints
from hierbert.training.loop import TrainingLoop
from hierbert.training.resuming import RunIdentity


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to the folder `run`."""
    return small_run(tmp_path, encoders["bert"])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: list[tuple[Callable[[Path], None], str, str]] = [
    (cut, "weights.safetensors", "weights.safetensors has "),
    (flip, "optimizer.safetensors", "optimizer.safetensors is not as it was written"),
    (flip, "state.json", "state.json "),
    (Path.unlink, "state.json", "state.json is missing"),
    (Path.unlink, "weights.safetensors", "weights.safetensors is missing"),
]


def test_a_damaged_checkpoint_is_passed_over_and_goes(arguments, tmp_path, monkeypatch) -> None:
    extra = ["training.checkpoint_every_steps=1"]
    with monkeypatch.context() as patch:
        dying(patch, (TrainingLoop, "_step"), 5)
        with pytest.raises(KilledError):
            main(arguments(*extra))
    folder = tmp_path / "run" / "checkpoints"
    older, newest = find_checkpoints(folder)
    for number, (damage, file, why) in enumerate(DAMAGES):
        other = tmp_path / str(number)
        shutil.copytree(folder, other)
        damage(other / newest.name / file)
        path, _, ((damaged, reason),) = checkpoints.newest_whole(other)
        assert path == other / older.name and damaged == other / newest.name
        assert reason.startswith(why)
    # What a killed run was writing goes too, and what is not ours stays.
    flip(newest / "state.json")
    remains = folder / ".step_00000006.123"
    remains.mkdir()
    (tmp_path / "run" / ".gitignore").write_text("*")
    with monkeypatch.context() as patch:
        dying(patch, (TrainingLoop, "_step"), 1)
        with pytest.raises(KilledError):
            main([*arguments(*extra), "--resume"])
    # Of the two that are kept, none is the damaged one.
    assert [path.name for path in find_checkpoints(folder)] == [older.name, "step_00000005_2"]
    assert not remains.exists() and (tmp_path / "run" / ".gitignore").exists()


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_over(
    arguments, tmp_path, monkeypatch, capsys
) -> None:
    # The first evaluation is the best; the checkpoint of it, which holds the same, is lost.
    monkeypatch.setattr(nonfinite, "choose_metric", lambda *_: 0.5)
    monkeypatch.setattr(nonfinite, "score_answers", lambda *_: {"loss": 1.0})
    assert main(arguments()) == 0
    folder = tmp_path / "run/checkpoints"
    shutil.rmtree(folder / "step_00000003")
    flip(folder / "best_step_00000003.safetensors")
    capsys.readouterr()
    assert main([*arguments(), "--resume"]) == 2
    said = capsys.readouterr().err
    why = "best_step_00000003.safetensors is not as it was written"
    assert f"{folder / 'step_00000006'} is damaged and passed over: {why}" in said
    assert "no checkpoint" in said and "remove that folder" in said


@pytest.mark.parametrize("lost", [False, True])
def test_best_weights_that_a_checkpoint_also_holds_are_written_anew(
    arguments, tmp_path, monkeypatch, capsys, lost
) -> None:
    monkeypatch.setattr(nonfinite, "choose_metric", lambda *_: 0.5)
    monkeypatch.setattr(nonfinite, "score_answers", lambda *_: {"loss": 1.0})
    # The first evaluation is the best, and the second checkpoint refers to its weights.
    assert main(arguments()) == 0
    checkpoints = tmp_path / "run/checkpoints"
    (best,) = checkpoints.glob("best_*")
    model, content = (tmp_path / "run/model/model.safetensors").read_bytes(), best.read_bytes()
    assert best.name == "best_step_00000003.safetensors"
    if lost:
        best.unlink()
    else:
        best.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    capsys.readouterr()
    assert main([*arguments(), "--resume"]) == 0
    said = capsys.readouterr().err
    assert f"written anew from {checkpoints / 'step_00000003'}," in said
    assert f"resuming from {checkpoints / 'step_00000006'} " in said
    assert best.read_bytes() == content
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == model
    # Where no checkpoint holds them any more, they cannot be had.
    best.unlink()
    (checkpoints / "step_00000003/weights.safetensors").unlink()
    assert f"{best.name} is missing" in error_of(capsys, [*arguments(), "--resume"])


def test_a_run_of_damaged_checkpoints_alone_is_not_begun_anew(arguments, tmp_path, capsys) -> None:
    assert main(arguments()) == 0
    for path in find_checkpoints(tmp_path / "run" / "checkpoints"):
        cut(path / "weights.safetensors")
    error = error_of(capsys, [*arguments(), "--resume"])
    assert "no checkpoint" in error and "is whole" in error and "to start from" in error


FULL = {
    "checkpoints/step_00000006": (loop, "save_checkpoint", 1),
    "best_step_": (loop, "save_best", 0),
    "documents.jsonl": (RunIdentity, "save", 0),
    "metrics.jsonl": (loop.Trackers, "log", 1),
    "results.json": (trainer, "write_results", 0),
    "model": (trainer, "save_model", 0),
}


@pytest.mark.parametrize("target", FULL)
def test_a_disk_that_is_full_from_now_on_ends_the_run_in_one_line(
    arguments, tmp_path, monkeypatch, capsys, target
) -> None:
    """The operating system's own limit on the size of files stands in for the full disk."""
    owner, name, after = FULL[target]
    original, calls = getattr(owner, name), []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(*given: Any, **named: Any) -> Any:
        if len(calls) == after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        calls.append(0)
        return original(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, limited)
        try:
            error = error_of(capsys, arguments())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target in error and "cannot be written" in error and "--resume" in error
    assert [path.name for path in (tmp_path / "run").rglob(".*")] == []
    _, _, damaged = checkpoints.newest_whole(tmp_path / "run" / "checkpoints")
    assert (damaged == [] and not (tmp_path / "run" / "model").exists()) or target == "results.json"
    assert main([*arguments(), "--resume"]) == 0
    assert main(arguments(f"run_dir={tmp_path / 'whole'}")) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_best_file_of_another_folder_is_not_read(tmp_path) -> None:
    entry = {"name": "../secret.safetensors", "bytes": 1, "sha256": ""}
    with pytest.raises(checkpoints.DamagedError, match="names no file"):
        checkpoints.check_best(tmp_path, entry)


@pytest.mark.parametrize(
    "values",
    [None, [], {}, {"epoch": 1}, {"step": "1"}, {"losses": [1]}, {"best_metric": "x"}, {"more": 1}],
)
def test_a_state_of_other_names_or_types_is_refused(values) -> None:
    from dataclasses import asdict

    from hierbert.training.state import TrainerState

    if isinstance(values, dict) and values and "epoch" not in values:
        values = {**asdict(TrainerState()), **values}
    with pytest.raises(ValueError, match=r"state has other values|is .* not of type"):
        TrainerState.from_json(values)
    again = TrainerState.from_json(json.loads(json.dumps(asdict(TrainerState(best_metric=0.5)))))
    assert again == TrainerState(best_metric=0.5)
