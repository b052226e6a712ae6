import csv
import importlib.util
import io
import itertools
import json
import os
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.data.aclsum import era_of
from hierbert.data.columns import Columns
from hierbert.data.corpus import load_examples, read_examples
from hierbert.data.document import Example
from hierbert.errors import DataError, flag_setting

needs_aclsum = pytest.mark.skipif(
    importlib.util.find_spec("aclsum") is None, reason="the package aclsum is not installed"
)


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def load(spec, role="train", encoding="utf-8", **columns):
    return load_examples(spec, Columns(**columns), role=role, encoding=encoding)


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
        Example("7", "a b", "x", "one\ntwo", f"{path}, line 1")
    ]


def test_columns_that_are_not_asked_for_are_not_read(tmp_path):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", "label": {"odd": 1}, "summary": 3})
    (example,) = load(path)
    assert (example.label, example.summary) == (None, None)


@pytest.mark.parametrize(
    "text",
    ["", "half \ud800 pair", [], ["one sentence", ""], [["a", "b"], []], [[]]],
)
def test_texts_of_every_allowed_form(tmp_path, text):
    (example,) = load(jsonl(tmp_path / "docs.jsonl", {"text": text}))
    assert example.text == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (3, "holds 3 (a number)"),
        (True, "holds True (a boolean)"),
        (None, "holds None (null)"),
        ({"a": 1}, "(an object)"),
        (["a", 3], "holds ['a', 3] (a list)"),
        (["a", ["b"]], "(a list)"),
        ([["a", None]], "(a list)"),
        ([[["a"]]], "(a list)"),
        ({"a": "x" * 10_000}, "xxx..."),
    ],
)
def test_texts_of_the_wrong_type(tmp_path, text, shown):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "fine"}, {"text": text})
    message = error_of(path)
    assert message.startswith(f"{path}, line 2: column 'text' holds ")
    assert shown in message
    assert "allowed: a string, a list of strings or a list of lists of strings" in message
    assert ('an empty document must be ""' in message) == (text is None)
    assert len(message) < len(path) + 300


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("x", "x"),
        ("", None),
        ("  ", None),
        (None, None),
        (float("nan"), None),
        (0, 0),
        (False, False),
        (2.5, 2.5),
        ([], []),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [1, 2]),
    ],
)
def test_labels_stay_as_they_are_and_missing_ones_are_none(tmp_path, raw, label):
    (example,) = load(jsonl(tmp_path / "docs.jsonl", {"text": "a", "label": raw}), label="label")
    assert example.label == label
    assert type(example.label) is type(label)


@pytest.mark.parametrize("raw", [{"a": 1}, [None], [["a"]], ["a", {}]])
def test_labels_of_the_wrong_type(tmp_path, raw):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", "label": raw})
    message = error_of(path, label="label")
    assert f"{path}, line 1: column 'label' holds {raw!r}" in message
    assert "null for no label" in message


@pytest.mark.parametrize(
    ("raw", "summary"),
    [("s", "s"), ("", None), (" ", None), (None, None), ([], None), (["a", "b"], "a\nb")],
)
def test_summaries(tmp_path, raw, summary):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", "summary": raw})
    assert load(path, summary="summary")[0].summary == summary


@pytest.mark.parametrize("raw", [3, ["a", 3], {"a": "b"}])
def test_summaries_of_the_wrong_type(tmp_path, raw):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", "summary": raw})
    message = error_of(path, summary="summary")
    assert f"{path}, line 1: column 'summary' holds {raw!r}" in message


# Missing columns.


@pytest.mark.parametrize(
    ("columns", "missing", "setting"),
    [
        ({"text": "body"}, "body", "data.text_column"),
        ({"label": "topic"}, "topic", "data.label_column"),
        ({"summary": "abstract"}, "abstract", "data.summary_column"),
        ({"id": "key"}, "key", "data.id_column"),
    ],
)
def test_missing_column_names_file_column_and_setting(tmp_path, columns, missing, setting):
    table = tmp_path / "my.csv"
    table.write_text("text,Body,keys\na,b,c\n")
    lines = jsonl(tmp_path / "my.jsonl", {"text": "a", "Body": "b", "keys": "c"})
    for path in (str(table), lines):
        message = error_of(path, **columns)
        assert message.startswith(path)
        assert f"has no column {missing!r}; its columns are 'text', 'Body', 'keys'" in message
        assert f"set {setting} to one of them" in message
    assert ("did you mean 'Body'?" in message) == (missing == "body")
    assert ("did you mean 'keys'?" in message) == (missing == "key")


def test_missing_column_names_the_flags_of_the_command_line(tmp_path):
    path = jsonl(tmp_path / "docs.jsonl", {"body": "a"})
    with pytest.raises(DataError) as caught:
        load(path, role="input")
    assert "set --text-column to one of them" in caught.value.worded(flag_setting)


