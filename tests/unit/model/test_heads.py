"""Scores to answers: which sentences may be in a summary, and what labels say."""

import pytest
import torch
from conftest import make_tokenizer

from hierbert import HierBertConfig
from hierbert.model.classification_head import ClassificationHead
from hierbert.model.heads import Answered
from hierbert.model.segmentation import Segmenter
from hierbert.model.selection import Budget
from hierbert.model.summarization_head import Cosines, SummarizationHead, SummaryRule


def test_headings_are_left_out_unless_there_is_nothing_else() -> None:
    (document, headings) = Segmenter(make_tokenizer("bert"))(
        ["Introduction\n\nThe cat sat on the mat. It ran.", "One.\n\nTwo three."]
    )
    assert document.sentences == ["Introduction", "The cat sat on the mat.", "It ran."]
    scores = [9.0, 1.0, 5.0]
    everything = SummaryRule(Budget(max_words=100))
    assert [one.sentence for one in everything.select(document, scores)] == [0, 1, 2]
    rule = SummaryRule(Budget(max_words=100), min_words_per_sentence=5)
    assert [one.sentence for one in rule.select(document, scores)] == [1]
    assert [one.sentence for one in rule.select(headings, [1.0, 2.0])] == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_cosines_to_selected_sentences(dtype) -> None:
    vectors = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    vectors[7] = 0
    units = torch.nn.functional.normalize(vectors.float(), dim=1)
    cosines = Cosines(vectors)
    selected = list(range(3, 53))
    for count, index in enumerate(selected, start=1):
        cosines.select(index)
        for first in {0, count // 2, count - 1}:
            expected = (units @ units[selected[first:count]].T).amax(1)
            got = torch.tensor(cosines.nearest(range(60), first))
            torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


def test_a_redundant_sentence_is_left_out_each_time_anew() -> None:
    (document,) = Segmenter(make_tokenizer("bert"))(["The cat sat. The cat slept. A dog ran."])
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    rule = SummaryRule(Budget(max_sentences=2), redundancy=0.5)
    for _ in range(2):
        for given, expected in ((vectors, [0, 2]), (None, [0, 1])):
            selected = rule.select(document, [3.0, 2.9, 1.0], given)
            assert [one.sentence for one in selected] == expected


def test_a_summary_is_cut_out_of_its_document() -> None:
    text = "The cat\nsat.  😀 The dog ran."
    (document,) = Segmenter(make_tokenizer("bert"))([text])
    scores = torch.zeros(len(document.sentences))
    config = HierBertConfig(summarization=True)
    answered = Answered(document, scores, scores, scores={"summarization": scores})
    answer = SummarizationHead(config).answer(
        answered, config, SummarizationHead.options(config, {})
    )
    for sentence in answer["sentences"]:
        assert text[sentence.start : sentence.end] == sentence.text
        assert sentence.score == 0.5
    assert answer["summary"].replace("\n", " ").split() == text.split()


@pytest.mark.parametrize(
    ("problem", "logits", "expected"),
    [
        ("single_label_classification", [0.0, 0.0], {"label": "a", "probabilities": [0.5, 0.5]}),
        ("multi_label_classification", [9.0, 0.0], {"labels": ["a"], "threshold": 0.6}),
        ("multi_label_classification", [1.0, 9.0], {"labels": ["b", "a"], "threshold": 0.6}),
        ("regression", [2.0], {"label": 14.0}),
    ],
)
def test_label_answers(problem, logits, expected) -> None:
    names = {0: "a", 1: "b"} if len(logits) == 2 else {0: "value"}
    config = HierBertConfig(
        problem_type=problem,
        id2label=names,
        label2id={name: number for number, name in names.items()},
        decision_threshold=expected.pop("threshold", 0.5),
        label_mean=10.0,
        label_scale=2.0,
    )
    (document,) = Segmenter(make_tokenizer("bert"))(["The cat sat."])
    scores = torch.tensor(logits)
    answered = Answered(document, scores, scores, scores={"classification": scores})
    answer = ClassificationHead(config).answer(answered, config, None)
    if "probabilities" in expected:
        assert list(answer["probabilities"].values()) == expected.pop("probabilities")
    assert {name: answer[name] for name in expected} == expected
