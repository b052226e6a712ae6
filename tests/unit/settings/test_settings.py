"""Settings of a run that decide what is trained, which checkpoint is best, and what is refused."""

import csv
import hashlib
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import GradientState
from commands import write_jsonl
from conftest import make_rows
from training import train

from hierbert.cli.train import inference_command
from hierbert.config import RunConfig, TrainingConfig
from hierbert.data.document import Example
from hierbert.errors import ConfigError, ModelError, RunError
from hierbert.loading import encoders as encoder_names
from hierbert.loading.encoders import resolve_encoder
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.scoring import METRICS
from hierbert.settings import load_config
from hierbert.tasks.classification import Classification
from hierbert.tasks.evaluation import Answer, choose_metric
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.summarization import Summarization
from hierbert.tasks.task import Task
from hierbert.training.corpora import load_corpora
from hierbert.training.loop import TrainingLoop
from hierbert.training.results import sample_answer
from hierbert.vectors import cache as vector_cache

NUMBERS = Classification(LabelMap([], "regression"))
LABELS = Classification(LabelMap(["a", "b", "c"], "multi_label"))


def load(*overrides: str) -> RunConfig:
    return load_config(RunConfig, None, ["data.train=t", "data.label_column=label", *overrides])


@pytest.fixture
def small(encoders: dict[str, Path], tmp_path: Path) -> list[str]:
    """Settings of a run that takes a second."""
    return [
        f"data.train={write_jsonl(tmp_path / 'train.jsonl', make_rows(8, seed=1))}",
        "data.label_column=label",
        f"model.encoder={encoders['bert']}",
        f"run_dir={tmp_path / 'run'}",
        "model.aggregator_layers=1",
        "segmentation.max_tokens_per_segment=32",
        "training.documents_per_batch=4",
        "training.epochs=1",
        "baselines=false",
    ]


def start(small: list[str], *overrides: str) -> None:
    train(load_config(RunConfig, None, [*small, *overrides]))


@pytest.mark.parametrize("label_type", ["multi_label", "auto"])
def test_label_lists_in_csv_are_split_like_documents_without_labels(tmp_path, label_type) -> None:
    path = tmp_path / "lists.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        # Each combination occurs once: as classes, none could be spared for validation.
        csv.writer(file).writerows([("text", "label"), *((f"T {n}.", f"x;{n}") for n in range(8))])
    config = load(f"data.train={path}", "data.label_separator=;", f"data.label_type={label_type}")
    config.data.validation_fraction = 0.25
    splits, _ = load_corpora(config)
    assert [len(splits[name]) for name in ("train", "validation")] == [6, 2]


def test_accumulation_of_the_environment_does_not_shrink_gradients(small, monkeypatch) -> None:
    seen: list[Accelerator] = []

    def stop(self: TrainingLoop, resume: bool = False) -> None:
        seen.append(self.accelerator)
        raise RunError("stopped")

    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setattr(TrainingLoop, "run", stop)
    GradientState._reset_state()
    with pytest.raises(RunError, match="stopped"):
        start(small)
    assert seen[0].gradient_accumulation_steps == 1
    weight = torch.ones(1, requires_grad=True)
    seen[0].backward(3 * weight.sum())
    assert weight.grad is not None and weight.grad.item() == 3
    GradientState._reset_state()


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([Classification(LabelMap(["a", "b"], "single_label"))], 0.4),
        ([LABELS], 0.6),
        ([LABELS, Summarization()], (0.6 + 0.2) / 2),
        ([NUMBERS], -50.0),
        ([NUMBERS, Summarization()], (0.8 + 0.2) / 2),
        ([Summarization()], 0.2),
    ],
)
def test_the_metric_that_auto_takes(tasks, expected) -> None:
    figures = {"macro_f1": 0.4, "map": 0.6, "mse": 50.0, "r2": 0.8, "rouge1": 0.2, "loss": 1.0}
    assert choose_metric("auto", figures, tasks) == pytest.approx(expected)


def test_the_help_names_exactly_the_metrics_there_are() -> None:
    (metric,) = (field for field in fields(TrainingConfig) if field.name == "metric")
    text = str(metric.metadata["help"])
    listed = re.split(r", | or ", text.partition("checkpoint: ")[2].partition(";")[0])
    assert set(listed) == {*METRICS, "loss"}
    assert len(listed) == len(set(listed))


def test_of_equal_metrics_the_lower_loss_is_best_and_patience_goes_on(small, monkeypatch) -> None:
    figures = iter([(0.5, 3.0), (0.5, 2.0), (0.5, 2.5), (0.4, 1.0)])

    def scripted(*_: object) -> dict[str, float]:
        return dict(zip(("accuracy", "loss"), next(figures, (0.0, 9.0)), strict=True))

    monkeypatch.setattr("hierbert.training.loop.score_answers", scripted)
    states = []
    original = TrainingLoop.run

    def kept(self: TrainingLoop, resume: bool):
        states.append(original(self, resume))
        return states[-1]

    monkeypatch.setattr(TrainingLoop, "run", kept)
    start(small, "training.metric=accuracy", "training.epochs=9", "training.patience=3")
    # 7 documents in batches of 4: two steps an epoch; the second evaluation is the best.
    assert (states[0].best_step, states[0].best_metric, states[0].best_scores["loss"]) == (
        4,
        0.5,
        2.0,
    )
    assert states[0].epoch == 4


