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
        # Whether that is 1200 the point alone does not say.
        ("Die Firma hat 1.200 Leute.", "Die Firma hat 1200 Leute.", ["number: 1200"]),
        ("Die Firma hat 1.200 Leute.", "Nur 1.200 Leute hat die Firma.", []),
        ("Die Firma verkauft das Werk.", "Die Firma verkauft das Werk nicht.", ["negation: nicht"]),
        ("نما الدخل بنسبة ٨٪ في أوروبا.", "نما الدخل بنسبة 8% في أوروبا.", []),
        ("نما الدخل بنسبة ٨٪ في أوروبا.", "نما الدخل بنسبة 9% في أوروبا.", ["number: 9%"]),
        ("Компания не продаст завод.", "Компания продаст завод.", ["negation left out"]),
    ],
)
def test_in_other_languages(source, text, flags) -> None:
    assert grounds(Said(text), [Said(source)]).flags == flags


@pytest.mark.parametrize(
    ("source", "text", "flags"),
    [
        # Numerals.
        ("In all five people died.", "In all fifteen people died.", ["number: 15"]),
        ("In all 15 people died.", "In all fifteen people died.", []),
        ("Ten people died in a flood.", "One person died in a flood.", ["number: 1"]),
        ("The third quarter was weak.", "The first quarter was weak.", ["number: 1"]),
        ("The fifth floor burnt.", "The fifteenth floor burnt.", ["number: 15"]),
        ("Some members left.", "Dozens of members left.", ["number: dozens"]),
        ("A million visitors came.", "Millions of visitors came.", ["number: millions"]),
        ("Hundreds of visitors came.", "Thousands of visitors came.", ["number: thousands"]),
        # "One" for an article, and where it counts nothing; not as a figure.
        ("A member left the council.", "One member left the council.", []),
        ("Members left the council.", "One of the members left the council.", ["number: 1"]),
        ("A member paid a fee.", "One member paid a fee of $1.", ["number: 1"]),
        ("Nobody left the council.", "No one left the council.", []),
        ("The members like the others.", "The members like one another.", []),
        ("The members left on Monday.", "First, the members left on Monday.", []),
        # Short names at the beginning.
        ("Tom Smith resigned on Monday.", "Bob resigned on Monday.", ["name: bob"]),
        ("Tom Smith resigned on Monday.", "Tom resigned on Monday.", []),
        ("Tom Smith resigned on Monday.", "He resigned on Monday.", []),
        ("Tom Smith resigned on Monday.", "US chief Smith resigned.", ["name: us"]),
        ("Tom Smith did not resign.", "Didn't Tom Smith resign?", []),
        ("Marie démissionne lundi à Paris.", "Il démissionne lundi à Paris.", []),
        # As many negations as what they negate is told of.
        (
            "The board did not approve the merger and the union did not accept the offer.",
            "The board did not approve that merger and the union accept an offer.",
            ["negation left out"],
        ),
        (
            "The board did not approve the merger and the union did not accept the offer.",
            "The board did not approve that merger.",
            [],
        ),
        (
            "The board did not approve the merger and the union did accept the offer.",
            "The board did not approve the merger and the union never accepted the offer.",
            ["negation: never"],
        ),
        # Signs, and what parts groups.
        ("The rate fell to -2.5% in May.", "The rate fell to 2.5% in May.", ["number: 2.5%"]),
        ("The rate fell to 2.5% in May.", "The rate fell to \u22122.5% in May.", ["number: -2.5%"]),
        ("The rate fell to -2.5% in May.", "The rate fell to minus 2.5 percent in May.", []),
        ("Profit was -$5 million.", "Profit was $5 million.", ["number: 5"]),
        ("Profit was 5-7 million in 2020.", "Profit was 5 to 7 million in 2020.", []),
        ("Growth was 1.234 in spring.", "Growth was 1,234 in spring.", ["number: 1234"]),
        ("Growth was 1,234 in spring.", "Growth was 1.234 in spring.", ["number: 1.234"]),
        ("Growth was 1,234 in spring.", "Growth was 1234 in spring.", []),
        ("Growth was 1.234.567 in spring.", "Growth was 1,234,567 in spring.", []),
        ("Growth was 0.250 in spring.", "Growth was 0.25 in spring.", []),
        ("Growth was 0,250 in spring.", "Growth was 250 in spring.", ["number: 250"]),
    ],
)
def test_what_is_nearly_the_same_is_told_apart(source, text, flags) -> None:
    assert grounds(Said(text), [Said(source)]).flags == flags


def test_what_goes_round_in_circles_is_seen() -> None:
    assert Said("We are sure that " * 3).loops
    assert not Said("We are sure that we are sure that it is so.").loops
