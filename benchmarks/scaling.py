"""How time and memory grow with a document, from 512 to 1,048,576 tokens.

    python benchmarks/scaling.py          about 25 minutes
    python benchmarks/scaling.py --quick  two or three minutes, without verdicts

Every cell is a process of its own, with a limit of time and of memory; what is stopped says by
which. Draws benchmarks/results/scaling.svg. See benchmarks/README.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.cells import GIB, MIB, Cell, Cells
from benchmarks.common.figures import Finding, Spread
from benchmarks.common.plot import Line, line_plot
from benchmarks.common.report import RESULTS, bench_parser, choose_sizes, finish, probed, table

SYSTEMS = {
    "ours": "ours",
    "longformer": "Longformer",
    "modernbert": "ModernBERT",
    "bert": "BERT, full attention",
}
PARTS = ("sentence attention", "selection", "selection with redundancy", "oracle", "aggregator")
FEW_TOKENS, MANY_TOKENS = 4_096, 1_048_576
# The longest document and the factor between lengths; sentences and segments of the parts that read
# them; seconds for which a cell is repeated; limits of a cell, and of one of ours.
FULL: dict[str, Any] = {
    "most_tokens": MANY_TOKENS,
    "factor": 2,
    "sentences": (1_000, 10_000, 50_000),
    "segments": (200, 2_000, 10_000),
    "budget_seconds": 4.0,
    "timeout_seconds": 45,
    "our_timeout_seconds": 1_200,
    "max_gib": 8.0,
}
QUICK: dict[str, Any] = {
    "most_tokens": 8_192,
    "factor": 4,
    "sentences": (2_000,),
    "segments": (1_000,),
    "budget_seconds": 1.0,
    "timeout_seconds": 60,
    "our_timeout_seconds": 120,
    "max_gib": 4.0,
}
_LEAST_TOKENS = 512
Document = dict[str, dict[int, Cell]]


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    return bench_parser(__doc__, "scaling", FULL, QUICK)


def measure(options: argparse.Namespace) -> None:
    """Run the benchmark."""
    sizes, full = choose_sizes(options, FULL, QUICK)
    limits = (sizes["our_timeout_seconds"], sizes["max_gib"])
    hidden = {"encoder": options.encoder, "seed": options.seed}
    with tempfile.TemporaryDirectory() as folder:
        cells = Cells(*limits, **hidden, folder=folder, budget_seconds=sizes["budget_seconds"])
        prepared = cells.run("reading", kind="prepare")
        if prepared.result is None:
            raise SystemExit(f"our model cannot be made: {prepared.stopped}")
        document = _documents(cells, sizes)
        # Once more, on the other side of the longest document in time.
        again = None
        if sizes["most_tokens"] >= MANY_TOKENS:
            again = cells.run("reading", kind="ours", tokens=FEW_TOKENS)
        parts = {
            part: {
                units: cells.run("reading", kind=part, units=units)
                for units in sizes["segments" if part == "aggregator" else "sentences"]
            }
            for part in PARTS
        }
    output = Path(options.output) if options.output else None
    drawn = (output.parent if output else RESULTS) / (
        f"{output.stem if output else 'scaling' if full else 'scaling-quick'}.svg"
    )
    drawn.parent.mkdir(parents=True, exist_ok=True)
    drawn.write_text(draw(document), encoding="utf-8")
    probes = [p for cell in cells.done if cell["result"] for p in cell["result"].get("probes", [])]
    lines = [
        "Milliseconds for 1,000 tokens of one document, text in, label out; each cell in a process "
        f"of its own, stopped after {sizes['timeout_seconds']} s (ours "
        f"{sizes['our_timeout_seconds']} s) or at {sizes['max_gib']:g} GiB; median of what fits "
        f"into {sizes['budget_seconds']:g} s. {probed(probes)}",
        "",
        *_document_table(document, milliseconds),
        "",
        *_stops(document),
        "Peak resident memory of the same processes, MiB:",
        "",
        *_document_table(document, _peak_mib),
        "",
        "Parts that see all sentences (or segments) of a document, seconds for one document:",
        "",
        *_parts_table(parts),
    ]
    values = {
        "seed": options.seed,
        "encoder": Path(options.encoder).name,
        "sizes": sizes,
        "cells": cells.done,
        "plot": drawn.name,
    }
    findings = [compare_lengths(document["ours"], again)]
    finish("scaling", "Scaling", full, lines, values, findings, options.output)


def _documents(cells: Cells, sizes: dict[str, Any]) -> Document:
    """A cell for each system and length; a system ends with its first cell that is stopped."""
    document: Document = {kind: {} for kind in SYSTEMS}
    tokens = _LEAST_TOKENS
    while tokens <= sizes["most_tokens"]:
        for kind, done in document.items():
            if all(cell.result is not None for cell in done.values()):
                timeout = None if kind == "ours" else sizes["timeout_seconds"]
                done[tokens] = cells.run("reading", timeout, kind=kind, tokens=tokens)
        tokens *= sizes["factor"]
    return document


def milliseconds(cell: Cell, tokens: int) -> float | None:
    """For 1,000 tokens, the median of a cell's repeats; None for a cell that was stopped."""
    if cell.result is None:
        return None
    return Spread.of(cell.result["seconds"]).median * 1e6 / tokens


