"""Settings do what they say: what changes a model, what only saves time, memory or room."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import read_jsonl, refuse, run, succeed, write_jsonl
from conftest import make_rows
from safetensors.torch import load_file
from small_runs import Settings, at_step, bits_of, results_of, signal_at_step, small_run

FROZEN = "training.freeze_encoder=true"
CHANGES = [
    "seed=1",
    "model.pooling=cls",
    "model.aggregator_layers=2",
    "model.sentence_layers=0",
    "model.sentence_reach=1",
    "model.attention_heads=4",
    "model.dropout=0.3",
    "segmentation.max_tokens_per_segment=24",
    "segmentation.overlap_sentences=1",
    "segmentation.max_segments=1",
    "training.epochs=2",
    "training.documents_per_batch=3",
    FROZEN,
    "training.trained_encoder_layers=1",
    "training.encoder_learning_rate=2e-3",
    "training.head_learning_rate=2e-2",
    "training.weight_decay=0.5",
    "training.warmup_ratio=0.9",
    "training.max_gradient_norm=0.01",
    "training.group_by_length=false",
    "training.classification_loss_weight=3",
    "training.summarization_loss_weight=3",
    "training.listwise_loss_weight=0",
    "training.sentence_labels=oracle",
    "training.label_smoothing=0.2",
    "training.class_weights=balanced",
]


@pytest.fixture(scope="module")
def short(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Arguments of a run of 2 steps with both heads."""
    folder = tmp_path_factory.mktemp("short")
    settings = small_run(folder, encoders["bert"])
    write_jsonl(folder / "train.jsonl", make_rows(7, seed=1))
    write_jsonl(folder / "validation.jsonl", make_rows(2, seed=2))
    more = ["training.epochs=1", "data.summary_column=summary", "data.test="]
    return lambda *changed: settings(*more, *changed)


@pytest.fixture(scope="module")
def plain(short: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bits of that run's model."""
    folder = tmp_path_factory.mktemp("plain")
    succeed("train.py", *short(f"run_dir={folder}"), here=True)
    return bits_of(folder)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_of_learning_changes_the_model(short, plain, tmp_path, change) -> None:
    succeed("train.py", *short(change, f"run_dir={tmp_path / 'run'}"), here=True)
    assert bits_of(tmp_path / "run") != plain


def test_gradient_accumulation_of_the_environment_changes_nothing(short, plain, tmp_path) -> None:
    """Batches are split by a setting; Accelerate's variable would shrink the gradients too."""
    asked = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}
    succeed("train.py", *short(f"run_dir={tmp_path / 'run'}"), here=True, **asked)
    assert bits_of(tmp_path / "run") == plain


