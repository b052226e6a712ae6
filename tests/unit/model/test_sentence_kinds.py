"""Kinds of sentences: prose, and what no summary is made of."""

import pytest
import torch
from conftest import make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model.features import SentenceKinds
from hierbert.model.heads import Structure
from hierbert.model.segmentation import SegmentedDocument, Segmenter
from hierbert.model.selection import Budget
from hierbert.model.sentence_kinds import KINDS, sentence_kinds
from hierbert.model.sentences import split_sentences
from hierbert.model.summarization_head import SummaryRule

PAPER = """\
# The Old Town
prose: The committee met in the old library on a cold Monday.
Minutes of a Long Winter

1 Introduction

prose: Nobody had read the long report (see Table 3), which was printed in small letters.
prose: It is known.
2.1 The Plans of the Town

prose: We need three things:
- flour
- two eggs
* salt
prose: - The committee agreed that the report should be read aloud by all of its members.
THE RESULTS OF THE VOTE

| name | votes | share |
|---|---|---|
| Miller | 12 | 0.4 |

Miller    12    0.41    17
Cooper    19    0.58    23

```python
for row in table:
    print(row)
```

prose: The others agreed, and when it was over two of the members had left.

References

[1] A. Miller and B. Cooper. 2010. The long winter. In Proceedings of the Winter, pages 3-9.
Miller, A. (2012). The old town. Journal of Towns, 3(2):1-9.
"""

CASES = {
    "prose": [
        "He left.",
        "“We grew by 3.5% in 2010 (see Fig. 3),” said the head of Acme Inc. on Monday.",
        "so it ends well , but nobody knew why .",
        "PhD D: and then we had the other one",
        "(a) The Company shall pay all fees that are due under this Agreement on the first day.",
        "他走了，她留下了！",
        "Let x = 3 and y = 4, so that the sum of both of them is 7.",
        "The price of A/B testing & co. is $5 million at most.",
        "Select the town from the list of towns.",
        "SELECT members of the committee came FROM the old town.",
        "$5 million was paid for it.",
        "<small>The votes of the town are counted.</small>",
        "Git is what they clone and pull the towns with.",
        "<smile> I never said so, and you know it.",
        "Update towns set by the committee are on the list.",
    ],
    "heading": [
        "### Motivation",
        "2.1 Related Work",
        "IV. RESULTS",
        "ARTICLE 5 PAYMENT",
        "Abstract",
    ],
    "list": ["- flour", "• two eggs and some salt", "(b) the second one", "3) milk"],
    "code": [
        "def read(path):",
        "int main(void) { return 0; }",
        "x = foo.bar(3, y);",
        "import os; from pathlib import Path",
        "uint256 public total_supply = 10 ** 18;",
        "SELECT a FROM b WHERE c = 1;",
        "INSERT INTO towns (name) VALUES ('Old');",
        "UPDATE towns SET votes = 3 WHERE name = 'Old';",
        "CREATE TABLE towns (name TEXT);",
        "$ pip install hierbert",
        "pip install hierbert",
        "curl -X POST https://example.org/towns -d votes=3",
        "git clone https://example.org/towns.git",
        '<div class="town">The old one</div>',
        "<br/>",
        '{"name": "Old Town", "votes": 3}',
        '[{"name": "Old Town"}]',
    ],
    "table": [
        "| a | b | c |",
        "Baseline 34.2 45.1 33.0 12.9",
        "Name\tVotes\tShare",
        "12    17    19",
    ],
    "reference": [
        "[12] J. Smith and A. Jones. 2010. On Towns. In Proceedings of ACL, pages 1-9.",
        "Smith, J. (2010). On towns. Journal of Towns, 3(2):1-9. doi:10.1000/182",
    ],
    "boilerplate": [
        "1.2 The Old Town ........ 17",
        "Introduction . . . . . . . . 3",
        "© 2018 Cox Media Group.",
        "All rights reserved.",
        "Page 3 of 10",
        "-----------------",
        "https://example.org/a/b?c=3",
        "anna@example.org",
        "Anna Miller <anna@example.org> writes:",
        "ann@mail.org;bob@mail.org, <eva@mail.org>",
        "(http://a.org/p_(q)) www.b.org | http://c.org,http://d.org",
        "By: ____________________ Name: ________",
    ],
}