def test_json_lines_may_leave_labels_out_but_not_texts(tmp_path):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a"}, {"text": "b", "label": "x"})
    assert [example.label for example in load(path, label="label")] == [None, "x"]
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a"}, {"id": "b"})
    assert f"{path}, line 2: has no column 'text'; its columns are 'id'" in error_of(path)


def test_a_label_column_is_looked_for_in_every_file(tmp_path):
    a = jsonl(tmp_path / "a.jsonl", {"text": "a", "label": "x"})
    b = jsonl(tmp_path / "b.jsonl", {"text": "b", "lable": "x"})
    message = error_of([a, b], label="label")
    assert f"{b}: has no column 'label'" in message
    assert "did you mean 'lable'?" in message


# Ids.


def test_ids_are_kept_made_and_made_where_missing(tmp_path):
    path = jsonl(
        tmp_path / "docs.jsonl",
        {"text": "a", "id": "x"},
        {"text": "b"},
        {"text": "c", "id": 3},
        {"text": "d", "id": None},
        {"text": "e", "id": 4.0},
        {"text": "f", "id": ""},
    )
    ids = [example.id for example in load(path)]
    assert ids == ["x", "docs-2", "3", "docs-4", "4", "docs-6"]
    assert [example.id for example in load(path, id="")] == [f"docs-{i}" for i in range(1, 7)]


@pytest.mark.parametrize("raw", [None, "", True, 1.5, ["a"]])
def test_ids_of_a_named_column_must_be_there(tmp_path, raw):
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", "key": "1"}, {"text": "b", "key": raw})
    message = error_of(path, id="key")
    assert f"{path}, line 2: column 'key' holds {raw!r}" in message


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
    a = jsonl(tmp_path / "a.jsonl", {"text": "a", "id": "1"}, {"text": "b", "id": "two"})
    b = tmp_path / "b.csv"
    b.write_text('id,text\n3,"x\ny"\ntwo,z\n')
    message = error_of([a, str(b)])
    assert f"{b}, row 2: the id 'two' occurs twice, first in {a}, line 2;" in message
    c = jsonl(tmp_path / "c.jsonl", {"text": "c", "id": "3"})
    b.write_text("id,text\n4,x\n3,y\n")
    assert f"{c}, line 1: the id '3' occurs twice, first in {b}, row 2;" in error_of([a, str(b), c])
    assert "data.id_column" in message


def test_an_id_made_of_a_number_equals_its_string(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"text": "a", "id": 1}, {"text": "b", "id": "1"})
    assert "occurs twice, first in" in error_of(path)


def test_an_id_twice_in_folders_names_the_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.txt").write_text("x")
    path = jsonl(tmp_path / "docs.jsonl", {"text": "a", "id": "x"})
    message = error_of([str(tmp_path / "sub"), path])
    assert message.startswith(f"{path}, line 1: the id 'x' occurs twice")
    assert f"first in {tmp_path / 'sub' / 'x.txt'};" in message


# Sources without rows.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("docs.jsonl", ""),
        ("docs.jsonl", "\n\n"),
        ("docs.csv", ""),
        ("docs.csv", "text,label\n"),
        ("docs.json", " "),
        ("docs.json", "[]"),
        ("docs.json", '{"text": []}'),
        ("docs.json.gz", ""),
    ],
)
def test_a_file_without_rows_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    full = jsonl(tmp_path / "full.jsonl", {"text": "a"})
    for spec in (str(path), [full, str(path)]):
        assert error_of(spec) == f"{path}: holds no rows"


def test_an_empty_text_file_is_an_empty_document(tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    assert [(e.id, e.text) for e in load(str(tmp_path / "empty.txt"))] == [("empty", "")]


# Whole corpora.


def test_labelled_folder_as_examples(tmp_path):
    for name in ("pos/1.txt", "neg/1.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    found = {(e.id, e.text, e.label) for e in load(str(tmp_path), label="label")}
    assert found == {("pos/1", "pos/1.txt", "pos"), ("neg/1", "neg/1.txt", "neg")}
    (tmp_path / "0.txt").write_text("at the top")
    assert "has no column 'label'" in error_of(str(tmp_path), label="label")


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.text(), st.sampled_from(["a", "b", ""]), st.text(min_size=1)),
        min_size=1,
        max_size=5,
        unique_by=lambda row: row[2],
    )
)
def test_jsonl_corpora_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("corpus") / "docs.jsonl"
    jsonl(path, *({"text": t, "label": label, "id": i} for t, label, i in rows))
    read = load(str(path), label="label")
    assert [(e.text, e.label or "", e.id) for e in read] == rows


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers()),
        min_size=1,
        max_size=5,
        unique_by=lambda row: row[1],
    )
)
def test_csv_corpora_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("corpus") / "docs.csv"
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("text", "id"), *rows])
    path.write_bytes(text.getvalue().encode())
    assert [(e.text, e.id) for e in load(str(path))] == [(t, str(i)) for t, i in rows]


def test_paths_are_checked_before_the_first_row_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="there is no file or folder"):
        read_examples(str(tmp_path / "no"), Columns(), role="train")


