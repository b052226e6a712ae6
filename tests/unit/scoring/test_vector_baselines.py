"""Linear models of vectors: what each reads of a document, and how it answers."""

from dataclasses import replace

import numpy as np
import pytest

from hierbert.scoring import vector_baselines
from hierbert.scoring.label_baselines import LABEL_BASELINES, label_baselines
from hierbert.scoring.labels import label_scores
from hierbert.scoring.vector_baselines import (
    DocumentVectors,
    VectorBaseline,
    predict_by_vectors,
)

NAMES = {"mean_vectors", "first_512_tokens", "head_and_tail", "segment_vote"}
OF_VECTORS = [one for one in LABEL_BASELINES if isinstance(one, VectorBaseline)]
TEXTS = [f"text {number}" for number in range(60)]


def document(segments, tokens=(), sentences=None) -> DocumentVectors:
    """Sentences are one-hot, so that a mean of tokens shows how many there are of each."""
    if sentences is None:
        sentences = np.eye(len(tokens), np.shape(segments)[1])
    vectors = (np.array(each, dtype=np.float32) for each in (segments, sentences))
    return DocumentVectors(*vectors, np.array(tokens, dtype=np.int64))


@pytest.mark.parametrize(
    ("tokens", "first", "both"),
    [
        ([100, 500, 300, 400], [100, 410, 0, 0], [100, 28, 0, 382]),
        ([40, 400, 70, 1], [40, 400, 70, 0], [40, 399, 70, 1]),
        ([90, 0, 200, 230], [90, 0, 200, 220], [90, 0, 38 + 152, 230]),
        ([5000], [510], [510]),
        ([], [0], [0]),
    ],
)
def test_the_first_and_the_last_tokens_are_as_many_as_one_segment_holds(
    tokens, first, both
) -> None:
    given = document(np.zeros((2, 4)), tokens)
    for rows, counts in (
        (vector_baselines.first_tokens, first),
        (vector_baselines.head_and_tail, both),
    ):
        expected = np.pad(np.array(counts) / max(1, sum(counts)), (0, 4 - len(counts)))
        assert rows(given) == pytest.approx(expected[None], abs=1e-6)


def corpus(several: bool, count: int = 60):
    """Documents of three segments in which labels lie along axes; the first tokens know nothing."""
    draw = np.random.default_rng(0)
    has = draw.integers(0, 2, (count, 3)) if several else np.eye(3, dtype=int)[np.arange(count) % 3]
    documents = []
    for own in has:
        segments = np.pad(own + draw.normal(0, 0.1, (3, 3)), ((0, 0), (0, 2)))
        documents.append(document(segments, [600, 600], draw.normal(0, 1, (2, 5))))
    return documents, has if several else has.argmax(1)


@pytest.mark.parametrize("several", [False, True])
def test_vectors_tell_what_lies_in_them(several, monkeypatch) -> None:
    documents, labels = corpus(several)
    kind = "multi_label" if several else "single_label"
    metric = "micro_f1" if several else "accuracy"

    def scored(train=documents.__getitem__):
        asked = documents[45:].__getitem__
        found = predict_by_vectors(OF_VECTORS, TEXTS[:45], labels[:45], train, asked, 15)
        return {name: label_scores(kind, given, labels[45:]) for name, given in found.items()}

    found = scored()
    assert found.keys() == NAMES
    for name in NAMES:
        assert (found[name][metric] == 1.0) == (name in ("mean_vectors", "segment_vote")), name
    if several:
        assert found["segment_vote"]["map"] == 1.0 > found["first_512_tokens"]["map"]
    # Of many documents some are drawn, of their segments too, and nothing else is read.
    monkeypatch.setattr(vector_baselines, "_MOST_DOCUMENTS", 20)
    monkeypatch.setattr(vector_baselines, "_MOST_ROWS", 45)
    read, sizes, fit = [], [], vector_baselines.fit_logistic

    def fit_noted(rows, *more):
        sizes.append(len(rows))
        return fit(rows, *more)

    monkeypatch.setattr(vector_baselines, "fit_logistic", fit_noted)
    drawn = scored(lambda place: read.append(place) or documents[place])
    assert len(set(read)) == len(read) == 20 and sizes == [20, 20, 20, 40]
    assert drawn["mean_vectors"][metric] == drawn["segment_vote"][metric] == 1.0


def test_segments_vote_each_by_itself() -> None:
    """One segment far on one side outweighs two on the other in the mean, not in the vote."""
    documents = [document([[2.0 * (-1) ** n], [2.2 * (-1) ** n]]) for n in range(40)]
    readers = documents.__getitem__, [document([[30.0], [-3.0], [-3.0]])].__getitem__
    labels = np.arange(40) % 2
    found = predict_by_vectors(OF_VECTORS, TEXTS[:40], labels, *readers, 1)
    assert found["segment_vote"].tolist() == [1] and found["mean_vectors"].tolist() == [0]


def test_what_cannot_be_fitted_is_left_out(capsys) -> None:
    documents, labels = corpus(several=False)

    def found(kind="single_label", own=labels, texts=TEXTS, documents=documents):
        readers = documents.__getitem__, documents.__getitem__
        return label_baselines(kind, texts, own, texts, readers).keys() & NAMES

    assert found() == NAMES
    assert not found("regression", labels * 1.0)
    assert not found(texts=["one", "two"] * 30)
    assert not found(own=np.ones(60, dtype=int))
    broken = [*documents[:-1], document(np.full((1, 5), np.nan), [600, 600], np.ones((2, 5)))]
    assert found(documents=broken) == {"first_512_tokens", "head_and_tail"}
    assert "Vote of segments is left out" in capsys.readouterr().err


def test_a_baseline_of_vectors_is_one_entry(monkeypatch) -> None:
    last = VectorBaseline("last", "Last segment", lambda vectors: vectors.segments[-1:])
    monkeypatch.setattr("hierbert.scoring.label_baselines.LABEL_BASELINES", [last])
    documents, labels = corpus(several=False)
    readers = documents.__getitem__, documents.__getitem__
    found = label_baselines("single_label", TEXTS, labels, TEXTS, readers)
    assert list(found) == ["last"] and found["last"].tolist() == labels.tolist()
    many = np.arange(60)
    monkeypatch.setattr(
        "hierbert.scoring.label_baselines.LABEL_BASELINES", [replace(last, most_labels=59)]
    )
    assert not label_baselines("single_label", TEXTS, many, TEXTS, readers)