def sample(identity: str, *tasks: Task, threshold: float = 0.5) -> str:
    """What is shown of a document whose probabilities are 0.3, 0.5 and 0.7."""
    segmented: Any = None
    document = PreparedDocument(identity, segmented, {"classification": None})
    answer = Answer(0, {"classification": [-0.8473, 0.0, 0.8473]}, {})
    return sample_answer(
        document, answer, tasks, "test", HierBertConfig(decision_threshold=threshold)
    )


def test_the_sample_shows_labels_from_the_threshold_on() -> None:
    assert sample("d", LABELS).endswith("labels: b (0.50), c (0.70)")
    assert sample("d", LABELS, threshold=0.6).endswith("labels: c (0.70)")


def test_the_sample_commands_no_terminal() -> None:
    assert sample("a\x1b[2Jb\nc") == "One test document: a\\x1b[2Jb\\nc"


def test_a_revision_is_one_of_the_hub(encoders, monkeypatch) -> None:
    with pytest.raises(ConfigError, match=r"model\.encoder_revision=v1 is for encoders of the Hub"):
        resolve_encoder(str(encoders["bert"]), "v1")
    name = next(iter(encoder_names.PACKAGED_ENCODERS))

    def looked_up(package: str) -> None:
        raise AssertionError("the package has no revisions")

    with monkeypatch.context() as patch:
        patch.setattr(encoder_names.importlib.util, "find_spec", looked_up)
        assert resolve_encoder(name, "v1") == name
    assert "without model.encoder_revision" in encoder_names.encoder_hint(name, "v1")


def test_a_package_brings_the_weights_that_are_expected_of_it(tmp_path, monkeypatch) -> None:
    package = tmp_path / "weights_of_ours"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = hashlib.sha256(b"weights").hexdigest()
    ours = encoder_names.PackagedEncoder("weights_of_ours", "weights==1", "model", digest)
    missing = encoder_names.PackagedEncoder("weights_of_nobody", "nobody==1", "model", digest)
    packaged = {"user/ours": ours, "user/missing": missing}
    monkeypatch.setattr(encoder_names, "PACKAGED_ENCODERS", packaged)
    assert resolve_encoder("user/ours") == str(package / "model")
    for name in ("user/missing", "user/x"):
        assert resolve_encoder(name) == name
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=f"expected {digest}"):
        resolve_encoder("user/ours")


@pytest.mark.parametrize("name", [r"C:\models\bert", "D:/models", r"models\bert", "./b", "~/b"])
def test_a_path_that_is_not_there_is_no_hub_id(name) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        resolve_encoder(name)


def test_a_cache_that_is_not_shared_is_told(small, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path / "of_its_own"))

    def gather(values: list) -> list:
        files = bool(values) and str(values[0]).endswith(".safetensors")
        return [*values, "of_another_process.safetensors"] if files else values

    monkeypatch.setattr(vector_cache, "gather_object", gather)
    with pytest.raises(RunError, match=r"training\.cache_dir must be on storage that all machines"):
        start(small, "training.freeze_encoder=true")


def test_the_last_command_fits_how_training_was_started(tmp_path) -> None:
    model = tmp_path / "run" / "model"
    run = f"run_dir={tmp_path / 'run'}"
    path = write_jsonl(tmp_path / "my test.jsonl", make_rows(1))
    command = inference_command(load(run), "train.py")
    assert command == f"python infer.py --model {model} --input docs.jsonl --output answers.jsonl"
    asked = load(run, f"data.test={path}", "data.text_column=body")
    answers = f'--model {model} --input "{path}" --text-column body --output answers.jsonl'
    assert inference_command(asked, "hierbert train") == f"hierbert infer {answers}"
    assert inference_command(asked, "hierbert-train") == f"hierbert-infer {answers}"
    several = load(f"data.test=[{tmp_path / '*.jsonl'}, {tmp_path}]")
    assert "--input docs.jsonl" in inference_command(several, "train.py")


def test_examples_of_one_label_are_still_split_by_label(tmp_path) -> None:
    rows = [{"text": f"T {n}.", "label": "rare" if n == 5 else "often"} for n in range(6)]
    config = load(f"data.train={write_jsonl(tmp_path / 'rare.jsonl', rows)}")
    for config.seed in range(5):
        train_split: list[Example] = load_corpora(config)[0]["train"]
        assert any(example.fields["label"] == "rare" for example in train_split)
