"""What the card of a model tells of each task: its facts here, their words in its template.

A task's template beside this file has the macros `does`, `pipeline`, `by_hand`, `predictor`,
`section`, `figures` and `limits`; `task` in them is what the task's function here returned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.decoding import SummaryRule


@dataclass(frozen=True)
class Metric:
    """How a card shows a metric of `results.json`.

    Attributes:
        name: Key in the scores.
        title: What people call it.
        hub_type: Identifier of the metric on the Hub.
        percent: Whether it is read x 100.
        hub_factor: What the Hub's readers expect it to be multiplied by.
    """

    name: str
    title: str
    hub_type: str
    percent: bool = True
    hub_factor: int = 1

    def shown(self, value: float) -> str:
        """A value as it stands in a table."""
        return percent(value) if self.percent else f"{value:.4g}"


LABEL_METRICS = (
    Metric("accuracy", "Accuracy", "accuracy"),
    Metric("macro_f1", "Macro-F1", "f1"),
    Metric("micro_f1", "Micro-F1", "f1"),
    Metric("weighted_f1", "Weighted F1", "f1"),
    Metric("map", "Mean average precision", "map"),
    Metric("mse", "Mean squared error", "mse", percent=False),
    Metric("mae", "Mean absolute error", "mae", percent=False),
    Metric("r2", "R²", "r_squared", percent=False),
    Metric("pearson", "Pearson correlation", "pearsonr", percent=False),
    Metric("spearman", "Spearman correlation", "spearmanr", percent=False),
)
SUMMARY_METRICS = (
    Metric("rouge1", "ROUGE-1", "rouge", hub_factor=100),
    Metric("rouge2", "ROUGE-2", "rouge", hub_factor=100),
    Metric("rougeL", "ROUGE-L", "rouge", hub_factor=100),
    Metric("rougeLsum", "ROUGE-Lsum", "rouge", hub_factor=100),
)


def percent(value: float) -> str:
    """A share x 100, with one decimal."""
    return f"{100 * value:.1f}"


def classification(config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any] | None:
    """Facts of a model that classifies; None of one that does not.

    Args:
        config: The model's.
        results: Of its run; every part that a run may lack is there, as None.

    Returns:
        What every task's facts have (`template`, `hub_task`, `tags`; `metrics` that were scored;
        whether there are `has_figures` to show), and what the template words.
    """
    if not config.classification:
        return None
    kind = (config.problem_type or "single_label").removesuffix("_classification")
    # Of one label a document, micro-F1 is the accuracy once more.
    scores = results["scores"].keys() - ({"micro_f1"} if "accuracy" in results["scores"] else ())
    metrics = [metric for metric in LABEL_METRICS if metric.name in scores]
    per_label = (results["per_label"] or {}).get("labels", [])
    return {
        "template": "classification.md.jinja",
        "hub_task": "text-classification",
        "tags": ["document-classification", "text-classification"],
        "metrics": metrics,
        "has_figures": bool(metrics),
        "kind": kind,
        "answer": "labels" if kind == "multi_label" else "label",
        "labels": [config.id2label[number] for number in range(config.num_labels)],
        "counts": results["label_counts"],
        "supports": {row["label"]: row["support"] for row in per_label},
    }


def summarization(config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any] | None:
    """Facts of a model that summarizes, as `classification` gives its own; None of others."""
    if not config.summarization:
        return None
    return {
        "template": "summarization.md.jinja",
        "hub_task": "summarization",
        "tags": ["document-summarization", "extractive-summarization"],
        "metrics": [metric for metric in SUMMARY_METRICS if metric.name in results["scores"]],
        "has_figures": bool(results["summaries"] and results["budget"]),
        "is_ratio": SummaryRule.from_config(config).budget.ratio is not None,
        "unit": config.summary_budget.removeprefix("max_"),
    }


CARD_TASKS: tuple[Callable[[HierBertConfig, dict[str, Any]], dict[str, Any] | None], ...] = (
    classification,
    summarization,
)
