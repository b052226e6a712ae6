"""Sentences that say the same, and those that do not though they look like it."""

import unicodedata

import pytest

from hierbert.model.same_words import repeats


@pytest.mark.parametrize(
    ("are_one", "text"),
    [
        (False, "Revenue was {} million in 2019."),
        (False, "In {} he met her."),
        (False, "20% to be paid upon completion of Milestone #{}."),
        (False, "{}年收入为五亿元。"),
        (False, "{} of them left the town."),
        (False, "- the Company shall pay the Seller within {} days of the date of every bill"),
        (True, "Page {} of 12"),
        (True, "Page {} of 12."),
        (True, "ACME Report 2019 - {}"),
        (True, "Minutes of the meeting, page {}"),
        (True, "2.{} Domain Adaptation Track."),
        (True, "{} [***] = CERTAIN INFORMATION IN THIS DOCUMENT, MARKED BY BRACKETS, HAS BEEN "
               "OMITTED AS IT IS NOT MATERIAL."),
    ],
)  # fmt: skip
def test_numbers_are_words_of_sentences_and_not_of_headers(are_one, text) -> None:
    keys = repeats([text.format(number) for number in (3, 4, 17)])
    assert len(set(keys)) == (1 if are_one else 3)


@pytest.mark.parametrize(
    "text",
    [
        "Le procès a été jugé à Évreux.",
        "Отец ёжика спал.",
        "한국어 문장입니다.",
        "नहीं, वह क़लम थी।",
        "Việt Nam đã thắng.",
    ],
)
def test_how_letters_are_encoded_makes_no_difference(text) -> None:
    forms = ("NFC", "NFD", "NFKC", "NFKD")
    assert len(set(repeats([unicodedata.normalize(form, text) for form in forms]))) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ("The ﬁlm of the ｃｏｕｒｔ was good.", "The film of the court was good."),
        ("Inter\u00adnational law.", "inter\u2060national\u00a0law", "*international* law"),
        ("STRASSE und Maß.", "Straße und mass."),
        ("1. The court heard.", "(2) The court heard.", "The court heard.", "[3] the court heard"),
        ("法院开庭。", "法院 开庭!", "「法院开庭」"),
    ],
)  # fmt: skip
def test_white_space_marks_and_numbers_of_items_make_no_difference(texts) -> None:
    assert len(set(repeats(texts))) == 1


@pytest.mark.parametrize(
    "texts",
    [
        ("वह कल आया।", "वह कल आयी।", "वह कल आये।"),  # he, she, they came: the vowels are marks
        ("เขามาที่นี่", "เขามาทีนี", "เขามาทนน"),
        ("1. Quartal: Der Umsatz stieg stark.", "2. Quartal: Der Umsatz stieg stark."),
        ("The pâté was good.", "The pate was good."),
        ("In 1990 he met her.", "he met her."),
    ],
)
def test_what_differs_in_a_mark_or_a_number_is_not_the_same(texts) -> None:
    assert len(set(repeats(texts))) == len(texts)


def test_many_marks_take_linear_time() -> None:
    # Put in order pair by pair they would take minutes.
    assert len(set(repeats(["a" + "\u0301\u0327" * 200_000, "a"]))) == 2
