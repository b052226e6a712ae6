"""Results as tables of Markdown and as JSON; both say the same.

A result keeps its lines of Markdown, so that benchmarks/README.md is filled from the JSON of the
last run without measuring anything again.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.cells import ROOT
from benchmarks.common.figures import Finding

RESULTS = ROOT / "benchmarks" / "results"


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


def findings_table(findings: Sequence[Finding], quick: bool) -> tuple[list[str], list[Any]]:
    """Targets against what was measured: lines of Markdown, and records for the JSON."""
    records = [finding.record(quick) for finding in findings]
    rows = [
        [str(r["what"]), str(r["bound"]), str(r["measured"]), str(r["verdict"]), str(r["note"])]
        for r in records
    ]
    return table(["target", "bound", "measured", "verdict", "note"], rows), records


def finish(
    name: str,
    quick: bool,
    lines: Sequence[str],
    values: dict[str, Any],
    output: str | None,
) -> Path:
    """Print the report and write it with all raw figures.

    Args:
        name: Of the benchmark.
        quick: Whether it was a quick run, which has a file of its own.
        lines: Markdown.
        values: Everything that was measured.
        output: The JSON file; None for the usual one.

    Returns:
        The file written.
    """
    path = Path(output) if output else RESULTS / f"{name}{'-quick' if quick else ''}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "benchmark": name,
        "quick": quick,
        "date": time.strftime("%Y-%m-%d"),
        "lines": list(lines),
        **values,
    }
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(f"\nwritten: {path}")
    return path
