"""Training from Python: what a newcomer types, and what is refused in one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
import torch
from commands import succeed, write_jsonl
from conftest import make_rows
from safetensors.torch import load_file

from hierbert import Callback, HierBert, HierBertError, HierBertTrainer

ROWS = [{key: row[key] for key in ("text", "label")} for row in make_rows(16, seed=1)]
LABELLED = {"data.label_column": "label", "training.epochs": 1, "show_sample": False}


Make = Callable[..., HierBertTrainer]


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return {**LABELLED, "run_dir": tmp_path / "run"}


@pytest.fixture
def trainer_of(encoders: dict[str, Path], config: dict[str, Any]) -> Make:
    """Makes a trainer on the rows, from the encoder or a model, with settings beside `config`."""

    def make(
        *callbacks: Callback, model: Any = encoders["bert"], train: Any = ROWS, **settings: Any
    ) -> HierBertTrainer:
        return HierBertTrainer(
            model, train, ROWS, config={**config, **settings}, callbacks=callbacks
        )

    return make


@pytest.fixture(scope="module")
def trained(encoders, tmp_path_factory) -> HierBertTrainer:
    settings = {**LABELLED, "run_dir": tmp_path_factory.mktemp("trained") / "run"}
    trainer = HierBertTrainer(HierBert.from_encoder(encoders["bert"]), ROWS, ROWS, config=settings)
    trainer.train()
    return trainer


def folder_of(trainer: HierBertTrainer) -> Path:
    return Path(trainer.config.run_dir) / "model"


def bits(trainer: HierBertTrainer) -> dict[str, bytes]:
    """The weights of a trainer's model, to the last bit."""
    state = trainer.model.model.state_dict()
    return {name: weight.numpy().tobytes() for name, weight in state.items()}


def test_a_newcomers_lines_train_evaluate_save_and_load_without_hierbert(
    encoders, tmp_path, config
) -> None:
    model = HierBert.from_encoder(encoders["bert"])
    trainer = HierBertTrainer(model, train=ROWS, validation=ROWS, config=config)
    results = trainer.train()
    scores = trainer.model.evaluate(ROWS)
    trainer.model.save_pretrained(tmp_path / "out")

    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert written["scores"] == results["scores"] and results["documents"] == 16
    assert scores["accuracy"] == pytest.approx(results["scores"]["accuracy"])
    expected = [answer.label for answer in trainer.model.classify([row["text"] for row in ROWS])]
    program = (
        "import sys, json\n"
        "sys.modules['hierbert'] = None\n"
        "from transformers import pipeline\n"
        f"pipe = pipeline('text-classification', model={str(tmp_path / 'out')!r}, "
        "trust_remote_code=True)\n"
        "print(json.dumps([answer['label'] for answer in pipe(json.load(sys.stdin))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([row["text"] for row in ROWS]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == expected


@pytest.mark.parametrize("kind", ["frame", "dataset", "generator", "file"])
def test_documents_in_any_form_train_the_same_model(trained, trainer_of, tmp_path, kind) -> None:
    documents: Any = {
        "frame": lambda: pd.DataFrame(ROWS),
        "dataset": lambda: datasets.Dataset.from_list(ROWS),
        "generator": lambda: (row for row in ROWS),
        "file": lambda: str(write_jsonl(tmp_path / "rows.jsonl", ROWS)),
    }[kind]()
    trainer = trainer_of(train=documents)
    trainer.train()
    assert bits(trainer) == bits(trained)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"training.epochs": 0}, ["training.epochs", "0"]),
        ({"training": {"head_learning_rate": -1.0}}, ["training.head_learning_rate", "-1"]),
        ({"training.epochs": "many"}, ["training.epochs", "many"]),
        ({"training.epoch": 3}, ["training.epoch", "epochs"]),
        ({"training.trackers": object()}, ["training.trackers"]),
        ({"data.label_column": None}, ["data.label_column", "data.summary_column"]),
    ],
)
def test_settings_made_in_python_are_checked_as_those_of_a_file(config, given, named) -> None:
    with pytest.raises(Exception) as caught:
        HierBertTrainer("encoder", ROWS, config={**config, **given})
    line = str(caught.value)
    assert "\n" not in line and all(word in line for word in named), line


