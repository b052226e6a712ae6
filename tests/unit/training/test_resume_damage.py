"""What a resumed run finds damaged is passed over, and a full disk damages nothing."""

import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import outcome, small_run
from training import KilledError, dying, error_of

from hierbert.cli.train import main
from hierbert.training import loop, results
from hierbert.training.checkpoints import Checkpoints, find_checkpoints
from hierbert.training.loop import TrainingLoop
from hierbert.training.resuming import RunIdentity


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


def checkpoints_in(folder: Path) -> Checkpoints:
    """As the first process looks for one to resume from."""
    unused: Any = None
    return Checkpoints(folder, unused, unused, unused, keep=1)


def test_a_damaged_checkpoint_is_passed_over_and_goes(arguments, tmp_path, capsys) -> None:
    often = arguments("training.checkpoint_every_steps=1")
    with dying((TrainingLoop, "_step"), 5), pytest.raises(KilledError):
        main(often)
    folder = tmp_path / "run" / "checkpoints"
    older, newest = find_checkpoints(folder)
    for number, (damage, file, why) in enumerate(DAMAGES):
        other = tmp_path / str(number)
        shutil.copytree(folder, other)
        damage(other / newest.name / file)
        path, state = checkpoints_in(other).newest_whole()
        assert path == other / older.name and state.step == 4
        said = capsys.readouterr().err
        assert f"{other / newest.name} is damaged and passed over: {why}" in said
    # What a killed run was writing goes too, and what is not ours stays.
    flip(newest / "state.json")
    remains = folder / ".step_00000006.123"
    remains.mkdir()
    (tmp_path / "run" / ".gitignore").write_text("*")
    with dying((TrainingLoop, "_step"), 1), pytest.raises(KilledError):
        main([*often, "--resume"])
    # Of the two that are kept, none is the damaged one.
    assert [path.name for path in find_checkpoints(folder)] == [older.name, "step_00000005_2"]
    assert not remains.exists() and (tmp_path / "run" / ".gitignore").exists()
    for path in find_checkpoints(folder):
        cut(path / "weights.safetensors")
    error = error_of(capsys, [*often, "--resume"])
    assert "no checkpoint" in error and "is whole" in error and "to start from" in error


def test_best_weights_that_a_checkpoint_also_holds_are_written_anew(
    arguments, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(loop, "choose_metric", lambda *_: 0.5)
    monkeypatch.setattr(loop, "score_answers", lambda *_: {"loss": 1.0})
    # The first evaluation is the best, and the second checkpoint refers to its weights.
    assert main(arguments()) == 0
    folder = tmp_path / "run/checkpoints"
    best, before = folder / "best_step_00000003.safetensors", outcome(tmp_path / "run")
    content = best.read_bytes()
    flip(best)
    capsys.readouterr()
    assert main([*arguments(), "--resume"]) == 0
    said = capsys.readouterr().err
    assert f"written anew from {folder / 'step_00000003'}," in said
    assert f"resuming from {folder / 'step_00000006'} " in said
    assert best.read_bytes() == content and outcome(tmp_path / "run") == before
    # Where no checkpoint holds them any more, they cannot be had.
    best.unlink()
    shutil.rmtree(folder / "step_00000003")
    error = error_of(capsys, [*arguments(), "--resume"])
    assert best.name in error and "no checkpoint" in error and "remove that folder" in error


FULL = {
    "checkpoints/step_00000006": (Checkpoints, "save", 1),
    "best_step_": (Checkpoints, "save_best", 0),
    "documents.jsonl": (RunIdentity, "save", 0),
    "metrics.jsonl": (loop.Trackers, "log", 1),
    "results.json": (results, "write_json", 0),
    "model": (results, "write_folder_whole", 0),
}


@pytest.fixture(scope="module")
def whole(encoders, tmp_path_factory) -> dict[str, Any]:
    """The outcome of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(small_run(folder, encoders["bert"])()) == 0
    return outcome(folder / "run")


@pytest.mark.parametrize("target", FULL)
def test_a_disk_that_is_full_from_now_on_ends_the_run_in_one_line(
    arguments, tmp_path, whole, monkeypatch, capsys, target
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
    capsys.readouterr()
    checkpoints_in(tmp_path / "run" / "checkpoints").newest_whole()
    assert capsys.readouterr().err == ""
    assert (tmp_path / "run" / "model").exists() == (target == "results.json")
    assert main([*arguments(), "--resume"]) == 0
    assert outcome(tmp_path / "run") == whole
