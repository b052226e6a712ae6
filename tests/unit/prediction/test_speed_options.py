"""What makes encoding fast leaves answers as they are; what is lossy keeps its stated bounds."""

import copy
import itertools
import random
import shutil
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_text
from hypothesis import given, settings
from hypothesis import strategies as st
from inference import save_model
from small_models import build
from small_runs import small_run
from torch import nn
from torch.nn import functional as F
from training import train
from transformers import PreTrainedModel

from hierbert import HierBertPredictor
from hierbert.config import RunConfig
from hierbert.errors import ConfigError
from hierbert.loading import model as loading_module
from hierbert.loading import probing
from hierbert.loading.int8 import Int8Linear, quantize
from hierbert.model.first_token import first_token_encoder
from hierbert.model.ragged import plan_micro_batches
from hierbert.model.text_encoders import encoder_layers
from hierbert.settings import load_config
from hierbert.training import memory
from hierbert.training.loop import TrainingLoop

AS_BERT = ("bert", "roberta")
COMPILERS = [name for name in ("g++", "clang++", "c++") if shutil.which(name)]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    chance = random.Random(5)
    return ["", *(make_text(chance, count) for count in (1, 3, 40, 7, 25))]


@pytest.mark.parametrize("kind", ("bert", "roberta", "distilbert", "mpnet", "modernbert"))
def test_the_first_token_alone_equals_the_whole_last_layer(encoders, texts, kind) -> None:
    model, processor = build(encoders[kind], pooling="cls")
    encoder = model.hierbert.segment_encoder
    assert (first_token_encoder(encoder.encoder) is not None) == (kind in AS_BERT)
    inputs = processor(texts)
    with torch.no_grad():
        alone, sentences = encoder(inputs["input_ids"], inputs["segment_lengths"])
        # Later, so that a layer that was left shortened would show.
        whole = encoder(
            inputs["input_ids"], inputs["segment_lengths"], inputs["sentence_index"], 10**3
        )[0]
    assert sentences is None
    torch.testing.assert_close(alone, whole, rtol=0, atol=1e-5)


def test_only_the_heads_asked_for_are_run(encoders, texts) -> None:
    model, processor = build(encoders["bert"])
    inputs = processor(texts)
    both = model(**inputs)
    for heads, there, left_out in (
        (["classification"], ["logits"], ["sentence_scores", "sentence_vectors"]),
        (["summarization"], ["sentence_scores"], ["logits"]),
        ([], ["document_vectors"], ["logits", "sentence_scores"]),
    ):
        output = model(**inputs, heads=heads)
        for name in there:
            torch.testing.assert_close(output[name], both[name], rtol=0, atol=1e-6)
        assert all(output.get(name) is None for name in left_out)
    with pytest.raises(ValueError, match="'classifier' is not allowed; choose from classification"):
        model(**inputs, heads=["classifier"])


@settings(deadline=None, max_examples=200)
@given(
    lengths=st.lists(st.integers(1, 512), max_size=80),
    budget=st.integers(1, 2_048),
    most=st.sampled_from([0.0, 0.02, 0.05, 0.3, 1.0]),
)
def test_no_micro_batch_has_more_padding_than_allowed(lengths, budget, most) -> None:
    plan = plan_micro_batches(lengths, budget, most)
    assert sorted(itertools.chain(*plan)) == list(range(len(lengths)))
    for batch in plan:
        rectangle = len(batch) * max(lengths[index] for index in batch)
        assert len(batch) == 1 or rectangle <= budget
        assert rectangle - sum(lengths[index] for index in batch) <= most * rectangle


def quantized_by_numpy(linear: nn.Linear, states: np.ndarray) -> np.ndarray:
    """The same rounding in float64, one token and one output at a time."""
    weight = linear.weight.detach().numpy()
    rows = []
    for x in states:
        low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
        step = np.float32((high - low) / np.float32(255))
        zero = np.rint(low / step) + 128
        levels = np.clip(np.rint(x / step) - zero, -128, 127)
        row = []
        for output, bias in zip(weight, linear.bias.detach().numpy(), strict=True):
            scale = np.abs(output).max() / np.float32(127)
            whole = np.rint(output / scale)
            row.append(((levels + zero) * whole).sum() * float(step) * float(scale) + float(bias))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("shift", (-3.0, 0.0, 40.0))
