"""The flags that benchmarks share, and results, as tables of Markdown and as JSON alike.

A result keeps its lines of Markdown, which benchmarks/README.md shows of the last full run.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.cells import ROOT
from benchmarks.common.figures import Finding, Spread, steadiness
from benchmarks.common.machine import machine_facts, show_machine

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


def corpus_parser(doc: str | None, corpora: Iterable[str], name: str) -> argparse.ArgumentParser:
    """The flags of a benchmark that scores documents of some corpora, and keeps the figures."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the corpora")
    parser.add_argument("--corpora", nargs="*", choices=corpora, default=[], metavar="NAME")
    parser.add_argument("--documents", type=int, default=1000, help="most of a corpus")
    parser.add_argument("--output", type=Path, default=RESULTS / f"{name}.json")
    return parser


def corpus_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line says of them; corpora without their folder are refused."""
    options = parser.parse_args()
    if options.corpora and options.data is None:
        parser.error("--corpora needs --data")
    return options


def choose_sizes(
    options: argparse.Namespace, full: dict[str, Any], quick: dict[str, Any]
) -> tuple[dict[str, Any], bool]:
    """The sizes of a run, and whether it is a full one.

    That is so with the full sizes, the usual encoder, the seed 0 and torch's own number of threads;
    more rounds, more time and more memory leave it full.
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


def keep_figures(path: Path, asked: Mapping[str, Callable[[], dict]]) -> dict[str, dict]:
    """Make figures, each kept in a JSON file as soon as it is there; gives all of the file."""
    kept: dict[str, dict] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for key, make in asked.items():
        kept[key] = make()
        path.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    return kept


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"{len(header)} columns, but a row of {len(row)}: {row}")
    cells = [[cell.replace("|", "/").replace("\n", " ") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return ["| " + " | ".join(line) + " |" for line in lines]


def probed(probes: Sequence[float]) -> str:
    """How fast the machine was, and how steady."""
    if not probes:
        return "No times."
    return (
        f"GEMM probe {Spread.of(probes).show(0)} GFLOP/s, its median at "
        f"{100 * steadiness(probes):.0f} % of its best."
    )


def finish(
    name: str,
    title: str,
    full: bool,
    lines: Sequence[str],
    values: dict[str, Any],
    findings: Sequence[Finding] = (),
    output: str | Path | None = None,
) -> None:
    """Print the report and write it with all raw figures; a run that is not full has its own file.

    The machine comes before the lines, and targets against what was measured after them.
    """
    facts = machine_facts()
    records = [finding.record(full) for finding in findings]
    shown = [f"{title}: {show_machine(facts)}{'' if full else f'; {NO_VERDICT}'}.", "", *lines]
    if records:
        keys = ("what", "bound", "measured", "verdict", "note")
        rows = [[str(record[key]) for key in keys] for record in records]
        shown += ["", *table(["target", *keys[1:]], rows)]
    path = Path(output) if output else RESULTS / f"{name}{'' if full else '-quick'}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "benchmark": name,
        "full": full,
        "date": time.strftime("%Y-%m-%d"),
        "lines": shown,
        "machine": facts,
        **values,
        "targets": records,
    }
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(shown))
    print(f"\nwritten: {path}")
