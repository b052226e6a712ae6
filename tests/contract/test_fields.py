"""Columns beside the text that a module of one's own reads: a feature's, and a task's targets."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import make_rows, save_encoder

CLONE = Path(__file__).parents[2]

MODULE = '''
import sys

import torch
from torch import nn

from hierbert.extend import (
    Feature, Head, Metric, Task, add_metrics, register_feature, register_head, register_task
)


@register_feature
class Asked(Feature):
    """How often the text has the word that is asked for."""

    name, fields = "asked", ("word",)

    def collate(self, documents):
        counts = [document.text.split().count(document.fields["word"]) for document in documents]
        return {"count": torch.tensor(counts, dtype=torch.float32)[:, None]}

    def forward(self, inputs, structure):
        return inputs["count"]


@register_head
class Count(Head):
    name, verb, attribute = "count", "count", "counter"
    reads = frozenset(["document", "asked"])

    def __init__(self, config):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, vectors):
        return vectors.features["asked"] * self.scale

    def losses(self, scores, targets, structure):
        return (scores[:, 0] - targets).abs(), torch.ones_like(targets, dtype=torch.bool)

    def answer(self, answered, config, options):
        return {"count": float(answered.scores["count"][0])}


add_metrics(Metric("count_error", "Error", ("count",), max, better="lower"))


@register_task
class CountTask(Task):
    name, field, auto_metric = "count", "times", "count_error"

    @classmethod
    def learn(cls, config, train):
        return cls()

    @classmethod
    def of_model(cls, config):
        return cls()

    def encode(self, example):
        return float(example.fields["times"])

    def collate(self, targets, documents):
        return torch.tensor(targets)

    def keep(self, answered, document, config):
        return float(answered.scores["count"][0])

    def metrics(self):
        return ["count_error"]

    def score(self, documents, kept, config):
        errors = [abs(own - one.targets["count"]) for own, one in zip(kept, documents)]
        return {"count_error": sum(errors) / len(errors)}

'''
TEXTS = [str(row["text"]) for row in make_rows(12, seed=5)]
WORDS = [text.split()[2] for text in TEXTS]
COUNTS = [text.split().count(word) for text, word in zip(TEXTS, WORDS, strict=True)]
ROWS = [
    {"text": text, "asked_for": word, "occurs": count, "id": f"d{number}"}
    for number, (text, word, count) in enumerate(zip(TEXTS, WORDS, COUNTS, strict=True))
]


# All in one process, in which nothing else knows the module.
DRIVER = """
import contextlib, io, json, sys

import counting
from hierbert import ConfigError, DataError, Document, HierBert
from hierbert.__main__ import main


def command(*arguments):
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        code = main(arguments)
    return [code, printed.getvalue()]


def refused(kind, answer):
    try:
        list(answer())
    except kind as error:
        return str(error)


