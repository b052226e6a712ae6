"""How long documents are, and whether the long ones are answered worse."""

from collections.abc import Mapping, Sequence
from typing import Any

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found, figure
from hierbert.scoring.intervals import FEWEST_DOCUMENTS
from hierbert.scoring.metric import Metric

_SIZES = ("documents", "median_tokens", "p90_tokens", "longest_tokens", "tokens")
_TITLES = ("documents", "median", "90 %", "longest", "tokens in all")


def lengths(found: Found) -> Section | None:
    """Lengths of each split, then scores of short and long documents, then those by columns."""
    blocks: list[Block] = []
    if sizes := found.results.get("lengths"):
        table = [[name, *(f"{own[n]:,}" for n in _SIZES)] for name, own in sizes.items()]
        blocks.append(Table(["Tokens of a document", *_TITLES], table))
    if kept := found.results.get("length_histogram"):
        names = [_range(*ends) for ends in zip(kept["from"], kept["to"], strict=True)]
        shares = {
            name: [100 * count / max(1, sum(counts)) for count in counts]
            for name, counts in kept["splits"].items()
        }
        cells = [
            [name, *(f"{counts[place]:,}" for counts in kept["splits"].values())]
            for place, name in enumerate(names)
        ]
        blocks.append(
            charts.bars(
                "Documents by length",
                f"The part of each split's documents in {len(names)} ranges of lengths.",
                names,
                shares,
                "tokens",
                "% of the split's documents",
                table=Table(["tokens", *kept["splits"]], cells),
            )
        )
    slices = found.results.get("slices") or {}
    rows = slices.get("length") or []
    if len(rows) > 1:
        blocks += by_parts(
            "length in tokens",
            [_range(r["from_tokens"], r["to_tokens"]) for r in rows],
            rows,
            found,
        )
    elif rows:
        blocks.append(Note("The scored documents are of one range of lengths."))
    for name, rows in (slices.get("columns") or {}).items():
        blocks += by_parts(name, [_value(row) for row in rows], rows, found)
    return Section("Lengths and parts", blocks) if blocks else None


def by_parts(
    what: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]], found: Found
) -> list[Block]:
    """Scores of parts: of each task a table, and a chart of the first metric with intervals."""
    blocks: list[Block] = []
    known = {name: value for row in rows for name, value in row["scores"].items()}
    for metrics in _by_task(found.headlines(known)):
        bounded = {m.name for m in metrics if any(m.name in row["intervals"] for row in rows)}
        cells = [
            [name, f"{row['documents']:,}", *(_figure(m, row, m.name in bounded) for m in metrics)]
            for name, row in zip(names, rows, strict=True)
        ]
        titles = [metric.title + (" x 100" if metric.percent else "") for metric in metrics]
        blocks.append(Table([f"By {what}", "documents", *titles], cells))
        for metric in metrics:
            if sum(bool(_ends(metric, row)) for row in rows) > 1:
                blocks.append(_chart(metric, what, names, rows))
                break
    return blocks


def _figure(metric: Metric, row: Mapping[str, Any], bounded: bool) -> str:
    """A score of a part; "-" for an interval that it lacks and other parts have."""
    value, ends = row["scores"].get(metric.name), _ends(metric, row)
    text = figure(metric, value, ends)
    return f"{text} (-)" if bounded and value is not None and not ends else text


def _ends(metric: Metric, row: Mapping[str, Any]) -> Mapping[str, float] | None:
    """The interval of a part; earlier versions made some of any number of documents."""
    enough = row["documents"] >= FEWEST_DOCUMENTS
    return row["intervals"].get(metric.name) if enough else None


def _by_task(metrics: Sequence[Metric]) -> list[list[Metric]]:
    """Metrics that apply to one kind of answers stand together."""
    groups: list[list[Metric]] = []
    for metric in metrics:
        for group in groups:
            if {*metric.problem_types} & {*group[0].problem_types}:
                group.append(metric)
                break
        else:
            groups.append([metric])
    return groups


def _chart(
    metric: Metric, what: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> charts.Chart:
    scale = 100 if metric.percent else 1
    heights = [scale * row["scores"].get(metric.name, 0) for row in rows]
    ends = [
        (scale * own["low"], scale * own["high"]) if (own := _ends(metric, row)) else None
        for row in rows
    ]
    return charts.bars(
        f"{metric.title} by {what}",
        f"{metric.title} of {len(rows)} parts of the documents, with 95 % intervals.",
        names,
        {metric.title: heights},
        what,
        metric.title + (" x 100" if metric.percent else ""),
        ends,
    )


def _range(start: int, end: int | None) -> str:
    return f"from {start:,}" if end is None else f"{start:,} to {end:,}"


def _value(row: Mapping[str, Any]) -> str:
    if "rare_values" in row:
        return f"({row['rare_values']:,} rare values)"
    return "(none)" if row["value"] is None else str(row["value"])
