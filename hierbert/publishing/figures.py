"""The results of a run as tables: scores beside their baselines, labels, who is taken for whom."""

from typing import Any

from hierbert.evaluation.rouge import ROUGE_TYPES
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.publishing.markdown import cell, table

# Key in the results: title, the Hub's task and metric, and the factor people read it with.
METRICS = {
    "accuracy": ("Accuracy", "text-classification", "accuracy", 1),
    "macro_f1": ("Macro-F1", "text-classification", "f1", 1),
    "micro_f1": ("Micro-F1", "text-classification", "f1", 1),
    "weighted_f1": ("Weighted F1", "text-classification", "f1", 1),
    "map": ("Mean average precision", "text-classification", "map", 1),
    "mse": ("Mean squared error", "text-classification", "mse", 1),
    "mae": ("Mean absolute error", "text-classification", "mae", 1),
    "r2": ("R²", "text-classification", "r_squared", 1),
    "pearson": ("Pearson correlation", "text-classification", "pearsonr", 1),
    "spearman": ("Spearman correlation", "text-classification", "spearmanr", 1),
    "rouge1": ("ROUGE-1", "summarization", "rouge", 100),
    "rouge2": ("ROUGE-2", "summarization", "rouge", 100),
    "rougeL": ("ROUGE-L", "summarization", "rouge", 100),
    "rougeLsum": ("ROUGE-Lsum", "summarization", "rouge", 100),
}
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
    baseline = results.get("majority") or {}
    regression = config.problem_type == "regression"
    keys = [key for key in METRICS if key in scores and key not in ROUGE_TYPES]
    if "accuracy" in scores:
        # Of one label a document, micro-F1 is the accuracy once more.
        keys = [key for key in keys if key != "micro_f1"]
    if not keys:
        return []
    head = ["", "this model", "95 % interval"]
    title = "always the mean" if regression else "always the commonest label"
    head += [title] if baseline else []
    rows = []
    for key in keys:
        row = [METRICS[key][0], _figure(scores[key], regression)]
        row.append(_interval(intervals.get(key), regression))
        row += [_figure(baseline[key], regression) if key in baseline else ""] if baseline else []
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
    head = ["", *(METRICS[kind][0] for kind in ROUGE_TYPES)]
    rows = []
    for name, row in summaries["systems"].items():
        own = name == "hierbert"
        cells = [
            f"{100 * row[kind]['mean']:.1f}"
            + (f" [{100 * row[kind]['low']:.1f}, {100 * row[kind]['high']:.1f}]" if own else "")
            for kind in ROUGE_TYPES
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
