"""The pipelines of transformers: the predictor's answers, and what they refuse."""

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import make_rows
from inference import save_model
from transformers import pipeline

from hierbert import HierBertPredictor

TEXTS = [str(row["text"]) for row in make_rows(5, seed=2, sentences=40)] + ["", "Ünï 😀. 漢字。"]


@pytest.fixture(scope="module")
def both(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with both heads."""
    return save_model(tmp_path_factory.mktemp("saved") / "model", encoders["bert"])


def test_pipelines_answer_as_the_predictor_in_any_company(both) -> None:
    predictor = HierBertPredictor.from_pretrained(both, device="cpu")
    # The folder has no code files: the registered pipelines are found by `import hierbert`.
    classify = pipeline("document-classification", model=str(both))
    summarize = pipeline("document-summarization", model=str(both), max_sentences=2)
    labels, summaries = predictor.classify(TEXTS), predictor.summarize(TEXTS, max_sentences=2)
    for options in ({}, {"batch_tokens": 1}, {"batch_tokens": 500, "batch_size": 2}):
        for found, own in zip(classify(TEXTS, **options), labels, strict=True):
            assert found["label"] == own.label
            assert found["probabilities"] == pytest.approx(own.probabilities, abs=1e-5)
            assert found["score"] == found["probabilities"][own.label]
        for found, own in zip(summarize(TEXTS, **options), summaries, strict=True):
            assert found["summary"] == own.summary
            for row, sentence in zip(found["sentences"], own.sentences, strict=True):
                assert row == pytest.approx(asdict(sentence), abs=1e-5)
    assert classify(TEXTS[0])["label"] == labels[0].label
    assert summarize(TEXTS[0], max_sentences=1, order="score")["sentences"][0]["score"] == (
        pytest.approx(max(s.score for s in predictor.summarize(TEXTS[0], ratio=1.0)[0].sentences))
    )


def test_a_pipeline_reads_only_as_far_as_it_is_asked(both) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            read.append(1)
            yield "The film was good."

    answers = pipeline("document-classification", model=str(both))(endless(), batch_size=4)
    assert not read and next(answers)["label"] and len(read) <= 64


def test_a_pipeline_says_what_was_left_out(encoders, tmp_path) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"], max_segments=1)
    own = HierBertPredictor.from_pretrained(folder, device="cpu").classify(TEXTS[:1])[0].omission
    for task in ("document-classification", "document-summarization"):
        long, short = pipeline(task, model=str(folder))([TEXTS[0], "A film."])
        assert long["omission"] == asdict(own) and own.segments > 0
        assert "omission" not in short


def test_pipelines_refuse_what_they_do_not_know(both, encoders, tmp_path) -> None:
    summarize = pipeline("document-summarization", model=str(both))
    for given_, said in (
        ({"max_word": 3}, "max_word is not allowed here; allowed are batch_tokens, max_words"),
        ({"max_words": 3, "ratio": 0.1}, "exactly one of"),
        ({"order": "random"}, "order='random' is not allowed; choose from document, score"),
        ({"redundancy": 2}, "redundancy=2 is not allowed: 0 to 1"),
        ({"batch_tokens": 0}, "batch_tokens=0 is not allowed"),
        ({"batch_size": 0}, "batch_size=0 is not allowed"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            summarize(TEXTS[0], **given_)
    folder = save_model(tmp_path / "model", encoders["bert"], summarization=False)
    with pytest.raises(ValueError, match="this model cannot summarize: it has no head for it"):
        pipeline("document-summarization", model=str(folder))
    with pytest.raises(ValueError, match="needs the model's processor"):
        type(summarize)(model=summarize.model)


def test_saving_a_pipeline_keeps_its_processor(both, tmp_path) -> None:
    before = pipeline("document-classification", model=str(both))
    before.save_pretrained(tmp_path / "saved")
    after = pipeline(
        "document-classification", model=str(tmp_path / "saved"), trust_remote_code=True
    )
    assert after(TEXTS) == before(TEXTS)
