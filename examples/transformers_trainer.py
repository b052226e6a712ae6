"""Evaluate a hierbert model by transformers' own Trainer and pipeline.

    python examples/transformers_trainer.py MODEL rows.jsonl

The rows have ``text`` and ``label``. hierbert is imported for its auto classes alone; without it,
give ``trust_remote_code=True``.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoProcessor,
    Trainer,
    TrainingArguments,
    pipeline,
)

import hierbert  # noqa: F401  (registers the auto classes)

name, path = sys.argv[1:]
rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
model = AutoModelForSequenceClassification.from_pretrained(name)
processor = AutoProcessor.from_pretrained(name)


def collate(batch):
    """Texts and labels as the model's arguments."""
    inputs = dict(processor([row["text"] for row in batch]))
    inputs["labels"] = torch.tensor([model.config.label2id[row["label"]] for row in batch])
    return inputs


def score(evaluated):
    """The part of labels that are right."""
    logits = evaluated.predictions
    if isinstance(logits, tuple):  # Of a model that summarizes, sentences' scores come after them.
        logits = logits[0]
    return {"accuracy": (logits.argmax(1) == evaluated.label_ids).mean()}


arguments = TrainingArguments(
    "runs/trainer", per_device_eval_batch_size=8, remove_unused_columns=False, report_to="none"
)
trainer = Trainer(model, arguments, data_collator=collate, eval_dataset=rows, compute_metrics=score)
print(trainer.evaluate())

classify = pipeline("text-classification", model=name, trust_remote_code=True)
print(classify(rows[0]["text"]))
