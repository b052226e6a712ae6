"""The page of a document: all of its text, and highlights where evidence and summary are."""

import json
import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from hierbert.pages.document import document_page, entry_of, notebook_view
from hierbert.pages.marked_text import blocks

HOSTILE = "<script>alert(1)</script>\"' onmouseover=x \u202e&amp;"
VOID = {"br", "meta", "input", "rect"}


class Page(HTMLParser):
    """What stands in a page: the text of its blocks, and which of it is marked by what."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.text, self.marks, self.tips = "", [], {}
        self.ids: list[str] = []
        self.links: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append(tag)
        assert not [name for name in own if name.startswith("on")]
        if "id" in own:
            self.ids.append(str(own["id"]))
        if "href" in own:
            self.links.append((str(own["href"]), own.get("data-h")))
        if tag == "mark":
            self.tips[len(self.text)] = own["title"]
        if tag not in VOID:
            self._open.append((tag, own))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not any(own.get("class") == "block" for _, own in self._open):
            return
        tag, own = self._open[-1]
        numbers = str(own["data-h"]).split() if tag == "mark" else []
        self.marks += [frozenset(map(int, numbers))] * len(data)
        self.text += data


def part(start: int, end: int, contribution: float) -> dict[str, Any]:
    return {"start": start, "end": end, "contribution": contribution}


def answer_about(text: str, seed: int, labels: int = 2) -> dict[str, Any]:
    """Evidence and a summary wherever chance puts them, which may overlap in any way."""
    chance = random.Random(seed)

    def span() -> tuple[int, int]:
        start = chance.randrange(len(text) - 1)
        return start, chance.randint(start + 1, min(len(text), start + chance.choice((5, 900))))

    def word() -> dict[str, Any]:
        spans = sorted({span() for _ in range(3)})
        return {"text": "w", "contribution": chance.uniform(-1, 1), "count": 3, "spans": spans}

    evidence = [
        {
            "label": f"label {number}",
            "logit": 1.5,
            "segments": [part(*span(), chance.uniform(-1, 1)) for _ in range(3)],
            "sentences": [part(*span(), chance.uniform(-1, 1)) for _ in range(3)],
            "words": [word() for _ in range(3)],
        }
        for number in range(labels)
    ]
    sentences = [
        {"text": text[start:end], "start": start, "end": end, "score": 0.5}
        for start, end in (span() for _ in range(3))
    ]
    made_of = [{"logit": 1.0, "average": 0.5, "words": -0.25, "place": 0.75}] * 3
    answer = {"id": "d", "label": "label 0", "evidence": evidence, "sentences": sentences}
    return {**answer, "sentence_evidence": made_of}


def expected_marks(text: str, answer: dict[str, Any]) -> list[frozenset[int]]:
    """By brute force: which highlights cover each character, numbered as they are told."""
    told = []
    for one in answer["evidence"]:
        told += [w["spans"] for w in one["words"]]
        told += [[(p["start"], p["end"])] for p in [*one["sentences"], *one["segments"]]]
    told += [[(s["start"], s["end"])] for s in answer["sentences"]]
    return [
        frozenset(n for n, spans in enumerate(told) if any(a <= at < b for a, b in spans))
        for at in range(len(text))
    ]


@pytest.mark.parametrize("seed", range(6))
def test_all_of_the_text_is_there_and_what_is_evidence_is_marked(seed: int) -> None:
    chance = random.Random(seed)
    pieces = ("a word ", "x" * 700, ". ", "\n", "<b>&amp;", "é漢\U0001f600", "שלום ", "\t", '"')
    text = "".join(chance.choice(pieces) for _ in range(chance.choice((3, 60, 200))))
    answer = answer_about(text, seed)
    page = Page(document_page(text, answer))
    assert page.text == text
    assert page.marks == expected_marks(text, answer)
    assert len(set(page.ids)) == len(page.ids)
    # What is told of a highlight leads to where it begins.
    firsts = {n: at for at in reversed(range(len(text))) for n in page.marks[at]}
    led = {int(number): link for link, number in page.links if number is not None}
    assert led == {number: f"#at-{at}" for number, at in firsts.items()}
    assert all(link[1:] in page.ids for link in led.values())
    assert page.page.count("place +0.75, words −0.25") == 3


def test_blocks_are_short_and_whole() -> None:
    for text in ("", "a", "a\n" * 9_000, "word " * 9_000, "x" * 50_000, "x" * 6_000 + " y"):
        cut = list(blocks(text))
        assert "".join(text[start:end] for start, end in cut) == text
        assert all(0 < end - start <= 6_400 for start, end in cut)
        assert [start for start, _ in cut[1:]] == [end for _, end in cut[:-1]]


def test_tips_tell_rank_and_signed_contribution() -> None:
    text = "The plot is awful. The actor is good."
    words = [{"text": "awful", "contribution": -1.25, "count": 1, "spans": [[12, 17]]}]
    sentences = [part(0, 18, -0.75), part(19, 37, 0.5)]
    evidence = [
        {"label": "pos", "logit": -2.0, "segments": [], "sentences": sentences, "words": words}
    ]
    page = Page(document_page(text, {"id": "a", "label": "neg", "evidence": evidence}))
    assert page.tips[0] == "\u2068pos\u2069: sentence 1 of 2, −0.75 logits, speaks against it"
    assert page.tips[12].startswith("\u2068pos\u2069: word 1 of 1, −1.25 logits")
    assert page.tips[19] == "\u2068pos\u2069: sentence 2 of 2, +0.50 logits, speaks for it"


@pytest.mark.parametrize(("count", "told"), [(10, False), (12, True)])
def test_ten_probabilities_are_shown_and_others_counted(count: int, told: bool) -> None:
    shares = {f"label {n}": 0.5 - n / 100 for n in range(count)}
    page = notebook_view("A text.", {"label": "label 0", "probabilities": shares})
    assert page.count("label 9") == 1 and "label 10" not in page
    assert ("and 2 less likely ones" in page) == told == ("less likely" in page)


def test_hostile_texts_labels_and_ids_stay_text() -> None:
    text = HOSTILE + " A\0B \ud800 \r\n" + HOSTILE
    evidence = [
        {
            "label": HOSTILE,
            "logit": 1.0,
            "segments": [part(0, len(text), 1.0)],
            "sentences": [part(2, 9, 1.0)],
            "words": [{"text": HOSTILE, "contribution": 1.0, "count": 1, "spans": [[0, 7]]}],
        }
    ]
    summary = [{"text": HOSTILE, "start": 0, "end": len(HOSTILE), "score": 1.0}]
    answer = {"id": HOSTILE, "label": HOSTILE, "probabilities": {HOSTILE: 1.0}}
    answer |= {"evidence": evidence, "summary": HOSTILE, "sentences": summary, HOSTILE: HOSTILE}
    page = Page(document_page(text, answer))
    page.page.encode()
    assert page.text == text.replace("\0", "␀").replace("\ud800", "\ufffd")
    assert page.tags.count("script") == 1
    view = Page(notebook_view(text, answer))
    assert "script" not in view.tags and not view.links


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "a"},
        {"id": "", "label": None, "abstained": True, "probabilities": {"a": 0.4}},
        {"id": "a", "labels": [], "probabilities": {"a": 0.1}, "evidence": []},
        {"id": "a", "label": 2.5},
        {"id": "a", "summary": "", "sentences": [], "omission": {"segments": 1, "characters": 9}},
        {"id": "a", "document_vector": [1.0], "other": {"x": [1, 2]}, "query_unmatched": True},
    ],
)
@pytest.mark.parametrize("text", ["", "Some text."])
def test_any_answer_has_a_page(answer: dict[str, Any], text: str) -> None:
    assert Page(document_page(text, answer)).text == text
    Page(notebook_view(text, answer))
    json.dumps(entry_of(text, answer))


def test_a_long_document_has_one_copy_of_its_text_and_few_elements() -> None:
    text = "A sentence of a long document that goes on. " * 22_728
    page = document_page(text, answer_about(text, 0, labels=8))
    assert 1_000_000 < len(text) < len(page) < 1.3 * len(text)
    assert len(re.findall("<[a-z]", page)) < 3_000
