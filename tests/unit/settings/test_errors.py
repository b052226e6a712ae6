import pickle

import pytest

from hierbert.errors import (
    ConfigError,
    DataError,
    did_you_mean,
    error_text,
    flag_setting,
    printable,
    setting_name,
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x00\x7f\x9b", r"a\x00\x7f\x9b"),
        ("half \ud83d", r"half \ud83d"),
        ("grün 漢字 😀 \t.", "grün 漢字 😀 \t."),
    ],
)
def test_an_error_gives_the_terminal_no_orders(said, shown) -> None:
    assert printable(said) == shown


@pytest.mark.parametrize(
    ("error", "in_train", "in_infer"),
    [
        (DataError("a.csv is empty"), "a.csv is empty", "a.csv is empty"),
        (
            DataError(
                "is no number",
                place="a.csv, row 3",
                setting="label_column",
                value="x",
                allowed="numbers",
            ),
            "a.csv, row 3: data.label_column='x' is no number; allowed: numbers",
            "a.csv, row 3: --label-column='x' is no number; allowed: numbers",
        ),
        (
            ConfigError("is too small", setting="train.batch_tokens", value=0, allowed="1 or more"),
            "train.batch_tokens=0 is too small; allowed: 1 or more",
            "--batch-tokens=0 is too small; allowed: 1 or more",
        ),
        # What the message says itself is not said twice.
        (
            DataError(
                f"no column 'x'; set {setting_name('text_column')} to one of 'a', 'b'",
                setting="text_column",
                value="x",
                allowed="'a', 'b'",
            ),
            "no column 'x'; set data.text_column to one of 'a', 'b'",
            "no column 'x'; set --text-column to one of 'a', 'b'",
        ),
    ],
)
def test_an_error_words_its_setting_where_it_is_printed(error, in_train, in_infer) -> None:
    for again in (error, pickle.loads(pickle.dumps(error))):
        assert (str(again), again.worded(flag_setting)) == (in_train, in_infer)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file", "a/b"), "No such file"),
        (ValueError("bad\n  value."), "bad value"),
        (KeyError("x"), "KeyError 'x'"),
        (ValueError(), "ValueError"),
        (ValueError("the token hf_1 is refused"), "the token *** is refused"),
        (ValueError("x" * 1000), "x" * 300 + "..."),
    ],
)
def test_any_error_has_one_short_line(error, text) -> None:
    assert error_text(error, "hf_1") == text


def test_the_nearest_option_is_offered() -> None:
    assert did_you_mean("Txet", ["id", "Text", "label"]) == "; did you mean 'Text'?"
    assert did_you_mean("zzz", ["id", "text"]) == did_you_mean("x" * 1000, ["x" * 999]) == ""
