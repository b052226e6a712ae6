"""Memory of training steps and of inference, and what recomputing costs in time.

    python benchmarks/memory.py                   about twenty minutes
    python benchmarks/memory.py --only inference  one half alone
    python benchmarks/memory.py --quick           two or three minutes, without verdicts

Every figure comes from a process of its own. See benchmarks/README.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.cells import GIB, MIB, Cell, Cells, usable_memory_gib
from benchmarks.common.figures import Finding, Spread, ratios
from benchmarks.common.report import bench_parser, choose_sizes, finish, probed, table
from benchmarks.common.rounds import say

MODES = ("keep", "recompute", "auto")
# What is asked of the long document: its label, or all that a model can, with a summary.
ASKED = {"inference_memory": "ours", "inference_memory_all": "all"}
# Segments of the training steps, of the timed ones and rounds of those, keep against recompute;
# tokens of the document that is read; seconds of each process.
FULL: dict[str, Any] = {
    "segments": (32, 128, 512),
    "timed_segments": 64,
    "rounds": 4,
    "tokens": 1_048_576,
    "timeout_seconds": 1_200,
}
QUICK: dict[str, Any] = {
    "segments": (8, 32),
    "timed_segments": 16,
    "rounds": 1,
    "tokens": 65_536,
    "timeout_seconds": 300,
}
_TIMED_STEPS = 2
Measured = tuple[list[str], dict[str, Any], list[Finding]]
"""Lines of Markdown, raw figures, and what was found."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = bench_parser(__doc__, "memory_HALF", FULL, QUICK)
    parser.add_argument("--only", choices=tuple(HALVES), help="one half alone")
    return parser


def measure(options: argparse.Namespace) -> None:
    """Run the benchmark, or a half of it; each half has a result of its own."""
    sizes, full = choose_sizes(options, FULL, QUICK)
    run = {"seed": options.seed, "encoder": Path(options.encoder).name, "sizes": sizes}
    for name in [options.only] if options.only else HALVES:
        cells = Cells(sizes["timeout_seconds"], encoder=options.encoder, seed=options.seed)
        lines, more, findings = HALVES[name](cells, sizes)
        values = {**run, "cells": cells.done, **more}
        output = options.output and Path(options.output).with_stem(
            f"{Path(options.output).stem}_{name}"
        )
        finish(f"memory_{name}", f"Memory, {name}", full, lines, values, findings, output)


def training(cells: Cells, sizes: dict[str, Any]) -> Measured:
    """What a step takes, by its segments, and what computing graphs again costs."""
    before = step(cells, "keep", 1, steps=0)
    if before.result is None:
        raise SystemExit(f"the baseline process {before.stopped}")
    baseline = before.result["rss_before_bytes"]
    grid = _grid(cells, sizes["segments"], baseline)
    keep, recompute, probes = _times(cells, sizes["timed_segments"], sizes["rounds"])
    findings = [
        _memory_finding(grid, sizes["segments"], baseline),
        Finding(
            "recompute_time",
            ratios(recompute, keep),
            probes,
            f"{sizes['timed_segments']} segments, {len(keep)} rounds of processes",
        ),
    ]
    lines = [
        f"Resident memory before the first training step: {baseline / MIB:,.0f} MiB (a process of "
        f"its own). Segments of 128 tokens, one document a step, AdamW, dropout on. "
        f"{probed(probes)}",
        "",
        *_grid_table(grid, baseline),
    ]
    times = {"keep": keep, "recompute": recompute, "probes": probes}
    return lines, {"baseline_bytes": baseline, "step_seconds": times}, findings


def inference(cells: Cells, sizes: dict[str, Any]) -> Measured:
    """What one long document takes, by what is asked of it."""
    tokens = sizes["tokens"]
    with tempfile.TemporaryDirectory() as folder:
        cells.run("reading", kind="prepare", folder=folder)
        asked = {"folder": folder, "tokens": tokens, "budget_seconds": 0.0}
        read = {key: cells.run("reading", kind=kind, **asked) for key, kind in ASKED.items()}
    findings = [_inference_finding(key, cell, tokens) for key, cell in read.items()]
    return _inference_table(read, tokens), {}, findings


HALVES: dict[str, Callable[[Cells, dict[str, Any]], Measured]] = {
    "training": training,
    "inference": inference,
}


def step(cells: Cells, mode: str, segments: int, steps: int = 1) -> Cell:
    """A training run of a small step and some of so many segments."""
    return cells.run("training_step", mode=mode, segments=segments, steps=steps)


