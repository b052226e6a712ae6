"""What a run makes of its documents: which validate, and what is worth a warning."""

import json
import re

import pytest
from commands import succeed, write_jsonl
from conftest import make_rows


@pytest.fixture
def train(encoders, tmp_path):
    """A small run of these rows and settings; what it prints."""

    def run(rows, *settings):
        docs = write_jsonl(tmp_path / "train.jsonl", rows)
        return succeed(
            "train.py", f"data.train={docs}", f"model.encoder={encoders['bert']}",
            f"run_dir={tmp_path / 'run'}", "training.epochs=1", "model.aggregator_layers=1",
            "baselines=false", *settings, here=True,
        ).stderr  # fmt: skip

    return run


@pytest.mark.parametrize("seed", range(3))
def test_documents_without_a_target_do_not_validate(train, tmp_path, seed) -> None:
    rows = make_rows(20, seed=1)
    for row in rows[::2]:
        row["summary"] = ""
    train(rows, "data.summary_column=summary", "data.validation_fraction=0.1", f"seed={seed}")
    lengths = json.loads((tmp_path / "run/results.json").read_text())["lengths"]
    assert {name: one["documents"] for name, one in lengths.items()} == {
        "train": 19,
        "validation": 1,
    }


def test_each_task_has_something_to_validate_on(train, tmp_path) -> None:
    rows = make_rows(20, seed=1)
    for number, row in enumerate(rows):
        row["summary"] = row["summary"] if number < 2 else None
        row["label"] = None if number < 2 else row["label"]
    train(rows, "data.summary_column=summary", "data.label_column=label")
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["lengths"]["validation"]["documents"] == 3
    assert "summaries" in results and "accuracy" in str(results)


def test_labels_that_look_alike_and_documents_of_two_splits_are_named(train, tmp_path) -> None:
    rows = make_rows(12, seed=1)
    for row, label in zip(rows, ["pos", "pos ", "Pos", "neg"] * 3, strict=True):
        row["label"] = label
    again = [{**rows[0], "id": "again"}, {**rows[1], "id": "too", "text": rows[1]["text"] + " \n"}]
    test = write_jsonl(tmp_path / "test.jsonl", [*again, *make_rows(3, seed=9)[2:]])
    test_rows = [json.loads(line) for line in test.read_text().splitlines()]
    write_jsonl(test, [{**row, "label": "neg"} for row in test_rows])
    printed = train(rows, "data.label_column=label", f"data.test={test}")
    (alike,) = [line for line in printed.splitlines() if "white space" in line]
    assert "'Pos', 'pos', 'pos '" in alike and "3 classes" in alike and "neg" not in alike
    # Which of the two validates is the draw's.
    twice = [line for line in printed.splitlines() if "say little" in line]
    assert sum(int(re.search(r"test: (\d) documents", line)[1]) for line in twice) == 2
    for number in (1, 2):
        place = f"{test}, line {number} is {tmp_path / 'train.jsonl'}, line {number}"
        assert any(place in line for line in twice)
