"""ROUGE and its words: those of rouge-score for ASCII, and words of all other scripts."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from hierbert.scoring.rouge import summary_scores
from hierbert.scoring.rouge_words import RougeWords

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
WORDS = ["the", "cats", "cat", "sat.", "running", "\n", "U.S.", "studies", "skies", "dying"]
ascii_texts = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=15).map(" ".join),
    st.text(st.characters(max_codepoint=127), max_size=60),
)


@settings(deadline=None, max_examples=100)
@given(ascii_texts, ascii_texts)
def test_ascii_text_has_the_words_and_scores_of_rouge_score(prediction, reference):
    expected = RougeScorer(list(TYPES), use_stemmer=True).score(reference, prediction)
    found = summary_scores([prediction], [reference])
    assert {name: values.tolist() for name, values in found.items()} == {
        name: [score.fmeasure] for name, score in expected.items()
    }
    words = DefaultTokenizer(use_stemmer=True).tokenize(prediction)
    assert RougeWords().tokenize(prediction) == words


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        # 2 of 3 words and 1 of 2 bigrams are shared.
        ("мама мыла раму", "мама мыла окно", {"rouge1": 2 / 3, "rouge2": 1 / 2}),
        # Lines are sentences for rougeLsum alone.
        ("c d\na b", "a b\nc d", {"rougeL": 0.5, "rougeLsum": 1.0}),
        ("这是一个句子。\n这是另一个。", "这是一个句子。\n这是另一个。", dict.fromkeys(TYPES, 1.0)),
    ],
)
def test_rouge_by_hand(prediction, reference, expected):
    found = summary_scores([prediction, "a"], [reference, "ελληνικά"])
    for name, value in expected.items():
        assert found[name].tolist() == pytest.approx([value, 0.0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Наука и Жизнь", ["наука", "и", "жизнь"]),
        ("हिन्दी में, है।", ["हिन्दी", "में", "है"]),
        ("我爱BERT。", ["我", "爱", "bert"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("caf\u00e9 cafe\u0301", ["caf\u00e9", "caf\u00e9"]),
        ("Straße_STRASSE é", ["strass", "strass", "é"]),
        ("e\ufb03cient \uff21\uff22", ["effici", "ab"]),  # a ligature, full-width letters
        ("co\u00adoperate é", ["cooper", "é"]),  # a soft hyphen
        ("می\u200cخواهم", ["میخواهم"]),
        ("— «»…", []),
    ],
)
def test_words_of_other_scripts(text, words):
    assert RougeWords().tokenize(text) == words


def test_every_word_has_a_letter_digit_or_mark_and_no_space():
    alphabet = [chr(code) for code in range(0, 0x2FFFF, 7) if not 0xD800 <= code < 0xE000]
    for word in RougeWords().tokenize(" ".join(alphabet)):
        assert word and not any(character.isspace() or character == "_" for character in word)


@pytest.mark.parametrize(
    "marks",
    ["\u0301\u0327", "\u0345\u0301", "\u0f71\u0f72\u0f71", "\u0344\u0327"],
    ids=ascii,
)
def test_a_letter_with_many_marks_is_a_word(marks):
    # In time with its square this would take many minutes.
    text = "a" + marks * (300_000 // len(marks)) + " b"
    *first, last = RougeWords().tokenize(text)
    assert last == "b" and len(first) <= 2
    scores = summary_scores([text], [text])
    assert all(values == [1.0] for values in scores.values())


def test_marks_are_put_in_order_as_ever_where_a_language_has_them():
    for count in (1, 2, 15, 29):
        marks = "\u0301\u0327" * (count // 2) + "\u0323" * (count % 2)
        text = f"x{marks} y{marks}"
        composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        assert RougeWords().tokenize(text) == composed.split()
