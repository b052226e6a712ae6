"""Runs and evaluations beside one another: scores, differences on the same documents, settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hierbert.errors import RunError, quote
from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import (
    METRIC_LINES,
    RESULTS,
    Found,
    difference,
    figure,
    metric_of,
    read_found,
)
from hierbert.reporting.report import draw_sections
from hierbert.scoring.answers import difference_of, has_hashes
from hierbert.scoring.metric import METRICS, Metric, shown_metrics

# They differ between any two runs.
_OWN_SETTINGS = {"run_dir"}
_RESOURCES = {
    "device": "device",
    "processes": "processes",
    "threads": "threads",
}


def read_several(folders: Sequence[Path]) -> list[Found]:
    """What lies in some folders, by names that tell them apart.

    Raises:
        RunError: A folder holds no run or evaluation, is damaged, or is named twice; or they were
            scored by different metrics.
    """
    found: list[Found] = []
    seen: dict[Path, Path] = {}
    for folder in folders:
        # The name of the file may be completed by a shell.
        place = (folder.parent if folder.name == RESULTS else folder).resolve()
        if place in seen:
            raise RunError(f"{folder} is named twice: name different runs")
        one = read_found(place)
        seen[place] = folder
        found.append(one)
    names = Counter(one.name for one in found)
    found = [
        one if names[one.name] == 1 else replace(one, name=str(folder))
        for one, folder in zip(found, folders, strict=True)
    ]
    if len(found) > 1:
        for folder, one in zip(seen, found, strict=True):
            _check_numbers(folder, one)
    if not _common(found):
        told = "; ".join(
            f"{one.name}: {', '.join(m.title for m in one.headlines(one.results['scores']))}"
            for one in found
        )
        raise RunError(f"nothing to compare, no figure is of all of them ({told})")
    return found


def _check_numbers(folder: Path, one: Found) -> None:
    """Refuse what tables and curves would show, and is no number."""
    results = {name: one.results.get(name) for name in ("documents", "seconds", "seed")}
    results |= {f"scores.{name}": value for name, value in one.results["scores"].items()}
    lines = [
        (METRIC_LINES, name, value)
        for line in one.metrics
        for name, value in line.items()
        if name == "step" or name.startswith("validation.")
    ]
    for file, name, value in [*((RESULTS, *item) for item in results.items()), *lines]:
        if value is not None and not isinstance(value, int | float):
            raise RunError(f"{folder / file} is damaged: {name} is {quote(value)}, not a number")


def compare(found: Sequence[Found]) -> list[Section]:
    """The sections of a comparison; the first run is what the others are held against."""
    return draw_sections((_scores, _differences, _training, _settings), found)


def _common(found: Sequence[Found]) -> list[Metric]:
    names = set.intersection(*(set(one.results["scores"]) for one in found))
    return [metric for metric in shown_metrics(names) if metric.headline]


def _scores(found: Sequence[Found]) -> Section:
    metrics = _common(found)
    rows = []
    for one in found:
        scores, ends = one.results["scores"], _ends(one)
        cells = [figure(metric, scores[metric.name], ends.get(metric.name)) for metric in metrics]
        resources = one.results.get("resources") or {}
        peak = resources.get("peak_memory_mib")
        rows.append(
            [
                one.name,
                f"{one.results.get('documents') or 0:,} {one.results.get('split', '')}",
                *cells,
                f"{one.results['seconds']:,.0f}" if one.results.get("seconds") else "-",
                f"{peak:,.0f}" if peak else "-",
            ]
        )
    titles = [metric.title + (" x 100" if metric.percent else "") for metric in metrics]
    blocks: list[Block] = [Table(["Run", "documents", *titles, "seconds", "MiB"], rows)]
    first = metrics[0]
    known = {
        one.name: {"mean": one.results["scores"][first.name], **_ends(one)[first.name]}
        for one in found
        if first.name in _ends(one)
    }
    if len(known) > 1:
        title, told = (
            f"{first.title} and its 95 % intervals",
            f"{first.title} of {len(known)} runs.",
        )
        blocks.append(charts.intervals(title, told, known, titles[0], first.percent))
    return Section("Scores", blocks)


def _ends(one: Found) -> Mapping[str, Any]:
    """The intervals of the model's own scores, by metric."""
    systems = (one.results.get("summaries") or {}).get("systems") or {}
    return {**systems.get("hierbert", {}), **(one.results.get("intervals") or {})}


