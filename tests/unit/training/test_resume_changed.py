"""Runs that go on as another machine, another hand or an accident left them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState
from commands import ROOT, read_jsonl, write_jsonl
from conftest import make_rows, save_encoder
from resuming import _KilledError, small_run
from training import error_of

from hierbert.prediction.predictor import HierBertPredictor
from hierbert.training import loop, validation
from hierbert.training.cli import main
from hierbert.training.loop import Trainer


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a run of 4 steps in 2 epochs; to the folder `run`."""
    return small_run(tmp_path, encoders["bert"], 8)


def numbers(count: int, seed: int, offset: float, prefix: str) -> list[dict[str, Any]]:
    """Documents with a number around an offset that their words decide."""
    return [
        {"id": prefix + str(row["id"]), "text": row["text"], "label": offset + i % 2}
        for i, row in enumerate(make_rows(count, seed))
    ]


def results_of(run_dir: Path) -> dict[str, Any]:
    return json.loads((run_dir / "results.json").read_text())


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


# Opens the run folder in a process that is killed before the N-th thing it does to files there,
# and then once more, with or without --resume; for every N there is.
KILLER = f"""
import os, signal, sys, traceback
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from accelerate import Accelerator
from hierbert.config import RunConfig
from hierbert.config_loading import load_config
from hierbert.errors import RunError
from hierbert.training.run_folder import check_run_folder, open_run_folder, run_lock

root, seen, last = sys.argv[1], [0], [0]
settings = ["data.train=t", "data.label_column=l"]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def watch(event, values):
    if event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod"):
        return
    path, watched = values[0], isinstance(values[0], (str, os.PathLike))
    if watched and str(path).startswith(root) and (event != "open" or values[2] & WRITES):
        seen[0] += 1
        if seen[0] == last[0]:
            os.kill(os.getpid(), signal.SIGKILL)

def start(folder, resume, kill):
    child = os.fork()
    if child == 0:
        last[0] = kill
        sys.addaudithook(watch)
        code = 1
        try:
            config = load_config(RunConfig, None, settings + [f"run_dir={{folder}}"])
            check_run_folder(config, resume)
            with run_lock(config, accelerator):
                open_run_folder(config, accelerator, resume)
            code = 0
        except RunError as error:
            code = 3 if "go on with --resume" in str(error) else 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

accelerator = Accelerator(cpu=True)
kill, killed = 1, True
while killed:
    for resume in (False, True):
        folder = Path(root) / f"run{{kill}}{{resume}}"
        killed = start(folder, False, kill) == -signal.SIGKILL
        whole = (folder / "config.resolved.yaml").is_file()
        again = start(folder, resume, 0)
        assert again == (3 if whole and not resume else 0), (kill, resume, again)
        left = sorted(path.name for path in folder.iterdir() if path.name.startswith("."))
        assert again or left == [], (kill, resume, left)
    kill += 1
print("KILLS", kill - 2)
"""


def test_a_run_killed_at_any_file_it_makes_in_its_new_folder_can_be_started_again(
    tmp_path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The folder, its lock, the settings: made, written, renamed.
    assert int(done.stdout.split()[-1]) >= 6, done.stdout


def test_a_new_folder_with_empty_checkpoints_counts_as_empty(arguments, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / ".config.resolved.yaml.abc").write_text("data:")
    (run / "checkpoints/mine").touch()
    assert "holds something already" in error_of(capsys, arguments())
    (run / "checkpoints/mine").unlink()
    assert main(arguments("training.epochs=1")) == 0
    assert not (run / ".config.resolved.yaml.abc").exists()


CHOSEN_ANEW = [
    ("training.class_weights=balanced", []),
    ("training.label_smoothing=0.1", []),
    ("training.mixed_precision=bf16", []),
    ("training.cache_dtype=float16", ["training.freeze_encoder=true"]),
    ("model.sentence_reach=3", ["data.summary_column=summary"]),
    ("summary.max_words=20", ["data.summary_column=summary"]),
]


@pytest.mark.parametrize(("change", "more"), CHOSEN_ANEW)
def test_best_weights_are_chosen_anew_when_the_figures_are_others(
    arguments, tmp_path, capsys, monkeypatch, change, more
) -> None:
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path / "cache"))
    write_jsonl(tmp_path / "train.jsonl", make_rows(9, seed=1))  # of which 5 have one label
    run = arguments(*more, "training.metric=loss")
    assert main(run) == 0
    # Its precision outlives a run in one process.
    AcceleratorState._reset_state(reset_partial_state=True)
    capsys.readouterr()
    assert main([*run, change, "--resume", "--allow-changes"]) == 0
    assert "best weights are chosen anew" in capsys.readouterr().err
    # Training was over, so the weights of the end are the only ones, and their figures are new.
    results = results_of(tmp_path / "run")
    assert results["best_step"] == results["steps"] and results["validation"] == results["scores"]
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("change", ["model.dropout=0.3", "training.weight_decay=0.1"])
def test_best_weights_stay_when_their_figures_do(arguments, capsys, change) -> None:
    assert main(arguments("training.metric=loss")) == 0
    capsys.readouterr()
    assert main([*arguments("training.metric=loss"), change, "--resume", "--allow-changes"]) == 0
    assert "chosen anew" not in capsys.readouterr().err


