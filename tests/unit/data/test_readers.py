"""The readers: each format gives back what was written, or one line says where it is broken."""

import codecs
import csv
import gzip
import io
import itertools
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import error_of, rows_of, values_of

from hierbert.data import streams
from hierbert.data.readers import read_rows
from hierbert.data.sources import resolve_sources
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


def test_json_object_of_columns(tmp_path):
    path = tmp_path / "docs.json"
    path.write_text('{"text": ["a", "b"], "label": [1, null]}')
    assert values_of(path) == [{"text": "a", "label": 1}, {"text": "b", "label": None}]


def test_single_text_is_one_document_with_its_own_line_ends(tmp_path):
    path = tmp_path / "one.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    (row,) = rows_of(path)
    assert row.values == {"text": "a\r\nb\rc\n"}
    assert row.location == str(path)


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


def test_csv_with_old_line_ends_blank_lines_and_a_huge_field(tmp_path):
    huge = "x" * 300_000
    path = tmp_path / "docs.csv"
    path.write_bytes(f"text,label\r\ra,1\r\r{huge},2\r".encode())
    rows = rows_of(path)
    assert [row.values for row in rows] == [
        {"text": "a", "label": "1"},
        {"text": huge, "label": "2"},
    ]
    assert [row.number for row in rows] == [1, 2]


def test_nan_is_missing_and_lone_surrogates_are_text(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "\\ud800", "label": NaN, "x": -Infinity}')
    assert values_of(path) == [{"text": "\ud800", "label": None, "x": float("-inf")}]


# Broken files: each message names the file, the place and what is wrong.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"text": "a",}', ["line 3, column 14", "broken JSON"]),
        ('{"text": "a', ["line 3, column 10", "Unterminated string"]),
        ('["text"]', ["line 3 must be an object", "a list"]),
        ("null", ["line 3 must be an object", "null"]),
        ('{"text": ' + "[" * 200_000 + "]" * 200_000 + "}", ["line 3", "recursion"]),
        ('{"text": ' + "1" * 5000 + "}", ["line 3", "digits"]),
    ],
)
def test_broken_json_line(tmp_path, line, expected):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "fine"}\n\n' + line + "\n")
    message = error_of(path)
    for part in ["data.train", str(path), *expected]:
        assert part in message


def test_json_document_named_jsonl_and_lines_named_json_are_told_apart(tmp_path):
    (tmp_path / "a.jsonl").write_text('[\n{"text": "a"}\n]')
    assert "must have the ending .json" in error_of(tmp_path / "a.jsonl")
    (tmp_path / "b.json").write_text('{"text": "a"}\n{"text": "b"}')
    message = error_of(tmp_path / "b.json")
    assert "line 2, column 1" in message
    assert "must have the ending .jsonl" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("3", "it is a number"),
        ('{"text": "a"}', "with the keys 'text'"),
        ('{"a": [1], "b": [1, 2]}', "differ in length: 'a' 1, 'b' 2"),
        ('[{"text": "a"}, "b"]', "row 2 must be an object in braces, but is a string"),
        ("[" * 200_000, "recursion"),
    ],
)
def test_json_of_the_wrong_shape(tmp_path, content, expected):
    path = tmp_path / "docs.json"
    path.write_text(content)
    message = error_of(path)
    assert str(path) in message
    assert expected in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text,label\na,1\nb\n", ["row 2 (line 3)", "1 fields", "header has 2", "'label'"]),
        ('text,label\n"a\nb",1\nc,2,3\n', ["row 2 (line 4)", "3 fields", "header has 2"]),
        ("text,,label\na,b,c\n", ["column 2 has no name"]),
        ("text,label,text\na,b,c\n", ["'text' twice"]),
        ('text,label\na,1\n"b"x,2\n', ["row 2 (line 3)", "expected after"]),
        ('text,label\n"a,1\nb,2\n', ["row 1", "unexpected end of data"]),
        ('text,"la', ["the header", "unexpected end of data"]),
    ],
)
def test_broken_table(tmp_path, content, expected):
    path = tmp_path / "my.csv"
    path.write_text(content)
    message = error_of(path)
    for part in ["data.train", str(path), *expected]:
        assert part in message


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.csv", "docs.json", "docs.txt"])
def test_bytes_that_are_not_utf8_are_placed(tmp_path, name):
    path = tmp_path / name
    before = "text\n\u00e9" * 20_000  # the pieces end in the middle of characters
    path.write_bytes(before.encode() + b"caf\xe9 au lait")
    with pytest.raises(DataError) as caught:
        for piece in streams.text_pieces(resolve_sources(str(path), "data.train", "train")[0]):
            assert set(piece) <= set("text\n\u00e9")
    message = str(caught.value)
    assert f"{str(path)!r} is not utf-8: line 20001 (byte {len(before.encode()) + 3})" in message
    assert "0xe9" in message
    assert "data.encoding" in message
    assert "latin-1 or utf-16" in message


