"""Labels of documents: one of several, several, or a number."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.errors import ConfigError, DataError, quote_all
from hierbert.log import log
from hierbert.model.classification_head import MISSING_LABEL, regression_values
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.heads import Answered
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring.calibration import fit_temperature
from hierbert.scoring.intervals import label_gains, label_intervals
from hierbert.scoring.label_baselines import LABEL_BASELINES, LabelBaseline, label_baselines
from hierbert.scoring.labels import label_details, label_scores
from hierbert.scoring.logistic import Targets
from hierbert.scoring.metric import METRICS, shown_metrics
from hierbert.scoring.precision_recall import precision_recall
from hierbert.scoring.reliability import reliability_bins, risk_coverage
from hierbert.scoring.tables import gain_line, grid
from hierbert.scoring.thresholds import ThresholdMetric, fit_thresholds
from hierbert.scoring.vector_baselines import DocumentVectors, Read
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.mistakes import largest_errors, surest_mistakes
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.stacking import Labelled, Stack, fit_stack
from hierbert.tasks.task import Scored, Task, register_task

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

_SUFFIX = "_classification"
_LARGEST_CLASS_WEIGHT = 10.0
_AUTO_METRICS = {"single_label": "macro_f1", "multi_label": "map", "regression": "mse"}

_Floats = npt.NDArray[np.float64]


@register_task
class Classification(Task):
    """Labels or numbers of documents.

    Args:
        label_map: What the labels are.
        threshold_metric: What `calibrate` tunes thresholds of several labels for; None: they stay.
        words: Whether a linear model of words is fitted beside the layers.

    Attributes:
        problem_type: "single_label", "multi_label" or "regression".
    """

    name = "classification"
    field = "label"

    def __init__(
        self,
        label_map: LabelMap,
        threshold_metric: ThresholdMetric | None = None,
        words: bool = False,
    ) -> None:
        self.label_map, self.words = label_map, words
        self.threshold_metric = threshold_metric
        self.problem_type = label_map.problem_type
        self.auto_metric = _AUTO_METRICS[self.problem_type]

    @property
    @override
    def bounded_metric(self) -> str:
        return "r2" if self.problem_type == "regression" else self.auto_metric

    @property
    @override
    def stratifies(self) -> bool:
        # Numbers and lists held as strings (csv) look like class names, and each that occurs once
        # would stay in training.
        return self.problem_type == "single_label"

    @classmethod
    @override
    def learn(cls, config: RunConfig, train: Sequence[Example]) -> "Classification":
        data = config.data
        column, kind = data.fields["label"], data.label_type
        if kind == "auto" and (data.empty_label == "none" or not isinstance(column, str)):
            kind = "multi_label"
        labels = LabelMap.learn(train, kind, data.label_separator, field=_listed(column))
        if config.model.abstain_below is not None and labels.problem_type != "single_label":
            raise ConfigError(
                f"is for one label a document, and those of column {labels.field!r} are "
                f"{labels.problem_type}",
                setting="model.abstain_below",
                value=config.model.abstain_below,
            )
        # A threshold that is given stays.
        tuned = config.model.decision_threshold is None
        metric = config.training.threshold_metric if tuned else None
        return cls(labels, metric, config.model.words)

    @classmethod
    @override
    def of_model(cls, config: HierBertConfig) -> "Classification":
        kind = config.problem_type or f"single_label{_SUFFIX}"
        kind = kind.removesuffix(_SUFFIX)
        names = [config.id2label[number] for number in range(config.num_labels)]
        return cls(LabelMap([] if kind == "regression" else names, kind))

    @override
    def reading(self, data: Mapping[str, Any]) -> "Classification":
        known, column = self.label_map, data.get("label_column") or self.label_map.field
        if data.get("empty_label") == "none" and self.problem_type != "multi_label":
            raise ConfigError(
                f"needs multi_label, and the model's labels are {self.problem_type}",
                setting="empty_label",
                value="none",
            )
        separator, field = data.get("label_separator"), _listed(column)
        return Classification(LabelMap(known.names, known.problem_type, separator, field=field))

    @override
    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        regression = self.problem_type == "regression"
        names = self.label_map.names or ["value"]
        values: dict[str, Any] = {
            "classification_loss_weight": config.training.classification_loss_weight,
            "decision_threshold": _or_half(config.model.decision_threshold),
            "decision_thresholds": None,
            "abstain_below": config.model.abstain_below,
            "class_weights": None,
            "logit_weights": None,
            "problem_type": "regression" if regression else self.problem_type + _SUFFIX,
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
        }
        if self.problem_type == "single_label":
            values["label_smoothing"] = config.training.label_smoothing
        if regression:
            numbers = [value for value, _ in self._numbers(train)] or [0.0]
            values["label_mean"] = statistics.fmean(numbers)
            values["label_scale"] = statistics.pstdev(numbers) or 1.0
        elif config.training.class_weights == "balanced":
            values["class_weights"] = self._balanced_weights(train)
        return values

    @override
    def continued(self, config: HierBertConfig) -> dict[str, Any] | None:
        # Where the labels are the same; numbers keep their unit.
        before = Classification.of_model(config).label_map
        if (before.names, before.problem_type) != (self.label_map.names, self.problem_type):
            return None
        if self.problem_type == "regression":
            return {"label_mean": config.label_mean, "label_scale": config.label_scale}
        return {}

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
        mean, scale = config.label_mean, config.label_scale
        for name, examples in splits.items():
            values = self._numbers(examples)
            # As the classification head learns them.
            errors = (torch.tensor([value for value, _ in values]) - mean) / scale
            if not (errors * errors).isfinite().all():
                value, example = max(values, key=lambda pair: abs(pair[0] - mean))
                raise DataError(
                    f"data.{name}: {example.location}, id {example.id}: column "
                    f"{self.label_map.field!r} holds {value:g}; the training documents have the "
                    f"mean {mean:g} and the spread {scale:g}, and 32-bit numbers allow {mean:g} "
                    "plus or minus at most 1e19 times that spread, which must be at least 1e-37: "
                    "mend that label, or give all of them in another unit"
                )

    @override
    def plain(self, target: Any) -> Any:
        # The numbers of all labels change when one is added.
        names = self.label_map.names
        if target is None or not names:
            return target
        return [names[number] for number in target] if isinstance(target, list) else names[target]

    @override
    def collate(self, targets: Sequence[Any], documents: Sequence[SegmentedDocument]) -> Tensor:
        """int64 (D,) for single_label, float32 (D, C) for multi_label, float32 (D,) otherwise."""
        if self.problem_type == "single_label":
            return torch.tensor([MISSING_LABEL if label is None else label for label in targets])
        if self.problem_type == "regression":
            return torch.tensor([torch.nan if label is None else float(label) for label in targets])
        table = torch.zeros(len(targets), len(self.label_map.names))
        for row, labels in enumerate(targets):
            table[row, slice(None) if labels is None else labels] = (
                torch.nan if labels is None else 1.0
            )
        return table

    @override
    def keep(self, answered: Answered, document: PreparedDocument, config: HierBertConfig) -> Any:
        """C logits; of a regression, the number in the unit of the labels."""
        logits = answered.scores[self.name]
        if self.problem_type == "regression":
            logits = regression_values(logits, config)
        return logits.tolist()

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

        several = self.problem_type == "multi_label"
        shares = None if self.problem_type == "regression" else self._probabilities(logits)
        scores: dict[str, float] = LabelMetric(self.problem_type).compute(
            predictions=shares if several else self._predictions(logits, config),
            references=references,
            threshold=config.label_thresholds,
            probabilities=None if several else shares,
        )
        return scores

    @property
    @override
    def calibrates(self) -> bool:
        return self.problem_type != "regression"

    @override
    def complete(
        self,
        model: HierBertForDocuments,
        splits: Mapping[str, Sequence[PreparedDocument]],
        kept: Sequence[Any],
        vectors: "VectorSource | None",
    ) -> Stack | None:
        """Words and vectors beside the layers; a regression has neither."""
        if self.problem_type == "regression":
            return None
        deep, _ = self._labelled(splits["validation"], kept)
        weights = model.config.class_weights
        return fit_stack(
            self._with_labels(splits["train"], weights),
            self._with_labels(splits["validation"], weights),
            deep,
            words=self.words,
            vectors=vectors,
        )

    @override
    def calibrate(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any]
    ) -> dict[str, Any]:
        """Fit the temperature of probabilities, and of several labels from which each applies.

        A regression has neither.
        """
        logits, references = self._labelled(documents, kept)
        if not self.calibrates or not len(references) or not np.isfinite(logits).all():
            return {}
        fitted: dict[str, Any] = fit_temperature(logits, references)
        values = {"temperature": fitted["temperature"]}
        line = "temperature: {temperature:.3f} (negative log-likelihood of {documents:,} documents "
        line = (line + "{before:.4f} -> {after:.4f})").format(**fitted)
        if self.problem_type == "multi_label" and self.threshold_metric is not None:
            own, thresholds = self._fit_thresholds(logits / fitted["temperature"], references)
            values |= own
            fitted["thresholds"] = thresholds
            line += "; thresholds: {overall:.3f} for all labels, {low:.3f} to {high:.3f} for each "
            line += "({metric} {before:.4f} -> {after:.4f})"
            each = own["decision_thresholds"]
            line = line.format(low=min(each), high=max(each), **thresholds)
        return {"config": values, "results": {"calibration": fitted}, "line": line}

    def _fit_thresholds(
        self, logits: _Floats, references: npt.NDArray[Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Fields of the model's config, and what results say of them."""
        assert self.threshold_metric is not None
        found = fit_thresholds(logits, references, self.threshold_metric)

        def reached(thresholds: float | list[float]) -> float:
            given = (self._probabilities(logits) >= np.asarray(thresholds)).astype(int)
            return float(METRICS[str(self.threshold_metric)].score(given, references))

        own = {"decision_threshold": found.overall, "decision_thresholds": found.by_label}
        return own, {
            "metric": self.threshold_metric,
            "overall": found.overall,
            "labels": dict(zip(self.label_map.names, found.by_label, strict=True)),
            "before": reached(0.5),
            "after": reached(found.by_label),
        }

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
            self.problem_type, self._predictions(logits, config), references, seed
        )

    @override
    def learning_baselines(self) -> list[str]:
        return [
            one.title
            for one in LABEL_BASELINES
            if isinstance(one, LabelBaseline) and self.problem_type in one.problem_types
        ]

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
        predictions = self._predictions(logits, scored.config)
        systems = {"hierbert": predictions}
        train, asked = self._known(scored.train), self._known(scored.documents)
        if scored.baselines and train:
            source = scored.vectors
            found = label_baselines(
                self.problem_type,
                [one.segmented.text for one in train],
                self._references(train),
                [one.segmented.text for one in asked],
                None if source is None else (_reader(train, source), _reader(asked, source)),
            )
            for name, given in found.items():
                entries[name] = label_scores(self.problem_type, given, references)
                several = self.problem_type == "multi_label"
                systems[name] = (given >= 0.5).astype(int) if several else given
            others = {name: systems[name] for name in found}
            entries["gain"] = label_gains(
                self.problem_type, predictions, others, references, scored.seed
            )
        known = {"true": references, **systems}
        entries["by_document"] = {name: self._plain_all(each) for name, each in known.items()}
        if self.problem_type != "regression":
            names = self.label_map.names
            entries["per_label"] = label_details(predictions, references, names)
        if self.problem_type == "regression":
            mistakes = largest_errors(asked, predictions, references)
        else:
            shares = self._probabilities(logits)
            entries["reliability"] = reliability_bins(shares, references)
            mistakes = surest_mistakes(asked, shares, predictions, references, self.label_map.names)
        entries["examples"] = {"mistakes": mistakes}
        if self.problem_type == "single_label":
            below = scored.config.abstain_below
            entries["risk_coverage"] = risk_coverage(shares, references, below)
        if self.problem_type == "multi_label":
            entries["precision_recall"] = precision_recall(shares, references, predictions)
        entries["intervals"] = label_intervals(
            self.problem_type, predictions, references, scored.seed
        )
        return entries

    @override
    def card(self, config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any]:
        facts = super().card(config, results)
        per_label = (results["per_label"] or {}).get("labels", [])
        return facts | {
            "template": "classification.md.jinja",
            "hub_task": "text-classification",
            "tags": ["document-classification", "text-classification"],
            "metrics": [metric for metric in facts["metrics"] if metric.hub_type is not None],
            "has_figures": any(metric.hub_type for metric in facts["metrics"]),
            "baselines": self._baselines(results),
            "gains": list(self._gains(results)),
            "kind": self.problem_type,
            "answer": "labels" if self.problem_type == "multi_label" else "label",
            "labels": [config.id2label[number] for number in range(config.num_labels)],
            "counts": results["label_counts"],
            "supports": {row["label"]: row["support"] for row in per_label},
        }

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
        what = "Numbers" if self.problem_type == "regression" else "Labels"
        unit = " (x 100)" if shown[0].percent else ""
        title = f"{what} of the {results['documents']:,} {results['split']} documents{unit}"
        yield grid(rows, title, [*self._gains(results), *self._trust(results)])

    @override
    def sample(self, document: PreparedDocument, kept: Any, config: HierBertConfig) -> list[str]:
        true, names = document.targets[self.name], self.label_map.names
        if self.problem_type == "regression":
            return [f"  value: {kept[0]:.4g} (true: {true})"]
        values = torch.tensor(kept)
        if self.problem_type == "single_label":
            shares = values.softmax(0)
            best = int(shares.argmax())
            known = "unknown" if true is None else names[true]
            share = float(shares[best])
            abstained = ", abstained" if share < (config.abstain_below or 0) else ""
            return [f"  label: {names[best]} ({share:.2f}{abstained}); true: {known}"]
        named = [
            f"{name} ({share:.2f})"
            for name, share, least in zip(
                names, values.sigmoid().tolist(), config.label_thresholds, strict=True
            )
            if share >= least
        ]
        return [f"  labels: {_listed(named, 20) or 'none'}"]

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
            for baseline in LABEL_BASELINES
            if self.problem_type in baseline.problem_types and results.get(baseline.name)
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

    def _numbers(self, examples: Sequence[Example]) -> list[tuple[float, Example]]:
        """The labels of a regression, each with its example."""
        if self.problem_type != "regression":
            return []
        labels = ((self.label_map.encode(example), example) for example in examples)
        return [(float(v), example) for v, example in labels if isinstance(v, (int, float))]

    def _balanced_weights(self, train: Sequence[Example]) -> list[float]:
        """Loss weights that let rare labels count as much as frequent ones, from 1/10 to 10.

        Single-label: documents over labels times the label's documents; multi-label: documents
        without the label over documents with it.
        """
        labels = [self.label_map.encode(example) for example in train]
        labels = [label for label in labels if label is not None]
        each = (label if isinstance(label, list) else [label] for label in labels)
        counts = Counter(number for numbers in each for number in numbers)
        weights = []
        for number in range(len(self.label_map.names)):
            count = max(1, counts[number])
            if self.problem_type == "single_label":
                weight = len(labels) / (len(self.label_map.names) * count)
            else:
                weight = (len(labels) - count) / count
            weights.append(min(_LARGEST_CLASS_WEIGHT, max(1 / _LARGEST_CLASS_WEIGHT, weight)))
        return weights

    def _labelled(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any]
    ) -> tuple[_Floats, npt.NDArray[Any]]:
        """Logits, float64 (D, C), and references of the labelled documents."""
        places = [i for i, one in enumerate(documents) if one.targets[self.name] is not None]
        logits = np.array([kept[place] for place in places], dtype=np.float64)
        return logits, self._references([documents[place] for place in places])

    def _references(self, documents: Sequence[PreparedDocument]) -> npt.NDArray[Any]:
        """What `hierbert.scoring` compares with: numbers (D,), or 0 and 1 (D, C)."""
        labels = [document.targets[self.name] for document in documents]
        if self.problem_type != "multi_label":
            return np.array(labels)
        table = np.zeros((len(labels), len(self.label_map.names)), dtype=int)
        for row, numbers in enumerate(labels):
            table[row, numbers] = 1
        return table

    def _with_labels(
        self, documents: Sequence[PreparedDocument], class_weights: Sequence[float] | None
    ) -> Labelled:
        """Those that have labels, with them."""
        labelled = self._known(documents)
        references = self._references(labelled)
        if self.problem_type == "single_label":
            references = np.eye(len(self.label_map.names))[references.astype(int)]
        weights = None if class_weights is None else np.array(class_weights)
        several = self.problem_type == "multi_label"
        return Labelled(labelled, Targets(references.astype(np.float64), several, weights))

    def _predictions(self, logits: _Floats, config: HierBertConfig) -> npt.NDArray[Any]:
        if self.problem_type == "single_label":
            return logits.argmax(1)
        if self.problem_type == "regression":
            return logits[:, 0]
        return (self._probabilities(logits) >= np.array(config.label_thresholds)).astype(int)

    def _probabilities(self, logits: _Floats) -> _Floats:
        values = torch.from_numpy(logits)
        return (
            values.sigmoid() if self.problem_type == "multi_label" else values.softmax(1)
        ).numpy()

    def _plain_all(self, predictions: npt.NDArray[Any]) -> list[Any]:
        """Labels by name, for files."""
        if predictions.ndim == 2:
            return [self.plain(np.flatnonzero(row).tolist()) for row in predictions]
        return [self.plain(value) for value in predictions.tolist()]

    def _known(self, documents: Sequence[PreparedDocument]) -> list[PreparedDocument]:
        """Those that have labels."""
        return [one for one in documents if one.targets[self.name] is not None]


def _reader(documents: Sequence[PreparedDocument], source: "VectorSource") -> Read:
    """What reads a document's vectors by its place."""

    def read(place: int) -> DocumentVectors:
        document = documents[place].segmented
        segments, sentences = source.batch([document])
        return DocumentVectors(
            segments.numpy(), sentences.numpy(), document.sentence_tokens.numpy()
        )

    return read


def _or_half(threshold: float | None) -> float:
    return 0.5 if threshold is None else threshold


def _listed(names: str | Sequence[str], most: int = 3) -> str:
    """A name, or the first of some."""
    if isinstance(names, str):
        return names
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
