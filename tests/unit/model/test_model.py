"""The model: the same answers in any company, exact gradients, checkpoints that come back equal."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from conftest import KINDS, make_text
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import build
from transformers import AutoConfig, AutoModel, AutoTokenizer

from hierbert import HierBertConfig, HierBertForDocuments, HierBertModel, HierBertProcessor
from hierbert.loading.fingerprints import model_fingerprint
from hierbert.model.aggregation import Aggregator, position_features
from hierbert.model.classification_head import MISSING_LABEL, ClassificationHead, regression_values
from hierbert.model.heads import Structure, Vectors
from hierbert.model.ragged import plan_micro_batches
from hierbert.model.summarization_head import SummarizationHead

TEXTS = [
    make_text(random.Random(0), 30),
    "",
    make_text(random.Random(1), 3),
    "漢字。 😀 \x00 The cat.",
    make_text(random.Random(2), 80),
]


def answers(model: HierBertForDocuments, inputs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Logits and sentence scores of each document."""
    with torch.no_grad():
        output = model(**inputs)
    scores = output.sentence_scores.split(output.sentences_per_document.tolist())
    return list(zip(output.logits, scores, strict=True))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "attention"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_document_has_the_same_answers_in_any_company(encoders, kind, pooling) -> None:
    model, processor = build(encoders[kind], pooling=pooling)
    encoder = model.hierbert.segment_encoder
    alone = [answers(model, processor(text))[0] for text in TEXTS]
    # Answers differ between documents, or the comparison below would say nothing.
    assert (alone[0][0] - alone[4][0]).abs().max() > 1e-3

    @settings(max_examples=6, deadline=None)
    @given(
        st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=6),
        st.sampled_from([1, 64, 100, 300, 10_000]),
        st.sampled_from([3, 16, 10_000]),
    )
    def run(order: list[int], tokens_per_forward: int, units_per_forward: int) -> None:
        encoder.tokens_per_forward = tokens_per_forward
        model.hierbert.aggregator.units_per_forward = units_per_forward
        model.summarizer.context.units_per_forward = units_per_forward
        together = answers(model, processor([TEXTS[index] for index in order]))
        for index, (logits, scores) in zip(order, together, strict=True):
            torch.testing.assert_close(logits, alone[index][0], atol=1e-5, rtol=0)
            torch.testing.assert_close(scores, alone[index][1], atol=1e-5, rtol=0)

    run()


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_equal_those_of_a_plain_loop(encoders, kind) -> None:
    """A second implementation: each segment alone through the encoder, means by hand."""
    model, processor = build(encoders[kind])
    encoder = AutoModel.from_pretrained(encoders[kind]).eval()
    documents = processor.segment(TEXTS)
    with torch.no_grad():
        output = model.hierbert(**processor(TEXTS))
        segment_vectors, sentence_vectors = [], []
        for document in documents:
            states_of = [[] for _ in document.sentence_spans]
            start = 0
            for length in document.segment_lengths.tolist():
                ids = document.input_ids[start : start + length].long()[None]
                states = encoder(input_ids=ids).last_hidden_state[0]
                segment_vectors.append(states.mean(0))
                for place in range(length):
                    owner = int(document.sentence_index[start + place])
                    if owner >= 0:
                        states_of[owner].append(states[place])
                start += length
            sentence_vectors += [
                torch.stack(states).mean(0) if states else torch.zeros(32) for states in states_of
            ]
    torch.testing.assert_close(
        output.segment_vectors, torch.stack(segment_vectors), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        output.sentence_vectors, torch.stack(sentence_vectors), atol=1e-5, rtol=0
    )


def test_padding_is_of_no_sentence(encoders) -> None:
    """Also where a segment ends without a special token, as with some tokenizers."""
    encoder = build(encoders["bert"])[0].hierbert.segment_encoder
    ids = torch.randint(5, 30, (41,), generator=torch.Generator().manual_seed(0))
    sentence_index = torch.arange(41) // 5
    with torch.no_grad():
        alone = encoder(ids[:20], torch.tensor([20]), sentence_index[:20], 4)[1]
        # One token of padding is little enough for one micro-batch.
        beside = encoder(ids, torch.tensor([20, 21]), sentence_index, 9)[1]
    torch.testing.assert_close(beside[:4], alone, atol=1e-5, rtol=0)


