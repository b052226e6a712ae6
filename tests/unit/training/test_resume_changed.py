"""A resume goes on with the same run, or says what is not the same."""

import contextlib
import json
import shutil

import pytest
from commands import write_jsonl
from conftest import make_rows, save_encoder
from small_runs import outcome
from training import KilledError, dying, error_of

from hierbert.cli.train import main
from hierbert.config import RunConfig
from hierbert.errors import RunError
from hierbert.settings import dump_config, load_config
from hierbert.training.checkpoints import find_checkpoints, read_sealed, seal
from hierbert.training.loop import TrainingLoop
from hierbert.training.run_folder import check_run_folder


def killed_in_step(number: int, arguments: list[str]) -> None:
    with dying((TrainingLoop, "_step"), number - 1), pytest.raises(KilledError):
        main(arguments)


def test_a_run_that_an_earlier_version_changed_on_its_way_is_refused(
    arguments, tmp_path, capsys
) -> None:
    for flags in (["--allow-changes"], ["--resume", "--allow-changes"]):
        error = error_of(capsys, [*arguments(), *flags])
        assert "--allow-changes" in error and "model.start_from=" in error
    assert not (tmp_path / "run").exists()
    assert main([*arguments(), "--print-config"]) == 0
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.resolved.yaml").write_text(capsys.readouterr().out)
    (tmp_path / "run/changes.jsonl").touch()
    assert "changed on its way" in error_of(capsys, [*arguments(), "--resume"])


def test_another_tokenizer_or_encoder_in_the_same_place_is_refused(
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
    shutil.rmtree(place)
    save_encoder(place, "bert", seed=1)
    error = error_of(capsys, [*run, "--resume"])
    assert "model.encoder: " in error and "model.start_from=" in error


def test_a_checkpoint_of_an_earlier_version_goes_on(arguments, tmp_path, capsys) -> None:
    run = arguments("training.checkpoint_every_steps=1")
    assert main([*run, f"run_dir={tmp_path / 'whole'}"]) == 0
    killed_in_step(4, run)
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
    assert main([*run, "--resume"]) == 0
    said = capsys.readouterr().err
    assert "of an earlier version" in said and "(epoch 1, step 3)" in said
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_corpus_that_changed_before_the_first_checkpoint_is_refused_too(
    arguments, tmp_path, capsys
) -> None:
    killed_in_step(2, arguments())
    write_jsonl(tmp_path / "train.jsonl", make_rows(10, seed=1))
    assert "data.train: 1 removed ('d10')" in error_of(capsys, [*arguments(), "--resume"])
    write_jsonl(tmp_path / "train.jsonl", make_rows(11, seed=1))
    assert main([*arguments(), "--resume"]) == 0


def test_a_folder_in_which_a_run_was_killed_at_once_counts_as_empty(
    arguments, tmp_path, capsys
) -> None:
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
    path, again = tmp_path / "run/metrics.jsonl", [*arguments(), "--resume"]
    whole = path.read_bytes()
    first, second = whole.splitlines(keepends=True)
    damaged = [b"\xff\n", b"123\n", b"\0" * 40 + b"\n", b'{"step": "x"}\n']
    path.write_bytes(first + b"".join(damaged) + second + b"\xff\xfe\x80garbage")
    for warnings in (5, 0):
        capsys.readouterr()
        assert main(again) == 0
        assert capsys.readouterr().err.count(f"warning: {path}") == warnings
        assert path.read_bytes() == whole
    path.unlink()
    path.mkdir()
    assert "metrics.jsonl cannot be" in error_of(capsys, again)


def test_whose_run_folder_the_settings_of_a_run_mean(arguments, tmp_path, capsys) -> None:
    assert main(arguments("training.epochs=1")) == 0
    config = tmp_path / "run/config.resolved.yaml"
    copy = shutil.copy(config, tmp_path)
    for asked, said in (
        ([copy], f"resuming from {tmp_path / 'run'}"),
        ([config, f"run_dir={tmp_path / 'new'}"], f"no run in {tmp_path / 'new'} yet"),
    ):
        capsys.readouterr()
        assert main(["--resume", "--config", *map(str, asked)]) == 0
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("data.validation=v.jsonl", None),
        # It begins like one that may be another.
        ("data.validation_fraction=0.2", "data.validation_fraction: 0.1 -> 0.2"),
        ("seed=1", "seed: 0 -> 1"),
    ],
)
def test_what_a_setting_is_called_decides_whether_it_may_change(tmp_path, changed, told) -> None:
    own = ["data.train=t.jsonl", "data.label_column=label", f"run_dir={tmp_path}"]
    resolved = tmp_path / "config.resolved.yaml"
    resolved.write_text(dump_config(load_config(RunConfig, None, own)))
    with pytest.raises(RunError, match=told) if told else contextlib.nullcontext():
        check_run_folder(load_config(RunConfig, None, [*own, changed]), resume=True)
