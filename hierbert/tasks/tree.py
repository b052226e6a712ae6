"""Documents that have a path in a tree of labels, or several paths."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from hierbert.config import DataConfig, RunConfig
from hierbert.data.document import Example
from hierbert.errors import ConfigError
from hierbert.model.classification_head import LabelRule
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.name_vectors import NameVectors
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.ragged import group_mean
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.tree import DECISIONS, TreeSettings
from hierbert.scoring.calibration import fit_temperature
from hierbert.scoring.hierarchical import consistent_share, level_scores
from hierbert.scoring.labels import label_details
from hierbert.scoring.metric import Metric
from hierbert.scoring.reliability import reliability_bins
from hierbert.scoring.tables import grid
from hierbert.scoring.tree_baselines import tree_baselines
from hierbert.scoring.tree_targets import TreeTargets
from hierbert.tasks.classification import (
    Classification,
    LabelAnswers,
    listed,
    reader,
    register_labels,
)
from hierbert.tasks.mistakes import surest_mistakes
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Scored
from hierbert.tasks.tree_labels import TreeLabels
from hierbert.taxonomy.reading import SEPARATOR
from hierbert.taxonomy.tree import Taxonomy

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

_Floats = npt.NDArray[np.float64]

# What is tried of the cost of a node, and of the probability from which one of several paths is
# answered.
_COSTS = tuple(place / 20 for place in range(17))
# Of so many documents of each path, the paths of so small a tree are told apart best as wholes;
# of fewer, choices that more documents share are (docs/results.md).
_FEWEST_OF_A_PATH, _MOST_NODES_OF_PATHS = 20, 256
# Documents whose nodes are all decided at once.
_AT_ONCE = 256


@register_labels
class Tree(Classification):
    """Labels that have parents: a document has all nodes of its path."""

    problem_type = "tree"
    head_type = None
    auto_metric = "hf1"
    titles = "Paths"
    label_map: TreeLabels

    @classmethod
    @override
    def learn_labels(cls, data: DataConfig, train: Sequence[Example]) -> TreeLabels:
        return TreeLabels.learn_tree(
            train,
            taxonomy=data.taxonomy,
            separator=data.label_separator,
            field=listed(data.fields["label"]),
            multi_path=data.multi_path,
            encoding=data.encoding,
        )

    @classmethod
    @override
    def labels_of(cls, config: HierBertConfig) -> TreeLabels:
        settings = TreeSettings.of(config)
        nodes = [config.id2label[number] for number in range(config.num_labels)]
        taxonomy = Taxonomy(nodes, settings.parents, settings.names)
        return TreeLabels(taxonomy, multi_path=settings.several)

    @override
    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        if config.training.class_weights != "none":
            raise ConfigError(
                "is not for a tree of labels; model.tree_adjustment helps rare children",
                setting="training.class_weights",
                value=config.training.class_weights,
            )
        taxonomy, several = self.label_map.taxonomy, self.label_map.multi_path
        decision = config.model.tree_decision
        if several and decision != DECISIONS[0]:
            raise ConfigError(
                "is for documents with one path; of several, model.decision_threshold decides",
                setting="model.tree_decision",
                value=decision,
            )
        parents = [taxonomy.parents[node].tolist() for node in range(len(taxonomy))]
        paths = [path for one in train if (path := self.label_map.encode(one))]
        is_leaf = taxonomy.children.lengths == 0
        stops = sorted({path[-1] for path in paths if not is_leaf[path[-1]]})
        ends = {path[-1] for path in paths}
        settings = TreeSettings(
            parents,
            [] if several else stops,
            several,
            config.model.tree_decision,
            config.model.min_probability,
            adjustment=self._adjustment(config.model.tree_adjustment, paths),
            read_names=config.model.label_names,
            names=None if taxonomy.names == taxonomy.nodes else list(taxonomy.names),
            of_paths=self._of_paths(config.model.tree_softmax, len(paths), len(ends)),
        )
        return super().model_settings(config, train) | {"label_tree": settings.as_config()}

    def _of_paths(self, softmax: str, documents: int, ends: int) -> bool:
        """Whether whole paths compete: "auto" where there are many documents of each, and few."""
        if softmax == "paths" and self.label_map.multi_path:
            raise ConfigError(
                "is not for documents with several paths",
                setting="model.tree_softmax",
                value=softmax,
            )
        if softmax != "auto":
            return softmax == "paths"
        if self.label_map.multi_path or len(self.names) > _MOST_NODES_OF_PATHS:
            return False
        return documents >= _FEWEST_OF_A_PATH * ends

    def _adjustment(self, strength: float, paths: Sequence[list[int]]) -> list[float] | None:
        """So many times the log of each node's share among its siblings (Menon et al. 2021)."""
        if not strength:
            return None
        # Of a node that no document has, half a one.
        nodes = [node for path in paths for node in path]
        counts = np.bincount(nodes, minlength=len(self.names)) + 0.5
        parents = self.label_map.taxonomy.parents
        groups = np.full(len(counts), len(counts))
        groups[parents.owners] = parents.values
        of_siblings = np.bincount(groups, weights=counts)[groups]
        found: list[float] = (strength * np.log(counts / of_siblings)).tolist()
        return found

    @property
    def names(self) -> list[str]:
        """Of the nodes."""
        return self.label_map.names

    @override
    def name_vectors(
        self, config: HierBertConfig, vectors: "VectorSource", processor: HierBertProcessor
    ) -> NameVectors | None:
        if not TreeSettings.of(config).read_names:
            return None
        tree = self.label_map.taxonomy
        texts = [
            name if text is None else f"{name}. {text}"
            for name, text in zip(tree.names, tree.texts, strict=True)
        ]
        found = NameVectors(config.hidden_size, len(tree))
        for start in range(0, len(texts), _AT_ONCE):
            segmented = processor.segment(texts[start : start + _AT_ONCE])
            own, _ = vectors.batch(segmented)
            lengths = torch.tensor([len(one.segment_lengths) for one in segmented])
            found.vectors[start : start + len(segmented)] = group_mean(own.float(), lengths)
        return found

    @override
    def continued(self, config: HierBertConfig) -> dict[str, Any] | None:
        if config.label_tree is None or super().continued(config) is None:
            return None
        known, own = TreeSettings.of(config), self.label_map
        same = own.taxonomy == self.labels_of(config).taxonomy and known.several == own.multi_path
        return {} if same else None

    @override
    def definitions(self) -> Mapping[str, Mapping[str, Any]]:
        tree = self.label_map.taxonomy
        nodes = {
            node: [
                tree.names[place],
                [tree.nodes[one] for one in tree.parents[place]],
                *([] if tree.texts[place] is None else [tree.texts[place]]),
            ]
            for place, node in enumerate(tree.nodes)
        }
        return {"taxonomy": nodes}

    @override
    def collate(self, targets: Sequence[Any], documents: Sequence[SegmentedDocument]) -> Tensor:
        """float32 (D, C)."""
        table = torch.zeros(len(targets), len(self.names))
        for row, path in enumerate(targets):
            table[row, slice(None) if path is None else path] = torch.nan if path is None else 1.0
        return table

    @override
    def references(self, labels: list[Any]) -> npt.NDArray[Any]:
        table = np.zeros((len(labels), len(self.names)), dtype=int)
        for row, path in enumerate(labels):
            table[row, path] = 1
        return table

    @override
    def table(self, references: npt.NDArray[Any]) -> _Floats:
        return references.astype(np.float64)

    @override
    def targets(self, references: npt.NDArray[Any], config: HierBertConfig) -> TreeTargets:
        settings = TreeSettings.of(config)
        added = 0.0 if settings.adjustment is None else np.array(settings.adjustment)
        table = self.table(references)
        return TreeTargets(table, settings.several, tree=settings.tree, adjustment=added)

    @override
    def predictions(self, logits: _Floats, config: HierBertConfig) -> npt.NDArray[Any]:
        """Which nodes answers have, 0 and 1, int64 (D, C)."""
        settings, rule = TreeSettings.of(config), LabelRule(config.label_thresholds)
        found = [np.zeros((0, logits.shape[1]), dtype=int)]
        for start in range(0, len(logits), _AT_ONCE):
            rows = torch.from_numpy(logits[start : start + _AT_ONCE])
            found.append(settings.answers(rows, rule).numpy().astype(int))
        return np.concatenate(found)

    @override
    def scored(self, logits: _Floats, config: HierBertConfig) -> dict[str, Any]:
        return {"predictions": self.predictions(logits, config)}

    @override
    def calibrate(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, Any]:
        """Fit a temperature for each level, and what decides where answers end."""
        logits, references = self._labelled(documents, kept)
        if not len(references) or not np.isfinite(logits).all():
            return {}
        settings = TreeSettings.of(config)
        levels = _temperatures(logits, self.targets(references, config))
        temperatures = [one["temperature"] for one in levels]
        settings = replace(settings, temperatures=temperatures)
        shares = _shares(logits / settings.divisors().numpy(), settings)
        chosen, f1 = _choose_cost(shares, references, settings)
        if settings.several:
            fields: dict[str, Any] = {"decision_threshold": chosen}
        else:
            settings, fields = replace(settings, cost=chosen), {}
        fields["label_tree"] = settings.as_config()
        told: dict[str, Any] = {"documents": len(references), "levels": levels}
        line = f"temperatures of {len(levels)} levels: " + listed(
            [f"{one:.2f}" for one in temperatures], most=8
        )
        if settings.several or settings.decision == DECISIONS[0]:
            told |= {"cost": chosen, "hf1": f1}
            line += (
                f"; a node counts from a probability of {chosen:g} (hierarchical F1 of "
                f"{len(references):,} documents that were held out {f1:.4f})"
            )
        return {"config": fields, "results": {"calibration": told}, "line": line}

    @override
    def answers_of_baselines(
        self,
        train: Sequence[PreparedDocument],
        asked: Sequence[PreparedDocument],
        vectors: "VectorSource | None",
    ) -> dict[str, npt.NDArray[Any]]:
        return tree_baselines(
            self._parents,
            [one.segmented.text for one in train],
            self._references(train),
            [one.segmented.text for one in asked],
            None if vectors is None else (reader(train, vectors), reader(asked, vectors)),
        )

    @override
    def report(self, scored: Scored) -> dict[str, Any]:
        entries = super().report(scored)
        if "tree" not in entries:
            return entries
        train, asked = self._known(scored.train), self._known(scored.documents)
        true = self._references(asked)
        if train:
            counts = self._references(train).sum(0)
            entries["tree"]["levels"] = self._levels(scored, counts)
            entries["tree"] |= self._unseen(counts, true)
        return entries

    @override
    def details(self, answers: LabelAnswers) -> dict[str, Any]:
        settings = TreeSettings.of(answers.config)
        given, true = answers.predictions, answers.references
        shares = _shares(answers.logits, settings)
        found = {
            "per_label": label_details(given, true, self.names),
            "reliability": reliability_bins(shares, true),
            "tree": {"consistent": consistent_share(given, self._parents)},
        }
        if not settings.several:
            ends = [_ends(table, settings) for table in (given, true)]
            # Of an answer without a node there is nothing to be sure of.
            own = (ends[0] >= 0) & (ends[1] >= 0)
            rows = np.flatnonzero(own)
            documents = [answers.documents[row] for row in rows.tolist()]
            mistakes = surest_mistakes(
                documents, shares[rows], ends[0][rows], ends[1][rows], self.names
            )
            found["examples"] = {"mistakes": mistakes}
        return found

    def _levels(self, scored: Scored, counts: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Figures of each level, with names in place of numbers."""
        logits, references = self._labelled(scored.documents, scored.kept)
        given = self.predictions(logits, scored.config)
        levels = TreeSettings.of(scored.config).tree.levels.numpy()
        found = level_scores(given, references, levels, counts)
        for level in found:
            for confusion in level["confusions"]:
                for side in ("true", "answered"):
                    number = confusion[side]
                    confusion[side] = None if number is None else self.names[number]
        return found

    def _unseen(
        self, counts: npt.NDArray[np.int64], true: npt.NDArray[np.int64]
    ) -> dict[str, float]:
        """Part of the documents with a node that no training document has."""
        return {"unseen": float((true[:, counts == 0]).any(1).mean())}

    @override
    def card(self, config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any]:
        tree = self.label_map.taxonomy
        above = [[tree.nodes[one] for one in own] for own in self._parents]
        return super().card(config, results) | {
            "answer": "paths" if self.label_map.multi_path else "path",
            "under": [", ".join(own) for own in above],
        }

    @override
    def is_on_card(self, metric: Metric) -> bool:
        return metric.headline

    @override
    def tables(self, results: dict[str, Any]) -> Iterable[str]:
        yield from super().tables(results)
        facts = results.get("tree") or {}
        if not facts.get("levels"):
            return
        rows = [["level", "nodes", "documents", "accuracy", "Macro-F1", "of the rarer half"]]
        for one in facts["levels"]:
            figures = (one["accuracy"], one["macro_f1"], one["rare_macro_f1"])
            shown = ("-" if value is None else f"{100 * value:.1f}" for value in figures)
            rows.append([f"{one[key]:,}" for key in ("level", "nodes", "documents")] + [*shown])
        notes = [f"answers whose nodes all have their parents: {100 * facts['consistent']:.1f} %"]
        if facts.get("unseen"):
            share = 100 * facts["unseen"]
            notes.append(f"documents with a node that no training document has: {share:.1f} %")
        yield grid(rows, "Levels of the tree, from the top (x 100)", notes)

    @override
    def sample(self, document: PreparedDocument, kept: Any, config: HierBertConfig) -> list[str]:
        path = document.targets[self.name]
        found = np.flatnonzero(self.predictions(np.array([kept]), config)[0])
        true = "unknown" if path is None else self._worded(path)
        return [f"  path: {self._worded(found.tolist())}; true: {true}"]

    def _worded(self, nodes: Sequence[int]) -> str:
        """Paths to the ends of some nodes, as documents name them."""
        tree = self.label_map.taxonomy
        above = {int(one) for node in nodes for one in tree.parents[node]}
        ends = [node for node in nodes if node not in above]
        ways = [SEPARATOR.join(tree.names[one] for one in tree.path(node)) for node in ends]
        return "; ".join(ways) or "none"

    @property
    def _parents(self) -> list[list[int]]:
        taxonomy = self.label_map.taxonomy
        return [taxonomy.parents[node].tolist() for node in range(len(taxonomy))]


def _shares(logits: _Floats, settings: TreeSettings) -> _Floats:
    """The probability of each node, float64 (D, C)."""
    found = [np.zeros((0, logits.shape[1]))]
    for start in range(0, len(logits), _AT_ONCE):
        rows = torch.from_numpy(logits[start : start + _AT_ONCE])
        found.append(settings.tree.probabilities(rows).numpy())
    return np.concatenate(found)


def _ends(table: npt.NDArray[Any], settings: TreeSettings) -> npt.NDArray[np.int64]:
    """The last node of each path, int64 (D,); -1 where there is none."""
    depths = table * settings.tree.levels.numpy()
    found: npt.NDArray[np.int64] = depths.argmax(1)
    return np.where(depths.max(1) > 0, found, -1)


def _temperatures(logits: _Floats, targets: TreeTargets) -> list[dict[str, float]]:
    """For each level, from the top, what `fit_temperature` finds of the choices there.

    Where whole paths compete all levels have one temperature.
    """
    if targets.tree.of_paths:
        return [fit_temperature(*targets.paths_of(logits))] * int(targets.tree.levels.max())
    found = []
    for level in range(1, int(targets.tree.levels.max()) + 1):
        choices, chosen = targets.choices_of(logits, level)
        if len(choices):
            found.append(fit_temperature(choices, chosen))
        else:
            found.append({"temperature": 1.0, "documents": 0, "before": 0.0, "after": 0.0})
    return found


def _hits_by_cost(
    shares: _Floats, references: npt.NDArray[Any], settings: TreeSettings
) -> Iterator[tuple[float, _Floats, _Floats]]:
    """By the cost of a node, of several paths by the threshold, what answers share with the truth.

    Of each document the nodes that are right, and those of answer and truth together, (D,) each.
    """
    tree = settings.tree
    own, true = torch.from_numpy(shares), torch.from_numpy(references).double()
    sums, common = tree.summed(own), tree.summed(true)
    for cost in _COSTS:
        if settings.several:
            given = tree.closed(own >= cost).double()
            right, sizes = (given * true).sum(1), given.sum(1)
        else:
            ends = (sums - cost * tree.levels).argmax(1)
            right, sizes = common.gather(1, ends[:, None])[:, 0], tree.levels[ends]
        yield cost, right.numpy(), (sizes + true.sum(1)).numpy()


def _choose_cost(
    shares: _Floats, references: npt.NDArray[Any], settings: TreeSettings
) -> tuple[float, float]:
    """The cost with the best hierarchical F1, and that of documents that were held out.

    Of all that are within a standard error of the best, which few documents do not tell apart, the
    one whose answers go deepest: more of them are wholly right.
    """
    found = {}
    for cost, right, sizes in _hits_by_cost(shares, references, settings):
        f1 = 2 * right.sum() / max(sizes.sum(), 1.0)
        # What each document does to it (the delta method).
        found[cost] = f1, (2 * right - f1 * sizes) / max(sizes.sum(), 1.0)
    best, at_best = max(found.values(), key=lambda one: one[0])
    return next(
        (cost, float(f1))
        for cost, (f1, parts) in found.items()
        if best - f1 <= np.sqrt(((parts - at_best) ** 2).sum())
    )
