"""The scores of labels as a metric of Hugging Face's ``evaluate``, by which training scores.

``evaluate.load`` downloads a script and keeps rows in files under the home folder; this one keeps
them in memory. Rows of several processes are gathered before, by row index.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hierbert.scoring.labels import label_scores


class LabelMetric(evaluate.Metric):
    """`label_scores` of one problem type as an `evaluate.Metric`.

    ``compute(predictions=..., references=...)`` gives the dict of scores; of several labels it
    takes ``threshold`` as well, of one ``probabilities``.

    Args:
        problem_type: ``single_label``, ``multi_label``, ``regression`` or ``tree``.
        **settings: Settings of `evaluate.Metric`; rows stay in memory whatever is set.
    """

    def __init__(self, problem_type: str, **settings: Any) -> None:
        super().__init__(**{**settings, "config_name": problem_type, "keep_in_memory": True})

    def _info(self) -> evaluate.MetricInfo:
        label, number = datasets.Value("int64"), datasets.Value("float64")
        prediction, reference = {
            "single_label": (label, label),
            "multi_label": (datasets.Sequence(number), datasets.Sequence(label)),
            "regression": (number, number),
            "tree": (datasets.Sequence(label), datasets.Sequence(label)),
        }[self.config_name]
        return evaluate.MetricInfo(
            description=label_scores.__doc__ or "",
            citation="",
            inputs_description="As `label_scores`.",
            features=datasets.Features({"predictions": prediction, "references": reference}),
        )

    def _build_data_dir(self) -> str:
        # The base class makes a folder under the home folder here, which may be read-only.
        return ""

    def _compute(
        self,
        predictions: Any,
        references: Any,
        threshold: float | Sequence[float] = 0.5,
        probabilities: Any = None,
    ) -> dict[str, float]:
        return label_scores(self.config_name, predictions, references, threshold, probabilities)
