"""Segments: nothing lost, nothing doubled, within the budget, with true offsets."""

import random

import pytest
from conftest import KINDS, make_text, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hierbert.model.ragged import batches_by_tokens
from hierbert.model.segmentation import SegmentedDocument, Segmenter

texts = st.text(max_size=300) | st.lists(
    st.sampled_from(
        ["cat", "dog.", "The", "court,", "\n\n", "é", "漢字。", "😀", "\ud800", "\x00", " "]
    ),
    max_size=60,
).map(" ".join)


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: make_tokenizer(kind) for kind in KINDS}


def check(document: SegmentedDocument, segmenter: Segmenter, whole: bool = True) -> None:
    """What holds for every document without overlap, and without a limit where it is `whole`."""
    covered = [False] * len(document.text)
    for start, end in document.sentence_spans:
        assert 0 <= start <= end <= len(document.text)
        for place in range(start, end):
            assert not covered[place]
            covered[place] = True
    assert not whole or all(covered[i] or c.isspace() for i, c in enumerate(document.text))
    specials = len(segmenter.prefix_ids) + len(segmenter.suffix_ids)
    lengths = document.segment_lengths.tolist()
    assert len(lengths) == len(document.segment_spans) >= 1
    assert max(lengths) <= segmenter.room + specials
    assert sum(lengths) == len(document.input_ids) == len(document.sentence_index)
    start = 0
    for length in lengths:
        ids = document.input_ids[start : start + length].tolist()
        owners = document.sentence_index[start : start + length].tolist()
        assert ids[: len(segmenter.prefix_ids)] == segmenter.prefix_ids
        assert ids[length - len(segmenter.suffix_ids) :] == segmenter.suffix_ids
        inner = owners[len(segmenter.prefix_ids) : length - len(segmenter.suffix_ids)]
        assert -1 not in inner and inner == sorted(inner)
        start += length
    count = len(document.sentence_spans)
    owned = [owner for owner in document.sentence_index.tolist() if owner >= 0]
    counts = [owned.count(i) for i in range(count)]
    assert not whole or counts == document.sentence_tokens.tolist()
    home = document.sentence_segments.tolist()
    assert len(home) == count and home == sorted(home)
    assert all(0 <= segment < len(lengths) for segment in home)


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_of_a_text_is_in_a_segment_in_order(tokenizers, kind) -> None:
    tokenizer = tokenizers[kind]
    segmenter = Segmenter(tokenizer, max_tokens_per_segment=16)

    @settings(max_examples=60, deadline=None)
    @given(texts)
    def run(text: str) -> None:
        (document,) = segmenter([text])
        check(document, segmenter)
        plain = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if len(plain) == len(text):
            # The tokenizer alone, on the whole text, gives the same tokens.
            expected = tokenizer(plain, add_special_tokens=False)["input_ids"]
            owners = document.sentence_index.tolist()
            inner = [i for i, o in zip(document.input_ids.tolist(), owners, strict=True) if o >= 0]
            if document.sentence_spans:
                assert inner == expected

    run()


RED = "The cat is red."  # 5 tokens
CLAUSES = "the cat is red and the dog, the bird is green and blue and good"
SUNS = ["The cat. The dog.", "The bird.", "The sun. " * 5]
PARTS = {"list_unit": "segments"}


