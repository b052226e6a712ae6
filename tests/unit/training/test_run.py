"""Figures of a run that are means or places in an order, against the same by hand."""

import random
from types import SimpleNamespace

import pytest
from commands import read_jsonl, write_jsonl
from conftest import make_rows, make_tokenizer

from hierbert.cli.train import main
from hierbert.data.document import Example
from hierbert.errors import DataError
from hierbert.model.segmentation import Segmenter
from hierbert.tasks.prepared import lengths_of
from hierbert.tasks.summarization import Summarization


def test_lengths_are_those_of_documents() -> None:
    for count, ninth in ((10, 9), (11, 10), (1, 1), (20, 18)):
        sizes = random.Random(count).sample(range(1, count + 1), count)
        lengths = lengths_of([SimpleNamespace(tokens=size) for size in sizes])
        assert lengths["p90_tokens"] == ninth and lengths["longest_tokens"] == count
        assert lengths["tokens"] == count * (count + 1) / 2


def test_train_losses_are_means_since_the_line_before(arguments, tmp_path) -> None:
    write_jsonl(tmp_path / "train.jsonl", make_rows(12, seed=1))
    still = [
        *("training.epochs=1", "training.documents_per_batch=4", "training.freeze_encoder=true"),
        *("training.head_learning_rate=1e-12", "model.dropout=0", "data.test="),
    ]
    losses = {}
    for every in (1, 3):
        more = [f"training.eval_every_steps={every}", f"run_dir={tmp_path / str(every)}"]
        assert main(arguments(*still, *more)) == 0
        lines = read_jsonl(tmp_path / str(every) / "metrics.jsonl")
        losses[every] = [line["train.loss"] for line in lines if "train.loss" in line]
    assert len(losses[1]) == 3 and len(losses[3]) == 1
    assert len({round(loss, 4) for loss in losses[1]}) > 1
    assert sum(losses[1]) / 3 == pytest.approx(losses[3][0], abs=1e-6)


def test_cached_sentence_labels_are_those_of_the_sentences_at_hand(tmp_path) -> None:
    text = "The cat sat.\nA dog ran."
    example = Example("a", text, {"summary": "A dog ran."}, "here")
    task = Summarization()
    for document, count in ((text, 2), ([text], 1), (text, 2)):
        segmented = Segmenter(make_tokenizer("bert"))([document])
        assert segmented[0].text == text
        (target,) = task.prepare([example], segmented, tmp_path, "test")
        assert target is not None and len(target.sentence_labels) == count


@pytest.mark.parametrize(
    ("text", "spans", "labels"),
    [
        ("The cat sat.\nA dog ran.", [[0, 12]], [1, 0]),
        ("The cat sat.\nA dog ran.", [[4, 7], [7, 10], [5, 8], [13, 23]], [0.5, 1]),
        ("The cat sat.\nA dog ran.", [], [0, 0]),
        (["The cat sat.", "A dog ran.", "It rained."], [[1, 3]], [0, 1, 1]),
        ("", [], []),
    ],
)
def test_what_people_have_marked_is_the_label(tmp_path, text, spans, labels) -> None:
    segmented = Segmenter(make_tokenizer("bert"))([text])
    task, summary = Summarization(), "A dog ran."
    for _ in range(2):  # labelled, and as it was cached
        given = Example("a", text, {"summary": summary, "spans": spans}, "here")
        (target,) = task.prepare([given], segmented, tmp_path, "test")
        assert target is not None and target.marked
        assert target.sentence_labels == pytest.approx(labels)
        given = Example("a", text, {"summary": summary, "spans": None}, "here")
        (target,) = task.prepare([given], segmented, tmp_path, "test")
        assert target is not None and not target.marked
        given = Example("a", text, {"summary": None, "spans": spans}, "here")
        assert task.prepare([given], segmented, tmp_path, "test") == [None]


def test_of_several_references_the_labels_are_the_mean() -> None:
    text = "A cat sat here. A dog ran off. The sun is red."
    segmented = Segmenter(make_tokenizer("bert"))([text])
    given = Example("a", text, {"summary": ["A cat sat here.", "A dog ran off."]}, "here")
    (target,) = Summarization("oracle").prepare([given], segmented, None, "test")
    assert target is not None and target.sentence_labels == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("policy", ["head", "tail"])
def test_marks_of_what_is_left_out_of_a_document_go_with_it(policy) -> None:
    words = ["red", "blue", "green", "white", "black", "grey"]
    text = [f"It is {word} there and here." for word in words]
    cut = Segmenter(
        make_tokenizer("bert"),
        max_tokens_per_segment=16,
        max_segments=1,
        max_segments_policy=policy,
    )
    [segmented] = cut([text])
    given = Example("a", text, {"summary": "A.", "spans": [[0, 1], [5, 6]]}, "here")
    (target,) = Summarization().prepare([given], [segmented], None, "test")
    assert 0 < len(segmented.sentence_spans) < 5 and target is not None
    kept = zip(segmented.sentences, target.sentence_labels, strict=True)
    assert {one for one, label in kept if label} == {text[0] if policy == "head" else text[5]}


@pytest.mark.parametrize(
    ("text", "end", "told"),
    [("The cat sat.", 13, "12 characters"), (["A.", "B."], 3, "2 sentences")],
)
def test_what_is_marked_behind_the_end_is_refused(text, end, told) -> None:
    segmented = Segmenter(make_tokenizer("bert"))([text])
    given = Example("a", text, {"summary": None, "spans": [[0, end]]}, "marks.jsonl, line 7")
    with pytest.raises(DataError, match=told) as raised:
        Summarization().prepare([given], segmented, None, "test")
    assert "marks.jsonl, line 7" in str(raised.value) and "data.columns.spans" in str(raised.value)
