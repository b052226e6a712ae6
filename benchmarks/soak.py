"""Kills work at random moments, resumes it, and checks that nothing was lost or done twice.

    python benchmarks/soak.py                    50 kills in each half, about half an hour
    python benchmarks/soak.py --kills 3          a few minutes
    python benchmarks/soak.py --only training

It needs no data and no pretrained weights: documents and a tiny encoder are made from the seed.
Ends with exit code 1 when something differs. See benchmarks/README.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.kills import SoakError
from benchmarks.common.report import RESULTS, finish
from benchmarks.common.rounds import say
from benchmarks.soak_inference import soak_inference
from benchmarks.soak_training import soak_training

Half = Callable[[Path, int, int, Callable[[str], None]], tuple[list[str], dict[str, Any], bool]]
HALVES: dict[str, Half] = {"training": soak_training, "inference": soak_inference}
FULL_KILLS = 50


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=FULL_KILLS, help="in each half")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=tuple(HALVES), help="one half alone")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser


def measure(options: argparse.Namespace) -> bool:
    """Run the halves and write what was seen; whether nothing differed."""
    good, full = True, options.kills >= FULL_KILLS
    for name in [options.only] if options.only else list(HALVES):
        with tempfile.TemporaryDirectory() as scratch:
            shown, record, fine = HALVES[name](Path(scratch), options.kills, options.seed, say)
        good = good and fine
        lines = [*shown, "", "Nothing differed." if fine else "**Something differed.**"]
        values = {"seed": options.seed, "kills": options.kills, "good": fine, name: record}
        output = options.output / f"soak_{name}{'' if full else '-quick'}.json"
        finish(f"soak_{name}", f"Kills, {name}", full, lines, values, output=output)
    return good


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when nothing differed, 1 otherwise."""
    options = build_parser().parse_args(argv)
    if options.kills < 1:
        print(f"error: --kills {options.kills}: a whole number from 1 up", file=sys.stderr)
        return 2
    try:
        return 0 if measure(options) else 1
    except SoakError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
