"""Documents that have any of several labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring.metric import METRICS
from hierbert.scoring.precision_recall import precision_recall
from hierbert.scoring.thresholds import fit_thresholds
from hierbert.tasks.classification import Classification, LabelAnswers, listed, register_labels
from hierbert.tasks.prepared import PreparedDocument

_Floats = npt.NDArray[np.float64]


@register_labels
class MultiLabel(Classification):
    """Labels of which each applies or does not."""

    problem_type = "multi_label"
    head_type = "multi_label_classification"
    auto_metric = "map"
    several = True

    @override
    def balanced_weight(self, count: int, documents: int) -> float:
        return (documents - count) / count

    @override
    def collate(self, targets: Sequence[Any], documents: Sequence[SegmentedDocument]) -> Tensor:
        """float32 (D, C)."""
        table = torch.zeros(len(targets), len(self.label_map.names))
        for row, labels in enumerate(targets):
            table[row, slice(None) if labels is None else labels] = (
                torch.nan if labels is None else 1.0
            )
        return table

    @override
    def references(self, labels: list[Any]) -> npt.NDArray[Any]:
        table = np.zeros((len(labels), len(self.label_map.names)), dtype=int)
        for row, numbers in enumerate(labels):
            table[row, numbers] = 1
        return table

    @override
    def table(self, references: npt.NDArray[Any]) -> _Floats:
        return references.astype(np.float64)

    @override
    def predictions(self, logits: _Floats, config: HierBertConfig) -> npt.NDArray[Any]:
        return (self.probabilities(logits) >= np.array(config.label_thresholds)).astype(int)

    @override
    def probabilities(self, logits: _Floats) -> _Floats:
        return torch.from_numpy(logits).sigmoid().numpy()

    @override
    def scored(self, logits: _Floats, config: HierBertConfig) -> dict[str, Any]:
        shares = self.probabilities(logits)
        return {"predictions": shares, "threshold": config.label_thresholds}

    @override
    def add_calibration(
        self, found: dict[str, Any], logits: _Floats, references: npt.NDArray[Any]
    ) -> None:
        """From which probability each label applies."""
        if (metric := self.threshold_metric) is None:
            return
        thresholds = fit_thresholds(logits, references, metric)

        def reached(least: float | list[float]) -> float:
            given = (self.probabilities(logits) >= np.asarray(least)).astype(int)
            return float(METRICS[str(metric)].score(given, references))

        each = thresholds.by_label
        found["config"] |= {"decision_threshold": thresholds.overall, "decision_thresholds": each}
        found["results"]["calibration"]["thresholds"] = told = {
            "metric": metric,
            "overall": thresholds.overall,
            "labels": dict(zip(self.label_map.names, each, strict=True)),
            "before": reached(0.5),
            "after": reached(each),
        }
        line = "; thresholds: {overall:.3f} for all labels, {low:.3f} to {high:.3f} for each "
        line += "({metric} {before:.4f} -> {after:.4f})"
        found["line"] += line.format(low=min(each), high=max(each), **told)

    @override
    def details(self, answers: LabelAnswers) -> dict[str, Any]:
        shares = self.probabilities(answers.logits)
        found = precision_recall(shares, answers.references, answers.predictions)
        return super().details(answers) | {"precision_recall": found}

    @override
    def sample(self, document: PreparedDocument, kept: Any, config: HierBertConfig) -> list[str]:
        shares = torch.tensor(kept).sigmoid().tolist()
        named = [
            f"{name} ({share:.2f})"
            for name, share, least in zip(
                self.label_map.names, shares, config.label_thresholds, strict=True
            )
            if share >= least
        ]
        return [f"  labels: {listed(named, 20) or 'none'}"]
