"""Drop documents whose text holds much of their own reference summary.

    python -m benchmarks.drop_leaks scisummnet/train.jsonl.gz clean/train.jsonl

A summary that was copied from the text (an abstract left in the body) makes extraction look easy.
A document is dropped when more than --max-share of its summary's 8-grams stand in its text: a
test of the data alone, fixed before any system is run.
"""

import argparse
import json
import re
from pathlib import Path

from hierbert.data.corpus import Columns, load_examples
from hierbert.data.sources import resolve_sources

_SIZE = 8


def grams(text: str) -> list[tuple[str, ...]]:
    """Runs of eight words, lower-cased."""
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[i : i + _SIZE]) for i in range(len(words) - _SIZE + 1)]


def main() -> None:
    """Copy what does not leak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output", type=Path)
    parser.add_argument("--max-share", type=float, default=0.3)
    options = parser.parse_args()
    examples = load_examples(
        resolve_sources(options.input, "train"), Columns(fields={"summary": "summary"})
    )
    kept = 0
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", encoding="utf-8") as file:
        for example in examples:
            text = example.text if isinstance(example.text, str) else str(example.text)
            inside, own = set(grams(text)), grams(example.fields["summary"] or "")
            if own and sum(gram in inside for gram in own) / len(own) > options.max_share:
                continue
            row = {"id": example.id, "text": example.text, "summary": example.fields["summary"]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            kept += 1
    print(f"{options.output}: {kept} of {len(examples)} documents")


if __name__ == "__main__":
    main()