def test_fewer_epochs_than_are_done_end_with_an_evaluation(
    arguments, tmp_path, monkeypatch
) -> None:
    rhythm = ["training.eval_every_steps=100", "training.checkpoint_every_steps=1"]
    with monkeypatch.context() as patch:
        dies_before_step(patch, 5)
        with pytest.raises(_KilledError):
            main(arguments(*rhythm, "training.epochs=9"))
    fewer = arguments(*rhythm, "training.epochs=1")
    for number in range(2):
        assert main([*fewer, "--resume", *(["--allow-changes"] if number == 0 else [])]) == 0
        results = results_of(tmp_path / "run")
        assert results["best_step"] == results["steps"] == 5
        assert results["validation"] == results["scores"]
        assert [line["step"] for line in read_jsonl(tmp_path / "run/metrics.jsonl")] == [5]
    # Nor does patience end a run unevaluated.
    less = [*arguments(*rhythm, "training.epochs=1", "training.patience=1")]
    assert main([*less, "--resume", "--allow-changes"]) == 0


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_evaluation_of_a_step_does_not_cost_the_first_its_line(
    arguments, tmp_path, monkeypatch, killed
) -> None:
    assert main(arguments()) == 0
    lines = read_jsonl(tmp_path / "run/metrics.jsonl")
    changed = [*arguments("training.metric=loss"), "--resume"]
    if killed:
        # Between the line of the new evaluation and the checkpoint that knows of it.
        log = loop.Trackers.log

        def last(self: Any, values: Any) -> None:
            log(self, values)
            raise _KilledError

        with monkeypatch.context() as patch:
            patch.setattr(loop.Trackers, "log", last)
            with pytest.raises(_KilledError):
                main([*changed, "--allow-changes"])
        assert len(read_jsonl(tmp_path / "run/metrics.jsonl")) == len(lines) + 1
    assert main([*changed, *([] if killed else ["--allow-changes"])]) == 0
    after = read_jsonl(tmp_path / "run/metrics.jsonl")
    assert after[:-1] == lines and after[-1]["step"] == lines[-1]["step"]


