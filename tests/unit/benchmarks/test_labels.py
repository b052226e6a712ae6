"""The benchmark of labels: what it holds out, and the tables it makes."""

import gzip
import json
from pathlib import Path

from benchmarks.labels import corpus, tables


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
    splits = corpus("cuad", tmp_path)
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
    splits = corpus("20newsgroups", tmp_path)
    assert [row["text"] for row in splits["train"]] == ["word " * 400]


def test_a_table_has_means_and_spread_over_seeds() -> None:
    def cell(accuracy: float) -> dict:
        systems = {
            "commonest labels": {"accuracy": 0.5},
            "hierbert": {"accuracy": accuracy, "log_loss": 0.25},
        }
        return {"documents": 9, "systems": systems}

    (table,) = tables({"law/frozen/0": cell(0.8), "law/frozen/1": cell(0.9)})
    assert "law, frozen: 9 test documents, 2 seeds" in table
    assert "| commonest labels | 50.0 |  |" in table
    assert "| hierbert | 85.0 (80.0 to 90.0) | 0.250 |" in table
