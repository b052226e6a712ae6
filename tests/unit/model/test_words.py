"""Hashed words: what is read of a text, and the numbers made of it."""

import binascii
import math
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hierbert.model.segment_words import SegmentWords
from hierbert.model.words import Words, buckets_for, hashed_words, word_places

BUCKETS = 1 << 12


def bucket(word: str) -> int:
    return ((binascii.crc32(word.encode()) * 0x85EBCA77) % 2**32) >> 20


def documents(*texts: str) -> list:
    return [SimpleNamespace(text=text) for text in texts]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Court, in 1997-98!", ["the", "court", "in", "0000", "00"]),
        ("", []),
        ("... --", []),
        ("naïve Straße", ["naïve", "strasse"]),
        ("价格 ok", ["价", "格", "ok"]),
        ("ภาษา", list("ภาษา")),
        ("\x00a\x00", ["a"]),
        ("\ud800x", ["x"]),
    ],
)
def test_words_of_any_script(text, words) -> None:
    found, pairs = hashed_words(text, BUCKETS)
    assert found.tolist() == [bucket(word) for word in words]
    assert len(pairs) == max(0, len(words) - 1)
    assert all(0 <= each < BUCKETS for each in pairs.tolist())
    read = [re.sub(r"\d", "0", text[a:b].casefold()) for a, b in word_places(text).tolist()]
    assert read == words


def test_pairs_know_their_order_and_nothing_else() -> None:
    first, second = (hashed_words(text, BUCKETS)[1] for text in ("a b c a b", "b a"))
    assert first[0] == first[3] and len(set(first.tolist())) == 3
    assert second[0] not in first


def test_logits_are_the_linear_model_of_weighed_words() -> None:
    texts = ["a a b", "b c", "c c c a", "d"]
    words = Words(labels=2, buckets=BUCKETS, pairs=True)
    collated = words.collate(documents(*texts))
    owners = torch.arange(4).repeat_interleave(collated["sizes"].sum(1))
    words.learn_idf(collated["buckets"], owners, 4)
    generator = torch.Generator().manual_seed(0)
    words.weights.copy_(torch.randn(BUCKETS, 2, generator=generator))
    words.bias.copy_(torch.tensor([0.5, -1.0]))

    def bag(text: str, kind: int) -> Counter:
        return Counter(hashed_words(text, BUCKETS)[kind].tolist())

    having = Counter(each for text in texts for kind in (0, 1) for each in bag(text, kind))

    def logits(text: str) -> np.ndarray:
        total = np.array([0.5, -1.0])
        for kind in (0, 1):
            numbers = {
                each: (1 + math.log(count)) * (math.log(5 / (1 + having[each])) + 1)
                for each, count in bag(text, kind).items()
                if having[each] > 1  # words of one document leave no trace
            }
            norm = math.sqrt(sum(number**2 for number in numbers.values())) or 1.0
            for each, number in numbers.items():
                total += number / norm * words.weights[each].double().numpy()
        return total

    found = words(collated, None)
    for row, text in zip(found, texts, strict=True):
        assert row.tolist() == pytest.approx(logits(text), abs=1e-5)
        assert words(words.collate(documents(text)), None)[0].tolist() == pytest.approx(
            row.tolist(), abs=1e-6
        )
    assert found[3].tolist() == [0.5, -1.0]
    assert re.fullmatch(r"[01.-]+", str(float(words.idf[bucket("d")])))
    assert words.idf[bucket("d")] == 0


def test_a_document_says_the_soft_maximum_of_what_its_segments_say() -> None:
    first = SimpleNamespace(text="a b. c a b", segment_spans=[(0, 4), (5, 10), (0, 10)])
    second = SimpleNamespace(text="c. ", segment_spans=[(0, 3)])
    empty = SimpleNamespace(text="", segment_spans=[(0, 0)])
    words, whole = SegmentWords(2, BUCKETS, False), Words(2, BUCKETS, False)
    generator = torch.Generator().manual_seed(0)
    for name, own in (("idf", (BUCKETS,)), ("weights", (BUCKETS, 2)), ("bias", (2,))):
        values = torch.rand(own, generator=generator)
        for each in (words, whole):
            getattr(each, name).copy_(values)
    structure = SimpleNamespace(segments_per_document=torch.tensor([3, 1, 1]))
    found = words(words.collate([first, second, empty]), structure)
    parts = ["a b.", "c a b", "a b. c a b"]
    rows = whole(whole.collate(documents(*parts, second.text)), None).double().numpy()
    assert found[0].tolist() == pytest.approx(np.log(np.exp(rows[:3]).mean(0)).tolist(), abs=1e-5)
    assert found[1].tolist() == pytest.approx(rows[3].tolist(), abs=1e-6)
    assert found[2].tolist() == pytest.approx(words.bias.tolist(), abs=1e-6)


def test_weights_of_many_labels_are_bounded() -> None:
    assert buckets_for(2) == 1 << 18
    assert all(labels * buckets_for(labels) <= 1 << 24 for labels in (64, 65, 1000, 1025, 4096))
    assert buckets_for(4097) is None