def _grid(cells: Cells, sizes: Sequence[int], baseline: int) -> dict[tuple[str, int], Cell]:
    """A cell for each mode and number of segments."""
    grid: dict[tuple[str, int], Cell] = {}
    for mode in MODES:
        for number, segments in enumerate(sizes):
            # Only what is kept grows with the document; the other modes are there not to.
            need = None
            if mode == "keep":
                measured = [(s, grid[mode, s]) for s in sizes[:number]]
                need = forecast(measured, segments, baseline)
            free = usable_memory_gib()
            if need is not None and need > free:
                said = f"not tried: about {need:.0f} GiB by its growth, {free:.0f} GiB may be used"
                say(f"{mode} {segments}: {said}")
                grid[mode, segments] = Cell(None, said, 0.0)
                continue
            grid[mode, segments] = step(cells, mode, segments)
    return grid


def forecast(smaller: list[tuple[int, Cell]], segments: int, baseline: int) -> float | None:
    """GiB that more segments will need, by the line through the two largest measured, if any."""
    known = [(s, c.result["peak_rss_bytes"]) for s, c in smaller if c.result is not None]
    if len(known) < 2:
        return None
    (few, low), (many, high) = known[-2:]
    slope = max(0.0, (high - low) / (many - few))
    return max(baseline, high + slope * (segments - many)) / GIB


def _times(
    cells: Cells, segments: int, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of a step with keep and with recompute in each round, and the probes."""
    seconds: dict[str, list[float]] = {"keep": [], "recompute": []}
    probes: list[float] = []
    for number in range(rounds):
        order = ["keep", "recompute"] if number % 2 == 0 else ["recompute", "keep"]
        found = {mode: step(cells, mode, segments, _TIMED_STEPS) for mode in order}
        if any(cell.result is None for cell in found.values()):
            continue
        for mode, cell in found.items():
            assert cell.result is not None
            timed = cell.result["steps"][1:]
            seconds[mode].append(Spread.of([one["seconds"] for one in timed]).median)
            probes += [one["probe"] for one in timed]
    return seconds["keep"], seconds["recompute"], probes


def _step_bytes(cell: Cell, baseline: int) -> int:
    assert cell.result is not None
    return max(1, int(cell.result["peak_rss_bytes"]) - baseline)


def _memory_finding(
    grid: dict[tuple[str, int], Cell], sizes: Sequence[int], baseline: int
) -> Finding:
    """What the largest step needs against the smallest, beyond what was there before."""
    cells = [grid["recompute", segments] for segments in (sizes[0], sizes[-1])]
    for cell in cells:
        if cell.result is None:
            return Finding("training_memory", [], note=cell.stopped)
    few, many = (_step_bytes(cell, baseline) for cell in cells)
    growth = (many - few) / MIB / max(1, sizes[-1] - sizes[0])
    note = (
        f"{sizes[-1]} / {sizes[0]} segments: {many / few:.2f}x, {many / MIB:,.0f} / "
        f"{few / MIB:,.0f} MiB added, gradients and the optimizer's state "
        f"included; {growth:.3f} MiB a segment more"
    )
    asked = (sizes[0], sizes[-1]) == (FULL["segments"][0], FULL["segments"][-1])
    return Finding("training_memory", [many / few] if asked else [], note=note)


def _inference_finding(key: str, cell: Cell, tokens: int) -> Finding:
    if cell.result is None:
        return Finding(key, [], note=cell.stopped)
    if tokens != FULL["tokens"]:
        return Finding(key, [], note=f"only {tokens:,} tokens were read")
    return Finding(key, [cell.result["peak_rss_bytes"] / GIB])


def _grid_table(grid: dict[tuple[str, int], Cell], baseline: int) -> list[str]:
    rows = []
    for (mode, segments), cell in grid.items():
        if cell.result is None:
            rows.append([mode, str(segments), "-", "-", "-", cell.stopped])
            continue
        last = cell.result["steps"][-1]
        rows.append(
            [
                mode,
                str(segments),
                f"{_step_bytes(cell, baseline) / MIB:,.0f}",
                f"{cell.result['peak_rss_bytes'] / MIB:,.0f}",
                f"{last['seconds']:.2f}",
                f"one step; probe {last['probe']:.0f} GFLOP/s",
            ]
        )
    header = ["memory", "segments", "added, MiB", "peak RSS, MiB", "seconds", "note"]
    return table(header, rows)


def _inference_table(cells: dict[str, Cell], tokens: int) -> list[str]:
    header = ["inference", "before, MiB", "peak RSS, MiB", "seconds", "tokens/s"]
    rows = []
    for key, cell in cells.items():
        what = "label" if ASKED[key] == "ours" else "label, summary of 200 words and vector"
        name = f"one document of {tokens:,} tokens: {what}"
        if cell.result is None:
            rows.append([name, "-", "-", "-", cell.stopped])
            continue
        seconds = Spread.of(cell.result["seconds"]).median
        before, peak = (cell.result[of] for of in ("rss_before_bytes", "peak_rss_bytes"))
        sizes = [f"{size / MIB:,.0f}" for size in (before, peak)]
        rows.append([name, *sizes, f"{seconds:.1f}", f"{tokens / seconds:,.0f}"])
    return table(header, rows)


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when it came to its end."""
    measure(build_parser().parse_args(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
