"""What a classification makes of its logits: a temperature that fits, thresholds, intervals."""

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
from hierbert.config import RunConfig
from hierbert.extend import Example
from hierbert.scoring.calibration import fit_temperature
from hierbert.settings import load_config
from hierbert.tasks.classification import Classification
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Scored


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 30), st.booleans())
def test_no_temperature_of_a_plain_search_is_better(seed, count, several) -> None:
    chance = np.random.default_rng(seed)
    logits = torch.tensor(chance.normal(0, chance.uniform(0.1, 10), (count, 3)))
    labels = chance.integers(0, 3, count)
    if several:
        labels = (chance.random((count, 3)) < 0.4).astype(int)

    def loss_at(temperature: float) -> float:
        """The definition, by torch."""
        true = torch.tensor(labels, dtype=torch.float64 if several else torch.int64)
        loss = F.binary_cross_entropy_with_logits if several else F.cross_entropy
        return float(loss(logits / temperature, true))

    found = fit_temperature(logits.numpy(), labels)
    assert 0.05 <= found["temperature"] <= 20 and found["documents"] == count
    assert found["before"] == pytest.approx(loss_at(1.0), rel=1e-6)
    assert found["after"] == pytest.approx(loss_at(found["temperature"]), rel=1e-6)

    def penalized(temperature: float) -> float:
        # Two nats times what a sharpness and a temperature of 1 differ from, in all.
        return loss_at(temperature) + 2 / count * (temperature + 1 / temperature - 2)

    least = min(map(penalized, [1.0, *np.geomspace(0.05, 20, 200)]))
    assert penalized(found["temperature"]) <= least + 1e-6 and found["after"] <= found["before"]


def test_few_right_answers_do_not_make_a_model_certain() -> None:
    right, labels = np.array([[1.0, 0.0]] * 20), np.zeros(20, int)
    temperatures = [fit_temperature(right[:n], labels[:n])["temperature"] for n in (1, 5, 20)]
    assert 1 > temperatures[0] > temperatures[1] > 0.5 > temperatures[2] > 0.3


def documents_of(labels: list[Any]) -> Any:
    text = SimpleNamespace(text="", sentence_spans=[], given_sentences=False)
    return [PreparedDocument("d", text, {"classification": label}) for label in labels]


def test_documents_without_a_label_say_nothing() -> None:
    task = Classification.of(LabelMap(["a", "b"], "single_label"))
    kept = [[4.0, 0.0], [4.0, 0.0], [0.0, 9.0]]

    def found(labels: list[int | None]) -> tuple[Any, Any]:
        documents = documents_of(labels)
        report = task.report(Scored(documents, kept, baselines=False))
        return task.calibrate(documents, kept, HierBertConfig()), report

    assert found([None, None, None]) == ({}, {})
    fitted, _ = found([0, 1, None])
    assert fitted["results"] == {"calibration": fit_temperature(kept[:2], [0, 1])}
    kept[1] = [float("nan"), 0.0]
    assert found([0, 1, None])[0] == {}
    kept[1] = [4.0, 0.0]
    _, report = found([0, None, 1])
    assert report["intervals"]["accuracy"] == {"low": 1.0, "high": 1.0}


def test_a_label_applies_from_the_threshold_on() -> None:
    task = Classification.of(LabelMap(["a", "b"], "multi_label"))
    kept = [[0.0, -0.1]]  # of the probabilities a half, and a little less
    for values, f1s in (
        ({"decision_threshold": 0.5}, [1.0, 0.0]),
        ({"decision_threshold": 0.5, "decision_thresholds": [0.51, 0.2]}, [0.0, 1.0]),
    ):
        config = HierBertConfig(**values)
        documents = documents_of([[f1s.index(1.0)]])
        report = task.report(Scored(documents, kept, config=config, baselines=False))
        assert [row["f1"] for row in report["per_label"]["labels"]] == f1s
        assert task.score(documents, kept, config)["subset_accuracy"] == 1.0
        [line] = task.sample(documents[0], kept[0], config)
        assert line.split()[1] == "ab"[f1s.index(1.0)]


@pytest.mark.parametrize("thresholds", [[0.5], [0.5, 1.5], [0.5, float("nan")]])
def test_thresholds_are_one_probability_a_label(thresholds) -> None:
    with pytest.raises(Exception, match="decision_thresholds"):
        HierBertConfig(decision_thresholds=thresholds)


def test_tuned_thresholds_are_of_the_probabilities_that_are_answered() -> None:
    # What has label a has a logit of 3 times -2, else of 3 times -4; of b +4 and +2.
    task = Classification.of(LabelMap(["a", "b"], "multi_label"), "micro_f1")
    labels = [[0, 1], [], [0], [1]] * 20
    kept = [[-6.0 if 0 in own else -12.0, 12.0 if 1 in own else 6.0] for own in labels]
    fitted = task.calibrate(documents_of(labels), kept, HierBertConfig())
    config = HierBertConfig(**fitted["config"])
    logits = torch.tensor(kept) / config.temperature
    reached = logits.sigmoid() >= torch.tensor(config.label_thresholds)
    assert [row.nonzero().flatten().tolist() for row in reached] == labels
    told = fitted["results"]["calibration"]["thresholds"]
    assert told["labels"] == dict(zip("ab", config.label_thresholds, strict=True))
    assert (told["before"], told["after"]) == (pytest.approx(80 / 160 * 2 * 0.5, abs=1), 1.0)
    untuned = Classification.of(LabelMap(["a", "b"], "multi_label"))
    assert untuned.calibrate(documents_of(labels), kept, HierBertConfig())["config"].keys() == {
        "temperature"
    }


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
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(Exception, match="temperature="):
            build(encoders["bert"], temperature=value)


def test_balanced_weights_let_rare_labels_count_as_much() -> None:
    given = ["data.train=t.jsonl", "data.label_column=label", "training.class_weights=balanced"]
    config = load_config(RunConfig, None, given)
    train = [
        Example(str(number), "text", {"label": label}, f"row {number}")
        for number, label in enumerate(["a", "b", "a", None, "a"])
    ]

    def weights_of(task: Classification) -> Any:
        return task.model_settings(config, train)["class_weights"]

    single = Classification.of(LabelMap(["a", "b"], "single_label"))
    assert weights_of(single) == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])
    # Documents without the label over those with it; of 50 of these no less than 1/10.
    several = Classification.of(LabelMap(["a", "b"], "multi_label"))
    assert weights_of(several) == pytest.approx([1 / 3, 3])
    train += train[:1] * 50
    assert weights_of(several) == pytest.approx([0.1, 10])
