"""From rows to documents: columns, types, ids, missing columns."""

from pathlib import Path

import pytest
from reading import error_of, load, write

from hierbert import DataError
from hierbert.errors import flag_setting


def test_every_column_is_found_under_its_own_name(tmp_path) -> None:
    row = {"body": "a b", "topic": "x", "abstract": [["one", "two"]], "key": 7, "id": "not this"}
    path = write(tmp_path / "docs.jsonl", {**row, "label": {"odd": 1}, "summary": 3})
    names = {"label_column": "topic", "summary_column": "abstract", "id_column": "key"}
    (document,) = load(path, text_column="body", **names)
    assert (document.id, document.text) == ("7", "a b")
    assert (document.fields["label"], document.fields["summary"]) == ("x", "one\ntwo")
    assert document.location == f"{path}, line 1"
    (document,) = load(path, text_column="body")  # columns not asked for are not read
    assert (document.id, document.fields) == ("not this", {})


SAME = object()
VALUES = [
    *(("text", value, SAME) for value in ["", "half \ud800 pair", [], ["one", ""], [["a"], []]]),
    *(("label", value, SAME) for value in ["x", 0, False, 2.5, [], ["a", "b"], [1, 2]]),
    *(("label", value, None) for value in ["", "  ", None, float("nan")]),
    *(("summary", value, None) for value in ["", " ", None, []]),
    ("summary", "s", "s"),
    ("summary", [["a", "b"]], "a\nb"),
    ("summary", ["a", " "], "a"),
    ("summary", ["a", ["b", "c"]], ["a", "b\nc"]),
]


@pytest.mark.parametrize(("column", "raw", "expected"), VALUES)
def test_values_of_every_allowed_form(tmp_path, column, raw, expected) -> None:
    fine = {"text": "a", "label": "b", "summary": "c"}
    path = write(tmp_path / "docs.jsonl", {**fine, column: raw})
    (document,) = load(path, label_column="label", summary_column="summary")
    value = {
        "text": document.text,
        "label": document.fields["label"],
        "summary": document.fields["summary"],
    }[column]
    expected = raw if expected is SAME else expected
    assert value == expected and type(value) is type(expected)


ALLOWED = {
    "text": "a string, a list of strings or a list of lists of strings",
    "label": "a string, a number, a boolean, a list of those, or null for no label",
    "summary": "a string, a list of alternative references (each a string or a list of its "
    "sentences), or null for no summary",
    "key": "a string that is not empty or a whole number",
}
WRONG = [
    ("text", None, "holds None (null)"),
    ("text", {"a": "x" * 10_000}, "xxx..."),
    ("text", ["a", ["b"]], "(a list)"),
    ("text", [["a", None]], "(a list)"),
    ("text", [[["a"]]], "(a list)"),
    ("label", {"a": 1}, "holds {'a': 1} (an object)"),
    ("label", [None], "holds [None]"),
    ("label", [["a"]], "holds [['a']]"),
    ("label", ["a", {}], "holds ['a', {}]"),
    ("summary", 3, "holds 3"),
    ("summary", ["a", 3], "holds ['a', 3]"),
    ("summary", {"a": "b"}, "holds {'a': 'b'}"),
    ("key", None, "holds None"),
    ("key", "", "holds ''"),
    ("key", True, "holds True"),
    ("key", 1.5, "holds 1.5"),
    ("key", ["a"], "holds ['a']"),
]


@pytest.mark.parametrize(("column", "raw", "shown"), WRONG)
def test_values_of_the_wrong_type(tmp_path, column, raw, shown) -> None:
    fine = {"text": "fine", "label": "a", "summary": "s", "key": 1}
    path = write(tmp_path / "docs.jsonl", fine, {**fine, "key": 2, column: raw})
    message = error_of(path, label_column="label", summary_column="summary", id_column="key")
    assert message.startswith(f"{path}, line 2: column {column!r} holds ") and shown in message
    assert f"allowed: {ALLOWED[column]}" in message and len(message) < len(str(path)) + 400
    assert ('an empty document must be ""' in message) == (column == "text" and raw is None)


