"""Rows of answers as csv and parquet, for ids, texts and labels of any kind."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import read_jsonl, write_jsonl
from conftest import make_rows as make_documents
from hypothesis import example, given, settings
from hypothesis import strategies as st
from inference import answer, save_model

from hierbert.errors import RunError
from hierbert.prediction.answer_files import RowWriter, encode_line, write_rows

AWKWARD = st.text(
    st.one_of(st.sampled_from("\r\n\",\0\ufeff\x85\u2028' ;\\"), st.characters(codec="utf-8"))
)


def make_rows(fields: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"id": name, "label": "a", "probabilities": {"a": 1.0}, "summary": text}
        for name, text in fields
    ]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@given(st.lists(st.tuples(AWKWARD, AWKWARD), min_size=1, max_size=5))
@example([("a\rb", "\r"), ("\r\n", "\ufeff\0"), ("", "")])
@settings(deadline=None, max_examples=100)
def test_csv_gives_back_every_text(tmp_path_factory, fields: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("csv")
    rows = make_rows(fields)
    lines = [encode_line(row).encode() for row in rows]
    write_rows(lines, folder / "out.csv", "csv")
    stream = io.StringIO(newline="")
    writer = RowWriter(stream, "csv")
    for row in rows:
        writer.write(row)
    (folder / "stream.csv").write_bytes(stream.getvalue().encode("utf-8"))
    for name in ("out.csv", "stream.csv"):
        found = read_csv(folder / name)
        assert [(row["id"], row["summary"]) for row in found] == fields
        assert all(json.loads(row["probabilities"]) == {"a": 1.0} for row in found)


def test_rows_of_csv_end_in_a_newline_alone(tmp_path) -> None:
    stream = io.StringIO(newline="")
    writer = RowWriter(stream, "csv")
    for row in ({"id": "a\r", "label": 1.5}, {"id": "b", "label": 2.0}):
        writer.write(row)
    assert stream.getvalue() == 'id,label,omission\n"a\r",1.5,\nb,2.0,\n'


HALVES = ["\ud800", "\ud801", "a\udfff", "\ufffd", "\ufffd (2)", "plain"]
CLEAN = ["\ufffd (3)", "\ufffd (4)", "a\ufffd", "\ufffd", "\ufffd (2)", "plain"]


@pytest.mark.parametrize("multi_label", [False, True])
def test_labels_with_half_a_surrogate_pair_stay_apart(encoders, tmp_path, multi_label) -> None:
    problem = "multi_label_classification" if multi_label else "single_label_classification"
    model = save_model(
        tmp_path / "model", encoders["bert"], num_labels=len(HALVES), problem_type=problem
    )
    config = json.loads((model / "config.json").read_text())
    config["id2label"] = {str(number): label for number, label in enumerate(HALVES)}
    config["label2id"] = {label: number for number, label in enumerate(HALVES)}
    (model / "config.json").write_text(json.dumps(config))
    documents = write_jsonl(tmp_path / "docs.jsonl", make_documents(9, seed=3))
    for ending in ("jsonl", "csv", "parquet"):
        answer(model, documents, tmp_path / f"out.{ending}")
    expected = read_jsonl(tmp_path / "out.jsonl")
    clean = dict(zip(HALVES, CLEAN, strict=True))
    column = "labels" if multi_label else "label"
    read = json.loads if multi_label else str
    found = [
        (read(row[column]), json.loads(row["probabilities"]))
        for row in read_csv(tmp_path / "out.csv")
    ]
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert found == [(row[column], row["probabilities"]) for row in table]
    for row, (label, probabilities) in zip(expected, found, strict=True):
        assert list(row["probabilities"]) == HALVES
        assert probabilities == {clean[name]: p for name, p in row["probabilities"].items()}
        if multi_label:
            assert label == [clean[name] for name in row["labels"]]
        else:
            assert label == clean[row["label"]]


def test_parquet_keeps_what_heads_of_other_kinds_answer(tmp_path) -> None:
    rows = [
        {"id": "a", "words": 3, "path": [], "parts": {"x": 1}, "note": "n", "sure": True},
        {"id": "b", "words": 3.9, "path": ["r", 1], "parts": {"y": None}, "note": "", "sure": None},
    ]
    write_rows([encode_line(row).encode() for row in rows], tmp_path / "o.parquet", "parquet")
    found = pq.read_table(tmp_path / "o.parquet").to_pylist()
    for row, wanted in zip(found, rows, strict=True):
        assert (row["words"], row["note"]) == (wanted["words"], wanted["note"])
        for name in ("path", "parts", "sure"):
            assert json.loads(row[name]) == wanted[name]
    mixed = [{"id": "a", "words": 3}, {"id": "b", "words": "three"}]
    with pytest.raises(RunError, match="another type") as caught:
        write_rows([encode_line(row).encode() for row in mixed], tmp_path / "m.parquet", "parquet")
    assert "\n" not in str(caught.value) and not (tmp_path / "m.parquet").exists()
