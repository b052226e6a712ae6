"""Labels: what they are called, numbered, and refused as."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert import ConfigError, DataError
from hierbert.data import splits
from hierbert.extend import Example
from hierbert.tasks.labels import LabelMap


def examples_of(*labels):
    return [
        Example(str(row), "text", {"label": label}, f"my.csv, row {row}")
        for row, label in enumerate(labels, 1)
    ]


def learn(*labels, **kwargs) -> LabelMap:
    return LabelMap.learn(examples_of(*labels), **kwargs)


def encoded(learned: LabelMap, *labels):
    return [learned.encode(example) for example in examples_of(*labels)]


def error_of(function, *labels, kind=DataError, **kwargs) -> str:
    with pytest.raises(kind) as caught:
        function(*labels, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", None, "b"], ["a", "b"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1", "01", "1"], ["01", "1"]),
        ([1.0, 2.0, 0.0, -0.0], ["0", "1", "2"]),
        ([2, 1.0], ["1", "2"]),
        ([10**400, 1], ["1", "1" + "0" * 400]),
        ([True, False], ["false", "true"]),
        (["1e5", "100000", "0x10"], ["0x10", "100000", "1e5"]),
        (["a", "a "], ["a", "a "]),
        (["2", "٣"], ["2", "٣"]),
        (["é", "E", "../x", "\ud800"], ["../x", "E", "é", "\ud800"]),
    ],
)
def test_single_labels_are_learnt_as_sorted_strings(labels, names) -> None:
    learned = learn(*labels)
    assert (learned.names, learned.problem_type) == (names, "single_label")
    numbers = [number for number in encoded(learned, *labels) if number is not None]
    assert set(numbers) == set(range(len(names)))
    assert [names[number] for number in encoded(learned, *names)] == names


@settings(deadline=None, max_examples=50)
@given(
    labels=st.lists(st.integers() | st.none(), max_size=20).filter(
        lambda labels: len(set(labels) - {None}) > 1
    ),
    seed=st.integers(0, 9),
)
def test_labels_do_not_depend_on_order_or_format(labels, seed) -> None:
    shuffled = random.Random(seed).sample(labels, len(labels))
    as_strings = [None if label is None else str(label) for label in labels]
    first = learn(*labels)
    assert first.names == learn(*shuffled).names == learn(*as_strings).names
    assert first.names == [str(label) for label in sorted(set(labels) - {None})]
    numbers = encoded(first, *as_strings)
    assert [None if n is None else first.names[n] for n in numbers] == as_strings


@pytest.mark.parametrize(
    ("labels", "separator", "names", "numbers"),
    [
        ([["c", "a", "c"], [], None, ["b"]], None, ["a", "b", "c"], [[0, 2], [], None, [1]]),
        (["law;sport ;; law", " ; ", None], ";", ["law", "sport"], [[0, 1], [], None]),
        ([[10, 9], [1]], None, ["1", "9", "10"], [[1, 2], [0]]),
    ],
)
def test_lists_and_separated_strings_are_several_labels(labels, separator, names, numbers) -> None:
    learned = learn(*labels, separator=separator)
    assert (learned.names, learned.problem_type) == (names, "multi_label")
    assert encoded(learned, *labels) == numbers


def test_cells_that_spell_lists_are_lists() -> None:
    cells = ['["b", "a"]', "['c']", "[]", None, "[1, True]"]
    learned = learn(*cells)
    assert (learned.names, learned.problem_type) == (["1", "a", "b", "c", "true"], "multi_label")
    assert encoded(learned, *cells) == [[1, 2], [3], [], None, [0, 4]]
    # Where the type is said, others are labels, or are split.
    learned = learn("['a; b']", "a; b", "c", problem_type="multi_label", separator=";")
    assert encoded(learned, "['a; b']", "a; b", "c", ["a"]) == [[1], [0, 2], [3], [0]]
    assert learn("['a']", "['b']", problem_type="single_label").names == ["['a']", "['b']"]


def test_several_columns_are_flags_or_labels() -> None:
    rows: list[Any] = [
        {"toxic": "Yes", "kind": "a", "rude": 1.0},
        {"toxic": "no", "kind": None, "rude": 0.0},
        {"toxic": "0", "kind": ["b", "c"], "rude": []},
        None,
    ]
    learned = learn(*rows)
    assert learned.names == ["a", "b", "c", "rude", "toxic"]
    assert encoded(learned, *rows) == [[0, 3, 4], [], [1, 2], None]
    # So does a model, which knows the labels alone.
    model = LabelMap(learned.names, "multi_label")
    assert encoded(model, *rows) == encoded(learned, *rows)
    message = error_of(model.encode, *examples_of({"toxic": "5", "rude": 1}))
    assert message.startswith("my.csv, row 1: column 'toxic' holds '5' (a string)")


@pytest.mark.parametrize(
    "labels",
    [
        ["Smith, John", "Smith, Anna", "Doe, John", "Roe, Jane", "Poe, Edgar", "Poe, Al"],
        ["arts|music", "arts|film", "news", "sports|ski", "law", "tax"],
        ["(other)", "[UNK]", "R&D; Sales", "a/b", "{x}"],
        ["talk.politics", "talk.religion", "rec.autos"],
        ["1", "2", "3", "4.0"],
        [["a;b", "c"], ["c;b"], ["b"]],
    ],
)
def test_names_that_hold_separators_and_brackets_are_labels(labels) -> None:
    assert set(learn(*labels).names) == {
        n for m in labels for n in ([m] if isinstance(m, str) else m)
    }


def test_regression_takes_finite_numbers_of_32_bits() -> None:
    learned = learn("3.5", "1e2", None, problem_type="regression")
    assert (learned.names, learned.problem_type) == ([], "regression")
    assert encoded(learned, "2", 3, 0.5, None, -3.4e38) == [2.0, 3.0, 0.5, None, -3.4e38]
    for label in ("x", True, "nan", float("inf"), 10**400, "1,5", 3.5e38, "-1e39"):
        message = error_of(learn, label, label, problem_type="regression", field="score")
        assert message.startswith("my.csv, row 1, id '1': column 'score' holds ")
        assert "regression allows finite numbers" in message


@pytest.mark.parametrize(
    ("labels", "kind", "parts"),
    [
        ([3.5, 4.0], "auto", ["row 1: ", "fractions, such as 3.5; set data.label_type to regres"]),
        (["1", "2.25"], "auto", ["row 2: ", "fractions, such as '2.25'"]),
        (["a", "b", 3], "auto", ["column 'topic' mixes", "row 1 has 'a'", "row 3 has 3 (a"]),
        ([1, None, True], "auto", ["row 1 has 1 (a number)", "row 3 has True (a boolean)"]),
        ([["a"], "b"], "auto", ["row 1 has ['a'] (a list)", "row 2 has 'b' (a string)"]),
        ([["a"], [1]], "auto", ["row 1 has ['a'] (a string in its", "row 2 has [1] (a number"]),
        ([1, 1.0, None], "auto", ["'topic'", "has 1 label ('1'); single_label needs at least 2"]),
        ([[], []], "auto", ["has 0 labels; multi_label needs at least 1"]),
        ([None], "auto", ["no document has a label in column 'topic', from my.csv, row 1 on"]),
        ([["a"], ["b"]], "single_label", ["column 'topic' holds the list"]),
        ([[["a", "b"]], [["c"]]], "auto", ["row 1: ", "[['a', 'b']]; lists in a list are paths"]),
        ([["a"]], "regression", ["['a'], ", "set data.label_type to multi_label"]),
    ],
)
def test_labels_that_cannot_be_learnt(labels, kind, parts) -> None:
    message = error_of(learn, *labels, field="topic", problem_type=kind)
    assert all(part in message for part in parts), message


def test_fractions_may_be_names_where_that_is_said() -> None:
    assert learn(3.5, 4.0, problem_type="single_label").names == ["3.5", "4"]


@pytest.mark.parametrize(
    ("names", "kind", "label", "parts"),
    [
        (map("label{}".format, range(30)), "single_label", "Label7",
         ["my.csv, row 1: column 'label' has the label 'Label7'", "'label19' and 10 more",
          "did you mean 'label7'?"]),
        ("ab", "single_label", "x" * 1_000_000, ["allowed are 'a', 'b'"]),
        ("ab", "single_label", ["a"], ["the list ['a']", "allowed is one label"]),
        ("ab", "multi_label", ["a", ["b"]], ["row 1: ", "['a', ['b']]", "data.label_paths"]),
        ("a", "multi_label", ["a", "no"], ["has the label 'no'"]),
        ("a", "multi_label", "no", ["has the label 'no'"]),
    ],
)  # fmt: skip
def test_an_unknown_label_names_its_row_and_what_is_allowed(names, kind, label, parts) -> None:
    message = error_of(LabelMap(names, kind).encode, *examples_of(label))
    assert all(part in message for part in parts), message


def test_settings_of_a_label_map_are_checked() -> None:
    assert "repeat" in error_of(LabelMap, ["a", "a"], "single_label", kind=ConfigError)
    for separator, kind in ((";", "single_label"), ("", "auto")):
        given = {"problem_type": kind, "separator": separator}
        assert "needs multi_label" in error_of(learn, "a", "b", kind=ConfigError, **given)


def test_splits_and_labels_do_not_depend_on_hashing():
    # A bare package stands in for hierbert, whose own import takes seconds and is not needed here.
    program = (
        "import sys, types\n"
        "package = types.ModuleType('hierbert')\n"
        "package.__path__ = [sys.argv[1]]\n"
        "sys.modules['hierbert'] = package\n"
        "from hierbert.data.corpus import Example\n"
        "from hierbert.tasks.labels import LabelMap\n"
        "from hierbert.data.splits import split_validation\n"
        "rows = [Example(str(i), '', {'label': 'abcde'[i * i % 5]}, '') for i in range(60)]\n"
        "print(LabelMap.learn(rows).names, [e.id for e in split_validation(rows, 0.2, 3)[1]])\n"
    )
    printed = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, str(Path(splits.__file__).parents[1])]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        printed.add(done.stdout)
    assert len(printed) == 1


def learn_logged(caplog, *labels, **kwargs) -> list[str]:
    """What is warned of."""
    caplog.clear()
    learn(*labels, **kwargs)
    return [record.message for record in caplog.records if record.levelname == "WARNING"]


def test_what_may_be_a_mistake_is_a_warning(caplog) -> None:
    cities = ["Paris, Texas", "Houston, Texas", "Dallas, Texas"]
    (warning,) = learn_logged(caplog, *cities)
    assert warning.startswith("my.csv, row 1: column 'label' holds 'Paris, Texas', which looks")
    assert "data.label_separator=','" in warning and "\0" not in warning
    (warning,) = learn_logged(caplog, "a", "b", "c", separator=";")
    assert warning == "column 'label': no cell holds the separator ';'"
    rare = [f"rare {n}" for n in range(11)]
    (warning,) = learn_logged(caplog, *rare, *["a", "b", "c"] * 5)
    assert "11 of 14 labels are those of one document alone, such as 'rare 0'" in warning
    assert "data.label_separator" in warning and "\0" not in warning
    (warning,) = learn_logged(
        caplog, *(f"title {n}" for n in range(20)), problem_type="single_label"
    )
    assert "20 of 20 labels" in warning
    assert learn_logged(caplog, *[f"label {n % 30}" for n in range(90)]) == []
    # Labels that no one tells apart by eye: full width, zero width, a letter as two characters.
    seen = ["caf\u00e9", "cafe\u0301", "ｃａｆé", "ca\u200bfé", "Café ", "cafe"] * 2
    (warning,) = learn_logged(caplog, *seen)
    assert "are 5 classes; where they are one, write them alike" in warning
    assert "'ca\\u200bfé'" in warning and "'cafe'," not in warning
    many = "a" + "\u0301\u0327" * 200_000  # in linear time
    assert learn_logged(caplog, *[many, "b"] * 2) == []
