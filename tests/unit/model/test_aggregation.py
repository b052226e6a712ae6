"""Attention with a reach: equal to a mask over all pairs, linear in what it holds."""

import copy
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig

from hierbert import HierBertConfig, HierBertForDocuments
from hierbert.model import aggregation
from hierbert.model.aggregation import Aggregator, attend_within

fast = settings(deadline=None, max_examples=60)
HIDDEN = 16


def masked_attention(query, key, value, reach):
    """Softmax over all pairs, those out of reach left out: the definition."""
    places = torch.arange(query.shape[1])
    far = (places[:, None] - places).abs() > reach
    weights = query @ key.transpose(1, 2) / math.sqrt(query.shape[2])
    return weights.masked_fill(far, -torch.inf).softmax(-1) @ value


def build(reach, layers=1, seed=0):
    torch.manual_seed(seed)
    aggregator = Aggregator(HIDDEN, layers, 2, 0.0, group_token=False, reach=reach).eval()
    with torch.no_grad():
        for weight in aggregator.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
    return aggregator


@fast
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


@fast
@given(st.integers(1, 12), st.integers(1, 12))
def test_a_group_within_the_reach_is_seen_whole(length, reach) -> None:
    vectors, lengths = torch.randn(length, HIDDEN), torch.tensor([length])
    local = build(reach, layers=2)
    whole = copy.deepcopy(local)
    whole.reach = None
    with torch.no_grad():
        difference = (local(vectors, lengths)[0] - whole(vectors, lengths)[0]).abs().max()
    if length <= reach + 1:
        assert difference == 0
    else:
        assert difference > 1e-6


def test_units_see_exactly_those_within_reach() -> None:
    aggregator = build(reach=3)
    vectors, lengths = torch.randn(20, HIDDEN), torch.tensor([20])
    changed = vectors.clone()
    changed[10] = torch.randn(HIDDEN)
    with torch.no_grad():
        before, after = aggregator(vectors, lengths)[0], aggregator(changed, lengths)[0]
    moved = (before - after).abs().amax(1) > 1e-6
    assert moved.nonzero().flatten().tolist() == list(range(7, 14))


@fast
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.integers(1, 12),
    st.sampled_from([1, 20, 16_384]),
)
def test_a_group_is_the_same_in_any_company(sizes, reach, units_per_forward) -> None:
    aggregator = build(reach, layers=2)
    aggregator.units_per_forward = units_per_forward
    groups = [torch.randn(size, HIDDEN) for size in sizes]
    with torch.no_grad():
        together, _ = aggregator(torch.cat(groups), torch.tensor(sizes))
        for states, group in zip(together.split(sizes), groups, strict=True):
            alone, _ = aggregator(group, torch.tensor([len(group)]))
            torch.testing.assert_close(states, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("reach", [None, 5])
def test_a_few_rows_at_a_time_give_the_same_states_and_gradients(reach, monkeypatch) -> None:
    monkeypatch.setattr(aggregation, "_ROWS_AT_ONCE", 7)
    aggregator = build(reach, layers=2)
    vectors, lengths = torch.randn(40, HIDDEN), torch.tensor([30, 10])
    with torch.no_grad():
        states, _ = aggregator(vectors, lengths)
    results = []
    for rows in (7, 1000):
        monkeypatch.setattr(aggregation, "_ROWS_AT_ONCE", rows)
        aggregator.zero_grad()
        expected, _ = aggregator(vectors, lengths)
        torch.testing.assert_close(states, expected.detach(), atol=1e-5, rtol=0)
        expected.square().sum().backward()
        results.append([weight.grad.clone() for weight in aggregator.parameters()])
    for gradient, expected in zip(*results, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-4)


def test_recomputed_layers_keep_their_reach() -> None:
    aggregator = build(reach=4, layers=2).train()
    vectors, lengths = torch.randn(30, HIDDEN), torch.tensor([30])
    aggregator(vectors, lengths)[0].square().sum().backward()
    expected = [weight.grad.clone() for weight in aggregator.parameters()]
    aggregator.zero_grad()
    for layer in aggregator.layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = lambda call, *inputs: (
            torch.utils.checkpoint.checkpoint(call, *inputs, use_reentrant=False)
        )
    aggregator(vectors, lengths)[0].square().sum().backward()
    for weight, gradient in zip(aggregator.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("reach", "token"), [(0, False), (4, True)])
def test_an_impossible_reach_is_refused(reach, token) -> None:
    with pytest.raises(ValueError, match=f"reach={reach} is not allowed"):
        Aggregator(HIDDEN, 1, 2, 0.0, group_token=token, reach=reach)


# --- the setting


def small_config(**fields) -> HierBertConfig:
    text_config = {
        "model_type": "bert",
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    return HierBertConfig(text_config=text_config, summarization=True, **fields)


def test_a_checkpoint_keeps_its_reach_and_an_older_one_had_none(tmp_path) -> None:
    for reach in (small_config().sentence_reach, 7, None):
        HierBertForDocuments(small_config(sentence_reach=reach)).save_pretrained(tmp_path)
        assert AutoConfig.from_pretrained(tmp_path).sentence_reach == reach
        model = HierBertForDocuments.from_pretrained(tmp_path)
        assert model.summarizer.context.reach == reach
    HierBertForDocuments(small_config()).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    assert fields.pop("sentence_reach") == 2048
    path.write_text(json.dumps(fields), encoding="utf-8")
    assert HierBertForDocuments.from_pretrained(tmp_path).summarizer.context.reach is None
    assert HierBertConfig.from_pretrained(tmp_path, sentence_reach=9).sentence_reach == 9
