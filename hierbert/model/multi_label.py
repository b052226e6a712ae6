"""Documents that have any of several labels."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .classification_head import ClassificationHead, LabelRule, loss_weights, register_labels
from .configuration_hierbert import HierBertConfig
from .heads import Structure


@register_labels("multi_label_classification")
class MultiLabelHead(ClassificationHead):
    """Document vectors to logits of labels of which each applies or does not."""

    title = "multi_label"
    own_settings = frozenset(["top_labels", "threshold"])

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        self.class_weights = config.class_weights

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each label, of logits float (..., C)."""
        return logits.sigmoid()

    def decide(self, probabilities: dict[str, float], options: LabelRule) -> dict[str, Any]:
        """`labels`, those that reach their thresholds, likeliest first."""
        pairs = zip(probabilities.items(), options.thresholds, strict=True)
        reached = [name for (name, share), least in pairs if share >= least]
        return {"labels": sorted(reached, key=lambda name: -probabilities[name])}

    def answered_labels(self, logits: Tensor, options: LabelRule) -> list[int]:
        """Those that reach their thresholds, likeliest first."""
        least = torch.tensor(options.thresholds, dtype=torch.float64)
        reached = (logits.sigmoid().double() >= least).nonzero()[:, 0]
        order = logits[reached].argsort(descending=True, stable=True)
        found: list[int] = reached[order].tolist()
        return found

    def explained(self, logits: Tensor, labels: list[int], config: HierBertConfig) -> Tensor:
        """The logit of the probability of each of L labels, float (R, L), of logits (R, C)."""
        return logits[:, labels]

    def losses(
        self, logits: Tensor, labels: Tensor, structure: Structure | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean binary cross-entropy of each document, float32 (D,), and which have labels.

        Args:
            logits: float (D, C).
            labels: float (D, C) of 0 and 1; NaN anywhere in its row leaves a document out.
            structure: Not read.
        """
        logits, targets = logits.float(), labels.float()
        labelled = ~targets.isnan().any(1)
        losses = F.binary_cross_entropy_with_logits(
            logits,
            targets.masked_fill(~labelled[:, None], 0.0),
            pos_weight=loss_weights(self.class_weights, logits),
            reduction="none",
        ).mean(1)
        return torch.where(labelled, losses, losses * 0.0), labelled
