"""The flags that benchmarks share, and results, as tables of Markdown and as JSON alike.

A result keeps its lines of Markdown, which benchmarks/README.md shows of the last full run.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.cells import ROOT
from benchmarks.common.figures import Finding

RESULTS = ROOT / "benchmarks" / "results"
DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
NO_VERDICT = "not a full run: nothing here is a verdict"


def bench_parser(
    doc: str | None, name: str, full: dict[str, Any], quick: dict[str, Any]
) -> argparse.ArgumentParser:
    """The flags of a benchmark that has a full and a quick run; each size of them has one."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and without verdicts")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="folder or name")
    parser.add_argument("--output", help=f"JSON file; benchmarks/results/{name}.json without it")
    parser.add_argument("--seed", type=int, default=0)
    for size, value in full.items():
        several = isinstance(value, tuple)
        parser.add_argument(
            f"--{size.replace('_', '-')}",
            type=type(value[0] if several else value),
            nargs="+" if several else None,
            help=f"{value}, or {quick[size]} with --quick",
        )
    return parser


def choose_sizes(
    options: argparse.Namespace, full: dict[str, Any], quick: dict[str, Any]
) -> tuple[dict[str, Any], bool]:
    """The sizes of a run, and whether it is a full one.

    Args:
        options: With `quick`, `encoder`, and a value or None for each size.
        full: The sizes of a full run.
        quick: Those of a quick one.

    Returns:
        Every size. The run is full with the full sizes, the usual encoder, the seed 0 and torch's
        own number of threads; more rounds, more time and more memory leave it full.
    """
    usual = quick if options.quick else full
    sizes = {}
    for name, value in usual.items():
        given = getattr(options, name)
        sizes[name] = value if given is None else tuple(given) if isinstance(given, list) else given
    enough = all(
        sizes[name] == value
        or (name.endswith(("rounds", "seconds", "max_gib")) and sizes[name] > value)
        for name, value in full.items()
    )
    usual_run = options.encoder == DEFAULT_ENCODER and options.seed == 0
    usual_run = usual_run and getattr(options, "threads", None) is None
    return sizes, enough and usual_run and not options.quick


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table.

    Raises:
        ValueError: A row has another number of cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(header)} columns, but a row of {len(row)}: {row}")
    cells = [[cell.replace("|", "/").replace("\n", " ") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return ["| " + " | ".join(line) + " |" for line in lines]


def findings_table(findings: Sequence[Finding], full: bool) -> tuple[list[str], list[Any]]:
    """Targets against what was measured: lines of Markdown, and records for the JSON."""
    records = [finding.record(full) for finding in findings]
    rows = [
        [str(r["what"]), str(r["bound"]), str(r["measured"]), str(r["verdict"]), str(r["note"])]
        for r in records
    ]
    return table(["target", "bound", "measured", "verdict", "note"], rows), records


def finish(
    name: str,
    full: bool,
    lines: Sequence[str],
    values: dict[str, Any],
    output: str | None,
) -> Path:
    """Print the report and write it with all raw figures.

    Args:
        name: Of the benchmark.
        full: Whether it was a full run; others have a file of their own.
        lines: Markdown.
        values: Everything that was measured.
        output: The JSON file; None for the usual one.

    Returns:
        The file written.
    """
    path = Path(output) if output else RESULTS / f"{name}{'' if full else '-quick'}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "benchmark": name,
        "full": full,
        "date": time.strftime("%Y-%m-%d"),
        "lines": list(lines),
        **values,
    }
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(f"\nwritten: {path}")
    return path
