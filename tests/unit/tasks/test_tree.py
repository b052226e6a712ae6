"""What a tree's task fits beside the layers, and how it is calibrated."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_models import build

from hierbert import HierBertForDocuments
from hierbert.errors import ConfigError
from hierbert.model.answering import answer_batch
from hierbert.model.heads import Structure
from hierbert.model.tree import TreeSettings
from hierbert.scoring import METRICS
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.tree import Tree, _choose_cost
from hierbert.tasks.tree_labels import TreeLabels
from hierbert.taxonomy.tree import Taxonomy

#   art ( jazz, opera ), law ( tax, court )
NODES = ["art", "jazz", "opera", "law", "tax", "court"]
PARENTS = [[], [0], [0], [], [3], [3]]
ENDS = (1, 2, 4, 5)


@pytest.fixture(scope="module")
def parts(encoders):
    settings = TreeSettings(PARENTS, read_names=True)
    names = dict(enumerate(NODES))
    return build(
        encoders["bert"],
        summarization=False,
        num_labels=6,
        id2label=names,
        label2id={name: number for number, name in names.items()},
        label_tree=settings.as_config(),
    )


class Named:
    """Vectors in which a document is what the node of its first word is."""

    def __init__(self, hidden: int) -> None:
        self.of = {
            name: torch.nn.functional.one_hot(torch.tensor(place), hidden).float()
            for place, name in enumerate(NODES)
        }

    def batch(self, documents):
        own = [self.of[one.text.split()[0]] for one in documents]
        rows = [own[n] for n, one in enumerate(documents) for _ in one.segment_lengths]
        sentences = [own[n] for n, one in enumerate(documents) for _ in one.sentence_spans]
        return torch.stack(rows), torch.stack(sentences)


def documents(processor, ends):
    texts = [f"{NODES[end]} number {place}" for place, end in enumerate(ends)]
    for place, (end, segmented) in enumerate(zip(ends, processor.segment(texts), strict=True)):
        path = [*PARENTS[end], end]
        yield PreparedDocument(str(place), segmented, {"classification": path})


def test_a_leaf_that_no_training_document_has_is_right_by_its_name(parts, tmp_path) -> None:
    model, processor = parts
    task = Tree(TreeLabels(Taxonomy(NODES, PARENTS)), words=False)
    source = Named(model.config.hidden_size)
    # No document of court.
    train = list(documents(processor, [1, 2, 4, 1, 2, 4] * 5))
    asked = list(documents(processor, [5, 1]))
    splits = {"train": train, "validation": train[:6]}
    kept = [[0.0] * 6] * 6
    stack = task.complete(model, splits, kept, source, processor)
    assert stack is not None and stack.weights["names"] > 0
    vectors = stack.of_segments["names"].vectors
    assert torch.equal(vectors, torch.stack([source.of[name] for name in NODES]))
    structure = Structure.of_documents([one.segmented for one in asked])
    own, _ = source.batch([one.segmented for one in asked])
    scores = stack.of_segments["names"].of_segments(own, structure.segments_per_document)
    assert scores.argmax(1).tolist() == [5, 1]
    # Each level weighs members for itself, and the model's logits are that sum.
    levels = np.array([1, 2, 2, 1, 2, 2])
    made = copy.deepcopy(model)
    stack.put_into(made)
    segmented = [one.segmented for one in asked]
    linear = stack.of_segments["vectors"].of_segments(own, structure.segments_per_document)
    summed = stack.bias + sum(
        stack.weights[name] * stack.factors[name] * each
        for name, each in (("vectors", linear), ("names", scores))
    )
    answered = answer_batch(made, segmented, vectors=source.batch(segmented))
    torch.testing.assert_close(
        torch.stack([one.scores["classification"] for one in answered]), summed
    )
    # A saved config keeps no order of the members.
    made.save_pretrained(tmp_path)
    assert list(json.loads((tmp_path / "config.json").read_text())["logit_weights"]) == sorted(
        made.config.logit_weights
    )
    again = HierBertForDocuments.from_pretrained(tmp_path).eval()
    answered = answer_batch(again, segmented, vectors=source.batch(segmented))
    torch.testing.assert_close(
        torch.stack([one.scores["classification"] for one in answered]), summed
    )
    for name, factor in stack.factors.items():
        for level in (1, 2):
            assert len(set(factor.numpy()[levels == level].tolist())) == 1
        assert float(factor.mean()) == pytest.approx(1), name


def test_each_level_has_its_temperature(parts) -> None:
    model, _ = parts
    task = Tree(TreeLabels(Taxonomy(NODES, PARENTS)))
    drawn = np.random.default_rng(1)
    ends = drawn.choice(ENDS, 400)
    logits = np.zeros((400, 6))
    for row, end in enumerate(ends):
        # The top is right in 7 of 10, and says so three times too loudly; below it is right always,
        # and says so too quietly.
        shown = PARENTS[end][0] if drawn.random() < 0.7 else 3 - PARENTS[end][0]
        logits[row, shown] = 3 * np.log(0.7 / 0.3)
        logits[row, end] = 1.0
    targets = [SimpleNamespace(targets={"classification": [*PARENTS[end], end]}) for end in ends]
    found = task.calibrate(targets, logits.tolist(), model.config)
    top, below = found["config"]["label_tree"]["temperatures"]
    assert top == pytest.approx(3, rel=0.15) and below < 0.5
    assert found["config"]["label_tree"]["parents"] == PARENTS
    # Nearly all are worth answering down to the leaf.
    assert found["results"]["calibration"]["hf1"] > 0.65


@pytest.mark.parametrize(
    ("softmax", "documents", "ends", "expected"),
    [
        *(("auto", 40, 2, True), ("auto", 39, 2, False)),
        *(("siblings", 40, 2, False), ("paths", 1, 2, True)),
    ],
)
def test_where_whole_paths_compete(softmax, documents, ends, expected) -> None:
    task = Tree(TreeLabels(Taxonomy(NODES, PARENTS)))
    assert task._of_paths(softmax, documents, ends) is expected


def test_several_paths_do_not_compete() -> None:
    task = Tree(TreeLabels(Taxonomy(NODES, PARENTS), multi_path=True))
    assert not task._of_paths("auto", 10**6, 2)
    with pytest.raises(ConfigError, match="is not for documents with several paths"):
        task._of_paths("paths", 10, 2)


def test_whole_paths_have_one_temperature(parts) -> None:
    model, _ = parts
    task = Tree(TreeLabels(Taxonomy(NODES, PARENTS)))
    config = copy.deepcopy(model.config)
    config.label_tree = {**config.label_tree, "of_paths": True}
    drawn = np.random.default_rng(1)
    ends = drawn.choice(ENDS, 600)
    logits = np.zeros((600, 6))
    for row, end in enumerate(ends):
        # Right in 7 of 10, and four times too loud.
        logits[row, end if drawn.random() < 0.7 else drawn.choice(ENDS)] = 12.0
    targets = [SimpleNamespace(targets={"classification": [*PARENTS[end], end]}) for end in ends]
    found = task.calibrate(targets, logits.tolist(), config)
    first, second = found["config"]["label_tree"]["temperatures"]
    wrong = 0.3 * (1 - 1 / len(ENDS))
    loud = np.log((1 - wrong) * (len(ENDS) - 1) / wrong)
    assert first == second == pytest.approx(12 / loud, rel=0.1)


@pytest.mark.parametrize("several", [False, True])
def test_the_cost_is_the_deepest_of_those_that_do_as_well(several) -> None:
    drawn = np.random.default_rng(3)
    settings = TreeSettings(PARENTS, several=several)
    shares = settings.tree.probabilities(torch.from_numpy(drawn.normal(size=(200, 6)))).numpy()
    true = np.zeros((200, 6), dtype=int)
    for row, end in enumerate(drawn.choice(ENDS, 200)):
        true[row, [*PARENTS[end], end]] = 1
    scores, tables = {}, {}
    for place in range(17):
        cost = place / 20
        if several:
            given = shares >= cost
        else:
            totals = [sum(shares[:, a] - cost for a in {*PARENTS[node], node}) for node in range(6)]
            given = np.zeros((200, 6), bool)
            for row, end in enumerate(np.argmax(totals, axis=0)):
                given[row, [*PARENTS[end], end]] = True
        tables[cost], scores[cost] = given, METRICS["hf1"].score(given.astype(int), true)
    cost, f1 = _choose_cost(shares, true, settings)
    assert f1 == pytest.approx(scores[cost])
    best = max(scores, key=lambda one: scores[one])

    def error(one: float) -> float:
        """How far its distance to the best goes between draws of documents."""
        gaps = []
        for _ in range(400):
            rows = drawn.integers(200, size=200)
            own = [
                METRICS["hf1"].score(tables[c][rows].astype(int), true[rows]) for c in (one, best)
            ]
            gaps.append(own[0] - own[1])
        return float(np.std(gaps))

    assert scores[best] - scores[cost] <= 1.2 * error(cost)
    for deeper in [one for one in scores if one < cost]:
        assert scores[best] - scores[deeper] > 0.8 * error(deeper)
