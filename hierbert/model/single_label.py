"""Documents that have one of several labels."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .classification_head import ClassificationHead, LabelRule, loss_weights, register_labels
from .configuration_hierbert import HierBertConfig
from .heads import Structure

MISSING_LABEL = -100


@register_labels("single_label_classification")
class SingleLabelHead(ClassificationHead):
    """Document vectors to logits of labels that exclude one another."""

    title = "single_label"
    own_settings = frozenset(["top_labels", "abstain_below"])

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        self.class_weights = config.class_weights
        self.label_smoothing = config.label_smoothing

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each label, of logits float (..., C)."""
        return logits.softmax(-1)

    def decide(self, probabilities: dict[str, float], options: LabelRule) -> dict[str, Any]:
        """`label`; where it may be too unlikely, `abstained`, with which it is None."""
        likeliest = max(probabilities, key=probabilities.__getitem__)
        if options.abstain_below is None:
            return {"label": likeliest}
        abstained = probabilities[likeliest] < options.abstain_below
        return {"label": None if abstained else likeliest, "abstained": abstained}

    def answered_labels(self, logits: Tensor, options: LabelRule) -> list[int]:
        """The likeliest label."""
        return [int(logits.argmax())]

    def explained(self, logits: Tensor, labels: list[int], config: HierBertConfig) -> Tensor:
        """The logit of the probability of each of L labels, float (R, L), of logits (R, C)."""
        if logits.shape[1] == 1:
            return logits[:, labels]
        columns = []
        for label in labels:
            others = torch.cat([logits[:, :label], logits[:, label + 1 :]], 1)
            columns.append(logits[:, label] - others.logsumexp(1))
        return torch.stack(columns, 1)

    def losses(
        self, logits: Tensor, labels: Tensor, structure: Structure | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each document, float32 (D,), and which documents have a label.

        Args:
            logits: float (D, C).
            labels: int64 (D,), `MISSING_LABEL` where none is known.
            structure: Not read.
        """
        labelled = labels != MISSING_LABEL
        losses = F.cross_entropy(
            logits.float(),
            labels.masked_fill(~labelled, 0),
            weight=loss_weights(self.class_weights, logits),
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return torch.where(labelled, losses, losses * 0.0), labelled