def _differences(found: Sequence[Found]) -> Section:
    """Each run less the first, on the documents of both."""
    if len(found) < 2:
        return Section("Differences")
    base = found[0]
    rows: list[list[str]] = []
    notes: list[str] = []
    drawn: dict[str, dict[str, Mapping[str, float]]] = {}
    for one in found[1:]:
        for task, answers in one.answers.items():
            if task not in base.answers:
                continue
            gains, count = difference_of(answers, base.answers[task], base.seed)
            if not has_hashes(answers, base.answers[task]):
                notes.append(
                    f"{one.name} or {base.name} is of an earlier version, which kept no text_hash: "
                    f"documents of {task} are the same where id, tokens and truth are, which "
                    "another tokenizer changes."
                )
            if not count:
                notes.append(f"{one.name} and {base.name} have no {task} document in common.")
                continue
            own, others = len(answers.ids), len(base.answers[task].ids)
            if count < max(own, others):
                notes.append(
                    f"{one.name} and {base.name} share {count:,} documents of {task}, of {own:,} "
                    f"and {others:,}: those alone are compared."
                )
            for name, gain in gains.items():
                metric = metric_of(answers, name)
                rows.append([one.name, metric.title, f"{count:,}", *difference(metric, gain)])
                if name == next(iter(gains)):
                    drawn.setdefault(metric.name, {})[one.name] = gain
    lacking = [one.name for one in found if not one.answers]
    if lacking:
        notes.append(
            f"There are no answers of {', '.join(lacking)}: differences on the same documents "
            "cannot be told."
        )
    blocks: list[Block] = [Note(text) for text in notes]
    if rows:
        blocks.insert(
            0,
            Note(
                f"Each run less {base.name}, on the same documents, with 95 % intervals and p of a "
                "paired bootstrap over these documents. They say nothing of other seeds or corpora."
            ),
        )
        head = ["Run", "of", "documents", "difference", "p", "which is"]
        blocks.append(Table(head, rows))
    for name, each in drawn.items():
        metric = METRICS[name]
        title = f"{metric.title}, less that of {base.name}"
        told = f"Differences of {len(each)} runs; at the dashed line there is none."
        unit = " x 100" if metric.percent else ""
        x = f"difference in {metric.title}{unit}"
        blocks.append(charts.intervals(title, told, each, x, metric.percent, zero=True))
    return Section("Differences", blocks)


def _training(found: Sequence[Found]) -> Section:
    """The first score of validation of all runs, in one picture."""
    for metric in _common(found):
        key = f"validation.{metric.name}"
        series = {}
        for one in found:
            known = [(line["step"], line[key]) for line in one.metrics if line.get(key) is not None]
            if known:
                series[one.name] = [step for step, _ in known], [value for _, value in known]
        if len(series) > 1:
            told = f"{metric.title} of {len(series)} runs by step."
            title = f"{metric.title} of validation"
            return Section(
                "Training", [charts.lines(title, told, series, "step", metric.title.lower())]
            )
    return Section("Training")


def _settings(found: Sequence[Found]) -> Section:
    """Settings, versions and machines that are not the same in all."""
    blocks: list[Block] = []
    known = [one for one in found if one.settings is not None]
    if len(known) > 1:
        rows = _differing([one.settings or {} for one in known], _OWN_SETTINGS)
        names = [one.name for one in known]
        if rows:
            blocks.append(Table(["setting", *names], rows))
        else:
            blocks.append(Note("All settings are the same."))
    lacking = [one.name for one in found if one.settings is None]
    if lacking and len(found) > 1:
        blocks.append(Note(f"There are no settings of {', '.join(lacking)}."))
    around = [
        {
            **{f"version of {n}": v for n, v in (one.results.get("environment") or {}).items()},
            **{
                title: (one.results.get("resources") or {}).get(name)
                for name, title in _RESOURCES.items()
            },
            "model": (one.results.get("model") or {}).get("source"),
        }
        for one in found
    ]
    if rows := _differing(around, set()):
        blocks.append(Table(["around it", *(one.name for one in found)], rows))
    return Section("Settings that differ", blocks)


def _differing(values: Sequence[Mapping[str, Any]], passed: set[str]) -> list[list[str]]:
    """A row for each name whose values differ; "-" where one has none."""
    names = dict.fromkeys(name for own in values for name in own if name not in passed)
    rows = []
    for name in names:
        each = [own.get(name, "-") for own in values]
        if any(value != each[0] for value in each):
            rows.append([name, *("-" if value is None else str(value) for value in each)])
    return rows
