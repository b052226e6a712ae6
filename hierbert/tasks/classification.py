"""Labels of documents.

What they are (one of several, several, a number) is said by a subclass, a file for each.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from hierbert.config import DataConfig, RunConfig
from hierbert.data.document import Example
from hierbert.errors import ConfigError, quote_all
from hierbert.log import log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.heads import Answered
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.name_vectors import NameVectors
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.scoring.calibration import fit_temperature
from hierbert.scoring.intervals import label_gains, label_intervals
from hierbert.scoring.label_baselines import LABEL_BASELINES, LabelBaseline, label_baselines
from hierbert.scoring.labels import label_details, label_scores
from hierbert.scoring.logistic import Targets
from hierbert.scoring.metric import Metric, shown_metrics
from hierbert.scoring.reliability import reliability_bins
from hierbert.scoring.tables import gain_line, grid
from hierbert.scoring.thresholds import ThresholdMetric
from hierbert.scoring.tree_baselines import TREE_BASELINES, TreeBaseline
from hierbert.scoring.vector_baselines import DocumentVectors, Read, VectorBaseline
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.mistakes import surest_mistakes
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.stacking import Labelled, Stack, fit_stack
from hierbert.tasks.task import Scored, Task, register_task

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

_LARGEST_CLASS_WEIGHT = 10.0

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelAnswers:
    """What a model says of D labelled documents."""

    documents: Sequence[PreparedDocument]
    logits: _Floats  # (D, C)
    predictions: npt.NDArray[Any]  # As `hierbert.scoring` reads them, as the next.
    references: npt.NDArray[Any]
    config: HierBertConfig


@register_task
class Classification(Task):
    """Labels of documents.

    Args:
        label_map: What the labels are.
        threshold_metric: What `calibrate` tunes thresholds of several labels for; None: they stay.
        words: Whether a linear model of words is fitted beside the layers.

    Attributes:
        head_type: The problem type of the model's config, by which its head is known.
        several: Whether a document may have several of them.
        abstains: Whether an answer may name none where the likeliest is too unlikely.
        titles: What a table calls them.
    """

    name = "classification"
    field = "label"
    head_type: ClassVar[str | None]
    several: ClassVar[bool] = False
    abstains: ClassVar[bool] = False
    titles: ClassVar[str] = "Labels"

    def __init__(
        self,
        label_map: LabelMap,
        threshold_metric: ThresholdMetric | None = None,
        words: bool = False,
    ) -> None:
        self.label_map, self.words = label_map, words
        self.threshold_metric = threshold_metric

    @property
    @override
    def stratifies(self) -> bool:
        # Numbers and lists held as strings (csv) look like class names, and each that occurs once
        # would stay in training.
        return False

    @classmethod
    @override
    def learn(cls, config: RunConfig, train: Sequence[Example]) -> "Classification":
        asked = kind_of_labels("tree") if config.data.has_tree else cls
        labels = asked.learn_labels(config.data, train)
        # A threshold that is given stays.
        tuned = config.model.decision_threshold is None
        metric = config.training.threshold_metric if tuned else None
        task = cls.of(labels, metric, config.model.words)
        if config.model.abstain_below is not None and not task.abstains:
            raise ConfigError(
                f"is for one label a document, and those of column {labels.field!r} are "
                f"{labels.problem_type}",
                setting="model.abstain_below",
                value=config.model.abstain_below,
            )
        if task.problem_type != "tree":
            usual = type(config.model)()
            for name in ("tree_decision", "tree_softmax", "tree_adjustment", "min_probability"):
                if (value := getattr(config.model, name)) != getattr(usual, name):
                    raise ConfigError(
                        f"is for a tree of labels, and those of column {labels.field!r} are "
                        f"{labels.problem_type}; see data.label_type",
                        setting=f"model.{name}",
                        value=value,
                    )
        return task

    @classmethod
    def learn_labels(cls, data: DataConfig, train: Sequence[Example]) -> LabelMap:
        """What the labels of the training documents are."""
        column, kind = data.fields["label"], data.label_type
        if kind == "auto" and (data.empty_label == "none" or not isinstance(column, str)):
            kind = "multi_label"
        return LabelMap.learn(train, kind, data.label_separator, field=listed(column))

    @classmethod
    def of(
        cls,
        label_map: LabelMap,
        threshold_metric: ThresholdMetric | None = None,
        words: bool = False,
    ) -> "Classification":
        """The task of the kind that some labels are."""
        return kind_of_labels(label_map.problem_type)(label_map, threshold_metric, words)

    @classmethod
    @override
    def of_model(cls, config: HierBertConfig) -> "Classification":
        asked = config.problem_type or "single_label_classification"
        name = "tree" if config.label_tree is not None else asked.removesuffix("_classification")
        kind = kind_of_labels(name)
        return kind(kind.labels_of(config))

    @classmethod
    def labels_of(cls, config: HierBertConfig) -> LabelMap:
        """What the labels of a trained model are."""
        names = [config.id2label[number] for number in range(config.num_labels)]
        return LabelMap(names, cls.problem_type)

    @override
    def reading(self, data: Mapping[str, Any]) -> "Classification":
        column = data.get("label_column") or self.label_map.field
        if data.get("empty_label") == "none" and not self.several:
            raise ConfigError(
                f"needs multi_label, and the model's labels are {self.problem_type}",
                setting="empty_label",
                value="none",
            )
        return type(self)(self.label_map.written(data.get("label_separator"), listed(column)))

    @override
    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        names = self.label_map.names or ["value"]
        return {
            "classification_loss_weight": config.training.classification_loss_weight,
            "decision_threshold": _or_half(config.model.decision_threshold),
            "decision_thresholds": None,
            "abstain_below": config.model.abstain_below,
            "class_weights": self._class_weights(config, train),
            "logit_weights": None,
            "label_tree": None,
            "problem_type": self.head_type,
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
        }

    @override
    def continued(self, config: HierBertConfig) -> dict[str, Any] | None:
        # Where the labels are the same.
        before = Classification.of_model(config).label_map
        same = (before.names, before.problem_type) == (self.label_map.names, self.problem_type)
        return {} if same else None

    @override
    def encode(self, example: Example) -> Any:
        return self.label_map.encode(example)

    @override
    def note(self, examples: Sequence[Example]) -> str | None:
        missing = self._missing_in(examples)
        notes = [super().note(examples)]
        if missing:
            notes.append(
                f"{len(missing):,} of {len(self.label_map.names):,} labels in none of them"
            )
        return ", ".join(filter(None, notes)) or None

    @override
    def check(self, splits: Mapping[str, Sequence[Example]], config: HierBertConfig) -> None:
        missing = {name: self._missing_in(examples) for name, examples in splits.items()}
        learnt = missing.pop("train")
        if lost := [one for one in sorted(learnt) if any(one not in m for m in missing.values())]:
            log.warning(
                f"labels of no training document, of which nothing is learnt: "
                f"{quote_all(lost)}; a validation corpus of its own, or another seed, leaves them "
                "in training"
            )

    @override
    def plain(self, target: Any) -> Any:
        # The numbers of all labels change when one is added.
        names = self.label_map.names
        if target is None or not names:
            return target
        return [names[number] for number in target] if isinstance(target, list) else names[target]

    @override
    def keep(self, answered: Answered, document: PreparedDocument, config: HierBertConfig) -> Any:
        """C logits."""
        return answered.scores[self.name].tolist()

    @override
    def score(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, float]:
        """The scores; nan where a logit is not finite."""
        logits, references = self._labelled(documents, kept)
        if not len(references):
            return {}
        if not np.isfinite(logits).all():
            return dict.fromkeys(self.metrics(), float("nan"))
        # It brings pandas and datasets, which nothing else needs.
        from hierbert.scoring.evaluate_metric import LabelMetric

        scores: dict[str, float] = LabelMetric(self.problem_type).compute(
            references=references, **self.scored(logits, config)
        )
        return scores

    def scored(self, logits: _Floats, config: HierBertConfig) -> dict[str, Any]:
        """What `label_scores` reads beside the references, of logits float64 (D, C)."""
        raise NotImplementedError

    @property
    @override
    def calibrates(self) -> bool:
        return True

    @override
    def complete(
        self,
        model: HierBertForDocuments,
        splits: Mapping[str, Sequence[PreparedDocument]],
        kept: Sequence[Any],
        vectors: "VectorSource | None",
        processor: HierBertProcessor,
    ) -> Stack | None:
        """Words and vectors beside the layers."""
        deep, _ = self._labelled(splits["validation"], kept)
        return fit_stack(
            self._with_labels(splits["train"], model.config),
            self._with_labels(splits["validation"], model.config),
            deep,
            words=self.words,
            vectors=vectors,
            names=None if vectors is None else self.name_vectors(model.config, vectors, processor),
        )

    def name_vectors(
        self, config: HierBertConfig, vectors: "VectorSource", processor: HierBertProcessor
    ) -> NameVectors | None:
        """What the encoder makes of the labels' names, where these have a part; None elsewhere."""
        return None

    @override
    def calibrate(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, Any]:
        """Fit the temperature of probabilities."""
        logits, references = self._labelled(documents, kept)
        if not self.calibrates or not len(references) or not np.isfinite(logits).all():
            return {}
        fitted: dict[str, Any] = fit_temperature(logits, references)
        line = "temperature: {temperature:.3f} (negative log-likelihood of {documents:,} documents "
        line = (line + "{before:.4f} -> {after:.4f})").format(**fitted)
        found = {
            "config": {"temperature": fitted["temperature"]},
            "results": {"calibration": fitted},
            "line": line,
        }
        self.add_calibration(found, logits / fitted["temperature"], references)
        return found

    def add_calibration(
        self, found: dict[str, Any], logits: _Floats, references: npt.NDArray[Any]
    ) -> None:
        """Add what else is fitted to what `calibrate` gives, of logits over the temperature."""

    @override
    def intervals(
        self,
        documents: Sequence[PreparedDocument],
        kept: Sequence[Any],
        config: HierBertConfig,
        seed: int,
    ) -> dict[str, dict[str, float]]:
        logits, references = self._labelled(documents, kept)
        if not len(references):
            return {}
        return label_intervals(
            self.problem_type, self.predictions(logits, config), references, seed
        )

    @override
    def learning_baselines(self) -> list[str]:
        return [one.title for one in self.baselines if not isinstance(one, VectorBaseline)]

    @property
    def baselines(self) -> Sequence[LabelBaseline | VectorBaseline | TreeBaseline]:
        """Of its report, in the order of tables."""
        known = (*LABEL_BASELINES, *TREE_BASELINES)
        return [one for one in known if self.problem_type in one.problem_types]

    def answers_of_baselines(
        self,
        train: Sequence[PreparedDocument],
        asked: Sequence[PreparedDocument],
        vectors: "VectorSource | None",
    ) -> dict[str, npt.NDArray[Any]]:
        """What they answer, by their names, as `label_scores` takes it."""
        return label_baselines(
            self.problem_type,
            [one.segmented.text for one in train],
            self._references(train),
            [one.segmented.text for one in asked],
            None if vectors is None else (reader(train, vectors), reader(asked, vectors)),
        )

    @override
    def report(self, scored: Scored) -> dict[str, Any]:
        """Baselines, figures of each label, intervals, gains, how many documents have a label."""
        counts = Counter[Any]()
        for document in scored.train:
            target = document.targets[self.name]
            counts.update(target if isinstance(target, list) else [target])
        entries: dict[str, Any] = {}
        if scored.train:
            entries["label_counts"] = {
                name: counts[number] for number, name in enumerate(self.label_map.names)
            }
        logits, references = self._labelled(scored.documents, scored.kept)
        if not len(references):
            return entries
        predictions = self.predictions(logits, scored.config)
        systems = {"hierbert": predictions}
        train, asked = self._known(scored.train), self._known(scored.documents)
        if scored.baselines and train:
            found = self.answers_of_baselines(train, asked, scored.vectors)
            for name, given in found.items():
                entries[name] = label_scores(self.problem_type, given, references)
                systems[name] = (given >= 0.5).astype(int) if self.several else given
            others = {name: systems[name] for name in found}
            entries["gain"] = label_gains(
                self.problem_type, predictions, others, references, scored.seed
            )
        known = {"true": references, **systems}
        entries["by_document"] = {name: self._plain_all(each) for name, each in known.items()}
        answers = LabelAnswers(asked, logits, predictions, references, scored.config)
        entries |= self.details(answers)
        entries["intervals"] = label_intervals(
            self.problem_type, predictions, references, scored.seed
        )
        return entries

    def details(self, answers: LabelAnswers) -> dict[str, Any]:
        """Entries of the report behind the scores."""
        names, shares = self.label_map.names, self.probabilities(answers.logits)
        given, true = answers.predictions, answers.references
        return {
            "per_label": label_details(given, true, names),
            "reliability": reliability_bins(shares, true),
            "examples": {
                "mistakes": surest_mistakes(answers.documents, shares, given, true, names)
            },
        }

    @override
    def card(self, config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any]:
        facts = super().card(config, results)
        per_label = (results["per_label"] or {}).get("labels", [])
        return facts | {
            "template": "classification.md.jinja",
            "hub_task": "text-classification",
            "tags": ["document-classification", "text-classification"],
            "metrics": (metrics := [one for one in facts["metrics"] if self.is_on_card(one)]),
            "has_figures": bool(metrics),
            "baselines": self._baselines(results),
            "gains": list(self._gains(results)),
            "kind": self.problem_type,
            "answer": "labels" if self.several else "label",
            "labels": [config.id2label[number] for number in range(config.num_labels)],
            # Of labels that have parents these, by the label.
            "under": None,
            "counts": results["label_counts"],
            "supports": {row["label"]: row["support"] for row in per_label},
        }

    def is_on_card(self, metric: Metric) -> bool:
        """Whether a model's card shows a figure: those that the Hub knows."""
        return metric.hub_type is not None

    @override
    def tables(self, results: dict[str, Any]) -> Iterable[str]:
        scores = results["scores"]
        shown = [
            metric
            for metric in shown_metrics([name for name in self.metrics() if name in scores])
            if metric.headline
        ]
        if not shown:
            return
        rows = [["", *(metric.title for metric in shown)]]
        alone = (results.get("members") or {}).get("scores", {})
        members = {f"{name.replace('_', ' ')} alone": own for name, own in alone.items()}
        for title, figures in {**self._baselines(results), **members, "hierbert": scores}.items():
            rows.append([title, *(metric.shown(figures[metric.name]) for metric in shown)])
        if intervals := results.get("intervals"):
            ends = [(metric, intervals.get(metric.name)) for metric in shown]
            cells = (
                f"[{metric.shown(end['low'])}, {metric.shown(end['high'])}]" if end else "-"
                for metric, end in ends
            )
            rows.append(["95 % interval", *cells])
        unit = " (x 100)" if shown[0].percent else ""
        title = f"{self.titles} of the {results['documents']:,} {results['split']} documents{unit}"
        yield grid(rows, title, [*self._gains(results), *self._trust(results)])

    def _trust(self, results: dict[str, Any]) -> Iterable[str]:
        """How far probabilities can be trusted, in lines for a terminal."""
        if "ece" in results["scores"]:
            yield f"expected calibration error (0 to 1): {results['scores']['ece']:.3f}"
        if answered := results.get("risk_coverage", {}).get("answered"):
            yield (
                "answered, with a probability of at least {confidence:g}: {0:.1f} % of the "
                "documents, {1:.1f} % of these answers wrong"
            ).format(100 * answered["coverage"], 100 * answered["risk"], **answered)

    def _baselines(self, results: dict[str, Any]) -> dict[str, dict[str, float]]:
        """The scores of those that were scored, by title."""
        return {title: results[name] for name, title in self._titles(results).items()}

    def _titles(self, results: dict[str, Any]) -> dict[str, str]:
        """Of the baselines that were scored, by name."""
        return {
            baseline.name: baseline.title
            for baseline in self.baselines
            if results.get(baseline.name)
        }

    def _gains(self, results: dict[str, Any]) -> Iterable[str]:
        """Of each headline metric what training gained over the best baseline, in a line."""
        titles, gains = self._titles(results), results.get("gain") or {}
        titles = {name: title for name, title in titles.items() if name in gains}
        for metric in shown_metrics({metric for name in titles for metric in gains[name]}):
            choose = max if metric.better == "higher" else min
            best = choose(titles, key=lambda name: results[name][metric.name])
            yield gain_line(metric, titles[best], gains[best][metric.name], results["split"])

    def _missing_in(self, examples: Sequence[Example]) -> set[str]:
        """The labels that a split has no document of."""
        labels = (self.label_map.encode(example) for example in examples)
        found: set[Any] = set()
        for label in labels if self.label_map.names else ():
            found.update(label if isinstance(label, list) else [label])
        return {name for number, name in enumerate(self.label_map.names) if number not in found}

    def _class_weights(self, config: RunConfig, train: Sequence[Example]) -> list[float] | None:
        """Loss weights that let rare labels count as much as frequent ones, from 1/10 to 10."""
        if config.training.class_weights != "balanced":
            return None
        labels = [self.label_map.encode(example) for example in train]
        labels = [label for label in labels if label is not None]
        each = (label if isinstance(label, list) else [label] for label in labels)
        counts = Counter(number for numbers in each for number in numbers)
        weights = (
            self.balanced_weight(max(1, counts[number]), len(labels))
            for number in range(len(self.label_map.names))
        )
        return [min(_LARGEST_CLASS_WEIGHT, max(1 / _LARGEST_CLASS_WEIGHT, one)) for one in weights]

    def balanced_weight(self, count: int, documents: int) -> float:
        """What a label that so many of all labelled documents have counts in the loss."""
        raise NotImplementedError

    def _labelled(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any]
    ) -> tuple[_Floats, npt.NDArray[Any]]:
        """Logits, float64 (D, C), and references of the labelled documents."""
        places = [i for i, one in enumerate(documents) if one.targets[self.name] is not None]
        logits = np.array([kept[place] for place in places], dtype=np.float64)
        return logits, self._references([documents[place] for place in places])

    def _references(self, documents: Sequence[PreparedDocument]) -> npt.NDArray[Any]:
        return self.references([document.targets[self.name] for document in documents])

    def references(self, labels: list[Any]) -> npt.NDArray[Any]:
        """What `hierbert.scoring` compares with, of encoded labels: (D,), or 0 and 1 (D, C)."""
        return np.array(labels)

    def _with_labels(
        self, documents: Sequence[PreparedDocument], config: HierBertConfig
    ) -> Labelled:
        """Those that have labels, with them."""
        labelled = self._known(documents)
        return Labelled(labelled, self.targets(self._references(labelled), config))

    def targets(self, references: npt.NDArray[Any], config: HierBertConfig) -> Targets:
        """What a linear model is fitted to."""
        weights = None if config.class_weights is None else np.array(config.class_weights)
        return Targets(self.table(references), self.several, weights)

    def table(self, references: npt.NDArray[Any]) -> _Floats:
        """Which labels documents have, 0 and 1, float64 (D, C)."""
        raise NotImplementedError

    def predictions(self, logits: _Floats, config: HierBertConfig) -> npt.NDArray[Any]:
        """Answers as `hierbert.scoring` reads them, of logits float64 (D, C)."""
        raise NotImplementedError

    def probabilities(self, logits: _Floats) -> _Floats:
        """Of each label, of logits float64 (D, C)."""
        raise NotImplementedError

    def _plain_all(self, predictions: npt.NDArray[Any]) -> list[Any]:
        """Labels by name, for files."""
        if predictions.ndim == 2:
            return [self.plain(np.flatnonzero(row).tolist()) for row in predictions]
        return [self.plain(value) for value in predictions.tolist()]

    def _known(self, documents: Sequence[PreparedDocument]) -> list[PreparedDocument]:
        """Those that have labels."""
        return [one for one in documents if one.targets[self.name] is not None]


def reader(documents: Sequence[PreparedDocument], source: "VectorSource") -> Read:
    """What reads a document's vectors by its place."""

    def read(place: int) -> DocumentVectors:
        document = documents[place].segmented
        segments, sentences = source.batch([document])
        return DocumentVectors(
            segments.numpy(), sentences.numpy(), document.sentence_tokens.numpy()
        )

    return read


_Kind = TypeVar("_Kind", bound=type[Classification])
LABELS: dict[str, type[Classification]] = {}
"""Kinds of labels by what `data.label_type` calls them."""


def register_labels(kind: _Kind) -> _Kind:
    """Register a kind of labels by its problem type, as a class decorator."""
    LABELS[kind.problem_type] = kind
    return kind


def kind_of_labels(problem_type: str) -> type[Classification]:
    """A kind that is registered, or is a file of this folder with that name."""
    if problem_type not in LABELS and find_spec(f"hierbert.tasks.{problem_type}"):
        import_module(f"hierbert.tasks.{problem_type}")
    return LABELS[problem_type]


def _or_half(threshold: float | None) -> float:
    return 0.5 if threshold is None else threshold


def listed(names: str | Sequence[str], most: int = 3) -> str:
    """A name, or the first of some."""
    if isinstance(names, str):
        return names
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