def compare_lengths(ours: dict[int, Cell], again: Cell | None) -> Finding:
    """The longest document against 4,096 tokens, measured before it and after it."""
    many = ours.get(MANY_TOKENS)
    if many is None or many.result is None:
        why = many.stopped if many else f"no document of {MANY_TOKENS:,} tokens was read"
        return Finding("linear_time", [], note=why)
    top = milliseconds(many, MANY_TOKENS)
    few = [c for c in (ours.get(FEW_TOKENS), again) if c is not None and c.result is not None]
    if top is None or not few:
        return Finding("linear_time", [], note=f"no time for {FEW_TOKENS:,} tokens")
    values = [top / (milliseconds(cell, FEW_TOKENS) or 1.0) for cell in few]
    probes = [p for cell in [many, *few] if cell.result for p in cell.result["probes"]]
    note = f"against {FEW_TOKENS:,} tokens in {len(few)} processes, before and after"
    return Finding("linear_time", values, probes, note)


def draw(document: Document) -> str:
    """The plot of all cells that came to their end."""
    lines = []
    for kind, cells in document.items():
        points = [(float(t), milliseconds(cell, t)) for t, cell in cells.items()]
        lines.append(Line(SYSTEMS[kind], [(x, y) for x, y in points if y is not None]))
    return line_plot(
        "Time per 1,000 tokens against the length of a document",
        "tokens of the document",
        "milliseconds per 1,000 tokens",
        lines,
    )


def _document_table(document: Document, figure: Callable[[Cell, int], float | None]) -> list[str]:
    """A figure of each system's cells, a row for each length."""
    rows = []
    for tokens in document["ours"]:
        row = [f"{tokens:,}"]
        for cells in document.values():
            value = figure(cells[tokens], tokens) if tokens in cells else None
            row.append("-" if value is None else f"{value:,.0f}")
        rows.append(row)
    return table(["tokens", *SYSTEMS.values()], rows)


def _peak_mib(cell: Cell, _: int) -> float | None:
    return None if cell.result is None else cell.result["peak_rss_bytes"] / MIB


def _stops(document: Document) -> list[str]:
    """Which limit ended which system."""
    lines = [
        f"- {SYSTEMS[kind]} at {tokens:,} tokens {cell.stopped}"
        for kind, cells in document.items()
        for tokens, cell in cells.items()
        if cell.stopped
    ]
    return [*lines, ""] if lines else []


def _parts_table(parts: dict[str, dict[int, Cell]]) -> list[str]:
    rows = []
    for part, cells in parts.items():
        unit = "segments" if part == "aggregator" else "sentences"
        for units, cell in cells.items():
            if cell.result is None:
                rows.append([part, f"{units:,} {unit}", "-", "-", cell.stopped])
                continue
            seconds = Spread.of(cell.result["seconds"])
            rows.append(
                [
                    part,
                    f"{units:,} {unit}",
                    f"{seconds.median:.4g}",
                    f"{seconds.median * 1e6 / units:.3g}",
                    f"{len(cell.result['seconds'])} times; peak RSS "
                    f"{cell.result['peak_rss_bytes'] / GIB:.2f} GiB",
                ]
            )
    return table(["part", "size", "seconds", "microseconds for each", "note"], rows)


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when it came to its end."""
    measure(build_parser().parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
