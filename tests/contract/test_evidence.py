"""Evidence of answers as users see it: rows, files, Python, pipelines, and what is refused."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import read_jsonl, refuse, succeed, write_jsonl
from conftest import make_rows
from publishing import FIRST_FORMAT
from transformers import pipeline

from hierbert import ConfigError, HierBert

TEXTS = [row["text"] for row in make_rows(4)]
PARTS = ("segments", "sentences", "words")


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": f"d{n}", "text": text} for n, text in enumerate([*TEXTS, ""])]
    return write_jsonl(tmp_path_factory.mktemp("docs") / "docs.jsonl", rows)


def infer(model: Path, docs: Path, output: Path, *more: str) -> None:
    asked = ["--model", model, "--input", docs, "--output", output, "--task", "classify"]
    succeed("infer.py", *asked, *more, here=True)


def close(found: Any, expected: Any) -> None:
    """The same parts in the same order, and the same numbers but for rounding."""
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other) and one["label"] == other["label"]
        for kind in PARTS:
            numbers = [[own.pop("contribution") for own in each[kind]] for each in (one, other)]
            assert numbers[0] == pytest.approx(numbers[1], abs=1e-5)
            assert one[kind] == other[kind]


def test_rows_of_all_formats_python_and_pipelines_hold_the_same(models, docs, tmp_path) -> None:
    flags = ("--evidence", "--evidence-labels", "law,a.b", "--evidence-count", "2")
    for ending in ("jsonl", "csv", "parquet"):
        infer(models["both"], docs, tmp_path / f"o.{ending}", *flags)
    rows = read_jsonl(tmp_path / "o.jsonl")
    assert list(rows[0]) == ["id", "label", "probabilities", "evidence"]
    for row, text in zip(rows, [*TEXTS, ""], strict=True):
        labels = [one["label"] for one in row["evidence"]]
        assert labels == list(dict.fromkeys([row["label"], "law", "a.b"]))
        for one in row["evidence"]:
            assert list(one) == ["label", "logit", *PARTS] and one["words"] == []
            for kind in PARTS[:2]:
                assert len(one[kind]) == (2 if text else 0)
                assert all(text[own["start"] : own["end"]].strip() for own in one[kind])
    evidence = [row["evidence"] for row in rows]
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        assert [json.loads(row["evidence"]) for row in csv.DictReader(file)] == evidence
    assert pq.read_table(tmp_path / "o.parquet").column("evidence").to_pylist() == evidence
    model = HierBert.from_pretrained(models["both"], device="cpu")
    asked = {"evidence": ["law", "a.b"], "evidence_count": 2}
    answers = model.classify(TEXTS, **asked)
    streamed = list(model.predict(TEXTS, ["classify"], asked))
    piped = pipeline("document-classification", model=str(models["both"]))(TEXTS, **asked)
    for own, answer, other, found in zip(evidence, answers, streamed, piped, strict=False):
        assert answer.evidence == other.evidence
        close(json.loads(json.dumps(found["evidence"])), json.loads(json.dumps(own)))
        close(answer.evidence, own)


def test_evidence_is_part_of_a_job(models, docs, tmp_path) -> None:
    job = ["--model", models["many"], "--input", docs, "--output", tmp_path / "o"]
    job += ["--rows-per-shard", "2"]
    succeed("infer.py", *job, "--evidence", here=True)
    succeed("infer.py", *job, "--evidence", "--resume", here=True)
    others = [(), ("--evidence-labels", "law"), ("--evidence", "--evidence-count", "3")]
    for other in [*others, ("--evidence", "exact")]:
        assert "evidence" in refuse("infer.py", *job, *other, "--resume", here=True)


def test_a_summary_tells_what_the_scores_of_its_sentences_are_made_of(
    models, docs, tmp_path
) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        asked = ["--model", models["summaries"], "--input", docs, "--evidence"]
        succeed("infer.py", *asked, "--output", tmp_path / f"o.{ending}", here=True)
    rows = read_jsonl(tmp_path / "o.jsonl")
    evidence = [row["sentence_evidence"] for row in rows]
    for row, own in zip(rows, evidence, strict=True):
        assert len(own) == len(row["sentences"]) and (own or not row["summary"])
        for sentence, one in zip(row["sentences"], own, strict=True):
            # The only member of this model.
            assert list(one) == ["logit", "average", "layers"]
            assert one["average"] + one["layers"] == pytest.approx(one["logit"], abs=1e-4)
            assert 1 / (1 + math.exp(-one["logit"])) == pytest.approx(sentence["score"], abs=1e-5)
    assert any(evidence)
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        assert [json.loads(row["sentence_evidence"]) for row in csv.DictReader(file)] == evidence
    kept = pq.read_table(tmp_path / "o.parquet").column("sentence_evidence").to_pylist()
    assert [json.loads(one) for one in kept] == evidence
    model = HierBert.from_pretrained(models["summaries"], device="cpu")
    for answer, own in zip(model.summarize(TEXTS, evidence=True), evidence, strict=False):
        assert [list(one.values()) for one in answer.sentence_evidence] == [
            pytest.approx(list(one.values()), abs=1e-5) for one in own
        ]
    assert "sentence_evidence" not in model.summarize(TEXTS[0])[0].others


def test_a_model_of_0_1_0_tells_segments_and_sentences(tmp_path) -> None:
    model = HierBert.from_pretrained(FIRST_FORMAT, device="cpu")
    [answer] = model.classify(" ".join(TEXTS), evidence=True)
    [own] = answer.evidence
    assert own["label"] == answer.label and own["words"] == []
    assert len(own["segments"]) > 1 and own["sentences"]


def test_what_no_evidence_can_be_told_of_is_one_line(models, docs, tmp_path) -> None:
    for kind, flags, told in (
        ("both", ("--evidence-labels", "lav"), ["--evidence-labels", "'lav'", "'law'"]),
        ("summaries", ("--evidence-labels", "law"), ["--evidence-labels", "classify"]),
        ("summaries", ("--evidence-count", "2"), ["--evidence-count", "classify"]),
        ("both", ("--evidence-count", "3"), ["--evidence-count=3", "without evidence"]),
        ("both", ("--evidence", "all"), ["--evidence", "'all'", "exact"]),
        ("both", ("--evidence", "--evidence-count", "0"), ["--evidence-count", "at least 1"]),
        ("number", ("--evidence-labels", "law"), ["--evidence-labels", "'law'", "'value'"]),
    ):
        asked = ["--model", models[kind], "--input", docs, "--output", tmp_path / "o.jsonl"]
        error = refuse("infer.py", *asked, *flags, here=True)
        assert all(word in error for word in told), error
        assert not list(tmp_path.iterdir())
    column = ["--model", models["both"], "--input", docs, "--output", tmp_path / "o.jsonl"]
    assert "evidence=NEW" in refuse("infer.py", *column, "--keep-columns", "evidence", here=True)
    model = HierBert.from_pretrained(models["many"], device="cpu")
    more = ({"evidence_count": 1.5}, {"evidence_exact": 1})
    for wrong in (
        {"evidence": "law"},
        {"evidence": 1},
        *({"evidence": True, **own} for own in more),
    ):
        with pytest.raises(ConfigError, match="is not allowed"):
            model.classify(TEXTS, **wrong)
    assert model.classify(TEXTS, evidence=False)[0].evidence is None
    alone = HierBert.from_pretrained(models["summaries"], device="cpu")
    with pytest.raises(ConfigError, match=r"evidence=\['law'\] is not allowed: true or false"):
        alone.summarize(TEXTS, evidence=["law"])
    with pytest.raises(ConfigError, match="evidence is of learnt scores"):
        HierBert.summarizer().summarize(TEXTS, evidence=True)
