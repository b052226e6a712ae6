"""A long document's rows go through the model in parts, and get what they get together."""

import pytest
import torch
from small_models import build

from hierbert.model import aggregation


@pytest.mark.parametrize("rows_at_once", [1, 7, 64])
def test_a_part_of_the_rows_at_a_time_gives_the_same_answers(
    encoders, monkeypatch, rows_at_once
) -> None:
    model, processor = build(encoders["bert"])
    # More sentences than twice the reach of the sentences' layers, and documents beside them.
    texts = ["The plot slept. It was long. " * 200, "", "One word.", "A law. " * 90]
    with torch.inference_mode():
        together = [model(**processor(some)) for some in (texts, texts[:1])]
        monkeypatch.setattr(aggregation, "_ROWS_AT_ONCE", rows_at_once)
        in_parts = [model(**processor(some)) for some in (texts, texts[:1])]
    for expected, found in zip(together, in_parts, strict=True):
        assert found.keys() == expected.keys()
        for name in ("logits", "sentence_scores", "document_vectors", "sentence_vectors"):
            assert torch.allclose(found[name], expected[name], rtol=0, atol=1e-5), name
    graph = model(**processor(texts[:1]))
    assert torch.allclose(graph.sentence_scores, together[1].sentence_scores, rtol=0, atol=1e-5)
