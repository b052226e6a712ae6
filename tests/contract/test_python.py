"""hierbert from Python: the names, the predictor, transformers' own doors, and equal answers."""

import io
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from conftest import make_rows, make_text
from small_models import build
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoProcessor,
    pipeline,
)

import hierbert
from hierbert import Document, HierBertPredictor

NAMES = {
    "HierBertConfig",
    "HierBertForDocuments",
    "HierBertModel",
    "HierBertPredictor",
    "HierBertProcessor",
    "read_documents",
    "split_sentences",
}
HARD_TEXTS = [
    "",
    " \n\t ",
    "The 😀 film was good! 👩‍👩‍👧 The plot 🎬. Awful\u200d actor.",
    "هذا فيلم جيد. كان الممثل رائعا؟ نعم.",
    "这部电影很好。演员很棒!情节糟糕?",
    "The court\x00 is red. \x00\x00 A judge.",
    "Half \ud83d a pair. The other \ude00 half.",
    "e\u0301te\u0301 on the hill. İstanbul ẞ ﬁsh.",
    make_text(random.Random(3), 40),
    "\r\n\r\nA heading\r\n\r\nThe sun. The moon.\r\n",
]
TEXTS = [*HARD_TEXTS, *(str(row["text"]) for row in make_rows(12, seed=2, sentences=40))]


@pytest.fixture(scope="module")
def predictor(models: dict[str, Path]) -> HierBertPredictor:
    return HierBertPredictor.from_pretrained(models["both"], device="cpu")


def mistake(call: Any, *arguments: Any, **options: Any) -> str:
    """The one line of an error that a caller can mend."""
    with pytest.raises(Exception) as caught:
        call(*arguments, **options)
    kinds = {kind.__name__ for kind in type(caught.value).__mro__}
    assert kinds & {"HierBertError", "ValueError"}, repr(caught.value)
    line = str(caught.value)
    assert line and "\n" not in line and len(line) < 700
    return line


def close(one: Any, other: Any) -> None:
    """Two predictions are equal but for rounding."""
    assert (one.label, one.summary) == (other.label, other.summary)
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert one.document_vector == pytest.approx(other.document_vector, abs=1e-4)
    for mine, its in zip(one.sentences, other.sentences, strict=True):
        assert asdict(mine) == pytest.approx(asdict(its), abs=1e-5)