def labelled_batch(processor: HierBertProcessor, texts: list[str]) -> dict[str, torch.Tensor]:
    inputs = dict(processor(texts))
    counts = inputs["sentences_per_document"]
    chance = torch.Generator().manual_seed(3)
    inputs["labels"] = torch.arange(len(texts)) % 3
    inputs["sentence_labels"] = torch.randint(0, 2, (int(counts.sum()),), generator=chance).float()
    return inputs


@pytest.mark.parametrize("kind", ["bert", "modernbert", "mpnet"])
def test_recompute_gives_the_same_loss_and_gradients_with_dropout(encoders, kind) -> None:
    model, processor = build(encoders[kind])
    model.train()
    inputs = labelled_batch(processor, TEXTS)
    model.hierbert.segment_encoder.tokens_per_forward = 100
    results = []
    for recompute in (False, True):
        model.hierbert.segment_encoder.kept_tokens = 0 if recompute else None
        model.zero_grad()
        torch.manual_seed(5)
        loss = model(**inputs).loss
        loss.backward()
        gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
        results.append((loss.detach(), gradients))
    (loss, gradients), (other_loss, other_gradients) = results
    torch.testing.assert_close(other_loss, loss, rtol=1e-5, atol=0)
    for name, gradient in gradients.items():
        scale = gradient.abs().max().item()
        difference = (other_gradients[name] - gradient).abs().max().item()
        assert difference <= 1e-5 * scale + 1e-9, name
    model.eval()
    assert (model(**inputs).loss - loss).abs() > 1e-4, "dropout was not on"


@contextmanager
def counting_what_autograd_holds() -> Iterator[list[int]]:
    """Numbers in each tensor that is kept for the backward pass."""
    sizes: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        yield sizes


def test_recompute_does_not_hold_the_encoders_graph(encoders) -> None:
    """What autograd holds between forward and backward does not grow with the segments."""

    def held(recompute: bool, texts: list[str]) -> int:
        model, processor = build(encoders["bert"])
        model.train()
        model.hierbert.segment_encoder.kept_tokens = 0 if recompute else None
        model.hierbert.segment_encoder.tokens_per_forward = 64
        with counting_what_autograd_holds() as sizes:
            model.hierbert.segment_encoder(
                *(
                    dict(processor(texts))[n]
                    for n in ("input_ids", "segment_lengths", "sentence_index")
                ),
                int(processor(texts)["sentences_per_document"].sum()),
            )
        return sum(sizes)

    short, long = TEXTS[2:3], [make_text(random.Random(9), 200)]
    assert held(True, long) < held(False, long) / 10
    assert held(False, long) > 10 * held(False, short)


