"""Parquet files that hold far more than their size: what is refused, and what is read."""

import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import load_all

from hierbert.data import parquet, streams
from hierbert.data.document import Row, RowError, Source
from hierbert.data.parquet import read_parquet

TOO_MUCH = "unpacks to more than is allowed"
PEAK = """
import resource, sys
from hierbert import read_documents
import pyarrow.parquet, pyarrow.compute
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    items = 0
    for item in read_documents(path, keep_broken=True):
        items += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(items, peak, getattr(item, "reason", ""))
"""
BOMBS = ("texts", "lists", "packed well", "numbers", "long texts")


def read(path: Path) -> list[Row | RowError]:
    return list(read_parquet(Source(str(path), "parquet", path), "utf-8"))


def repeated(text: str, rows: int) -> pa.Array:
    """A column that says the same in all rows, and takes the room of one."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def write(path: Path, columns: dict[str, Any], **more: Any) -> Path:
    pq.write_table(pa.table(columns), path, **{"compression": "zstd", **more})
    return path


def bomb(path: Path, name: str) -> Path:
    texts = repeated("x" * 9_000_000, 2_000)
    if name == "texts":
        return write(path, {"id": pa.array(range(2_000)).cast(pa.string()), "text": texts})
    if name == "lists":
        return write(path, {"text": pa.ListArray.from_arrays(pa.array([0, 1_000, 2_000]), texts)})
    if name == "long texts":
        return write(path, {"text": repeated("y" * 180_000_000, 64)})
    if name == "packed well":
        return write(path, {"text": ["x" * 20_000_000] * 10}, use_dictionary=False)
    zeros = pa.array(np.zeros(30_000_000, np.int64))
    return write(
        path, {"text": pa.ListArray.from_arrays(pa.array([0, 10_000_000, 30_000_000]), zeros)}
    )


@pytest.mark.slow
def test_parquet_bombs_are_refused_in_bounded_memory(tmp_path) -> None:
    paths = [bomb(tmp_path / f"{name}.parquet", name) for name in BOMBS]
    assert all(path.stat().st_size < 50_000 for path in paths)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, paths)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(BOMBS)
    for name, line in zip(BOMBS, lines, strict=True):
        items, kib, reason = line.split(" ", 2)
        assert TOO_MUCH in reason, name
        # What the first 100 MB hold is read; the 2,000 rows would hold 18 GB.
        assert int(items) <= 13 and int(kib) < 1.3 * 2**20, name


def test_rows_before_the_limit_are_read(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "a.parquet", {"text": repeated("x" * 10_000, 400)})
    assert len(read(path)) == 400
    monkeypatch.setattr(streams, "MAX_DECOMPRESSED_BYTES", 2_000_000)
    monkeypatch.setattr(parquet, "_BYTES_AT_ONCE", 1)
    monkeypatch.setattr(parquet, "_BYTES_PER_BATCH", 1)
    *rows, rest = load_all(path)
    assert len(rows) == 200
    assert f"{TOO_MUCH} (2,000,000 bytes" in rest.reason and "write it as JSON L" in rest.reason
    assert "the rest of the file after row 200" in rest.reason


def test_a_row_of_too_many_characters_is_broken(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(streams, "MAX_ROW_CHARACTERS", 1_000)
    for letter, in_list, as_dictionary in itertools.product("xé", [False, True], [False, True]):
        texts = [letter * length for length in (1, 1_000, 1_001, 2)]
        values = [[text[:500], text[500:]] for text in texts] if in_list else texts
        path = write(tmp_path / "a.parquet", {"text": values}, use_dictionary=as_dictionary)
        first, second, broken, last = read(path)
        assert isinstance(first, Row) and isinstance(last, Row) and isinstance(second, Row)
        assert second.values == {"text": values[1]}
        assert str(broken) == f"{path}, row 3: has more than 1,000 characters"


@pytest.mark.parametrize(
    ("group", "bytes_per_batch"), [(7, 2_000), (100, 1), (100, 2_000), (1_000, 1), (1_000, 2**28)]
)
def test_rows_are_the_same_however_they_are_read(
    tmp_path, monkeypatch, group, bytes_per_batch
) -> None:
    draw = random.Random(1)
    words = ["a", "long " * 60, None, "é", ""]
    rows = [
        {
            "id": number,
            "text": draw.choice(words),
            "list": draw.choices(words, k=draw.randrange(4)),
            "deep": {"a": [{"b": draw.choice(words)}], "c": 1.5},
            "bytes": b"ab" * draw.randrange(3),
        }
        for number in range(500)
    ]
    pairs = pa.array([[("k", "v")]] * 500, pa.map_("string", "string"))
    table = pa.Table.from_pylist(rows)
    large = table.schema.field("text").with_type(pa.large_string())
    table = table.set_column(1, large, table["text"].cast(pa.large_string()))
    kinds = table["text"].cast(pa.string()).dictionary_encode()
    table = table.append_column("category", kinds).append_column("pairs", pairs)
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=group, dictionary_pagesize_limit=50)
    monkeypatch.setattr(parquet, "_BYTES_PER_BATCH", bytes_per_batch)
    assert [row.values for row in read(path) if isinstance(row, Row)] == table.to_pylist()
