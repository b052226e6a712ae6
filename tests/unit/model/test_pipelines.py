"""What the pipelines of transformers refuse; how they answer is in tests/contract/test_python."""

import re

import pytest
import torch
from small_models import build
from transformers import pipeline

TEXT = "The court read the contract. The judge was good."


def test_pipelines_refuse_what_they_do_not_know(encoders) -> None:
    model, processor = build(encoders["bert"])
    summarize = pipeline("document-summarization", model=model, processor=processor)
    for given, said in (
        ({"max_word": 3}, "max_word is not allowed here; allowed are batch_tokens, max_words"),
        ({"order": "random"}, "order='random' is not allowed; choose from document, score"),
        ({"redundancy": 2}, "redundancy=2 is not allowed: 0 to 1"),
        ({"batch_tokens": 0}, "batch_tokens=0 is not allowed"),
        ({"batch_size": 0}, "batch_size=0 is not allowed"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            summarize(TEXT, **given)
    with pytest.raises(ValueError, match="needs the model's processor"):
        type(summarize)(model=model)
    labels_only, processor = build(encoders["bert"], summarization=False)
    with pytest.raises(ValueError, match="this model cannot summarize: it has no head for it"):
        pipeline("document-summarization", model=labels_only, processor=processor)


def test_a_model_that_gives_no_numbers_is_refused(encoders) -> None:
    model, processor = build(encoders["bert"])
    classify = pipeline("document-classification", model=model, processor=processor)
    with torch.no_grad():
        model.classifier.output.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"not give finite numbers in torch.float32"):
        classify(TEXT)
