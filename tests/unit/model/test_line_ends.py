"""What a text says behind its line ends, and where each character of it stands."""

import re

import pytest
from conftest import make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model.line_ends import LineEnds
from hierbert.model.segmentation import Segmenter
from hierbert.model.selection import Budget
from hierbert.model.sentences import split_sentences
from hierbert.model.summarization_head import SummaryRule, summary_text


def read(text: str) -> str:
    spans = split_sentences(text)
    line_ends = LineEnds(text, spans)
    return " ".join(" ".join(line_ends.read(start, end) for start, end in spans).split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the hyphen came with the line end
        ("It was a long per-\niod of rain.", "It was a long period of rain."),
        ("Two per-\r\n   iods, in-\nto the GOVERN-\nMENT.", "Two periods, into the GOVERNMENT."),
        ("Die Bundes-\nregierung tagt.", "Die Bundesregierung tagt."),
        ("It is soft\u00ad\nware and hyphen\u2010\nated.", "It is software and hyphenated."),
        ("Our self-govern-\nment ended.", "Our self-government ended."),
        # it belongs to the word
        ("The state-of-\nthe-art system.", "The state-of-the-art system."),
        ("The state-\nof-the-art system.", "The state-of-the-art system."),
        ("The Anglo-\nAmerican war.", "The Anglo-American war."),
        ("A self-\nmade, well-\nknown man.", "A self-made, well-known man."),
        ("In 2010-\n2012 a B-\n52 flew.", "In 2010-2012 a B-52 flew."),
        ("An X-\nray of a long-\nterm e-\nmail.", "An X-ray of a long-term e-mail."),
        ("Twenty-\none rule-\nbased ones.", "Twenty-one rule-based ones."),
        ("Кто-\nнибудь, peut-\nêtre.", "Кто-нибудь, peut-être."),
        ("Vou-\ndrait-il? In Baden-Württem-\nberg.", "Voudrait-il? In Baden-Württemberg."),
        ("A long-\ning for high-\nways.", "A longing for highways."),
        # the text itself says which
        ("A long-\nterm plan is a long-term plan.", "A long-term plan is a long-term plan."),
        ("To re-\nform is to reform.", "To reform is to reform."),
        ("A non-\nsense of nonsense.", "A nonsense of nonsense."),
        # it stands for the end of another word, or is no hyphen
        ("In pre-\nand post-war times.", "In pre- and post-war times."),
        ("Ein-\nund Ausgang.", "Ein- und Ausgang."),
        ("He left -\nand slept.", "He left - and slept."),
        ("He left--\nand slept.", "He left-- and slept."),
        # the marks of quoted mail
        ("> The old man went home and\n> slept.", "The old man went home and slept."),
        (">> It was a per-\n>> iod of rain.\n>\n> It was.", "It was a period of rain. It was."),
        ("> 5 years\n> of rain.", "5 years of rain."),
        ("> 5 years of rain.", "> 5 years of rain."),
        ("It is\n>= 3 and a > b.", "It is >= 3 and a > b."),
    ],
)
def test_a_text_says_its_words_without_what_line_ends_did(text: str, said: str) -> None:
    assert read(text) == said


pieces = st.sampled_from(
    [
        "per-\n",
        "a",
        "b. ",
        "-",
        "\n",
        "> ",
        "\u00ad\n",
        " ",
        "A",
        "the",
        "7",
        "\r\n",
        "\n\n",
        "and",
        "é",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(pieces, max_size=40).map("".join))
def test_what_is_said_stands_in_the_text_where_its_places_say(text: str) -> None:
    spans = split_sentences(text)
    line_ends = LineEnds(text, spans)
    for start, end in [(0, len(text)), *spans]:
        said, places = line_ends.read_with_places(start, end)
        each = list(range(len(said)))
        firsts, lasts = places.firsts(each), places.lasts([place + 1 for place in each])
        assert [text[place] for place in firsts] == list(said)
        assert lasts == [place + 1 for place in firsts]
        # Nothing but hyphens, marks and white space is left out.
        left_out = set(range(start, end)) - set(firsts)
        assert all(re.match(r"[-\s>\u00ad]", text[place]) for place in left_out)


def test_the_encoder_reads_what_is_said_and_spans_stay_those_of_the_text() -> None:
    segmenter = Segmenter(make_tokenizer("bert"), max_tokens_per_segment=24)
    broken = "> The ju-\n> dge read the con-\n> tract. The film-\n> s and a dog."
    document, plain = segmenter([broken, "The judge read the contract. The films and a dog."])
    assert document.sentence_index.tolist() == plain.sentence_index.tolist()
    assert document.input_ids.tolist() == plain.input_ids.tolist()
    assert [" ".join(said.split()) for said in document.sentences] == plain.sentences
    assert document.sentence_spans == split_sentences(broken)
    # Segments start and end with the characters of their first and last tokens' sentences.
    spans = document.sentence_spans
    starts, ends = {start for start, _ in spans}, {end for _, end in spans}
    assert {start for start, _ in document.segment_spans} <= starts
    assert {end for _, end in document.segment_spans} <= ends


def test_a_long_broken_word_is_cut_where_its_pieces_stand() -> None:
    tokenizer = make_tokenizer("bert")  # a letter of an unknown word is a token
    (document,) = Segmenter(tokenizer, max_tokens_per_segment=7)(["qqq-\nqqqqqqq"])
    assert [document.text[start:end] for start, end in document.segment_spans] == [
        "qqq-\nqq",
        "qqqqq",
    ]


def test_a_summary_says_its_words_without_what_line_ends_did() -> None:
    text = "> It was a long per-\n> iod of rain.\n\nNo.\n\n>"
    (document,) = Segmenter(make_tokenizer("bert"))([text])
    assert document.sentence_spans == [(0, 35), (37, 40), (42, 43)]
    # A lone mark says nothing, and is not selected.
    assert document.sentences[2] == "" and document.sentence_tokens.tolist()[2] == 0
    selected = SummaryRule(Budget(max_sentences=3)).select(document, [0.1, 0.2, 0.9])
    assert [one.sentence for one in selected] == [0, 1]
    assert summary_text(selected) == "It was a long period of rain.\nNo."
    # Pieces of what is too long say their words too.
    (long,) = Segmenter(make_tokenizer("bert"))([text[:35]])
    pieces = SummaryRule(Budget(max_characters=16)).candidates(long)
    assert [(one.text, text[one.start : one.end]) for one in pieces] == [
        ("It was a long", "> It was a long"),
        ("period of", "per-\n> iod of"),
        ("rain.", "rain."),
    ]
    # Also where one begins among what is left out.
    assert LineEnds(text, [(0, 35)]).read(21, 35) == "iod of rain."
