"""From probabilities to labels: thresholds, the likeliest labels, and answers that name none."""

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import read_jsonl, refuse, succeed, write_jsonl
from conftest import make_rows
from small_runs import small_run
from transformers import pipeline

from hierbert import ConfigError, HierBertPredictor

TEXTS = [row["text"] for row in make_rows(8)]


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": f"d{n}", "text": text} for n, text in enumerate(TEXTS)]
    return write_jsonl(tmp_path_factory.mktemp("docs") / "docs.jsonl", rows)


def rows_of(model: Path, docs: Path, output: Path, *more: str) -> list[dict[str, Any]]:
    succeed("infer.py", "--model", model, "--input", docs, "--output", output, *more, here=True)
    return read_jsonl(output) if output.suffix == ".jsonl" else []


def likeliest(shares: dict[str, float]) -> list[str]:
    return sorted(shares, key=lambda name: -shares[name])


def test_a_threshold_takes_the_place_of_the_models_own(models, docs, tmp_path) -> None:
    before = rows_of(models["many"], docs, tmp_path / "before.jsonl")
    shares = sorted(share for row in before for share in row["probabilities"].values())
    # Between two, as rounding differs in other company.
    middle = statistics.fmean(shares[len(shares) // 3 :][:2])
    after = rows_of(models["many"], docs, tmp_path / "after.jsonl", "--threshold", repr(middle))
    predictor = HierBertPredictor.from_pretrained(models["many"], device="cpu")
    classify = pipeline("document-classification", model=str(models["many"]), threshold=middle)
    answers = predictor.classify(TEXTS, threshold=middle)
    for row, old, answer, found in zip(after, before, answers, classify(TEXTS), strict=True):
        assert row["probabilities"] == old["probabilities"]
        reached = {name for name, share in row["probabilities"].items() if share >= middle}
        assert row["labels"] == [n for n in likeliest(row["probabilities"]) if n in reached]
        assert row["labels"] == answer.labels == found["labels"]
    assert [row["labels"] for row in after] != [row["labels"] for row in before]


@pytest.mark.parametrize("kind", ["both", "many"])
def test_the_likeliest_labels_stand_beside_the_answer(models, docs, tmp_path, kind) -> None:
    asked = ("--task", "classify")
    before = rows_of(models[kind], docs, tmp_path / "before.jsonl", *asked)
    after = rows_of(models[kind], docs, tmp_path / "o.jsonl", *asked, "--top-labels", "2")
    for row, old in zip(after, before, strict=True):
        top = row.pop("top_labels")
        assert row == old and [one["label"] for one in top] == likeliest(old["probabilities"])[:2]
        assert [one["probability"] for one in top] == [
            old["probabilities"][o["label"]] for o in top
        ]
    for ending in ("csv", "parquet"):
        rows_of(models[kind], docs, tmp_path / f"o.{ending}", *asked, "--top-labels", "2")
    expected = [row["top_labels"] for row in read_jsonl(tmp_path / "o.jsonl")]
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        assert [json.loads(row["top_labels"]) for row in csv.DictReader(file)] == expected
    assert pq.read_table(tmp_path / "o.parquet").column("top_labels").to_pylist() == expected
    predictor = HierBertPredictor.from_pretrained(models[kind], device="cpu")
    # No more than there are.
    assert all(len(answer.top_labels) == 3 for answer in predictor.classify(TEXTS, top_labels=9))


def test_an_answer_below_a_probability_names_no_label(models, docs, tmp_path) -> None:
    asked = ("--task", "classify")
    before = rows_of(models["both"], docs, tmp_path / "before.jsonl", *asked)
    highest = sorted(max(row["probabilities"].values()) for row in before)
    least = statistics.fmean(highest[3:5])
    for ending in ("jsonl", "csv", "parquet"):
        more = (*asked, "--abstain-below", repr(least))
        rows_of(models["both"], docs, tmp_path / f"o.{ending}", *more)
    after = read_jsonl(tmp_path / "o.jsonl")
    for row, old in zip(after, before, strict=True):
        abstained = max(old["probabilities"].values()) < least
        assert list(row) == ["id", "label", "abstained", "probabilities"]
        assert row == {**old, "abstained": abstained, "label": None if abstained else old["label"]}
    assert sum(row["abstained"] for row in after) == 4
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == [
            row["label"] or "" for row in after
        ]
    table = pq.read_table(tmp_path / "o.parquet").select(["label", "abstained"]).to_pylist()
    assert table == [{name: row[name] for name in ("label", "abstained")} for row in after]
    classify = pipeline("document-classification", model=str(models["both"]))
    for found, row in zip(classify(TEXTS, abstain_below=least), after, strict=True):
        assert (found["label"], found["abstained"]) == (row["label"], row["abstained"])
        assert found["score"] == max(found["probabilities"].values())


def test_a_run_may_make_a_model_that_abstains(encoders, tmp_path) -> None:
    settings = small_run(tmp_path, encoders["bert"])
    more = ["model.abstain_below=1", "training.epochs=1", "show_sample=true"]
    done = succeed("train.py", *settings(*more), here=True)
    assert "abstained" in done.stdout
    model = tmp_path / "run/model"
    rows = rows_of(model, tmp_path / "test.jsonl", tmp_path / "o.jsonl")
    assert all(row["label"] is None and row["abstained"] for row in rows)
    rows = rows_of(model, tmp_path / "test.jsonl", tmp_path / "all.jsonl", "--abstain-below", "0")
    assert all(row["label"] and "abstained" not in row for row in rows)
    several = [f"run_dir={tmp_path / 'several'}", "data.label_type=multi_label"]
    error = refuse("train.py", *settings(*more, *several), here=True)
    assert "model.abstain_below" in error and "multi_label" in error


def test_what_a_model_cannot_be_asked_is_one_line(models, docs, tmp_path) -> None:
    for kind, flags, told in (
        ("both", ("--threshold", "0.5"), ["threshold", "multi_label", "single_label"]),
        ("many", ("--abstain-below", "0.5"), ["abstain_below", "multi_label", "single_label"]),
        ("number", ("--top-labels", "2"), ["top_labels", "regression"]),
        ("summaries", ("--threshold", "0.5"), ["--threshold", "classify"]),
        ("many", ("--threshold", "1.5"), ["--threshold", "1.5", "0 to 1"]),
        ("many", ("--threshold", "nan"), ["--threshold", "nan", "0 to 1"]),
        ("many", ("--top-labels", "0"), ["--top-labels", "0", "at least 1"]),
    ):
        asked = ["--model", models[kind], "--input", docs, "--output", tmp_path / "o.jsonl"]
        error = refuse("infer.py", *asked, *flags, here=True)
        assert all(word in error for word in told), error
        assert not list(tmp_path.iterdir())
    predictor = HierBertPredictor.from_pretrained(models["many"], device="cpu")
    for given in ({"threshold": "0.5"}, {"threshold": True}, {"top_labels": 1.5}):
        with pytest.raises(ConfigError, match="is not allowed"):
            predictor.classify(TEXTS, **given)
