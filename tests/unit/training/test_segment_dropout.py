"""Some segments of a document in each step: what stays, and when it differs."""

import random
from dataclasses import fields

import pytest
import torch
from conftest import make_text, make_tokenizer
from small_runs import outcome
from training import error_of

from hierbert.cli.train import main
from hierbert.model.segmentation import SegmentedDocument, Segmenter
from hierbert.tasks.prepared import PreparedDocument
from hierbert.training.segment_dropout import SegmentDropout, keep_segments


def segmented(**settings: object) -> SegmentedDocument:
    segmenter = Segmenter(make_tokenizer("bert"), max_tokens_per_segment=24, **settings)
    (document,) = segmenter([make_text(random.Random(3), 30)])
    return document


@pytest.mark.parametrize("policy", ["head", "tail", "head_tail", "spread"])
def test_what_stays_is_what_the_segmenter_leaves_under_a_limit(policy) -> None:
    expected = segmented(max_segments=4, max_segments_policy=policy)
    whole = segmented()
    places = [whole.segment_spans.index(span) for span in expected.segment_spans]
    found = keep_segments(whole, places[::-1])
    for field in fields(SegmentedDocument):
        if field.name != "omission":
            one, other = getattr(found, field.name), getattr(expected, field.name)
            assert torch.equal(one, other) if torch.is_tensor(one) else one == other, field.name


def test_tokens_of_a_sentence_that_begins_elsewhere_are_of_none() -> None:
    tokenizer = make_tokenizer("bert")
    (whole,) = Segmenter(tokenizer, max_tokens_per_segment=8)(["cat " * 30 + "."])
    assert len(whole.sentence_spans) == 1
    found = keep_segments(whole, [1, 2])
    assert found.sentence_spans == [] and found.sentence_segments.tolist() == []
    assert found.sentence_index.unique().tolist() == [-1]
    assert found.input_ids.tolist() == whole.input_ids[8:24].tolist()


def test_each_epoch_reads_another_part_and_the_longest_bounds_all() -> None:
    document = PreparedDocument("a", segmented())
    dropout = SegmentDropout(3, seed=5)
    spans = [dropout.draw(document, 7, epoch).segmented.segment_spans for epoch in range(6)]
    assert all(len(own) == 3 and own == sorted(own) for own in spans)
    assert len({tuple(own) for own in spans}) > 3
    assert spans[2] == SegmentDropout(3, seed=5).draw(document, 7, 2).segmented.segment_spans
    most = dropout.longest(document).tokens
    assert most == sum(sorted(document.segmented.segment_lengths.tolist())[-3:])
    for unchanged in (SegmentDropout(None, 5), SegmentDropout(1_000, 5)):
        assert unchanged.draw(document, 0, 0) is document is unchanged.longest(document)


def test_a_run_reads_a_part_and_refuses_what_needs_all(arguments, tmp_path, capsys) -> None:
    ends = {}
    for most in ("", "1", "1000"):
        run = f"run_dir={tmp_path / f'most{most}'}"
        assert main(arguments(f"training.segments_per_document={most}", run)) == 0
        ends[most] = outcome(tmp_path / f"most{most}")
    assert ends[""] == ends["1000"] != ends["1"]
    some = "training.segments_per_document=4"
    told = error_of(capsys, arguments(some, "training.freeze_encoder=true"))
    assert "training.segments_per_document=4" in told and "freeze_encoder" in told
    told = error_of(capsys, arguments(some, "data.summary_column=summary"))
    assert "training.segments_per_document=4" in told and "labels alone" in told
