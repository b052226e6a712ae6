"""Changes random bytes of what hierbert keeps, goes on, and sees that nothing differs in silence.

    python benchmarks/flips.py                   60 bytes of each target, about 20 minutes
    python benchmarks/flips.py --flips 3
    python benchmarks/flips.py --only job-csv

A target is work that stopped on its way: it is made once, copied, one byte of the copy is changed,
and the same work goes on. Then its outcome is that of work that nobody touched, or it was refused
in one line; what is refused is tried once more, for what is damaged may have been put aside.
It needs no data and no pretrained weights. Ends with exit code 1 when something differs.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.flips import OUTCOMES, damage
from benchmarks.common.report import RESULTS, finish, table
from benchmarks.flips_inference import INFERENCE_TARGETS
from benchmarks.flips_training import TRAINING_TARGETS

FULL_FLIPS = 60
TARGETS = [*INFERENCE_TARGETS, *TRAINING_TARGETS]
"""All that is damaged; to damage something else, add an entry."""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=FULL_FLIPS, help="of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[target.name for target in TARGETS], action="append")
    parser.add_argument("--output", type=Path, help="JSON file; benchmarks/results/flips.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command: 0 when nothing differed in silence, 1 otherwise."""
    options = build_parser().parse_args(argv)
    if options.flips < 1:
        print(f"error: --flips {options.flips}: a whole number from 1 up", file=sys.stderr)
        return 2
    rows, record, bad = [], {}, []
    for target in TARGETS:
        if options.only and target.name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            counts, found = damage(target, options.flips, options.seed, Path(scratch))
        rows.append([target.name, *(str(counts[name]) for name in OUTCOMES)])
        record[target.name] = dict(counts)
        bad += found
    full = options.flips >= FULL_FLIPS and not options.only
    good = "Nothing differed in silence." if not bad else "**Something differed.**"
    lines = [*table(["damaged", *OUTCOMES], rows), "", *bad, good]
    output = options.output or RESULTS / f"flips{'' if full else '-quick'}.json"
    values = {"seed": options.seed, "flips": options.flips, "good": not bad, "damaged": record}
    finish("flips", "Bytes that changed", full, lines, values, output=output)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
