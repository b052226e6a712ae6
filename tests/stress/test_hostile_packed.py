"""Damaged gzip and Parquet files: what they cost."""

import gzip
import random
import re
from collections import Counter
from pathlib import Path

import pyarrow
from pyarrow import parquet
from reading import NOTHING_READ, broken, check, line, load_all

from hierbert.extend import BrokenRow, Example

A, B = line("a"), line("b")


def test_truncated_and_damaged_gzip_cost_the_rest_of_their_file_only(tmp_path) -> None:
    chance = random.Random(0)
    text = b"".join(line(f"{number} {chance.randbytes(500).hex()}") for number in range(1000))
    whole = bytearray(gzip.compress(text))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    whole[-8] ^= 0xFF  # of the checksum
    (tmp_path / "b.jsonl.gz").write_bytes(whole)
    (tmp_path / "c.jsonl.gz").write_bytes(b"no gzip at all")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(A) + b"rubbish behind the end")
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(A) + gzip.compress(B))
    items = load_all(tmp_path)
    assert items == load_all(tmp_path)
    lost = {Path(item.location).name[0]: item for item in items if isinstance(item, BrokenRow)}
    rows = [item for item in items if isinstance(item, Example)]
    assert list(lost) == ["a", "b", "c", "d"] and len(rows) + 4 == len(items)
    counts = Counter(row.id[0] for row in rows)
    assert 400 < counts["a"] < 500 and counts["b"] == 1000  # half of the file, and all of it
    for row in rows[:-3]:
        assert row.text.startswith(f"{int(row.id.split('-')[1]) - 1} ")
    for name in "abd":
        assert f"the rest of the file after line {counts[name]} was not read" in lost[name].reason
    assert "what was read of it may be wrong too" in lost["b"].reason
    assert re.search("damaged or not gzip data.*" + NOTHING_READ, lost["c"].reason)
    assert [row.id for row in rows[-3:]] == ["d-1", "e-1", "e-2"]


def test_parquet_whose_values_or_ends_are_damaged(tmp_path) -> None:
    path = tmp_path / "f.parquet"
    texts = pyarrow.array([b"caf\xe9", b"fine"], pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": texts}), path)
    check(path, [broken("cannot read a value: .*utf-8", "row 1"), ("f-2", "fine")])
    far = pyarrow.array([2**31 - 1, 0], pyarrow.int32()).view(pyarrow.date32())
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "day": far}), path)
    check(path, [broken("cannot read a value", "row 1"), ("f-2", "b")])
    parquet.write_table(pyarrow.table({"txt": ["a"]}), path)
    check(path, [broken("no column 'text'.*mean 'txt'.*; its 1 rows were not read")])
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), path)
    check(path, [broken("^holds no rows$")])
    parquet.write_table(pyarrow.table({"text": ["a"] * 1000}), path)
    whole = path.read_bytes()
    for cut in (0, 3, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        check(path, [broken("cannot be read as parquet.*" + NOTHING_READ)])


def test_parquet_damaged_in_the_middle_costs_its_rest(tmp_path) -> None:
    path = tmp_path / "f.parquet"
    table = pyarrow.table({"text": [f"document {number}" * 50 for number in range(200)]})
    parquet.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False)
    column = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 50] = b"\xff" * 50
    path.write_bytes(data)
    *rows, rest = load_all(path)
    assert [row.id for row in rows] == [f"f-{number}" for number in range(1, len(rows) + 1)]
    assert 64 <= len(rows) <= 100
    assert f"the rest of the file after row {len(rows)} was not read" in rest.reason