def raising() -> Any:
    yield ROWS[0]
    raise RuntimeError("the database went away")


@pytest.mark.parametrize(
    ("train", "named"),
    [
        (pd.DataFrame({"body": ["x"], "label": ["a"]}), ["text", "body"]),
        ([{**ROWS[0], "text": None}], ["row 1", "text"]),
        ([{**ROWS[0], "text": {"a": 1}}], ["row 1", "text"]),
        ({"text": "x"}, ["train"]),
        (b"bytes", ["train"]),
        (raising(), ["database went away", "1"]),
        ([], ["train"]),
    ],
)
def test_rows_that_are_none_are_refused_in_one_line(trainer_of, config, train, named) -> None:
    with pytest.raises(Exception) as caught:
        trainer_of(train=train).train()
    line = str(caught.value)
    assert "\n" not in line and all(word in line for word in named), line
    assert not (config["run_dir"] / "model").exists()


@pytest.mark.parametrize(
    "texts",
    [pd.DataFrame(ROWS), {"text": "x"}, None, b"bytes", Path("a.txt"), [None], [{"text": "x"}]],
)
def test_what_is_no_text_is_never_answered(trained, texts) -> None:
    with pytest.raises(Exception) as caught:
        trained.model.classify(texts)
    assert "\n" not in str(caught.value) and "texts" in str(caught.value)


def test_training_goes_on_from_a_model(trained, trainer_of, tmp_path) -> None:
    folder, texts = folder_of(trained), [row["text"] for row in ROWS]
    tiny = {f"training.{part}_learning_rate": 1e-9 for part in ("encoder", "head")}
    same = trainer_of(model=folder, **tiny)
    same.train()
    for one, other in zip(same.model.classify(texts), trained.model.classify(texts), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)
    # Other labels: the head is new, the rest goes on, and a line says so.
    others = [{**row, "label": row["label"] + "!"} for row in ROWS]
    path = write_jsonl(tmp_path / "others.jsonl", others)
    done = succeed(
        "train.py",
        f"data.train={path}",
        f"data.validation={path}",
        "data.label_column=label",
        f"model.start_from={folder}",
        "training.epochs=1",
        f"run_dir={tmp_path / 'other'}",
        here=True,
    )
    assert "classification head is new" in done.stderr
    answers = HierBert.from_pretrained(tmp_path / "other" / "model").classify(texts)
    assert all(answer.label.endswith("!") for answer in answers)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"model.encoder": "MODEL"}, "model.start_from"),
        ({"model.start_from": "MODEL", "model.aggregator_layers": 1}, "model.aggregator_layers=1"),
        (
            {"model.start_from": "MODEL", "segmentation.max_tokens_per_segment": 600},
            "max_tokens_per_segment=600",
        ),
        ({"model.start_from": "ENCODER"}, "model.start_from"),
        ({"model.start_from": "no/such/model"}, "model.start_from"),
    ],
)
def test_a_model_is_no_encoder_and_its_architecture_stays(
    trained, trainer_of, encoders, given, named
) -> None:
    places = {"MODEL": str(folder_of(trained)), "ENCODER": str(encoders["bert"])}
    settings = {name: places.get(value, value) for name, value in given.items()}
    with pytest.raises(Exception, match=named) as caught:
        trainer_of(model=None, **settings).train()
    assert isinstance(caught.value, HierBertError) and "\n" not in str(caught.value)


class Noting(Callback):
    def __init__(self, fails_at: int = 0, ends: bool = False) -> None:
        self.steps: list[int] = []
        self.scores: list[dict[str, float]] = []
        self.results: Any = None
        self.fails_at, self.ends = fails_at, ends

    def on_step(self, step, figures) -> None:
        assert figures["loss"] > 0
        self.steps.append(step)
        if step == self.fails_at:
            raise RuntimeError("the callback's own fault")

    def on_evaluation(self, step, scores) -> bool:
        self.scores.append(dict(scores))
        return self.ends

    def on_end(self, results) -> None:
        self.results = results