@pytest.mark.parametrize(
    ("kind", "room", "settings_", "document", "expected"),
    [
        # Whole sentences are packed greedily.
        ("bert", 10, {}, " ".join([RED] * 5), {"tokens": [10, 10, 5], "homes": [0, 0, 1, 1, 2]}),
        # A long sentence is cut after a clause: the comma lies in the second half of the room.
        ("bert", 10, {}, CLAUSES, {"tokens": [8, 8], "texts": [CLAUSES[:28], CLAUSES[28:]]}),
        # Not after a comma without white space behind it.
        (
            "bert",
            10,
            {},
            "the cat is red and good 1,234 the bird is green",
            {"texts": ["the cat is red and good ", "1,234 the bird is green"]},
        ),
        # A word longer than a segment is cut between tokens, but no character is split: here three
        # tokens each.
        ("roberta", 8, {}, "x" * 50, {"tokens": [8] * 6 + [2]}),
        ("roberta", 10, {}, "法院认为合同有效被告败诉", {"tokens": [9] * 4}),
        # Nothing to read is one segment of special tokens.
        ("bert", 10, {}, "", {"tokens": [0], "spans": [(0, 0)], "sentences": []}),
        ("bert", 10, {}, " \n\t ", {"tokens": [0], "spans": [(0, 0)], "sentences": []}),
        # The caller's sentences are taken as they are.
        (
            "bert",
            10,
            {},
            ["the cat. the dog", "", "bird\nfish"],
            {"sentences": ["the cat. the dog", "", "bird\nfish"], "counts": [5, 0, 2]},
        ),
        # The caller's segments are not merged, and cut only when too long; empty ones stay.
        (
            "bert",
            10,
            PARTS,
            SUNS,
            {"texts": [*SUNS[:2], "The sun. The sun. The sun.", "The sun. The sun."]},
        ),
        (
            "bert",
            10,
            {},
            [["The cat", "The dog"], ["The bird"]],
            {"sentences": ["The cat", "The dog", "The bird"], "homes": [0, 0, 1]},
        ),
        (
            "bert",
            10,
            PARTS,
            ["", "The cat.", " ", "", "The dog.", ""],
            {
                "tokens": [0, 3, 0, 0, 3, 0],
                "sentences": ["The cat.", "The dog."],
                "homes": [1, 4],
                "spans": [(0, 0), (1, 9), (10, 10), (12, 12), (13, 21), (22, 22)],
            },
        ),
        ("bert", 10, {}, [["The cat."], [], ["The dog."], []], {"tokens": [3, 0, 3, 0]}),
        # What stands before the first of them is filled by itself.
        ("bert", 10, {}, ["The cat.", "The dog.", ["The sun."]], {"tokens": [6, 3]}),
        ("bert", 10, PARTS, ["", ""], {"tokens": [0, 0], "sentences": []}),
        # A sentence that is partly kept counts whole: 10 of its 27 tokens are read.
        (
            "bert",
            10,
            {"max_segments": 1},
            "the cat is red and " * 5 + "good. The dog.",
            {"tokens": [10], "counts": [27], "omission": (2, 2, 20)},
        ),
        (
            "bert",
            10,
            {**PARTS, "max_segments": 1},
            ["The cat.", "", "The dog."],
            {"tokens": [3], "omission": (2, 1, 3)},
        ),
    ],
)
def test_what_becomes_of_a_document(tokenizers, kind, room, settings_, document, expected) -> None:
    segmenter = Segmenter(tokenizers[kind], max_tokens_per_segment=room + 2, **settings_)
    (made,) = segmenter([document])
    check(made, segmenter, whole=made.omission is None)
    omission = made.omission
    found = {
        "tokens": [length - 2 for length in made.segment_lengths.tolist()],
        "spans": made.segment_spans,
        "texts": [made.text[start:end] for start, end in made.segment_spans],
        "sentences": made.sentences,
        "counts": made.sentence_tokens.tolist(),
        "homes": made.sentence_segments.tolist(),
        "omission": omission and (omission.segments, omission.sentences, omission.tokens),
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("room", "segments", "homes"),
    [
        (15, [[0, 1, 2], [2, 3, 4], [4, 5, 6]], [0, 0, 0, 1, 1, 2, 2]),
        # Nothing is left of the room.
        (10, [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6]], [0, 0, 1, 2, 3, 4, 5]),
    ],
)
def test_overlap_repeats_whole_sentences_and_counts_them_once(
    tokenizers, room, segments, homes
) -> None:
    segmenter = Segmenter(tokenizers["bert"], max_tokens_per_segment=room + 2, overlap_sentences=1)
    (document,) = segmenter([" ".join([RED] * 7)])
    owners = document.sentence_index.split(document.segment_lengths.tolist())
    assert [sorted({*own.tolist()} - {-1}) for own in owners] == segments
    assert document.sentence_segments.tolist() == homes
    assert document.sentence_tokens.tolist() == [5] * 7


def test_a_sentence_that_goes_on_in_the_next_segment_is_not_repeated(tokenizers) -> None:
    segmenter = Segmenter(tokenizers["bert"], max_tokens_per_segment=8, overlap_sentences=1)
    # Its second piece would leave room for the first.
    (document,) = segmenter(["The cat. Red green, blue cat dog qqqqqqqqq."])
    segments = [document.text[slice(*span)] for span in document.segment_spans]
    assert segments == ["The cat. Red green, ", "blue cat dog ", "qqqqqq", "qqq."]


@pytest.mark.parametrize(
    ("policy", "limit", "kept"),
    [
        ("head", 3, [0, 1, 2]),
        ("tail", 3, [7, 8, 9]),
        ("head_tail", 3, [0, 1, 9]),
        ("head_tail", 4, [0, 1, 8, 9]),
        ("spread", 4, [0, 3, 6, 9]),
        ("spread", 1, [5]),
        ("head", 10, list(range(10))),
    ],
)
def test_max_segments_keeps_by_policy_and_reports_the_rest(tokenizers, policy, limit, kept) -> None:
    segmenter = Segmenter(
        tokenizers["bert"],
        max_tokens_per_segment=8,
        max_segments=limit,
        max_segments_policy=policy,
    )
    names = ["cat", "dog", "bird", "fish", "sun", "moon", "star", "river", "hill", "tree"]
    (document,) = segmenter([" ".join(f"The {name} is red." for name in names)])
    assert [text.split()[1] for text in document.sentences] == [names[i] for i in kept]
    lost = 10 - len(kept)
    if not lost:
        assert document.omission is None
        return
    characters = sum(len(f"The {name} is red.") for i, name in enumerate(names) if i not in kept)
    assert vars(document.omission) == {
        "segments": lost,
        "sentences": lost,
        "tokens": 5 * lost,
        "characters": characters,
    }


