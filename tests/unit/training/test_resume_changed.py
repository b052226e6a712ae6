"""A resume goes on with the same run, wherever its parts lie now, or says what is not the same."""

import json
import os
import shutil
import signal
import sys
import traceback
from typing import Any

import pytest
from accelerate import Accelerator
from commands import write_jsonl
from conftest import make_rows, save_encoder
from small_runs import outcome
from training import KilledError, dying, error_of

from hierbert.cli.train import main
from hierbert.config import RunConfig
from hierbert.errors import RunError
from hierbert.settings import load_config
from hierbert.training.checkpoints import find_checkpoints, read_sealed, seal
from hierbert.training.loop import TrainingLoop
from hierbert.training.resuming import _compare
from hierbert.training.run_folder import check_run_folder, open_run_folder, run_lock

OFTEN = "training.checkpoint_every_steps=1"


def killed_in_step(number: int, arguments: list[str]) -> None:
    with dying((TrainingLoop, "_step"), number - 1), pytest.raises(KilledError):
        main(arguments)


def test_a_run_that_an_earlier_version_changed_on_its_way_is_refused(
    arguments, tmp_path, capsys
) -> None:
    assert main([*arguments(), "--print-config"]) == 0
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.resolved.yaml").write_text(capsys.readouterr().out)
    (tmp_path / "run/changes.jsonl").touch()
    assert "changed on its way" in error_of(capsys, [*arguments(), "--resume"])


def test_allow_changes_points_to_a_new_run_from_weights(arguments, tmp_path, capsys) -> None:
    for flags in (["--allow-changes"], ["--resume", "--allow-changes"]):
        error = error_of(capsys, [*arguments(), *flags])
        assert "--allow-changes" in error and "model.start_from=" in error
    assert not (tmp_path / "run").exists()


def test_what_changes_no_number_may_differ_and_documents_and_encoder_may_move(
    arguments, encoders, tmp_path, capsys
) -> None:
    assert main(arguments(OFTEN, f"run_dir={tmp_path / 'whole'}")) == 0
    killed_in_step(4, arguments(OFTEN))
    shutil.copytree(encoders["bert"], tmp_path / "encoder")
    (tmp_path / "train.jsonl").rename(tmp_path / "moved.jsonl")
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    other = [
        f"run_dir={tmp_path / 'elsewhere'}",
        f"data.train={tmp_path / 'moved.jsonl'}",
        f"model.encoder={tmp_path / 'encoder'}",
        "training.checkpoint_every_steps=2",
        "training.keep_checkpoints=1",
        "training.on_nonfinite_loss=skip",
        "training.memory=recompute",
        f"training.cache_dir={tmp_path / 'cache'}",
        "show_sample=true",
    ]
    capsys.readouterr()
    assert main([*arguments(*other), "--resume"]) == 0
    assert "step_00000003 (epoch 1, step 3)" in capsys.readouterr().err
    assert outcome(tmp_path / "elsewhere") == outcome(tmp_path / "whole")


@pytest.mark.parametrize("frozen", ["false", "true"])
def test_another_encoder_in_the_same_place_is_refused(
    arguments, encoders, tmp_path, capsys, frozen
) -> None:
    place = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], place)
    run = arguments(f"model.encoder={place}", f"training.freeze_encoder={frozen}")
    assert main(run) == 0
    shutil.rmtree(place)
    save_encoder(place, "bert", seed=1)
    error = error_of(capsys, [*run, "--resume"])
    assert "model.encoder: " in error and "model.start_from=" in error