def kinds_of(text: str) -> list[str]:
    return sentence_kinds(text, split_sentences(text))


@pytest.mark.parametrize("kind", CASES)
def test_the_kind_of_a_line_by_itself(kind: str) -> None:
    assert set(CASES) == set(KINDS)
    for line in CASES[kind]:
        text = f"It was late in the old town by then.\n\n{line}\n\nNobody knew what it was for."
        first, *own, last = kinds_of(text)
        assert first == last == "prose" and set(own) == {kind}, line


def test_a_paper_is_read_kind_by_kind() -> None:
    text = PAPER.replace("prose: ", "")
    spans = split_sentences(text)
    kinds = sentence_kinds(text, spans)
    prose = [
        " ".join(text[a:b].split()) for (a, b), k in zip(spans, kinds, strict=True) if k == "prose"
    ]
    marked = [line.removeprefix("prose: ") for line in PAPER.splitlines() if "prose: " in line]
    assert prose == marked
    found = {kind: [] for kind in KINDS}
    for (start, end), kind in zip(spans, kinds, strict=True):
        found[kind].append(text[start:end])
    assert found["heading"] == [
        "# The Old Town", "Minutes of a Long Winter", "1 Introduction",
        "2.1 The Plans of the Town", "THE RESULTS OF THE VOTE", "References",
    ]  # fmt: skip
    assert found["list"] == ["- flour", "- two eggs", "* salt"]
    code = "".join("".join(found["code"]).split())
    assert code == "```pythonforrowintable:print(row)```"
    assert found["reference"][0].startswith("[1]")
    assert all(
        "1-9" not in sentence for kind in KINDS if kind != "reference" for sentence in found[kind]
    )


def test_a_mail_has_a_head_an_attribution_and_a_signature() -> None:
    text = (
        "From: anna@example.org (Anna Miller)\nSubject: Re: the old town\nLines: 9\n\n"
        "In article <3@x.org> bob@x.org writes:\n> We never met\n> there.\n\n"
        "But we did, on a cold Monday.\n-- \nAnna Miller\nOld Town, 12 Main Street\n"
    )
    spans = split_sentences(text)
    kinds = sentence_kinds(text, spans)
    prose = [text[a:b] for (a, b), kind in zip(spans, kinds, strict=True) if kind == "prose"]
    assert prose == ["> We never met\n> there.", "But we did, on a cold Monday."]
    assert set(kinds) == {"prose", "boilerplate"}


SIGNATURES = [
    "Anna Miller\nHead of the Old Town\nPhone: 555 123 4567\n12 Main Street",
    "Anna Miller   | The Old Town\nanna@example.org | +49 30 1234567\n",
    "-----------\nAnna Miller\nanna@example.org\n-----------\n",
]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_signature_needs_no_mark(signature: str) -> None:
    prose = "We never met in the old town.\n\nBut we did, on a cold Monday."
    kinds = kinds_of(f"{prose}\n\n{signature}")
    assert kinds[:2] == ["prose"] * 2 and set(kinds[2:]) == {"boilerplate"}

    for last in (
        "Write to anna@example.org\nand to the others of the old town.",
        "We met Anna Miller and the others there\nor wrote to anna@example.org about it",
        "The Old Town\nIs Where We Met",
        "Subject line says all.\nanna@example.org",
    ):
        assert kinds_of(f"{prose}\n\n{last}")[2] != "boilerplate"


def test_a_table_of_contents_needs_no_dots() -> None:
    prose = "It was late in the old town by then."
    contents = "1 Introduction 3\n2 The Data 7\n2.1 Towns and Votes 14\n3 Results 21\n"
    kinds = kinds_of(f"{prose}\n\n{contents}\n{prose}")
    assert kinds[0] == kinds[-1] == "prose" and set(kinds[1:-1]) == {"boilerplate"}
    names = "Preface 1\nThe Old Town 3\nThe Winter 9\nThe Vote 12\nThe End 40\nIndex 44\n"
    assert set(kinds_of(f"{prose}\n\n{names}\n{prose}")[1:-1]) == {"boilerplate"}
    wild = contents.replace("7", "2")
    assert kinds_of(f"{prose}\n\n{wild}\n{prose}").count("boilerplate") < 4


