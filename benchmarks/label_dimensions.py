"""Trees of labels: a node's distance as its logit, beside weights in full and of as low a rank.

    python benchmarks/label_dimensions.py --data FOLDER --vectors FOLDER --dimensions 5 16 64

Documents and labels are those of hwv, document vectors the means of a frozen encoder's segment
vectors, which the folder --vectors keeps. A head's logit of a node is a product with its weights,
in full or of a few dimensions (a matrix of low rank), or minus the scaled distance of a linear map
of the document vector to its point, in the ball or in the plane. Points begin at random or where
`fit_tree_vectors` puts them, and are learnt or stay. Loss and decisions are those of the tree head;
learning rate, weight decay, steps and cost are the best on validation, for all heads of the same.
"""

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.corpora import documents
from benchmarks.common.report import DEFAULT_ENCODER, RESULTS, keep_figures, table
from hierbert import HierBert, Taxonomy, read_taxonomy
from hierbert.model.label_tree import LabelTree
from hierbert.scoring.intervals import difference, resampled_scores
from hierbert.scoring.labels import label_scores
from hierbert.taxonomy.embedding import fit_tree_vectors

FULL, LOW = "linear", "linear of low rank"
HEADS = {
    FULL: ("product", "at random"),
    LOW: ("product", "at random"),
    "ball, the tree's points": ("ball", "fixed"),
    "ball, the tree's points, learnt": ("ball", "of the tree"),
    "ball, random points, learnt": ("ball", "at random"),
    "plane, the tree's points": ("plane", "fixed"),
    "plane, the tree's points, learnt": ("plane", "of the tree"),
    "plane, random points, learnt": ("plane", "at random"),
}
"""What logits are, and where points begin; "fixed", those of the tree stay there."""
_LEARNING_RATES, _WEIGHT_DECAYS = (0.03, 0.1), (1.0, 3.0, 6.0)
# A setting ends earlier where so many looks in a row found nothing better.
_MOST_STEPS, _STEPS_BETWEEN_LOOKS, _PATIENCE = 200, 20, 3
_COSTS = [number / 20 for number in range(1, 20)]
_SEED, _AT_ONCE, _LEAST = 0, 64, 1e-12
# From the middle of the ball: what lies farther out counts as there, or slopes outgrow float32.
_FARTHEST = 20.0

Part = tuple[Tensor, Tensor]
"""Documents: vectors float32 (D, H), and of each the last node of its path, int64 (D,)."""
Cells = dict[tuple[str, str], dict[str, Any]]
"""By fold and init."""