@pytest.mark.parametrize("reach", [None, 100])
def test_what_the_sentence_head_holds_is_linear_in_the_sentences(reach) -> None:
    config = HierBertConfig(
        text_config={"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2},
        num_labels=2,
        summarization=True,
        sentence_reach=reach,
        dropout=0.1,
    )
    head = SummarizationHead(config).train()

    def held(sentences: int) -> int:
        with counting_what_autograd_holds() as sizes:
            structure = Structure(
                segments_per_document=torch.tensor([1]),
                sentences_per_document=torch.tensor([sentences]),
                sentence_segments=torch.zeros(sentences, dtype=torch.long),
                sentence_tokens=torch.ones(sentences, dtype=torch.long),
            )
            one = torch.randn(1, 32)
            head(Vectors(one, one, one, structure, sentence=torch.randn(sentences, 32)))
        return sum(sizes)

    assert held(4000) < 4.5 * held(1000)


def test_every_trained_weight_gets_a_gradient_even_from_empty_documents(encoders) -> None:
    model, processor = build(encoders["bert"], classification=False)
    model.train()
    inputs = dict(processor(["", ""]))
    inputs["sentence_labels"] = torch.zeros(0)
    model(**inputs).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_missing_labels_weigh_nothing(encoders) -> None:
    model, processor = build(encoders["bert"])
    inputs = labelled_batch(processor, TEXTS)
    counts = inputs["sentences_per_document"].tolist()
    inputs["labels"][0] = MISSING_LABEL
    inputs["sentence_labels"][: counts[0]] = torch.nan
    loss = model(**inputs).loss
    rest = labelled_batch(processor, TEXTS[1:])
    rest["labels"] = inputs["labels"][1:]
    rest["sentence_labels"] = inputs["sentence_labels"][counts[0] :]
    torch.testing.assert_close(loss, model(**rest).loss, atol=1e-5, rtol=0)
    none = {**inputs, "labels": torch.full((5,), MISSING_LABEL)}
    none["sentence_labels"] = torch.full_like(inputs["sentence_labels"], torch.nan)
    output = model(**none)
    assert output.loss.item() == 0.0
    output.loss.backward()
    assert all(w.grad is None or w.grad.abs().max() == 0 for w in model.parameters())


def test_batches_of_a_step_add_up_to_the_loss_of_all_its_documents(encoders) -> None:
    model, processor = build(encoders["bert"])
    whole = labelled_batch(processor, TEXTS)
    split = int(whole["sentences_per_document"][:2].sum())
    parts = (
        (TEXTS[:2], whole["labels"][:2], whole["sentence_labels"][:split]),
        (TEXTS[2:], whole["labels"][2:], whole["sentence_labels"][split:]),
    )
    # An empty document has no sentence to learn.
    counts = {"documents.classification": 5, "documents.summarization": 4}
    total = sum(
        model(**processor(texts), labels=labels, sentence_labels=of_sentences, **counts).loss
        for texts, labels, of_sentences in parts
    )
    torch.testing.assert_close(total, model(**whole).loss, atol=1e-5, rtol=0)


def test_losses_equal_their_formulas() -> None:
    weights, smoothing = torch.tensor([1.0, 2.0, 0.5]), 0.3
    config = HierBertConfig(
        num_labels=3, class_weights=weights.tolist(), label_smoothing=smoothing, summarization=True
    )
    head = ClassificationHead(config)
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 0.0]])
    losses, _ = head.losses(logits, torch.tensor([1, 0]))
    each = -weights * (logits.exp() / logits.exp().sum(1, keepdim=True)).log()
    by_hand = (1 - smoothing) * each[[0, 1], [1, 0]] + smoothing * each.mean(1)
    torch.testing.assert_close(losses, by_hand)
    summarizer = SummarizationHead(HierBertConfig(num_labels=3, summarization=True))
    scores, labels = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([1.0, 0.0, 1.0])
    losses, labelled = summarizer.losses(
        scores, labels, Structure(torch.tensor([1, 1]), torch.tensor([3, 0]))
    )
    shares = scores.sigmoid()
    pointwise = -(labels * shares.log() + (1 - labels) * (1 - shares).log()).mean()
    target = labels / labels.sum()
    listwise = (
        target[labels > 0] * (target[labels > 0] / scores.softmax(0)[labels > 0]).log()
    ).sum()
    torch.testing.assert_close(losses[0], pointwise + listwise)
    assert labelled.tolist() == [True, False] and losses[1] == 0


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        ("multi_label_classification", torch.tensor([[1.0, 0, 1], [torch.nan] * 3, [0, 0, 0]])),
        ("regression", torch.tensor([[0.5], [torch.nan], [2.0]])),
    ],
)
def test_other_problem_types_mask_missing_rows(encoders, problem, labels) -> None:
    model, processor = build(
        encoders["bert"], problem_type=problem, num_labels=labels.shape[1], summarization=False
    )
    texts = [TEXTS[0], TEXTS[2], TEXTS[4]]
    loss = model(**processor(texts), labels=labels).loss
    kept = model(**processor([texts[0], texts[2]]), labels=labels[[0, 2]]).loss
    torch.testing.assert_close(loss, kept, atol=1e-5, rtol=0)
    assert loss.isfinite() and loss > 0


def test_a_regression_learns_in_units_of_its_labels() -> None:
    config = HierBertConfig(
        problem_type="regression", num_labels=1, label_mean=100.0, label_scale=5.0
    )
    head = ClassificationHead(config)
    losses, labelled = head.losses(torch.tensor([[1.0], [0.0]]), torch.tensor([105.0, torch.nan]))
    assert losses.tolist() == [0.0, 0.0] and labelled.tolist() == [True, False]
    assert regression_values(torch.tensor([-2.0]), config).tolist() == [90.0]


