"""The results of a run as tables: scores beside their baselines, labels, who is taken for whom."""

from typing import Any

from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.publishing.markdown import cell, table
from hierbert.scoring import metrics_of, shown_metrics
from hierbert.scoring.baselines import LABEL_BASELINES

_MOST_CONFUSED = 20
_MOST_LABELS = 100


def results_section(results: dict[str, Any], config: HierBertConfig) -> str:
    """All that a run found out about its model.

    Args:
        results: As `results.json` holds them, of any of hierbert's versions.
        config: The model's.

    Returns:
        Markdown.
    """
    split, count = results["split"], results["documents"]
    parts = [f"On the {count:,} {split} documents" + _warning(split) + ":"]
    if config.classification:
        parts += _label_parts(results, config)
    if config.summarization:
        parts += _summary_parts(results)
    if len(parts) == 1:
        return f"The {count:,} {split} documents had neither labels nor summaries to score against."
    return "\n\n".join(parts)


def _warning(split: str) -> str:
    if split == "test":
        return ""
    return " (which also chose the weights, so that new documents will score lower)"


def _label_parts(results: dict[str, Any], config: HierBertConfig) -> list[str]:
    scores, intervals = results["scores"], results.get("intervals") or {}
    regression = config.problem_type == "regression"
    metrics = [
        metric
        for metric in shown_metrics(scores)
        if metric.hub_type is not None and "summary" not in metric.problem_types
    ]
    if not metrics:
        return []
    kind = (config.problem_type or "single_label").removesuffix("_classification")
    baselines = {
        baseline.title: results[baseline.name]
        for baseline in LABEL_BASELINES
        if kind in baseline.problem_types and results.get(baseline.name)
    }
    head = ["", "this model", "95 % interval", *baselines]
    rows = []
    for metric in metrics:
        row = [metric.title, _figure(scores[metric.name], regression)]
        row.append(_interval(intervals.get(metric.name), regression))
        for figures in baselines.values():
            known = metric.name in figures
            row.append(_figure(figures[metric.name], regression) if known else "")
        rows.append(row)
    unit = "" if regression else " (x 100)"
    parts = ["**Numbers**" if regression else f"**Labels**{unit}", table(head, rows)]
    report = results.get("per_label")
    if report:
        parts += _per_label(report)
    return parts


def _per_label(report: dict[str, Any]) -> list[str]:
    labels = report["labels"]
    head = ["label", "precision", "recall", "F1", "documents"]
    rows = [
        [
            cell(row["label"]),
            *(_figure(row[name], False) for name in ("precision", "recall", "f1")),
            f"{row['support']:,}",
        ]
        for row in labels[:_MOST_LABELS]
    ]
    parts = [table(head, rows)]
    if len(labels) > _MOST_LABELS:
        parts.append(f"The other {len(labels) - _MOST_LABELS:,} labels are in `results.json`.")
    confusion = report.get("confusion")
    if confusion is None:
        return parts
    if len(labels) > _MOST_CONFUSED:
        return [*parts, "The confusion matrix is in `results.json`."]
    names = [cell(row["label"]) for row in labels]
    body = [[name, *(f"{n:,}" for n in row)] for name, row in zip(names, confusion, strict=True)]
    title = "Confusion: rows are the true labels, columns the model's:"
    return [*parts, title, table(["true \\ said", *names], body)]


def _summary_parts(results: dict[str, Any]) -> list[str]:
    summaries, budget = results.get("summaries"), results.get("budget")
    if not summaries or not budget:
        return []
    systems = summaries["systems"]
    # A run of an older version knows fewer.
    metrics = [
        metric
        for metric in metrics_of("summary")
        if all(metric.name in row for row in systems.values())
    ]
    head = ["", *(metric.title for metric in metrics)]
    rows = []
    for name, row in systems.items():
        own = name == "hierbert"
        cells = [
            f"{100 * figures['mean']:.1f}"
            + (f" [{100 * figures['low']:.1f}, {100 * figures['high']:.1f}]" if own else "")
            for figures in (row[metric.name] for metric in metrics)
        ]
        rows.append(["**this model**" if own else cell(name), *cells])
    limit = f"{cell(budget['name'])} = {budget['limit']:g}"
    parts = [
        f"**Summaries**, every system with {limit} (F1 x 100, stemmed; 95 % intervals of the "
        "means in brackets; Oracle is the best extract that a search finds knowing the reference)",
        table(head, rows),
    ]
    gains = [
        f"- {100 * gain['mean']:+.1f} ROUGE-1 over {cell(name)} "
        f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
        for name, gain in summaries.get("gain", {}).items()
        if name != "Oracle"
    ]
    if gains:
        parts.append(
            "On the same documents (paired bootstrap, 95 % intervals):\n\n" + "\n".join(gains)
        )
    return parts


def _figure(value: float, regression: bool) -> str:
    return f"{value:.4g}" if regression else f"{100 * value:.1f}"


def _interval(ends: dict[str, float] | None, regression: bool) -> str:
    if ends is None:
        return ""
    return f"{_figure(ends['low'], regression)} to {_figure(ends['high'], regression)}"
