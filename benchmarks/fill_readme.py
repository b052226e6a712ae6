"""Put the last run of each benchmark into benchmarks/README.md.

    python benchmarks/fill_readme.py

Only full runs are taken (benchmarks/results/NAME.json); nothing is measured here.
"""

import argparse
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.report import RESULTS, ROOT

NAMES = ("speed", "memory", "scaling", "soak_training", "soak_inference", "job_memory")


def fill(text: str, name: str, lines: list[str]) -> str:
    """Replace what stands between a benchmark's marks.

    Args:
        text: With `<!-- NAME -->` and `<!-- /NAME -->`, each on a line of its own.
        name: Of the benchmark.
        lines: What goes between them.

    Returns:
        The new text.

    Raises:
        ValueError: The marks are not there exactly once.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    body = "\n".join(["", *lines, "", ""])
    new, count = pattern.subn(lambda match: match[1] + body + match[2], text)
    if count != 1:
        raise ValueError(f"the marks of {name} are there {count} times, not once")
    return new


def main(argv: list[str] | None = None) -> int:
    """Fill in every benchmark that has a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=ROOT / "benchmarks" / "README.md")
    options = parser.parse_args(argv)
    text = options.readme.read_text(encoding="utf-8")
    for name in NAMES:
        path = options.results / f"{name}.json"
        if not path.is_file():
            print(f"{name}: no {path}, left as it is")
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        if not result["full"]:
            print(f"{name}: {path} is not of a full run, left as it is")
            continue
        lines = [f"Run of {result['date']}.", "", *result["lines"]]
        if "plot" in result:
            lines += ["", f"![Time per 1,000 tokens against length](results/{result['plot']})"]
        text = fill(text, name, lines)
        print(f"{name}: run of {result['date']}")
    options.readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
