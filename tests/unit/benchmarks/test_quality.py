"""The benchmark of answers: what it holds out, what it keeps of a run, and the tables it makes."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.common.answers import gain, interval, mcnemar, packed, unpacked
from benchmarks.common.corpora import documents
from benchmarks.quality import cell_of, tables


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_a_corpus_without_test_file_gives_up_a_part_that_shares_no_text(tmp_path) -> None:
    rows = [
        {"id": str(n), "text": f"text {n % 150}", "labels": ["a"], "label": "b", "other": 1}
        for n in range(200)
    ]
    write(tmp_path / "cuad" / "train.jsonl.gz", rows)
    splits = documents("cuad", tmp_path, 0)
    train, test = ({row["text"] for row in splits[name]} for name in ("train", "test"))
    assert not train & test and len(train | test) == 150 and 10 < len(test) < 60
    assert sum(map(len, splits.values())) == 200
    assert splits["train"][0].keys() == {"id", "text", "label"}
    assert splits["train"][0]["label"] == ["a"]


def test_long_posts_are_read_without_their_headers(tmp_path) -> None:
    texts = ["From: me\nSubject: x\n\n" + "word " * count for count in (400, 10)]
    rows = [{"id": str(n), "text": text, "label": "a"} for n, text in enumerate(texts)]
    for split in ("train", "test"):
        write(tmp_path / "20newsgroups" / f"{split}.jsonl.gz", rows)
    splits = documents("20newsgroups", tmp_path, 0)
    assert [row["text"] for row in splits["train"]] == ["word " * 400]


def test_folds_test_each_document_once_and_keep_equal_texts_together(tmp_path) -> None:
    rows = [
        {"id": "", "text": f"text {n % 90}", "label": str(n), "fold": n % 10} for n in range(100)
    ]
    for name in ("movie-reviews", "hyperpartisan"):
        for split, place in (("train", 0), ("validation", 60), ("test", 80)):
            own = rows[place : place + (60 if split == "train" else 20)]
            write(tmp_path / name / f"{split}.jsonl.gz", own)
    tested: dict[str, list[str]] = {"movie-reviews": [], "hyperpartisan": []}
    for name, seeds in (("movie-reviews", 10), ("hyperpartisan", 5)):
        for seed in range(seeds):
            splits = documents(f"{name}-folds", tmp_path, seed)
            assert sum(map(len, splits.values())) == 100 and all(splits.values())
            tested[name] += [row["label"] for row in splits["test"]]
            assert len({row["id"] for own in splits.values() for row in own}) == 100
            train, validation, test = ({row["text"] for row in own} for own in splits.values())
            if name == "hyperpartisan":
                assert not (train & test or train & validation or validation & test)
        assert sorted(tested[name], key=int) == [row["label"] for row in rows]
    # The first is the split that is given elsewhere, the next is another one.
    first = documents("movie-reviews-folds", tmp_path, 0)
    assert {int(row["label"]) % 10 for row in first["test"]} == {9}
    assert {int(row["label"]) % 10 for row in first["validation"]} == {8}
    with pytest.raises(SystemExit, match="--seeds 5"):
        documents("hyperpartisan-folds", tmp_path, 5)


def test_papers_that_hold_their_summary_are_left_out(tmp_path) -> None:
    words = [f"w{n}" for n in range(40)]
    whole, none = " ".join(words), " ".join(reversed(words))
    rows = [
        {"id": "copied", "text": f"x {whole} y", "summary": whole},
        {"id": "own", "text": none, "summary": whole},
    ]
    for split in ("train", "validation"):
        write(tmp_path / "scisummnet" / f"{split}.jsonl.gz", rows)
    splits = documents("scisummnet", tmp_path, 0)
    assert splits.keys() == {"train", "test"}
    for (row,) in splits.values():
        assert (row["text"], row["summary"]) == (none, whole)
    assert documents("aclsum", tmp_path, 0) == {}


def rows_of(systems: dict[str, list[Any]], task: str = "classification") -> list[dict[str, Any]]:
    return [
        {"id": f"d{n}", "tokens": 100 * n, task: {name: each[n] for name, each in systems.items()}}
        for n in range(len(next(iter(systems.values()))))
    ]


LABELS: dict[str, list[Any]] = {
    "true": ["x", "y", "x", "x", "y", "y"] * 5,
    "hierbert": ["x", "y", "x", "y", "y", "x"] * 5,
    "TF-IDF, SVM": ["x", "x", "x", "x", "x", "z"] * 5,
}


def test_answers_are_kept_as_numbers_and_come_back() -> None:
    kept = packed(rows_of(LABELS))
    text = json.dumps(kept)
    assert "x" not in text.replace("TF-IDF, SVM", "") and '"d0"' not in text and len(text) < 600
    found = unpacked(kept, "classification")
    assert found.kind == "single_label" and found.tokens.tolist() == [100 * n for n in range(30)]
    for name, own in found.systems.items():
        right = [a == b for a, b in zip(LABELS[name], LABELS["true"], strict=True)]
        assert (own == found.true).tolist() == right
    several = {"true": [["b"], [], ["a", "c"]], "hierbert": [[], ["c"], ["c", "a"]]}
    found = unpacked(packed(rows_of(several)), "classification")
    assert found.true.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]
    assert found.systems["hierbert"].tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 1]]
    assert found.metrics() == ["macro_f1", "micro_f1"]
    scores = {"hierbert": [0.12345678, 0.5], "LexRank": [0.0, 1.0]}
    found = unpacked(packed(rows_of(scores, "summarization")), "summarization")
    assert found.systems["hierbert"].tolist() == [0.1235, 0.5] and found.metrics() == ["rouge1"]


def test_what_is_gained_is_tested_on_the_same_documents() -> None:
    run = unpacked(packed(rows_of(LABELS)), "classification")
    mean, low, high, _ = gain([run], "hierbert", "TF-IDF, SVM", "accuracy")
    # Right are 4 of 6 and 3 of 6; they differ on 3 of 6, once for the worse.
    assert mean == pytest.approx(1 / 6) and low < mean < high
    better, worse = 10, 5
    expected = 2 * sum(math.comb(15, k) for k in range(worse + 1)) / 2**15
    assert mcnemar([run], "hierbert", "TF-IDF, SVM") == pytest.approx(expected)
    # As wide as the deviation of so many differences says, and no less for runs done twice.
    spread = np.std([1] * better + [-1] * worse + [0] * 15) / math.sqrt(30)
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.15)
    assert gain([run, run], "hierbert", "TF-IDF, SVM", "accuracy")[:3] == (mean, low, high)
    assert mcnemar([run, run], "hierbert", "TF-IDF, SVM") == pytest.approx(expected)
    other = packed(rows_of(LABELS)) | {"documents": "0123456789ab"}
    pooled = gain([run, unpacked(other, "classification")], "hierbert", "TF-IDF, SVM", "accuracy")
    assert pooled[0] == mean and pooled[2] - pooled[1] < 0.9 * (high - low)
    ends = [4 / 6 + sign * 1.96 * math.sqrt(4 / 6 * 2 / 6 / 30) for sign in (-1, 1)]
    assert interval([run], "hierbert", "accuracy") == pytest.approx((4 / 6, *ends), abs=0.04)
    scores = {"hierbert": [0.5, 0.25] * 20, "LexRank": [0.25, 0.125] * 20}
    run = unpacked(packed(rows_of(scores, "summarization")), "summarization")
    mean, low, high, p = gain([run], "hierbert", "LexRank", "rouge1")
    assert mean == pytest.approx(0.1875) and 0.125 < low < mean < high < 0.25 and p < 0.01


def cell(accuracy: float) -> dict[str, Any]:
    """Of a run before answers were kept."""
    systems = {
        "commonest labels": {"accuracy": 0.5},
        "hierbert": {"accuracy": accuracy, "log_loss": 0.25},
    }
    return {"documents": 9, "systems": systems}


def test_a_table_has_means_and_spread_over_seeds() -> None:
    (table,) = tables({"law/frozen/0": cell(0.8), "law/frozen/1": cell(0.9)})
    assert "law, frozen: 9 test documents, 2 seeds" in table
    assert "| commonest labels | 50.0 |  |" in table
    assert "| hierbert | 85.0 (80.0 to 90.0) | 0.250 |" in table


def test_a_run_that_kept_its_answers_has_tests_and_lengths() -> None:
    rows = rows_of({"true": LABELS["true"], "hierbert": LABELS["hierbert"]})
    for row, label in zip(rows, LABELS["TF-IDF, SVM"], strict=True):
        row["classification"]["tfidf_svm"] = label
        row["summarization"] = {"Lead": 0.25, "hierbert": 0.5, "Oracle": 0.75}
    figures = {
        name: {"rouge1": {"mean": mean}} for name, mean in (("Lead", 0.25), ("Oracle", 0.75))
    }
    results = {
        "gain": {"tfidf_svm": {}},
        "tfidf_svm": {"accuracy": 0.5, "weighted_f1": 0.5},
        "members": {"scores": {"words": {"accuracy": 0.25}}, "weights": {"words": 1.0}},
        "summaries": {"systems": figures},
        "scores": {"accuracy": 2 / 3, "rouge1": 0.5, "loss": 1.0},
        **{"documents": 30, "seconds": 1.0, "environment": {}},
    }
    made = cell_of(results, rows)
    assert made["systems"]["TF-IDF, SVM"] == {"accuracy": 0.5}
    scores, gains, lengths, summaries, *_ = tables({"a/frozen/0": made, "a/frozen/1": cell(0.7)})
    assert "| words alone (1 seeds) | 25.0 |  |" in scores
    assert "| hierbert, 95 % interval over documents | 5" in scores
    assert (
        "- accuracy over TF-IDF, SVM: +16.7 [-" in gains
        and "McNemar p of the first = 0.302" in gains
    )
    sizes = ["up to 512 | 6 |", "up to 1,024 | 5 |", "up to 2,048 | 10 |", "up to 4,096 | 9 |"]
    for line, size in zip(lengths.split("\n")[2:], sizes, strict=True):
        assert line.startswith(f"| {size} ")
    assert lengths.split("\n")[2].startswith("| up to 512 | 6 | 66.7 | 50.0 | +16.7 [")
    assert summaries.startswith("- rouge1 over Lead: +25.0 [+25.0, +25.0]")