@pytest.fixture
def steady(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a run without dropout and with small rates, which rounding does not move far."""
    encoder = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], encoder)
    config = json.loads((encoder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (encoder / "config.json").write_text(json.dumps(config))
    settings = small_run(tmp_path, encoder)
    rates = [f"training.{name}_learning_rate=1e-4" for name in ("head", "encoder")]
    both = ["model.dropout=0", "data.summary_column=summary", "training.epochs=1", *rates]
    return lambda *changed: settings(*both, *changed)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def distance(first: Path, second: Path) -> float:
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    return max((one[name] - two[name]).abs().max().item() for name in one)


@pytest.mark.slow
def test_what_saves_memory_changes_nothing_but_rounding(steady, tmp_path) -> None:
    for name, more in {
        "plain": [],
        "accumulated": ["training.accumulation_steps=3"],
        "recomputed": ["training.memory=recompute", "training.tokens_per_forward=64"],
        "kept": ["training.memory=keep"],
    }.items():
        succeed("train.py", *steady(*more, f"run_dir={tmp_path / name}"), here=True)
    for name in ("accumulated", "recomputed", "kept"):
        assert distance(tmp_path / "plain", tmp_path / name) < 1e-5, name


@pytest.mark.slow
def test_a_cache_at_its_limit_or_in_float16_trains_too(steady, tmp_path) -> None:
    sizes = {}
    for name, more in {
        "plain": [],
        "full": ["training.cache_limit_gib=0.00001"],
        "half": ["training.cache_dtype=float16"],
    }.items():
        cache = tmp_path / "caches" / name
        more += [FROZEN, f"training.cache_dir={cache}", f"run_dir={tmp_path / name}"]
        succeed("train.py", *steady(*more), here=True)
        sizes[name] = sum(path.stat().st_size for path in cache.rglob("*.safetensors"))
    assert distance(tmp_path / "plain", tmp_path / "full") < 1e-5
    assert 0 < distance(tmp_path / "plain", tmp_path / "half") < 1e-2
    assert sizes["full"] <= 0.00001 * 2**30 < sizes["plain"]
    assert 0.4 < sizes["half"] / sizes["plain"] < 0.7


def test_a_frozen_encoder_is_what_it_was(steady, encoders, tmp_path) -> None:
    succeed("train.py", *steady(FROZEN), here=True)
    after = weights(tmp_path / "run")
    before = load_file(encoders["bert"] / "model.safetensors")
    kept = [
        after[name].equal(value)
        for key, value in before.items()
        for name in after
        if name.endswith(f".{key}") and "segment_encoder" in name
    ]
    assert len(kept) > 20 and all(kept)


def test_steps_that_are_not_finite_are_left_out_counted_and_end_without_a_model(
    steady, tmp_path
) -> None:
    rates = [f"training.{name}_learning_rate=1e30" for name in ("head", "encoder")]
    more = [*rates, "training.warmup_ratio=0", "training.on_nonfinite_loss=skip"]
    error = refuse("train.py", *steady(*more), here=True)
    assert "finite" in error and not (tmp_path / "run" / "model").exists()
    (line,) = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert line["train.nonfinite_steps"] == 2
    assert line["validation.loss"] is None and line["best"] is False


def test_a_second_interrupt_stops_at_once(steady, tmp_path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("still there")

    with at_step(2, twice):
        done = run("train.py", *steady(), here=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert not list((tmp_path / "run" / "checkpoints").glob("step_*"))


def test_the_threshold_and_the_length_of_summaries_travel_with_the_model(steady, tmp_path) -> None:
    for name in ("train", "validation", "test"):
        rows: list[dict[str, Any]] = read_jsonl(tmp_path / f"{name}.jsonl")
        write_jsonl(tmp_path / f"{name}.jsonl", [{**row, "label": [row["label"]]} for row in rows])
    more = ["model.decision_threshold=0", "summary.max_sentences=1"]
    succeed("train.py", *steady(*more), here=True)
    asked = ["--model", tmp_path / "run/model", "--input", tmp_path / "test.jsonl"]
    succeed("infer.py", *asked, "--output", tmp_path / "answers.jsonl", here=True)
    for row in read_jsonl(tmp_path / "answers.jsonl"):
        assert sorted(row["labels"]) == ["film", "law"] and len(row["sentences"]) == 1
    results = results_of(tmp_path / "run")
    assert "thresholds" not in results["calibration"]  # what is given is not tuned
    assert results["budget"] == {"name": "max_sentences", "limit": 1}
    for row in results["per_label"]["labels"]:
        assert row["predicted"] == results["documents"]


def test_calibration_changes_probabilities_and_no_label(steady, tmp_path) -> None:
    answers = {}
    for name in ("false", "true"):
        more = [f"training.calibrate={name}", f"run_dir={tmp_path / name}"]
        succeed("train.py", *steady(*more), here=True)
        asked = ["--model", tmp_path / name / "model", "--input", tmp_path / "test.jsonl"]
        succeed("infer.py", *asked, "--output", tmp_path / f"{name}.jsonl", here=True)
        answers[name] = read_jsonl(tmp_path / f"{name}.jsonl")
    for before, after in zip(answers["false"], answers["true"], strict=True):
        assert before["label"] == after["label"]
        assert before["probabilities"] != after["probabilities"]
    assert bits_of(tmp_path / "false") == bits_of(tmp_path / "true")


def test_no_more_checkpoints_are_kept_than_asked_for(steady, tmp_path) -> None:
    more = ["training.keep_checkpoints=1", "training.checkpoint_every_steps=1"]
    with signal_at_step(2, signal.SIGTERM):
        assert run("train.py", *steady(*more), here=True).returncode == 143
    # A signal that comes late in a step is seen in the next.
    (kept,) = (tmp_path / "run" / "checkpoints").glob("step_*")
    assert kept.name in ("step_00000002", "step_00000003")
