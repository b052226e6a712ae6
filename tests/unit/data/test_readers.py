"""The readers: each format gives back what was written, or one line says where it is broken."""

import codecs
import csv
import gzip
import io
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import error_of, rows_of, values_of

from hierbert.data import streams
from hierbert.data.corpus import Columns, load_examples
from hierbert.data.document import Row, Source
from hierbert.data.readers import READERS, Reader, allowed_endings, file_format, stdin_formats
from hierbert.data.sources import resolve_sources
from hierbert.data.streams import text_pieces
from hierbert.errors import ConfigError, DataError, flag_setting

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NASTY = [
    'a "quoted" word, and a comma',
    "two\nlines\r\nthree\rfour",
    "",
    " edges ",
    "nul\x00inside",
    "😀 combining e\u0301",
    "עברית and العربية \u202e",
    "tab\there",
    "line\u2028separator\x85next",
]
# Text a UTF-8 file can hold: everything but the lone halves of surrogate pairs.
utf8_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(NASTY)
any_text = st.text(max_size=30) | st.just("half \ud800 pair")


def write_table(path, header, rows, delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([header, *rows])
    write_bytes(path, text.getvalue().encode())


def write_bytes(path, data):
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize(
    ("ending", "unit"),
    [
        (".csv", "row"),
        (".tsv", "row"),
        (".json", "row"),
        (".jsonl", "line"),
        (".ndjson", "line"),
        (".JSONL", "line"),
    ],
)
def test_text_formats_give_back_what_was_written(tmp_path, ending, unit, zipped):
    rows = [{"text": text, "label": f"l{i}"} for i, text in enumerate(NASTY)]
    path = tmp_path / f"docs{ending}{zipped}"
    if ending in (".csv", ".tsv"):
        table = [list(row.values()) for row in rows]
        write_table(path, ["text", "label"], table, "\t" if ending == ".tsv" else ",")
    elif ending == ".json":
        write_bytes(path, json.dumps(rows).encode())
    else:
        write_bytes(path, "\n".join(json.dumps(row) for row in rows).encode())
    read = rows_of(path)
    assert [row.values for row in read] == rows
    assert [row.number for row in read] == list(range(1, len(rows) + 1))
    assert read[2].location == f"{path}, {unit} 3"


def test_parquet_gives_back_what_was_written(tmp_path):
    rows = [
        {"text": text, "n": i, "tags": ["a", "b"][: i % 3], "none": None}
        for i, text in enumerate(NASTY * 20)
    ]
    path = tmp_path / "docs.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=50)
    assert values_of(path) == rows
    assert rows_of(path)[100].location == f"{path}, row 101"


@settings(deadline=None, max_examples=60)
@given(
    table=st.lists(st.tuples(utf8_text, utf8_text), min_size=1, max_size=5),
    delimiter=st.sampled_from([",", "\t"]),
    mark=st.sampled_from([b"", codecs.BOM_UTF8]),
    piece_bytes=st.integers(1, 9),
)
def test_csv_round_trip(tmp_path_factory, table, delimiter, mark, piece_bytes):
    path = tmp_path_factory.mktemp("csv") / ("t.csv" if delimiter == "," else "t.tsv")
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "other"), *table])
    path.write_bytes(mark + text.getvalue().encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_PIECE_BYTES", piece_bytes)
        read = values_of(path)
    assert [(row["text"], row["other"]) for row in read] == table


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(any_text, min_size=1, max_size=6),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "gb18030", "UTF8"]),
    escape=st.booleans(),
    piece_bytes=st.integers(1, 9),
)
def test_jsonl_round_trip(tmp_path_factory, texts, encoding, escape, piece_bytes):
    if not escape:  # unescaped, a lone surrogate is no text in these encodings
        texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    path = tmp_path_factory.mktemp("jsonl") / "docs.jsonl"
    text = "".join(json.dumps({"text": t}, ensure_ascii=escape) + "\n\n" for t in texts)
    path.write_bytes(text.encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_PIECE_BYTES", piece_bytes)
        rows = rows_of(path, encoding=encoding)
    assert [row.values["text"] for row in rows] == texts
    assert [row.number for row in rows] == list(range(1, 2 * len(texts), 2))


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.sampled_from("ab\r\n\x85\u2028"), max_size=20), cuts=st.sets(st.integers(1, 19))
)
def test_lines_cut_as_python_does_wherever_the_pieces_end(text, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert list(streams.lines_of_any_end(pieces)) == list(io.StringIO(text, newline=""))
    assert list(streams.lines(pieces)) == list(io.StringIO(text, newline="\n"))


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.csv", "docs.json", "docs.txt"])
def test_bytes_that_are_not_utf8_are_placed(tmp_path, name):
    path = tmp_path / name
    before = "text\n\u00e9" * 20_000  # the pieces end in the middle of characters
    path.write_bytes(before.encode() + b"caf\xe9 au lait")
    with pytest.raises(DataError) as caught:
        for piece in text_pieces(resolve_sources(str(path), "train")[0]):
            assert set(piece) <= set("text\n\u00e9")
    message = str(caught.value)
    assert f"{path}: is not utf-8: line 20001 (byte {len(before.encode()) + 3})" in message
    assert "0xe9" in message
    assert "data.encoding" in message
    assert "latin-1 or utf-16" in message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_foreign_byte_order_mark_says_which_encoding_to_set(tmp_path, encoding):
    path = tmp_path / "docs.csv"
    path.write_bytes("text\na\n".encode(encoding))
    with pytest.raises(DataError) as caught:
        rows_of(path)
    message = caught.value.worded(flag_setting)
    assert f"byte order mark of {encoding}; set --encoding to {encoding}" in message
    assert values_of(path, encoding=encoding) == [{"text": "a"}]


def test_other_encodings_are_read_when_named(tmp_path):
    path = tmp_path / "docs.csv"
    path.write_bytes("text\ncafé\n".encode("latin-1"))
    assert values_of(path, encoding="latin-1") == [{"text": "café"}]
    path.write_bytes("text\ncafé\n".encode("utf-16-le"))
    assert values_of(path, encoding="utf-16-le") == [{"text": "café"}]
    assert "does not start with BOM" in error_of(path, encoding="utf-16")


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "", "a\x00b"])
def test_unknown_encoding(tmp_path, encoding):
    path = tmp_path / "docs.csv"
    path.write_text("text\na\n")
    message = error_of(path, ConfigError, encoding=encoding)
    assert f"data.encoding={encoding!r} is an unknown encoding; allowed: names" in message


