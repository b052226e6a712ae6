"""Words, budgets, and the selection of a summary against its definition."""

import math
import random
from itertools import pairwise

import pytest
import torch
from conftest import make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.model import selection
from hierbert.model.segmentation import Segmenter
from hierbert.model.selection import (
    Budget,
    count_words,
    cut_to_limit,
    select_sentences,
    sentence_costs,
)
from hierbert.model.summarization_head import SummaryRule


def test_words_are_counted_by_spaces_or_by_letters() -> None:
    for text, words in {
        "": 0,
        "One, two -- three.": 4,
        "Привет, мир": 2,
        "नमस्ते दुनिया": 2,
        "안녕하세요 세계": 2,
        "你好,世界。": 4,
        "我用 BERT 模型。": 5,
        "カタカナ": 4,
        "ภาษาไทย": 7,
        "ที่": 1,  # one consonant with two combining marks
        "中あアㄅລက\u4e00\u9fff": 8,  # ends of ranges are in
        "é한अع\u0dff\ua000": 1,
    }.items():
        assert count_words(text) == words, text


def test_a_budget_refuses_what_is_not_allowed_and_says_it() -> None:
    for wrong in (
        {"max_sentences": -1},
        {"max_tokens": 2.0},
        {"max_characters": True},
        {"max_words": "9"},
        {"ratio": 1.01},
        {"ratio": math.nan},
    ):
        with pytest.raises(ValueError, match=r"(\w+)=.* is not allowed") as caught:
            Budget(**wrong)
        assert next(iter(wrong)) in str(caught.value)
    with pytest.raises(ValueError, match=r"exactly one of .* got none"):
        Budget()


def test_costs_and_limits_by_unit() -> None:
    texts, tokens = ["one two three", "four", "!"], [4, 2, 0]
    for budget, costs, limit in (
        (Budget(max_sentences=2), [1, 1, 1], 2),
        (Budget(max_words=5), [3, 1, 1], 5),
        (Budget(max_tokens=7), [4, 2, 1], 7),
        # Of n sentences, n - 1 are followed by a line break.
        (Budget(max_characters=5), [14, 5, 2], 6),
        (Budget(ratio=0.5), [3, 1, 1], 2),
        (Budget(ratio=0.01), [3, 1, 1], 1),
    ):
        assert sentence_costs(texts, budget, tokens) == costs
        assert budget.limit(texts) == limit
    # 0.29 * 100 is a little less than 29.
    assert Budget(ratio=0.29).limit(["w " * 100]) == 29


def selected_by_definition(scores, costs, limit, pool, redundancy, cosines):
    """Every sentence against every selected one, in every round."""
    low, high = min((scores[i] for i in pool), default=0), max((scores[i] for i in pool), default=0)
    selected, left = [], limit
    while True:
        best, best_value = None, None
        for index in pool:
            if index in selected or costs[index] > left:
                continue
            relevance = (scores[index] - low) / (high - low) if high > low else 0.0
            nearest = max([0.0, *(cosines[other][index] for other in selected)])
            value = (1 - redundancy) * relevance - redundancy * nearest
            if best is None or value > best_value:
                best, best_value = index, value
        if best is None:
            break
        selected.append(best)
        left -= costs[best]
    if not selected and pool:
        selected = [max(pool, key=lambda index: scores[index])]
    return selected


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 12) | st.integers(30, 90),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_a_selection_is_the_one_of_its_definition(size, redundancy, distinct, seed) -> None:
    dice = random.Random(seed)
    scores = [dice.random() if distinct else float(dice.randint(-2, 2)) for _ in range(size)]
    costs = [dice.randint(1, 9) for _ in range(size)]
    selectable = [dice.random() < 0.8 for _ in range(size)]
    pool = [index for index in range(size) if selectable[index]]
    limit = dice.randint(1, 3 * size + 1)
    # Of unit vectors with one or four ones, cosines are 0, 0.5 and 1: ties are ties in any order of
    # computation. A vector of zeros is like no other.
    vectors = torch.zeros(size, 8)
    for index in range(size):
        for place in dice.sample(range(8), dice.choice([0, 1, 1, 4])):
            vectors[index, place] = dice.choice([-2.0, 2.0])
    lengths = vectors.norm(dim=1, keepdim=True).clamp(min=1)
    cosines = (vectors / lengths @ (vectors / lengths).T).tolist()
    expected = selected_by_definition(scores, costs, limit, pool, redundancy, cosines)
    for order, chosen in {"score": expected, "document": sorted(expected)}.items():
        assert chosen == select_sentences(
            scores,
            costs,
            limit,
            order=order,
            redundancy=redundancy,
            similar_to=torch.tensor(cosines).reshape(size, size).__getitem__,
            selectable=selectable,
        )


