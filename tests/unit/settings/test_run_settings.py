"""What settings of a run come to: which split, which checkpoint is best, what is told."""

from pathlib import Path
from typing import Any

import pytest
from commands import write_jsonl
from conftest import make_rows
from training import train

from hierbert.cli.train import inference_command
from hierbert.config import RunConfig
from hierbert.errors import RunError
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.settings import load_config
from hierbert.tasks.classification import Classification
from hierbert.tasks.evaluation import Answer, choose_metric
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.summarization import Summarization
from hierbert.training.loop import TrainingLoop
from hierbert.training.results import sample_answer
from hierbert.training.run import load_corpora
from hierbert.vectors import cache as vector_cache

NUMBERS = Classification.of(LabelMap([], "regression"))
LABELS = Classification.of(LabelMap(["a", "b", "c"], "multi_label"))


def load(*overrides: str) -> RunConfig:
    train = [] if any(one.startswith("data.train=") for one in overrides) else ["data.train=t"]
    return load_config(RunConfig, None, [*train, "data.label_column=label", *overrides])


@pytest.fixture
def small(encoders: dict[str, Path], tmp_path: Path) -> list[str]:
    """Settings of a run that takes a second."""
    return [
        f"data.train={write_jsonl(tmp_path / 'train.jsonl', make_rows(8, seed=1))}",
        f"model.encoder={encoders['bert']}",
        f"run_dir={tmp_path / 'run'}",
        "model.aggregator_layers=1",
        "segmentation.max_tokens_per_segment=32",
        "training.documents_per_batch=4",
        "baselines=false",
    ]


def test_documents_are_split_by_label_but_for_lists_of_labels(tmp_path) -> None:
    rows = [{"text": f"T {n}.", "label": "rare" if n == 5 else "often"} for n in range(6)]
    config = load(f"data.train={write_jsonl(tmp_path / 'rare.jsonl', rows)}")
    for config.seed in range(5):
        train_split = load_corpora(config)[0]["train"]
        assert any(example.fields["label"] == "rare" for example in train_split)
    # Each combination occurs once: as classes, none could be spared for validation.
    path = tmp_path / "lists.csv"
    path.write_text("text,label\n" + "".join(f"T {n}.,x;{n}\n" for n in range(8)))
    for label_type in ("multi_label", "auto"):
        more = ["data.label_separator=;", f"data.label_type={label_type}"]
        config = load(f"data.train={path}", *more, "data.validation_fraction=0.25")
        splits, _ = load_corpora(config)
        assert [len(splits[name]) for name in ("train", "validation")] == [6, 2]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([Classification.of(LabelMap(["a", "b"], "single_label"))], 0.4),
        ([LABELS, Summarization()], (0.6 + 0.2) / 2),
        ([NUMBERS], -50.0),
        ([NUMBERS, Summarization()], (0.8 + 0.2) / 2),
        ([Summarization()], 0.2),
    ],
)
def test_the_metric_that_auto_takes(tasks, expected) -> None:
    figures = {"macro_f1": 0.4, "map": 0.6, "mse": 50.0, "r2": 0.8, "rouge1": 0.2, "loss": 1.0}
    assert choose_metric("auto", figures, tasks) == pytest.approx(expected)


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
    more = ["training.metric=accuracy", "training.epochs=9", "training.patience=3"]
    train(load(*small, *more))
    (state,) = states
    # 7 documents in batches of 4: two steps an epoch; the second evaluation is the best.
    best = (state.best_step, state.best_metric, state.best_scores["loss"])
    assert (best, state.epoch) == ((4, 0.5, 2.0), 4)


def test_the_sample_shows_labels_from_the_threshold_on_and_commands_no_terminal() -> None:
    segmented: Any = None
    document = PreparedDocument("a\x1b[2Jb\nc", segmented, {"classification": None})
    # Of probabilities 0.3, 0.5 and 0.7.
    answer = Answer(0, {"classification": [-0.8473, 0.0, 0.8473]}, {})
    for threshold, labels in ((0.5, "b (0.50), c (0.70)"), (0.6, "c (0.70)")):
        config = HierBertConfig(decision_threshold=threshold, num_labels=3)
        shown = sample_answer(document, answer, [LABELS], "test", config)
        assert shown.startswith("One test document: a\\x1b[2Jb\\nc")
        assert shown.endswith(f"labels: {labels}")


def test_a_cache_that_is_not_shared_is_told(small, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path / "of_its_own"))

    def gather(values: list) -> list:
        files = bool(values) and str(values[0]).endswith(".safetensors")
        return [*values, "of_another_process.safetensors"] if files else values

    monkeypatch.setattr(vector_cache, "gather_object", gather)
    with pytest.raises(RunError, match=r"training\.cache_dir must be on storage that all machines"):
        train(load(*small, "training.freeze_encoder=true"))


def test_the_last_command_fits_how_training_was_started(tmp_path) -> None:
    model = tmp_path / "run" / "model"
    run = f"run_dir={tmp_path / 'run'}"
    path = write_jsonl(tmp_path / "my test.jsonl", make_rows(1))
    command = inference_command(load(run), "train.py")
    assert command == f"python infer.py --model {model} --input docs.jsonl --output answers.jsonl"
    asked = load(run, f"data.test={path}", "data.text_column=body")
    answers = f"--model {model} --input '{path}' --text-column body --output answers.jsonl"
    assert inference_command(asked, "hierbert train") == f"hierbert infer {answers}"
    assert inference_command(asked, "hierbert-train") == f"hierbert-infer {answers}"
    # Columns of other files mean nothing to this command, which would refuse them.
    per_file = load(run, f"data.test={path}", "data.text_column=my test.jsonl=body|a.csv=text")
    assert inference_command(per_file, "hierbert train") == f"hierbert infer {answers}"
    several = load(f"data.test=[{tmp_path / '*.jsonl'}, {tmp_path}]")
    assert "--input docs.jsonl" in inference_command(several, "train.py")