def test_the_public_names() -> None:
    assert set(hierbert.__all__) >= NAMES
    assert all(getattr(hierbert, name) for name in hierbert.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", hierbert.__version__)
    with pytest.raises(AttributeError):
        hierbert.no_such_name  # noqa: B018


def test_auto_classes_load_the_classes_of_hierbert(models) -> None:
    for auto, own in (
        (AutoConfig, hierbert.HierBertConfig),
        (AutoModel, hierbert.HierBertModel),
        (AutoModelForSequenceClassification, hierbert.HierBertForDocuments),
        (AutoProcessor, hierbert.HierBertProcessor),
    ):
        assert type(auto.from_pretrained(models["both"])) is own
    assert hierbert.HierBertConfig.model_type == "hierbert"


def test_a_prediction_holds_what_was_asked_and_nothing_else(models, predictor) -> None:
    fields = {
        *("label", "labels", "probabilities", "summary", "sentences", "omission"),
        *("document_vector", "segment_vectors", "segment_spans"),
    }
    text = TEXTS[-1]

    def held(answer: Any) -> set[str]:
        return {name for name in fields if getattr(answer, name) is not None}

    assert predictor.tasks == ("classify", "summarize", "embed")
    assert held(predictor.classify(text)[0]) == {"label", "probabilities"}
    assert held(predictor.summarize(text)[0]) == {"summary", "sentences"}
    assert held(predictor.embed(text)[0]) == {"document_vector"}
    (answer,) = predictor.embed(text, segment_vectors=True)
    assert held(answer) == {"document_vector", "segment_vectors", "segment_spans"}
    assert {len(v) for v in [answer.document_vector, *answer.segment_vectors]} == {32}
    assert len(answer.segment_vectors) == len(answer.segment_spans) > 1
    (whole,) = predictor.predict(text)
    assert held(whole) == {"label", "probabilities", "summary", "sentences"}
    many = HierBertPredictor.from_pretrained(models["many"], device="cpu")
    for answer in many.classify(TEXTS):
        shares = answer.probabilities
        assert held(answer) == {"labels", "probabilities"} and list(shares) == ["art", "law", "a.b"]
        reached = [name for name in shares if shares[name] >= 0.5]
        assert answer.labels == sorted(reached, key=lambda name: -shares[name])
    number = HierBertPredictor.from_pretrained(models["number"], device="cpu")
    with torch.no_grad():
        logits = number.model(**number.processor(TEXTS)).logits[:, 0].tolist()
    assert [a.label for a in number.classify(TEXTS)] == pytest.approx(logits, abs=1e-5)
    limited = HierBertPredictor.from_pretrained(models["summaries"], device="cpu")
    short, long = limited.summarize(["The cat.", text])
    assert short.omission is None and long.omission.segments > 0
    assert long.omission.sentences > 0 and long.omission.tokens > 0 < long.omission.characters


def test_no_neighbour_changes_an_answer(models) -> None:
    """Alone, in batches of any size, in any order: the same within 1e-5."""
    results = []
    for batch, forward in ((1, None), (700, 64), (10**6, 10_000)):
        own = HierBertPredictor.from_pretrained(
            models["both"], device="cpu", batch_tokens=batch, tokens_per_forward=forward
        )
        results.append(list(own.predict(TEXTS, own.tasks)))
    order = random.Random(1).sample(range(len(TEXTS)), len(TEXTS))
    shuffled = list(own.predict([TEXTS[number] for number in order], own.tasks))
    results.append([shuffled[order.index(number)] for number in range(len(TEXTS))])
    for answers in results[1:]:
        for one, other in zip(answers, results[0], strict=True):
            close(one, other)
    # As ordinary objects of transformers: the same numbers.
    model = AutoModelForSequenceClassification.from_pretrained(models["both"]).eval()
    processor = AutoProcessor.from_pretrained(models["both"])
    with torch.no_grad():
        output = model(**processor(TEXTS))
        vectors = AutoModel.from_pretrained(models["both"]).eval()(**processor(TEXTS))
    scores = output.sentence_scores.sigmoid().split(output.sentences_per_document.tolist())
    for row, logits, shares, vector in zip(
        results[0], output.logits, scores, vectors.document_vectors, strict=True
    ):
        assert list(row.probabilities.values()) == pytest.approx(
            logits.softmax(-1).tolist(), abs=1e-5
        )
        assert row.document_vector == pytest.approx(vector.tolist(), abs=1e-4)
        for sentence in row.sentences:
            assert any(
                sentence.score == pytest.approx(share, abs=1e-5) for share in shares.tolist()
            )


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_offsets_point_into_the_text_and_the_whole_budget_is_the_whole_text(encoders, kind):
    predictor = HierBertPredictor(*build(encoders[kind]))
    for text, answer in zip(HARD_TEXTS, predictor.summarize(HARD_TEXTS, ratio=1.0), strict=True):
        assert all(text[s.start : s.end] == s.text for s in answer.sentences)
        assert all(0 <= sentence.score <= 1 for sentence in answer.sentences)
        joined = "".join(sentence.text for sentence in answer.sentences)
        assert "".join(joined.split()) == "".join(text.split())
        lines = [" ".join(sentence.text.split()) for sentence in answer.sentences]
        assert answer.summary == "\n".join(lines)


def test_a_document_is_a_text_or_a_list_of_its_sentences_or_segments(predictor) -> None:
    text = "The cat is red. A dog is good."
    assert predictor.classify(text) == predictor.classify([text])
    assert predictor.classify([]) == []
    (given,) = predictor.summarize([["The cat is red.", "", "A dog"]], max_sentences=3)
    whole = "The cat is red.\n\nA dog"
    assert given.summary == "The cat is red.\nA dog"
    assert [whole[s.start : s.end] for s in given.sentences] == ["The cat is red.", "A dog"]
    segments = [["The cat.", "A dog."], ["The sun."]]
    (embedded,) = predictor.embed([segments], segment_vectors=True)
    assert embedded.segment_spans == [(0, 15), (16, 24)]
    spans = [sentence.start for sentence in predictor.summarize(text, ratio=1.0)[0].sentences]
    assert spans == [0, 16]
    assert [str(s) for s in hierbert.split_sentences("")] == []
    for wrong in (
        *(None, 5, float("nan"), b"bytes", object(), {"text": "a"}, {"a"}),
        *(["a", 3], [["a", None]], [[["a"]]], [[["a"], "b"]]),
    ):
        assert "texts[1]" in mistake(predictor.classify, ["The cat.", wrong])


def test_any_iterable_is_read_only_as_far_as_it_is_asked(models) -> None:
    taken = itertools.count()

    def endless() -> Iterator[str]:
        for _ in taken:
            yield "The cat is red. A dog is good."

    own = HierBertPredictor.from_pretrained(models["both"], device="cpu", batch_tokens=200)
    answers = own.predict(endless())
    assert len({next(answers).label for _ in range(100)}) == 1
    assert next(taken) < 400
    pipe = pipeline("document-classification", model=str(models["both"]))
    taken = itertools.count()
    rows = pipe(endless(), batch_size=4)
    assert next(taken) == 0 and next(rows)["label"] and next(taken) < 200


def test_a_summary_keeps_to_its_order_redundancy_and_the_models_own_limit(predictor) -> None:
    text = " ".join([make_text(random.Random(6), 12)] * 2)
    (by_place,) = predictor.summarize(text, max_sentences=6)
    (by_score,) = predictor.summarize(text, max_sentences=6, order="score")
    starts = [sentence.start for sentence in by_place.sentences]
    scores = [sentence.score for sentence in by_score.sentences]
    assert starts == sorted(starts) and scores == sorted(scores, reverse=True)
    assert set(by_place.sentences) == set(by_score.sentences)
    (varied,) = predictor.summarize(text, max_sentences=6, redundancy=0.9)
    assert len({sentence.text for sentence in varied.sentences}) == 6
    (own,) = predictor.summarize(make_text(random.Random(5), 40))
    words = sum(len(sentence.text.split()) for sentence in own.sentences)
    assert 80 < words <= predictor.model.config.summary_limit == 100


def test_mistakes_are_one_line_that_names_the_value(models, predictor) -> None:
    for wrong, told in (
        ({"order": "random"}, ["order", "random", "document", "score"]),
        ({"redundancy": 1.5}, ["redundancy", "1.5"]),
        ({"ratio": 0.0}, ["ratio", "0"]),
        ({"max_words": 0}, ["max_words", "0"]),
        ({"max_words": 3, "max_sentences": 1}, ["max_words", "max_sentences"]),
    ):
        line = mistake(predictor.summarize, "The cat.", **wrong)
        assert all(word in line for word in told), line
    for rule, told in (
        ({"max_word": 3}, ["max_word", "max_words"]),
        ("short", ["rule", "mapping"]),
    ):
        line = mistake(lambda rule=rule: next(predictor.predict("The cat.", rule=rule)))
        assert all(word in line for word in told), line
    assert next(predictor.predict(TEXTS[-1], rule={"max_sentences": 1})).summary
    line = mistake(lambda: next(predictor.predict("The cat.", "translate")))
    assert all(word in line for word in ("translate", "classify", "summarize", "embed"))
    limited = HierBertPredictor.from_pretrained(models["summaries"], device="cpu")
    line = mistake(limited.classify, "The cat.")
    assert all(word in line for word in ("classify", "summarize", "embed"))
    for options, told in (
        ({"device": "cuda:99"}, ["device", "cuda:99"]),
        ({"dtype": "int4"}, ["dtype", "int4", "float32", "bfloat16", "float16", "int8", "auto"]),
        ({"batch_tokens": 0}, ["batch_tokens", "0"]),
        ({"tokens_per_forward": -1}, ["tokens_per_forward", "-1"]),
    ):
        line = mistake(HierBertPredictor.from_pretrained, models["both"], **options)
        assert all(word in line for word in told), line
    nowhere = models["both"].with_name("bot")
    assert str(nowhere) in mistake(HierBertPredictor.from_pretrained, nowhere)


def test_pipelines_answer_as_the_predictor_in_any_company(models, predictor) -> None:
    classify = pipeline("document-classification", model=str(models["both"]))
    summarize = pipeline("document-summarization", model=str(models["both"]), max_sentences=2)
    labels, summaries = predictor.classify(TEXTS), predictor.summarize(TEXTS, max_sentences=2)
    for options in ({}, {"batch_tokens": 1}, {"batch_tokens": 500, "batch_size": 2}):
        for found, own in zip(classify(TEXTS, **options), labels, strict=True):
            assert found.keys() == {"label", "score", "probabilities"}
            assert found["label"] == own.label
            assert found["probabilities"] == pytest.approx(own.probabilities, abs=1e-5)
            assert found["score"] == found["probabilities"][own.label]
        for found, own in zip(summarize(TEXTS, **options), summaries, strict=True):
            assert found.keys() == {"summary", "sentences"} and found["summary"] == own.summary
            for row, sentence in zip(found["sentences"], own.sentences, strict=True):
                assert row == pytest.approx(asdict(sentence), abs=1e-5)
    # A budget of one call takes the place of the pipeline's.
    (half,) = predictor.summarize(TEXTS[-1], ratio=0.5)
    assert summarize(TEXTS[-1], ratio=0.5)["summary"] == half.summary
    assert len(half.sentences) > 2 == len(summarize(TEXTS[-1])["sentences"])
    assert classify(TEXTS[8])["label"] == labels[8].label
    whole = pipeline("document-summarization", model=str(models["summaries"]))
    assert whole(TEXTS[-1])["omission"]["segments"] > 0
    assert pipeline("document-classification", model=str(models["many"]))(TEXTS[:1])[0].keys() == {
        *("labels", "probabilities")
    }
    for given, told in (
        ({"max_word": 3}, ["max_word", "max_words"]),
        ({"max_words": 3, "ratio": 0.1}, ["max_words", "ratio"]),
        ({"order": "random"}, ["order", "random"]),
        ({"batch_size": 0}, ["batch_size", "0"]),
        ({"batch_tokens": 0}, ["batch_tokens", "0"]),
    ):
        line = mistake(summarize, TEXTS[0], **given)
        assert all(word in line for word in told), line
    table = datasets.Dataset.from_dict({"text": ["A cat."]})
    for none in (None, b"A cat.", {"text": "A cat."}, {"A cat."}, table, io.StringIO("A cat.")):
        assert "is no text" in mistake(summarize, none), none
        assert "document 1 " in mistake(summarize, ["A cat.", none]), none
    assert summarize(Document(TEXTS[-1], {"any": 1}))["summary"] == summarize(TEXTS[-1])["summary"]
    line = mistake(pipeline, "document-classification", model=str(models["summaries"]))
    assert "classif" in line
    assert "processor" in mistake(type(classify), model=classify.model)
    with torch.no_grad():
        classify.model.classifier.output.bias[0] = torch.nan
    assert "finite" in mistake(classify, TEXTS[0])
