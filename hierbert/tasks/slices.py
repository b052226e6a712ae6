"""Scores of parts of the documents: by their length, and by what stands in a column."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hierbert.errors import printable
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.scoring.intervals import FEWEST_DOCUMENTS
from hierbert.scoring.metric import Metric, shown_metrics
from hierbert.scoring.tables import grid
from hierbert.tasks.evaluation import Answer, score_answers
from hierbert.tasks.evidence_places import PARTS, SPREAD, part_of
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Task

# Upper ends in tokens: a segment, and twice as much each time.
_LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
_MOST_VALUES = 20
_TABLE_WIDTH, _LONGEST_NAME = 79, 40

_Slice = tuple[dict[str, Any], list[int]]


def score_slices(
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
    columns: Mapping[str, Sequence[Any]],
    tasks: Sequence[Task],
    model: HierBertForDocuments,
    seed: int = 0,
) -> dict[str, Any]:
    """The "slices" of results.json.

    Args:
        answers: To the documents.
        documents: Those that have a target of some task are sliced, the others left out.
        columns: Plain JSON values of each document, by the column's name.
        tasks: Of the model.
        model: As answered.
        seed: Of intervals.

    Returns:
        "length", by name "columns", and by task "evidence": lists of slices, each with its
        "documents", "scores" and "intervals", which a task has none of where fewer than
        `FEWEST_DOCUMENTS` have a target.
        A slice of lengths has "from_tokens" and "to_tokens", None for no end. One of a column has
        "value", None where the documents have none; or, of values that are too few documents' or
        too many, "rare_values", how many those are. The most frequent come first. One of evidence
        has "part", the part of a document in which lies what the task's answers rest on.
    """
    places = [
        place
        for place, document in enumerate(documents)
        if any(target is not None for target in document.targets.values())
    ]

    def scored(slices: Iterator[_Slice], tasks: Sequence[Task] = tasks) -> list[dict[str, Any]]:
        rows = []
        for facts, own in slices:
            parts = [answers[place] for place in own], [documents[place] for place in own]
            scores = score_answers(*parts, tasks, model)
            ends: dict[str, Any] = {}
            for task in tasks:
                if sum(one.targets[task.name] is not None for one in parts[1]) < FEWEST_DOCUMENTS:
                    continue
                kept = [answer.kept[task.name] for answer in parts[0]]
                ends |= task.intervals(parts[1], kept, model.config, seed)
            rows.append({**facts, "documents": len(own), "scores": scores, "intervals": ends})
        return rows

    return {
        "length": scored(_by_length({place: documents[place].tokens for place in places})),
        "columns": {
            name: scored(_by_value({place: values[place] for place in places}))
            for name, values in columns.items()
        },
        "evidence": {
            task.name: rows
            for task in tasks
            if (rows := scored(_by_part(_parts(task, places, answers, documents)), [task]))
        },
    }


def _by_length(tokens: Mapping[int, int]) -> Iterator[_Slice]:
    start = 0
    for end in (*_LENGTHS, None):
        own = [p for p, size in tokens.items() if start <= size and (end is None or size <= end)]
        if own:
            yield {"from_tokens": start, "to_tokens": end}, own
        start = 0 if end is None else end + 1


def _parts(
    task: Task,
    places: Sequence[int],
    answers: Sequence[Answer],
    documents: Sequence[PreparedDocument],
) -> dict[int, str]:
    """Of the documents with a target whose answers' places are known, in which part they are."""
    return {
        place: part_of(own)
        for place in places
        if documents[place].targets[task.name] is not None
        and (own := answers[place].places.get(task.name))
    }


def _by_part(parts: Mapping[int, str]) -> Iterator[_Slice]:
    for part in (*PARTS, SPREAD):
        if own := [place for place, found in parts.items() if found == part]:
            yield {"part": part}, own


def _by_value(values: Mapping[int, Any]) -> Iterator[_Slice]:
    without: list[int] = []
    found: dict[str, list[int]] = {}
    for place, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        blank = value is None or not text.strip()
        (without if blank else found.setdefault(text, [])).append(place)
    ordered = sorted(found, key=lambda text: (-len(found[text]), text))
    kept = [text for text in ordered[:_MOST_VALUES] if len(found[text]) >= FEWEST_DOCUMENTS]
    if len(ordered) - len(kept) == 1:
        kept = ordered
    for text in kept:
        yield {"value": text}, found[text]
    if rare := ordered[len(kept) :]:
        yield {"rare_values": len(rare)}, sorted(place for text in rare for place in found[text])
    if without:
        yield {"value": None}, without


def slice_tables(tasks: Sequence[Task], slices: Mapping[str, Any]) -> Iterator[str]:
    """The slices of results.json for a terminal, a table for each task; lengths if they differ."""
    named = {"length": slices["length"]} if len(slices["length"]) > 1 else {}
    for name, rows in [*named.items(), *slices["columns"].items()]:
        for task in reversed(tasks):
            known = {metric for row in rows for metric in row["scores"]}
            metrics = shown_metrics([metric for metric in task.metrics() if metric in known])
            shown = [metric for metric in metrics if metric.headline]
            if not shown:
                continue
            table = [["", "documents", *(metric.title for metric in shown)]]
            # More intervals would leave no room for names.
            ends = {metric for row in rows for metric in row.get("intervals", {})}
            bounded = next((metric for metric in shown if metric.name in ends), None)
            for row in rows:
                cells = [_figure(metric, row, metric is bounded) for metric in shown]
                table.append([_name(row), f"{row['documents']:,}", *cells])
            rest = sum(2 + max(map(len, column)) for column in list(zip(*table, strict=True))[1:])
            table = [[_cut(first, _TABLE_WIDTH - 2 - rest), *others] for first, *others in table]
            unit = " (x 100)" if shown[0].percent else ""
            by = "length in tokens" if rows is slices["length"] else printable(name)
            yield grid(table, f"{task.name.capitalize()} by {_cut(by, _LONGEST_NAME)}{unit}")


def _figure(metric: Metric, row: Mapping[str, Any], bounded: bool) -> str:
    """A figure of a slice, with its interval in whole points where that is asked for."""
    if (value := row["scores"].get(metric.name)) is None:
        return "-"
    if not bounded:
        return metric.shown(value)
    ends = row.get("intervals", {}).get(metric.name)
    # Earlier versions made intervals of any number.
    if ends is None or row["documents"] < FEWEST_DOCUMENTS:
        return f"{metric.shown(value)} [-]"
    low, high = (f"{100 * end:.0f}" if metric.percent else f"{end:.2g}" for end in ends.values())
    return f"{metric.shown(value)} [{low}, {high}]"


def _name(row: Mapping[str, Any]) -> str:
    if "rare_values" in row:
        return f"({row['rare_values']:,} rare values)"
    if "value" in row:
        return "(none)" if row["value"] is None else printable(row["value"])
    if row["to_tokens"] is None:
        return f"from {row['from_tokens']:,}"
    return f"{row['from_tokens']:,} to {row['to_tokens']:,}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3].rstrip()}..."
