"""Documents that have a number."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .classification_head import ClassificationHead, LabelRule, register_labels
from .configuration_hierbert import HierBertConfig
from .heads import Answered, Structure


@register_labels("regression")
class RegressionHead(ClassificationHead):
    """Document vectors to numbers, of mean 0 and spread 1 over the training documents."""

    title = "regression"

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        self.label_mean, self.label_scale = config.label_mean, config.label_scale

    def answer(
        self, answered: Answered, config: HierBertConfig, options: LabelRule
    ) -> dict[str, Any]:
        """`label`, a number, of the document's logits, float (1,)."""
        return {"label": float(regression_values(answered.scores[self.name], config)[0])}

    def answered_labels(self, logits: Tensor, options: LabelRule) -> list[int]:
        """The number, which is the only one."""
        return [0]

    def explained(self, logits: Tensor, labels: list[int], config: HierBertConfig) -> Tensor:
        """The numbers, float (R, 1), of logits (R, 1)."""
        return regression_values(logits, config)

    def explained_value(self, value: float) -> dict[str, float]:
        """Nothing: the number is the answer."""
        return {}

    def strength(self, contributions: Tensor) -> Tensor:
        """How much they move the number, whichever way."""
        return contributions.abs()

    def losses(
        self, logits: Tensor, labels: Tensor, structure: Structure | None = None
    ) -> tuple[Tensor, Tensor]:
        """The squared error of each document, float32 (D,), and which have a number.

        Args:
            logits: float (D, C), which are compared with (label - mean) / scale.
            labels: float (D,) or (D, C), in their own unit; NaN anywhere in its row leaves a
                document out.
            structure: Not read.
        """
        targets = labels.float().view(logits.shape)
        labelled = ~targets.isnan().any(1)
        targets = targets.masked_fill(~labelled[:, None], 0.0)
        targets = (targets - self.label_mean) / self.label_scale
        losses = F.mse_loss(logits.float(), targets, reduction="none").mean(1)
        return torch.where(labelled, losses, losses * 0.0), labelled


def regression_values(logits: Tensor, config: HierBertConfig) -> Tensor:
    """The numbers a regression predicts, in the unit of its labels; float32 of any shape."""
    return logits.float() * config.label_scale + config.label_mean
