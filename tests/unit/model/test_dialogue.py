"""Who speaks, and documents that only look as if somebody did."""

import pytest

from hierbert.model.dialogue import speakers
from hierbert.model.sentences import split_sentences


def names_of(text: str) -> list[str | None]:
    found = speakers(text, split_sentences(text))
    return [None if one is None else text[slice(*one)] for one in found]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Anna: ", "Project Manager: "),
        ("Q: ", "A: "),
        ("Dr. J. Smith : ", "Chair of the Board: "),
        ("Анна: ", "Иван: "),
        ("张三：", "李四："),
        ("张三:", "李四:"),
        ("أحمد: ", "ليلى: "),
        ("[00:12] Anna: ", "[00:15:01] Ben: "),
        ("12:30 Anna: ", "12:31 Ben: "),
        ("  ANNA:\n", "  BEN:\n"),
    ],
)
def test_a_sentence_is_said_by_the_speaker_of_its_turn(first, second) -> None:
    turns = [f"{first}Good morning to all of you.\nWe begin now. ", f"{second}Is it late? It is.\n"]
    text = "The meeting of May.\n\n" + "\n".join(turns * 3)
    own = [one.split("]")[-1].strip(" :：\n0123456789") for one in (first, second)]
    said = [name for name in names_of(text) if name]
    assert list(dict.fromkeys(said)) == own
    assert names_of(text)[0] is None
    # Of each turn more than its first sentence.
    assert len(said) >= 2 * 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No turn at all. Nothing is said.",
        "Seller: means the company.\nBuyer: means the client.\nGoods: means what is sold.\n"
        "Price: means what is paid.\nTerm: means two years.\n",
        "Name: Anna Smith\nCity: Rome\n\n" * 20,  # a form
        "From: anna@example.org\nTo: ben@example.org\nSubject: hello\nDate: today\n\nHi. Are you?",
        "See http://example.org.\nSee https://example.org.\n" * 5,
        "http://a.org is one.\nftp://b.org is one.\nhttp://a.org is one.\nftp://b.org is one.\n",
        "12:30 we met.\n13:00 we ate.\n" * 4,
        "we say: this.\nthey say: that.\n" * 4,
        # Twice in a long text is no dialogue.
        "It rains. " * 5
        + "\n"
        + "A line of prose stands here.\n" * 40
        + "Note: Yes.\nWarning: No.\n" * 2,
        "Anna: Hello. I am here.\n" * 6,  # one speaker
    ],
)
def test_a_document_that_only_looks_like_it_is_no_dialogue(text) -> None:
    assert set(names_of(text)) <= {None}
