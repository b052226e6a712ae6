"""Jobs that write many pages: time, memory, size, and what a kill in the middle leaves.

    python benchmarks/page_jobs.py          10,000 documents; about ten minutes
    python benchmarks/page_jobs.py --quick  200 documents

A tiny model answers with evidence, so that what is measured is the job and its pages. One job has a
page for each document, one has those of `--html-limit`, and one is killed, with all it has started,
when half of its pages are there, and goes on with `--resume`: its pages and rows are held against
those of the first.
"""

import hashlib
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.cells import MIB, answer, run_cell, usable_memory_gib
from benchmarks.common.kills import ends_before, kill_all, start
from benchmarks.common.machine import peak_rss_bytes
from benchmarks.common.models import save_model
from benchmarks.common.report import bench_parser, choose_sizes, finish, table
from benchmarks.common.rounds import say
from benchmarks.common.tiny import make_encoder, make_text

FULL = {"documents": 10_000, "words": 200}
QUICK = {"documents": 200, "words": 100}
_TIMEOUT_SECONDS = 7_200
# The last digits of contributions, and what is drawn by them, depend on which documents are read
# together.
_NUMBER = re.compile(r"[+−-]?\d+\.\d+|e-\d+|\d+%")


def run_job(arguments: list[str], output: str) -> None:
    """In a process of its own: the command, and the peak of the process."""
    from hierbert.cli.infer import main as infer

    started = time.monotonic()
    if code := infer(arguments):
        raise SystemExit(code)
    seconds = time.monotonic() - started
    answer(output, {"peak_mib": peak_rss_bytes() / MIB, "seconds": seconds})


def write_corpus(path: Path, documents: int, words: int, seed: int) -> None:
    """Documents of up to twice so many words."""
    chance = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(documents):
            text = make_text(chance, chance.randint(1, 2 * words))
            file.write(json.dumps({"id": f"Document {number}", "text": text}) + "\n")


def pages(folder: Path) -> dict[str, str]:
    """A hash of each page, without its numbers."""
    return {
        path.name: hashlib.sha256(_NUMBER.sub("", path.read_text("utf-8")).encode()).hexdigest()
        for path in folder.glob("*.html")
    }


def measured(arguments: list[str]) -> dict[str, Any]:
    """What a job took."""
    cell = run_cell("benchmarks.page_jobs", arguments, _TIMEOUT_SECONDS, usable_memory_gib())
    if cell.result is None:
        raise SystemExit(f"the job did not end: {cell.stopped}")
    return cell.result


def main() -> None:
    """Run the jobs and print what they took and left."""
    parser = bench_parser(__doc__, "page_jobs", FULL, QUICK)
    parser.add_argument("--cell")
    parser.add_argument("--cell-output")
    options = parser.parse_args()
    if options.cell:
        run_job(json.loads(options.cell), options.cell_output)
        return
    sizes, full = choose_sizes(options, FULL, QUICK)
    count = sizes["documents"]
    jobs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        encoder = make_encoder(folder / "encoder", options.seed)
        model = save_model(str(encoder), folder / "model", options.seed)
        write_corpus(folder / "docs.jsonl", count, sizes["words"], options.seed)

        def job(name: str, *more: str) -> list[str]:
            own = ["--model", str(model), "--input", str(folder / "docs.jsonl")]
            return [*own, "--output", str(folder / f"{name}.jsonl"), *more]

        def html(name: str, limit: int) -> list[str]:
            return job(name, "--html", str(folder / name), "--html-limit", str(limit))

        for name, arguments in {
            "no pages, but evidence": job("none", "--evidence"),
            "a page each": html("all", count),
            "pages of a tenth": html("tenth", count // 10),
        }.items():
            say(name)
            jobs[name] = measured(arguments)
        say("killed")
        killed = html("killed", count)
        log = folder / "log"
        process = start(["infer.py", *killed], 1, log)
        half = folder / "killed"

        def half_is_there() -> bool:
            time.sleep(0.5)
            return half.is_dir() and len(os.listdir(half)) > count // 2

        if ends_before(process, "the job that is killed", half_is_there, _TIMEOUT_SECONDS):
            raise SystemExit("it ended before it was killed")
        kill_all(process)
        found = list(half.iterdir())
        torn = sum(
            not path.read_text("utf-8").rstrip().endswith("</html>") for path in half.glob("*.html")
        )
        jobs["the rest after a kill"] = measured([*killed, "--resume"])
        first, second = pages(folder / "all"), pages(half)
        rows = [
            [json.loads(line)["id"] for line in (folder / f"{name}.jsonl").open(encoding="utf-8")]
            for name in ("all", "killed")
        ]
        size = sum(path.stat().st_size for path in (folder / "all").iterdir()) / MIB
        facts = {
            "pages": len(first),
            "size_mib": size,
            "input_mib": (folder / "docs.jsonl").stat().st_size / MIB,
            "pages_of_a_tenth": len(pages(folder / "tenth")),
            "found_after_the_kill": len(found),
            "torn": torn,
            "same_pages": sum(second.get(name) == own for name, own in first.items()),
            "other_pages": len(second.keys() - first.keys()),
            "same_rows": rows[0] == rows[1] and len(rows[0]) == count,
        }
    cells = [
        [
            name,
            f"{own['seconds']:,.0f}",
            f"{own['peak_mib']:,.0f}",
        ]
        for name, own in jobs.items()
    ]
    lines = [
        *table(["job", "s", "peak RSS, MiB"], cells),
        "",
        f"{facts['pages']:,} files of {size:,.0f} MiB for {count:,} documents of "
        f"{facts['input_mib']:,.0f} MiB; with a limit of a tenth {facts['pages_of_a_tenth']:,}. "
        f"The kill left {facts['found_after_the_kill']:,} files, {torn} of them torn; after "
        f"`--resume` {facts['same_pages']:,} of {facts['pages']:,} are the same and "
        f"{facts['other_pages']} are others; the rows are "
        f"{'the same' if facts['same_rows'] else 'NOT the same'}.",
    ]
    finish("page_jobs", "Jobs with pages", full, lines, {"jobs": jobs, **facts}, (), options.output)


if __name__ == "__main__":
    main()
