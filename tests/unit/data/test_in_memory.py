"""Documents in memory: rows of every kind are read as those of files, and nothing is mistaken."""

import io
import itertools
from pathlib import Path

import datasets
import numpy
import pandas
import pyarrow
import pytest
from reading import error_of, load

from hierbert import ConfigError, DataError, read_documents
from hierbert.data.in_memory import document_texts
from hierbert.extend import BrokenRow

ROWS = [
    {"body": "one", "topic": "x", "abstract": ["s", "t"], "key": 7},
    {"body": ["a", "b"], "topic": None, "abstract": None, "key": "eight"},
    {"body": "", "topic": "y", "abstract": "u", "key": 9},
]
COLUMNS = {
    "text_column": "body",
    "label_column": "topic",
    "summary_column": "abstract",
    "id_column": "key",
}


@pytest.mark.parametrize(
    "make",
    [tuple, iter, pandas.DataFrame, lambda rows: pandas.DataFrame(rows).convert_dtypes()],
    ids=["tuple", "iterator", "DataFrame", "nullable DataFrame"],
)
def test_rows_are_those_of_a_file(make) -> None:
    found = load(make(ROWS), **COLUMNS)
    assert [(e.id, e.text, e.fields["label"], e.fields["summary"]) for e in found] == [
        ("7", "one", "x", ["s", "t"]),
        ("eight", ["a", "b"], None, None),
        ("9", "", "y", "u"),
    ]


def test_whole_numbers_beside_a_missing_id_are_ids() -> None:
    # pandas and parquet hold them as 7.0, NaN and 9.0.
    frame = pandas.DataFrame({"id": [7, None, 9], "text": ["a", "b", "c"]})
    assert [document.id for document in load(frame)] == ["7", "input-2", "9"]
    assert "holds 7.5 (a number)" in error_of(pandas.DataFrame({"id": [7.5], "text": ["a"]}))


def test_datasets_have_the_names_of_their_labels() -> None:
    names = datasets.ClassLabel(names=["neg", "pos"])
    kinds = {"text": datasets.Value("string"), "label": names, "tags": datasets.List(names)}
    columns = {"text": ["a", "b", "c"], "label": [1, -1, 0], "tags": [[0, 1], [], [1]]}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    for given in (table, table.with_format("numpy"), table.to_iterable_dataset()):
        documents = load(given, label_column="label")
        assert [(e.id, e.text, e.fields["label"]) for e in documents] == [
            ("input-1", "a", "pos"), ("input-2", "b", None), ("input-3", "c", "neg"),
        ]  # fmt: skip
        assert documents[2].location == f"row 3 of the {type(given).__name__} handed in"
        tags = [item.fields["label"] for item in load(given, label_column="tags")]
        assert tags == [["neg", "pos"], [], ["pos"]]
        assert "has no column 'body'; its columns are 'text', " in error_of(
            given, text_column="body"
        )


def test_values_of_numpy_and_pandas_become_plain_ones() -> None:
    frame = pandas.DataFrame({
        "text": [numpy.array(["a", "b"]), ("c",), numpy.str_("d")],
        "label": pandas.array([1, None, 3], dtype="Int64"),
        "id": [1.0, 2.0, 3.0],
        3: pandas.Categorical(["x", "y", "x"]),
    })  # fmt: skip
    documents = load(frame, label_column="label", columns={"kind": "3"})
    assert [(e.id, e.text, e.fields) for e in documents] == [
        ("1", ["a", "b"], {"label": 1, "kind": "x"}),
        ("2", ["c"], {"label": None, "kind": "y"}),
        ("3", "d", {"label": 3, "kind": "x"}),
    ]
    assert type(documents[0].fields["label"]) is int and type(documents[2].text) is str


def test_a_row_is_copied_as_it_is_read() -> None:
    def same_dict_again():
        row = {"text": [], "label": []}
        for number in range(3):
            row["text"].append([f"s{number}"])
            row["label"][:] = [f"l{number}"]
            yield row

    documents = load(same_dict_again(), label_column="label")
    assert [e.text for e in documents] == [[["s0"]], [["s0"], ["s1"]], [["s0"], ["s1"], ["s2"]]]
    assert [e.fields["label"] for e in documents] == [["l0"], ["l1"], ["l2"]]


def test_rows_stream_and_broken_ones_can_be_kept() -> None:
    endless = ({"text": number if number == 2 else "a"} for number in itertools.count(1))
    first = list(itertools.islice(read_documents(endless, keep_broken=True), 3))
    assert [item.id for item in first] == ["input-1", "input-2", "input-3"]
    assert isinstance(first[1], BrokenRow) and "holds 2 (a number)" in first[1].reason
    assert first[1].location == "row 2 of the generator handed in"


