"""Training in process on tiny models: it learns, from whatever documents, in whatever memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import read_jsonl, write_jsonl
from conftest import make_rows
from small_runs import Settings, small_run
from training import error_of, train, weights

from hierbert import HierBertPredictor
from hierbert.cli.train import main
from hierbert.config import RunConfig
from hierbert.data.epoch_plan import fill_batches, plan_epoch, share_by_tokens
from hierbert.settings import load_config
from hierbert.training import loop
from hierbert.training.loop import TrainingLoop
from hierbert.vectors.cache import VectorCache


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Rows whose label and summary a sentence decides."""
    folder = tmp_path_factory.mktemp("corpus")
    return {
        "train": write_jsonl(folder / "train.jsonl", make_rows(24, seed=1)),
        "validation": write_jsonl(folder / "validation.jsonl", make_rows(8, seed=2)),
        "test": write_jsonl(folder / "test.jsonl", make_rows(20, seed=3)),
    }


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a run of an epoch that validates on a part of its documents; to `run`."""
    build = small_run(tmp_path, encoders["bert"])
    return lambda *more: build("training.epochs=1", "data.validation=", "data.test=", *more)


def configure(corpus: dict[str, Path], encoder: Path, run_dir: Path, *overrides: str) -> RunConfig:
    return load_config(
        RunConfig,
        None,
        [
            *(f"data.{split}={path}" for split, path in corpus.items()),
            "data.label_column=label",
            "data.summary_column=summary",
            f"model.encoder={encoder}",
            f"run_dir={run_dir}",
            "segmentation.max_tokens_per_segment=32",
            "training.documents_per_batch=4",
            "training.epochs=2",
            "summary.max_words=5",
            "summary.min_words_per_sentence=0",
            "model.aggregator_layers=1",
            *overrides,
        ],
    )


def largest_difference(first: Path, second: Path) -> float:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("freeze", ["true", "false"])
def test_both_heads_learn_what_decides(corpus, encoders, tmp_path, capsys, freeze) -> None:
    config = configure(
        corpus,
        encoders["bert"],
        tmp_path / "run",
        f"training.freeze_encoder={freeze}",
        "training.epochs=15",
        "training.head_learning_rate=3e-3",
        "training.encoder_learning_rate=5e-4",
    )
    results = train(config)
    systems = results["summaries"]["systems"]
    assert results["scores"]["accuracy"] >= 0.75
    assert results["majority"]["accuracy"] == 0.5
    # Random picks the deciding sentence rarely; a trained head finds it.
    assert systems["hierbert"]["rouge1"]["mean"] > systems["Random"]["rouge1"]["mean"] + 0.2
    assert systems["Oracle"]["rouge1"]["mean"] == 1.0
    printed = capsys.readouterr().out
    assert "LexRank" in printed and "Majority class" in printed
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.resolved.yaml",
        "documents.jsonl",
        "metrics.jsonl",
        "checkpoints",
        "model",
        "results.json",
        *([] if freeze == "true" else ["probed.json"]),
    }
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert lines[-1]["train.loss"] < lines[0]["train.loss"]
    saved = json.loads((tmp_path / "run/results.json").read_text())
    assert saved["scores"] == results["scores"]
    # What was saved is what was scored.
    predictor = HierBertPredictor.from_pretrained(str(tmp_path / "run/model"), device="cpu")
    rows = [json.loads(line) for line in corpus["test"].open()]
    predictions = predictor.classify([row["text"] for row in rows])
    right = sum(p.label == row["label"] for p, row in zip(predictions, rows, strict=True))
    assert right / len(rows) == results["scores"]["accuracy"]


def test_accumulation_and_recomputation_change_nothing(corpus, encoders, tmp_path) -> None:
    common = ["model.dropout=0", "training.epochs=1", "baselines=false"]
    config = load_config(RunConfig, None, [f"data.train={corpus['train']}", "data.label_column=x"])
    assert config.training.accumulation_steps == 1
    for name, extra in {
        "plain": [],
        "accumulated": ["training.accumulation_steps=3"],
        "recomputed": ["training.memory=recompute", "training.tokens_per_forward=64"],
    }.items():
        train(
            configure(
                corpus, _no_dropout(encoders["bert"], tmp_path), tmp_path / name, *common, *extra
            )
        )
    assert largest_difference(tmp_path / "plain", tmp_path / "accumulated") < 1e-5
    assert largest_difference(tmp_path / "plain", tmp_path / "recomputed") < 1e-5


def _no_dropout(encoder: Path, folder: Path) -> Path:
    """A copy of an encoder without dropout."""
    import shutil

    target = folder / "encoder"
    shutil.copytree(encoder, target, dirs_exist_ok=True)
    config = json.loads((target / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_early_stopping_keeps_the_best_weights(corpus, encoders, tmp_path, monkeypatch) -> None:
    metrics = iter([0.5, 0.9, 0.4, 0.3, 0.2, 0.1])
    kept: list[dict[str, torch.Tensor]] = []

    def scripted(*_: object) -> float:
        return next(metrics)

    save = loop.save_best
    monkeypatch.setattr("hierbert.training.nonfinite.choose_metric", scripted)
    monkeypatch.setattr(
        "hierbert.training.loop.save_best",
        lambda folder, model, *rest: (
            kept.append({n: w.detach().clone() for n, w in model.named_parameters()}),
            save(folder, model, *rest),
        ),
    )
    config = configure(
        corpus, encoders["bert"], tmp_path / "run", "training.epochs=6", "training.patience=2"
    )
    results = train(config)
    assert results["epochs"] == 4  # the best in the second, then two without a gain
    final = weights(tmp_path / "run")
    assert all(final[name].equal(weight) for name, weight in kept[-1].items())
    assert len(kept) == 2


def test_a_cache_at_its_limit_or_in_float16_trains_too(corpus, encoders, tmp_path, capsys) -> None:
    common = ["training.freeze_encoder=true", "training.epochs=1", "baselines=false"]
    for name, extra in {
        "plain": [],
        "full": ["training.cache_limit_gib=0.00001"],
        "half": ["training.cache_dtype=float16"],
    }.items():
        cache = f"training.cache_dir={tmp_path / 'caches' / name}"
        train(configure(corpus, encoders["bert"], tmp_path / name, *common, cache, *extra))
        said = capsys.readouterr().err
        assert " MiB in " in said and " MiB of at most " in said
        assert ("cache_limit_gib=1e-05, and what is left" in said) == (name == "full")
        assert ("documents are not kept and are encoded in every epoch" in said) == (name == "full")
    # The numbers of the same documents, encoded beside others, differ by rounding.
    assert largest_difference(tmp_path / "plain", tmp_path / "full") < 1e-5
    assert 0 < largest_difference(tmp_path / "plain", tmp_path / "half") < 1e-3
    sizes = {
        name: sum(file.stat().st_size for file in (tmp_path / "caches" / name).glob("vectors-*/*"))
        for name in ("plain", "full", "half")
    }
    assert sizes["full"] < 11_000
    assert 0.4 < sizes["half"] / sizes["plain"] < 0.7


def test_frozen_and_cached_equals_frozen_in_the_loop(corpus, encoders, tmp_path) -> None:
    """Vectors from the cache lead to the weights that the encoder in every step would lead to."""
    common = ["training.freeze_encoder=true", "training.epochs=1", "baselines=false"]
    train(configure(corpus, encoders["bert"], tmp_path / "cached", *common))
    original = TrainingLoop.run

    def without_vectors(self: TrainingLoop, resume: bool):
        self.vectors = None
        return original(self, resume)

    TrainingLoop.run = without_vectors
    try:
        train(configure(corpus, encoders["bert"], tmp_path / "encoded", *common))
    finally:
        TrainingLoop.run = original
    assert largest_difference(tmp_path / "cached", tmp_path / "encoded") < 1e-5


def test_a_regression_learns_numbers_far_from_zero(encoders, tmp_path) -> None:
    rows = make_rows(40, seed=1)
    for row in rows:
        row["label"] = 110.0 if row["label"] == "law" else 100.0
    config = configure(
        {
            "train": write_jsonl(tmp_path / "train.jsonl", rows),
            "validation": write_jsonl(tmp_path / "validation.jsonl", rows[:10]),
            "test": write_jsonl(tmp_path / "test.jsonl", rows[10:20]),
        },
        encoders["bert"],
        tmp_path / "run",
        "data.summary_column=null",
        "data.label_type=regression",
        "training.freeze_encoder=true",
        "training.head_learning_rate=3e-3",
        "training.epochs=15",
    )
    results = train(config)
    assert results["scores"]["r2"] > 0
    predictor = HierBertPredictor.from_pretrained(str(tmp_path / "run/model"), device="cpu")
    assert predictor.model.config.label_mean == 105.0
    assert predictor.model.config.label_scale == 5.0
    for prediction in predictor.classify([row["text"] for row in rows[10:20]]):
        assert 90 < prediction.label < 120


def test_the_end_is_evaluated_whatever_the_rhythm(arguments, tmp_path) -> None:
    assert main(arguments("training.eval_every_steps=1000")) == 0
    (line,) = read_jsonl(tmp_path / "run/metrics.jsonl")
    assert line["epoch"] == 1 and line["best"]


def test_numbers_in_csv_are_split_without_regard_to_their_values(arguments, tmp_path) -> None:
    corpus = tmp_path / "numbers.csv"
    rows = [f'"{row["text"]}",{n / 4}' for n, row in enumerate(make_rows(8))]
    corpus.write_text("\n".join(["text,label", *rows]) + "\n")
    assert main(arguments("data.label_type=regression", f"data.train={corpus}")) == 0
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["lengths"]["train"]["documents"] == 7 and "mse" in results["scores"]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_a_few_documents_are_enough(arguments, tmp_path, count) -> None:
    corpus = write_jsonl(tmp_path / "few.jsonl", make_rows(count))
    more = ["training.documents_per_batch=100", "data.summary_column=summary"]
    assert main(arguments(*more, f"data.train={corpus}")) == 0


def test_documents_without_anything_to_learn_from_train(arguments, tmp_path) -> None:
    # Neither has anything to learn from: no sentence, no summary.
    rows = [{"text": "", "summary": "The cat."}, {"text": "A dog.", "summary": None}]
    only = write_jsonl(tmp_path / "one.jsonl", rows)
    more = [f"data.validation={tmp_path / 'train.jsonl'}", "data.label_column=null"]
    assert main(arguments(*more, f"data.train={only}", "data.summary_column=summary")) == 0
    line = read_jsonl(tmp_path / "run/metrics.jsonl")[0]
    assert line["train.loss"] == 0.0


def test_runs_that_share_a_cache_do_not_disturb_each_other(
    arguments, tmp_path, monkeypatch
) -> None:
    """A second run fills the same cache while the first is in the middle of filling it."""
    cache = f"training.cache_dir={tmp_path / 'cache'}"
    common = arguments(cache, "training.freeze_encoder=true")
    write = VectorCache._write
    inner: list[int] = []

    def nested(self: VectorCache) -> Any:
        if not inner:
            inner.append(0)
            inner[0] = main([*common, f"run_dir={tmp_path / 'second'}"])
        return write(self)

    monkeypatch.setattr(VectorCache, "_write", nested)
    assert main(common) == 0 and inner == [0]
    first, second = weights(tmp_path / "run"), weights(tmp_path / "second")
    assert all(first[key].equal(second[key]) for key in first)


def test_a_cache_that_cannot_be_written(arguments, tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    cache = f"training.cache_dir={tmp_path}/file/cache"
    error = error_of(capsys, arguments(cache, "training.freeze_encoder=true"))
    assert "Not a directory" in error and "training.cache_dir" in error
    assert not (tmp_path / "run").exists()
    # Without vectors the cache only saves time.
    assert main(arguments(cache, "data.summary_column=summary")) == 0


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_plan_holds_every_document_once_and_no_process_decides_what_is_in_a_step(
    processes, accumulation
) -> None:
    sizes = [10 * (number % 7) + 1 for number in range(45)]
    common = {"documents_per_batch": 8, "seed": 3, "epoch": 1, "group_by_length": True}
    plan = plan_epoch(sizes, processes=processes, accumulation_steps=accumulation, **common)
    alone = plan_epoch(sizes, processes=1, accumulation_steps=1, **common)
    flat = [sorted(i for shares in step for share in shares for i in share) for step in plan]
    assert flat == [sorted(step[0][0]) for step in alone]
    assert sorted(index for step in flat for index in step) == list(range(45))
    assert plan == plan_epoch(sizes, processes=processes, accumulation_steps=accumulation, **common)
    other = plan_epoch(
        sizes, processes=processes, accumulation_steps=accumulation, **{**common, "epoch": 2}
    )
    assert other != plan


def test_documents_are_shared_out_by_tokens() -> None:
    shares = share_by_tokens(range(5), [100, 10, 20, 30, 40], 2)
    assert shares == [[0], [1, 2, 3, 4]]
    assert share_by_tokens([2], [1, 1, 1], 2) == [[2], []]
    assert fill_batches([5, 5, 20, 1], 10) == [[0, 1], [2], [3]]
