"""From rows to documents: columns, types, ids."""

import tracemalloc
from pathlib import Path

import pytest
from reading import error_of, line, load, write

from hierbert import ConfigError, DataError, read_documents
from hierbert.data import seen_ids
from hierbert.data.seen_ids import SeenIds


def test_every_column_is_found_under_its_own_name(tmp_path) -> None:
    row = {"body": "a b", "topic": "x", "abstract": [["one", "two"]], "key": 7, "id": "not this"}
    path = write(tmp_path / "docs.jsonl", {**row, "label": {"odd": 1}, "summary": 3})
    names = {"label_column": "topic", "summary_column": "abstract", "id_column": "key"}
    (document,) = load(path, text_column="body", **names)
    assert (document.id, document.text) == ("7", "a b")
    assert document.fields == {"label": "x", "summary": "one\ntwo"}
    (document,) = load(path, text_column="body")  # columns not asked for are not read
    assert (document.id, document.fields) == ("not this", {})


READ = {
    "text": [(value, value) for value in ["", "half \ud800 pair", [], ["one", ""], [["a"], []]]],
    "label": [
        *((value, value) for value in ["x", 0, False, 2.5, [], ["a", "b"], [1, 2], float("inf")]),
        *((value, value) for value in [[["a", "b"], ["c"]], ["a", ["b", 3]], [[]]]),
        *((value, None) for value in ["", "  ", None, float("nan")]),
    ],
    "summary": [
        *((value, None) for value in ["", " ", None, []]),
        *(([["a", "b"]], "a\nb"), (["a", " "], "a"), (["a", ["b", "c"]], ["a", "b\nc"])),
    ],
    "spans": [
        *((value, None) for value in ["", " ", None]),
        *((value, [[0, 3], [2, 4]]) for value in [[[0, 3], [2, 4]], "[[0, 3], [2, 4]]"]),
        *((value, []) for value in [[], "[]"]),
    ],
}
REFUSED = {
    "text": [None, {"a": "x" * 10_000}, ["a", ["b"]], [["a", None]], [[["a"]]], ["a", 3]],
    "label": [{"a": 1}, [None], [[["a"]]], [["a", None]], ["a", {}]],
    "summary": [3, ["a", 3], {"a": "b"}],
    "spans": [3, "a", "[[0, 3]", "[0, 3]", "[" * 9999, [0, 3], [[3, 3]], [[-1, 3]], [[0, 3.0]]],
    "key": [None, "", True, 1.5, ["a"]],
}
FINE = {"text": "a", "label": "b", "summary": "c", "spans": [], "key": "d"}
NAMES = {
    **{"label_column": "label", "summary_column": "summary", "id_column": "key"},
    "columns": {"spans": "spans"},
}


@pytest.mark.parametrize("column", REFUSED)
def test_values_of_every_form_are_read_or_refused_by_their_place(tmp_path, column) -> None:
    path = tmp_path / "docs.jsonl"
    for raw, expected in READ.get(column, []):
        (document,) = load(write(path, {**FINE, column: raw}), **NAMES)
        value = document.text if column == "text" else document.fields[column]
        assert value == expected and type(value) is type(expected)
    for raw in REFUSED[column]:
        message = error_of(write(path, FINE, {**FINE, "key": 2, column: raw}), **NAMES)
        shown = "{'a': 'xxx" if isinstance(raw, dict) and column == "text" else repr(raw)[:40]
        assert message.startswith(f"{path}, line 2: column {column!r} holds {shown}")
        assert "allowed: a " in message and len(message) < len(str(path)) + 300


def test_a_missing_column_names_file_column_and_setting(tmp_path) -> None:
    table = write(tmp_path / "my.csv", b"text,Body,keys\na,b,c\n")
    lines = write(tmp_path / "my.jsonl", {"text": "a", "Body": "b", "keys": "c"})
    for setting, column, end in (
        ("text_column", "body", "did you mean 'Body'?"),
        ("label_column", "topic", "to one of them"),
        ("summary_column", "abstract", "to one of them"),
        ("id_column", "key", "did you mean 'keys'?"),
    ):
        for path in (table, lines):
            message = error_of(path, **{setting: column})
            assert message.startswith(str(path)) and message.endswith(end)
            assert f"has no column {column!r}; its columns are 'text', 'Body', 'keys'" in message
            assert f"set data.{setting} to one of them" in message


def test_columns_of_further_fields_are_names(tmp_path) -> None:
    path = write(tmp_path / "docs.jsonl", {"text": "a", "asked": ["any", {"thing": 1}]})
    (document,) = load(path, columns={"question": "asked"})
    assert document.fields == {"question": ["any", {"thing": 1}]}
    for wrong in (["a"], "a", [], {"a": None}, {"a": 3}, {3: "x"}, {"label": "x"}):
        with pytest.raises(ConfigError, match=r"data\.columns"):
            read_documents(path, columns=wrong)


