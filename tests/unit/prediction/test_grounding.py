"""Where a sentence comes from, and what it says that stands there not, as a reader judges it."""

import pytest

from hierbert.prediction.grounding import Said, grounds

EXTRACT = [
    "Revenue grew 8% to $1.2 billion in the third quarter, driven by strong demand in Europe.",
    "We expect full-year earnings per share between $4.10 and $4.20.",
    "John Smith will not stay as CFO.",
]
CASES = {
    # As it is said there, in other forms.
    "Q3 revenue grew 8 percent to $1.2bn.": ([0], []),
    "Earnings per share of $4.1 to $4.20 are expected.": ([1], []),
    "However, revenue grew in Europe.": ([0], []),
    "CFO Smith won't stay.": ([2], []),
    "8%": ([0], []),
    "Revenue grew 8% and full-year earnings per share of $4.20 are expected.": ([0, 1], []),
    # What is not there.
    "Revenue grew 9% in Europe.": ([0], ["number: 9%"]),
    "Revenue grew by 1.2% in Europe.": ([0], ["number: 1.2%"]),
    "Revenue grew to $1.2 million.": ([0], ["number: million"]),
    "Revenue grew in seven quarters.": ([0], ["number: 7"]),
    "Apple grew its revenue by 8%.": ([0], ["name: apple"]),
    "Revenue grew on strong demand in Europe and Asia.": ([0], ["name: asia"]),
    "Revenue never grew in Europe.": ([0], ["negation: never"]),
    "John Smith will stay as CFO.": ([2], ["negation left out"]),
    "Revenue declined sharply amid weaker consumer spending across Europe.": ([0], ["words"]),
    # Of more than two sentences, what is put together is made up.
    "John Smith expects the third quarter to surpass $4.20.": ([0, 2], ["number: 4.2"]),
    # Nothing of it is there.
    "I can help with that!": ([], ["words"]),
    "": ([], []),
}


@pytest.mark.parametrize("text", CASES)
def test_sources_and_flags_are_what_a_reader_finds(text) -> None:
    assert grounds(Said(text), [Said(one) for one in EXTRACT]) == CASES[text]


@pytest.mark.parametrize(
    ("source", "text", "flags"),
    [
        ("这家公司不会出售工厂。", "这家公司会出售工厂。", ["negation left out"]),
        ("这家公司会出售工厂。", "这家公司不会出售工厂。", ["negation: 不"]),
        ("Die Firma hat 1.200 Leute.", "Die Firma hat 1200 Leute.", []),
        ("Die Firma verkauft das Werk.", "Die Firma verkauft das Werk nicht.", ["negation: nicht"]),
        ("نما الدخل بنسبة ٨٪ في أوروبا.", "نما الدخل بنسبة 8% في أوروبا.", []),
        ("نما الدخل بنسبة ٨٪ في أوروبا.", "نما الدخل بنسبة 9% في أوروبا.", ["number: 9%"]),
        ("Компания не продаст завод.", "Компания продаст завод.", ["negation left out"]),
    ],
)
def test_in_other_languages(source, text, flags) -> None:
    assert grounds(Said(text), [Said(source)]).flags == flags


def test_what_goes_round_in_circles_is_seen() -> None:
    assert Said("We are sure that " * 3).loops
    assert not Said("We are sure that we are sure that it is so.").loops
