"""The frame of every page: one HTML file that loads nothing, in light and dark and on paper.

Invariant: what is text stays text. Templates escape by themselves, and what HTML cannot hold is
shown by one other character each, so that offsets into a text stay right.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

GENERATOR = "hierbert"
"""By which a page is known as one of ours."""

_HERE = Path(__file__).parent
# What HTML forbids: control characters but tab and line ends, halves of surrogate pairs, and what
# is no character in any plane.
_FORBIDDEN = re.compile(
    "[\0-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
    )
    + "]"
)


@dataclass(frozen=True)
class Category:
    """How one of several things is told from the others, also without colour.

    Attributes:
        letter: A, B, ... Z, AA, ...
        hue: Its colour, as CSS has it: one of the seven of `shell.css`.
        line: The style of a line under it.
    """

    letter: str
    hue: str
    line: str


_HUES = 7
_LINES = ("solid", "double", "dashed", "dotted", "wavy")


def category(number: int) -> Category:
    """The look of a category, from 0: hues and lines come again at last, letters do not."""
    letter, rest = "", number + 1
    while rest:
        rest, last = divmod(rest - 1, 26)
        letter = chr(ord("A") + last) + letter
    return Category(letter, f"var(--hue-{number % _HUES})", _LINES[number % len(_LINES)])


def shown(value: Any) -> Markup:
    """A value as HTML: escaped, with one character for each, so that nothing moves."""
    if isinstance(value, Markup):
        return value
    text = value if isinstance(value, str) else str(value)
    # A carriage return would be read as a line feed.
    return Markup(str(escape(_FORBIDDEN.sub(_stand_in, text))).replace("\r", "&#13;"))


def _stand_in(found: re.Match[str]) -> str:
    code = ord(found[0])
    # Control characters have pictures.
    return "\u2421" if code == 0x7F else chr(0x2400 + code) if code < 0x20 else "\ufffd"


@cache
def environment() -> Environment:
    """The templates of this folder, in which all that is no `Markup` is shown as text."""
    made = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        auto_reload=False,
        lstrip_blocks=True,
    )
    made.filters["category"] = category
    return made


def fragment(template: str, **facts: Any) -> Markup:
    """A part of a page, made by a template of this folder."""
    return Markup(environment().get_template(template).render(facts))


@cache
def asset(name: str) -> str:
    """The text of a file of this folder, such as a style sheet."""
    return (_HERE / name).read_text(encoding="utf-8")


_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def render_page(
    title: str, body: Markup, styles: str = "", scripts: str = "", head: Any = ""
) -> str:
    """A whole page.

    Args:
        title: Of the window; the heading is the body's to give.
        body: What stands in the page; `Markup`, as `fragment` makes it.
        styles: CSS beside that of all pages, whose variables are in `shell.css`.
        scripts: JavaScript; no other runs in the page.
        head: More for its head, `Markup` too.
    """
    allowed = "script-src 'none'"
    if scripts:
        digest = base64.b64encode(hashlib.sha256(scripts.encode()).digest()).decode()
        allowed = f"script-src 'sha256-{digest}'"
    page = fragment(
        "shell.html.jinja",
        # What turns the direction of a title would turn that of what a browser writes beside it.
        title=f"\u2068{title}\u2069" if _TURNS.search(title) else title,
        body=body,
        head=head,
        generator=GENERATOR,
        styles=Markup(asset("shell.css") + styles),
        scripts=Markup(scripts),
        allowed=allowed,
    )
    # Plain text, so that what is added to it is not escaped.
    return str(page)
