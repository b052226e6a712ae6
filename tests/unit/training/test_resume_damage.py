"""What a resumed run finds damaged is passed over, and a full disk damages nothing."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import ROOT
from resuming import _KilledError, dying, outcome, six_steps
from training import error_of

from hierbert.training import checkpoint_files, checkpoints, validation
from hierbert.training.checkpoint_files import find_checkpoints
from hierbert.training.cli import main
from hierbert.training.loop import Trainer


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to the folder `run`."""
    return six_steps(tmp_path, encoders["bert"])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "file", "why"),
    [
        (cut, "weights.safetensors", "weights.safetensors has "),
        (flip, "optimizer.safetensors", "optimizer.safetensors is not as it was written"),
        (flip, "state.json", "state.json "),
        (Path.unlink, "state.json", "state.json is missing"),
        (Path.unlink, "weights.safetensors", "weights.safetensors is missing"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(
    arguments, tmp_path, monkeypatch, capsys, damage, file, why
) -> None:
    extra = ["training.checkpoint_every_steps=1"]
    assert main(arguments(*extra, f"run_dir={tmp_path / 'whole'}")) == 0
    with monkeypatch.context() as patch:
        dying(patch, (Trainer, "_step"), 5)
        with pytest.raises(_KilledError):
            main(arguments(*extra))
    older, newest = find_checkpoints(tmp_path / "run" / "checkpoints")
    damage(newest / file)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        dying(patch, (Trainer, "_step"), 1)
        with pytest.raises(_KilledError):
            main([*arguments(*extra), "--resume"])
    said = capsys.readouterr().err
    # Of the two that are kept, none is the damaged one.
    left = [path.name for path in find_checkpoints(tmp_path / "run" / "checkpoints")]
    assert left == [older.name, "step_00000005_2"]
    assert main([*arguments(*extra), "--resume"]) == 0
    assert f"warning: {newest} is damaged and passed over: {why}" in said
    assert f"resuming from {older} " in said
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_over(
    arguments, tmp_path, monkeypatch, capsys
) -> None:
    # The first evaluation is the best; the checkpoint of it, which holds the same, is lost.
    monkeypatch.setattr(validation, "choose_metric", lambda *_: 0.5)
    monkeypatch.setattr(validation, "score_answers", lambda *_: {"loss": 1.0})
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
    monkeypatch.setattr(validation, "choose_metric", lambda *_: 0.5)
    monkeypatch.setattr(validation, "score_answers", lambda *_: {"loss": 1.0})
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


FULL_DISK = f"""
import resource, sys
sys.path.insert(0, {str(ROOT)!r})
from hierbert.training import {{module}} as owner
original = owner.{{name}}
def limited(*given, **named):
    if {{when}}:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
    return original(*given, **named)
owner.{{name}} = limited
from hierbert.training.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
SECOND = "given[3].step == 6"
FULL = {
    "checkpoint": ("loop", "save_checkpoint", SECOND, "step_00000006"),
    "best": ("loop", "save_best", "given[2].step == 6", "best_step_00000006"),
    "documents": ("resuming", "RunIdentity.save", "True", "documents.jsonl"),
    "metrics": ("loop", "Trackers.log", "given[1]['step'] == 6", "metrics.jsonl"),
    "results": ("run", "write_results", "True", "results.json"),
    "model": ("run", "save_model", "True", "model"),
}


@pytest.mark.parametrize(
    "name",
    ["checkpoint", *(pytest.param(n, marks=pytest.mark.slow) for n in FULL if n != "checkpoint")],
)
def test_a_disk_that_is_full_from_now_on_ends_the_run_in_one_line(
    arguments, tmp_path, monkeypatch, name
) -> None:
    """The operating system's own limit on the size of files, for the rest of the process."""
    module, function, when, file = FULL[name]
    script = FULL_DISK.format(module=module, name=function, when=when)
    best = ["training.metric=loss"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # Standard error is a pipe, which has no size.
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments(*best)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and file in errors[0] and "File too large" in errors[0], done.stderr
    assert "cannot be written" in errors[0] and "--resume" in errors[0]
    assert "Traceback" not in done.stderr
    path, damaged = checkpoints.newest_whole(tmp_path / "run" / "checkpoints")
    assert damaged == [] and (name == "documents") == (path is None)
    assert [left.name for left in (tmp_path / "run").rglob(".*")] == []
    assert main([*arguments(*best), "--resume"]) == 0
    assert main(arguments(*best, f"run_dir={tmp_path / 'whole'}")) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_best_file_of_another_folder_is_not_read(tmp_path) -> None:
    entry = {"name": "../secret.safetensors", "bytes": 1, "sha256": ""}
    with pytest.raises(checkpoint_files.DamagedError, match="names no file"):
        checkpoint_files.check_best(tmp_path, entry)


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
