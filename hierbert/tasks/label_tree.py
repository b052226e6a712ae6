"""Labels that have parents, written as paths: ``science/physics``."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.errors import DataError
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.heads import Answered
from hierbert.model.label_tree_head import MISSING_PATH
from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring.metric import Metric, add_metrics
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Task, register_task

add_metrics(Metric("path_accuracy", "Paths", ("label_tree",), lambda own, known: own == known))


@register_task
class LabelTree(Task):
    """The column `data.columns.path` holds the path of each document."""

    name, field, auto_metric = "label_tree", "path", "path_accuracy"

    def __init__(self, paths: Sequence[str]) -> None:
        self.number_of = {path: number for number, path in enumerate(paths)}

    @classmethod
    @override
    def learn(cls, config: RunConfig, train: Sequence[Example]) -> "LabelTree":
        return cls(sorted({path for one in train if (path := one.fields["path"]) is not None}))

    @classmethod
    @override
    def of_model(cls, config: HierBertConfig) -> "LabelTree":
        return cls(["/".join(path) for path in (config.head_settings or {})[cls.name]["paths"]])

    @override
    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        return {"head_settings": {self.name: {"paths": [p.split("/") for p in self.number_of]}}}

    @override
    def encode(self, example: Example) -> int | None:
        path = example.fields["path"]
        if path is not None and path not in self.number_of:
            raise DataError(f"no training document has the path {path!r}", place=example.location)
        return None if path is None else self.number_of[path]

    @override
    def collate(self, targets: Sequence[Any], documents: Sequence[SegmentedDocument]) -> Tensor:
        return torch.tensor([MISSING_PATH if one is None else one for one in targets])

    @override
    def keep(self, answered: Answered, document: PreparedDocument, config: HierBertConfig) -> int:
        return int(answered.scores[self.name].argmax())

    @override
    def metrics(self) -> list[str]:
        return [self.auto_metric]

    @override
    def score(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, float]:
        right = [
            own == known
            for own, document in zip(kept, documents, strict=True)
            if (known := document.targets[self.name]) is not None
        ]
        return {self.auto_metric: sum(right) / len(right)} if right else {}
