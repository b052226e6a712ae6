"""Attention with a reach: equal to a mask over all pairs, however little is held at once."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from hierbert import HierBertConfig
from hierbert.model import aggregation
from hierbert.model.aggregation import Aggregator, attend_within

HIDDEN = 16


def masked_attention(query, key, value, reach):
    """Softmax over all pairs, those out of reach left out: the definition."""
    places = torch.arange(query.shape[1])
    far = (places[:, None] - places).abs() > reach
    weights = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    return weights.masked_fill(far, -torch.inf).softmax(-1) @ value


def build(reach, layers):
    torch.manual_seed(0)
    aggregator = Aggregator(HIDDEN, layers, 2, 0.0, group_token=False, reach=reach)
    with torch.no_grad():
        for weight in aggregator.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
    return aggregator


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 90), st.integers(1, 24), st.integers(0, 2**16))
def test_attention_with_a_reach_and_its_gradients_equal_a_mask(length, reach, seed) -> None:
    torch.manual_seed(seed)
    inputs = [torch.randn(2, length, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    weights = torch.randn(2, length, 4, dtype=torch.float64)
    results = []
    for attention in (attend_within, masked_attention):
        context = attention(*inputs, reach)
        results.append([context, *torch.autograd.grad((context * weights).sum(), inputs)])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 24), st.data())
def test_some_units_are_attended_to_as_among_all(length, reach, data) -> None:
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first + 1, length))
    query, key, value = torch.randn(3, 2, length, 4, dtype=torch.float64)
    got = attend_within(query[:, first:last], key, value, reach, first)
    expected = masked_attention(query, key, value, reach)[:, first:last]
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("length", [4, 5, 20])
def test_units_see_exactly_those_within_reach(length) -> None:
    aggregator = build(reach=3, layers=1)
    vectors = torch.randn(length, HIDDEN)
    with torch.no_grad():
        before, _ = aggregator(vectors, torch.tensor([length]))
        for changed in range(length):
            others = vectors.clone()
            others[changed] = torch.randn(HIDDEN)
            after, _ = aggregator(others, torch.tensor([length]))
            moved = ((before - after).abs().amax(1) > 1e-6).nonzero().flatten().tolist()
            assert moved == [place for place in range(length) if abs(place - changed) <= 3]


@pytest.mark.parametrize("reach", [None, 5])
def test_what_is_computed_in_parts_or_again_gives_the_same_gradients(reach, monkeypatch) -> None:
    vectors, lengths = torch.randn(40, HIDDEN), torch.tensor([30, 10])
    results = []
    for rows, again in ((1000, False), (7, False), (1000, True)):
        monkeypatch.setattr(aggregation, "_ROWS_AT_ONCE", rows)
        aggregator = build(reach, layers=2).train()
        for layer in aggregator.layers:
            layer.gradient_checkpointing = again
            layer._gradient_checkpointing_func = lambda call, *inputs: checkpoint(
                call, *inputs, use_reentrant=False
            )
        with torch.no_grad():
            alone, _ = aggregator(vectors, lengths)
        states, _ = aggregator(vectors, lengths)
        states.square().sum().backward()
        results.append([alone, states, *(weight.grad for weight in aggregator.parameters())])
    for others in results[1:]:
        for got, expected in zip(others, results[0], strict=True):
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_keeps_its_reach_and_an_older_one_had_none() -> None:
    for reach in (7, None):
        written = HierBertConfig(sentence_reach=reach).to_dict()
        assert HierBertConfig.from_dict(written).sentence_reach == reach
    del written["sentence_reach"]
    assert HierBertConfig.from_dict(written).sentence_reach is None
