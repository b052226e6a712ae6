"""Peak memory of a batch job against the number of its documents.

    python benchmarks/job_memory.py          100,000 short and 100 very long documents; minutes
    python benchmarks/job_memory.py --quick  a twentieth of that, without verdicts

Every figure comes from a process of its own, which runs the inference command. See
benchmarks/README.md.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.cells import MIB, answer, run_cell, usable_memory_gib
from benchmarks.common.figures import Finding
from benchmarks.common.machine import peak_rss_bytes
from benchmarks.common.models import save_model
from benchmarks.common.report import finish, table
from benchmarks.common.rounds import say
from benchmarks.common.tiny import make_encoder, make_text

SHORT_WORDS = 30
LONG_WORDS = 100_000
FULL = {"short": 100_000, "long": 100}
QUICK = {"short": 5_000, "long": 10}
_TIMEOUT_SECONDS = 3_600


def write_corpus(path: Path, short: int, long: int, seed: int) -> None:
    """Short documents with long ones spread evenly among them."""
    chance = random.Random(seed)
    every = max(1, short // max(1, long))
    with path.open("w", encoding="utf-8") as file:
        for number in range(short):
            text = make_text(chance, chance.randint(1, 2 * SHORT_WORDS))
            file.write(json.dumps({"id": f"short-{number}", "text": text}) + "\n")
            if number % every == every - 1 and number // every < long:
                text = make_text(chance, LONG_WORDS)
                file.write(json.dumps({"id": f"long-{number // every}", "text": text}) + "\n")


def run_job(request: dict[str, Any], output: str) -> None:
    """In a process of its own: the command, and the peak of the process."""
    from hierbert.cli.infer import main as infer

    names = ("model", "input", "output")
    more = ["--rows-per-shard", "10000"] if request["shards"] else []
    code = infer([word for name in names for word in (f"--{name}", request[name])] + more)
    if code:
        raise SystemExit(code)
    answer(output, {"peak_mib": peak_rss_bytes() / MIB})


def main(argv: list[str] | None = None) -> int:
    """Run the jobs and print what they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and without verdicts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="JSON file")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    parser.add_argument("--cell-output", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.cell:
        run_job(json.loads(options.cell), options.cell_output)
        return 0
    sizes = QUICK if options.quick else FULL
    full = not options.quick and options.seed == 0
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        encoder = make_encoder(Path(scratch) / "encoder", options.seed)
        model = save_model(str(encoder), Path(scratch) / "model", options.seed, summarization=False)
        for part in (10, 1):
            short, long = sizes["short"] // part, sizes["long"] // part
            corpus = Path(scratch) / f"docs-{part}.jsonl"
            write_corpus(corpus, short, long, options.seed)
            for shards in (False, True):
                name = f"out-{part}" + ("" if shards else ".jsonl")
                request = {
                    "model": str(model),
                    "input": str(corpus),
                    "output": str(Path(scratch) / name),
                    "shards": shards,
                }
                kind = "shards" if shards else "one file"
                say(f"{short:,} short and {long:,} long documents, {kind}")
                limit = usable_memory_gib()
                cell = run_cell("benchmarks.job_memory", request, _TIMEOUT_SECONDS, limit)
                if cell.result is None:
                    raise SystemExit(f"the job did not end: {cell.stopped}")
                cells.append(
                    {
                        "short": short,
                        "long": long,
                        "shards": shards,
                        "input_mib": corpus.stat().st_size / MIB,
                        "peak_mib": cell.result["peak_mib"],
                        "seconds": cell.seconds,
                    }
                )
            corpus.unlink()
    lines = [
        f"A tiny model; short documents have up to {2 * SHORT_WORDS} words, long ones "
        f"{LONG_WORDS:,}. Peak is of the process that runs `infer.py`, its libraries included.",
        "",
        *table(
            ["short documents", "long documents", "input, MiB", "output", "peak RSS, MiB", "s"],
            [
                [
                    f"{c['short']:,}",
                    f"{c['long']:,}",
                    f"{c['input_mib']:,.0f}",
                    "shards" if c["shards"] else "one file",
                    f"{c['peak_mib']:,.0f}",
                    f"{c['seconds']:,.0f}",
                ]
                for c in cells
            ],
        ),
    ]
    findings = [
        Finding(key, [cells[place + 2]["peak_mib"] / cells[place]["peak_mib"]])
        for place, key in enumerate(("job_memory_file", "job_memory_shards"))
    ]
    title = "Memory of a job"
    finish("job_memory", title, full, lines, {"cells": cells}, findings, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
