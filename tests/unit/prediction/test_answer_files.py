"""Rows of answers as csv and parquet, for ids, texts and labels of any kind."""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import read_jsonl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hierbert.errors import RunError
from hierbert.prediction.answer_files import StandardOutput, encode_line, write_rows
from hierbert.prediction.units import InputRow, Result

AWKWARD = st.text(
    st.one_of(st.sampled_from("\r\n\",\0\ufeff\x85\u2028' ;\\"), st.characters(codec="utf-8"))
)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows in the format of the file's ending."""
    write_rows([encode_line(row).encode() for row in rows], path, path.suffix[1:])


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@given(st.lists(st.tuples(AWKWARD, AWKWARD), min_size=1, max_size=5))
@example([("a\rb", "\r"), ("\r\n", "\ufeff\0"), ("", "")])
@settings(deadline=None, max_examples=100)
def test_csv_gives_back_every_text(tmp_path_factory, fields: list[tuple[str, str]]) -> None:
    output = tmp_path_factory.mktemp("csv") / "out.csv"
    write(output, [{"id": name, "labels": [text], "summary": text} for name, text in fields])
    found = read_csv(output)
    assert [(row["id"], row["summary"]) for row in found] == fields
    assert [json.loads(row["labels"]) for row in found] == [[text] for _, text in fields]


def test_rows_of_csv_end_in_a_newline_alone(tmp_path) -> None:
    write(tmp_path / "o.csv", [{"id": "a\r", "label": 1.5}, {"id": "b", "label": 2.0}])
    content = (tmp_path / "o.csv").read_bytes()
    assert content == b'id,label,omission\n"a\r",1.5,\nb,2.0,\n'


LABELS = ["\ud800", "\ud801", "a\udfff", "\ufffd", "\ufffd (2)", "plain"]
# What they are called in csv and parquet.
NAMES = ["\ufffd (3)", "\ufffd (4)", "a\ufffd", "\ufffd", "\ufffd (2)", "plain"]


def test_labels_with_half_a_surrogate_pair_stay_apart(tmp_path) -> None:
    given, expected = (
        [
            {"label": name, "labels": [name, "plain"], "probabilities": dict.fromkeys(names, 0.5)}
            for name in names
        ]
        for names in (LABELS, NAMES)
    )
    rows = [{"id": "a", **row} for row in given]
    for ending in ("jsonl", "csv", "parquet"):
        write(tmp_path / f"o.{ending}", rows)
    assert read_jsonl(tmp_path / "o.jsonl") == rows
    table = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert table == [{"id": "a", **row, "omission": None} for row in expected]
    for row, wanted in zip(read_csv(tmp_path / "o.csv"), expected, strict=True):
        assert row["label"] == wanted["label"]
        assert [json.loads(row[n]) for n in ("labels", "probabilities")] == [
            wanted["labels"], wanted["probabilities"],
        ]  # fmt: skip


def test_parquet_keeps_what_heads_of_other_kinds_answer(tmp_path) -> None:
    rows = [
        {"id": "a", "words": 3, "path": [], "parts": {"x": 1}, "note": "n", "sure": True},
        {"id": "b", "words": 3.9, "path": ["r", 1], "parts": {"y": None}, "note": "", "sure": None},
    ]
    write(tmp_path / "o.parquet", rows)
    found = pq.read_table(tmp_path / "o.parquet").to_pylist()
    for row, wanted in zip(found, rows, strict=True):
        assert (row["words"], row["note"]) == (wanted["words"], wanted["note"])
        for name in ("path", "parts", "sure"):
            assert json.loads(row[name]) == wanted[name]
    mixed = [{"id": "a", "words": 3}, {"id": "b", "words": "three"}]
    with pytest.raises(RunError, match="another type") as caught:
        write(tmp_path / "m.parquet", mixed)
    assert "\n" not in str(caught.value)


def test_parquet_holds_each_row_once_in_groups_of_a_thousand(tmp_path) -> None:
    names = [str(number) for number in range(2_001)]
    write(tmp_path / "o.parquet", [{"id": name} for name in names])
    file = pq.ParquetFile(tmp_path / "o.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [1000, 1000, 1]
    assert file.read()["id"].to_pylist() == names


def test_a_packed_file_tells_neither_its_time_nor_its_name(tmp_path) -> None:
    write_rows([b'{"id": "a"}\n'], tmp_path / "o.jsonl.gz", "jsonl.gz")
    # Flags, of which one is for a name, and four bytes of time (RFC 1952).
    assert (tmp_path / "o.jsonl.gz").read_bytes()[3:8] == b"\0" * 5


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_each_answer_is_out_at_once(monkeypatch, kind) -> None:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    with open(writes, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        made = StandardOutput(kind)
        for name in ("first", "second"):
            row = InputRow("docs.jsonl, line 1", name, "A text.", None, "0" * 16, 7)
            made.write(Result(row, {"id": name, "label": "x"}, None))
            assert name in os.read(reads, 1000).decode()
    os.close(reads)