def test_given_vectors_must_match_and_may_have_another_precision(encoders) -> None:
    model, processor = build(encoders["bert"])
    inputs = dict(processor(TEXTS))
    with torch.no_grad():
        expected = model(**inputs)
    for name in ("input_ids", "segment_lengths", "sentence_index"):
        del inputs[name]
    inputs["segment_vectors"] = expected.segment_vectors
    inputs["sentence_vectors"] = expected.sentence_vectors
    model.to(torch.bfloat16)
    with torch.no_grad():
        output = model(**inputs)
    assert output.logits.dtype == torch.bfloat16
    torch.testing.assert_close(output.logits.float(), expected.logits, atol=0.2, rtol=0.1)
    assert output.sentence_scores.isfinite().all()
    inputs["sentence_vectors"] = expected.sentence_vectors[1:]
    with pytest.raises(ValueError, match=r"sentences do not match sentences_per_document"):
        model(**inputs)


def test_a_fresh_model_is_the_mean_of_the_segment_vectors(encoders) -> None:
    model = HierBertModel.from_encoder_pretrained(str(encoders["bert"]), max_tokens_per_segment=48)
    processor = HierBertProcessor.from_config(
        AutoTokenizer.from_pretrained(encoders["bert"]), model.config
    )
    output = model(**processor(TEXTS))
    start = 0
    for row, count in enumerate(processor(TEXTS)["segments_per_document"].tolist()):
        mean = output.segment_vectors[start : start + count].mean(0)
        torch.testing.assert_close(output.document_vectors[row], mean)
        start += count


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_comes_back_bit_for_bit(encoders, kind, tmp_path) -> None:
    model, processor = build(encoders[kind], pooling="attention", overlap_sentences=1)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = HierBertForDocuments.from_pretrained(tmp_path)
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    for name, weight in loaded.state_dict().items():
        assert weight.equal(state[name]), name
    again = HierBertProcessor.from_pretrained(tmp_path)
    assert vars(again)["overlap_sentences"] == 1
    for (logits, scores), (others, other_scores) in zip(
        answers(model, processor(TEXTS)), answers(loaded, again(TEXTS)), strict=True
    ):
        # Equal weights; the sums of a matrix product may still differ in the last bit.
        torch.testing.assert_close(others, logits, atol=1e-6, rtol=0)
        torch.testing.assert_close(other_scores, scores, atol=1e-6, rtol=0)


def test_missing_head_weights_come_up_finite(encoders, tmp_path) -> None:
    base = HierBertModel.from_encoder_pretrained(str(encoders["bert"]))
    base.save_pretrained(tmp_path)
    model = HierBertForDocuments.from_pretrained(tmp_path)
    assert all(weight.isfinite().all() for weight in model.parameters())
    assert max(weight.abs().max() for weight in model.parameters()) < 100


def test_positions_know_no_longest_document(encoders) -> None:
    features = position_features(torch.tensor([0, 99_999]), torch.tensor([100_000, 100_000]))
    assert features.abs().max() <= 1
    model, processor = build(encoders["bert"], max_tokens_per_segment=8)
    long = make_text(random.Random(4), 700)
    with torch.no_grad():
        output = model(**processor([long]))
    assert len(output.segment_vectors) > 700
    assert output.logits.isfinite().all() and output.sentence_scores.isfinite().all()


def test_the_aggregator_sees_order_and_neighbours() -> None:
    torch.manual_seed(0)
    aggregator = Aggregator(32, 2, 2, 0.0, group_token=True).eval()
    with torch.no_grad():
        for weight in aggregator.parameters():
            weight.normal_(std=0.2)
        vectors = torch.randn(5, 32)
        states, tokens = aggregator(vectors, torch.tensor([5]))
        swapped, _ = aggregator(vectors[[1, 0, 2, 3, 4]], torch.tensor([5]))
        assert (swapped[2] - states[2]).abs().max() > 1e-4
        changed = vectors.clone()
        # Not a constant: the norm before each layer would take it away.
        changed[4] = -changed[4]
        others, other_tokens = aggregator(changed, torch.tensor([5]))
    assert (others[0] - states[0]).abs().max() > 1e-4
    assert (other_tokens - tokens).abs().max() > 1e-4


