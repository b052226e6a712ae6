"""Baselines of summaries that learn from other documents."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_models import build

from hierbert.scoring.sentence_models import LabelledSentences, draw_documents
from hierbert.scoring.summary_baselines import SUMMARY_BASELINES, learnt_scores

WORDS = ["sea", "law", "art", "day", "film", "road", "hill", "tree"]


@pytest.fixture(scope="module")
def corpus(encoders: dict[str, Path]):
    """Documents, and the place of the sentence of each that has the word of summaries."""
    _, processor = build(encoders["bert"])
    drawn = np.random.default_rng(0)
    texts, told = [], []
    for _ in range(16):
        own = [
            f"The {' '.join(drawn.choice(WORDS, 4))} of it." for _ in range(drawn.integers(3, 9))
        ]
        place = int(drawn.integers(len(own)))
        own[place] = f"The {' '.join(drawn.choice(WORDS, 4))} concludes."
        texts.append(" ".join(own))
        told.append(place)
    return processor.segment(texts), told


def labelled(documents, told) -> LabelledSentences:
    labels = [
        np.eye(len(one.sentence_spans))[place] for one, place in zip(documents, told, strict=True)
    ]
    return LabelledSentences(documents, np.concatenate([np.zeros(0), *labels]))


def vectors_of(documents, told):
    """A vector for each sentence whose second number is what it is about."""
    drawn = np.random.default_rng(1)
    places = {one.text: place for one, place in zip(documents, told, strict=True)}

    def read(asked):
        rows = [np.arange(len(one.sentence_spans)) == places[one.text] for one in asked]
        right = np.concatenate(rows).astype(np.float32)
        return np.stack([drawn.normal(size=len(right)).astype(np.float32), right], 1)

    return read


def test_words_and_vectors_find_what_others_were_summarized_by(corpus) -> None:
    documents, told = corpus
    asked, there = [*documents[10:]], told[10:]
    train = labelled(documents[:10], told[:10])
    found = learnt_scores(train, asked, vectors_of(documents, told))
    assert list(found) == ["Position prior", "Words", "Vectors"]
    for name in ("Words", "Vectors"):
        assert [int(own.argmax()) for own in found[name]] == there, name
        assert [len(own) for own in found[name]] == [len(one.sentence_spans) for one in asked]
    # Means of labels by twentieths.
    sums, counts = Counter[int](), Counter[int]()
    for one, place in zip(documents[:10], told[:10], strict=True):
        count = len(one.sentence_spans)
        counts.update(20 * n // count for n in range(count))
        sums[20 * place // count] += 1
    for one, own in zip(asked, found["Position prior"], strict=True):
        count = len(one.sentence_spans)
        places = [20 * n // count for n in range(count)]
        assert own.tolist() == pytest.approx([sums[p] / max(1, counts[p]) for p in places])


def test_what_cannot_be_learnt_is_left_out(corpus) -> None:
    documents, told = corpus
    asked = documents[10:]
    assert learnt_scores(labelled([], []), asked, None) == {}
    # Nothing can be held out of one document, however often it is there.
    same = labelled([documents[0]] * 5, [told[0]] * 5)
    assert list(learnt_scores(same, asked, vectors_of(documents, told))) == ["Position prior"]
    broken = learnt_scores(
        labelled(documents[:10], told[:10]),
        asked,
        lambda some: np.full((sum(len(one.sentence_spans) for one in some), 2), np.nan),
    )
    assert "Vectors" not in broken


def test_documents_are_drawn_where_sentences_are_too_many() -> None:
    few, many = np.full(50, 2_000), np.full(51, 2_000)
    assert draw_documents(few).tolist() == list(range(50))
    drawn = draw_documents(many)
    assert len(set(drawn.tolist())) == 50 and (np.diff(drawn) > 0).all()
    # However long they are, some are there.
    assert len(draw_documents(np.full(9, 10**6))) == 4


def test_both_ends_stand_before_the_middle() -> None:
    scores = SUMMARY_BASELINES["Lead + tail"](list("abcde"), "", 0)
    assert np.argsort(-np.array(scores), kind="stable").tolist() == [0, 4, 1, 3, 2]
