"""Scores with intervals, beside everything that has to be beaten."""

from collections.abc import Mapping
from typing import Any

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found, difference, figure
from hierbert.scoring.answers import OWN
from hierbert.scoring.label_baselines import LABEL_BASELINES
from hierbert.scoring.metric import METRICS, Metric, metrics_of, shown_metrics
from hierbert.scoring.tree_baselines import TREE_BASELINES

_Scores = Mapping[str, float]
_Ends = Mapping[str, Mapping[str, float]]


def scores(found: Found) -> Section:
    """Of labels and numbers, of summaries, and of what has neither."""
    results, blocks = found.results, []
    own = results["scores"]
    of_summaries = [m for m in found.headlines(own) if "summary" in m.problem_types]
    of_labels = [m for m in found.headlines(own) if m not in of_summaries]
    if of_labels:
        systems = _label_systems(found)
        gains = results.get("gain") or {}
        blocks += _beside("Labels", of_labels, systems, gains, _titles(own))
    if of_summaries and (kept := results.get("summaries")):
        systems = {
            name: ({m: v["mean"] for m, v in row.items()}, row)
            for name, row in kept["systems"].items()
        }
        gains = {name: {"rouge1": each} for name, each in (kept.get("gain") or {}).items()}
        budget = results.get("budget") or {}
        title = "Summaries"
        if budget:
            title += f" ({budget['name']} = {budget['limit']})"
        blocks += _beside(title, of_summaries, systems, gains, {})
    others = [METRICS[name] for name in own if name in METRICS and not METRICS[name].headline]
    rows = [[metric.title, metric.shown(own[metric.name])] for metric in others]
    rows += [
        [name.replace("_", " "), f"{value:.4g}"]
        for name, value in own.items()
        if name not in METRICS
    ]
    if rows:
        blocks.append(Table(["Other figures", "value"], rows))
    return Section("Scores", blocks)


def _label_systems(found: Found) -> dict[str, tuple[_Scores, _Ends]]:
    """Scores and intervals by the system's title."""
    results = found.results
    ends: dict[str, Any] = {}
    for answers in found.answers.values():
        ends |= answers.intervals(found.seed)
    systems: dict[str, tuple[_Scores, _Ends]] = {
        title: (results[name], ends.get(name, {}))
        for name, title in _titles(results["scores"]).items()
        if results.get(name)
    }
    members = results.get("members") or {}
    for name, alone in (members.get("scores") or {}).items():
        # Earlier versions made no intervals of them.
        own = (members.get("intervals") or {}).get(name, {})
        systems[f"{name.replace('_', ' ')} alone"] = alone, own
    return systems | {OWN: (results["scores"], results.get("intervals") or {})}


def _titles(own: _Scores) -> dict[str, str]:
    """Of the baselines of labels of this kind, by name: some share one over the kinds."""
    return {
        baseline.name: baseline.title
        for baseline in (*LABEL_BASELINES, *TREE_BASELINES)
        if any(
            all(metric.name in own for metric in metrics_of(kind) if metric.headline)
            for kind in baseline.problem_types
        )
    }


def _beside(
    what: str,
    metrics: list[Metric],
    systems: Mapping[str, tuple[_Scores, _Ends]],
    gains: Mapping[str, Mapping[str, Mapping[str, float]]],
    titles: Mapping[str, str],
) -> list[Block]:
    """The table, a chart of the first metric, and what was gained; `titles` are of the gains."""
    rows = [
        [
            name,
            *(figure(metric, values.get(metric.name), ends.get(metric.name)) for metric in metrics),
        ]
        for name, (values, ends) in systems.items()
    ]
    strong = [place for place, name in enumerate(systems) if name == OWN]
    unit = " x 100" if metrics[0].percent else ""
    table = Table(
        [f"{what},{unit}" if unit else what, *(metric.title for metric in metrics)], rows, strong
    )
    blocks: list[Block] = [table]
    first = metrics[0]
    known = {
        name: {"mean": values[first.name], **ends[first.name]}
        for name, (values, ends) in systems.items()
        if first.name in ends
    }
    if len(known) > 1:
        title = f"{first.title} and its 95 % intervals"
        told = f"{first.title} of {len(known)} systems; the table above has the figures."
        x = f"{first.title}{unit}"
        blocks.append(charts.intervals(title, told, known, x, first.percent, [OWN]))
    if gains:
        blocks += _gains(gains, titles)
    elif len(systems) == 1:
        blocks.append(Note("No baseline was scored beside the model."))
    return blocks


def _gains(
    gains: Mapping[str, Mapping[str, Mapping[str, float]]], titles: Mapping[str, str]
) -> list[Block]:
    """What the model gained over each, on the same documents."""
    metrics = shown_metrics({name for each in gains.values() for name in each})
    head = ["hierbert beside"]
    for metric in metrics:
        head += [metric.title, f"p of {metric.title}", "which is"]
    rows = []
    for name, each in gains.items():
        # An upper bound, which nothing is to beat.
        if name == "Oracle":
            continue
        row = [titles.get(name, name)]
        for metric in metrics:
            gain = each.get(metric.name)
            if gain is None:
                row += ["-", "-", "-"]
                continue
            row += difference(metric, gain)
        rows.append(row)
    note = Note(
        "Differences on the same documents, with 95 % intervals and p of a paired bootstrap over "
        "these documents. They say nothing of other seeds or corpora."
    )
    return [note, Table(head, rows)]
