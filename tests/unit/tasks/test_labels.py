"""Labels: what they are called, numbered, and refused as."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.data import splits
from hierbert.data.document import Example
from hierbert.errors import ConfigError, DataError, config_setting, flag_setting
from hierbert.tasks.labels import LabelMap


def examples_of(*labels):
    return [
        Example(str(row), "text", {"label": label}, f"my.csv, row {row}")
        for row, label in enumerate(labels, 1)
    ]


def example_of(label):
    return examples_of(label)[0]


def learn(*labels, **kwargs):
    return LabelMap.learn(examples_of(*labels), **kwargs)


def error_of(*labels, kind=DataError, setting=config_setting, **kwargs):
    with pytest.raises(kind) as caught:
        learn(*labels, **kwargs)
    message = caught.value.worded(setting)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", None, "b"], ["a", "b"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        ([10, 9, 10], ["9", "10"]),
        ([True, False], ["false", "true"]),
        ([1.0, 2.0, 0.0], ["0", "1", "2"]),
        ([2, 1.0], ["1", "2"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["é", "z", "E"], ["E", "z", "é"]),
        (["2", "٣"], ["2", "٣"]),
    ],
)
def test_single_labels_are_learnt_as_sorted_strings(labels, names):
    learned = learn(*labels)
    assert (learned.names, learned.problem_type) == (names, "single_label")


def test_encode_single_labels_and_missing_ones():
    learned = learn("b", "a", "c")
    assert [learned.encode(e) for e in examples_of("c", None, "a")] == [2, None, 0]


@settings(deadline=None, max_examples=50)
@given(labels=st.lists(st.integers() | st.none(), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_labels_do_not_depend_on_order_or_format(labels, seed):
    if len(set(labels) - {None}) < 2:
        return
    shuffled = random.Random(seed).sample(labels, len(labels))
    as_strings = [None if label is None else str(label) for label in labels]
    first = learn(*labels)
    assert first.names == learn(*shuffled).names == learn(*as_strings).names
    assert first.names == [str(label) for label in sorted(set(labels) - {None})]
    numbers = [first.encode(e) for e in examples_of(*as_strings)]
    assert [None if n is None else first.names[n] for n in numbers] == as_strings


def test_lists_are_several_labels():
    learned = learn(["b", "a"], [], None, ["c", "a", "c"])
    assert (learned.names, learned.problem_type) == (["a", "b", "c"], "multi_label")
    encoded = [learned.encode(e) for e in examples_of(["c", "a", "c"], [], None, "b")]
    assert encoded == [[0, 2], [], None, [1]]


def test_a_separator_splits_strings():
    learned = learn("sport; law", "law", ";", None, separator=";")
    assert (learned.names, learned.problem_type) == (["law", "sport"], "multi_label")
    encoded = [learned.encode(e) for e in examples_of("law;sport ;; law", " ; ", None)]
    assert encoded == [[0, 1], [], None]


def test_numbers_in_lists_become_strings():
    learned = learn([10, 9], [1])
    assert learned.names == ["1", "9", "10"]


def test_multi_label_with_one_label_is_allowed_and_with_none_is_not():
    assert learn(["a"], []).names == ["a"]
    assert "has 0 labels; multi_label needs at least 1" in error_of([], [])


def test_regression_reads_numbers_and_strings():
    learned = learn("3.5", "1e2", None, problem_type="regression")
    assert (learned.names, learned.problem_type) == ([], "regression")
    assert [learned.encode(e) for e in examples_of("2", 3, 0.5, None)] == [2.0, 3.0, 0.5, None]


@pytest.mark.parametrize("label", ["x", True, "nan", float("inf"), 10**400, "1,5"])
def test_regression_refuses_what_is_no_finite_number(label):
    learned = LabelMap([], "regression")
    with pytest.raises(DataError, match=r"my.csv, row 1: column 'label' holds .* finite numbers"):
        learned.encode(example_of(label))
    message = error_of(*[label, label], problem_type="regression", field="score")
    assert "column 'score'" in message


@pytest.mark.parametrize("labels", [[3.5, 4.0], ["3.5", "4"], ["1", "2.25"]])
def test_fractions_ask_for_regression(labels):
    fraction = next(label for label in labels if float(label) % 1)
    message = error_of(*labels, setting=flag_setting)
    assert f"my.csv, row {labels.index(fraction) + 1}" in message
    assert f"such as {fraction!r}" in message
    assert "set --label-type to regression" in message
    assert learn(*labels, problem_type="single_label").names == sorted(map(_plain, labels))


def _plain(label):
    return "4" if label == 4.0 else str(label)


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        (["a", "b", 3], ["row 1 has 'a' (a string)", "row 3 has 3 (a number)"]),
        ([1, None, True], ["row 1 has 1 (a number)", "row 3 has True (a boolean)"]),
        ([["a"], "b"], ["row 1 has ['a'] (a list)", "row 2 has 'b' (a string)"]),
        ([["a"], [1]], ["row 1 has ['a'] (a string in its list)", "row 2 has [1] (a number"]),
    ],
)
def test_mixed_types_name_two_rows(labels, parts):
    message = error_of(*labels, field="topic")
    for part in ["column 'topic' mixes types: my.csv, ", *parts]:
        assert part in message


def test_one_class_and_no_labels():
    message = error_of("a", "a", None, field="topic")
    assert "column 'topic'" in message
    assert "has 1 label ('a'); single_label needs at least 2" in message
    assert "no document has a label in column 'topic'" in error_of(None, None, field="topic")


@pytest.mark.parametrize("problem_type", ["single_label", "regression"])
def test_lists_where_one_value_is_allowed(problem_type):
    message = error_of(["a"], ["b"], problem_type=problem_type)
    assert "my.csv, row 1: column 'label' holds the list ['a']" in message
    assert "set data.label_type to multi_label" in message


def test_unknown_label_names_the_allowed_ones():
    learned = LabelMap([f"label{i}" for i in range(30)], "single_label", field="topic")
    with pytest.raises(DataError) as caught:
        learned.encode(example_of("Label7"))
    message = str(caught.value)
    assert "my.csv, row 1: column 'topic' has the label 'Label7'" in message
    assert "'label19' and 10 more" in message
    assert "'label20'" not in message
    assert "did you mean 'label7'?" in message
    for label in (["label0", "no"], "no"):
        with pytest.raises(DataError, match="has the label 'no'"):
            LabelMap(["label0"], "multi_label").encode(example_of(label))
    with pytest.raises(DataError, match=r"holds the list \['a'\].* allowed is one label"):
        LabelMap(["a", "b"], "single_label").encode(example_of(["a"]))


def test_booleans_of_python_and_json_are_told_apart():
    learned = learn(True, False)
    assert learned.encode(example_of("true")) == 1
    with pytest.raises(DataError, match="did you mean 'true'"):
        learned.encode(example_of("True"))


def test_settings_of_a_label_map_are_checked():
    assert "data.label_type: 'multi' is not one of auto" in error_of(
        "a", kind=ConfigError, problem_type="multi"
    )
    with pytest.raises(ConfigError, match="'auto' is not one of single_label"):
        LabelMap(["a"], "auto")
    with pytest.raises(ConfigError, match="label names repeat"):
        LabelMap(["a", "a"], "single_label")
    assert "needs multi_label" in error_of(
        "a", "b", kind=ConfigError, problem_type="single_label", separator=";"
    )
    assert "at least one character" in error_of("a", kind=ConfigError, separator="")


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
    folder = str(Path(splits.__file__).parents[1])
    printed = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, folder]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        printed.add(done.stdout)
    assert len(printed) == 1
