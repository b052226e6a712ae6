import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.data import splits
from hierbert.data.document import Example
from hierbert.data.splits import split_validation
from hierbert.errors import ConfigError, DataError, flag_setting
from hierbert.tasks.labels import LabelMap


def examples_of(*labels):
    return [
        Example(str(row), "text", label, None, f"my.csv, row {row}")
        for row, label in enumerate(labels, 1)
    ]


def example_of(label):
    return examples_of(label)[0]


def learn(*labels, **kwargs):
    return LabelMap.learn(examples_of(*labels), **kwargs)


def error_of(*labels, kind=DataError, **kwargs):
    with pytest.raises(kind) as caught:
        learn(*labels, **kwargs)
    message = str(caught.value)
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
    assert learned.counts(examples_of(["c", "a", "c"], [], None, "a")) == {"a": 2, "b": 0, "c": 1}


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


def test_counts_in_the_order_of_names():
    learned = learn("b", "a")
    counts = learned.counts(examples_of("b", "b", None, "a"))
    assert list(counts.items()) == [("a", 1), ("b", 2)]


def test_regression_reads_numbers_and_strings():
    learned = learn("3.5", "1e2", None, problem_type="regression")
    assert (learned.names, learned.problem_type) == ([], "regression")
    assert [learned.encode(e) for e in examples_of("2", 3, 0.5, None)] == [2.0, 3.0, 0.5, None]
    assert learned.counts(examples_of("2")) == {}


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


# Splits.


@settings(deadline=None, max_examples=150)
@given(
    labels=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_a_split_keeps_order_proportion_and_every_class(labels, fraction, seed):
    examples = examples_of(*labels)
    sizes = Counter(labels)
    if max(sizes.values()) == 1 and None not in sizes:
        with pytest.raises(DataError, match="too few documents"):
            split_validation(examples, fraction, seed)
        return
    train, held_out = split_validation(examples, fraction, seed)
    assert train
    assert held_out
    assert sorted(train + held_out, key=lambda e: int(e.id)) == examples
    for part in (train, held_out):
        assert part == sorted(part, key=lambda e: int(e.id))
    kept = Counter(e.label for e in train)
    assert all(kept[label] >= 1 for label in sizes if label is not None)
    wanted = min(max(1, int(fraction * len(labels) + 0.5)), len(labels) - 1)
    assert len(held_out) <= wanted
    spare = sum(size - (label is not None) for label, size in sizes.items())
    assert len(held_out) == min(wanted, spare)
    taken = Counter(e.label for e in held_out)
    if all(wanted * size / len(labels) + 1 <= size - 1 for size in sizes.values()):
        for label, size in sizes.items():  # no class is short of documents: all get their share
            assert abs(taken[label] - wanted * size / len(labels)) < 1


def test_shares_of_a_tenth_by_hand():
    examples = examples_of(*["a"] * 60, *["b"] * 30, *["c"] * 9, "d")
    _, held_out = split_validation(examples, 0.1, seed=0)
    # 100 documents, 10 held out: exact shares are 6, 3, 0.9 and 0.1; d must stay in training
    assert Counter(e.label for e in held_out) == {"a": 6, "b": 3, "c": 1}


def test_largest_remainders_come_first_and_equal_ones_are_drawn():
    # 10 of 100 held out: exact shares are 5.5, 2.5, 1.6 and 0.4, so c is rounded up before a or b
    examples = examples_of(*["a"] * 55, *["b"] * 25, *["c"] * 16, *["d"] * 4)
    found = set()
    for seed in range(20):
        taken = Counter(e.label for e in split_validation(examples, 0.1, seed)[1])
        found.add(tuple(taken[label] for label in "abcd"))
    assert found == {(6, 2, 2, 0), (5, 3, 2, 0)}


def test_seeds_repeat_and_differ():
    examples = examples_of(*["a", "b"] * 50)
    first = split_validation(examples, 0.2, seed=1)
    assert first == split_validation(examples, 0.2, seed=1)
    assert first != split_validation(examples, 0.2, seed=2)


@pytest.mark.parametrize("labels", [[0.5, 1.5, 2.5], [["a"], ["b"], []], [None, None, None]])
def test_other_labels_are_split_without_strata(labels):
    train, held_out = split_validation(examples_of(*labels), 0.3, seed=0)
    assert (len(train), len(held_out)) == (2, 1)


def test_regression_on_strings_can_be_split_without_strata():
    examples = examples_of("0.5", "1.5", "2.5")
    with pytest.raises(DataError, match="too few documents"):
        split_validation(examples, 0.3, seed=0)
    train, held_out = split_validation(examples, 0.3, seed=0, stratified=False)
    assert (len(train), len(held_out)) == (2, 1)


@pytest.mark.parametrize("labels", [[], ["a"]])
def test_too_few_documents(labels):
    with pytest.raises(DataError, match=f"too few documents for a validation split: {len(labels)}"):
        split_validation(examples_of(*labels), 0.1, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2.0, float("nan")])
def test_fraction_outside_its_range(fraction):
    with pytest.raises(ConfigError, match="does not lie between 0 and 1"):
        split_validation(examples_of("a", "a", "b"), fraction, seed=0)


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
        "rows = [Example(str(i), '', 'abcde'[i * i % 5], None, '') for i in range(60)]\n"
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
