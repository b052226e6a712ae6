"""A head, a task and a feature that no file of the package names: learnt, saved, loaded, answered.

The head tells how many words a document has, from its segment vectors and from a feature, the
number of its characters, whose mean and spread follow from the training documents.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from commands import succeed, write_jsonl
from conftest import make_rows, save_encoder
from safetensors.torch import load_file
from torch import nn

from hierbert import HierBert, HierBertConfig, HierBertForDocuments, HierBertTrainer
from hierbert.errors import ModelError
from hierbert.extend import (
    Example,
    Feature,
    Head,
    Metric,
    Task,
    add_metrics,
    register_feature,
    register_head,
    register_task,
)
from hierbert.loading.fingerprints import model_fingerprint
from hierbert.model.answering import answer_batch, collate_inputs
from hierbert.model.features import FEATURES
from hierbert.model.heads import HEADS
from hierbert.model.ragged import group_mean
from hierbert.publishing.card import render_card
from hierbert.publishing.runs import find_run
from hierbert.scoring import METRICS
from hierbert.tasks.task import TASKS, tasks_of_model

ROWS = [{key: row[key] for key in ("text", "label")} for row in make_rows(16, seed=3)]
TEXTS = [str(row["text"]) for row in ROWS]


def log_length(text: str) -> float:
    return math.log1p(len(text))


class Characters(Feature):
    name = "characters"

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.unit = unit
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("spread", torch.ones(1))

    def fit(self, documents: Any, targets: Any) -> None:
        assert {len(of_task) for of_task in targets.values()} == {len(documents)}
        lengths = torch.tensor([log_length(document.text) for document in documents])
        self.mean.fill_(lengths.mean())
        self.spread.fill_(lengths.std())

    def collate(self, documents: Any) -> dict[str, torch.Tensor]:
        return {"lengths": torch.tensor([[log_length(one.text)] for one in documents])}

    def forward(self, inputs: dict[str, torch.Tensor], structure: Any) -> torch.Tensor:
        return self.unit * (inputs["lengths"] - self.mean) / self.spread


class LengthHead(Head):
    name, verb, attribute = "wordcount", "measure", "measurer"
    reads = frozenset(["segment", "characters"])

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__()
        assert config.head_settings is not None
        self.start = config.head_settings["wordcount"]["start"]
        self.output = nn.Linear(config.hidden_size + 1, 1)

    def forward(self, vectors: Any) -> torch.Tensor:
        segments = group_mean(vectors.segment, vectors.structure.segments_per_document)
        joined = torch.cat([segments, vectors.features["characters"]], dim=1)
        return self.start + self.output(joined)

    def losses(self, scores: Any, targets: Any, structure: Any) -> Any:
        return (scores[:, 0] - targets) ** 2, torch.ones_like(targets, dtype=torch.bool)

    def answer(self, answered, config, options) -> dict[str, Any]:
        words = float(answered.scores["wordcount"][0].expm1())
        return {"words": words, "text_starts": answered.document.text[:5]}


class Length(Task):
    name = "wordcount"
    auto_metric = bounded_metric = "count_error"

    @classmethod
    def learn(cls, config: Any, train: Any) -> "Length":
        return cls()

    @classmethod
    def of_model(cls, config: HierBertConfig) -> "Length":
        return cls()

    def model_settings(self, config: Any, train: Any) -> dict[str, Any]:
        return {
            "head_settings": {"wordcount": {"start": 3.0}},
            "features": {"characters": {"unit": 0.5}},
        }

    def encode(self, example: Example) -> float:
        return math.log1p(len(str(example.text).split()))

    def collate(self, targets: Any, documents: Any) -> torch.Tensor:
        return torch.tensor(targets)

    def keep(self, answered: Any, document: Any, config: Any) -> float:
        return float(answered.scores["wordcount"][0])

    def score(self, documents: Any, kept: Any, config: Any) -> dict[str, float]:
        targets = torch.tensor([document.targets["wordcount"] for document in documents])
        return {"count_error": float((torch.tensor(kept) - targets).abs().mean())}


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    register_head(LengthHead)
    register_task(Length)
    register_feature(Characters)
    add_metrics(Metric("count_error", "Error", ("wordcount",), max, better="lower"))
    yield
    del HEADS["wordcount"], TASKS["wordcount"], FEATURES["characters"], METRICS["count_error"]


@pytest.fixture(scope="module")
def trained(registered, tmp_path_factory) -> HierBertTrainer:
    folder = tmp_path_factory.mktemp("registered")
    settings = {
        "data.label_column": "label",
        "training.epochs": 1,
        "training.metric": "count_error",
        "training.freeze_encoder": True,
        "run_dir": folder / "run",
    }
    encoder = save_encoder(folder / "encoder")
    trainer = HierBertTrainer(str(encoder), ROWS, ROWS, config=settings)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def folder(trained: HierBertTrainer) -> Path:
    return Path(trained.config.run_dir) / "model"


def test_what_a_feature_learnt_travels_with_the_weights(trained, folder) -> None:
    lengths = torch.tensor([log_length(text) for text in TEXTS])
    weights = load_file(folder / "model.safetensors")
    assert weights["features.characters.mean"] == pytest.approx(float(lengths.mean()))
    assert weights["features.characters.spread"] == pytest.approx(float(lengths.std()))
    config = json.loads((folder / "config.json").read_text())
    assert config["features"]["characters"] == {"unit": 0.5}
    assert config["head_settings"] == {"wordcount": {"start": 3.0}}
    loaded = HierBert.from_pretrained(folder, device="cpu")
    parts = loaded.model, loaded.processor
    before = model_fingerprint(*parts)
    assert before == model_fingerprint(trained.model.model, trained.model.processor)
    loaded.model.features["characters"].mean += 1
    assert model_fingerprint(*parts) != before


def test_rows_and_predictions_hold_its_fields(trained, folder, tmp_path) -> None:
    loaded = HierBert.from_pretrained(folder, device="cpu")
    assert loaded.tasks == ("classify", "measure", "embed")
    words = [answer.words for answer in loaded.predict(TEXTS)]
    own = list(trained.model.predict(TEXTS, ["measure"]))
    assert words == pytest.approx([answer.words for answer in own], rel=1e-5)
    assert own[0].label is None and own[0].others.keys() == {"words", "text_starts"}
    docs = write_jsonl(tmp_path / "docs.jsonl", ROWS)
    for ending, read in (
        ("jsonl", lambda path: pandas.read_json(path, lines=True)),
        ("csv", pandas.read_csv),
        ("parquet", pandas.read_parquet),
    ):
        output = tmp_path / f"out.{ending}"
        arguments = ("--model", folder, "--input", docs, "--output", output)
        succeed("infer.py", *arguments, here=True)
        table = read(output)
        assert table["text_starts"].tolist() == [text[:5] for text in TEXTS]
        assert table["words"].tolist() == pytest.approx(words, rel=1e-5)


def test_only_a_head_that_reads_a_feature_makes_it(trained) -> None:
    model, processor = trained.model.model, trained.model.processor
    documents = processor.segment(TEXTS[:3])
    both = collate_inputs(model, documents)
    assert both.keys() == processor(TEXTS[:3]).keys()
    labels_only = collate_inputs(model, documents, ["classification"])
    assert both.keys() - labels_only.keys() == {"features.characters.lengths"}
    made: list[int] = []
    with model.features["characters"].register_forward_hook(lambda *_: made.append(1)):
        answer_batch(model, documents, ["classification"])
        assert not made
        found = answer_batch(model, documents, ["wordcount"])
    assert made and found[0].scores.keys() == {"wordcount"} and found[0].sentence_vectors is None


def test_training_goes_on_with_the_head_and_without_it(trained, folder, tmp_path) -> None:
    settings = {"data.label_column": "label", "training.epochs": 1}
    start = trained.model
    more = HierBertTrainer(start, ROWS, ROWS, config={**settings, "run_dir": tmp_path / "a"})
    assert "count_error" in more.train()["scores"]
    task = TASKS.pop("wordcount")
    try:
        with pytest.raises(ModelError, match=r"wordcount.*not known here"):
            tasks_of_model(start.model.config)
        less = HierBertTrainer(start, ROWS, ROWS, config={**settings, "run_dir": tmp_path / "b"})
        assert "count_error" not in less.train()["scores"]
        assert less.model.tasks == ("classify", "embed")
        assert "characters" not in less.model.model.features
    finally:
        TASKS["wordcount"] = task


def test_a_model_whose_head_is_not_registered_is_refused_by_name(folder, monkeypatch) -> None:
    monkeypatch.delitem(HEADS, "wordcount")
    with pytest.raises(ValueError, match=r"head called 'wordcount'.*import the module"):
        HierBertForDocuments.from_pretrained(folder)


def test_its_card_names_it(folder) -> None:
    config = HierBertConfig.from_pretrained(folder)
    card = render_card("me/model", config, 1000, find_run(folder, config))
    assert "answers wordcount of it" in card and 'output.scores["wordcount"]' in card