@given(st.lists(st.integers(0, 600), max_size=80), st.integers(1, 3000))
def test_micro_batches_hold_each_group_once_within_the_budget(lengths, budget) -> None:
    batches = plan_micro_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(1, max(lengths[index] for index in batch))
        assert len(batch) == 1 or len(batch) * longest <= budget


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"pooling": "median"}, "pooling='median' is not allowed"),
        ({"max_tokens_per_segment": 513}, "takes 8 to 512"),
        ({"max_tokens_per_segment": 4}, "takes 8 to 512"),
        ({"attention_heads": 5}, "does not divide"),
        ({"class_weights": [1.0], "num_labels": 2}, "1 numbers for 2 labels"),
        ({"max_segments_policy": "middle"}, "max_segments_policy"),
        ({"summary_limit": 0.0}, "summary_limit"),
        ({"label_scale": 0.0}, "label_scale=0.0 is not allowed"),
        ({"label_mean": float("nan")}, "label_mean=nan is not allowed"),
        ({"sentence_reach": 0}, "sentence_reach=0 is not allowed: at least 1"),
    ],
)
def test_impossible_configurations_are_refused(settings_, message) -> None:
    with pytest.raises(Exception, match=message):
        HierBertConfig(**settings_)


@pytest.mark.parametrize(("kind", "limit"), [("roberta", 512), ("mpnet", 512), ("modernbert", 512)])
def test_a_segment_is_as_long_as_the_encoder_allows(encoders, kind, limit) -> None:
    config = HierBertConfig(text_config=AutoConfig.from_pretrained(encoders[kind]))
    assert config.max_tokens_per_segment == limit
    model = HierBertForDocuments(config).eval()
    processor = HierBertProcessor.from_config(AutoTokenizer.from_pretrained(encoders[kind]), config)
    inputs = processor([make_text(random.Random(5), 60)])
    assert int(inputs["segment_lengths"].max()) > limit - 80
    assert model(**inputs).logits.isfinite().all()


def test_freezing_leaves_the_last_layers(encoders) -> None:
    model, _ = build(encoders["bert"])
    encoder = model.hierbert.segment_encoder
    encoder.freeze(1)
    trained = {name for name, weight in encoder.encoder.named_parameters() if weight.requires_grad}
    assert trained and all(".layer.1." in name for name in trained)
    encoder.freeze()
    assert encoder.frozen
    model.train()
    assert not encoder.encoder.training and model.summarizer.training
    with pytest.raises(ValueError, match="2 layers, 3 cannot"):
        encoder.freeze(3)


def test_an_encoder_that_lacks_weights_is_refused(encoders, tmp_path) -> None:
    encoder = AutoModel.from_pretrained(encoders["bert"])
    weights = {k: v for k, v in encoder.state_dict().items() if ".layer.1." not in k}
    encoder.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ValueError, match=r"lacks 16 weights of its configuration, such as .*layer"):
        build(tmp_path)


def test_a_padded_batch_is_refused_with_a_hint(encoders) -> None:
    model, processor = build(encoders["bert"])
    inputs = dict(processor(TEXTS))
    with pytest.raises(ValueError, match="no document"):
        processor([])
    inputs["input_ids"] = inputs["input_ids"][None]
    with pytest.raises(ValueError, match="flat"):
        model(**inputs)
    with pytest.raises(ValueError, match="HierBertProcessor"):
        model(segments_per_document=torch.tensor([1]), sentences_per_document=torch.tensor([1]))


def test_a_fingerprint_is_of_the_tokenizer_and_not_of_its_last_call(encoders) -> None:
    model, processor = build(encoders["bert"])
    before = model_fingerprint(model, processor)
    backend = processor.tokenizer.backend_tokenizer
    backend.enable_truncation(8)
    backend.enable_padding(length=8)
    assert model_fingerprint(model, processor) == before
    backend.add_tokens(["more"])
    assert model_fingerprint(model, processor) != before
