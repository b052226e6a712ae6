"""The frame of pages: what is text stays text, nothing is loaded, and no other script runs."""

import base64
import hashlib
import re
from html.parser import HTMLParser

from markupsafe import Markup

from hierbert.pages.shell import category, render_page, shown

HOSTILE = "</title><script>alert(1)</script> \" onload='x' & \u202e \0 \ud800 \x1b[2J \uffff"


class Elements(HTMLParser):
    """Names, attributes and text, as a parser finds them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open = [""]
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text[self._open[-1]] = self.text.get(self._open[-1], "") + data


def test_hostile_text_stays_text() -> None:
    body = Markup("<p>{}</p>").format(shown(HOSTILE))
    page = render_page(HOSTILE, body)
    page.encode()  # no half of a pair is left
    found = Elements(page)
    assert [tag for tag, _ in found.tags].count("script") == 0
    expected = "</title><script>alert(1)</script> \" onload='x' & \u202e ␀ � ␛[2J �"
    assert found.text["title"].strip("\u2068\u2069") == found.text["p"] == expected


def test_one_character_stands_for_one() -> None:
    every = "".join(map(chr, [*range(0x300), *range(0xD7F0, 0xE010), *range(0xFDC0, 0x10010)]))
    parsed = Elements(f"<p>{shown(every)}</p>").text["p"]
    assert len(parsed) == len(every)
    # All but what HTML forbids is as it was, the carriage return too.
    changed = {was for was, now in zip(every, parsed, strict=True) if was != now}
    forbidden = {*range(9), 0xB, *range(0xE, 0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)}
    forbidden |= {*range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF}
    assert {ord(character) for character in changed} == forbidden


def test_a_page_loads_nothing_and_runs_its_own_script_alone() -> None:
    script = "document.title = '<é>';"
    found = Elements(render_page("t", Markup("<p>a</p>"), "p { color: red; }", script))
    policies = [a["content"] for _, a in found.tags if a.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policies and f"script-src 'sha256-{digest}'" in str(policies[0])
    assert found.text["script"] == script
    assert "p { color: red; }" in found.text["style"] and "url(" not in found.text["style"]
    assert not [tag for tag, own in found.tags if {"src", "href"} & own.keys()]
    found = Elements(render_page("t", Markup("")))
    assert [a for _, a in found.tags if "script-src 'none'" in str(a.get("content"))]


def test_categories_differ_without_colour() -> None:
    looks = [category(number) for number in range(800)]
    assert [one.letter for one in looks[:3]] == ["A", "B", "C"]
    assert (looks[25].letter, looks[26].letter, looks[701].letter) == ("Z", "AA", "ZZ")
    assert len({one.letter for one in looks}) == 800
    assert len({(one.hue, one.line) for one in looks}) == 35
    hues = set(re.findall(r"--hue-\d+", " ".join(one.hue for one in looks)))
    assert all(f"{hue}: #" in render_page("t", Markup("")) for hue in hues)


def test_a_title_turns_nothing_but_itself() -> None:
    page = render_page("a \u202eevil", Markup(""))
    assert "<title>\u2068a \u202eevil\u2069</title>" in page
    assert "<title>plain</title>" in render_page("plain", Markup(""))
