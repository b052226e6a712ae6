"""What reads segments in torch's place is asked where there are no gradients, and named."""

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_rows, make_text
from small_models import build, save_model
from torch import Tensor

from hierbert import HierBertPredictor, HierBertTrainer
from hierbert.errors import ConfigError
from hierbert.loading import backends
from hierbert.loading.backends import Backend, check_backend, use_backend
from hierbert.loading.fingerprints import model_fingerprint


class Shifted:
    """Torch's own states, moved, so that they are told from them; counts what it is asked."""

    name = "shifted"

    def __init__(self, model: Any, dtype: str) -> None:
        self.encoder, self.dtype, self.asked = model.hierbert.segment_encoder.encoder, dtype, 0

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        self.asked += 1
        return self.encoder(input_ids=ids, attention_mask=mask.long())[0] + 1.0


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Backend(
        lambda model, _, dtype: Shifted(model, dtype), "json", "no", ("float32", "int8")
    )
    monkeypatch.setitem(backends.BACKENDS, "shifted", entry)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    chance = random.Random(5)
    return ["", *(make_text(chance, count) for count in (1, 3, 40, 7))]


@pytest.mark.parametrize("pooling", ("mean", "cls", "max"))
def test_a_runtime_is_asked_where_no_gradients_are_kept(encoders, texts, shifted, pooling) -> None:
    model, processor = build(encoders["bert"], pooling=pooling)
    encoder, inputs = model.hierbert.segment_encoder, processor(texts)
    arguments = [inputs[name] for name in ("input_ids", "segment_lengths", "sentence_index")]
    with torch.no_grad():
        before, sentences_before = encoder(*arguments, 10**3)
        use_backend("shifted", model, processor, "float32")
        vectors, sentences = encoder(*arguments, 10**3)
        # Without sentences the first tokens are not computed alone.
        alone, _ = encoder(*arguments[:2])
    torch.testing.assert_close(vectors, before + 1, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, vectors, rtol=0, atol=1e-5)
    there = sentences_before.abs().sum(1) > 0
    torch.testing.assert_close(sentences[there], sentences_before[there] + 1, rtol=0, atol=1e-5)
    asked = encoder.runtime.asked
    with_graph, _ = encoder(*arguments[:2])
    assert with_graph.requires_grad and encoder.runtime.asked == asked
    torch.testing.assert_close(with_graph, before, rtol=0, atol=1e-5)


def test_vectors_and_answers_are_known_by_whose_int8_they_are(encoders, tmp_path, shifted) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    models = {
        (backend, dtype): HierBertPredictor.from_pretrained(
            folder, device="cpu", backend=backend, dtype=dtype, compile=False
        )
        for backend in ("torch", "shifted")
        for dtype in ("float32", "int8")
    }
    prints = {key: model_fingerprint(one.model, one.processor) for key, one in models.items()}
    assert prints["torch", "float32"] == prints["shifted", "float32"]
    assert len(set(prints.values())) == 3
    for (backend, dtype), predictor in models.items():
        assert (predictor.backend, predictor.dtype) == (backend, dtype)
    # Its weights are whole, unlike those of torch's int8.
    models["shifted", "int8"].save_pretrained(tmp_path / "saved")
    assert HierBertPredictor.from_pretrained(tmp_path / "saved").dtype == "float32"


