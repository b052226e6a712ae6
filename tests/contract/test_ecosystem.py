"""The ecosystem's own doors: transformers' Trainer and a plain training loop, over our classes."""

from typing import Any

import pytest
import torch
from conftest import make_rows
from transformers import Trainer, TrainingArguments

from hierbert import HierBertConfig, HierBertForDocuments, HierBertProcessor

ROWS = make_rows(12, seed=4)
NUMBERS = {name: number for number, name in enumerate(sorted({row["label"] for row in ROWS}))}


@pytest.fixture(scope="module")
def parts(encoders) -> tuple[HierBertForDocuments, HierBertProcessor]:
    from transformers import AutoTokenizer

    model = HierBertForDocuments.from_encoder_pretrained(
        str(encoders["bert"]), num_labels=len(NUMBERS)
    )
    tokenizer = AutoTokenizer.from_pretrained(encoders["bert"])
    return model, HierBertProcessor.from_config(tokenizer, model.config)


def collate(processor: HierBertProcessor) -> Any:
    def batch(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        inputs = dict(processor([row["text"] for row in rows]))
        return {**inputs, "labels": torch.tensor([NUMBERS[row["label"]] for row in rows])}

    return batch


def test_transformers_trainer_trains_and_evaluates(parts, tmp_path) -> None:
    model, processor = parts
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            per_device_eval_batch_size=4,
            num_train_epochs=1,
            remove_unused_columns=False,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
        ),
        train_dataset=ROWS,
        eval_dataset=ROWS,
        data_collator=collate(processor),
        compute_metrics=lambda found: {
            "accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())
        },
    )
    assert trainer.label_names == ["labels"]
    trainer.train()
    scores = trainer.evaluate()
    predicted = trainer.predict(ROWS)
    with torch.no_grad():
        output = model.eval()(**collate(processor)(ROWS))
    assert predicted.predictions.shape == (12, len(NUMBERS))
    torch.testing.assert_close(
        torch.from_numpy(predicted.predictions), output.logits, atol=1e-5, rtol=0
    )
    assert scores["eval_loss"] == pytest.approx(float(output.loss), abs=1e-5)
    assert 0 <= scores["eval_accuracy"] <= 1


def test_the_first_thing_that_a_model_answers_is_its_logits(parts) -> None:
    model, processor = parts
    output = model(**processor(["The court read the contract."]))
    assert next(iter(output.keys())) == "logits"
    assert "logits" not in HierBertConfig.keys_to_ignore_at_inference


def test_an_argument_that_is_none_is_named(parts) -> None:
    model, processor = parts
    with pytest.raises(TypeError, match="attention_mask"):
        model(**processor(["x"]), attention_mask=torch.ones(1))