# Missing columns.


@pytest.mark.parametrize(
    ("setting", "column", "near"),
    [
        ("text_column", "body", "Body"),
        ("label_column", "topic", None),
        ("summary_column", "abstract", None),
        ("id_column", "key", "keys"),
    ],
)
def test_missing_column_names_file_column_and_setting(tmp_path, setting, column, near) -> None:
    table = write(tmp_path / "my.csv", b"text,Body,keys\na,b,c\n")
    lines = write(tmp_path / "my.jsonl", {"text": "a", "Body": "b", "keys": "c"})
    for path in (table, lines):
        with pytest.raises(DataError) as caught:
            load(path, **{setting: column})
        assert caught.value.setting == setting
        message = str(caught.value)
        assert message.startswith(str(path)) and f"set data.{setting} to one of them" in message
        assert f"has no column {column!r}; its columns are 'text', 'Body', 'keys'" in message
        assert ("did you mean" in message) == bool(near) and f"mean {near!r}?" * bool(
            near
        ) in message
        flag = "--" + setting.replace("_", "-")
        assert f"set {flag} to one of them" in caught.value.worded(flag_setting)


def test_json_lines_may_leave_labels_out_but_not_texts_and_not_in_every_row(tmp_path) -> None:
    path = write(tmp_path / "docs.jsonl", {"text": "a"}, {"text": "b", "label": "x"})
    assert [document.fields["label"] for document in load(path, label_column="label")] == [
        None,
        "x",
    ]
    none = write(tmp_path / "none.jsonl", {"text": "b", "lable": "x"})
    message = error_of([str(path), str(none)], label_column="label")
    assert f"{none}: has no column 'label'" in message and "did you mean 'lable'?" in message
    write(path, {"text": "a"}, {"id": "b"})
    assert f"{path}, line 2: has no column 'text'; its columns are 'id'" in error_of(path)


# Ids.


def test_ids_are_kept_made_and_made_where_missing(tmp_path) -> None:
    rows = [{"text": "a", "id": value} for value in ["x", None, 3, 4.0, ""]]
    path = write(tmp_path / "docs.jsonl", *rows, {"text": "b"})
    assert [e.id for e in load(path)] == ["x", "docs-2", "3", "4", "docs-5", "docs-6"]
    assert [e.id for e in load(path, id_column="")] == [f"docs-{i}" for i in range(1, 7)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jsonl", "b.csv"], ["a-1", "a-2", "b-1", "b-2"]),
        (["1/a.jsonl", "2/a.csv"], ["a.jsonl-1", "a.jsonl-2", "a.csv-1", "a.csv-2"]),
        (["1/a.csv", "2/a.csv"], ["1/a.csv-1", "1/a.csv-2", "2/a.csv-1", "2/a.csv-2"]),
    ],
)
def test_made_ids_differ_across_files(tmp_path, monkeypatch, names, expected) -> None:
    monkeypatch.chdir(tmp_path)
    for name in names:
        rows = [b"text\na\nb\n"] if name.endswith("csv") else [{"text": "a"}, {"text": "b"}]
        write(Path(name), *rows)
    assert [document.id for document in load(names)] == expected


def test_ids_of_text_files_and_folders(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.txt", "b/x.txt", "b/sub/y.txt"):
        write(Path(name), name.encode())
    assert [document.id for document in load("b")] == ["sub/y", "x"]
    assert [document.id for document in load(["a", "b/"])] == ["a/x", "b/sub/y", "b/x"]
    assert [document.id for document in load("b/**/*.txt")] == ["y", "x"]
    assert [document.id for document in load("?/*.txt")] == ["a/x.txt", "b/x.txt"]


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
