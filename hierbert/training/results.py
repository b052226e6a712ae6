"""What a run prints and writes at its end: the table, results.json, one document's answers."""

import platform
from pathlib import Path
from typing import Any

import torch
import transformers

from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.errors import RunError, error_text, printable
from hierbert.evaluation.answers import Answer
from hierbert.files import write_json
from hierbert.model.decoding import summary_text
from hierbert.scoring import metrics_of, shown_metrics
from hierbert.scoring.baselines import LABEL_BASELINES


def results_table(results: dict[str, Any], label_map: LabelMap | None) -> str:
    """The tables of a run as text.

    Args:
        results: As `results.json` holds them.
        label_map: Of the classification head; None without one.

    Returns:
        Lines of at most 79 columns.
    """
    parts = []
    split, count = results["split"], results["documents"]
    if "summaries" in results:
        budget = results["budget"]
        metrics = [metric for metric in metrics_of("summary") if metric.headline]
        rows = [["", *(metric.title for metric in metrics)]]
        for name, row in results["summaries"]["systems"].items():
            rows.append([name, *(each.shown(row[each.name]["mean"]) for each in metrics)])
        parts.append(
            f"Summaries of the {count:,} {split} documents, {budget['name']} = "
            f"{budget['limit']:g} (F1 x 100)\n" + _grid(rows)
        )
        gains = [
            f"  over {name}: {100 * gain['mean']:+.1f} ROUGE-1 "
            f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
            for name, gain in results["summaries"]["gain"].items()
            if name != "Oracle"
        ]
        if gains:
            parts.append("hierbert (95 % interval, paired bootstrap)\n" + "\n".join(gains))
    kind = label_map.problem_type if label_map is not None else ""
    scores = results["scores"]
    metrics = [
        metric
        for metric in shown_metrics(scores)
        if metric.headline and kind in metric.problem_types
    ]
    if metrics:
        rows = [["", *(metric.title for metric in metrics)]]
        systems = {
            baseline.title: results.get(baseline.name)
            for baseline in LABEL_BASELINES
            if kind in baseline.problem_types
        }
        for title, figures in {**systems, "hierbert": scores}.items():
            if figures:
                rows.append([title, *(each.shown(figures[each.name]) for each in metrics)])
        what = "Numbers" if kind == "regression" else "Labels"
        unit = " (x 100)" if metrics[0].percent else ""
        parts.append(f"{what} of the {count:,} {split} documents{unit}\n" + _grid(rows))
    return "\n\n".join(parts)


def sample_answer(
    document: PreparedDocument,
    answer: Answer,
    label_map: LabelMap | None,
    split: str,
    threshold: float = 0.5,
) -> str:
    """One document's answers in words.

    Args:
        document: Of the split that was scored.
        answer: The model's.
        label_map: Of the classification head.
        split: Name of the split.
        threshold: Probability from which a label of several applies.

    Returns:
        Some lines.
    """
    lines = [f"One {split} document: {document.id}"]
    if answer.logits is not None and label_map is not None:
        lines.append(_label_line(document, answer.logits, label_map, threshold))
    if answer.selected is not None:
        lines.append(
            f"  summary ({len(answer.selected)} of {len(document.segmented.sentence_spans)} "
            "sentences):"
        )
        texts = summary_text(document.segmented, answer.selected).splitlines()
        spans = [document.segmented.sentence_spans[index] for index in answer.selected]
        lines += [
            f"    [{start}:{end}] {text}" for (start, end), text in zip(spans, texts, strict=True)
        ]
    # They quote what stands in a stranger's document.
    return "\n".join(printable(line) for line in lines)


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results.json whole.

    Raises:
        RunError: It cannot be written.
    """
    try:
        # A lone surrogate in a label becomes the escape that JSON has for it.
        write_json(path, results, indent=2, ensure_ascii=False)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error_text(error)}; mend that and go on with --resume"
        ) from error


def environment() -> dict[str, str]:
    """Versions that figures depend on."""
    from hierbert import __version__

    return {
        "hierbert": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _label_line(
    document: PreparedDocument, logits: list[float], label_map: LabelMap, threshold: float
) -> str:
    if label_map.problem_type == "regression":
        return f"  value: {logits[0]:.4g} (true: {document.label})"
    values = torch.tensor(logits)
    if label_map.problem_type == "single_label":
        shares = values.softmax(0)
        best = int(shares.argmax())
        true = "unknown" if document.label is None else label_map.names[document.label]
        return f"  label: {label_map.names[best]} ({float(shares[best]):.2f}); true: {true}"
    shares = values.sigmoid()
    named = [
        f"{name} ({float(share):.2f})"
        for name, share in zip(label_map.names, shares, strict=True)
        if share >= threshold
    ]
    return f"  labels: {', '.join(named) or 'none'}"


def _grid(rows: list[list[str]]) -> str:
    """Rows as columns of equal width, the first flush left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)
