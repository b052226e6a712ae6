"""The model: vectors and losses by their definitions, the same answers in any company."""

import random

import pytest
import torch
from conftest import KINDS, make_text
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import build
from transformers import AutoConfig, AutoModel, AutoTokenizer

from hierbert import HierBertConfig, HierBertForDocuments, HierBertModel, HierBertProcessor
from hierbert.loading.fingerprints import model_fingerprint
from hierbert.model.classification_head import ClassificationHead
from hierbert.model.heads import Structure, Vectors
from hierbert.model.single_label import MISSING_LABEL
from hierbert.model.summarization_head import SummarizationHead

TEXTS = [
    make_text(random.Random(0), 30),
    "",
    make_text(random.Random(1), 3),
    "漢字。 😀 \x00 The cat.",
    make_text(random.Random(2), 80),
]
# Each kind of encoder, and each pooling, in as few pairs as hold them all.
PAIRS = list(zip(KINDS, ("mean", "cls", "max", "attention", "mean"), strict=True))


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "pooling"), PAIRS)
def test_a_document_has_the_same_answers_in_any_company(encoders, kind, pooling) -> None:
    model, processor = build(encoders[kind], pooling=pooling, sentence_reach=10)
    encoder = model.hierbert.segment_encoder

    def answers(texts: list[str]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        with torch.no_grad():
            output = model(**processor(texts))
        scores = output.sentence_scores.split(output.sentences_per_document.tolist())
        return list(zip(output.logits, scores, strict=True))

    alone = [answers([text])[0] for text in TEXTS]
    # Answers differ between documents, or the comparison below would say nothing.
    assert (alone[0][0] - alone[4][0]).abs().max() > 1e-3

    @settings(max_examples=8, deadline=None)
    @given(
        st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=6),
        st.sampled_from([1, 64, 100, 300, 10_000]),
        st.sampled_from([3, 16, 10_000]),
    )
    def run(order: list[int], tokens_per_forward: int, units_per_forward: int) -> None:
        encoder.tokens_per_forward = tokens_per_forward
        model.hierbert.aggregator.units_per_forward = units_per_forward
        model.summarizer.context.units_per_forward = units_per_forward
        together = answers([TEXTS[index] for index in order])
        for index, (logits, scores) in zip(order, together, strict=True):
            close(logits, alone[index][0])
            close(scores, alone[index][1])

    run()


@pytest.mark.parametrize(("kind", "pooling"), PAIRS)
def test_vectors_equal_those_of_a_plain_loop(encoders, kind, pooling) -> None:
    """A second implementation: each segment alone through the encoder, means by hand."""
    model, processor = build(encoders[kind], pooling=pooling)
    encoder = AutoModel.from_pretrained(encoders[kind]).eval()
    attention = model.hierbert.segment_encoder.attention
    pool = {
        "mean": lambda states: states.mean(0),
        "cls": lambda states: states[0],
        "max": lambda states: states.max(0).values,
        "attention": lambda states: attention(states)[:, 0].softmax(0) @ states,
    }[pooling]
    segment_vectors, sentence_vectors = [], []
    with torch.no_grad():
        output = model.hierbert(**processor(TEXTS))
        for document in processor.segment(TEXTS):
            states_of = [[] for _ in document.sentence_spans]
            start = 0
            for length in document.segment_lengths.tolist():
                ids = document.input_ids[start : start + length].long()[None]
                states = encoder(input_ids=ids).last_hidden_state[0]
                segment_vectors.append(pool(states))
                owners = document.sentence_index[start : start + length].tolist()
                for owner, state in zip(owners, states, strict=True):
                    if owner >= 0:
                        states_of[owner].append(state)
                start += length
            sentence_vectors += [
                torch.stack(states).mean(0) if states else torch.zeros(32) for states in states_of
            ]
    close(output.segment_vectors, torch.stack(segment_vectors))
    close(output.sentence_vectors, torch.stack(sentence_vectors))


def test_padding_is_of_no_sentence(encoders) -> None:
    """Also where a segment ends without a special token, as with some tokenizers."""
    encoder = build(encoders["bert"])[0].hierbert.segment_encoder
    ids = torch.randint(5, 30, (41,), generator=torch.Generator().manual_seed(0))
    sentence_index = torch.arange(41) // 5
    with torch.no_grad():
        alone = encoder(ids[:20], torch.tensor([20]), sentence_index[:20], 4)[1]
        # One token of padding is little enough for one micro-batch.
        beside = encoder(ids, torch.tensor([20, 21]), sentence_index, 9)[1]
    close(beside[:4], alone)


