"""Training in process on tiny models: it learns, from whatever documents, in whatever memory."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from commands import read_jsonl, write_jsonl
from conftest import make_rows
from safetensors.torch import load_file
from small_runs import Settings, results_of
from training import error_of, weights

from hierbert import HierBert
from hierbert.cli.train import main
from hierbert.config import TrainingConfig
from hierbert.data.epoch_plan import plan_epoch, share_by_tokens
from hierbert.tasks.results import peak_memory_mib, resources
from hierbert.training import loop
from hierbert.training.loop import TrainingLoop
from hierbert.training.optimization import build_optimizer

FROZEN = "training.freeze_encoder=true"


@pytest.fixture
def quick(arguments) -> Settings:
    """Arguments of a run of an epoch that validates on a part of its documents."""
    return lambda *more: arguments("training.epochs=1", "data.validation=", "data.test=", *more)


def test_both_heads_learn_what_decides(arguments, tmp_path) -> None:
    for seed, (name, count) in enumerate({"train": 24, "validation": 8, "test": 20}.items()):
        write_jsonl(tmp_path / f"{name}.jsonl", make_rows(count, seed=seed + 1))
    more = [
        "data.summary_column=summary",
        "training.epochs=15",
        "training.head_learning_rate=3e-3",
        "training.encoder_learning_rate=5e-4",
        "summary.max_words=5",
        "summary.min_words_per_sentence=0",
        "baselines=true",
    ]
    assert main(arguments(*more)) == 0
    results = results_of(tmp_path / "run")
    systems = results["summaries"]["systems"]
    assert results["scores"]["accuracy"] >= 0.75
    assert results["majority"]["accuracy"] == 0.5
    # Random picks the deciding sentence rarely; a trained head finds it.
    assert systems["hierbert"]["rouge1"]["mean"] > systems["Random"]["rouge1"]["mean"] + 0.2
    assert systems["Oracle"]["rouge1"]["mean"] == 1.0
    lines = read_jsonl(tmp_path / "run/metrics.jsonl")
    assert lines[-1]["train.loss"] < lines[0]["train.loss"]


def test_early_stopping_keeps_the_best_weights(arguments, tmp_path, monkeypatch) -> None:
    metrics = iter([0.5, 0.9, 0.4, 0.3, 0.2, 0.1])
    monkeypatch.setattr(loop, "choose_metric", lambda *_: next(metrics))
    assert main(arguments("training.epochs=6", "training.patience=2")) == 0
    # The best in the second epoch, then two without a gain.
    results, final = results_of(tmp_path / "run"), weights(tmp_path / "run")
    assert (results["epochs"], results["best_step"]) == (4, 6)
    best = load_file(tmp_path / "run/checkpoints/best_step_00000006.safetensors")
    assert all(final[name].equal(weight) for name, weight in best.items())


def test_frozen_and_cached_equals_frozen_in_the_loop(arguments, tmp_path, monkeypatch) -> None:
    """Vectors from the cache lead to the weights that the encoder in every step would lead to."""
    run = TrainingLoop.run

    def without_vectors(self: TrainingLoop, resume: bool) -> Any:
        vectors, self._run.vectors = self._run.vectors, None
        state = run(self, resume)
        self._run.vectors = vectors
        return state

    more = [FROZEN, "data.summary_column=summary", "training.epochs=1"]
    assert main(arguments(*more)) == 0
    monkeypatch.setattr(TrainingLoop, "run", without_vectors)
    assert main(arguments(*more, f"run_dir={tmp_path / 'encoded'}")) == 0
    one, other = weights(tmp_path / "run"), weights(tmp_path / "encoded")
    assert max((one[name] - other[name]).abs().max().item() for name in one) < 1e-5


def test_a_regression_learns_numbers_far_from_zero(arguments, tmp_path) -> None:
    rows = [{**row, "label": 100.0 + 10 * (row["label"] == "law")} for row in make_rows(40, seed=1)]
    for name, own in {"train": rows, "validation": rows[:10], "test": rows[10:20]}.items():
        write_jsonl(tmp_path / f"{name}.jsonl", own)
    more = ["data.label_type=regression", "training.head_learning_rate=3e-3", "training.epochs=15"]
    assert main(arguments(FROZEN, *more)) == 0
    assert results_of(tmp_path / "run")["scores"]["r2"] > 0
    config = json.loads((tmp_path / "run/model/config.json").read_text())
    assert (config["label_mean"], config["label_scale"]) == (105.0, 5.0)


def test_the_learning_rate_rises_from_zero_to_its_peak_and_falls_to_zero(quick, tmp_path) -> None:
    more = ["training.eval_every_steps=1", "training.documents_per_batch=1"]
    corpus = write_jsonl(tmp_path / "ten.jsonl", make_rows(10))
    more += [f"data.train={corpus}", f"data.validation={corpus}", "training.warmup_ratio=0.4"]
    assert main(quick(*more, "training.head_learning_rate=0.01")) == 0
    lines = read_jsonl(tmp_path / "run/metrics.jsonl")
    # Of the step that comes next: the second of ten is the second of four that rise.
    rates = [0.004, 0.006, 0.008, 0.01, *(0.01 * left / 6 for left in (5, 4, 3, 2, 1, 0))]
    assert [line["train.learning_rate"] for line in lines] == pytest.approx(rates)


def test_only_matrices_decay_and_the_encoder_has_a_rate_of_its_own(encoders) -> None:
    model = HierBert.from_encoder(encoders["bert"], aggregator_layers=1).model
    settings = TrainingConfig(
        encoder_learning_rate=0.25, head_learning_rate=0.5, weight_decay=0.125
    )
    found = {
        weight: (group["peak"], group["weight_decay"])
        for group in build_optimizer(model, settings).param_groups
        for weight in group["params"]
    }
    assert found == {
        weight: (
            0.25 if ".segment_encoder.encoder." in name else 0.5,
            0.125 if weight.dim() == 2 else 0.0,
        )
        for name, weight in model.named_parameters()
    }
    assert len(set(found.values())) == 4


def test_what_is_trained_further_is_not_calibrated_any_more(quick, tmp_path) -> None:
    assert main(quick("training.calibrate=true")) == 0
    start, further = tmp_path / "run/model", tmp_path / "further"
    more = [f"model.start_from={start}", f"run_dir={further}", "training.calibrate=false"]
    assert main(quick(*more)) == 0
    configs = [json.loads((at / "config.json").read_text()) for at in (start, further / "model")]
    assert configs[0]["temperature"] != 1.0 == configs[1].get("temperature", 1.0)


def test_numbers_in_csv_are_split_without_regard_to_their_values(quick, tmp_path) -> None:
    corpus = tmp_path / "numbers.csv"
    rows = [f'"{row["text"]}",{n / 4}' for n, row in enumerate(make_rows(8))]
    corpus.write_text("\n".join(["text,label", *rows]) + "\n")
    assert main(quick("data.label_type=regression", f"data.train={corpus}")) == 0
    results = results_of(tmp_path / "run")
    assert results["lengths"]["train"]["documents"] == 7 and "mse" in results["scores"]


def test_a_few_documents_are_enough_and_their_end_is_evaluated(quick, tmp_path) -> None:
    corpus = write_jsonl(tmp_path / "few.jsonl", make_rows(3))
    more = ["training.documents_per_batch=100", "training.eval_every_steps=1000"]
    assert main(quick(*more, "data.summary_column=summary", f"data.train={corpus}")) == 0
    (line,) = read_jsonl(tmp_path / "run/metrics.jsonl")
    assert line["epoch"] == 1 and line["best"]


def test_documents_without_anything_to_learn_from_train(quick, tmp_path) -> None:
    # Neither has anything to learn from: no sentence, no summary.
    rows = [{"text": "", "summary": "The cat."}, {"text": "A dog.", "summary": None}]
    only = write_jsonl(tmp_path / "one.jsonl", rows)
    more = [f"data.validation={tmp_path / 'train.jsonl'}", "data.label_column=null"]
    assert main(quick(*more, f"data.train={only}", "data.summary_column=summary")) == 0
    assert read_jsonl(tmp_path / "run/metrics.jsonl")[0]["train.loss"] == 0.0


def test_a_cache_that_cannot_be_written(quick, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    cache = f"training.cache_dir={tmp_path}/file/cache"
    error = error_of(capsys, quick(cache, FROZEN))
    assert "Not a directory" in error and "training.cache_dir" in error
    assert not (tmp_path / "run").exists()
    # Without vectors the cache only saves time.
    assert main(quick(cache, "data.summary_column=summary")) == 0


def test_a_plan_holds_every_document_once_and_no_process_decides_what_is_in_a_step() -> None:
    sizes = [10 * (number % 7) + 1 for number in range(45)]

    def made(processes: int, accumulation: int, epoch: int = 1) -> Any:
        shared = {"processes": processes, "accumulation_steps": accumulation, "epoch": epoch}
        return plan_epoch(sizes, documents_per_batch=8, seed=3, group_by_length=True, **shared)

    alone = [step[0][0] for step in made(1, 1)]
    assert sorted(index for step in alone for index in step) == list(range(45))
    assert made(1, 1) == made(1, 1) != made(1, 1, epoch=2)
    for processes, accumulation in itertools.product((1, 2, 3), (1, 3)):
        plan = made(processes, accumulation)
        together = [[index for share in step for part in share for index in part] for step in plan]
        assert list(map(sorted, together)) == list(map(sorted, alone))
        assert {len(step) for step in plan} == {processes}


def test_documents_are_shared_out_by_tokens() -> None:
    shares = share_by_tokens(range(5), [100, 10, 20, 30, 40], 2)
    assert shares == [[0], [1, 2, 3, 4]]
    # The longest come first, wherever they stand.
    assert share_by_tokens(range(5), [10, 20, 30, 40, 100], 2) == [[4], [0, 1, 2, 3]]
    assert share_by_tokens([2], [1, 1, 1], 2) == [[2], []]


def test_rates_come_from_tokens_and_seconds() -> None:
    found = resources(
        {"encoding": (3000, 1.5), "scoring": (0, 2.0)}, torch.device("cpu"), Accelerator()
    )
    assert found["encoding_tokens_per_second"] == 2000.0
    assert found["scoring_tokens_per_second"] is None  # nothing was read: no rate, not 0
    assert found["processes"] == 1
    assert found["device"]
    assert ("peak_device_memory_mib" in found) == torch.cuda.is_available()


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells it twice")
def test_the_peak_is_what_the_system_says() -> None:
    peak_kib = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
    assert peak_memory_mib() == pytest.approx(peak_kib / 1024, rel=0.05)