DAMAGES = {
    "no UTF-8 at its end": (lambda lines: [*lines, b"\xff\xfe\x80garbage"], 0),
    "a number": (lambda lines: [lines[0], b"123\n"], 1),
    "no UTF-8": (lambda lines: [b"\xff\n", lines[1]], 1),
    "zeros of a power cut": (lambda lines: [lines[0], b"\0" * 40 + b"\n"], 1),
    "a step that is a word": (lambda lines: [b'{"step": "x"}\n', lines[1]], 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_lines_of_metrics_are_passed_over(arguments, tmp_path, capsys, damage) -> None:
    assert main(arguments()) == 0
    path = tmp_path / "run/metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    change, damaged = DAMAGES[damage]
    path.write_bytes(b"".join(change(lines)))
    for warnings in (damaged, 0):
        capsys.readouterr()
        assert main([*arguments(), "--resume"]) == 0
        assert capsys.readouterr().err.count(f"warning: {path}") == warnings
        kept = path.read_bytes().splitlines(keepends=True)
        assert set(kept) <= set(lines) and len(kept) == len(lines) - damaged


def test_metrics_that_cannot_be_read_end_in_one_line(arguments, tmp_path, capsys) -> None:
    assert main(arguments()) == 0
    (tmp_path / "run/metrics.jsonl").unlink()
    (tmp_path / "run/metrics.jsonl").mkdir()
    assert "metrics.jsonl cannot be" in error_of(capsys, [*arguments(), "--resume"])


def test_a_run_folder_that_was_moved_goes_on_where_it_is(arguments, tmp_path, capsys) -> None:
    assert main(arguments("training.epochs=1")) == 0
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = ["--config", str(tmp_path / "moved/config.resolved.yaml"), "--resume"]
    for number, command in enumerate((moved, [*moved, f"run_dir={tmp_path / 'moved'}"])):
        (tmp_path / "moved/results.json").unlink()
        capsys.readouterr()
        assert main(command) == 0
        said = capsys.readouterr().err
        assert f"resuming from {tmp_path / 'moved/checkpoints'}" in said and "changed" not in said
        assert ("not in " in said) == (number == 0)
        assert (tmp_path / "moved/results.json").is_file() and not (tmp_path / "run").exists()
    # Another folder on purpose, where no run is.
    capsys.readouterr()
    assert main([*moved, f"run_dir={tmp_path / 'new'}"]) == 0
    assert f"no run in {tmp_path / 'new'} yet: starting a new run" in capsys.readouterr().err


def test_a_copy_of_the_settings_outside_a_run_folder_names_the_run(
    arguments, tmp_path, capsys
) -> None:
    assert main(arguments("training.epochs=1")) == 0
    (tmp_path / "config.resolved.yaml").write_bytes(
        (tmp_path / "run/config.resolved.yaml").read_bytes()
    )
    assert main(["--config", str(tmp_path / "config.resolved.yaml"), "--resume"]) == 0
    assert f"resuming from {tmp_path / 'run'}" in capsys.readouterr().err


@pytest.mark.parametrize("part", [0.0, 0.5, 0.9, 0.999])
def test_damaged_settings_of_a_run_are_said_to_be(arguments, tmp_path, capsys, part) -> None:
    settings = arguments("training.epochs=1")
    whole = tmp_path / "run/config.resolved.yaml"
    if part == 0:
        whole.parent.mkdir()
    else:
        assert main([*settings, "--print-config"]) == 0
        text = capsys.readouterr().out
        whole.parent.mkdir()
        whole.write_text(text[: int(part * len(text))])
    whole.touch()
    for command in (settings, ["--config", str(whole)]):
        error = error_of(capsys, [*command, "--resume"])
        assert f"{whole} is damaged: " in error and "--print-config" in error
        assert "start anew with another run_dir" in error


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
    assert best.name == "best_step_00000002.safetensors"
    if lost:
        best.unlink()
    else:
        best.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    capsys.readouterr()
    assert main([*arguments(), "--resume"]) == 0
    said = capsys.readouterr().err
    assert f"written anew from {checkpoints / 'step_00000002'}," in said
    assert f"resuming from {checkpoints / 'step_00000004'} " in said
    assert best.read_bytes() == content
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == model
    # Where no checkpoint holds them any more, they cannot be had.
    best.unlink()
    (checkpoints / "step_00000002/weights.safetensors").unlink()
    assert f"{best.name} is missing" in error_of(capsys, [*arguments(), "--resume"])


@pytest.mark.parametrize("frozen", ["false", "true"])
def test_an_encoder_may_move_but_not_be_another(
    arguments, encoders, tmp_path, monkeypatch, capsys, frozen
) -> None:
    more = [f"training.freeze_encoder={frozen}"]
    assert main(arguments(*more)) == 0
    before = results_of(tmp_path / "run")
    moved, other = tmp_path / "encoder", tmp_path / "other"
    shutil.copytree(encoders["bert"], moved)
    save_encoder(other, "bert", seed=1)
    error = error_of(capsys, [*arguments(*more, f"model.encoder={moved}"), "--resume"])
    assert "model.encoder: " in error and "--allow-changes" in error
    allowed = ["--resume", "--allow-changes"]
    error = error_of(capsys, [*arguments(*more, f"model.encoder={other}"), *allowed])
    assert "would not fit: model.encoder: " in error and "another encoder" in error
    assert main([*arguments(*more, f"model.encoder={moved}"), *allowed]) == 0
    assert "chosen anew" not in capsys.readouterr().err
    assert results_of(tmp_path / "run")["scores"] == before["scores"]
    assert main([*arguments(*more, f"model.encoder={moved}"), "--resume"]) == 0