def test_examples_stream_in_small_memory(tmp_path):
    path = tmp_path / "docs.jsonl"
    line = json.dumps({"text": "x" * 50_000}) + "\n"
    path.write_text(line * 400)  # 20 MB
    tracemalloc.start()
    count = sum(1 for _ in read_examples(str(path), Columns(), role="input"))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak_bytes < 2_000_000


def test_standard_input_streams(monkeypatch):
    class Endless:
        buffer = property(lambda self: self)
        numbers = itertools.count()

        def read1(self, size):
            return b'{"text": "%d"}\n' % next(self.numbers)

    monkeypatch.setattr(sys, "stdin", Endless())
    examples = read_examples("-", Columns(), role="input")
    first = [(e.id, e.text) for e in itertools.islice(examples, 2)]
    assert first == [("stdin-1", "0"), ("stdin-2", "1")]
    assert next(Endless.numbers) < 5


# The papers inside the package aclsum.


@pytest.mark.parametrize(
    ("anthology_id", "era"),
    [
        ("P79-1001", "before 2014"),
        ("W99-0101", "before 2014"),
        ("P06-1112", "before 2014"),
        ("D13-1001", "before 2014"),
        ("P14-5010", "2014 or later"),
        ("N19-1423", "2014 or later"),
        ("2020.acl-main.528", "2014 or later"),
        ("2013.x-y.1", "before 2014"),
    ],
)
def test_era_of_both_forms_of_anthology_ids(anthology_id, era):
    assert era_of(anthology_id) == era


@pytest.mark.parametrize("anthology_id", ["", "1112", "P6-1112", "20.acl"])
def test_era_of_anything_else_is_refused(anthology_id):
    with pytest.raises(ValueError, match="no ACL Anthology id"):
        era_of(anthology_id)


@needs_aclsum
@pytest.mark.parametrize(
    ("split", "papers", "earlier"),
    [("train", 100, 44), ("validation", 50, 21), ("test", 100, 49)],
)
def test_aclsum_papers_are_read_without_importing_the_package(split, papers, earlier):
    columns = {"label": "era", "summary": "summary"}
    examples = load(f"package://aclsum/{split}", role="train", **columns)
    eras = Counter(example.label for example in examples)
    assert eras == {"before 2014": earlier, "2014 or later": papers - earlier}
    assert all(example.summary.count("\n") >= 2 for example in examples)
    assert min(len(example.text) for example in examples) > 1000
    assert "aclsum" not in sys.modules
    assert "sienna" not in sys.modules
    assert load("package://aclsum", role=split, **columns) == examples


def fake_aclsum(tmp_path, monkeypatch, body):
    dataset = tmp_path / "site" / "aclsum" / "dataset"
    (dataset / "paper_jsons").mkdir(parents=True)
    (dataset.parent / "__init__.py").write_text("raise ImportError('never imported')")
    aspects = {"outcome": "third", "challenge": "first", "approach": "second"}
    jsonl(dataset / "val.jsonl", {"id": "P06-1112", "title": "T", "summary": aspects})
    paper = {"abstract": "short", "pdf_parse": {"body_text": body}}
    (dataset / "paper_jsons" / "P06-1112.json").write_text(json.dumps(paper))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    importlib.invalidate_caches()


def test_aclsum_body_has_a_line_for_each_heading_and_paragraph(tmp_path, monkeypatch):
    parts = [("", "start"), ("One", "a"), ("One", "b"), ("Two", "c"), ("One", "d"), ("One", "")]
    fake_aclsum(tmp_path, monkeypatch, [{"section": s, "text": t} for s, t in parts])
    (example,) = load("package://aclsum", role="validation", summary="summary", label="era")
    assert example == Example(
        "P06-1112",
        "start\nOne\na\nb\nTwo\nc\nOne\nd",
        "before 2014",
        "first\nsecond\nthird",
        "package://aclsum/validation, row 1",
    )


def test_aclsum_missing_or_of_another_version(tmp_path, monkeypatch):
    fake_aclsum(tmp_path, monkeypatch, [{"text": "no section"}])
    for role in ("validation", "test"):  # a key is missing; a file is missing
        message = error_of("package://aclsum", role=role)
        assert "not the one expected" in message
        assert "pip install aclsum==0.1.2" in message
    monkeypatch.setattr(sys, "path", [])
    message = error_of("package://aclsum")
    assert message.endswith("is not installed; pip install aclsum==0.1.2")


@needs_aclsum
@pytest.mark.corpora
@pytest.mark.skipif("HIERBERT_CORPORA" not in os.environ, reason="HIERBERT_CORPORA is not set")
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_aclsum_has_the_words_of_the_development_corpus(split):
    folder = Path(os.environ["HIERBERT_CORPORA"]) / "aclsum"
    known = load(str(folder / f"{split}.jsonl.gz"), summary="summary")
    ours = load(f"package://aclsum/{split}", summary="summary")
    assert [(e.id, e.summary, e.text.split()) for e in ours] == [
        (e.id, e.summary, e.text.split()) for e in known
    ]
