"""Heads by distances to a tree's nodes: their loss, their distances, a whole experiment."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import label_dimensions
from benchmarks.label_dimensions import FULL, HEADS, LOW, Choices, Experiment, Head

NODES = [("a", None), ("b", None), ("aa", "a"), ("ab", "a"), ("aab", "aa"), ("aac", "aa")]


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """A tree of six nodes; a document's vector says where it is, with some noise."""
    (tmp_path / "hwv").mkdir()
    with gzip.open(tmp_path / "hwv" / "taxonomy.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": node, "parent": above}) + "\n" for node, above in NODES)
    made = Experiment(tmp_path, tmp_path)
    generator = torch.Generator().manual_seed(0)
    ends = torch.tensor([1, 3, 4, 5]).repeat(10)
    noise = 0.1 * torch.randn(40, 6, generator=generator)
    part = made.paths[ends].float() + noise, ends
    made.fold = lambda seed: dict.fromkeys(("train", "validation", "test"), part)
    return made


def test_the_loss_is_that_of_all_nodes(experiment: Experiment) -> None:
    ends = torch.tensor([4, 1, 3, 5, 4])
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    choices = Choices(experiment.taxonomy, experiment.tree, ends)
    wanted = experiment.tree.losses(logits, experiment.paths[ends].float()).mean()
    assert float(choices.loss(logits[choices.rows, choices.nodes])) == pytest.approx(float(wanted))
    # Document 1 chooses at the top alone.
    assert choices.nodes[choices.rows == 1].tolist() == [0, 1]


@pytest.mark.parametrize("name", ["ball, random points, learnt", "plane, random points, learnt"])
def test_logits_are_distances(name: str) -> None:
    generator = np.random.default_rng(0)
    vectors, points = generator.normal(size=(3, 2)), generator.normal(size=(4, 2))
    head = Head(name, 2, torch.tensor(points))
    head.map = torch.nn.Identity()
    found = head.every(torch.tensor(vectors, dtype=torch.float32))

    def placed(tangent: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(tangent)
        return tangent * np.tanh(length / 2) / length

    for row, vector in enumerate(vectors):
        for node, point in enumerate(points):
            if name.startswith("ball"):
                one, other = placed(vector), placed(point)
                apart = ((one - other) ** 2).sum() / (1 - one @ one) / (1 - other @ other)
                wanted = np.arccosh(1 + 2 * apart)
            else:
                wanted = np.linalg.norm(vector - point)
            assert float(found[row, node]) == pytest.approx(-wanted, rel=1e-5)


def test_an_experiment(experiment: Experiment, monkeypatch) -> None:
    monkeypatch.setattr(label_dimensions, "_LEARNING_RATES", (0.1,))
    monkeypatch.setattr(label_dimensions, "_WEIGHT_DECAYS", (0.1,))
    heads = [FULL, LOW, "ball, random points, learnt"]
    assert set(heads) < set(HEADS)
    kept = {
        f"{name}/{6 if name == FULL else 2}/0/{init}": experiment.fitted(
            name, 6 if name == FULL else 2, 0, init
        )
        for name in heads
        for init in (0, 1)
    }
    full = kept[f"{FULL}/6/0/0"]
    assert full["scores"]["hf1"] == full["validation"] == 1.0
    assert full["answers"] == full["true"]
    lines = experiment.shown(kept)
    assert len(lines) == 2 + len(heads)
    assert lines[2].split(" | ")[1:4] == ["6", "2", "100.0 (0.0)"]
