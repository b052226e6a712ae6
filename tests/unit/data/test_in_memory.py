"""Documents in memory: rows of every kind are read as those of files, and nothing is mistaken."""

import io
import itertools
from pathlib import Path

import pytest

from hierbert.data.columns import Columns
from hierbert.data.corpus import load_examples, read_examples
from hierbert.data.document import BrokenRow
from hierbert.data.in_memory import document_texts
from hierbert.errors import ConfigError, DataError

datasets = pytest.importorskip("datasets")
pandas = pytest.importorskip("pandas")
numpy = pytest.importorskip("numpy")

ROWS = [
    {"body": "one", "topic": "x", "abstract": ["s", "t"], "key": 7},
    {"body": ["a", "b"], "topic": None, "abstract": None, "key": "eight"},
    {"body": "", "topic": "y", "abstract": "u", "key": 9},
]
LABELLED = Columns(fields={"label": "label"})
COLUMNS = Columns("body", "key", {"label": "topic", "summary": "abstract"})
TEXTS = ROWS[0]["body"], ROWS[2]["body"]


def named(rows):
    return [(e.id, e.text, e.fields["label"], e.fields["summary"]) for e in rows]


def load(rows, columns=COLUMNS, role="train"):
    return load_examples(rows, columns, role=role)


def error_of(rows, columns=COLUMNS, kind=DataError):
    with pytest.raises(kind) as caught:
        load(rows, columns)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return caught.value


class Rows:
    """Can be gone through again and again, and is no list."""

    def __iter__(self):
        return iter(ROWS)


@pytest.mark.parametrize(
    "make",
    [list, tuple, iter, lambda rows: (dict(row) for row in rows), lambda _: Rows(),
     pandas.DataFrame, lambda rows: pandas.DataFrame(rows).convert_dtypes()],
    ids=["list", "tuple", "iterator", "generator", "iterable", "DataFrame", "nullable DataFrame"],
)  # fmt: skip
def test_rows_are_those_of_a_file(make):
    assert named(load(make(ROWS))) == [
        ("7", "one", "x", "s\nt"),
        ("eight", ["a", "b"], None, None),
        ("9", "", "y", "u"),
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_datasets_have_the_names_of_their_labels(streamed):
    names = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    table = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c"], "label": [1, -1, 0]}, features=features
    )
    if streamed:
        table = table.to_iterable_dataset()
    examples = load(table, LABELLED, role="test")
    assert [(e.id, e.text, e.fields["label"]) for e in examples] == [
        ("test-1", "a", "pos"),
        ("test-2", "b", None),
        ("test-3", "c", "neg"),
    ]
    assert examples[2].location == f"row 3 of the {type(table).__name__} handed in"
    plain = load(table.with_format("numpy") if not streamed else table, LABELLED)
    assert [type(e.fields["label"]) for e in plain] == [str, type(None), str]
    wrong = error_of(table, Columns("body"))
    assert "has no column 'body'; its columns are 'text', 'label'" in str(wrong)


def test_values_of_numpy_and_pandas_become_plain_ones():
    frame = pandas.DataFrame({
        "text": [numpy.array(["a", "b"]), ("c",), numpy.str_("d")],
        "label": pandas.array([1, None, 3], dtype="Int64"),
        "id": [1.0, 2.0, 3.0],
    })  # fmt: skip
    examples = load(frame, LABELLED)
    assert [(e.id, e.text, e.fields["label"]) for e in examples] == [
        ("1", ["a", "b"], 1), ("2", ["c"], None), ("3", "d", 3),
    ]  # fmt: skip
    assert type(examples[0].fields["label"]) is int and type(examples[2].text) is str
    mixed = pandas.DataFrame({"text": ["a"], "label": pandas.Categorical(["x"]), 3: [0]})
    assert load(mixed, LABELLED)[0].label == "x"


def test_a_row_is_copied_as_it_is_read():
    def same_dict_again():
        row = {"text": [], "label": []}
        for number in range(3):
            row["text"].append(f"s{number}")
            row["label"][:] = [f"l{number}"]
            yield row

    examples = load(same_dict_again(), LABELLED)
    assert [e.text for e in examples] == [["s0"], ["s0", "s1"], ["s0", "s1", "s2"]]
    assert [e.fields["label"] for e in examples] == [["l0"], ["l1"], ["l2"]]

    def nested():
        sentences = ["a"]
        yield {"text": [sentences]}
        sentences.append("b")
        yield {"text": [sentences]}

    assert [e.text for e in load(nested(), Columns())] == [[["a"]], [["a", "b"]]]


def test_rows_stream_and_broken_ones_can_be_kept():
    endless = ({"text": number if number == 2 else "a"} for number in itertools.count(1))
    kept = read_examples(endless, Columns(), role="input", keep_broken=True)
    first = list(itertools.islice(kept, 3))
    assert [item.id for item in first] == ["input-1", "input-2", "input-3"]
    broken = first[1]
    assert isinstance(broken, BrokenRow) and "holds 2 (a number); allowed: a" in broken.reason
    assert broken.location == "row 2 of the generator handed in"
    assert next(endless) == {"text": "a"}


