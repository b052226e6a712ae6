"""Validation splits: every class stays in training, shares are exact, and a seed repeats them."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.data.document import Example
from hierbert.data.splits import split_validation
from hierbert.errors import DataError


def examples_of(*labels):
    return [
        Example(str(row), "text", {"label": label}, f"my.csv, row {row}")
        for row, label in enumerate(labels, 1)
    ]


def labels_of(examples):
    return Counter(example.fields["label"] for example in examples)


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
    assert (train, held_out) == split_validation(examples, fraction, seed)
    assert train and held_out
    assert sorted(train + held_out, key=lambda e: int(e.id)) == examples
    for part in (train, held_out):
        assert part == sorted(part, key=lambda e: int(e.id))
    assert all(labels_of(train)[label] >= 1 for label in sizes if label is not None)
    wanted = min(max(1, int(fraction * len(labels) + 0.5)), len(labels) - 1)
    spare = sum(size - (label is not None) for label, size in sizes.items())
    assert len(held_out) == min(wanted, spare)
    if all(wanted * size / len(labels) + 1 <= size - 1 for size in sizes.values()):
        for label, size in sizes.items():  # no class is short of documents: all get their share
            assert abs(labels_of(held_out)[label] - wanted * size / len(labels)) < 1


def test_largest_remainders_come_first_and_equal_ones_are_drawn():
    # 10 of 100 held out: exact shares are 5.5, 2.5, 1.6 and 0.4, so c is rounded up before a or b
    examples = examples_of(*["a"] * 55, *["b"] * 25, *["c"] * 16, *["d"] * 4)
    found = set()
    for seed in range(20):
        taken = labels_of(split_validation(examples, 0.1, seed)[1])
        found.add(tuple(taken[label] for label in "abcd"))
    assert found == {(6, 2, 2, 0), (5, 3, 2, 0)}


def test_what_is_no_class_is_split_without_strata_and_one_document_not_at_all():
    for labels in ([0.5, 1.5, 2.5], [["a"], ["b"], []], [None, None, None]):
        train, held_out = split_validation(examples_of(*labels), 0.3, seed=0)
        assert (len(train), len(held_out)) == (2, 1)
    numbers = examples_of("0.5", "1.5", "2.5")
    train, held_out = split_validation(numbers, 0.3, seed=0, stratified=False)
    assert (len(train), len(held_out)) == (2, 1)
    with pytest.raises(DataError, match="too few documents for a validation split: 1"):
        split_validation(numbers[:1], 0.1, seed=0, stratified=False)


@pytest.mark.parametrize("labelled", [0, 6, 20])
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.95])
def test_the_only_document_with_a_summary_stays_in_training(labelled, fraction):
    # Where nothing else has a target there is nothing to hold out.
    examples = [
        Example(
            str(row),
            "text",
            {
                "label": "ab"[row % 2] if row < labelled else None,
                "summary": "S." * (row == 3) or None,
            },
            f"my.csv, row {row}",
        )
        for row in range(20)
    ]
    for seed in range(12):
        draw = (examples, fraction, seed)
        if not labelled:
            with pytest.raises(DataError, match="too few documents for a validation split: 1"):
                split_validation(*draw, fields=["label", "summary"])
            continue
        train, held_out = split_validation(*draw, fields=["label", "summary"])
        assert [example.id for example in train if example.fields["summary"]] == ["3"]
        assert held_out and {None, *"ab"} >= labels_of(held_out).keys()
        assert {*"ab"} <= labels_of(train).keys()
    # The only ones of both tasks: one of them validates, or nothing would.
    two = [Example(name, "text", {name: "a"}, name) for name in ("label", "summary")]
    assert len(split_validation(two, 0.5, 0, fields=["label", "summary"])[1]) == 1


def test_questions_about_one_text_are_held_out_together() -> None:
    texts = ["a  b", "c", "a b", "d", ["a", "b"], "c", "e", "d"]
    examples = [
        Example(str(row), text, {"query": f"q{row}" if row else None, "summary": summary}, "here")
        for row, (text, summary) in enumerate(zip(texts, [None, *"bcdefgh"], strict=True))
    ]
    found = set()
    for seed in range(12):
        train, held_out = split_validation(examples, 0.3, seed, fields=["summary"])
        assert sorted(train + held_out, key=lambda one: int(one.id)) == examples
        found.add("".join(one.id for one in held_out))
    # Of the four texts one in each draw: all of its questions, in their order.
    assert found == {"024", "15", "37", "6"}
