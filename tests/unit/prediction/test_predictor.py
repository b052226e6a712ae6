"""The predictor beyond what tests/contract hold: precision, memory, devices, near names."""

import random
import shutil
from pathlib import Path

import pytest
import torch
from conftest import make_text
from inference import save_model
from small_models import build

from hierbert import HierBertPredictor
from hierbert.errors import ConfigError, ModelError, RunError

HARD_TEXTS = [
    "The 😀 film was good! 👩‍👩‍👧 The plot 🎬. Awful\u200d actor.",
    "这部电影很好。演员很棒!情节糟糕?",
    make_text(random.Random(3), 40),
]


@pytest.fixture(scope="module")
def folder(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("saved"), encoders["bert"])


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


def test_weights_that_give_no_numbers_and_too_little_memory_are_told(encoders, monkeypatch) -> None:
    model, processor = build(encoders["bert"])
    predictor = HierBertPredictor(model, processor)
    with torch.no_grad():
        model.classifier.output.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match=r"not give finite numbers in torch.float32"):
        predictor.classify("The cat.")

    def fail(**inputs: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(RunError, match=r"cpu has too little memory; lower"):
        predictor.classify("The cat.")


def test_tokens_per_forward_is_the_models_own_unless_given(encoders) -> None:
    model, processor = build(encoders["bert"], tokens_per_forward=77)
    assert HierBertPredictor(model, processor).tokens_per_forward == 77
    assert HierBertPredictor(model, processor, tokens_per_forward=55).tokens_per_forward == 55
    assert model.hierbert.segment_encoder.tokens_per_forward == 55


def test_a_caller_and_the_predictor_do_not_share_the_state_of_a_tokenizer(encoders) -> None:
    predictor = HierBertPredictor(*build(encoders["bert"]))
    expected = predictor.classify(HARD_TEXTS)
    # Truncation stays in a tokenizer's state until the next call.
    tokenizer = predictor.processor.tokenizer.backend_tokenizer
    tokenizer.enable_truncation(4)
    assert predictor.classify(HARD_TEXTS) == expected
    assert tokenizer.truncation["max_length"] == 4


@pytest.mark.parametrize("device", ["gpu", "meta", "", "cpu:x"])
def test_a_device_that_is_not_there(folder, device) -> None:
    with pytest.raises(ConfigError, match=f"^device '{device}' cannot be used here: ") as caught:
        HierBertPredictor.from_pretrained(folder, device=device)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_a_folder_that_holds_no_model_is_looked_for_where_it_can_be(
    folder, tmp_path, monkeypatch
) -> None:
    def refused(name: str | Path) -> str:
        with pytest.raises(ModelError) as caught:
            HierBertPredictor.from_pretrained(name)
        return str(caught.value)

    shutil.copytree(folder, tmp_path / "runs" / "model")
    near = refused(tmp_path / "runs" / "modle")
    assert near.endswith(f"; did you mean {str(tmp_path / 'runs' / 'model')!r}?")
    inside = refused(tmp_path / "runs")
    assert inside.endswith(f"config.json is missing; did you mean {near.split()[-1]}")
    (tmp_path / "file").write_text("x")
    assert "is no model folder but a file" in refused(tmp_path / "file")
    monkeypatch.chdir(tmp_path)
    for name in ("nosuch", "runs/nosuch", "runs/a/model", "~/nosuch"):
        assert "there is no model folder" in refused(name)
    # Tests are offline: a Hub id is asked for there, and nowhere else.
    assert "model user/name cannot be loaded: " in refused("user/name")
