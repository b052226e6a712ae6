"""One line for every error: its words, its names of settings, and nothing that a terminal obeys."""

import pickle

from hierbert.errors import (
    DataError,
    did_you_mean,
    error_text,
    flag_setting,
    printable,
    setting_name,
)


def test_a_text_gives_the_terminal_no_orders() -> None:
    for said, shown in (
        ("a\x1b[2J\x00\x7f\x9b", r"a\x1b[2J\x00\x7f\x9b"),
        ("half \ud83d", r"half \ud83d"),
        ("grün 漢字 😀 \t.", "grün 漢字 😀 \t."),
    ):
        assert printable(said) == shown


def test_an_error_words_its_setting_where_it_is_printed() -> None:
    whole = DataError(
        "is no\n number", place="a.csv, row 3", setting="label_column", value="x", allowed="numbers"
    )
    # What the message says itself is not said twice.
    told = f"no column 'x'; set {setting_name('text_column')} to one of 'a', 'b'"
    said = DataError(told, setting="text_column", value="x", allowed="'a', 'b'")
    for error, in_train, in_infer in (
        (
            whole,
            "a.csv, row 3: data.label_column='x' is no number; allowed: numbers",
            "a.csv, row 3: --label-column='x' is no number; allowed: numbers",
        ),
        (
            said,
            "no column 'x'; set data.text_column to one of 'a', 'b'",
            "no column 'x'; set --text-column to one of 'a', 'b'",
        ),
        (
            DataError("is too small", setting="train.batch_tokens", value=0),
            "train.batch_tokens=0 is too small",
            "--batch-tokens=0 is too small",
        ),
    ):
        # Other processes send theirs.
        for again in (error, pickle.loads(pickle.dumps(error))):
            assert (str(again), again.worded(flag_setting)) == (in_train, in_infer)


def test_any_error_has_one_short_line() -> None:
    for error, text in (
        (FileNotFoundError(2, "No such file", "a/b"), "No such file"),
        (ValueError("bad\n  value."), "bad value"),
        (KeyError("x"), "KeyError 'x'"),
        (ValueError(), "ValueError"),
        (ValueError("the token hf_1 is refused"), "the token *** is refused"),
        (ValueError("x" * 1000), "x" * 300 + "..."),
    ):
        assert error_text(error, "hf_1") == text


def test_the_nearest_option_is_offered() -> None:
    assert did_you_mean("Txet", ["id", "Text", "label"]) == "; did you mean 'Text'?"
    assert did_you_mean("zzz", ["id", "text"]) == did_you_mean("x" * 1000, ["x" * 999]) == ""
