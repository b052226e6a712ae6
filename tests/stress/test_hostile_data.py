"""Odd and hostile files: what each gives, row by row, or the one line that refuses it.

The cases are a table: a file's ending and bytes, and the items that reading with broken rows kept
must give. Without keeping them the same file gives the rows before the first broken one, and an
error with its place.
"""

import codecs
import gzip
import json

import pytest
from reading import NOTHING_READ, broken, check, line, write

A, B, C = line("a"), line("b"), line("c")
WORD = "x" * 1_000_000
LONG = "the cat. " * 1_200_000  # 10.8 MB
FINE = "<script>alert(1)</script>\n---\na: b \u202eעברית 😀👩‍👩‍👧🇩🇪 a\0b\x07\x1b[2J half \ud800"
NO_ROWS = [broken("^holds no rows$")]
NOT_UTF8 = r"is not utf-8: it has the byte 0x{}; set --encoding to .*cp1252"
TWICE = "the id 'x' occurs twice, first in a row before it; ids must differ: set --id-column"

# fmt: off
LINES = [
    ("0 bytes", b"", NO_ROWS),
    ("line ends only", b"\n\r\n \n", NO_ROWS),
    ("byte order mark", codecs.BOM_UTF8 + A, [("f-1", "a")]),
    ("byte order mark of UTF-16", codecs.BOM_UTF16_LE + A.decode().encode("utf-16-le"),
     [broken("begins with the byte order mark of utf-16; set .* to utf-16" + NOTHING_READ)]),
    ("one row in latin-1", A + '{"text": "café"}\n'.encode("latin-1") + C,
     [("f-1", "a"), broken(NOT_UTF8.format("e9"), "line 2"), ("f-3", "c")]),
    ("a cut character at the end", A + b'{"text": "\xe2\x82',
     [("f-1", "a"), broken(NOT_UTF8.format("e2"), "line 2")]),
    ("controls, scripts, lone surrogates, escaped", line(FINE), [("f-1", FINE)]),
    ("NUL and control characters raw", b'{"text": "a\0b"}\n{"text": "\x07"}\n' + C,
     [broken("control character", "line 1"), broken("control", "line 2"), ("f-3", "c")]),
    ("lone surrogates raw", '{"text": "\ud800"}\n'.encode("utf-8", "surrogatepass") + B,
     [broken(NOT_UTF8.format("ed"), "line 1"), ("f-2", "b")]),
    ("10 MB on one line", line(LONG) + B, [("f-1", LONG), ("f-2", "b")]),
    ("an id and a text of a million characters", line(WORD, id=WORD), [(WORD, WORD)]),
    ("cut off in a text", A + b'{"text": "b', [("f-1", "a"), broken("broken JSON", "line 2")]),
    ("a comma too much", A + b'\n{"text": "b",}\n' + C,
     [("f-1", "a"), broken("broken JSON in column 14", "line 3"), ("f-4", "c")]),
    ("nested too deeply", A + b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n" + C,
     [("f-1", "a"), broken("cannot read this JSON: .*recursion", "line 2"), ("f-3", "c")]),
    ("nested deeply, but readable", b'{"text": ' + b"[" * 300 + b"]" * 300 + b"}\n" + B,
     [broken("column 'text' holds", "line 1", "f-1"), ("f-2", "b")]),
    ("an integer of too many digits", b'{"text": "a", "id": ' + b"1" * 5000 + b"}\n" + B,
     [broken("digits", "line 1"), ("f-2", "b")]),
    ("an infinite id", b'{"text": "a", "id": 1e999}', [broken("'id' holds inf", "line 1")]),
    ("negative zero as id", line("a", id=-0.0) + line("b", id=0),
     [("0", "a"), broken("id '0' occ", "line 2", "0")]),
    ("a key twice in an object",
     b'{"text": "a", "text": "b"}\n' + B + b'{"text": "c", "more": {"k": 1, "k": 2}}\n',
     [broken("key 'text' twice", "line 1"), ("f-2", "b"), broken("key 'k' twice", "line 3")]),
    ("an id twice",
     line("a", id="x") + line("b", id="x") + line("c", id="y") + line("d", id="x"),
     [("x", "a"), broken(TWICE, "line 2", "x"), ("y", "c"), broken(TWICE, "line 4", "x")]),
    ("an id that a broken row had before", line(3, id="x") + line("b", id="x"),
     [broken("holds 3", "line 1", "x"), ("x", "b")]),
    ("wrong types, and the rows beside them",
     line(None) + A + line({"a": 1}) + line(True) + line(["a", 3]) + line([["b"]], id=[1]) + C,
     [broken('an empty document must be ""', "line 1", "f-1"), ("f-2", "a"),
      broken("an object", "line 3", "f-3"), broken("a boolean", "line 4", "f-4"),
      broken("a list", "line 5", "f-5"), broken("column 'id' holds", "line 6"), ("f-7", "c")]),
    ("a row without the column", A + b'{"txt": "b", "id": "q"}\n' + C,
     [("f-1", "a"), broken("no column 'text'.*mean 'txt'", "line 2", "q"), ("f-3", "c")]),
    ("rows that are no objects", b'["text"]\n3\nnull\n"text"\n' + C,
     [broken(f"must be an object.*{what}", f"line {n}")
      for n, what in enumerate(("a list", "a number", "null", "a string"), 1)] + [("f-5", "c")]),
    ("a JSON document over several lines", b'[\n{"text": "a"},\n',
     [broken("must have the ending .json", "line 1"), broken("Extra data", "line 2")]),
    ("20,000 keys, one of a million characters, and no text",
     json.dumps({WORD: 0, **{f"{'k' * 50}{n}": n for n in range(20_000)}}).encode() + b"\n" + B,
     [broken("has no column 'text'", "line 1", "f-1"), ("f-2", "b")]),
]

