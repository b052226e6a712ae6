"""From rows to examples: columns, types, ids, missing columns, sources without rows, streaming."""

import json
import tracemalloc
from pathlib import Path

import pytest
from reading import columns_of

from hierbert.data.corpus import load_examples, read_examples
from hierbert.data.document import Example
from hierbert.errors import DataError, flag_setting


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def load(spec, role="train", **columns):
    return load_examples(spec, columns_of(**columns), role=role)


def error_of(spec, **kwargs):
    with pytest.raises(DataError) as caught:
        load(spec, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_column_is_found_under_its_own_name(tmp_path):
    path = jsonl(
        tmp_path / "docs.jsonl",
        {"body": "a b", "topic": "x", "abstract": ["one", "two"], "key": 7, "id": "not this"},
    )
    assert load(path, text="body", label="topic", summary="abstract", id="key") == [
        Example("7", "a b", {"label": "x", "summary": "one\ntwo"}, f"{path}, line 1")
    ]


def test_columns_that_are_not_asked_for_are_not_read(tmp_path):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", "label": {"odd": 1}, "summary": 3})
    (example,) = load(path)
    assert example.fields == {}


SAME = object()
VALUES = [
    *(("text", value, SAME) for value in ["", "half \ud800 pair", [], ["one", ""], [["a"], []]]),
    *(("label", value, SAME) for value in ["x", 0, False, 2.5, [], ["a", "b"], [1, 2]]),
    *(("label", value, None) for value in ["", "  ", None, float("nan")]),
    *(("summary", value, None) for value in ["", " ", None, []]),
    ("summary", "s", "s"),
    ("summary", ["a", "b"], "a\nb"),
]


@pytest.mark.parametrize(("column", "raw", "expected"), VALUES)
def test_values_of_every_allowed_form(tmp_path, column, raw, expected):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", column: raw})
    (example,) = load(path, **({} if column == "text" else {column: column}))
    value = example.text if column == "text" else example.fields[column]
    expected = raw if expected is SAME else expected
    assert value == expected and type(value) is type(expected)


ALLOWED = {
    "text": "a string, a list of strings or a list of lists of strings",
    "label": "a string, a number, a boolean, a list of those, or null for no label",
    "summary": "a string, a list of strings, or null for no summary",
    "key": "a string that is not empty or a whole number",
}
WRONG = [
    ("text", 3, "holds 3 (a number)"),
    ("text", True, "holds True (a boolean)"),
    ("text", None, "holds None (null)"),
    ("text", {"a": "x" * 10_000}, "xxx..."),
    ("text", ["a", 3], "holds ['a', 3] (a list)"),
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
def test_values_of_the_wrong_type(tmp_path, column, raw, shown):
    fine = {"text": "fine", "key": 1}
    path = jsonl(tmp_path / "docs.jsonl", fine, {"text": "a", "key": 2, column: raw})
    names = {"label": {"label": "label"}, "summary": {"summary": "summary"}, "key": {"id": "key"}}
    message = error_of(path, **names.get(column, {}))
    assert message.startswith(f"{path}, line 2: column {column!r} holds ") and shown in message
    assert f"allowed: {ALLOWED[column]}" in message and len(message) < len(path) + 300
    assert ('an empty document must be ""' in message) == (column == "text" and raw is None)


# Missing columns.


@pytest.mark.parametrize(
    ("columns", "missing", "setting"),
    [
        ({"text": "body"}, "body", "text_column"),
        ({"label": "topic"}, "topic", "label_column"),
        ({"summary": "abstract"}, "abstract", "summary_column"),
        ({"id": "key"}, "key", "id_column"),
    ],
)
def test_missing_column_names_file_column_and_setting(tmp_path, columns, missing, setting):
    table = tmp_path / "my.csv"
    table.write_text("text,Body,keys\na,b,c\n")
    lines = jsonl(tmp_path / "my.jsonl", {"text": "a", "Body": "b", "keys": "c"})
    for path in (str(table), lines):
        with pytest.raises(DataError) as caught:
            load(path, **columns)
        assert caught.value.setting == setting
        message = str(caught.value)
        assert message.startswith(path) and f"set data.{setting} to one of them" in message
        assert f"has no column {missing!r}; its columns are 'text', 'Body', 'keys'" in message
        assert ("did you mean 'Body'?" in message) == (missing == "body")
        assert ("did you mean 'keys'?" in message) == (missing == "key")
        flag = "--" + setting.replace("_", "-")
        assert f"set {flag} to one of them" in caught.value.worded(flag_setting)


def test_json_lines_may_leave_labels_out_but_not_texts(tmp_path):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a"}, {"text": "b", "label": "x"})
    assert [example.fields["label"] for example in load(path, label="label")] == [None, "x"]
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a"}, {"id": "b"})
    assert f"{path}, line 2: has no column 'text'; its columns are 'id'" in error_of(path)


def test_a_label_column_is_looked_for_in_every_file(tmp_path):
    a = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"})
    b = jsonl(tmp_path / "b.jsonl", {"text": "b", "lable": "x"})
    message = error_of([a, b], label="label")
    assert f"{b}: has no column 'label'" in message and "did you mean 'lable'?" in message


# Ids.


def test_ids_are_kept_made_and_made_where_missing(tmp_path):
    ids = ["x", None, 3, 4.0, ""]
    rows = [{"text": "a", "id": value} for value in ids]
    path = jsonl(tmp_path / "docs.jsonl", *rows, {"text": "b"})
    assert [e.id for e in load(path)] == ["x", "docs-2", "3", "4", "docs-5", "docs-6"]
    assert [e.id for e in load(path, id="")] == [f"docs-{i}" for i in range(1, 7)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jsonl", "b.csv"], ["a-1", "a-2", "b-1", "b-2"]),
        (["1/a.jsonl", "2/a.csv"], ["a.jsonl-1", "a.jsonl-2", "a.csv-1", "a.csv-2"]),
        (["1/a.csv", "2/a.csv"], ["1/a.csv-1", "1/a.csv-2", "2/a.csv-1", "2/a.csv-2"]),
    ],
)
def test_made_ids_differ_across_files(tmp_path, monkeypatch, names, expected):
    monkeypatch.chdir(tmp_path)
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        if name.endswith("csv"):
            Path(name).write_text("text\na\nb\n")
        else:
            jsonl(Path(name), {"text": "a"}, {"text": "b"})
    assert [example.id for example in load(names)] == expected


def test_ids_of_text_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.txt", "b/x.txt", "b/sub/y.txt"):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).write_text(name)
    assert [example.id for example in load("b")] == ["sub/y", "x"]
    assert [example.id for example in load(["a", "b/"])] == ["a/x", "b/sub/y", "b/x"]
    assert [example.id for example in load("b/**/*.txt")] == ["y", "x"]
    assert [example.id for example in load("?/*.txt")] == ["a/x.txt", "b/x.txt"]


def test_an_id_that_occurs_twice_names_both_places(tmp_path):
    (tmp_path / "sub").mkdir()
    text = tmp_path / "sub" / "x.txt"
    text.write_text("x")
    a = jsonl(tmp_path / "a.jsonl", {"text": "a", "id": 1}, {"text": "b", "id": "two"})
    b = str(tmp_path / "b.csv")
    Path(b).write_text('id,text\n3,"x\ny"\ntwo,z\n')
    c = jsonl(tmp_path / "c.jsonl", {"text": "c", "id": "x"}, {"text": "d", "id": "1"})
    for spec, repeated, first, second in [
        ([a, b], "two", f"{a}, line 2", f"{b}, row 2"),
        ([a, c], "1", f"{a}, line 1", f"{c}, line 2"),  # a number's id equals its string's
        ([str(tmp_path / "sub"), c], "x", str(text), f"{c}, line 1"),
    ]:
        message = error_of(spec)
        assert message.startswith(f"{second}: the id {repeated!r} occurs twice, first in {first};")
        assert "data.id_column" in message


# Whole corpora.


def test_labelled_folder_as_examples(tmp_path):
    for name in ("pos/1.txt", "neg/1.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    found = {(e.id, e.text, e.fields["label"]) for e in load(str(tmp_path), label="label")}
    assert found == {("pos/1", "pos/1.txt", "pos"), ("neg/1", "neg/1.txt", "neg")}
    (tmp_path / "0.txt").write_text("at the top")
    assert "has no column 'label'" in error_of(str(tmp_path), label="label")


def test_paths_are_checked_before_the_first_row_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="there is no file or folder"):
        read_examples(str(tmp_path / "no"), columns_of(), role="train")


def test_examples_stream_in_small_memory(tmp_path):
    path = tmp_path / "docs.jsonl"
    line = json.dumps({"text": "x" * 50_000}) + "\n"
    path.write_text(line * 400)  # 20 MB
    tracemalloc.start()
    count = sum(1 for _ in read_examples(str(path), columns_of(), role="input"))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak_bytes < 2_000_000
