"""Training from Python: what a newcomer types, and what is refused in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
import torch
from commands import run
from conftest import make_rows

from hierbert import Callback, HierBert, HierBertTrainer

ROWS = [{key: row[key] for key in ("text", "label")} for row in make_rows(16, seed=1)]
LABELLED = {"data.label_column": "label", "training.epochs": 1, "show_sample": False}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return {**LABELLED, "run_dir": tmp_path / "run"}


@pytest.fixture(scope="module")
def trained(encoders, tmp_path_factory) -> HierBertTrainer:
    settings = {**LABELLED, "run_dir": tmp_path_factory.mktemp("trained") / "run"}
    trainer = HierBertTrainer(HierBert.from_encoder(encoders["bert"]), ROWS, ROWS, config=settings)
    trainer.train()
    return trainer


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
def test_documents_in_any_form_train_the_same_model(
    trained, encoders, tmp_path, config, kind
) -> None:
    documents: Any = {
        "frame": lambda: pd.DataFrame(ROWS),
        "dataset": lambda: datasets.Dataset.from_list(ROWS),
        "generator": lambda: (row for row in ROWS),
        "file": lambda: str(tmp_path / "rows.jsonl"),
    }[kind]()
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    trainer = HierBertTrainer(
        encoders["bert"], documents, str(tmp_path / "rows.jsonl"), config=config
    )
    trainer.train()
    for (name, one), other in zip(
        trainer.model.model.state_dict().items(),
        trained.model.model.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other), name


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
def test_rows_that_are_none_are_refused_in_one_line(encoders, config, train, named) -> None:
    with pytest.raises(Exception) as caught:
        HierBertTrainer(encoders["bert"], train, ROWS, config=config).train()
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


def test_training_goes_on_from_a_model(trained, tmp_path, config, capsys) -> None:
    folder = Path(trained.config.run_dir) / "model"
    settings = {
        **config,
        "training.head_learning_rate": 1e-9,
        "training.encoder_learning_rate": 1e-9,
    }
    same = HierBertTrainer(folder, ROWS, ROWS, config=settings)
    same.train()
    texts = [row["text"] for row in ROWS]
    for one, other in zip(same.model.classify(texts), trained.model.classify(texts), strict=True):
        for label, share in one.probabilities.items():
            assert share == pytest.approx(other.probabilities[label], abs=1e-3)
    # Other labels: the head is new, the rest goes on, and a line says so.
    others = [{**row, "label": row["label"] + "!"} for row in ROWS]
    lines = "".join(json.dumps(row) + "\n" for row in others)
    (tmp_path / "others.jsonl").write_text(lines)
    done = run(
        "train.py",
        f"data.train={tmp_path / 'others.jsonl'}",
        f"data.validation={tmp_path / 'others.jsonl'}",
        "data.label_column=label",
        f"model.start_from={folder}",
        "training.epochs=1",
        f"run_dir={tmp_path / 'other'}",
        here=True,
    )
    assert done.returncode == 0, done.stderr
    assert "classification head is new" in done.stderr
    answers = HierBert.from_pretrained(tmp_path / "other" / "model").classify(texts)
    assert all(answer.label.endswith("!") for answer in answers)


def test_a_model_is_no_encoder_and_its_architecture_stays(trained, config, encoders) -> None:
    folder = str(Path(trained.config.run_dir) / "model")
    for given in (
        {"model.encoder": folder},
        {"model.start_from": folder, "model.aggregator_layers": 1},
        {"model.start_from": str(encoders["bert"])},
        {"model.start_from": "no/such/model"},
    ):
        with pytest.raises(Exception) as caught:
            HierBertTrainer(train=ROWS, validation=ROWS, config={**config, **given}).train()
        line = str(caught.value)
        assert "\n" not in line and "model." in line, line
    with pytest.raises(Exception, match=r"model\.start_from"):
        HierBertTrainer(
            train=ROWS, validation=ROWS, config={**config, "model.encoder": folder}
        ).train()


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


def test_callbacks_are_told_and_may_end_training(encoders, config) -> None:
    noting = Noting(ends=True)
    settings = {**config, "training.epochs": 3, "training.documents_per_batch": 8}
    results = HierBertTrainer(
        encoders["bert"], ROWS, ROWS, config=settings, callbacks=[noting]
    ).train()
    assert noting.steps == [1, 2] and results["steps"] == 2 and noting.results is results
    assert noting.scores[0]["metric"] == noting.scores[0]["macro_f1"]


def test_a_callback_that_raises_leaves_a_run_that_goes_on(encoders, config, tmp_path) -> None:
    settings = {**config, "training.epochs": 2, "training.documents_per_batch": 8}
    with pytest.raises(RuntimeError, match="own fault"):
        HierBertTrainer(
            encoders["bert"], ROWS, ROWS, config=settings, callbacks=[Noting(fails_at=3)]
        ).train()
    resumed = HierBertTrainer(encoders["bert"], ROWS, ROWS, config=settings)
    resumed.train(resume=True)
    whole = HierBertTrainer(
        encoders["bert"], ROWS, ROWS, config={**settings, "run_dir": tmp_path / "whole"}
    )
    whole.train()
    for one, other in zip(
        resumed.model.model.state_dict().values(),
        whole.model.model.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_callback_that_raises_after_an_evaluation_leaves_its_checkpoint(encoders, config) -> None:
    class Failing(Callback):
        def on_evaluation(self, step, scores) -> None:
            raise RuntimeError("the callback's own fault")

    settings = {**config, "training.documents_per_batch": 8, "training.epochs": 2}
    with pytest.raises(RuntimeError, match="own fault"):
        HierBertTrainer(
            encoders["bert"], ROWS, ROWS, config=settings, callbacks=[Failing()]
        ).train()
    (checkpoint,) = (config["run_dir"] / "checkpoints").glob("step_*")
    assert checkpoint.name == "step_00000002"
    noting = Noting()
    HierBertTrainer(encoders["bert"], ROWS, ROWS, config=settings, callbacks=[noting]).train(True)
    assert noting.steps == [3, 4] and len(noting.scores) == 1


def test_one_program_trains_in_one_precision_and_then_in_another(
    encoders, tmp_path, config
) -> None:
    for precision in ("no", "bf16"):
        settings = {
            **config,
            "training.mixed_precision": precision,
            "run_dir": tmp_path / precision,
        }
        HierBertTrainer(encoders["bert"], ROWS, ROWS, config=settings).train()


def test_a_model_trained_in_bf16_answers_as_the_folder_that_was_saved(encoders, config) -> None:
    settings = {**config, "training.mixed_precision": "bf16"}
    trainer = HierBertTrainer(encoders["bert"], ROWS, ROWS, config=settings)
    trainer.train()
    texts = [row["text"] for row in ROWS]
    loaded = HierBert.from_pretrained(config["run_dir"] / "model")
    for one, other in zip(trainer.model.classify(texts), loaded.classify(texts), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


@pytest.mark.parametrize("rows", [[{"text": "x", "label": None}], [{"text": "x", "label": ""}], []])
def test_what_cannot_be_scored_has_no_score(trained, rows) -> None:
    with pytest.raises(Exception) as caught:
        trained.model.evaluate(rows)
    assert ("\n" not in str(caught.value) and "documents" in str(caught.value)) or "label" in str(
        caught.value
    )


def test_a_model_without_heads_embeds_and_is_not_scored(encoders) -> None:
    model = HierBert.from_encoder(encoders["bert"])
    assert model.tasks == ("embed",)
    assert len(model.embed(["The court read the contract."])[0].document_vector) > 0
    for ask in (model.classify, model.summarize, model.evaluate):
        with pytest.raises(Exception, match="no head"):
            ask(["a text"])


def test_training_that_a_callback_ended_is_over_for_a_resume(encoders, config) -> None:
    settings = {**config, "training.epochs": 3, "training.documents_per_batch": 8}

    def trainer(*callbacks: Callback) -> HierBertTrainer:
        return HierBertTrainer(encoders["bert"], ROWS, ROWS, config=settings, callbacks=callbacks)

    assert trainer(Noting(ends=True)).train()["steps"] == 2
    assert trainer().train(resume=True)["steps"] == 2


def test_the_same_trainer_trains_again_from_what_it_was_given(trained, tmp_path, config) -> None:
    start = HierBert.from_pretrained(Path(trained.config.run_dir) / "model")
    trainer = HierBertTrainer(start, ROWS, ROWS, config=config)
    trainer.train()
    first = trainer.model.model.state_dict()
    trainer.train(resume=True)
    for one, other in zip(first.values(), trainer.model.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_settings_that_do_not_go_with_the_model_to_start_from_are_one_line(trained, config) -> None:
    folder = Path(trained.config.run_dir) / "model"
    with pytest.raises(Exception, match="max_tokens_per_segment=600") as caught:
        HierBertTrainer(
            folder, ROWS, ROWS, config={**config, "segmentation.max_tokens_per_segment": 600}
        ).train()
    assert type(caught.value).__name__ == "ConfigError" and "\n" not in str(caught.value)