OK = {"text": "a"}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([OK, {"text": b"a"}], "row 2 of the list handed in: column 'text' holds b'a' (bytes); al"),
        ([OK, {"txt": "b"}], "row 2 of the list handed in: has no column 'text'; its columns are"),
        ([OK, "a text"], "row 2 of the list handed in: is a string; allowed: a dict of column nam"),
        ([OK, None], "row 2 of the list handed in: is None; allowed: a dict"),
        ([OK, {"text": "b", "id": "input-1"}], "the id 'input-1' occurs twice, first in row 1 of"),
        (iter([{**OK, "id": 1}, {**OK, "id": 1}]), "first in a row before it"),
        (pandas.DataFrame({"body": ["a"]}), "row 1 of the DataFrame handed in: has no column 'tex"),
        (pandas.DataFrame([["a", "b"]], columns=["text", "text"]), "names the column 'text' twice"),
        (pandas.DataFrame({"text": []}), "the DataFrame handed in: holds no rows"),
        (["a text"], "there is no file or folder 'a text'"),
    ],
)
def test_errors_name_the_row_the_column_and_what_is_allowed(rows, reason) -> None:
    assert reason in error_of(rows)


def test_long_frames_are_read_whole_and_in_order() -> None:
    frame = pandas.DataFrame({"text": [f"t{number}" for number in range(1, 601)]})[::-1]
    documents = load(frame)
    assert [e.text for e in documents] == [f"t{number}" for number in range(600, 0, -1)]
    assert [e.id for e in documents] == [f"input-{number}" for number in range(1, 601)]
    assert documents[599].location == "row 600 of the DataFrame handed in"


@pytest.mark.parametrize(("rows", "after"), [(ROWS, "after row 3"), ([], "before the first row")])
def test_an_iterable_that_raises_says_after_which_row(rows, after) -> None:
    def raising():
        yield from rows
        raise RuntimeError("lost\nthe connection")

    for keep_broken in (False, True):
        with pytest.raises(DataError) as caught:
            load(raising(), keep_broken=keep_broken, **COLUMNS)
        words = f"the generator handed in: raised RuntimeError {after}: lost the connection"
        assert str(caught.value) == words and isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (None, "None"),
        (3, "a number"),
        ({"text": ["a"], "label": ["x"]}, "one mapping (dict) with the keys 'text', 'label'"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_dict({})}), "the keys 'train'"),
        (io.StringIO("a\nb"), "a StringIO"),
        (list, "a type"),
    ],
)
def test_what_holds_no_rows_is_refused_at_once(given, what) -> None:
    with pytest.raises(ConfigError) as caught:
        read_documents(given)
    message = str(caught.value)
    assert message.startswith("data.input ") and what in message
    assert "allowed: paths, or rows: a list of dicts" in message


# Texts, for predictions.


def test_texts_are_given_one_by_one() -> None:
    column = datasets.Dataset.from_dict({"text": ["a", "b"]})["text"]
    for given in (["a", "b"], pandas.Series(["a", "b"]), numpy.array(["a", "b"]), column):
        assert list(document_texts(given)) == ["a", "b"]
    nested = ["a", ["s", "t"], [["s"], []]]
    assert list(document_texts(nested)) == nested
    assert list(document_texts("one")) == ["one"] and list(document_texts([])) == []


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (pandas.DataFrame({"text": ["a"]}), "a table (DataFrame): give one of its columns"),
        (datasets.Dataset.from_dict({"text": ["a"]}), "a table (Dataset)"),
        (pyarrow.table({"text": ["a"]}), "a table (Table)"),
        ({"text": "a"}, "a mapping (dict)"),
        (Path("a.txt"), "a path (a.txt)"),
        ({"a", "b"}, "a set"),
        (io.StringIO("a\nb"), "of type StringIO"),
    ],
)
def test_what_holds_no_texts_is_refused_at_once(given, what) -> None:
    with pytest.raises(DataError) as caught:
        document_texts(given)
    message = str(caught.value)
    assert message.startswith(f"texts: is {what}") and "\n" not in message


def test_texts_that_are_none_are_named() -> None:
    for text, what in [({"text": "a"}, "an object"), ([[["a"]]], "a list of other things")]:
        texts = document_texts(["fine", text])
        assert next(texts) == "fine"
        with pytest.raises(DataError) as caught:
            next(texts)
        assert str(caught.value).startswith(f"texts[1]: is {what}; allowed: a string, a list")
