"""Settings of training: names, defaults, allowed values, and how they are written."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import ROOT, refuse, run, succeed
from small_runs import Settings, flat, printed_config, small_run

SNAPSHOT = yaml.safe_load((Path(__file__).parent / "settings.yaml").read_text(encoding="utf-8"))
DEFAULTS: dict[str, Any] = SNAPSHOT["defaults"]
CHOICES: dict[str, list[str]] = SNAPSHOT["choices"]
FLAGS = ("--config", "--print-config", "--resume", "--help")
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
NEEDED = ["data.train=a.jsonl", "data.label_column=label"]
FIRST_FORM = ROOT / "tests" / "fixtures" / "config_of_first_form.yaml"


def test_every_setting_has_the_default_it_had() -> None:
    expected = {**DEFAULTS, "data.train": "a.jsonl", "data.label_column": "label"}
    assert printed_config(*NEEDED) == expected


def test_help_names_every_setting_and_flag() -> None:
    done = succeed("train.py", "--help", here=True)
    words = set(re.findall(r"[\w.-]+", done.stdout))
    assert {"data.train", *DEFAULTS, *FLAGS} - words == set()
    assert done.stderr == "" and succeed("train.py", "-h", here=True).stdout == done.stdout
    # Values that a setting allows stand in it too.
    assert {choice for choices in CHOICES.values() for choice in choices} - words == set()


@pytest.mark.parametrize(
    "wrong", ["segmentation.max_tokens_per_segment=1000", "model.attention_heads=7"]
)
@pytest.mark.parametrize("anew", [True, False])
def test_what_does_not_go_with_an_encoder_is_named_with_its_section(
    encoders, models, tmp_path, wrong, anew
) -> None:
    start = []
    if not anew:
        start = [f"model.start_from={models['both']}", "model.encoder=", "model.aggregator_layers="]
    error = refuse("train.py", *small_run(tmp_path, encoders["bert"])(*start, wrong), here=True)
    assert f"error: {wrong} " in error


def test_print_config_prints_settings_that_can_be_read_again_and_does_nothing(
    encoders, tmp_path
) -> None:
    arguments = small_run(tmp_path, encoders["bert"])()
    done = succeed("train.py", *arguments, "--print-config", here=True)
    assert not (tmp_path / "run").exists()
    (tmp_path / "printed.yaml").write_text(done.stdout, encoding="utf-8")
    again = succeed("train.py", "--config", tmp_path / "printed.yaml", "--print-config", here=True)
    assert again.stdout == done.stdout
    # Comments say what each setting does.
    assert done.stdout.count("#") > len(DEFAULTS)


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_a_config_of_the_repository_is_read_to_its_last_setting(path) -> None:
    written = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    needed = [] if "data.train" in written else ["data.train=a.jsonl"]
    found = printed_config("--config", path, *needed)
    assert written.items() <= found.items()
    assert found["run_dir"] == f"runs/{path.stem}"
    untouched = DEFAULTS.keys() - written.keys() - {"data.train"}
    assert {name: found[name] for name in untouched} == {name: DEFAULTS[name] for name in untouched}


def test_a_config_of_the_first_form_is_read_to_its_last_setting() -> None:
    written = flat(yaml.safe_load(FIRST_FORM.read_text(encoding="utf-8")))
    # Nearly none has its default, so that a setting that is passed over shows.
    assert sum(DEFAULTS.get(name, "") == value for name, value in written.items()) < 8
    assert written.items() <= printed_config("--config", FIRST_FORM).items()


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (["training.epochs=7"], "training.epochs", 7),
        (["--training.epochs=7"], "training.epochs", 7),
        (["training.epochs=7", "training.epochs=9"], "training.epochs", 9),
        (["training.head_learning_rate=1e-3"], "training.head_learning_rate", 1e-3),
        (["training.weight_decay=0"], "training.weight_decay", 0.0),
        (["data.train=[a.jsonl, b.jsonl]"], "data.train", ["a.jsonl", "b.jsonl"]),
        (["data.train=parts/*.csv"], "data.train", "parts/*.csv"),
        (["training.trackers=[tensorboard]"], "training.trackers", ["tensorboard"]),
        (["model.sentence_reach=null"], "model.sentence_reach", None),
        (["model.sentence_reach="], "model.sentence_reach", None),
        (['data.text_column="null"'], "data.text_column", "null"),
        (["data.label_separator=;"], "data.label_separator", ";"),
        (["data.text_column=a=b"], "data.text_column", "a=b"),
        (["data.text_column=2024"], "data.text_column", "2024"),
        (["training.tokens_per_forward=auto"], "training.tokens_per_forward", "auto"),
        (["training.tokens_per_forward=512"], "training.tokens_per_forward", 512),
        (["training.freeze_encoder=true"], "training.freeze_encoder", True),
        (["summary.max_sentences=3"], "summary.max_words", None),
        (["seed=2147483648"], "seed", 2**31),
    ],
)
def test_a_setting_on_the_command_line(given, name, value) -> None:
    # A list is given once.
    needed = [one for one in NEEDED if one.partition("=")[0] != name]
    found = printed_config(*needed, *given)
    assert found[name] == value and type(found[name]) is type(value)


def test_the_command_line_comes_before_the_file(tmp_path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("data: {train: a.jsonl, label_column: x}\ntraining: {epochs: 2, patience: 4}\n")
    found = printed_config(f"--config={path}", "training.epochs=6")
    assert (found["training.epochs"], found["training.patience"]) == (6, 4)


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_takes_what_it_took_and_names_it_to_whoever_writes_another(name) -> None:
    for choice in CHOICES[name]:
        assert printed_config(*NEEDED, f"{name}={choice}")[name] == choice
    error = refuse("train.py", *NEEDED, f"{name}=other", "--print-config", here=True)
    assert all(part in error for part in [name, "other", *CHOICES[name]]), error


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (["training.epochs=many"], ["training.epochs", "many", "whole number"]),
        (["training.epochs=2.5"], ["training.epochs", "2.5", "whole number"]),
        (["training.epochs=0"], ["training.epochs", "0", "1"]),
        (["training.freeze_encoder=perhaps"], ["training.freeze_encoder", "perhaps", "true"]),
        (["training.epoch=3"], ["training.epoch", "training.epochs"]),
        (["trainig.epochs=3"], ["trainig.epochs", "training.epochs"]),
        (["seed=-1"], ["seed", "-1", "0"]),
        (["seed=2147483649"], ["seed", "2147483649", "2147483648"]),
        (["data.validation_fraction=1"], ["data.validation_fraction", "1"]),
        (["model.decision_threshold=1.5"], ["model.decision_threshold", "1.5"]),
        (["model.sentence_reach=0"], ["model.sentence_reach", "0", "1"]),
        (["training.head_learning_rate=0"], ["training.head_learning_rate", "0"]),
        (["training.head_learning_rate=nan"], ["training.head_learning_rate", "nan"]),
        (["training.weight_decay=-1"], ["training.weight_decay", "-1"]),
        (["training.warmup_ratio=2"], ["training.warmup_ratio", "2"]),
        (["training.keep_checkpoints=0"], ["training.keep_checkpoints", "0", "1"]),
        (["training.trackers=[mlflow]"], ["training.trackers", "mlflow", "tensorboard", "wandb"]),
        (
            ["training.freeze_encoder=true", "training.trained_encoder_layers=1"],
            ["training.freeze_encoder", "training.trained_encoder_layers"],
        ),
        (["summary.ratio=1.5"], ["summary.ratio", "1.5"]),
        (["summary.max_words=9", "summary.ratio=0.1"], ["summary.max_words", "summary.ratio"]),
        (["summary.redundancy=2"], ["summary.redundancy", "2", "1"]),
        (["training.threshold_metric=map"], ["training.threshold_metric", "map", "macro_f1"]),
        (["data.label_column=null"], ["data.label_column", "data.summary_column"]),
        (["publish.private=true"], ["publish.private", "publish.repo"]),
        (["publish.repo=a/b/c"], ["publish.repo", "a/b/c"]),
        (["publish.repo=a/b", "publish.revision=a..b"], ["publish.revision", "a..b"]),
        (["publish.repo=a/b", "publish.license=A 2"], ["publish.license", "A 2"]),
        (["--epochs"], ["--epochs"]),
        (["--resume=yes"], ["--resume"]),
        (["my.csv"], ["my.csv"]),
        (["--config"], ["--config"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_a_mistake_names_the_setting_the_value_and_what_is_allowed(given, parts) -> None:
    error = refuse("train.py", *NEEDED, *given, here=True)
    assert all(part in error for part in parts), error


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("training:\n  epochs: many\n", ["training.epochs", "many"]),
        ("training:\n  epoch: 3\n", ["training.epoch", "training.epochs"]),
        ("training:\n  epochs: 3\n epochs: 4\n", ["line 3"]),
        ("training: 3\n", ["training", "3"]),
        ("- a\n- b\n", []),
        ("training: {epochs: 2}\ntraining: {patience: 2}\n", ["training"]),
        ("training: !!python/object/apply:os.mkdir [unpickled]\n", []),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path, monkeypatch, text, parts) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    error = refuse("train.py", "--config", tmp_path / "mine.yaml", *NEEDED, here=True)
    assert all(part in error for part in [str(tmp_path / "mine.yaml"), *parts]), error
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_settings_that_need_the_corpus_or_the_encoder_are_checked_before_a_folder_is_made(
    encoders, tmp_path
) -> None:
    settings: Settings = small_run(tmp_path, encoders["bert"])
    for given, parts in {
        "training.metric=rouge9": ["training.metric", "rouge9", "auto"],
        "training.metric=map": ["training.metric", "map"],
        "training.trained_encoder_layers=7": ["training.trained_encoder_layers", "7", "2"],
        "segmentation.max_tokens_per_segment=600": ["max_tokens_per_segment", "600", "512"],
        "model.attention_heads=5": ["attention_heads", "5"],
        "model.dropout=1.5": ["dropout", "1.5"],
        "model.encoder=nobody/nothing": ["nobody/nothing"],
        "training.trackers=[wandb]": ["wandb"],
        "training.mixed_precision=fp16": ["training.mixed_precision", "fp16", "bf16"],
    }.items():
        error = refuse("train.py", *settings(given), here=True)
        assert all(part in error for part in parts), error
        assert not (tmp_path / "run").exists()


def test_nothing_on_the_command_line_says_what_is_needed() -> None:
    done = run("train.py", here=True)
    assert done.returncode == 2 and "data.train" in done.stderr
