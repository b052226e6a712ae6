"""Words of a question together with those of a sentence: the sum, alone, in batches and of none."""

import binascii
import math
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from small_models import build

from hierbert.model.heads import Structure
from hierbert.model.query_pairs import BUCKETS, QueryPairs

SENTENCES = ["The walls are high, the walls.", "Nobody paid.", "???", "It rained on the harbour."]


@pytest.fixture(scope="module")
def asked(encoders: dict[str, Path]):
    _, processor = build(encoders["bert"], classification=False, summarization=True)
    [document] = processor.segment([SENTENCES])
    many = " ".join(f"word{number} {number}" for number in range(40))
    queries = processor.segment(["Who paid for walls?", "???", many])
    return [document, *(replace(document, query=query) for query in queries)]


def fitted() -> QueryPairs:
    pairs = QueryPairs()
    pairs.weights.copy_(torch.randn(BUCKETS, generator=torch.Generator().manual_seed(0)))
    return pairs


def scores(pairs: QueryPairs, documents) -> list[float]:
    lengths = torch.tensor([len(one.sentence_spans) for one in documents])
    structure = Structure(torch.ones_like(lengths), lengths)
    return pairs(pairs.collate(documents), structure).flatten().tolist()


def hashed(word: str) -> int:
    return binascii.crc32(word.encode())


def test_a_score_is_the_mean_weight_of_pairs_times_the_root_of_their_number(asked) -> None:
    pairs = fitted()
    question = [0, *map(hashed, ["who", "paid", "for", "walls"])]
    words = [
        ["the", "walls", "are", "high"],
        ["nobod", "paid"],
        [],
        ["it", "raine", "on", "the", "harbo"],
    ]
    expected = []
    for place, own in enumerate(words):
        places = [f"\0{parts}\0{place * parts // 4}" for parts in (5, 20)]
        total = sum(
            pairs.weights[((one * 0x9E3779B1 + hashed(word)) * 0x85EBCA77 % 2**32) >> 14].item()
            for one in question
            for word in (*own, *places)
        )
        expected.append(total / math.sqrt(len(question) * (len(own) + 2)))
    assert scores(pairs, [asked[1]]) == pytest.approx(expected, rel=1e-5)
    assert scores(QueryPairs(), [asked[1]]) == [0.0] * 4


def test_alone_and_in_a_batch_and_where_nothing_is_asked(asked) -> None:
    pairs = fitted()
    alone = [scores(pairs, [one]) for one in asked]
    assert scores(pairs, asked) == pytest.approx([*chain(*alone)], abs=1e-6)
    assert alone[0] == [0.0] * 4
    # A question without words, as one of many, has what stands for any.
    assert all(alone[2]) and alone[2] != alone[3]
    empty = replace(asked[1], text="", sentence_spans=[])
    assert scores(pairs, [empty]) == []
    assert scores(pairs, [empty, asked[1]]) == pytest.approx(alone[1], abs=1e-6)