TABLES = [
    ("0 bytes", b"", NO_ROWS),
    ("header only", b"text\n", NO_ROWS),
    ("byte order mark", codecs.BOM_UTF8 + b"text\na\n", [("f-1", "a")]),
    ("quotes and line ends inside", b'text,n\n"a ""b"",\r\nc\n\nd",1\n',
     [("f-1", 'a "b",\r\nc\n\nd')]),
    ("a field of a million characters", b"text,n\n" + WORD.encode() + b",1\n", [("f-1", WORD)]),
    ("old line ends and blank lines", b"text,n\r\ra,1\r\rb,2\r", [("f-1", "a"), ("f-2", "b")]),
    ("one row in latin-1", b'text\na\n"x\ncaf\xe9\ny"\nb\xe9\nc\n',
     [("f-1", "a"), broken(NOT_UTF8.format("e9"), "row 2"), broken("0xe9", "row 3"),
      ("f-4", "c")]),
    ("a header that is not text", b"t\xe9xt\na\n",
     [broken("the header: is not utf-8.*" + NOTHING_READ)]),
    ("too few and too many fields", b"text,n\na,1\nb\nc,1,2\nd,2\n",
     [("f-1", "a"), broken("^line 3: 1 fields, but the header has 2 .'text', 'n'", "row 2"),
      broken("^line 4: 3 fields", "row 3"), ("f-4", "d")]),
    ("text behind a closed quote", b'text,n\n"a"x,1\n"b\nb"y,1\nc,1\n',
     [broken("^line 2: '.' expected", "row 1"), broken("^lines 3 to 4: ", "row 2"), ("f-3", "c")]),
    ("a quote never closed", b'text\na\n"b\nc\nd\n',
     [("f-1", "a"),
      broken("^row 2: lines 3 to 5: unexp.*the rest of the file after row 1 was not read$")]),
    ("a quote never closed behind a broken row", b'text,n\na,1\nb\n"c',
     [("f-1", "a"), broken("1 fields", "row 2"), broken("^row 3: .* after row 2 was not read$")]),
    ("a quote that ends in another row's", b'text,n\n"a,1\nb,2\n"c",3\nd,4\n',
     [broken("^row 1: lines 2 to 4: .*nothing of the file was read$")]),
    ("a header never closed", b'text,"la', [broken("^the header: line 1: .*" + NOTHING_READ)]),
    ("a column twice", b"text,text\na,b\n", [broken("the header names the column 'text' twice")]),
    ("a column without a name", b"text,\na,b\n", [broken("column 2 has no name")]),
    ("no such column", b"id,txt\n1,a\n2,b\n",
     [broken("^row 1: has no column 'text'.*mean 'txt'.*; its 2 rows were not read")]),
    ("100,000 columns", b"text," + b",".join(b"c%d" % n for n in range(100_000)) + b"\na\n",
     [broken("1 fields", "row 1")]),
    ("an id twice", b"id,text\nx,a\ny,b\nx,c\n",
     [("x", "a"), ("y", "b"), broken(TWICE, "row 3", "x")]),
]

