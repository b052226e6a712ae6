"""The readers: each format gives back what was written, and a format is one entry."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import error_of, load, write

from hierbert.data.readers import allowed_endings, file_format, stdin_formats
from hierbert.data.streams import text_pieces
from hierbert.extend import READERS, Reader, Row, Source

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


def written(rows: list[dict[str, str]], ending: str, encoding: str = "utf-8") -> bytes:
    kind = ending.removesuffix(".gz").lower()
    if kind in (".csv", ".tsv"):
        table = io.StringIO()
        writer = csv.writer(table, delimiter="\t" if kind == ".tsv" else ",", quoting=csv.QUOTE_ALL)
        writer.writerows([list(rows[0]), *(list(row.values()) for row in rows)])
        text = table.getvalue()
    elif kind == ".json":
        text = json.dumps(rows)
    else:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    data = text.encode(encoding)
    return gzip.compress(data) if ending.endswith(".gz") else data


@pytest.mark.parametrize("zipped", ["", ".gz"])
@pytest.mark.parametrize(
    ("ending", "unit"),
    [(".csv", "row"), (".tsv", "row"), (".json", "row"), (".jsonl", "line"), (".ndjson", "line"),
     (".JSONL", "line")],
)  # fmt: skip
def test_text_formats_give_back_what_was_written(tmp_path, ending, unit, zipped) -> None:
    rows = [{"text": text, "summary": text} for text in NASTY]
    path = write(tmp_path / f"docs{ending}{zipped}", written(rows, ending + zipped))
    documents = load(path)
    assert [item.text for item in documents] == NASTY
    assert [item.id for item in documents] == [f"docs-{n}" for n in range(1, len(NASTY) + 1)]
    assert documents[2].location == f"{path}, {unit} 3"


@settings(deadline=None, max_examples=100)
@given(
    texts=st.lists(utf8_text, min_size=1, max_size=5),
    ending=st.sampled_from([".csv", ".tsv", ".jsonl"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"]),
)
def test_any_text_is_given_back_in_any_encoding(tmp_path_factory, texts, ending, encoding) -> None:
    rows = [{"text": text, "other": text} for text in texts]
    data = written(rows, ending, encoding)
    path = write(tmp_path_factory.mktemp("any") / f"docs{ending}", data)
    assert [item.text for item in load(path, encoding=encoding)] == texts


# The registry.


def test_a_format_is_one_entry(tmp_path, monkeypatch) -> None:
    def read_paragraphs(source: Source, encoding: str):
        text = "".join(text_pieces(source, encoding))
        for number, paragraph in enumerate(text.split("\n\n"), 1):
            yield Row({"text": paragraph}, f"{source.name}, paragraph {number}", number)

    reader = Reader(read_paragraphs, (".par",), gzip=True, stdin=True)
    monkeypatch.setitem(READERS, "paragraphs", reader)
    write(tmp_path / "a.par", "é\n\nb".encode("latin-1"))
    write(tmp_path / "b.par.gz", gzip.compress(b"c"))
    documents = load(tmp_path, encoding="latin-1")
    assert [(e.id, e.text) for e in documents] == [("a-1", "é"), ("a-2", "b"), ("b-1", "c")]
    assert documents[1].location == f"{tmp_path / 'a.par'}, paragraph 2"
    message = error_of(tmp_path, label_column="label", encoding="latin-1")
    assert "paragraph 1: has no column 'label'" in message
    assert ".ndjson, .par (each" in allowed_endings()
    assert "paragraphs" in stdin_formats()


def test_formats_are_known_by_their_endings() -> None:
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
