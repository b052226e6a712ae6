"""How soon the page of a long document can be used, and how large it is: docs/pages.md.

Needs node, npm and Chromium: `npm ci` in .ci/pages first. The page is opened in headless
Chromium, a key is pressed that goes to the first highlight, and the time is taken when that is
drawn; then the last highlight is gone to, whose place was not laid out before.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from hierbert.pages.document import document_page

ROOT = Path(__file__).parents[1]


def document(characters: int, chance: random.Random, script: str) -> str:
    """Sentences of chance words, in paragraphs."""
    letters = {"latin": "etaoinshrdlucmfw", "chinese": "的一是不了在人有我他这个们中来上"}[script]
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(2_000)]
    parts: list[str] = []
    length = 0
    while length < characters:
        sentence = " ".join(chance.choices(words, k=chance.randint(5, 30)))
        parts.append(sentence + (".\n\n" if chance.random() < 0.2 else ". "))
        length += len(parts[-1])
    return "".join(parts)[:characters]


def answer(text: str, chance: random.Random, labels: int) -> dict[str, Any]:
    """Evidence of some labels and a summary, wherever chance puts them."""

    def part(length: int) -> dict[str, Any]:
        start = chance.randrange(len(text) - length)
        return {"start": start, "end": start + length, "contribution": chance.uniform(-1, 3)}

    def word() -> dict[str, Any]:
        starts = sorted(chance.sample(range(len(text) - 8), 20))
        spans = [[start, start + 8] for start in starts]
        contribution = chance.uniform(-1, 1)
        return {"text": "word", "contribution": contribution, "count": 20, "spans": spans}

    evidence = [
        {
            "label": f"label {number}",
            "logit": 1.0,
            "segments": [part(2_200) for _ in range(5)],
            "sentences": [part(120) for _ in range(5)],
            "words": [word() for _ in range(5)],
        }
        for number in range(labels)
    ]
    starts = [len(text) * number // 11 for number in range(1, 11)]
    sentences = [
        {"text": text[start : start + 150], "start": start, "end": start + 150, "score": 0.5}
        for start in starts
    ]
    return {"id": "long", "label": "label 0", "evidence": evidence, "sentences": sentences}


def main() -> None:
    """Print a row for each kind of page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    browser = next(
        (path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None
    )
    if browser is None or shutil.which("node") is None:
        raise SystemExit("node and Chromium are needed")
    print("| page | written in | size | loaded | interactive | jump to the last | elements |")
    print("|---|---|---|---|---|---|---|")
    for script, labels in (("latin", 1), ("latin", 33), ("chinese", 1)):
        chance = random.Random(options.seed)
        text = document(options.characters, chance, script)
        told = answer(text, chance, labels)
        begun = time.perf_counter()
        page = document_page(text, told)
        took = time.perf_counter() - begun
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.html"
            path.write_text(page, encoding="utf-8")
            size = path.stat().st_size / 1e6
            command = ["node", str(ROOT / ".ci" / "pages" / "time.js"), str(path), browser]
            rounds = [
                json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                for _ in range(options.rounds)
            ]
        if not all(one["in_sight"] for one in rounds):
            raise SystemExit("the last highlight is not where it was gone to")

        def told_of(name: str, rounds: list[dict[str, Any]] = rounds) -> str:
            values = [one[name] for one in rounds]
            return f"{statistics.median(values):.0f} ms ({min(values)} to {max(values)})"

        print(
            f"| {script}, {len(text):,} characters, {labels} labels | {took:.2f} s | {size:.2f} MB"
            f" | {told_of('loaded_ms')} | {told_of('interactive_ms')} | {told_of('jump_ms')}"
            f" | {rounds[0]['elements']:,} |"
        )


if __name__ == "__main__":
    main()
