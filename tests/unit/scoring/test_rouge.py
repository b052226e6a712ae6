import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from hierbert.scoring.metric import metrics_of
from hierbert.scoring.rouge import summary_scores

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")

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
    got = summary_scores([prediction], [reference])
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
    for values in summary_scores([text, text], [text, "ελληνικά γράμματα"]).values():
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
    got = summary_scores([prediction], [reference])
    assert {name: got[name][0] for name in expected} == pytest.approx(expected)


def test_the_table_of_metrics_has_all_four_and_texts_go_in_pairs():
    assert tuple(metric.name for metric in metrics_of("summary")) == ROUGE_TYPES
    assert summary_scores(["a", "b"], ["a", "c"])["rouge1"].tolist() == [1.0, 0.0]
    with pytest.raises(ValueError):
        summary_scores(["a"], ["a", "b"])
