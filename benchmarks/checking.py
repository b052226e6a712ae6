"""Whether near-duplicates are told as an exact count tells them, and what the short look costs.

    python benchmarks/checking.py --data FOLDER hyperpartisan movie-reviews 20newsgroups

FOLDER/NAME holds train.jsonl.gz and, where there are any, validation.jsonl.gz and test.jsonl.gz.
The exact count compares the sets of runs of five words of all documents that share a rare one.
"""

import argparse
import gzip
import json
import os
import re
import sys
import time
from collections import defaultdict
from itertools import combinations
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.common.models import load_tokenizer
from benchmarks.common.report import DEFAULT_ENCODER, finish
from hierbert.checking.checks.near_duplicates import (
    ALIKE,
    KeptRuns,
    similar_pairs,
    sketch,
    sketched_runs,
)
from hierbert.checking.short import log_findings
from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.model.segmentation import Segmenter
from hierbert.model.words import word_hashes
from hierbert.settings import load_config

_RUN, _FEWEST_RUNS = 5, 26
# Of a document the runs that pairs are looked for by, and documents of a run that is not rare.
_SOUGHT, _MANY = 60, 60
_SURE, _UNLIKE = 0.8, 0.5
# About what the short look reads of a large corpus.
_CHARACTERS = 4_000_000
_Runs = set[tuple[str, ...]]


def main(argv: list[str] | None = None) -> int:
    """Count pairs, time the short look, and print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpora", nargs="+", help="folders in the folder of the corpora")
    parser.add_argument("--data", required=True, type=Path, help="folder of the corpora")
    parser.add_argument("--output", help="JSON file")
    options = parser.parse_args(argv)
    cut = Segmenter(load_tokenizer(DEFAULT_ENCODER))
    values, lines = {}, []
    for name in options.corpora:
        texts = read(options.data / name)
        own = values[name] = pairs(texts) | cost(texts, cut)
        lines.append(
            f"{name}: {own['documents']:,} documents, {own['told']:,} pairs told, the least alike "
            f"shares {own['least']:.2f}; {own['unlike']:,} share less than {_UNLIKE}; "
            f"{own['missed']:,} of {own['sure']:,} that share {_SURE} are missed, and "
            f"{own['likely_missed']:,} of {own['likely']:,} from {ALIKE} to that; the short look "
            f"takes {own['look']:.2f} s a million characters, segmenting {own['segmenting']:.2f}"
        )
    finish("checking", "Looking at documents", True, lines, values, output=options.output)
    return 0


def read(folder: Path) -> list[str]:
    """The texts of a corpus."""
    texts = []
    for split in ("train", "validation", "test"):
        path = folder / f"{split}.jsonl.gz"
        if path.is_file():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                texts += [json.loads(line)["text"] for line in file]
    return texts


def pairs(texts: list[str]) -> dict[str, float]:
    """Pairs that are told, against exact shares."""
    hashes = [word_hashes([text])[0].numpy() for text in texts]
    each = [sketched_runs(own) for own in hashes]
    kept = [place for place, own in enumerate(each) if len(own) >= _FEWEST_RUNS]
    sketches = np.stack([sketch(each[place]) for place in kept])
    counted = KeptRuns()
    for place in kept:
        counted.add(each[place])
    told = {
        tuple(sorted((kept[a], kept[b])))
        for a, b, _ in similar_pairs(sketches)
        if counted.share(a, b) >= ALIKE
    }
    runs = {place: runs_of(texts[place]) for place in kept}
    holders = defaultdict(list)
    for place in kept:
        for run in sorted(runs[place])[:_SOUGHT]:
            holders[run].append(place)
    near = {
        pair for own in holders.values() if 1 < len(own) <= _MANY for pair in combinations(own, 2)
    }
    alike = {pair: known for pair in near if (known := share(runs, *pair)) >= ALIKE}
    sure = {pair for pair, known in alike.items() if known >= _SURE}
    likely = alike.keys() - sure
    shares = [share(runs, a, b) for a, b in told]
    return {
        "documents": len(texts),
        "told": len(told),
        "least": min(shares, default=1.0),
        "unlike": sum(one < _UNLIKE for one in shares),
        "sure": len(sure),
        "missed": len(sure - told),
        "likely": len(likely),
        "likely_missed": len(likely - told),
    }


def runs_of(text: str) -> _Runs:
    """All runs of five words, digits alike."""
    words = re.findall(r"\w+", re.sub(r"\d", "0", text.lower()))
    return {tuple(words[place : place + _RUN]) for place in range(len(words) - _RUN + 1)}


def share(runs: dict[int, _Runs], a: int, b: int) -> float:
    """Of all runs that one of two documents has, those that both have."""
    return len(runs[a] & runs[b]) / max(1, len(runs[a] | runs[b]))


def cost(texts: list[str], cut: Segmenter) -> dict[str, float]:
    """Seconds of this process's own for a million characters: the short look, and segmenting."""
    some, characters = [], 0
    for place, text in enumerate(texts):
        if characters > _CHARACTERS:
            break
        characters += len(text)
        some.append(Example(str(place), text, {"label": None}, f"line {place}"))
    config = load_config(RunConfig, None, ["data.train=none.jsonl", "data.label_column=label"])
    started = time.process_time()
    log_findings(config, {"train": some}, [])
    looked = time.process_time()
    for example in some:
        cut([example.text])
    ended = time.process_time()
    millions = characters / 1e6
    return {"look": (looked - started) / millions, "segmenting": (ended - looked) / millions}


if __name__ == "__main__":
    sys.exit(main())