def test_a_fresh_model_is_the_mean_of_the_segment_vectors(encoders) -> None:
    model = HierBertModel.from_encoder_pretrained(str(encoders["bert"]), max_tokens_per_segment=48)
    tokenizer = AutoTokenizer.from_pretrained(encoders["bert"])
    inputs = HierBertProcessor.from_config(tokenizer, model.config)(TEXTS)
    output = model(**inputs)
    parts = output.segment_vectors.split(inputs["segments_per_document"].tolist())
    close(output.document_vectors, torch.stack([part.mean(0) for part in parts]))


def test_missing_head_weights_come_up_finite(encoders, tmp_path) -> None:
    HierBertModel.from_encoder_pretrained(str(encoders["bert"])).save_pretrained(tmp_path)
    model = HierBertForDocuments.from_pretrained(tmp_path)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert max(weight.abs().max() for weight in model.parameters()) < 100


def test_what_the_sentence_head_holds_is_linear_in_the_sentences() -> None:
    config = HierBertConfig(
        text_config={"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2},
        summarization=True,
        sentence_reach=100,
    )
    head = SummarizationHead(config).train()

    def held(sentences: int) -> int:
        sizes: list[int] = []
        structure = Structure(
            segments_per_document=torch.tensor([1]),
            sentences_per_document=torch.tensor([sentences]),
            sentence_segments=torch.zeros(sentences, dtype=torch.long),
            sentence_tokens=torch.ones(sentences, dtype=torch.long),
        )
        one = torch.randn(1, 32)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
        ):
            head(Vectors(one, one, one, structure, sentence=torch.randn(sentences, 32)))
        return sum(sizes)

    assert held(4000) < 4.5 * held(1000)


# Losses.


def test_losses_of_labels_equal_their_formulas() -> None:
    weights, smoothing = torch.tensor([1.0, 2.0, 0.5]), 0.3
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 0.0], [9.0, 9.0, 9.0]])
    shares = logits.softmax(1)
    each = -weights * shares.log()
    one = (1 - smoothing) * each[[0, 1], [1, 0]] + smoothing * each[:2].mean(1)
    yes = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    odds = logits[:2].sigmoid()
    several = -(yes * weights * odds.log() + (1 - yes) * (1 - odds).log()).mean(1)
    missing = [1.0, torch.nan, 0.0]
    for problem, labels, expected in (
        ("single_label_classification", torch.tensor([1, 0, MISSING_LABEL]), one),
        ("multi_label_classification", torch.tensor([*yes.tolist(), missing]), several),
    ):
        config = HierBertConfig(
            problem_type=problem,
            num_labels=3,
            class_weights=weights.tolist(),
            label_smoothing=smoothing,
        )
        losses, labelled = ClassificationHead.of(config).losses(logits, labels)
        close(losses, torch.cat([expected, torch.zeros(1)]))
        assert labelled.tolist() == [True, True, False]
    # A regression learns in units of its labels.
    config = HierBertConfig(
        problem_type="regression", num_labels=1, label_mean=100.0, label_scale=5.0
    )
    losses, labelled = ClassificationHead.of(config).losses(
        torch.tensor([[1.0], [2.0], [9.0]]), torch.tensor([105.0, 95.0, torch.nan])
    )
    assert losses.tolist() == [0.0, 9.0, 0.0] and labelled.tolist() == [True, True, False]


def test_losses_of_sentences_equal_their_formula() -> None:
    head = SummarizationHead(HierBertConfig(summarization=True, listwise_loss_weight=0.7))
    scores, labels = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([1.0, 0.0, 0.5])
    # A document of three sentences, one of none, and one of which a label is missing.
    structure = Structure(torch.tensor([1, 1, 1]), torch.tensor([3, 0, 2]))
    losses, labelled = head.losses(
        torch.cat([scores, torch.ones(2)]),
        torch.cat([labels, torch.tensor([1.0, torch.nan])]),
        structure,
    )
    shares = scores.sigmoid()
    pointwise = -(labels * shares.log() + (1 - labels) * (1 - shares).log()).mean()
    wanted, found = (labels / labels.sum())[[0, 2]], scores.softmax(0)[[0, 2]]
    listwise = (wanted * (wanted / found).log()).sum()
    close(losses, torch.stack([pointwise + 0.7 * listwise, *torch.zeros(2)]))
    assert labelled.tolist() == [True, False, False]