JSON = [
    ("0 bytes", b"", NO_ROWS),
    ("white space", b" ", NO_ROWS),
    ("an empty array", b"[]", NO_ROWS),
    ("an empty column", b'{"text": []}', NO_ROWS),
    ("an object of columns", b'{"text": ["a", "b"], "label": [1, null]}',
     [("f-1", "a"), ("f-2", "b")]),
    ("one wrong row of three", b'[{"text": "a"}, 3, {"text": "c"}]',
     [("f-1", "a"), broken("must be an object", "row 2"), ("f-3", "c")]),
    ("cut off", b'[{"text": "a"}, {"te',
     [broken("line 1, column 18: broken JSON.*" + NOTHING_READ)]),
    ("nested too deeply", b"[" * 100_000, [broken("recursion.*" + NOTHING_READ)]),
    ("not text", b'[{"text": "caf\xe9"}]',
     [broken("is not utf-8: line 1 has the byte 0xe9.*" + NOTHING_READ)]),
    ("a number", b"3", [broken("a number; allowed: an array of objects")]),
    ("one object", b'{"text": "a"}', [broken("an object with the keys 'text'")]),
    ("JSON Lines", b'{"text": "a"}\n{"text": "b"}',
     [broken("line 2, column 1: .*must have the ending .jsonl")]),
    ("columns that differ in length", b'{"text": ["a"], "n": []}',
     [broken("differ in length: 'text' 1, 'n' 0")]),
    ("a column named twice", b'{"text": ["a"], "text": ["b"]}',
     [broken("key 'text' twice.*" + NOTHING_READ)]),
]

TEXTS = [
    ("0 bytes", b"", [("f", "")]),
    ("byte order mark and line ends", codecs.BOM_UTF8 + b"a\r\nb\rc\n", [("f", "a\r\nb\rc\n")]),
    ("a byte behind a mark", codecs.BOM_UTF8 + b"ab\xff", [broken("line 1 has the byte 0xff")]),
    ("a cut character at the end", b"a\n\xe2\x82", [broken("line 2 has the byte 0xe2")]),
]
# fmt: on
CASES = {
    f"{ending}: {name}": (ending, data, expected)
    for ending, table in (("jsonl", LINES), ("csv", TABLES), ("json", JSON), ("txt", TEXTS))
    for name, data, expected in table
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_gives_its_rows_and_a_line_for_each_broken_one(tmp_path, case) -> None:
    ending, data, expected = CASES[case]
    check(write(tmp_path / f"f.{ending}", data), expected)
    if ending != "txt":
        check(write(tmp_path / f"f.{ending}.gz", gzip.compress(data, 1)), expected)
    if ending == "csv":
        tabs = [
            (wanted[0], wanted[1].replace(",", "\t")) if len(wanted) == 2 else wanted
            for wanted in expected
        ]
        check(write(tmp_path / "f.tsv", data.replace(b",", b"\t")), tabs)


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-be", "utf-32", "gb18030", "shift_jis", "euc_kr", "cp1252"]
)
def test_one_bad_line_costs_one_line_in_every_encoding(tmp_path, encoding) -> None:
    bad = {
        "utf-16": "\ud800".encode("utf-16-le", "surrogatepass"),
        "utf-16-be": "\ud800".encode("utf-16-be", "surrogatepass"),
        "utf-32": "\ud800".encode("utf-32-le", "surrogatepass"),
        "cp1252": b"\x81",
    }.get(encoding, b"\xff")
    start, good, end = '{"text": "a"}\n', '{"text": "', '"}\n{"text": "c"}\n'
    no_mark = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(encoding, encoding)
    data = start.encode(encoding) + good.encode(no_mark) + bad + end.encode(no_mark)
    expected = [("f-1", "a"), broken(f"is not {encoding}: it has the byte", "line 2"), ("f-3", "c")]
    check(write(tmp_path / "f.jsonl", data), expected, encoding=encoding)
