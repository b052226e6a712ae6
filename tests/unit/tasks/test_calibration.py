"""A temperature that makes probabilities fit: found where a plain search finds it, and kept."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import build
from torch.nn import functional as F

from hierbert import HierBertConfig, HierBertPredictor
from hierbert.scoring.calibration import fit_temperature
from hierbert.tasks.classification import Classification
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Scored


def fit(logits: torch.Tensor, labels: list[Any], kind: str) -> dict[str, float]:
    if kind == "single_label":
        return fit_temperature(logits.numpy(), labels)
    table = np.zeros(logits.shape, dtype=int)
    for row, names in enumerate(labels):
        table[row, names] = 1
    return fit_temperature(logits.numpy(), table)


def loss_at(temperature: float, logits: torch.Tensor, labels: list[Any], kind: str) -> float:
    """The definition, by torch."""
    scaled = logits.double() / temperature
    if kind == "single_label":
        return float(F.cross_entropy(scaled, torch.tensor(labels)))
    targets = torch.zeros_like(scaled)
    for row, names in enumerate(labels):
        targets[row, names] = 1.0
    return float(F.binary_cross_entropy_with_logits(scaled, targets))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 30), st.sampled_from(["single_label", "multi_label"]))
def test_no_temperature_of_a_plain_search_is_better(seed, count, kind) -> None:
    chance = np.random.default_rng(seed)
    logits = torch.tensor(chance.normal(0, chance.uniform(0.1, 10), (count, 3)))
    if kind == "single_label":
        labels: list[Any] = chance.integers(0, 3, count).tolist()
    else:
        labels = [np.flatnonzero(chance.random(3) < 0.4).tolist() for _ in range(count)]
    found = fit(logits, labels, kind)
    assert 0.05 <= found["temperature"] <= 20
    assert found["before"] == pytest.approx(loss_at(1.0, logits, labels, kind), rel=1e-6)
    assert found["after"] == pytest.approx(
        loss_at(found["temperature"], logits, labels, kind), rel=1e-6
    )
    least = min(loss_at(float(t), logits, labels, kind) for t in np.geomspace(0.05, 20, 200))
    assert found["after"] <= least + 1e-6 and found["documents"] == count
    assert found["after"] <= found["before"] + 1e-9


def test_documents_without_a_label_say_nothing() -> None:
    rows = [[4.0, 0.0], [4.0, 0.0], [0.0, 9.0]]
    task = Classification(LabelMap(["a", "b"], "single_label"))

    def found(labels: list[int | None]) -> dict[str, Any]:
        segmented: Any = None
        documents = [PreparedDocument("d", segmented, {"classification": n}) for n in labels]
        return task.calibrate(documents, rows)

    assert found([None, None, None]) == {}
    expected = fit(torch.tensor(rows[:2]), [0, 1], "single_label")
    assert found([0, 1, None])["results"] == {"calibration": expected}


def test_intervals_pass_over_unlabelled_documents() -> None:
    task = Classification(LabelMap(["a", "b", "c"], "single_label"))

    def found(labels: list[int | None]) -> dict[str, Any]:
        segmented = SimpleNamespace(text="")
        documents: Any = [PreparedDocument("d", segmented, {task.name: n}) for n in labels]
        kept = [[1, 0, 0], [0, 9, 0], [0, 1, 0]]
        return task.report(Scored(documents, kept, baselines=False))

    assert found([0, None, 1])["intervals"]["accuracy"] == {"low": 1.0, "high": 1.0}
    assert "intervals" not in found([None, None, None])


def test_a_label_applies_from_the_threshold_on() -> None:
    task = Classification(LabelMap(["a", "b"], "multi_label"))
    document: Any = PreparedDocument("d", SimpleNamespace(text=""), {task.name: [0]})
    kept = [[0.0, -0.1]]  # of the probabilities a half, and a little less
    config = HierBertConfig(decision_threshold=0.5)
    table = task.report(Scored([document], kept, config=config, baselines=False))["per_label"]
    assert [row["f1"] for row in table["labels"]] == [1.0, 0.0]


def test_a_temperature_travels_with_its_model_and_changes_no_loss(encoders, tmp_path) -> None:
    model, processor = build(encoders["bert"])
    texts, labels = ["The cat.", "A dog is good."], torch.tensor([0, 2])
    inputs = processor(texts)
    before = model(**inputs, labels=labels)
    model.config.temperature = 4.0
    after = model(**inputs, labels=labels)
    # Losses are of the logits that are learnt.
    assert torch.equal(after.loss, before.loss)
    torch.testing.assert_close(after.logits, before.logits / 4.0)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    expected = (before.logits / 4.0).softmax(1)
    answers = HierBertPredictor.from_pretrained(tmp_path).classify(texts)
    for row, answer in zip(expected.tolist(), answers, strict=True):
        assert list(answer.probabilities.values()) == pytest.approx(row, abs=1e-6)


@pytest.mark.parametrize("value", (0.0, -1.0, float("nan"), float("inf")))
def test_impossible_temperatures_are_refused(encoders, value) -> None:
    with pytest.raises(Exception, match="temperature="):
        build(encoders["bert"], temperature=value)
