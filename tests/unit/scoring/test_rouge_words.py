"""Words as ROUGE counts them: those of rouge-score for ASCII, and words of all other scripts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.tokenizers import DefaultTokenizer

from hierbert.scoring.rouge_words import RougeWords

ascii_texts = st.text(st.characters(max_codepoint=127), max_size=60)
english = st.lists(
    st.sampled_from(["studies", "studying", "skies", "dying", "generalizations", "relational"]),
    max_size=12,
).map(" ".join)


@settings(deadline=None, max_examples=300)
@given(st.one_of(ascii_texts, english))
def test_ascii_words_are_those_of_rouge_score(text):
    assert RougeWords().tokenize(text) == DefaultTokenizer(use_stemmer=True).tokenize(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Наука и Жизнь", ["наука", "и", "жизнь"]),
        ("हिन्दी में, है।", ["हिन्दी", "में", "है"]),
        ("我爱BERT。", ["我", "爱", "bert"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("caf\u00e9 cafe\u0301", ["caf\u00e9", "caf\u00e9"]),
        ("e\ufb03cient \uff21\uff22", ["effici", "ab"]),  # a ligature, full-width letters
        ("co\u00adoperate é", ["cooper", "é"]),  # a soft hyphen
        ("می\u200cخواهم", ["میخواهم"]),
        ("— «»…", []),
    ],
)
def test_words_of_other_scripts(text, words):
    assert RougeWords().tokenize(text) == words


def test_spellings_that_fold_to_the_same_letters_are_one_word():
    first, second = RougeWords().tokenize("Straße_STRASSE")
    assert first == second


def test_every_word_has_a_letter_digit_or_mark_and_no_space():
    alphabet = [chr(code) for code in range(0, 0x2FFFF, 7) if not 0xD800 <= code < 0xE000]
    for word in RougeWords().tokenize(" ".join(alphabet)):
        assert word and not word.isspace() and "_" not in word
        assert not any(character.isspace() for character in word)
