import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from hierbert.scoring import ROUGE_TYPES, rouge_scores, summary_scores

ascii_summaries = st.one_of(
    st.lists(
        st.sampled_from(["the", "cats", "cat", "sat.", "running", "ran", "\n", "U.S."]), max_size=15
    ).map(" ".join),
    st.text(st.characters(max_codepoint=127), max_size=40),
)


@settings(deadline=None, max_examples=60)
@given(ascii_summaries, ascii_summaries)
def test_rouge_of_ascii_text_is_that_of_rouge_score(prediction, reference):
    expected = RougeScorer(list(ROUGE_TYPES), use_stemmer=True).score(reference, prediction)
    for got in (rouge_scores([prediction], [reference]), summary_scores([prediction], [reference])):
        assert {name: values.tolist() for name, values in got.items()} == {
            name: [score.fmeasure] for name, score in expected.items()
        }


@pytest.mark.parametrize(
    "text",
    [
        "हिन्दी में लिखा हुआ वाक्य।\nदूसरा वाक्य है।",
        "这是一个句子。\n这是另一个。",
        "Это первое предложение.\nА это второе.",
        "นี่คือประโยค\nนี่คืออีกประโยค",
    ],
)
def test_text_of_any_script_is_like_itself_and_unlike_another(text):
    for values in rouge_scores([text, text], [text, "ελληνικά γράμματα"]).values():
        assert values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        # 2 of 3 words and 1 of 2 bigrams are shared.
        ("мама мыла раму", "мама мыла окно", {"rouge1": 2 / 3, "rouge2": 1 / 2}),
        # Lines are sentences for rougeLsum alone.
        ("c d\na b", "a b\nc d", {"rougeL": 0.5, "rougeLsum": 1.0}),
        ("", "a b", dict.fromkeys(ROUGE_TYPES, 0.0)),
        ("", "", dict.fromkeys(ROUGE_TYPES, 0.0)),
    ],
)
def test_rouge_by_hand(prediction, reference, expected):
    got = rouge_scores([prediction], [reference])
    assert {name: got[name][0] for name in expected} == pytest.approx(expected)


def test_rouge_can_leave_out_the_slow_types_and_the_stemmer():
    got = rouge_scores(["running"], ["runs"], rouge_types=["rouge1"], use_stemmer=False)
    assert {name: values.tolist() for name, values in got.items()} == {"rouge1": [0.0]}
    assert rouge_scores(["running"], ["runs"])["rouge1"].tolist() == [1.0]


def test_rouge_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="1 predictions, but 2 references"):
        rouge_scores(["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"rouge7.*rouge1.*rougeLsum"):
        rouge_scores(["a"], ["a"], rouge_types=["rouge7"])