def test_gzip_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    line = b'{"text": "' + b" " * 300_000 + b'"}\n'
    path = write_bytes(tmp_path / "docs.jsonl.gz", line)
    assert len(rows_of(path)) == 1
    monkeypatch.setattr(streams, "MAX_DECOMPRESSED_BYTES", 200_000)
    assert "unpacks to more than is allowed (200,000 bytes" in error_of(path)
    monkeypatch.undo()
    monkeypatch.setattr(streams, "MAX_EXPANSION", 100)
    assert len(rows_of(path)) == 1  # dense, but small
    monkeypatch.setattr(streams, "EXPANSION_FREE_BYTES", 200_000)
    assert "unpacks to more than is allowed" in error_of(path)


# The registry.


def test_a_format_is_one_entry(tmp_path, monkeypatch):
    def read_paragraphs(source: Source, encoding: str):
        text = "".join(text_pieces(source, encoding))
        for number, paragraph in enumerate(text.split("\n\n"), 1):
            yield Row({"text": paragraph}, f"{source.name}, paragraph {number}", number)

    reader = Reader(read_paragraphs, (".par",), gzip=True, stdin=True)
    monkeypatch.setitem(READERS, "paragraphs", reader)
    write_bytes(tmp_path / "a.par", "é\n\nb".encode("latin-1"))
    write_bytes(tmp_path / "b.par.gz", b"c")
    examples = load_examples(tmp_path, Columns(), role="train", encoding="latin-1")
    assert [(e.id, e.text) for e in examples] == [("a-1", "é"), ("a-2", "b"), ("b-1", "c")]
    assert examples[1].location == f"{tmp_path / 'a.par'}, paragraph 2"
    with pytest.raises(DataError, match="paragraph 1: has no column 'label'"):
        load_examples(
            tmp_path, Columns(fields={"label": "label"}), role="train", encoding="latin-1"
        )
    assert ".ndjson, .par (each" in allowed_endings()
    assert "paragraphs" in stdin_formats()


def test_formats_are_known_by_their_endings():
    known = {
        "a.csv": ("csv", False), "A.TSV.GZ": ("tsv", True), "b.ndjson": ("jsonl", False),
        "x/y.jsonl.gz": ("jsonl", True), "c.json": ("json", False), "d.txt": ("txt", False),
        "e.parquet": ("parquet", False),
    }  # fmt: skip
    for name, expected in known.items():
        assert file_format(name) == expected
    for name in ("docs.xlsx", "docs", "docs.parquet.gz", "docs.txt.gz", ".csv", "jsonl", "a.gz"):
        assert file_format(name) is None
    assert stdin_formats() == ("csv", "tsv", "json", "jsonl")
    assert allowed_endings() == (
        ".csv, .tsv, .json, .jsonl, .ndjson (each also with .gz), .parquet, .txt, "
        "or a folder of these"
    )