def test_batches_of_a_step_add_up_to_the_loss_of_all_its_documents(encoders) -> None:
    model, processor = build(encoders["bert"])
    whole = dict(processor(TEXTS))
    sentences = whole["sentences_per_document"].tolist()
    labels = torch.tensor([0, 1, MISSING_LABEL, 0, 1])
    wanted = torch.arange(sum(sentences)).remainder(2).float()
    expected = model(**whole, labels=labels, sentence_labels=wanted).loss
    split = sum(sentences[:2])
    # One label is missing, and an empty document has no sentence to learn.
    counts = {"documents.classification": 4, "documents.summarization": 4}
    parts = (
        (TEXTS[:2], {"labels": labels[:2], "sentence_labels": wanted[:split]}),
        (TEXTS[2:], {"labels": labels[2:], "sentence_labels": wanted[split:]}),
    )
    close(sum(model(**processor(texts), **own, **counts).loss for texts, own in parts), expected)
    # With nothing to learn there is nothing learnt.
    nothing = model(
        **whole,
        labels=torch.full_like(labels, MISSING_LABEL),
        sentence_labels=torch.full_like(wanted, torch.nan),
    ).loss
    nothing.backward()
    assert nothing.item() == 0
    assert all(w.grad is None or w.grad.abs().max() == 0 for w in model.parameters())


def test_every_trained_weight_gets_a_gradient_even_from_empty_documents(encoders) -> None:
    model, processor = build(encoders["bert"], classification=False)
    model(**processor(["", ""]), sentence_labels=torch.zeros(0)).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


# What is given.


def test_inputs_that_are_none_are_refused_with_a_hint(encoders) -> None:
    model, processor = build(encoders["bert"])
    inputs = dict(processor(TEXTS))
    vectors = {
        "segment_vectors": torch.zeros(len(inputs["segment_lengths"]), 32),
        "sentence_vectors": torch.zeros(3, 32),
    }
    with pytest.raises(ValueError, match="no document"):
        processor([])
    for wrong, told in (
        ({"input_ids": inputs["input_ids"][None]}, "flat"),
        ({"input_ids": None}, "HierBertProcessor"),
        (vectors, "3 sentences do not match sentences_per_document"),
    ):
        with pytest.raises(ValueError, match=told):
            model(**{**inputs, **wrong})


def test_impossible_configurations_are_refused() -> None:
    for given_, message in (
        ({"max_tokens_per_segment": 4}, "takes 8 to 512"),
        ({"class_weights": [1.0], "num_labels": 2}, "1 numbers for 2 labels"),
        ({"summary_limit": 0.0}, "summary_limit=0.0 is not allowed"),
        ({"label_scale": 0.0}, "label_scale=0.0 is not allowed"),
        ({"label_mean": float("nan")}, "label_mean=nan is not allowed"),
    ):
        with pytest.raises(Exception, match=message):
            HierBertConfig(**given_)


@pytest.mark.parametrize(("kind", "longest"), [("bert", 90), ("roberta", 88), ("mpnet", 88)])
def test_a_segment_is_as_long_as_the_encoder_allows(encoders, kind, longest) -> None:
    """RoBERTa and its kin number positions from 2 on."""
    text_config = AutoConfig.from_pretrained(encoders[kind], max_position_embeddings=90)
    config = HierBertConfig(text_config=text_config)
    assert config.max_tokens_per_segment == longest
    model = HierBertForDocuments(config).eval()
    processor = HierBertProcessor.from_config(AutoTokenizer.from_pretrained(encoders[kind]), config)
    inputs = processor(["cat " * 500])
    assert longest - 5 < int(inputs["segment_lengths"].max()) <= longest
    assert model(**inputs).logits.isfinite().all()


def test_a_frozen_encoder_has_no_dropout(encoders) -> None:
    model, _ = build(encoders["bert"])
    encoder = model.hierbert.segment_encoder
    encoder.freeze(1)
    assert model.train() and encoder.encoder.training
    encoder.freeze()
    assert model.train().summarizer.training and not encoder.encoder.training


def test_a_fingerprint_is_of_the_tokenizer_and_not_of_its_last_call(encoders) -> None:
    model, processor = build(encoders["bert"])
    before = model_fingerprint(model, processor)
    backend = processor.tokenizer.backend_tokenizer
    backend.enable_truncation(8)
    backend.enable_padding(length=8)
    assert model_fingerprint(model, processor) == before
    backend.add_tokens(["more"])
    assert model_fingerprint(model, processor) != before