# Two steps an epoch.
TWO = {"training.epochs": 2, "training.documents_per_batch": 8}


def test_training_that_a_callback_ends_is_over_for_a_resume_too(trainer_of) -> None:
    noting = Noting(ends=True)
    results = trainer_of(noting, **TWO).train()
    assert noting.steps == [1, 2] and results["steps"] == 2 and noting.results is results
    assert noting.scores[0]["metric"] == noting.scores[0]["macro_f1"]
    assert trainer_of(**TWO).train(resume=True)["steps"] == 2


def test_a_callback_that_raises_leaves_a_run_that_goes_on(trainer_of, tmp_path) -> None:
    with pytest.raises(RuntimeError, match="own fault"):
        trainer_of(Noting(fails_at=3), **TWO).train()
    resumed, whole = trainer_of(**TWO), trainer_of(**TWO, run_dir=tmp_path / "whole")
    resumed.train(resume=True)
    whole.train()
    assert bits(resumed) == bits(whole)


def test_a_callback_that_raises_after_an_evaluation_leaves_its_checkpoint(
    trainer_of, config
) -> None:
    class Failing(Callback):
        def on_evaluation(self, step, scores) -> None:
            raise RuntimeError("the callback's own fault")

    with pytest.raises(RuntimeError, match="own fault"):
        trainer_of(Failing(), **TWO).train()
    (checkpoint,) = (config["run_dir"] / "checkpoints").glob("step_*")
    assert checkpoint.name == "step_00000002"
    noting = Noting()
    trainer_of(noting, **TWO).train(resume=True)
    assert noting.steps == [3, 4] and len(noting.scores) == 1


def test_one_program_trains_in_one_precision_and_then_in_another(trainer_of, tmp_path) -> None:
    trainers = {
        precision: trainer_of(
            **{"training.mixed_precision": precision}, run_dir=tmp_path / precision
        )
        for precision in ("bf16", "no")
    }
    texts = [row["text"] for row in ROWS]
    for trainer in trainers.values():
        trainer.train()
        saved = load_file(folder_of(trainer) / "model.safetensors")
        assert all(weight.dtype == torch.float32 for weight in saved.values())
        loaded = HierBert.from_pretrained(folder_of(trainer))
        for one, other in zip(trainer.model.classify(texts), loaded.classify(texts), strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert bits(trainers["bf16"]) != bits(trainers["no"])


@pytest.mark.parametrize("rows", [[{"text": "x", "label": None}], [{"text": "x", "label": ""}], []])
def test_what_cannot_be_scored_has_no_score(trained, rows) -> None:
    with pytest.raises(HierBertError, match=r"documents|label") as caught:
        trained.model.evaluate(rows)
    assert "\n" not in str(caught.value)


def test_documents_without_a_label_change_no_score(trained) -> None:
    alone = trained.model.evaluate(ROWS)
    others = [{**row, "label": None} for row in ROWS[:5]]
    assert alone["loss"] > 0
    assert trained.model.evaluate([*others, *ROWS]) == pytest.approx(alone, abs=1e-6)


def test_a_model_without_heads_embeds_and_is_not_scored(encoders) -> None:
    model = HierBert.from_encoder(encoders["bert"])
    assert model.tasks == ("embed",)
    assert len(model.embed(["The court read the contract."])[0].document_vector) > 0
    for ask in (model.classify, model.summarize, model.evaluate):
        with pytest.raises(Exception, match="no head"):
            ask(["a text"])


def test_the_same_trainer_trains_again_from_what_it_was_given(trained, trainer_of) -> None:
    trainer = trainer_of(model=HierBert.from_pretrained(folder_of(trained)))
    trainer.train()
    first = bits(trainer)
    trainer.train(resume=True)
    assert bits(trainer) == first