def test_an_int8_layer_is_its_definition(shift) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(24, 7)
    states = torch.randn(5, 24) * torch.tensor([[0.01], [1], [30], [5], [1]]) + shift
    found = Int8Linear(linear)(states.view(1, 5, 24)).view(5, 7).numpy()
    np.testing.assert_allclose(found, quantized_by_numpy(linear, states.numpy()), rtol=1e-4)
    # Half a level of each input and of each weight, at most.
    exact = linear(states).detach().numpy()
    span = (states.amax(1).clamp(min=0) - states.amin(1).clamp(max=0)).numpy()
    weights = linear.weight.detach().abs()
    half_levels = span[:, None] / 255 * weights.sum(1).numpy()
    half_weights = states.abs().sum(1, keepdim=True).numpy() * weights.amax(1).numpy() / 127
    assert (np.abs(found - exact) <= half_levels + half_weights + 1e-5).all()
    # Of any number of rows each is by itself; zeros are zeros, and what is not finite is told.
    layer = Int8Linear(nn.Linear(24, 7, bias=False))
    for row in range(5):
        assert torch.equal(layer(states[row : row + 1]), layer(states)[row : row + 1])
    assert layer(states[:0]).shape == (0, 7)
    assert torch.equal(layer(torch.zeros(2, 3, 24)), torch.zeros(2, 3, 7))
    assert not layer(torch.full((1, 24), torch.inf)).isfinite().any()


def test_inputs_that_are_always_large_do_not_take_the_levels_from_the_others() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 16)
    states = torch.randn(200, 64)
    states[:, 5] += 60.0
    exact = linear(states)
    plain = (Int8Linear(linear)(states) - exact).pow(2).mean()
    smooth = (Int8Linear(linear, states[:20].abs().amax(0))(states) - exact).pow(2).mean()
    assert smooth < 0.3 * plain
    # Inputs never seen, or weights that are all zero, are no division by zero.
    with torch.no_grad():
        linear.weight[:, :3] = 0.0
    assert Int8Linear(linear, torch.zeros(64))(states).isfinite().all()


def cosines(one: list[float], other: list[float]) -> float:
    return float(F.cosine_similarity(torch.tensor(one), torch.tensor(other), dim=0))


@pytest.mark.parametrize("pooling", ("mean", "cls"))
def test_int8_answers_come_close(encoders, texts, pooling, tmp_path) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"], pooling=pooling)
    exact = HierBertPredictor.from_pretrained(folder)
    lossy = HierBertPredictor.from_pretrained(folder, dtype="int8", compile=False)
    assert (exact.dtype, lossy.dtype) == ("float32", "int8")
    changed = 0
    for one, other in zip(exact.embed(texts), lossy.embed(texts), strict=True):
        changed += one.document_vector != other.document_vector
        assert cosines(one.document_vector, other.document_vector) > 0.99
    assert changed == len(texts)
    for text, one in zip(texts, lossy.embed(texts), strict=True):
        (alone,) = lossy.embed(text)
        assert cosines(alone.document_vector, one.document_vector) > 0.999


def test_int8_is_refused_off_the_cpu(encoders, tmp_path, monkeypatch) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    monkeypatch.setattr(loading_module, "find_device", lambda _: torch.device("meta"))
    with pytest.raises(ConfigError, match="dtype int8 is for CPUs, not for meta; choose bfloat16"):
        HierBertPredictor.from_pretrained(folder, dtype="int8", compile=False)


@pytest.mark.slow
@pytest.mark.skipif(not COMPILERS, reason="no C++ compiler is here")
@pytest.mark.parametrize("dtype", ("float32", "int8"))
def test_a_compiled_encoder_answers_the_same(encoders, texts, dtype, tmp_path) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    plain = HierBertPredictor.from_pretrained(folder, dtype=dtype, compile=False)
    # None compiles int8.
    compile = None if dtype == "int8" else True
    compiled = HierBertPredictor.from_pretrained(folder, dtype=dtype, compile=compile)
    layers = encoder_layers(compiled.model.hierbert.segment_encoder.encoder)
    assert all(layer._compiled_call_impl is not None for layer in layers)
    least = 0.999999 if dtype == "float32" else 0.999
    for one, other in zip(plain.embed(texts), compiled.embed(texts), strict=True):
        assert cosines(one.document_vector, other.document_vector) > least


