"""Documents that have a number."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.errors import DataError
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.heads import Answered
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.regression import regression_values
from hierbert.model.segmentation import SegmentedDocument
from hierbert.tasks.classification import Classification, LabelAnswers, register_labels
from hierbert.tasks.labels import LabelMap
from hierbert.tasks.mistakes import largest_errors
from hierbert.tasks.prepared import PreparedDocument

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

_Floats = npt.NDArray[np.float64]


@register_labels
class Regression(Classification):
    """Numbers, of which the head learns how many spreads they are from the mean."""

    problem_type = head_type = "regression"
    auto_metric = "mse"
    titles = "Numbers"

    @property
    @override
    def bounded_metric(self) -> str:
        return "r2"

    @classmethod
    @override
    def labels_of(cls, config: HierBertConfig) -> LabelMap:
        return LabelMap([], cls.problem_type)

    @override
    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        numbers = [value for value, _ in self._numbers(train)] or [0.0]
        return super().model_settings(config, train) | {
            "class_weights": None,
            "label_mean": statistics.fmean(numbers),
            "label_scale": statistics.pstdev(numbers) or 1.0,
        }

    @override
    def continued(self, config: HierBertConfig) -> dict[str, Any] | None:
        # Numbers keep their unit.
        unit = {"label_mean": config.label_mean, "label_scale": config.label_scale}
        return None if super().continued(config) is None else unit

    @override
    def check(self, splits: Mapping[str, Sequence[Example]], config: HierBertConfig) -> None:
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
    def collate(self, targets: Sequence[Any], documents: Sequence[SegmentedDocument]) -> Tensor:
        """float32 (D,)."""
        return torch.tensor([torch.nan if label is None else float(label) for label in targets])

    @override
    def keep(self, answered: Answered, document: PreparedDocument, config: HierBertConfig) -> Any:
        """The number in the unit of the labels, in a list."""
        return regression_values(answered.scores[self.name], config).tolist()

    @property
    @override
    def calibrates(self) -> bool:
        return False

    @override
    def complete(
        self,
        model: HierBertForDocuments,
        splits: Mapping[str, Sequence[PreparedDocument]],
        kept: Sequence[Any],
        vectors: "VectorSource | None",
        processor: HierBertProcessor,
    ) -> None:
        """Nothing stands beside the layers."""

    @override
    def predictions(self, logits: _Floats, config: HierBertConfig) -> npt.NDArray[Any]:
        return logits[:, 0]

    @override
    def scored(self, logits: _Floats, config: HierBertConfig) -> dict[str, Any]:
        return {"predictions": self.predictions(logits, config)}

    @override
    def details(self, answers: LabelAnswers) -> dict[str, Any]:
        found = largest_errors(answers.documents, answers.predictions, answers.references)
        return {"examples": {"mistakes": found}}

    @override
    def sample(self, document: PreparedDocument, kept: Any, config: HierBertConfig) -> list[str]:
        return [f"  value: {kept[0]:.4g} (true: {document.targets[self.name]})"]

    def _numbers(self, examples: Sequence[Example]) -> list[tuple[float, Example]]:
        """The labels, each with its example."""
        labels = ((self.label_map.encode(example), example) for example in examples)
        return [(float(v), example) for v, example in labels if isinstance(v, (int, float))]