def test_the_heads_of_pages_are_boilerplate_though_their_numbers_differ() -> None:
    pages = "\n".join(
        f"The Old Town, page {n}\n\nIt was day {n} of the long winter in the old town, and nobody "
        "had read the long report on it that lay there.\n\nIt was late.\n"
        for n in (1, 2, 3)
    )
    assert kinds_of(pages) == ["boilerplate", "prose", "boilerplate"] * 3
    assert kinds_of(pages.replace("page 2", "page two")) == ["heading", "prose", "boilerplate"] * 3


def sentences_of(rule: SummaryRule, document: SegmentedDocument, scores: list[float]) -> list[int]:
    return [one.sentence for one in rule.select(document, scores)]


def test_a_summary_picks_prose_unless_nothing_else_is_there() -> None:
    segmenter = Segmenter(make_tokenizer("bert"))
    rule = SummaryRule(Budget(max_sentences=3))
    mixed, bare, short = segmenter(
        [
            "The Old Town\n\nIt was late. Nobody came.\n\n- flour\n- salt",
            "The Old Town\n\n- flour\n- salt",
            "The Old Town Of The Long Winter\n\nNo.",
        ]
    )
    assert mixed.sentence_kinds == ["heading", "prose", "prose", "list", "list"]
    assert sentences_of(rule, mixed, [9, 1, 2, 8, 7]) == [1, 2]
    assert sentences_of(rule, bare, [9, 8, 7]) == [0, 1, 2]
    # Of the whole document nothing is left out, and a caller's own sentences are no headings.
    assert sentences_of(SummaryRule(Budget(ratio=1.0)), mixed, [9, 1, 2, 8, 7]) == [0, 1, 2, 3, 4]
    (given,) = segmenter([["The Old Town", "It was late.", "x = foo(3, y) & bar[4];"]])
    assert given.sentence_kinds == ["prose", "prose", "code"]
    # A heading that is long enough comes before prose that is not.
    long = SummaryRule(Budget(max_sentences=3), min_words_per_sentence=3)
    assert sentences_of(long, short, [1, 2]) == [0]


def test_the_feature_holds_a_one_for_the_kind_of_each_sentence() -> None:
    documents = Segmenter(make_tokenizer("bert"))(["Title\n\nIt was late.", "", "- flour\n- salt"])
    feature = SentenceKinds()
    structure = Structure(torch.tensor([1, 1, 1]), torch.tensor([2, 0, 2]))
    made = feature(feature.collate(documents), structure)
    assert made.shape == (4, len(KINDS))
    assert [KINDS[int(row.argmax())] for row in made] == ["heading", "prose", "list", "list"]
    assert made.sum(1).tolist() == [1, 1, 1, 1]
    assert feature(feature.collate(documents[1:2]), structure).shape == (0, len(KINDS))


@settings(deadline=None, max_examples=300)
@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                "|",
                "- ",
                "a. ",
                "```\n",
                "\n",
                "References\n",
                "x",
                " = ",
                "The ",
                "12",
                "    ",
                ".",
                "____",
                "-- \n",
                "> ",
            ]
        ),
        max_size=60,
    ).map("".join)
)
def test_every_sentence_of_any_text_has_a_kind(text: str) -> None:
    spans = split_sentences(text)
    kinds = sentence_kinds(text, spans)
    assert len(kinds) == len(spans) and set(kinds) <= set(KINDS)


@pytest.mark.parametrize(
    "unit", ["a", "a ", ". ", "|", "- a\n", "1. ", "```\n", "    ", "____", "(", "x = ", "Aa ",
             "a@b ", "\t", "\n\n", "A B. ", "From: a\n", "... ", "12 ", "a|", "In article ",
             "References\n", "[1] A. ", "[1] A. B\n", "|\n", "1 A 2\n", "Abc 3\n", "Abc ", "<a ",
             "SELECT ", "<a b=c ", "a@b.c\n", " \t", "ann@mail.org;",
             "http://a.org/p,", "a@a.a-", "<u@mail.org>, ", "(https://a.org/p) ", "www.a-www.b "]
)  # fmt: skip
def test_long_adversarial_text_takes_linear_time(unit: str) -> None:
    many = unit * (50_000 // len(unit))
    assert kinds_of(f"Title\n\n{many}The end.\nReferences{many}\n{many}x")