def test_truncation_and_padding_of_the_tokenizer_file_do_not_matter(tokenizers, encoders) -> None:
    plain = make_tokenizer("bert")
    limited = make_tokenizer("bert")
    limited.backend_tokenizer.enable_truncation(8)
    limited.backend_tokenizer.enable_padding(length=8)
    text = make_text(random.Random(0), 200)  # more than 1,000 words
    assert len(text.split()) > 1000
    (expected,), (document,) = Segmenter(plain)([text]), Segmenter(limited)([text])
    assert document.input_ids.equal(expected.input_ids)


def test_a_long_text_is_tokenized_in_parts_without_a_trace(tokenizers) -> None:
    text = make_text(random.Random(1), 4000)
    assert len(text) > 100_000
    for kind in ("bert", "roberta"):
        segmenter = Segmenter(tokenizers[kind])
        (document,) = segmenter([text])
        inner = document.input_ids[document.sentence_index >= 0].tolist()
        assert inner == tokenizers[kind](text, add_special_tokens=False)["input_ids"]
        check_counts = document.sentence_tokens.sum().item()
        assert check_counts == len(inner)


def make_unigram() -> PreTrainedTokenizerFast:
    """Like XLM-RoBERTa's: the special tokens are pieces that the text could be spelt with."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(name, 0.0) for name in special]
    pieces += [(letter, -3.0) for letter in "▁abcdefghijklmnopqrstuvwxyzTCLSEP[]<>/."]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


@pytest.mark.parametrize("kind", [*KINDS, "unigram"])
def test_no_text_makes_a_special_token(tokenizers, kind) -> None:
    tokenizer = make_unigram() if kind == "unigram" else tokenizers[kind]
    segmenter = Segmenter(tokenizer)
    text = "The [SEP] cat</s>. " + " ".join(["<s>", "[CLS]", *tokenizer.all_special_tokens])
    (document,) = segmenter([text])
    check(document, segmenter)
    inner = document.input_ids[document.sentence_index >= 0].tolist()
    assert not (set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}) & set(inner)
    if kind != "unigram":
        assert tokenizer.unk_token_id not in inner
    # The tokenizer is left as it was.
    assert tokenizer.sep_token_id in tokenizer(tokenizer.sep_token)["input_ids"][1:-1]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("mark", "，；：、،؛")
def test_clauses_without_white_space_are_cut_after_their_marks(tokenizers, kind, mark) -> None:
    room = 12 if kind == "bert" else 40  # tokens: one a character, or up to three
    segmenter = Segmenter(tokenizers[kind], max_tokens_per_segment=room + 2)
    text = mark.join(["法院认为", "合同有效", "被告败诉", "原告胜诉", "本案终结"] * 3) + "。"
    (document,) = segmenter([text])
    check(document, segmenter)
    pieces = [text[start:end] for start, end in document.segment_spans]
    assert len(pieces) > 2 and "".join(pieces) == text
    assert all(piece[0] != mark for piece in pieces)
    assert all(piece[-1] == mark for piece in pieces[:-1])


def test_a_segmenter_without_room_is_refused(tokenizers) -> None:
    with pytest.raises(ValueError, match="leaves no room"):
        Segmenter(tokenizers["bert"], max_tokens_per_segment=2)


def test_a_tokenizer_without_special_tokens_adds_none(tokenizers) -> None:
    bare = make_tokenizer("bert")
    bare.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    texts = [RED * 9, "", ["", RED], RED]
    with_them = Segmenter(tokenizers["bert"], max_tokens_per_segment=12)(texts)
    without = Segmenter(bare, max_tokens_per_segment=10)(texts)
    for usual, found in zip(with_them, without, strict=True):
        assert found.segment_spans == usual.segment_spans
        assert found.sentence_spans == usual.sentence_spans
        of_text = [len(ids) - 2 for ids in usual.input_ids.split(usual.segment_lengths.tolist())]
        # The model needs a token of every segment.
        assert found.segment_lengths.tolist() == [max(1, size) for size in of_text]
        inner = usual.input_ids[usual.sentence_index >= 0].tolist()
        assert found.input_ids[found.sentence_index >= 0].tolist() == inner
    assert without[1].input_ids.tolist() == [bare.pad_token_id]


def test_batches_are_filled_with_documents_in_order(tokenizers) -> None:
    texts = [RED, "", RED, RED * 9, RED, RED, RED]  # 7, 2, 7, 47, 7, 7 and 7 tokens
    documents = Segmenter(tokenizers["bert"])(texts)
    for tokens, most, sizes in (
        (16, None, [3, 1, 2, 1]),
        (16, 2, [2, 1, 1, 2, 1]),
        (1, None, [1] * 7),
        (10**6, None, [7]),
    ):
        batches = list(batches_by_tokens(documents, lambda one: one.tokens, tokens, most))
        assert [len(batch) for batch in batches] == sizes
        assert [document for batch in batches for document in batch] == documents
