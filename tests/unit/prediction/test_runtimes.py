"""OpenVINO and ONNX Runtime read segments as torch does; encoders are converted once for each."""

import importlib.util
import json
import logging
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_text
from small_models import build, save_model
from small_runs import small_run
from torch.nn import functional as F

from hierbert import HierBertPredictor
from hierbert.cli.infer import main as infer
from hierbert.cli.train import main as train
from hierbert.errors import ConfigError
from hierbert.loading.backends import use_backend

NEEDED = ("openvino", "nncf", "onnx", "onnxscript", "onnxruntime")
pytestmark = pytest.mark.skipif(
    None in map(importlib.util.find_spec, NEEDED), reason=f"not all installed: {NEEDED}"
)
RUNTIMES = (("openvino", "float32"), ("openvino", "int8"), ("onnx", "float32"))
KINDS = ("bert", "roberta", "distilbert", "mpnet", "modernbert")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    chance = random.Random(5)
    return ["", "a", *(make_text(chance, count) for count in (1, 3, 40, 7))]


@pytest.fixture(scope="module")
def folder(encoders, tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "model", encoders["bert"])


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def load(folder, cache, monkeypatch) -> Any:
    """The model under OpenVINO, with one cache for all."""
    monkeypatch.setenv("HIERBERT_CACHE", str(cache))

    def load(backend: str = "openvino", dtype: str = "float32", **more: Any) -> HierBertPredictor:
        return HierBertPredictor.from_pretrained(
            folder, device="cpu", backend=backend, dtype=dtype, **more
        )

    return load


@pytest.mark.parametrize("backend", ("openvino", "onnx"))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ("mean", "cls"))
def test_float32_equals_torch(
    encoders, texts, tmp_path, monkeypatch, kind, pooling, backend
) -> None:
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path))
    model, processor = build(encoders[kind], pooling=pooling)
    encoder, inputs = model.hierbert.segment_encoder, processor(texts)
    arguments = [inputs[name] for name in ("input_ids", "segment_lengths", "sentence_index")]
    with torch.no_grad():
        expected = encoder(*arguments, 10**3)
        use_backend(backend, model, processor, "float32")
        found = encoder(*arguments, 10**3)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ("openvino", "onnx"))
@pytest.mark.parametrize("kind", KINDS)
def test_long_segments_too(encoders, tmp_path, monkeypatch, kind, backend) -> None:
    # Much longer than the example that encoders are converted by, and than modernbert's windows.
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path))
    model, processor = build(encoders[kind], max_tokens_per_segment=400)
    encoder, inputs = model.hierbert.segment_encoder, processor([make_text(random.Random(1), 120)])
    assert inputs["segment_lengths"].max() > 350
    with torch.no_grad():
        expected, _ = encoder(inputs["input_ids"], inputs["segment_lengths"])
        use_backend(backend, model, processor, "float32")
        found, _ = encoder(inputs["input_ids"], inputs["segment_lengths"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_several_threads_ask_one_runtime(load, texts) -> None:
    predictor = load()
    expected = [predictor.embed([text])[0].document_vector for text in texts]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda text: predictor.embed([text])[0], texts * 5))
    for answer, own in zip(answers, expected * 5, strict=True):
        assert answer.document_vector == own


@pytest.mark.parametrize(("backend", "dtype"), RUNTIMES)
def test_vectors_do_not_depend_on_what_is_read_beside(load, texts, backend, dtype) -> None:
    predictor = load(backend, dtype, batch_tokens=10**6)
    together = predictor.embed(texts)
    for text, beside in zip(texts, together, strict=True):
        [alone] = predictor.embed([text])
        torch.testing.assert_close(
            torch.tensor(alone.document_vector),
            torch.tensor(beside.document_vector),
            rtol=0,
            atol=1e-5,
        )


def test_int8_is_near_float32(load, texts) -> None:
    plain, rough = load(), load(dtype="int8")
    inputs = plain.processor(texts)
    with torch.no_grad():
        one, other = (
            model.model.hierbert.segment_encoder(inputs["input_ids"], inputs["segment_lengths"])[0]
            for model in (plain, rough)
        )
    cosines = F.cosine_similarity(one, other)
    # Of random weights, 32 numbers a token; trained ones have 0.995 and more.
    assert cosines.median() > 0.99 and cosines.min() > 0.8 and cosines.min() < 1 - 1e-6