class Head(nn.Module):
    """Document vectors float (D, H) to logits of nodes, by points or weights (C, d)."""

    def __init__(self, name: str, width: int, points: Tensor) -> None:
        super().__init__()
        self.kind, start = HEADS[name]
        self.map = nn.Identity() if name == FULL else nn.Linear(width, points.shape[1])
        self.points = nn.Parameter(points, requires_grad=start != "fixed")
        self.biases = nn.Parameter(torch.zeros(len(points)))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, vectors: Tensor, rows: Tensor, nodes: Tensor) -> Tensor:
        """Of P pairs of a document's row and a node, float (P,)."""
        own = self.map(vectors)
        if self.kind == "product":
            products: Tensor = own @ self.points.T + self.biases
            return products[rows, nodes]
        (first, one), (second, other) = map(self._placed, (own.double(), self.points))
        apart = first.index_select(0, rows) - second.index_select(0, nodes)
        squares = apart.square().sum(1) + _LEAST
        if self.kind == "plane":
            distances = squares.sqrt()
        else:
            squares = 2 * squares * one.index_select(0, rows) * other.index_select(0, nodes)
            distances = torch.log1p(squares + (squares * (squares + 2)).sqrt())
        return -(self.log_scale.exp() * distances).float()

    def _placed(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Points, those of the ball by their tangent vectors; and there 1 / (1 - r^2)."""
        if self.kind == "plane":
            return points, points
        lengths = (points.square().sum(1, keepdim=True) + _LEAST).sqrt().clamp(max=_FARTHEST)
        placed = nn.functional.normalize(points) * torch.tanh(lengths / 2)
        return placed, torch.cosh(lengths[:, 0] / 2).square()

    def every(self, vectors: Tensor) -> Tensor:
        """Logits of all nodes, float (D, C)."""
        nodes = torch.arange(len(self.points))
        parts = [(own, torch.arange(len(own))) for own in vectors.split(_AT_ONCE)]
        with torch.no_grad():
            found = [
                self(own, rows.repeat_interleave(len(nodes)), nodes.repeat(len(rows)))
                for own, rows in parts
            ]
        return torch.cat(found).view(len(vectors), -1)


class Choices:
    """What documents choose on the way down their paths, as one tree: the loss asks nothing else.

    Some 32 nodes a document, where all are 1,186.
    """

    def __init__(self, taxonomy: Taxonomy, tree: LabelTree, ends: Tensor) -> None:
        rows, nodes, targets = [], [], []
        # The documents stand at the top, and nobody chooses among them.
        parents: list[list[int]] = [[] for _ in ends]
        for row, end in enumerate(ends.tolist()):
            path = tree.path(end)
            own = tree.siblings(path)
            places = {node: len(parents) + place for place, node in enumerate(own)}
            above = [taxonomy.parents[node].tolist() for node in own]
            parents += [[places[one[0]] if one else row] for one in above]
            rows += [row] * len(own)
            nodes += own
            targets += [float(node in path) for node in own]
        self.rows, self.nodes = torch.tensor(rows), torch.tensor(nodes)
        self._tree, self._count = LabelTree(parents), len(ends)
        self._targets = torch.tensor([[0.0] * len(ends) + targets])

    def loss(self, logits: Tensor) -> Tensor:
        """Mean negative log-likelihood of the paths, of logits float (P,) of the pairs."""
        every = torch.cat([logits.new_zeros(self._count), logits])[None]
        return self._tree.losses(every, self._targets).sum() / self._count


class Experiment:
    """The tree, and the documents of each fold; vectors are standardised by those to train on."""

    def __init__(self, data: Path, vectors: Path) -> None:
        self._data, self._vectors = data, vectors
        self.taxonomy = read_taxonomy(data / "hwv" / "taxonomy.jsonl.gz")
        own = [self.taxonomy.parents[node].tolist() for node in range(len(self.taxonomy))]
        self.tree = LabelTree(own)
        self.paths = self.tree.closed(torch.eye(len(own)))
        self.fold, self.points = cache(self._fold), cache(self._points)

    def _fold(self, seed: int) -> dict[str, Part]:
        new = HierBert.from_encoder(DEFAULT_ENCODER, device="cpu", max_tokens_per_segment=128)
        encoder = HierBert(new.model, new.processor, vector_cache=self._vectors)
        found = {}
        for name, rows in documents("hwv", self._data, seed).items():
            answers = encoder.embed([row["text"] for row in rows])
            vectors = torch.from_numpy(np.stack([one.document_vector for one in answers])).float()
            numbers = [self.taxonomy.numbers[row["label"][-1]] for row in rows]
            found[name] = vectors, torch.tensor(numbers)
        mean, deviation = found["train"][0].mean(0), found["train"][0].std(0)
        return {name: ((own - mean) / deviation, ends) for name, (own, ends) in found.items()}

    def _points(self, kind: str, dimensions: int, seed: int) -> Tensor:
        """Where the tree's nodes are, float64 (C, d): in the ball as tangents at its middle."""
        is_plane = kind == "plane"
        fitted = fit_tree_vectors(self.taxonomy, dimensions, euclidean=is_plane, seed=seed)
        points = torch.from_numpy(fitted.points)
        lengths = points.norm(dim=1, keepdim=True).clamp(_LEAST, 1 - _LEAST)
        return points if is_plane else points * (2 * torch.atanh(lengths) / lengths)

    def started(self, name: str, dimensions: int, init: int) -> Tensor:
        """Points, or weights, before the first step, (C, d)."""
        (kind, start), nodes = HEADS[name], len(self.tree)
        if kind == "product":
            # As those of a linear layer.
            return (2 * torch.rand(nodes, dimensions) - 1) / math.sqrt(dimensions)
        if start == "at random":
            return torch.randn(nodes, dimensions, dtype=torch.float64)
        return self.points(kind, dimensions, init).clone()

    def decided(self, logits: Tensor) -> dict[float | None, Tensor]:
        """The last nodes of answers, int64 (D,): by the cost, and the likeliest leaf (None)."""
        shares = self.tree.probabilities(logits.double())
        sums = self.tree.summed(shares)
        leaf = shares.masked_fill(~self.tree.is_leaf, -1.0).argmax(1)
        return {None: leaf} | {c: (sums - c * self.tree.levels).argmax(1) for c in _COSTS}

    def table(self, ends: Tensor | Sequence[int]) -> npt.NDArray[np.int64]:
        """Which nodes answers have, 0 and 1, by their last."""
        return self.paths[torch.as_tensor(ends)].numpy().astype(np.int64)

    def scores(self, given: Tensor, true: Tensor) -> dict[str, float]:
        """Of answers by their last nodes."""
        return label_scores("tree", self.table(given), self.table(true))

    def hf1(self, given: Tensor, true: Tensor) -> float:
        """The same, one of them and sooner."""
        ours, theirs = self.paths[given], self.paths[true]
        return float(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))

    def fitted(self, name: str, dimensions: int, seed: int, init: int) -> dict[str, Any]:
        """What a head answers to a fold's test documents, as is best on validation."""
        parts = self.fold(seed)
        (train, ends), (asked, true), (test, test_true) = (
            parts[split] for split in ("train", "validation", "test")
        )
        choices = Choices(self.taxonomy, self.tree, ends)
        best: dict[str, Any] = {"validation": -1.0}
        for rate, decay in itertools.product(_LEARNING_RATES, _WEIGHT_DECAYS):
            torch.manual_seed(init)
            head = Head(name, train.shape[1], self.started(name, dimensions, init))
            learnt = [one for one in head.parameters() if one.requires_grad]
            tables, others = ([p for p in learnt if (p.ndim > 1) == own] for own in (True, False))
            groups = [{"params": tables}, {"params": others, "weight_decay": 0.0}]
            optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=decay)
            looks: list[float] = []
            for step in range(1, _MOST_STEPS + 1):
                optimizer.zero_grad()
                choices.loss(head(train, choices.rows, choices.nodes)).backward()
                optimizer.step()
                if step % _STEPS_BETWEEN_LOOKS:
                    continue
                answers = self.decided(head.every(asked))
                found = {cost: self.hf1(answers[cost], true) for cost in _COSTS}
                cost = max(found, key=found.__getitem__)
                looks.append(found[cost])
                if len(looks) > _PATIENCE and max(looks[-_PATIENCE:]) <= max(looks[:-_PATIENCE]):
                    break
                if found[cost] > best["validation"]:
                    answers = self.decided(head.every(test))
                    best = {"validation": found[cost], "cost": cost, "steps": step}
                    best |= {"learning_rate": rate, "weight_decay": decay}
                    best |= {"scores": self.scores(answers[cost], test_true)}
                    best |= {"scores_of_leaves": self.scores(answers[None], test_true)}
                    best |= {"answers": answers[cost].tolist(), "true": test_true.tolist()}
        return best

    def gain(self, cells: Cells, others: Cells) -> str:
        """Of hF1, with its 95 % interval over documents; of several inits the mean."""
        seeds, inits = (sorted(set(own)) for own in zip(*cells.keys() & others.keys(), strict=True))
        observed, resampled = 0.0, np.zeros(())
        for init, (sign, own) in itertools.product(inits, ((1, cells), (-1, others))):
            given, true = (
                np.concatenate([self.table(own[seed, init][key]) for seed in seeds])
                for key in ("answers", "true")
            )
            share = sign / len(inits)
            observed += share * label_scores("tree", given, true)["hf1"]
            resampled = resampled + share * resampled_scores("tree", given, true, _SEED)["hf1"]
        mean, low, high, _ = (100 * value for value in difference(observed, resampled))
        return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"

    def shown(self, kept: Mapping[str, dict[str, Any]]) -> list[str]:
        """In Markdown: means over folds and inits, with their standard deviation."""
        groups: dict[tuple[str, str], Cells] = {}
        for key, cell in kept.items():
            name, dimensions, seed, init = key.split("/")
            groups.setdefault((name, dimensions), {})[seed, init] = cell
        full = next((cells for (name, _), cells in groups.items() if name == FULL), None)
        rows = []
        for (name, dimensions), cells in groups.items():
            row = [name, dimensions, str(len(cells))]
            for key, metric in (
                ("scores", "hf1"),
                ("scores_of_leaves", "hf1"),
                ("scores_of_leaves", "exact_path"),
            ):
                values = [100 * cell[key][metric] for cell in cells.values()]
                spread = f" ({statistics.stdev(values):.1f})" if len(values) > 1 else ""
                row.append(f"{statistics.fmean(values):.1f}{spread}")
            for other in (full, groups.get((LOW, dimensions))):
                row.append("" if other in (None, cells) else self.gain(cells, other))
            rows.append(row)
        columns = ["head", "dimensions", "fits", "hF1", "leaf: hF1", "leaf: exact path"]
        return table([*columns, f"hF1 over {FULL}", f"over {LOW}"], rows)


def main() -> None:
    """Fit what is asked for, keep the figures, and print all there are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of the corpora")
    add("--vectors", type=Path, required=True, help="folder that keeps vectors of documents")
    add("--heads", nargs="*", choices=HEADS, default=[*HEADS], metavar="NAME")
    add("--dimensions", nargs="+", type=int, default=[16])
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="folds")
    add("--inits", nargs="+", type=int, default=[0, 1])
    add("--output", type=Path, default=RESULTS / "label_dimensions.json")
    options = parser.parse_args()
    experiment = Experiment(options.data, options.vectors)
    asked = {}
    for dimensions, init, seed, name in itertools.product(
        options.dimensions, options.inits, options.seeds, options.heads
    ):
        own = experiment.fold(seed)["train"][0].shape[1] if name == FULL else dimensions
        asked[f"{name}/{own}/{seed}/{init}"] = partial(experiment.fitted, name, own, seed, init)
    print("\n".join(experiment.shown(keep_figures(options.output, asked))))


if __name__ == "__main__":
    main()
