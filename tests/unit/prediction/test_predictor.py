"""The predictor beyond what tests/contract hold: long texts, precision, mistakes in one line."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import make_text
from inference import save_model
from small_models import build

from hierbert import HierBertPredictor
from hierbert.errors import ConfigError, ModelError, RunError
from hierbert.model.selection import count_words

HARD_TEXTS = [
    "The 😀 film was good! 👩‍👩‍👧 The plot 🎬. Awful\u200d actor.",
    "这部电影很好。演员很棒!情节糟糕?",
    make_text(random.Random(3), 40),
]


@pytest.fixture(scope="module")
def folder(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("saved"), encoders["bert"])


def test_a_document_of_200_000_tokens(encoders) -> None:
    model, processor = build(encoders["bert"], max_tokens_per_segment=512)
    text = make_text(random.Random(8), 24_000)
    assert count_words(text) + text.count(".") > 200_000  # each of them is a token
    predictor = HierBertPredictor(model, processor)
    (answer,) = predictor.predict(text, predictor.tasks, segment_vectors=True)
    assert answer.segment_spans[-1][1] == len(text) and answer.omission is None
    assert 80 < count_words(answer.summary) <= 100
    assert all(text[s.start : s.end] == s.text for s in answer.sentences)


@pytest.mark.parametrize("pooling", ["mean", "attention", "max"])
def test_bfloat16_answers_come_close(encoders, pooling, tmp_path) -> None:
    """Stated tolerance: 0.05 in probabilities and scores, 0.15 in vectors of size about 1."""
    save_model(tmp_path, encoders["bert"], pooling=pooling)
    full, half = (
        HierBertPredictor.from_pretrained(tmp_path, dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )
    assert half.model.dtype == torch.bfloat16
    whole = half.summary_rule({"ratio": 1.0})
    exact, close = (list(model.predict(HARD_TEXTS, model.tasks, whole)) for model in (full, half))
    for one, other in zip(exact, close, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.05)
        assert one.document_vector == pytest.approx(other.document_vector, abs=0.15)
        assert one.document_vector != other.document_vector
        for mine, its in zip(one.sentences, other.sentences, strict=True):
            assert mine.score == pytest.approx(its.score, abs=0.05)


def test_weights_that_give_no_numbers_are_told(encoders) -> None:
    model, processor = build(encoders["bert"])
    with torch.no_grad():
        model.classifier.output.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"not give finite numbers in torch.float32"):
        HierBertPredictor(model, processor).classify("The cat.")


def test_too_little_memory_is_told_with_what_to_lower(encoders, monkeypatch) -> None:
    model, processor = build(encoders["bert"])

    def fail(**inputs: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(RunError, match=r"cpu has too little memory; lower"):
        HierBertPredictor(model, processor).classify("The cat.")


def test_tokens_per_forward_is_the_models_own_unless_given(encoders) -> None:
    model, processor = build(encoders["bert"], tokens_per_forward=77)
    encoder = model.hierbert.segment_encoder
    HierBertPredictor(model, processor)
    assert encoder.tokens_per_forward == 77
    HierBertPredictor(model, processor, tokens_per_forward=55)
    assert encoder.tokens_per_forward == 55


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "vulkan", "", "cpu:x"])
def test_a_device_that_is_not_there(folder, device) -> None:
    with pytest.raises(ConfigError, match=f"^device '{device}' cannot be used here: ") as caught:
        HierBertPredictor.from_pretrained(folder, device=device)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def edit(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def move_into_model(folder: Path) -> None:
    inside = folder / "model"
    inside.mkdir()
    for path in [path for path in folder.iterdir() if path != inside]:
        path.rename(inside / path.name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "there is no model folder .*copy; did you mean '.*/copi'"),
        (without("config.json"), "config.json is missing$"),
        (move_into_model, "config.json is missing; did you mean '.*copy/model'"),
        (edit(model_type="bert"), "a model of type 'bert'; hierbert loads what train.py saved"),
        (edit(pooling="medial"), "pooling='medial' is not allowed; choose from mean"),
        (edit(overlap_sentences="x"), "'overlap_sentences'.*int"),
        (without("model.safetensors"), "holds no weights: model.safetensors is missing"),
        (edit(sentence_layers=2), r"lacks 12 weights, such as summarizer\.context\.layers\.1"),
        (
            edit(id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}),
            r"2 weights of another shape .* classifier.output.bias: \(3,\), where \(2,\) is needed",
        ),
        (without("tokenizer.json"), "the tokenizer of model .* cannot be loaded"),
    ],
)
def test_a_damaged_model_folder_is_one_line(folder, damage, message, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (tmp_path / "copi").mkdir()
    damage(copy)
    with pytest.raises(ModelError, match=message) as caught:
        HierBertPredictor.from_pretrained(copy)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_a_name_that_is_no_folder_is_looked_for_where_it_can_be(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name in ("nosuch", "runs/nosuch", "runs/a/model", "~/nosuch"):
        with pytest.raises(ModelError, match="there is no model folder"):
            HierBertPredictor.from_pretrained(name)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is no model folder but a file"):
        HierBertPredictor.from_pretrained("file")
    # Tests are offline: a Hub id is asked for there, and nowhere else.
    with pytest.raises(ModelError, match="model user/name cannot be loaded: "):
        HierBertPredictor.from_pretrained("user/name")