def test_another_tokenizer_in_the_same_place_is_refused(
    arguments, encoders, tmp_path, capsys
) -> None:
    place = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], place)
    run = arguments(f"model.encoder={place}", "training.epochs=1")
    assert main(run) == 0
    tokenizer = json.loads((place / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["the"], words["a"] = words["a"], words["the"]
    (place / "tokenizer.json").write_text(json.dumps(tokenizer))
    error = error_of(capsys, [*run, "--resume"])
    assert "data.train: the same documents, read as other tokens" in error


def test_a_checkpoint_of_an_earlier_version_goes_on(arguments, tmp_path, capsys) -> None:
    assert main(arguments(OFTEN, f"run_dir={tmp_path / 'whole'}")) == 0
    killed_in_step(4, arguments(OFTEN))
    for path in find_checkpoints(tmp_path / "run/checkpoints"):
        content = read_sealed(path)
        del content["state"]["identity"], content["state"]["ended"]
        content["state"]["best_file"]["name"] = "best_step_00000002.safetensors"
        content["state"] |= {
            **dict.fromkeys(("settings", "plan", "judged_by", "frozen", "encoder"), "5b" * 16),
            "corpora": {"train": "5b" * 16},
            "labels": ["film", "law"],
            "label_mean": 0.0,
            "label_scale": 1.0,
            "evaluated_step": 2,
            "metrics_lines": 1,
            "schedule_steps": 6,
        }
        (path / "state.json").unlink()
        seal(path, content)
    (tmp_path / "run/documents.jsonl").write_text(json.dumps(["train", "d0", "5b" * 16]) + "\n")
    capsys.readouterr()
    assert main([*arguments(OFTEN), "--resume"]) == 0
    said = capsys.readouterr().err
    assert "of an earlier version" in said and "(epoch 1, step 3)" in said
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_other_documents_are_counted_and_some_are_named() -> None:
    before = {f"d{number}": "a" for number in range(11)}
    now = {**dict.fromkeys([f"d{number}" for number in range(1, 11)], "b"), "new" * 40: "b"}
    assert _compare(before, now) == (
        f"1 added ({'new' * 20}...), 1 removed (d0), 10 changed (d1, d2, d3, d4, d5, ...)"
    )


def test_a_corpus_that_changed_before_the_first_checkpoint_is_refused_too(
    arguments, tmp_path, capsys
) -> None:
    killed_in_step(2, arguments())
    write_jsonl(tmp_path / "train.jsonl", make_rows(10, seed=1))
    assert "data.train: 1 removed (d10)" in error_of(capsys, [*arguments(), "--resume"])
    write_jsonl(tmp_path / "train.jsonl", make_rows(11, seed=1))
    assert main([*arguments(), "--resume"]) == 0


def opened(config: RunConfig, resume: bool, kill_at: int) -> tuple[int, bool]:
    """Open a run's folder in a process that is killed before the N-th thing it does to a file.

    Returns:
        Its exit code: 0, 3 where it says to go on with --resume; and whether it was killed.
    """
    seen = 0

    def watch(event: str, values: tuple[Any, ...]) -> None:
        nonlocal seen
        changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod")
        if event == "open":
            changes = bool(values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if changes and str(values[0]).startswith(config.run_dir):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.addaudithook(watch)
            accelerator = Accelerator(cpu=True)
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
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, code == -signal.SIGKILL


def test_a_run_killed_at_any_file_it_makes_in_its_new_folder_can_be_started_again(
    tmp_path,
) -> None:
    kills, killed = 0, True
    while killed:
        for resume in (False, True):
            folder = tmp_path / f"run{kills}{resume}"
            settings = ["data.train=t", "data.label_column=l", f"run_dir={folder}"]
            config = load_config(RunConfig, None, settings)
            _, killed = opened(config, False, kills + 1)
            whole = (folder / "config.resolved.yaml").is_file()
            again, _ = opened(config, resume, 0)
            assert again == (3 if whole and not resume else 0), (kills, resume)
            left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
            assert again or left == [], (kills, resume, left)
        kills += killed
    # The folder, its lock, the settings: made, written, renamed.
    assert kills >= 6


def test_a_new_folder_with_empty_checkpoints_counts_as_empty(arguments, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / ".config.resolved.yaml.abc").write_text("data:")
    (run / "checkpoints/mine").touch()
    assert "holds something already" in error_of(capsys, arguments())
    (run / "checkpoints/mine").unlink()
    assert main(arguments("training.epochs=1")) == 0
    assert not (run / ".config.resolved.yaml.abc").exists()


def test_damaged_lines_of_metrics_are_passed_over(arguments, tmp_path, capsys) -> None:
    assert main(arguments()) == 0
    path = tmp_path / "run/metrics.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    for content, kept in (
        (first + second + b"\xff\xfe\x80garbage", first + second),
        (first + b"123\n", first),
        (b"\xff\n" + second, second),
        (first + b"\0" * 40 + b"\n", first),
        (b'{"step": "x"}\n' + second, second),
    ):
        path.write_bytes(content)
        for warnings in (1, 0):
            capsys.readouterr()
            assert main([*arguments(), "--resume"]) == 0
            assert capsys.readouterr().err.count(f"warning: {path}") == warnings
            assert path.read_bytes() == kept


def test_metrics_that_cannot_be_read_end_in_one_line(arguments, tmp_path, capsys) -> None:
    assert main(arguments("training.epochs=1")) == 0
    (tmp_path / "run/metrics.jsonl").unlink()
    (tmp_path / "run/metrics.jsonl").mkdir()
    error = error_of(capsys, [*arguments("training.epochs=1"), "--resume"])
    assert "metrics.jsonl cannot be" in error


def test_whose_run_folder_the_settings_of_a_run_mean(arguments, tmp_path, capsys) -> None:
    assert main(arguments("training.epochs=1")) == 0
    moved, copy = tmp_path / "moved", tmp_path / "config.resolved.yaml"
    copy.write_bytes((tmp_path / "run/config.resolved.yaml").read_bytes())
    for config, more, said in (
        (copy, [], f"resuming from {tmp_path / 'run'}"),
        (moved / copy.name, [], f"resuming from {moved}"),
        (moved / copy.name, [f"run_dir={moved}"], f"resuming from {moved}"),
        (moved / copy.name, [f"run_dir={tmp_path / 'new'}"], f"no run in {tmp_path / 'new'} yet"),
    ):
        if config != copy and not moved.exists():
            (tmp_path / "run").rename(moved)
        capsys.readouterr()
        assert main(["--config", str(config), "--resume", *more]) == 0
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_damaged_settings_of_a_run_are_said_to_be(arguments, tmp_path, capsys, part) -> None:
    whole = tmp_path / "run/config.resolved.yaml"
    assert main([*arguments(), "--print-config"]) == 0
    text = capsys.readouterr().out
    whole.parent.mkdir()
    whole.write_text(text[: int(part * len(text))])
    error = error_of(capsys, [*arguments(), "--resume"])
    assert f"{whole} is damaged: " in error and "start anew with another run_dir" in error