given = json.load(sys.stdin)
told = {"commands": [command(*arguments) for arguments in given["commands"]]}
model = HierBert.from_pretrained("run/model")
asked = [Document(text, {"word": word}) for text, word in zip(given["texts"], given["words"])]
told["answers"] = [answer.others["count"] for answer in model.predict(asked)]
one = Document(given["texts"][0], {"word": "no such word"})
told["one"] = [answer.others["count"] for answer in model.predict(one)]
told["scores"] = [
    model.evaluate("rows.jsonl", columns={"word": "asked_for", "times": "occurs"}),
    model.evaluate(given["renamed"]),
]
wrong = [["a text"], [Document("a"), "b"], Document("a", {"words": "x"})]
told["refused"] = [refused(DataError, lambda: model.predict(texts)) for texts in wrong]
told["refused"] += [refused(ValueError, lambda: model.processor(["a text"]))]
told["evaluate"] = [
    refused(ConfigError, lambda: model.evaluate("rows.jsonl", columns=columns))
    for columns in (["word"], {"wrod": "id"}, {"word": None}, {"word": 3}, {"text": "id"})
]
told["document"] = [
    refused(TypeError, lambda: [Document("a", fields)]) for fields in (None, "word", ["word"])
]
json.dump(told, sys.stdout)
"""

TRAIN = [
    "train", "data.train=rows.jsonl", "model.encoder=encoder", "training.epochs=1",
    "training.freeze_encoder=true", "show_sample=false", "training.cache_dir=cache",
]  # fmt: skip
INFER = ["infer", "--model", "run/model", "--input", "rows.jsonl", "--output"]
WORD = "data.columns.word=asked_for"
TIMES = "data.columns.times=occurs"
RIGHT = [
    [*TRAIN, "run_dir=run", WORD, TIMES],
    [*INFER, "a.jsonl", "--column", "word=asked_for", "--task", "count"],
]
# What is wrong, and what its line names.
WRONG = [
    ([*TRAIN, "run_dir=b", TIMES], ["'word'", "data.columns.word"]),
    ([*TRAIN, "run_dir=b", WORD, "data.columns.times=no"], ["'no'", "data.columns.times"]),
    ([*TRAIN, "run_dir=b", "data.columns.text=asked_for"], ["'text'", "data.text_column"]),
    ([*TRAIN, "run_dir=b", WORD], ["nothing to learn", "word"]),
    (
        [*TRAIN, "run_dir=b", WORD, TIMES, "data.columns.query=asked_for"],
        ["data.columns.query", "data.summary_column"],
    ),
    # Other rows, of which one column alone is another.
    (
        ["train", "data.train=other.jsonl", *TRAIN[2:], "run_dir=run", WORD, TIMES, "--resume"],
        ["changed", "d0"],
    ),
    (
        [*TRAIN, "run_dir=b", WORD, TIMES, "data.columns.tmies=id"],
        ["data.columns.tmies", "'times'"],
    ),
    (
        [*INFER, "b.jsonl", "--column", "word=asked_for", "--column", "word=id"],
        ["--column word", "twice"],
    ),
    ([*INFER, "b.jsonl"], ["word", "--column"]),
    ([*INFER, "b.jsonl", "--column", "word=no"], ["'no'", "--column word="]),
    ([*INFER, "b.jsonl", "--column", "word"], ["--column word", "FIELD=NAME"]),
    ([*INFER, "b.jsonl", "--column", "label=occurs"], ["--column label=occurs"]),
    ([*INFER, "b.jsonl", "--column", "word=asked_for", "--column", "x=id"], ["--column x=id"]),
    ([*INFER, "b.jsonl", "--column", "word=asked_for", "--task", "sing"], ["'sing'", "count"]),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("fields")
    (home / "counting.py").write_text(MODULE)
    (home / "driver.py").write_text(DRIVER)
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    other = [{**row, "asked_for": "else"} for row in ROWS]
    (home / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in other))
    save_encoder(home / "encoder")
    return home


@pytest.fixture(scope="module")
def told(home: Path) -> dict[str, Any]:
    given = {
        "commands": [*RIGHT, *(arguments for arguments, _ in WRONG)],
        "texts": TEXTS,
        "words": WORDS,
        "renamed": [
            {"text": row["text"], "word": row["asked_for"], "times": row["occurs"]} for row in ROWS
        ],
    }
    done = subprocess.run(
        [sys.executable, "driver.py"], cwd=home, input=json.dumps(given), capture_output=True,
        text=True, timeout=500, env={**os.environ, "PYTHONPATH": str(CLONE)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_column_is_learnt_from_and_answered_about_wherever_documents_come_from(home, told):
    assert [code for code, _ in told["commands"][: len(RIGHT)]] == [0, 0], told["commands"]
    results = json.loads((home / "run" / "results.json").read_text())
    assert results["scores"]["count_error"] < 0.1  # it begins with the right answer
    lines = (home / "a.jsonl").read_text().splitlines()
    counted = [json.loads(line)["count"] for line in lines]
    assert counted == pytest.approx(COUNTS, rel=0.1)
    assert told["answers"] == pytest.approx(counted, abs=1e-5)
    assert told["one"] == [0]
    assert all(scores["count_error"] < 0.1 for scores in told["scores"])


def test_a_column_that_is_missing_or_read_by_nobody_is_named(home, told):
    for (code, printed), (arguments, named) in zip(
        told["commands"][len(RIGHT) :], WRONG, strict=True
    ):
        line = printed.splitlines()[-1]
        assert code == 2 and "Traceback" not in printed, (arguments, printed)
        assert all(part in line for part in named), (arguments, line)
    assert not (home / "b.jsonl").exists()


def test_columns_and_fields_that_are_none_are_refused(told):
    for line, named in zip(
        told["evaluate"], ["list", "'wrod'", "word", "word", "text"], strict=True
    ):
        assert line is not None and "columns" in line and named in line, line
    assert all("mapping" in line for line in told["document"])


def test_a_document_without_a_field_is_named(told):
    assert len(told["refused"]) == 4
    for line in told["refused"]:
        assert "'word'" in line and "hierbert.Document" in line
    assert all("texts[0]" in line for line in told["refused"][:3])
