"""What the card of a model tells of each task: its facts here, their words in its template.

A task's template beside this file has the macros `does`, `pipeline`, `by_hand`, `predictor`,
`section`, `figures` and `limits`; `task` in them is what the task's function here returned.
"""

from collections.abc import Callable
from typing import Any

from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.decoding import SummaryRule
from hierbert.scoring import metrics_of, shown_metrics
from hierbert.scoring.baselines import LABEL_BASELINES


def percent(value: float) -> str:
    """A share x 100, with one decimal."""
    return f"{100 * value:.1f}"


def classification(config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any] | None:
    """Facts of a model that classifies; None of one that does not.

    Every task has `template`, `hub_task`, `tags`, the `metrics` that were scored, and
    `has_figures`; the rest is for its template.

    Args:
        config: The model's.
        results: Of its run; every part that a run may lack is there, as None.
    """
    if not config.classification:
        return None
    kind = (config.problem_type or "single_label").removesuffix("_classification")
    metrics = [
        metric
        for metric in shown_metrics(results["scores"])
        if metric.hub_type is not None and kind in metric.problem_types
    ]
    per_label = (results["per_label"] or {}).get("labels", [])
    return {
        "template": "classification.md.jinja",
        "hub_task": "text-classification",
        "tags": ["document-classification", "text-classification"],
        "metrics": metrics,
        "has_figures": bool(metrics),
        "baselines": {
            baseline.title: results[baseline.name]
            for baseline in LABEL_BASELINES
            if kind in baseline.problem_types and results[baseline.name]
        },
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
        "metrics": [m for m in metrics_of("summary") if m.name in results["scores"]],
        "has_figures": bool(results["summaries"] and results["budget"]),
        "is_ratio": SummaryRule.from_config(config).budget.ratio is not None,
        "unit": config.summary_budget.removeprefix("max_"),
    }


CARD_TASKS: tuple[Callable[[HierBertConfig, dict[str, Any]], dict[str, Any] | None], ...] = (
    classification,
    summarization,
)
