"""What every public class saves loads where hierbert is not installed, with the same answers."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from conftest import make_rows
from publishing import NO_HIERBERT
from transformers import pipeline

from hierbert import (
    HierBertConfig,
    HierBertForDocuments,
    HierBertModel,
    HierBertPredictor,
    HierBertProcessor,
)

TEXTS = [str(row["text"]) for row in make_rows(3, seed=4, sentences=20)] + [""]
STRANGER = """
import json, sys
from pathlib import Path
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor
from transformers import pipeline
trust = {"trust_remote_code": True}
def answers(folder):
    model = AutoModelForSequenceClassification.from_pretrained(folder, **trust)
    output = model(**AutoProcessor.from_pretrained(folder, **trust)(texts))
    label = pipeline("document-classification", model=folder, **trust)(texts[0])["label"]
    summary = pipeline("document-summarization", model=folder, **trust)(texts[0])["summary"]
    return [output.logits.tolist(), output.sentence_scores.tolist(), label, summary]
def vectors(folder):
    inputs = AutoProcessor.from_pretrained(folder, **trust)(texts)
    return AutoModel.from_pretrained(folder, **trust)(**inputs).document_vectors.tolist()
folder, texts = json.load(sys.stdin)
place = Path(folder)
# Saved once more from here, where there is nothing but the files that travelled.
model = AutoModelForSequenceClassification.from_pretrained(place / "documents", **trust)
model.save_pretrained(place / "again")
found = {
    "documents": answers(place / "documents"),
    "predictor": answers(place / "predictor"),
    "pipeline": answers(place / "pipeline"),
    "again": answers(place / "again"),
    "model": vectors(place / "model"),
    "processor": AutoProcessor.from_pretrained(place / "processor", **trust)(texts)[
        "input_ids"
    ].tolist(),
    "config": AutoConfig.from_pretrained(place / "config", **trust).max_tokens_per_segment,
}
assert not [name for name in sys.modules if name.split(".")[0] == "hierbert"]
print(json.dumps(found))
"""


def close(one: Any, other: Any) -> bool:
    return torch.allclose(torch.tensor(one), torch.tensor(other), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_what_every_class_saves_loads_without_hierbert(models, tmp_path) -> None:
    source = models["both"]
    mine = HierBertPredictor.from_pretrained(source, device="cpu")
    for name, part in {
        "documents": HierBertForDocuments.from_pretrained(source),
        "model": HierBertModel.from_pretrained(source),
        "predictor": mine,
        "pipeline": pipeline("document-classification", model=str(source)),
        "processor": HierBertProcessor.from_pretrained(source),
        "config": HierBertConfig.from_pretrained(source),
    }.items():
        part.save_pretrained(tmp_path / name)
        # Nothing tells where the model was.
        written = (tmp_path / name).glob("*.json")
        assert not [path for path in written if str(source) in path.read_text()]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", NO_HIERBERT + STRANGER],
        input=json.dumps([str(tmp_path), TEXTS]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**env, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    inputs = mine.processor(TEXTS)
    with torch.no_grad():
        output = mine.model(**inputs)
    label, summary = mine.classify(TEXTS[0])[0].label, mine.summarize(TEXTS[0])[0].summary
    assert not close(output.logits[0].tolist(), output.logits[1].tolist())
    for name in ("documents", "predictor", "pipeline", "again"):
        logits, scores, *words = found[name]
        assert close(logits, output.logits.tolist()) and words == [label, summary], name
        assert close(scores, output.sentence_scores.tolist()), name
    assert close(found["model"], output.document_vectors.tolist())
    assert found["processor"] == inputs["input_ids"].tolist()
    assert found["config"] == mine.model.config.max_tokens_per_segment


def test_a_model_in_int8_is_not_saved(models, tmp_path) -> None:
    model = HierBertPredictor.from_pretrained(models["both"], device="cpu", dtype="int8")
    with pytest.raises(ValueError, match="int8"):
        model.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()
