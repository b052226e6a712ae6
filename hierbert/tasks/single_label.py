"""Documents that have one of several labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.single_label import MISSING_LABEL
from hierbert.scoring.reliability import risk_coverage
from hierbert.tasks.classification import Classification, LabelAnswers, register_labels
from hierbert.tasks.prepared import PreparedDocument

_Floats = npt.NDArray[np.float64]


@register_labels
class SingleLabel(Classification):
    """Labels that exclude one another."""

    problem_type = "single_label"
    head_type = "single_label_classification"
    auto_metric = "macro_f1"
    abstains = True

    @property
    @override
    def stratifies(self) -> bool:
        return True

    @override
    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        own = {"label_smoothing": config.training.label_smoothing}
        return super().model_settings(config, train) | own

    @override
    def balanced_weight(self, count: int, documents: int) -> float:
        return documents / (len(self.label_map.names) * count)

    @override
    def collate(self, targets: Sequence[Any], documents: Sequence[SegmentedDocument]) -> Tensor:
        """int64 (D,)."""
        return torch.tensor([MISSING_LABEL if label is None else label for label in targets])

    @override
    def table(self, references: npt.NDArray[Any]) -> _Floats:
        return np.eye(len(self.label_map.names))[references.astype(int)]

    @override
    def predictions(self, logits: _Floats, config: HierBertConfig) -> npt.NDArray[Any]:
        return logits.argmax(1)

    @override
    def probabilities(self, logits: _Floats) -> _Floats:
        return torch.from_numpy(logits).softmax(1).numpy()

    @override
    def scored(self, logits: _Floats, config: HierBertConfig) -> dict[str, Any]:
        shares = self.probabilities(logits)
        return {"predictions": self.predictions(logits, config), "probabilities": shares}

    @override
    def details(self, answers: LabelAnswers) -> dict[str, Any]:
        shares, below = self.probabilities(answers.logits), answers.config.abstain_below
        found = {"risk_coverage": risk_coverage(shares, answers.references, below)}
        return super().details(answers) | found

    @override
    def sample(self, document: PreparedDocument, kept: Any, config: HierBertConfig) -> list[str]:
        true, names = document.targets[self.name], self.label_map.names
        shares = torch.tensor(kept).softmax(0)
        best = int(shares.argmax())
        known = "unknown" if true is None else names[true]
        share = float(shares[best])
        abstained = ", abstained" if share < (config.abstain_below or 0) else ""
        return [f"  label: {names[best]} ({share:.2f}{abstained}); true: {known}"]
