"""Figures of each label, and which are taken for which."""

from typing import Any

from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found

_MOST_LABELS = 100
# A matrix of more labels is wider than a page.
_WIDEST_MATRIX = 12
_MOST_PAIRS = 20


def labels(found: Found) -> Section | None:
    """The rows of each label, then a matrix or, of many labels, the most confused pairs."""
    details = found.results.get("per_label")
    if not details:
        return None
    rows, confusion = details["labels"], details.get("confusion")
    shown = sorted(rows, key=lambda row: -row["support"]) if len(rows) > _MOST_LABELS else rows
    counts = found.results.get("label_counts") or {}
    blocks: list[Block] = [
        Table(
            ["Label", "Precision", "Recall", "F1", "documents", "predicted", "in training"],
            [
                [
                    row["label"],
                    *(f"{100 * row[name]:.1f}" for name in ("precision", "recall", "f1")),
                    *(f"{row[name]:,}" for name in ("support", "predicted")),
                    f"{counts[row['label']]:,}" if row["label"] in counts else "-",
                ]
                for row in shown[:_MOST_LABELS]
            ],
        )
    ]
    if len(rows) > _MOST_LABELS:
        blocks.append(
            Note(
                f"The {_MOST_LABELS} labels of most documents, of {len(rows):,}; all are in "
                "results.json."
            )
        )
    never = [row["label"] for row in rows if not row["support"]]
    if never and len(rows) > 1:
        blocks.append(Note(f"{len(never):,} of {len(rows):,} labels are of no scored document."))
    names = [row["label"] for row in rows]
    if confusion and 1 < len(names) <= _WIDEST_MATRIX:
        blocks += _matrix(names, confusion)
    elif confusion and len(names) > 1:
        blocks += _pairs(names, confusion)
    return Section("Labels", blocks)


def _matrix(names: list[str], confusion: list[list[int]]) -> list[Block]:
    shades = [[count / max(1, sum(row)) for count in row] for row in confusion]
    cells = [
        [name, *(f"{count:,}" for count in row)] for name, row in zip(names, confusion, strict=True)
    ]
    note = Note("Confusion matrix: a row is what is true, a column what was answered.")
    return [note, Table(["true, answered:", *names], cells, shades=shades)]


def _pairs(names: list[str], confusion: list[list[int]]) -> list[Block]:
    found: list[tuple[int, Any, Any, int]] = [
        (count, names[true], names[answered], sum(row))
        for true, row in enumerate(confusion)
        for answered, count in enumerate(row)
        if count and true != answered
    ]
    if not found:
        return [Note("No label was taken for another one.")]
    found.sort(key=lambda one: (-one[0], -one[0] / one[3], str(one[1]), str(one[2])))
    rows = [
        [true, answered, f"{count:,}", f"{100 * count / of:.1f}"]
        for count, true, answered, of in found[:_MOST_PAIRS]
    ]
    note = f"The most confused pairs of labels, {min(len(found), _MOST_PAIRS)} of {len(found):,}."
    return [Note(note), Table(["true", "answered", "documents", "% of the true"], rows)]
