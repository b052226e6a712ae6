"""Lists and flags that cells of text spell."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierbert.tasks.label_cells import flag_in, list_in, looks_like_a_list

PLAIN = st.text() | st.integers(-(10**9), 10**9) | st.booleans() | st.floats(-1e9, 1e9)


@given(st.lists(PLAIN))
def test_a_list_is_read_as_json_and_python_write_it(items) -> None:
    for cell in (json.dumps(items), json.dumps(items, ensure_ascii=False), f" {items} "):
        found = list_in(cell)
        # Half a character is none to Python's own reader of literals.
        if found is None:
            assert any("\ud800" <= c <= "\udfff" for item in items for c in str(item))
        else:
            assert found == items and list(map(type, found)) == list(map(type, items))


@pytest.mark.parametrize(
    "cell",
    [
        "", "a", "[", "]", "[a]", "[a, b]", "['a' 'b']", "['a', None]", '["a", null]', "[nan]",
        "['a'], ['b']", "[['a']]", "('a', 'b')", "{'a', 'b'}", "['a', ...]", "[...]", "[1j]",
        "[1-2]", "[01]", "['a' + 'b']", "[f'a']", "[b'a']", "['a'.upper()]", "[print(1)]",
        "[__import__('os').system('x')]", "['a'] * 9", "[" * 100_000, "[" * 9 + "]" * 9,
        "['a', 'b'", "['\\', 'b']", "[9" + "9" * 10_000 + "]", "['" + "a" * 1_000_000 + "']",
    ],
)  # fmt: skip
def test_what_is_no_list_of_plain_items_is_none(cell) -> None:
    assert list_in(cell) is None


def test_a_long_cell_is_read_in_time_that_grows_with_it() -> None:
    assert list_in("[" + "'a', " * 100_000 + "]") == ["a"] * 100_000
    for cell in ("['a'" + " " * 500_000 + "x]", "['a'," * 100_000, "['" + "\\'" * 300_000):
        assert list_in(cell) is None


def test_backslashes_that_escape_nothing_say_nothing(recwarn) -> None:
    assert list_in(r"['a\d']") == ["a\\d"]
    assert not recwarn.list


@pytest.mark.parametrize(
    "cell", ["['a' 'b']", "[a, b]", "('a', 'b')", '{"labels": ["a"]}', "{a,b}"]
)
def test_brackets_around_several_things_look_like_a_list(cell) -> None:
    assert looks_like_a_list(cell)


@pytest.mark.parametrize("cell", ["", "[UNK]", "(other)", "a, b", "['a', 'b'", "f(a, b)", "(a, b]"])
def test_other_brackets_do_not(cell) -> None:
    assert not looks_like_a_list(cell)


def test_flags_are_said_by_few_words() -> None:
    assert [flag_in(name) for name in ("1", "true", " YES ", "0", "False", "no")] == [True] * 3 + [
        False
    ] * 3
    assert all(flag_in(name) is None for name in ("", "2", "-1", "y", "on", "x", "01"))