def test_wrong_byte_is_placed_behind_a_byte_order_mark_and_at_the_very_end(tmp_path):
    path = tmp_path / "docs.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"ab\xff")
    assert "line 1 (byte 5)" in error_of(path)
    path.write_bytes(b"a\n\xe2\x82")
    assert "line 2 (byte 2)" in error_of(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_foreign_byte_order_mark_says_which_encoding_to_set(tmp_path, encoding):
    path = tmp_path / "docs.csv"
    path.write_bytes("text\na\n".encode(encoding))
    message = error_of(path, setting=flag_setting)
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
    assert f"data.encoding: unknown encoding {encoding!r}" in message


def test_damaged_gzip(tmp_path):
    path = tmp_path / "docs.jsonl.gz"
    whole = gzip.compress(b'{"text": "a"}\n' * 1000)
    for content in (whole[: len(whole) // 2], b"plain text", whole[:-8] + b"12345678"):
        path.write_bytes(content)
        message = error_of(path)
        assert f"{str(path)!r} is damaged or not gzip data" in message


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


def test_broken_parquet(tmp_path):
    path = tmp_path / "docs.parquet"
    path.write_bytes(b"PAR1 and then nothing PAR1")
    assert f"{str(path)!r} cannot be read as parquet" in error_of(path)


def test_files_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "docs.jsonl"
    path.write_text("{}")

    def refuse(*args, **kwargs):  # root may read anything, so chmod would test nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert f"data.train: cannot read {str(path)!r}: Permission denied" in error_of(path)


# Streaming: a reader that has given one row has not read the rest.


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.csv", "docs.jsonl.gz", "docs.csv.gz"])
def test_first_rows_come_before_the_damage_behind_them(tmp_path, name):
    rng_bytes = os.urandom(300_000).hex()  # does not compress, so the damage lies far behind
    if ".jsonl" in name:
        text = '{"text": "first"}\n' + json.dumps({"text": rng_bytes}) + "\n{broken"
    else:
        text = f"text\nfirst\n{rng_bytes}\nb,roken\n"
    write_bytes(tmp_path / name, text.encode())
    if name.endswith(".gz"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-100_000])
    (source,) = resolve_sources(str(tmp_path / name), "data.train", "train")
    rows = read_rows(source)
    assert next(rows).values == {"text": "first"}
    with pytest.raises(DataError):
        list(rows)


def test_parquet_is_read_by_row_group(tmp_path):
    path = tmp_path / "docs.parquet"
    table = pyarrow.table({"text": [f"document {i}" * 50 for i in range(200)]})
    parquet.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False)
    column = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start : start + 50] = b"\xff" * 50
    path.write_bytes(bytes(data))
    (source,) = resolve_sources(str(path), "data.train", "train")
    rows = read_rows(source)
    first = [next(rows).values["text"] for _ in range(64)]
    assert first == [f"document {i}" * 50 for i in range(64)]
    with pytest.raises(DataError, match=r"cannot be read after row \d+ as parquet"):
        list(rows)