def test_errors_name_the_row_the_column_and_what_is_allowed():
    place = "row 2 of the list handed in: "
    ok = {"text": "a"}
    for row, reason in [
        ({"text": b"a"}, "column 'text' holds b'a' (bytes); allowed: a string, a list"),
        ({"txt": "b"}, "has no column 'text'; its columns are 'txt'; set data.text_column to"),
        ("a text", "is a string; allowed: a dict of column names and values"),
        (Path("a.jsonl"), "; allowed: a dict"),
        (None, "is None; allowed: a dict"),
        ({"text": "b", "id": "train-1"}, "the id 'train-1' occurs twice, first in row 1 of the"),
    ]:
        message = str(error_of([ok, row], Columns()))
        assert message.startswith(place) and reason in message, message
    twice = iter([{"text": "a", "id": 1}, {"text": "b", "id": 1}])
    assert "first in a row before it" in str(error_of(twice, Columns()))
    assert "list handed in: has no column 'label'" in str(error_of([ok], LABELLED))
    assert "list_iterator handed in: holds no rows" in str(error_of(iter([]), Columns()))


def test_frames_without_the_column_or_with_two_of_a_name_are_refused():
    frame = pandas.DataFrame({"body": ["a"], "label": ["x"]})
    message = str(error_of(frame, LABELLED))
    assert "row 1 of the DataFrame handed in: has no column 'text'" in message
    assert "its columns are 'body', 'label'; set data.text_column" in message
    twice = pandas.DataFrame([["a", "b"]], columns=["text", "text"])
    assert "names the column 'text' twice" in str(error_of(twice, Columns()))
    assert "holds no rows" in str(error_of(frame[:0], Columns("body")))


def test_long_frames_are_read_whole_and_in_order():
    frame = pandas.DataFrame({"text": [f"t{number}" for number in range(1, 601)]})[::-1]
    examples = load(frame, Columns())
    assert [e.text for e in examples] == [f"t{number}" for number in range(600, 0, -1)]
    assert [e.id for e in examples] == [f"train-{number}" for number in range(1, 601)]
    assert examples[599].location == "row 600 of the DataFrame handed in"


def test_an_iterable_that_raises_says_after_which_row():
    def raising(rows):
        yield from rows
        raise RuntimeError("lost\nthe connection")

    for rows, after in [(ROWS, "after row 3"), ([], "before the first row")]:
        error = error_of(raising(rows))
        words = f"the generator handed in: raised RuntimeError {after}: lost the connection"
        assert str(error) == words
        assert isinstance(error.__cause__, RuntimeError)
    kept = read_examples(raising(ROWS), COLUMNS, role="input", keep_broken=True)
    with pytest.raises(DataError, match="after row 3"):
        list(kept)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (None, "None"),
        (b"text", "bytes"),
        (3, "a number"),
        ({"text": ["a"], "label": ["x"]}, "one mapping (dict) with the keys 'text', 'label'"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_dict({})}), "the keys 'train'"),
        (io.StringIO("a\nb"), "a StringIO"),
        (lambda: iter(ROWS), "a function"),
    ],
)
def test_what_holds_no_rows_is_refused_at_once(given, what):
    with pytest.raises(ConfigError) as caught:
        read_examples(given, COLUMNS, role="validation")
    message = str(caught.value)
    assert message.startswith("data.validation ") and what in message
    assert "allowed: paths, or rows: a list of dicts" in message


def test_paths_are_paths(tmp_path):
    path = tmp_path / "docs.jsonl"
    path.write_text('{"text": "a"}')
    for spec in (path, [path], [str(path)]):
        assert [e.id for e in load(spec, Columns())] == ["docs-1"]
    assert "there is no file or folder 'a text'" in str(error_of(["a text"]))


# Texts, for predictions.


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("one", ["one"]),
        ("", [""]),
        ([], []),
        (["a", ["s", "t"], [["s"], []]], ["a", ["s", "t"], [["s"], []]]),
        (pandas.Series(["a", "b"]), ["a", "b"]),
        (numpy.array(["a", "b"]), ["a", "b"]),
        (datasets.Dataset.from_dict({"text": ["a", "b"]})["text"], ["a", "b"]),
        ({"x": "a"}.values(), ["a"]),
    ],
)
def test_texts_are_given_one_by_one(given, texts):
    assert list(document_texts(given)) == texts
    assert next(document_texts(itertools.repeat("a"))) == "a"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (pandas.DataFrame({"text": ["a"]}), "a table (DataFrame): give one of its columns"),
        (datasets.Dataset.from_dict({"text": ["a"]}), "a table (Dataset)"),
        (pytest.importorskip("pyarrow").table({"text": ["a"]}), "a table (Table)"),
        ({"text": "a"}, "a mapping (dict)"),
        (Path("a.txt"), "a path (a.txt)"),
        (None, "None"),
        (b"a", "bytes"),
        (3, "a number"),
        ({"a", "b"}, "a set"),
        (io.StringIO("a\nb"), "a StringIO"),
    ],
)
def test_what_holds_no_texts_is_refused_at_once(given, what):
    with pytest.raises(DataError) as caught:
        document_texts(given)
    message = str(caught.value)
    assert message.startswith(f"texts: is {what}") and "\n" not in message
    assert "allowed: texts: a list" in message


def test_texts_that_are_none_are_named():
    for text, what in [
        (None, "None"), (3, "a number"), (b"a", "bytes"), ({"text": "a"}, "an object"),
        (["a", 3], "a list of other things"), ([[["a"]]], "a list of other things"),
        (float("nan"), "a number"),
    ]:  # fmt: skip
        texts = document_texts(["fine", text])
        assert next(texts) == "fine"
        with pytest.raises(DataError) as caught:
            next(texts)
        assert str(caught.value).startswith(f"texts[1]: is {what}; allowed: a string, a list")

    def raising():
        yield "a"
        raise KeyError("gone")

    with pytest.raises(DataError, match=r"^texts: raised KeyError after text 1") as caught:
        list(document_texts(raising()))
    assert isinstance(caught.value.__cause__, KeyError)
