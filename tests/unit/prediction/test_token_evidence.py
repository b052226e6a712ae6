"""Tokens that speak for a label: they add up to what the logit gains, and are where they say."""

import builtins
from pathlib import Path

import pytest
import torch
from small_models import build

from hierbert import ConfigError, HierBert

TEXT = (
    "The sea is law. A road leads to the hill, and the hill to 17 trees! " * 3 + "Straße 77, 价格."
)


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path]) -> HierBert:
    settings = {"summarization": False, "max_tokens_per_segment": 24}
    return HierBert(*build(encoders["bert"], **settings))


def logit_of(model: HierBert, ids: torch.Tensor, label: int) -> float:
    """The log of p / (1 - p) of a document of these tokens, by the model's own forward."""
    lengths = model.processor.segment([TEXT])[0].segment_lengths
    with torch.no_grad():
        output = model.model(
            input_ids=ids.long(),
            segment_lengths=lengths,
            segments_per_document=torch.tensor([len(lengths)]),
            sentences_per_document=torch.tensor([0]),
        )
    share = output.scores["classification"][0].double().softmax(0)[label]
    return float(share.log() - (1 - share).log())


@pytest.mark.parametrize("frozen", [False, True])
def test_tokens_add_up_to_what_the_logit_gains_over_masks(model, frozen) -> None:
    if frozen:
        model.model.hierbert.segment_encoder.freeze()
    [document] = model.processor.segment([TEXT])
    [answer] = model.classify(TEXT)
    found = model.token_evidence(TEXT, ["LABEL_2"], segments=2, steps=200)
    labels = list(dict.fromkeys([answer.label, "LABEL_2"]))
    assert [one["label"] for one in found] == labels
    gains: list[float] = []
    for one in found:
        assert len(one["segments"]) == 2
        for segment in one["segments"]:
            place = document.segment_spans.index((segment["start"], segment["end"]))
            ends = document.segment_lengths.cumsum(0).tolist()
            inside = torch.arange(len(document.input_ids))
            inside = (inside >= [0, *ends][place]) & (inside < ends[place])
            masks = document.input_ids.clone()
            masks[inside & (document.sentence_index >= 0)] = model.processor.tokenizer.mask_token_id
            label = model.model.config.label2id[one["label"]]
            gained = logit_of(model, document.input_ids, label) - logit_of(model, masks, label)
            gains.append(abs(gained))
            assert segment["contribution"] == pytest.approx(gained, abs=5e-3)
            assert abs(segment["error"]) < 5e-3
            summed = sum(token["contribution"] for token in segment["tokens"])
            assert summed == pytest.approx(segment["contribution"], abs=0.02)
    assert max(gains) > 0.05
    embeddings = model.model.hierbert.segment_encoder.encoder.get_input_embeddings()
    assert embeddings.weight.requires_grad is not frozen and embeddings.weight.grad is None


def test_tokens_are_where_they_say(model) -> None:
    [document] = model.processor.segment([TEXT])
    [one] = model.token_evidence(TEXT, segments=100, steps=1)
    tokens = [token for segment in one["segments"] for token in segment["tokens"]]
    assert len(tokens) == int((document.sentence_index >= 0).sum())
    texts = {TEXT[token["start"] : token["end"]] for token in tokens}
    assert all(text == text.strip() and text for text in texts)
    assert "".join(TEXT.split()) == "".join(
        TEXT[token["start"] : token["end"]] for token in sorted(tokens, key=lambda t: t["start"])
    )


def test_where_words_alone_decide_no_token_does(encoders) -> None:
    words = {"words": {"labels": 3, "buckets": 64, "pairs": False}}
    settings = {"summarization": False, "features": words, "logit_weights": {"words": 1.0}}
    model = HierBert(*build(encoders["bert"], **settings))
    [one] = model.token_evidence(TEXT, segments=1, steps=2)
    assert {token["contribution"] for token in one["segments"][0]["tokens"]} == {0.0}


def test_what_cannot_be_told_is_one_line(model, monkeypatch) -> None:
    for wrong in ({"labels": ["law"]}, {"segments": 0}, {"steps": 1.5}):
        with pytest.raises(ConfigError, match="is not allowed"):
            model.token_evidence(TEXT, **wrong)
    [one] = model.token_evidence("", segments=1, steps=1)
    assert [len(segment["tokens"]) for segment in one["segments"]] == [0]
    imported = builtins.__import__

    def without_captum(name, *rest, **named):
        if name.startswith("captum"):
            raise ImportError(name)
        return imported(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_captum)
    with pytest.raises(ConfigError, match=r"hierbert\[evidence\]"):
        model.token_evidence(TEXT)
