"""Hostile texts through the segmenter and a model: nothing lost, nothing too long, all finite."""

import math
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import KINDS, make_tokenizer
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_models import build

from hierbert import HierBert, HierBertProcessor, split_sentences
from hierbert.extend import SegmentedDocument

ODD = [
    "\x00", "\ud800", "\udfff\ud800", "\ufeff", "\u200b", "\u202e", "\u0301" * 50, "e\u0301\u0323",
    "👩‍👩‍👧‍👦", "🇩🇪", "\U000e0041", "ﷺ", "שלום עולם.", "مرحبا بالعالم؟", "漢字。", "ไทย ไทย",
    "नमस्ते।", "\u2028",
    "\u2029", "\x85", "\x1b[2J", "<script>", "[SEP]", "<s>", "</s>", "[PAD]", "##a", "Ġ", "\r\n",
    "\t", " " * 40, "a" * 300, "1.2.3", "...", "?!", "Mr. X", "\U0010ffff", "\ufffe", "𝔘", "ß", "İ",
    "cat dog.", "The court.", "\n\n", "\u3000", "\xa0", "﷽",
]  # fmt: skip
odd_text = st.text(st.characters(), max_size=40) | st.lists(st.sampled_from(ODD), max_size=12).map(
    "".join
)
documents = st.one_of(
    odd_text,
    st.lists(odd_text, max_size=5),
    st.lists(st.lists(odd_text, max_size=3), max_size=4),
)
# Documents of 100,000 characters made of a few, which a segmenter must read in linear time: in
# quadratic time each would take minutes, and the patience of the suite is the limit.
ENDLESS = {
    "one letter": "a",
    "spaces": " ",
    "a combining mark": "\u0301",
    "NUL": "\x00",
    "a surrogate": "\ud800",
    "an emoji": "😀",
    "a family of emoji": "👩‍👩‍👧‍👦",
    "a full stop": ".",
    "a comma": ",",
    "a line break": "\n",
    "a blank line": "a\n\n",
    "ideographs": "漢",
    "right to left": "ש ",
    "an invisible mark": "\u200b",
    "a letter that grows in lower case": "İ",
    "a special token": "[SEP]",
}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {kind: make_tokenizer(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def predictor(encoders: dict[str, Path]) -> HierBert:
    return HierBert(*build(encoders["bert"]), batch_tokens=300)


def segment(processor: HierBertProcessor, given: Any) -> SegmentedDocument:
    """One document, which keeps what every document does, with any overlap and any limit."""
    (document,) = processor.segment([given])
    text = document.text
    spans = document.sentence_spans
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    lengths = document.segment_lengths.tolist()
    specials = processor.tokenizer.num_special_tokens_to_add()
    most = processor.max_tokens_per_segment
    assert len(lengths) == len(document.segment_spans) >= 1
    assert all(specials <= length <= most for length in lengths)
    assert sum(lengths) == len(document.input_ids) == len(document.sentence_index)
    assert all(0 <= start <= end <= len(text) for start, end in document.segment_spans)
    if not processor.overlap_sentences:
        parts = document.segment_spans
        assert all(before[1] <= after[0] for before, after in pairwise(parts))
    home = document.sentence_segments.tolist()
    assert home == sorted(home) and all(0 <= number < len(lengths) for number in home)
    assert len(home) == len(spans) == len(document.sentence_tokens)
    known = len(processor.tokenizer)
    assert all(0 <= token < known for token in document.input_ids.tolist())
    owners = document.sentence_index.tolist()
    assert all(-1 <= owner < len(spans) for owner in owners)
    # Every character is in a segment or white space, or its number is reported.
    covered = bytearray(len(text))
    for start, end in document.segment_spans:
        covered[start:end] = b"\x01" * (end - start)
    lost = sum(1 for sign, there in zip(text, covered, strict=True) if not there and sign.strip())
    omission = document.omission
    assert lost <= (omission.characters if omission else 0)
    if omission is None:
        assert lost == 0
        assert processor.max_segments is None or len(lengths) <= processor.max_segments
    else:
        assert len(lengths) == processor.max_segments
        assert omission.segments >= 1 and omission.tokens >= 0
    return document


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_any_document_with_any_settings_loses_nothing_unsaid(tokenizers, kind) -> None:
    tokenizer = tokenizers[kind]

    @settings(max_examples=250, deadline=None)
    @given(
        document=documents,
        budget=st.integers(3, 40),
        overlap=st.integers(0, 4) | st.just(10**9),
        limit=st.none() | st.integers(1, 4),
        policy=st.sampled_from(["head", "tail", "head_tail", "spread"]),
        unit=st.sampled_from(["sentences", "segments"]),
    )
    def run(document, budget, overlap, limit, policy, unit) -> None:
        processor = HierBertProcessor(
            tokenizer,
            max_tokens_per_segment=budget,
            overlap_sentences=overlap,
            max_segments=limit,
            max_segments_policy=policy,
            list_unit=unit,
        )
        found = segment(processor, document)
        # The same in company.
        first, second = processor.segment([document, "A cat."])
        assert first.input_ids.equal(found.input_ids)
        assert second.sentences == ["A cat."] or limit is not None or budget < 6

    run()


@pytest.mark.parametrize("text", ["0\r\r", "a.   b", " \n\n\n a", "a\n\n\n\n\nb\t\t\t"])
def test_white_space_that_fills_segments_has_a_place_in_the_text(tokenizers, text) -> None:
    """Byte-level tokens of white space: the spans of their segments ended before they began."""
    processor = HierBertProcessor(tokenizers["roberta"], max_tokens_per_segment=3)
    segment(processor, text)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("name", ENDLESS)
def test_endless_repetition_is_segmented_in_linear_time(tokenizers, name, kind) -> None:
    unit = ENDLESS[name]
    text = unit * (100_000 // len(unit))
    processor = HierBertProcessor(tokenizers[kind], max_tokens_per_segment=128, overlap_sentences=2)
    segment(processor, text)


def test_a_list_of_many_sentences_is_segmented_in_linear_time(tokenizers) -> None:
    chance = random.Random(5)
    many = [chance.choice(["", " ", "a cat.", "\ud800"]) for _ in range(30_000)]
    processor = HierBertProcessor(
        tokenizers["bert"], max_tokens_per_segment=64, overlap_sentences=3
    )
    for document in (many, [many[at : at + 3] for at in range(0, len(many), 3)]):
        found = segment(processor, document)
        assert len(found.sentence_spans) == len(many)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch=st.lists(documents, min_size=1, max_size=5))
def test_any_documents_get_finite_answers_in_their_order(predictor, batch) -> None:
    found = list(predictor.predict(batch, ("classify", "summarize", "embed")))
    assert len(found) == len(batch)
    for document, answer in zip(batch, found, strict=True):
        assert all(math.isfinite(value) for value in answer.probabilities.values())
        assert abs(sum(answer.probabilities.values()) - 1) < 1e-4
        assert all(math.isfinite(float(value)) for value in answer.document_vector)
        if isinstance(document, str):
            for sentence in answer.sentences or []:
                assert sentence.text and sentence.text in document
                assert document[sentence.start : sentence.end] == sentence.text


@settings(max_examples=150, deadline=None)
@given(odd_text, odd_text)
def test_a_blank_line_keeps_texts_apart(one: str, other: str) -> None:
    """What stands before a blank line shares no sentence with what stands after it."""
    assume(one.strip() and other.strip())
    text = f"{one}\n\n{other}"
    for start, end in split_sentences(text):
        assert not start < len(one) < len(one) + 2 < end