@pytest.mark.parametrize(("backend", "dtype"), RUNTIMES)
def test_an_encoder_is_converted_once(
    folder, texts, tmp_path, monkeypatch, capsys, backend, dtype
) -> None:
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path))

    def answers() -> list[Any]:
        made = HierBertPredictor.from_pretrained(folder, device="cpu", backend=backend, dtype=dtype)
        return made.classify(texts)

    expected = answers()
    capsys.readouterr()
    assert answers() == expected and "converted" not in capsys.readouterr().err
    [kept] = tmp_path.glob(f"{backend}-*")
    weights = max(kept.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert answers() == expected
    said = capsys.readouterr().err
    assert f"{kept} is damaged (its sha256 differs)" in said and "kept in" in said
    assert weights.read_bytes() != content and [*tmp_path.iterdir()] == [kept]


def test_a_folder_that_cannot_be_written_costs_time_alone(
    folder, texts, tmp_path, monkeypatch, capsys
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path / "file" / "cache"))
    plain = HierBertPredictor.from_pretrained(folder, device="cpu")
    other = HierBertPredictor.from_pretrained(folder, device="cpu", backend="openvino")
    for one, two in zip(plain.embed(texts), other.embed(texts), strict=True):
        torch.testing.assert_close(
            torch.tensor(one.document_vector), torch.tensor(two.document_vector), rtol=0, atol=1e-5
        )
    assert "it will be converted again the next time" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ("openvino", "onnx"))
def test_an_encoder_that_cannot_be_converted_is_refused(
    encoders, tmp_path, monkeypatch, backend
) -> None:
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path))
    model, processor = build(encoders["bert"])

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such\noperation")

    monkeypatch.setattr(model.hierbert.segment_encoder.encoder, "forward", fail)
    level = logging.getLogger().level
    with pytest.raises(ConfigError, match=f"backend {backend} cannot read an encoder of t"):
        use_backend(backend, model, processor, "float32")
    assert not [*tmp_path.iterdir()] and logging.getLogger().level == level


def test_jobs_find_each_other_s_vectors(load, folder, texts, tmp_path, cache, monkeypatch) -> None:
    monkeypatch.setenv("HIERBERT_CACHE", str(cache))
    rows = tmp_path / "docs.csv"
    rows.write_text("text\n" + "".join(f"{text}\n" for text in texts if text))
    kept = ["--cache-dir", str(tmp_path / "vectors")]

    def job(*flags: str) -> list[str]:
        target = tmp_path / "answers.jsonl"
        given = ["--model", str(folder), "--input", str(rows), "--output", str(target)]
        assert infer([*given, "--overwrite", "--device", "cpu", *kept, *flags]) == 0
        return target.read_text().splitlines()

    by_torch = job()
    files = {path.name for path in (tmp_path / "vectors").rglob("*.safetensors")}
    assert job("--backend", "openvino") == by_torch
    assert {path.name for path in (tmp_path / "vectors").rglob("*.safetensors")} == files
    job("--backend", "openvino", "--dtype", "int8")
    assert len([*(tmp_path / "vectors").rglob("*.safetensors")]) == 2 * len(files)


def test_training_encodes_by_it(encoders, tmp_path, monkeypatch, capsys) -> None:
    build = small_run(tmp_path, encoders["bert"])

    def losses(backend: str) -> list[float]:
        monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path / f"cache-{backend}"))
        frozen = ["training.freeze_encoder=true", f"training.backend={backend}"]
        assert not train(build(*frozen, f"run_dir={tmp_path / backend}"))
        lines = (tmp_path / backend / "metrics.jsonl").read_text().splitlines()
        return [row["train.loss"] for row in map(json.loads, lines) if "train.loss" in row]

    expected = losses("torch")
    capsys.readouterr()
    assert losses("openvino") == pytest.approx(expected, abs=1e-4) and expected
    assert "converted for openvino in float32" in capsys.readouterr().err


def test_nobody_is_told_that_it_is_used(folder, cache, tmp_path) -> None:
    script = (
        "import sys; from hierbert import HierBert; import torch\n"
        f"model = HierBert.from_pretrained({str(folder)!r}, device='cpu', backend='openvino', "
        "dtype='int8')\n"
        "print(model.classify(['a'])[0].label is not None, 'openvino_telemetry' in sys.modules)\n"
    )
    environment = {"HIERBERT_CACHE": str(tmp_path), "PYTHONPATH": ".", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout == "True False\n", done.stderr[-2000:]
