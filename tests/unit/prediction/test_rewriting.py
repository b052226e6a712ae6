"""What becomes of an extract, whatever a model writes: budgets, map and reduce, hostile answers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert import HierBert
from hierbert.loading.generators import UnreadableError, Written
from hierbert.prediction.rewriting import Rewriting

TEXT = (
    "The council met on Monday and spoke of money. The budget for schools will grow by 12 percent. "
    "Mayor Brown did not vote. Repairs of the harbour walls begin in May. "
    "The library stays open on Sundays. Nothing was said about the new bridge."
)
SENTENCES = TEXT.replace(". ", ".\n").split("\n")


@dataclass
class Fake:
    """A model that writes what a function makes of a request; its tokens are words."""

    answer: Callable[[str], str]
    window: int = 1000
    has_encoder: bool = False
    finished: bool = True
    asked: list[str] = field(default_factory=list)

    def count(self, text: str) -> int:
        return len(text.split())

    def encode(self, text: str, instruction: str | None) -> list[str]:
        return text.split()

    def write(self, tokens: list[str], most_tokens: int) -> Written:
        self.asked.append(" ".join(tokens))
        return Written(self.answer(self.asked[-1]), self.finished)


@pytest.fixture(scope="module")
def model() -> HierBert:
    return HierBert.summarizer(device="cpu")


def rewrite(model: HierBert, fake: Fake, text: str = TEXT, **budget):
    """Sentences of the rewritten summary, after what holds of any was checked."""
    rule = model.summary_rule(budget or {"ratio": 1.0})
    [document] = model.processor.segment([text])
    [extract] = model.predict([text], rule=rule)
    rewriting = Rewriting(fake, None, model.processor.tokenizer)
    fields = rewriting.fields(extract.sentences, document, rule)
    made = fields["rewritten_sentences"]
    assert fields["rewritten"].split("\n") == [one.text for one in made] or not made
    for one in made:
        assert one.extracts and all(0 <= n < len(extract.sentences) for n in one.extracts)
        assert one.fell_back == bool(one.flags)
        if one.fell_back:
            assert one.text == " ".join(extract.sentences[one.extracts[0]].text.split())
    return extract, made


# Of each what is written, and what comes of it: texts and flags.
OUTCOMES = {
    "prose": (
        "The budget for schools will grow by 12 %. Repairs of harbour walls begin in May.",
        [("The budget for schools will grow by 12 %.", []),
         ("Repairs of harbour walls begin in May.", [])],
    ),
    "a list with a word before it": (
        "Sure! Here you go:\n1. The council spoke of money.\n2. Mayor Brown did not vote.",
        [("The council spoke of money.", []), ("Mayor Brown did not vote.", [])],
    ),
    "a wrong number": (
        "The budget for schools will grow by 21 percent. The library stays open.",
        [(SENTENCES[1], ["number: 21%"]), ("The library stays open.", [])],
    ),
    "a wrong name": ("Mayor Green did not vote.", [(SENTENCES[2], ["name: green"])]),
    "a negation more": ("The library stays not open.", [(SENTENCES[4], ["negation: not"])]),
    "a negation less": ("Mayor Brown did vote.", [(SENTENCES[2], ["negation left out"])]),
    "nothing": ("", [(text, ["nothing written"]) for text in SENTENCES]),
    "blanks": (" \n\n ", [(text, ["nothing written"]) for text in SENTENCES]),
    "something else": (
        "I am sorry, but as an assistant I cannot help with that request.",
        [(text, ["something else"]) for text in SENTENCES],
    ),
    "the same over and over": (
        "The library stays open. " * 9, [("The library stays open.", [])],
    ),
    "circles": (
        "The library stays open the library stays open the library stays open.",
        [(SENTENCES[4], ["repeats"])],
    ),
    # What stands itself is not told beside it in other words.
    "the same right and wrong": (
        "The library stays open. The library stays open on 3 Sundays.",
        [(SENTENCES[4], ["number: 3"])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTCOMES)
def test_every_answer_of_a_model_has_its_outcome(case, model) -> None:
    written, expected = OUTCOMES[case]
    _, made = rewrite(model, Fake(lambda _: written))
    assert [(one.text, one.flags) for one in made] == expected


def test_what_is_cut_off_falls_back(model) -> None:
    fake = Fake(lambda _: "The library stays open. Repairs of the harbour", finished=False)
    _, made = rewrite(model, fake)
    assert [(one.text, one.flags) for one in made] == [
        ("The library stays open.", []),
        (SENTENCES[3], ["unfinished"]),
    ]


def first_words(text: str) -> str:
    """Every sentence by its first three words."""
    return " ".join(" ".join(one.split()[:3]) + "." for one in text.rstrip(".").split(". "))


@pytest.mark.parametrize("has_encoder", [False, True])
def test_what_does_not_fit_is_rewritten_in_parts_and_then_as_one(model, has_encoder) -> None:
    # 44 words; a part of n has room for 1.5 n + 32 more.
    fake = Fake(first_words, window=80 if not has_encoder else 60, has_encoder=has_encoder)
    _, made = rewrite(model, fake)
    *parts, whole = fake.asked
    assert len(parts) > 1 and " ".join(parts) == TEXT
    assert whole == first_words(TEXT) and [one.text for one in made] == [
        one + "." for one in whole.rstrip(".").split(". ")
    ]
    # Of the reduced sentences too, it is the extract's own that they come from.
    assert [one.extracts for one in made] == [[n] for n in range(len(SENTENCES))]
    # Where the parts together do not fit either, they stand one after the other.
    fake = Fake(lambda text: text, window=fake.window, has_encoder=has_encoder)
    _, made = rewrite(model, fake)
    assert [one.text for one in made] == SENTENCES and " ".join(fake.asked) == TEXT


def test_a_sentence_that_no_window_holds_stays_as_it_is(model) -> None:
    fake = Fake(first_words, window=50)
    long = f"The harbour {'wall ' * 30}begins."
    _, made = rewrite(model, fake, f"{SENTENCES[2]} {long} {SENTENCES[4]}")
    assert [one.flags for one in made] == [[], ["too long to read"], []]
    assert fake.asked == [SENTENCES[2], SENTENCES[4]]


def test_what_a_template_refuses_is_read_in_smaller_parts(model) -> None:
    class Strict(Fake):
        def encode(self, text: str, instruction: str | None) -> list[str]:
            if len(text) > 46:
                raise UnreadableError("too long")
            return super().encode(text, instruction)

    # No two sentences together are that short, and the second alone is longer.
    fake = Strict(first_words)
    _, made = rewrite(model, fake)
    assert [one.flags for one in made] == [[], ["too long to read"], [], [], [], []]
    assert fake.asked == [SENTENCES[0], *SENTENCES[2:]]


@given(
    written=st.lists(st.sampled_from([*SENTENCES, *map(first_words, SENTENCES),
        "The budget for schools and the harbour walls will grow by 12 percent in May on Monday.",
        "Mayor Green paid 99.", "Something else entirely.", TEXT.replace(".", ",")]), max_size=9),
    budget=st.sampled_from([
        {"max_words": 9}, {"max_words": 25}, {"max_sentences": 2}, {"max_characters": 60},
        {"max_tokens": 20}, {"ratio": 0.4}, {"max_words": 1}, {"ratio": 1.0},
    ]),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_no_budget_is_passed(model, written, budget) -> None:
    extract, made = rewrite(model, Fake(lambda _: " ".join(written)), **budget)
    texts = [one.text for one in made]
    assert bool(texts) == bool(extract.sentences)
    words = sum(len(text.split()) for text in texts)
    # Whatever the words are, a token of this model is a word or a mark.
    tokens = sum(len(text.replace(",", " ,").replace(".", " .").split()) for text in texts)
    spent = {
        "max_words": words,
        "max_sentences": len(texts),
        "max_characters": len("\n".join(texts)),
        "max_tokens": tokens,
        "ratio": words / len(TEXT.split()),
    }
    ((name, most),) = budget.items()
    assert spent[name] <= most or extract.over_limit


def test_a_model_that_is_of_no_use_is_told_once(model, caplog, monkeypatch) -> None:
    log = logging.getLogger("hierbert")
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    rule = model.summary_rule({"max_sentences": 1})
    [document] = model.processor.segment([TEXT])
    [extract] = model.predict([TEXT], rule=rule)
    rewriting = Rewriting(Fake(lambda _: ""), None, model.processor.tokenizer)
    for _ in range(25):
        rewriting.fields(extract.sentences, document, rule)
    [record] = caplog.records
    assert "none of the first 20" in record.getMessage() and "nothing written" in caplog.text