def test_a_long_selection_goes_on_by_what_is_near_to_its_first_sentences(monkeypatch) -> None:
    monkeypatch.setattr(selection, "_MOST_COMPARED", 2)
    near = torch.eye(6)
    near[0, 2] = near[2, 0] = near[1, 4] = near[4, 1] = near[3, 5] = near[5, 3] = 0.9
    scores, costs = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5], [2, 1, 1, 1, 1, 1]
    given = {"order": "score", "redundancy": 0.5, "similar_to": near.__getitem__}
    # The third and the fifth are near to the first two; what the fourth is near to is not asked.
    assert select_sentences(scores, costs, 9, **given) == [0, 1, 3, 5, 2, 4]
    assert select_sentences(scores, costs, 5, **given) == [0, 1, 3, 5]
    alike = list("abcdea")
    assert select_sentences(scores, costs, 9, **given, alike=alike) == [0, 1, 3, 2, 4]


@pytest.mark.parametrize("redundancy", [0.0, 0.4])
def test_of_sentences_that_are_alike_the_best_is_selected(redundancy) -> None:
    dice = random.Random(3)
    scores = [dice.random() for _ in range(40)]
    alike = [str(dice.randrange(12)) for _ in scores]
    chosen = select_sentences(
        scores,
        [1] * 40,
        40,
        redundancy=redundancy,
        similar_to=torch.eye(40).__getitem__,
        alike=alike,
    )
    best = {key: max(range(40), key=lambda i: (alike[i] == key, scores[i])) for key in set(alike)}
    assert chosen == sorted(best.values())


def test_a_piece_ends_after_a_clause_or_between_words_and_loses_nothing() -> None:
    dice = random.Random(5)
    for limit in (1, 5, 12, 60):
        kinds = ["word", "clause,", "中", "文、", "x" * 30]
        text = " ".join(dice.choice(kinds) for _ in range(300))

        def size(first: int, last: int, text: str = text) -> int:
            return len("".join(text[first:last].split()))

        pieces = cut_to_limit(text, size, limit)
        assert "".join("".join(text[a:b].split()) for a, b in pieces) == "".join(text.split())
        for (a, b), (c, _) in pairwise(pieces):
            following = text[c:].split()[0]
            # Letters of scripts without spaces are words of their own here, with their marks.
            following = following[:2] if following[0] == "文" else following
            full = size(a, b) + len(following) > limit
            assert size(a, b) <= limit or len(text[a:b].split()) == 1
            assert full or text[b - 1] in ",、"
    # A clause that ends in the first half of what fits ends no piece.
    text = "a b, c d e f g h i j"
    words = [text[a:b] for a, b in cut_to_limit(text, lambda a, b: len(text[a:b].split()), 6)]
    assert words == ["a b, c d e f", "g h i j"]


def test_what_stands_between_words_costs_too() -> None:
    text = "a    bb   c " * 20
    pieces = cut_to_limit(text, lambda first, last: last - first, 9)
    assert [text[a:b] for a, b in pieces[:3]] == ["a    bb", "c a    bb", "c a    bb"]
    assert max(b - a for a, b in pieces) <= 9


def test_scores_and_costs_that_cannot_be_are_refused() -> None:
    for scores, costs, message in (
        ([1, math.nan], [1, 1], "score of sentence 1 is nan"),
        ([math.inf], [1], "score of sentence 0 is inf"),
        ([1], [1, 1], "1 scores, but 2 costs"),
    ):
        with pytest.raises(ValueError, match=message):
            select_sentences(scores, costs, 1)


def test_headings_are_left_out_unless_there_is_nothing_else() -> None:
    (document, headings) = Segmenter(make_tokenizer("bert"))(
        ["Introduction\n\nThe cat sat on the mat. It ran.", "One.\n\nTwo three."]
    )
    rule = SummaryRule(Budget(max_words=100), min_words_per_sentence=6)
    assert [one.sentence for one in rule.select(document, [9.0, 1.0, 5.0])] == [1]
    assert [one.sentence for one in rule.select(headings, [1.0, 2.0])] == [0, 1]


@pytest.mark.parametrize("overlap", [0, 1])
def test_tokens_that_a_segment_repeats_cost_once(overlap: int) -> None:
    segmenter = Segmenter(
        make_tokenizer("bert"), max_tokens_per_segment=16, overlap_sentences=overlap
    )
    (document,) = segmenter([" ".join(["The cat and the dog."] * 5)])
    assert document.tokens - 2 * len(document.segment_lengths) == 30 + 6 * 3 * overlap
    # No sentence of 6 tokens is within the limit: each is cut, and its pieces cost what it has.
    found = SummaryRule(Budget(max_tokens=4)).candidates(document)
    assert len(found.costs) > 5 and max(found.costs) <= 4 and sum(found.costs) == 30
