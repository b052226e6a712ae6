"""Random and damaged files: rows and broken rows come out, the same on every reading, or one line.

Never another exception, whatever the bytes; and what a much simpler reading finds is what is found.
"""

import csv
import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from reading import check_both_ways, load_all

from hierbert import ConfigError, DataError, read_documents
from hierbert.extend import BrokenRow, Example

ENDINGS = ("jsonl", "csv", "tsv", "json", "txt", "parquet", "jsonl.gz", "csv.gz", "json.gz")
ENCODINGS = ("utf-8", "utf-16", "utf-32-be", "latin-1", "cp1252", "gb18030", "shift_jis", "utf-7")
few = settings(deadline=None, max_examples=150)


def read_both_ways(path: Path, **options: Any) -> list[Any]:
    """Items with broken rows kept, checked against another reading and one that keeps none."""
    kept = load_all(path, **options)
    check_both_ways(path, kept, **options)
    assert kept
    for item in kept:
        if isinstance(item, BrokenRow):
            assert item.reason and len(item.reason.splitlines()) == 1, item
            assert len(item.reason) < 5000
    ids = [item.id for item in kept if isinstance(item, Example)]
    assert len(set(ids)) == len(ids)
    return kept


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with a few bytes changed, put in or taken out, or its end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 10, 10_000])))
        odd = st.sampled_from([b'"', b"\n", b"\r", b",", b"\0", b"\\", b"\xff", b"\xe2\x82", b"{"])
        data[start:end] = draw(odd | st.binary(max_size=4))
    return bytes(data)


def tables() -> st.SearchStrategy[list[dict[str, Any]]]:
    texts = st.text(max_size=20)
    rows = st.fixed_dictionaries({"id": texts, "text": texts, "label": st.sampled_from("ab")})
    return st.lists(rows, min_size=1, max_size=6)


