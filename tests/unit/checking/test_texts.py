"""What is said of a text: its language, its pages."""

import pytest

from hierbert.checking.checks.pages import page_lines
from hierbert.checking.checks.scripts import language_of

ENGLISH = (
    "It was not for the money that he had been on the road with them, but you have to see it. "
)
FRENCH = (
    "Il est dans la maison avec nous et les enfants qui ne sont pas plus grands que des chats. "
)
GERMAN = (
    "Der Hund ist nicht mit dem Kind auf die Wiese und in den Wald von uns gegangen, als sich. "
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (ENGLISH * 3, "English"),
        (FRENCH * 3, "French"),
        (GERMAN * 3, "German"),
        (ENGLISH, None),
        ("i w na i w na x y z q " * 20, None),
        ("int a = b ; return c ; " * 40, None),
        (ENGLISH * 3 + FRENCH * 3, None),
    ],
)
def test_a_language_is_told_where_it_is_sure(text, language) -> None:
    assert language_of(text) == language


def pages(count: int, header: str = "", number: str = "{}", lines: int = 15) -> str:
    made: list[str] = []
    for page in range(1, count + 1):
        made += [header] if header else []
        made += [f"Line {'abcdefghijklmno'[n]} of text {'x' * page}." for n in range(lines)]
        made += [number.format(page)] if number else []
    return "\n".join(made)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (pages(6), 6),
        (pages(6, number="Page {} of 6"), 6),
        (pages(5, header="Report of a Company", number="- {} -"), 10),
        (pages(5, header="Report of a Company", number=""), 5),
        (pages(3), 0),
        # A numbered list, and a speaker who speaks often.
        ("\n".join(f"{n}\nAn item of a list." for n in range(1, 40)), 0),
        (pages(8, header="Operator:", number="", lines=4), 0),
        ("A text without lines. " * 50, 0),
    ],
)
def test_lines_of_pages(text, lines) -> None:
    assert page_lines(text) == lines