def test_json_lines_may_leave_labels_out_but_not_in_every_row(tmp_path) -> None:
    path = write(tmp_path / "docs.jsonl", {"text": "a"}, {"text": "b", "label": "x"})
    labels = [document.fields["label"] for document in load(path, label_column="label")]
    assert labels == [None, "x"]
    none = write(tmp_path / "none.jsonl", {"text": "b", "lable": "x"})
    message = error_of([str(path), str(none)], label_column="label")
    assert f"{none}: has no column 'label'" in message and "did you mean 'lable'?" in message


def test_ids_are_kept_made_and_made_where_missing(tmp_path) -> None:
    rows = [{"text": "a", "id": value} for value in ["x", None, 3, 4.0, ""]]
    path = write(tmp_path / "docs.jsonl", *rows, {"text": "b"})
    assert [e.id for e in load(path)] == ["x", "docs-2", "3", "4", "docs-5", "docs-6"]
    assert [e.id for e in load(path, id_column="")] == [f"docs-{i}" for i in range(1, 7)]


@pytest.mark.parametrize(
    ("corpus", "expected"),
    [
        (["a.jsonl", "b.csv"], ["a-1", "a-2", "b-1", "b-2"]),
        (["1/a.jsonl", "2/a.csv"], ["a.jsonl-1", "a.jsonl-2", "a.csv-1", "a.csv-2"]),
        (["1/a.csv", "2/a.csv"], ["1/a.csv-1", "1/a.csv-2", "2/a.csv-1", "2/a.csv-2"]),
        ("t", ["sub/y", "x"]),
        (["s", "t/"], ["s/x", "t/sub/y", "t/x"]),
        ("t/**/*.txt", ["y", "x"]),
        ("?/*.txt", ["s/x.txt", "t/x.txt"]),
    ],
)
def test_made_ids_differ_across_files_and_folders(tmp_path, monkeypatch, corpus, expected) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "1/a.jsonl"):
        write(Path(name), {"text": "a"}, {"text": "b"})
    for name in ("b.csv", "1/a.csv", "2/a.csv"):
        write(Path(name), b"text\na\nb\n")
    for name in ("s/x.txt", "t/x.txt", "t/sub/y.txt"):
        write(Path(name), name.encode())
    assert [document.id for document in load(corpus)] == expected


def test_an_id_that_occurs_twice_names_both_places(tmp_path) -> None:
    text = write(tmp_path / "sub" / "x.txt", b"x")
    a = write(tmp_path / "a.jsonl", {"text": "a", "id": 1}, {"text": "b", "id": "two"})
    b = write(tmp_path / "b.csv", b'id,text\n3,"x\ny"\ntwo,z\n')
    c = write(tmp_path / "c.jsonl", {"text": "c", "id": "x"}, {"text": "d", "id": "1"})
    for spec, repeated, first, second in [
        ([a, b], "two", f"{a}, line 2", f"{b}, row 2"),
        ([a, c], "1", f"{a}, line 1", f"{c}, line 2"),  # a number's id equals its string's
        ([text.parent, c], "x", str(text), f"{c}, line 1"),
    ]:
        message = error_of(spec)
        assert message.startswith(f"{second}: the id {repeated!r} occurs twice, first in {first};")
        assert "data.id_column" in message


# The set of ids.


def test_ids_are_each_found_again_and_take_few_bytes(monkeypatch) -> None:
    monkeypatch.setattr(seen_ids, "_BUCKETS", 16)  # many share one
    seen = SeenIds()
    texts = [f"doc-{number}" for number in range(30_000)] + ["", "\ud800", "\0", "a/b", "\0\0"]
    tracemalloc.start()
    assert all(seen.add(text) for text in texts)
    assert tracemalloc.get_traced_memory()[0] < 20 * len(texts)
    tracemalloc.stop()
    assert not any(seen.add(text) for text in reversed(texts))
    assert all(seen.add(f"{text}x") for text in texts)


def test_hashes_that_touch_are_no_id(monkeypatch) -> None:
    # Two hashes side by side hold others that begin within the first: they must not be found.
    keys = {"a": b"0123456789", "b": b"abcdefghij", "between": b"56789abcde"}
    chosen = iter(keys.values())
    monkeypatch.setattr(seen_ids, "_pack", lambda *_: next(chosen))
    monkeypatch.setattr(seen_ids, "_BUCKETS", 1)
    seen = SeenIds()
    assert [seen.add(text) for text in keys] == [True, True, True]


def test_a_hash_that_two_ids_share_is_no_id_twice(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "f.jsonl", *(line("a", id=name) for name in "xyx"))
    monkeypatch.setattr(SeenIds, "add", lambda self, text: False)
    documents = read_documents(path)
    assert [next(documents).id, next(documents).id] == ["x", "y"]
    with pytest.raises(DataError, match=r"line 3: the id 'x' occurs twice, first in .*line 1;"):
        next(documents)