@pytest.mark.parametrize(
    ("name", "dtype", "on_cpu", "message"),
    (
        ("onyx", "float32", True, "backend 'onyx' is not allowed; choose from torch, openvino"),
        ("openvino", "bfloat16", True, "openvino does not compute in bfloat16; choose from fl"),
        ("openvino", "float32", False, "backend openvino is for CPUs; name the device too: cpu"),
        ("auto", "int8", True, "backend auto is for dtype float32, not int8; name a backend"),
    ),
)
def test_what_there_is_not_is_refused(name, dtype, on_cpu, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check_backend(name, dtype, on_cpu)


def test_a_backend_that_is_not_installed_says_what_installs_it(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"missing: pip install 'hierbert\[openvino\]'"):
        check_backend("openvino", "float32", True)


def test_first_tokens_that_see_all_are_torch_s(encoders, shifted) -> None:
    model, processor = build(encoders["bert"])
    model.hierbert.segment_encoder.first_token_sees_all = True
    with pytest.raises(ConfigError, match="backend shifted cannot read an encoder whose first"):
        use_backend("shifted", model, processor, "float32")


def test_a_runtime_is_not_compiled(encoders, tmp_path, shifted) -> None:
    folder = save_model(tmp_path / "model", encoders["bert"])
    with pytest.raises(ConfigError, match="compile is for backend torch, not for shifted"):
        HierBertPredictor.from_pretrained(folder, device="cpu", backend="shifted", compile=True)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    (
        ({"torch": 1.0, "shifted": 0.95}, None),
        ({"torch": 1.0, "shifted": 0.8}, "shifted"),
    ),
)
def test_auto_takes_what_is_worth_it(encoders, monkeypatch, shifted, seconds, chosen) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("backend broken cannot read this encoder")

    monkeypatch.setattr(backends, "BACKENDS", {**backends.BACKENDS})
    for name in ("openvino", "onnx"):
        monkeypatch.delitem(backends.BACKENDS, name)
    monkeypatch.setitem(backends.BACKENDS, "gone", Backend(refuse, "no_such", "no", ("float32",)))
    monkeypatch.setitem(backends.BACKENDS, "broken", Backend(refuse, "json", "no", ("float32",)))
    monkeypatch.setattr(backends, "probe_runtime", lambda *_: seconds)
    model, processor = build(encoders["bert"])
    use_backend("auto", model, processor, "float32")
    runtime = model.hierbert.segment_encoder.runtime
    assert (None if runtime is None else runtime.name) == chosen


def test_the_real_probe_times_torch_and_each_runtime(encoders, shifted) -> None:
    model, _ = build(encoders["bert"])
    encoder = model.hierbert.segment_encoder
    made = {"shifted": Shifted(model, "float32")}
    seconds = backends.probe_runtime(encoder, made, 48)
    assert seconds.keys() == {"torch", "shifted"} and min(seconds.values()) > 0
    assert made["shifted"].asked == 4


def small_trainer(model: HierBertPredictor, folder: Path, **settings: Any) -> HierBertTrainer:
    rows = [{key: row[key] for key in ("text", "label")} for row in make_rows(8, seed=1)]
    config = {"data.label_column": "label", "training.epochs": 1, "show_sample": False}
    return HierBertTrainer(model, rows, rows, config={**config, "run_dir": folder, **settings})


def test_training_reads_the_weights_that_it_trains(encoders, tmp_path, shifted) -> None:
    model, processor = build(encoders["bert"], num_labels=2)
    use_backend("shifted", model, processor, "float32")
    runtime = model.hierbert.segment_encoder.runtime
    trainer = small_trainer(HierBertPredictor(model, processor), tmp_path / "run")
    trainer.train()
    assert trainer.model.model.hierbert.segment_encoder.runtime is None and not runtime.asked


def test_a_frozen_encoder_may_be_read_by_a_backend(encoders, tmp_path, monkeypatch) -> None:
    made: list[Shifted] = []

    def make(model: Any, _: Any, dtype: str) -> Shifted:
        made.append(Shifted(model, dtype))
        return made[-1]

    # The settings know the name.
    entry = Backend(make, "json", "no", ("float32",))
    monkeypatch.setitem(backends.BACKENDS, "openvino", entry)
    more = {"training.backend": "openvino", "training.cache_dir": str(tmp_path / "cache")}
    frozen = {**more, "training.freeze_encoder": True}
    small_trainer(
        HierBertPredictor.from_encoder(encoders["bert"]), tmp_path / "run", **frozen
    ).train()
    assert made[0].asked and made[0].dtype == "float32"
    with pytest.raises(ConfigError, match="='openvino' is for an encoder that is not trained"):
        small_trainer(HierBertPredictor.from_encoder(encoders["bert"]), tmp_path / "other", **more)