def test_what_cannot_be_compiled_is_told_before_the_work(
    encoders, texts, monkeypatch, capsys
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler")

    model, processor = build(encoders["bert"])
    layers = encoder_layers(model.hierbert.segment_encoder.encoder)
    with monkeypatch.context() as broken:
        for layer in layers:
            broken.setattr(layer, "forward", fail)
        with pytest.raises(ConfigError, match=r"cannot be compiled here \(.*no compiler"):
            HierBertPredictor(model, processor, compile=True)
    # int8 does not insist on it.
    quantize(model.hierbert.segment_encoder, 48)
    expected = HierBertPredictor(model, processor, compile=False).classify(texts)
    monkeypatch.setattr(nn.Module, "compile", fail)
    predictor = HierBertPredictor(model, processor)
    assert "it runs more slowly without" in capsys.readouterr().err
    assert all(layer._compiled_call_impl is None for layer in layers)
    assert predictor.classify(texts) == expected


def fake_clock(
    monkeypatch: pytest.MonkeyPatch,
    seconds_of: dict[Any, float],
    key: Callable[[PreTrainedModel, int], Any],
) -> None:
    """Let a probe measure these seconds for each pass, by what makes the pass differ."""
    now = [0.0]

    def fake_pass(encoder: PreTrainedModel, segments: int, *_: Any, **__: Any) -> Any:
        def run() -> torch.Tensor:
            now[0] += seconds_of[key(encoder, segments)]
            return torch.zeros(1)

        return run

    monkeypatch.setattr(probing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(probing, "_pass", fake_pass)


def test_the_pass_that_takes_least_time_a_token_is_chosen(encoders, monkeypatch) -> None:
    model, processor = build(encoders["bert"], max_tokens_per_segment=512)
    # 1024, 2048 and 4096 tokens: 2, 4 and 8 segments of 512.
    fake_clock(monkeypatch, {2: 0.5, 4: 0.7, 8: 1.5}, lambda _, segments: segments)
    predictor = HierBertPredictor(model, processor, tokens_per_forward="auto")
    assert predictor.tokens_per_forward == 2_048
    assert model.hierbert.segment_encoder.tokens_per_forward == 2_048


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    (
        ({"float32": 1.0, "bfloat16": 1.7, "float16": 0.95}, "float32"),
        ({"float32": 1.0, "bfloat16": 0.4, "float16": 0.5}, "bfloat16"),
        ({"float32": 1.0, "bfloat16": 0.95, "float16": 0.8}, "float16"),
    ),
)
def test_a_precision_must_be_worth_its_digits(encoders, monkeypatch, seconds, chosen) -> None:
    name = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
    fake_clock(monkeypatch, seconds, lambda encoder, _: name[encoder.dtype])
    model, _ = build(encoders["bert"])
    encoder = model.hierbert.segment_encoder.encoder
    assert probing.probe_dtype(encoder, 512) == chosen
    assert encoder.dtype == torch.float32


def test_the_real_probes_choose_something_and_leave_the_model_as_it_was(encoders) -> None:
    model, _ = build(encoders["bert"])
    segment_encoder = model.hierbert.segment_encoder
    before = copy.deepcopy(model.state_dict())
    assert probing.probe_dtype(segment_encoder.encoder, 64) in ("float32", "bfloat16", "float16")
    state = torch.get_rng_state()
    assert probing.probe_tokens_per_forward(segment_encoder.train(), 64) in (1_024, 2_048, 4_096)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_neither_a_failure_nor_a_reader_that_leaves_leaves_a_worker(encoders, monkeypatch) -> None:
    predictor = HierBertPredictor(*build(encoders["bert"]), batch_tokens=50)
    answers = predictor.predict(itertools.repeat("The cat is red."))
    next(answers)
    answers.close()

    def fail(_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(predictor._own_processor, "segment", fail)
    with pytest.raises(MemoryError, match="no room"):
        predictor.classify(["The cat."])
    assert not [t for t in threading.enumerate() if t.name.startswith("segmentation")]


def test_a_run_probes_once_and_goes_on_with_what_it_found(encoders, tmp_path, monkeypatch) -> None:
    """A run that stops before its first epoch ends, and goes on where a probe would say 240."""
    answers, used = iter((384, 240)), []
    monkeypatch.setattr(memory, "probe_tokens_per_forward", lambda *_: next(answers))
    settings = small_run(tmp_path, encoders["bert"])("training.tokens_per_forward=auto")
    config = load_config(RunConfig, None, settings)
    real = TrainingLoop.run

    def stopped(self: TrainingLoop, resume: bool) -> Any:
        used.append(self.model.hierbert.segment_encoder.tokens_per_forward)
        if not resume:
            raise KeyboardInterrupt
        return real(self, resume)

    monkeypatch.setattr(TrainingLoop, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    train(config, resume=True)
    assert used == [384, 384] and next(answers) == 240