def written(rows: list[dict[str, Any]], ending: str, encoding: str = "utf-8") -> bytes:
    kind = ending.removesuffix(".gz")
    if kind == "parquet":
        buffer = io.BytesIO()
        known = [{name: fit(text, "utf-8") for name, text in row.items()} for row in rows]
        parquet.write_table(pyarrow.Table.from_pylist(known), buffer, row_group_size=2)
        return buffer.getvalue()
    if kind == "json":
        text = json.dumps(rows)
    elif kind == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif kind == "txt":
        text = rows[0]["text"]
    else:
        table = io.StringIO()
        delimiter = "\t" if kind == "tsv" else ","
        names = list(rows[0])
        csv.writer(table, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(
            [names, *([row[name] for name in names] for row in rows)]
        )
        text = table.getvalue()
    data = fit(text, encoding).encode(encoding)
    return data if kind == ending else gzip.compress(data)


def fit(text: str, encoding: str) -> str:
    return text.encode(encoding, "ignore").decode(encoding)


@few
@given(
    rows=tables(),
    ending=st.sampled_from([ending for ending in ENDINGS if ending != "txt"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"]),
)
def test_what_is_written_is_read_in_any_format_and_encoding(
    tmp_path_factory, rows, ending, encoding
) -> None:
    path = tmp_path_factory.mktemp("whole") / f"f.{ending}"
    path.write_bytes(written(rows, ending, encoding))
    found = load_all(path, encoding=encoding, id_column="", columns={"other": "id"})
    pairs = [(item.text, item.fields["other"]) for item in found]
    assert pairs == [(row["text"], row["id"]) for row in rows]


COLUMNS: list[dict[str, Any]] = [
    {},
    {"label_column": "label"},
    {"id_column": "", "summary_column": "text"},
]


@few
@given(
    rows=tables(),
    ending=st.sampled_from(ENDINGS),
    encoding=st.sampled_from(ENCODINGS),
    columns=st.sampled_from(COLUMNS),
    data=st.data(),
)
def test_damaged_files_and_random_bytes(
    tmp_path_factory, rows, ending, encoding, columns, data
) -> None:
    path = tmp_path_factory.mktemp("damaged") / f"f.{ending}"
    odd = damaged(written(rows, ending, encoding)) | st.binary(max_size=200)
    path.write_bytes(data.draw(odd))
    read_both_ways(path, encoding=encoding, **columns)


@pytest.mark.parametrize(
    ("data", "ending", "encoding"),
    [(b"\r", "csv", "utf-8"), (b"+", "jsonl", "utf-7"), (b"\x1f\x8b", "csv.gz", "utf-8")],
)
def test_bytes_that_were_once_misread(tmp_path, data, ending, encoding) -> None:
    (tmp_path / f"f.{ending}").write_bytes(data)
    read_both_ways(tmp_path / f"f.{ending}", encoding=encoding)


def simple_reading(data: bytes) -> list[str | None]:
    """The texts of JSON Lines whose ids are made; None for a row that must be broken."""
    found: list[str | None] = []
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line.strip(b" \t\r\n"):
            try:
                value = json.loads(line.decode("utf-8"), object_pairs_hook=list)
                assert not line.startswith(b"[")
                assert len({key for key, _ in value}) == len(value)
                text = dict(value)["text"]
                found.append(text if isinstance(text, str) else None)
            except (ValueError, TypeError, KeyError, AssertionError):
                found.append(None)
    return found


@few
@given(rows=tables(), data=st.data())
def test_damaged_json_lines_lose_the_damaged_lines_only(tmp_path_factory, rows, data) -> None:
    lines = [{"text": row["text"]} for row in rows]
    content = data.draw(damaged(written(lines, "jsonl")))
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return  # the mark of another encoding
    path = tmp_path_factory.mktemp("damaged") / "f.jsonl"
    path.write_bytes(content)
    kept = read_both_ways(path)
    found = [item.text if isinstance(item, Example) else None for item in kept]
    assert found == (simple_reading(content) or [None])


@settings(deadline=None, max_examples=400)
@given(text=st.text(st.sampled_from('a",\n\r'), max_size=14))
def test_a_table_has_the_rows_that_reading_it_at_once_gives(tmp_path_factory, text) -> None:
    path = tmp_path_factory.mktemp("table") / "f.csv"
    path.write_text("text,x\n" + text, newline="")
    kept = read_both_ways(path)
    found = [item.text if isinstance(item, Example) else None for item in kept]
    try:
        rows = list(filter(None, csv.reader(io.StringIO(text, newline=""), strict=True)))
    except csv.Error:
        assert None in found
    else:
        assert found == ([row[0] if len(row) == 2 else None for row in rows] or [None])


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5)
    | st.binary(max_size=5) | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@few
@given(column=st.lists(values, min_size=1, max_size=4), ids=st.booleans())
def test_parquet_of_any_types(tmp_path_factory, column, ids) -> None:
    path = tmp_path_factory.mktemp("types") / "f.parquet"
    try:
        table = {"text": pyarrow.array(column)}
        table |= {"id": table["text"], "label": table["text"]} if ids else {}
        parquet.write_table(pyarrow.table(table), path)
    except (pyarrow.lib.ArrowException, ValueError, OverflowError):
        return  # no column holds such a mixture
    kept = read_both_ways(path, **({"label_column": "label"} if ids else {}))
    if not ids:
        assert len(kept) == len(column)
        for value, item in zip(pyarrow.array(column), kept, strict=True):
            try:
                text = value.as_py()
            except UnicodeDecodeError:
                text = None  # bytes that pyarrow takes for text
            plain = isinstance(text, str) or (
                isinstance(text, list) and all(isinstance(part, str) for part in text)
            )
            if plain:
                assert isinstance(item, Example) and item.text == text
            elif not isinstance(text, list):
                assert isinstance(item, BrokenRow)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@few
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["id", "text", "label", "n"]), json_values), max_size=4
    )
)
def test_rows_of_any_types_are_the_same_from_files_and_memory(tmp_path_factory, rows) -> None:
    folder = tmp_path_factory.mktemp("types")
    (folder / "f.json").write_text(json.dumps(rows))
    (folder / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for columns in ({}, {"label_column": "label"}, {"id_column": "id", "summary_column": "n"}):
        read = [read_both_ways(folder / name, **columns) for name in ("f.json", "f.jsonl")]
        same = [
            [(item.id, getattr(item, "text", None)) for item in items if item.id is not None]
            for items in read
        ]
        assert same[0] == same[1]
        for item in read[0]:
            label = item.fields.get("label") if isinstance(item, Example) else None
            assert not (isinstance(label, float) and math.isnan(label))
        for in_memory in (tuple(rows), iter(rows)):
            kept = load_all(in_memory, **columns)
            assert [content(item) for item in kept] == [content(item) for item in read[0]]


def content(item: Example | BrokenRow) -> tuple[Any, ...]:
    return (item.text, dict(item.fields)) if isinstance(item, Example) else ()


@few
@given(spec=st.text(max_size=12) | st.text(st.sampled_from("./*[]~#:-hub?a"), max_size=12))
@example("a\0b.jsonl")
@example("\ud800.jsonl")
@example("x" * 5000 + ".csv")
@example("~nobody/x.csv")
@example("hub://\0/x")
def test_names_of_any_characters(tmp_path_factory, spec) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        try:
            read_documents(spec)
        except (ConfigError, DataError) as error:
            assert len(str(error).splitlines()) == 1
        else:
            # A name of the Hub, standard input, or something that is there.
            assert "/" in spec or spec == "-" or Path(spec).expanduser().exists()
