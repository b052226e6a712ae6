"""Labels on several corpora: hierbert with its defaults, its parts alone, and the baselines.

    python benchmarks/labels.py --data FOLDER --corpora hyperpartisan movie-reviews --seeds 0 1 2

FOLDER holds a folder for each corpus with train.jsonl.gz and, where there are any,
validation.jsonl.gz and test.jsonl.gz. A corpus without a test file gives up a fifth of its training
documents, by the hash of their texts, so that equal texts stay together. Each cell (corpus, mode,
seed) is a run of train.py in a process of its own; its figures are written to --output as soon as
it is done, and a cell that is there is not run again.
"""

import argparse
import gzip
import hashlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "benchmarks" / "results" / "labels.json"
MODES = {
    # Its vectors are there for all seeds, and an epoch takes seconds.
    "frozen": ["training.freeze_encoder=true", "training.epochs=10"],
    "fine-tuned": ["training.epochs=2"],
}
METRICS = ("accuracy", "micro_f1", "macro_f1", "map", "log_loss", "ece")
_ERRORS = ("log_loss", "ece")
# Newsgroup posts are mostly short; these are the long ones, without their headers, which name the
# group.
_LONG_POST_WORDS = 350
_TEST_SHARE = 20
Row = dict[str, Any]


def corpus(name: str, folder: Path) -> dict[str, list[Row]]:
    """The splits of a corpus as it is measured here, with text and label alone."""
    splits: dict[str, list[Row]] = {}
    for split in ("train", "validation", "test"):
        path = folder / name / f"{split}.jsonl.gz"
        if path.is_file():
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                splits[split] = [_row(name, json.loads(line)) for line in lines]
    if name == "20newsgroups":
        for split, rows in splits.items():
            splits[split] = [row for row in rows if len(row["text"].split()) > _LONG_POST_WORDS]
    if "test" not in splits:
        drawn = [_percent(row["text"]) < _TEST_SHARE for row in splits["train"]]
        pairs = list(zip(splits["train"], drawn, strict=True))
        splits["test"] = [row for row, held_out in pairs if held_out]
        splits["train"] = [row for row, held_out in pairs if not held_out]
    return splits


def run_cell(name: str, mode: str, seed: int, data: Path, more: list[str]) -> dict[str, Any]:
    """Train once, and give the figures of every system."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = []
        for split, rows in corpus(name, data).items():
            path = folder / f"{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            arguments.append(f"data.{split}={path}")
        command = [sys.executable, str(ROOT / "train.py"), "--config"]
        command += [str(ROOT / "configs" / "classification.yaml"), *arguments, *MODES[mode], *more]
        command += [f"seed={seed}", f"run_dir={folder / 'run'}", "show_sample=false"]
        subprocess.run(command, check=True)
        results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
    members = results.get("members", {})
    systems = {
        name: results[key]
        for key, name in (
            ("majority", "commonest labels"),
            ("tfidf_svm", "TF-IDF, SVM"),
            ("tfidf_logistic", "TF-IDF, logistic regression"),
            ("mean_vectors", "mean vectors"),
            ("first_512_tokens", "first 512 tokens"),
            ("head_and_tail", "head + tail"),
            ("segment_vote", "vote of segments"),
        )
        if results.get(key)
    }
    systems |= {f"{part} alone": own for part, own in members.get("scores", {}).items()}
    systems["hierbert"] = results["scores"]
    return {
        "systems": {
            system: {metric: own[metric] for metric in METRICS if metric in own}
            for system, own in systems.items()
        },
        "intervals": results["intervals"],
        "weights": members.get("weights"),
        "documents": results["documents"],
        "seconds": results["seconds"],
        "environment": results["environment"],
    }


def tables(cells: dict[str, Any]) -> Iterable[str]:
    """A table in Markdown for each corpus and mode: means over seeds, least and greatest."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, cell in cells.items():
        name, mode, _ = key.split("/")
        groups.setdefault((name, mode), []).append(cell)
    for (name, mode), own in groups.items():
        first = own[0]
        shown = [metric for metric in METRICS if metric in first["systems"]["hierbert"]]
        lines = [f"{name}, {mode}: {first['documents']} test documents, {len(own)} seeds", ""]
        lines += ["| | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
        for system in dict.fromkeys(system for cell in own for system in cell["systems"]):
            rows = [cell["systems"][system] for cell in own if system in cell["systems"]]
            figures = (_figure(metric, [row.get(metric) for row in rows]) for metric in shown)
            seeds = "" if len(rows) == len(own) else f" ({len(rows)} seeds)"
            lines.append(f"| {system}{seeds} | " + " | ".join(figures) + " |")
        yield "\n".join(lines) + "\n"


def _figure(metric: str, values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    unit, digits = (1, 3) if metric in _ERRORS else (100, 1)
    mean, low, high = (
        f"{unit * value:.{digits}f}" for value in (statistics.mean(known), min(known), max(known))
    )
    return mean if low == high else f"{mean} ({low} to {high})"


def _row(name: str, row: Row) -> Row:
    text = row["text"]
    if name == "20newsgroups":
        text = re.sub(r"\A.*?\n\n", "", text, flags=re.DOTALL)
    return {"text": text, "label": row["labels" if name == "cuad" else "label"]}


def _percent(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100


def main() -> None:
    """Run the cells that are missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="*", default=[], help="none prints what is there")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["frozen"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options, more = parser.parse_known_args()
    known = json.loads(options.output.read_text("utf-8")) if options.output.is_file() else {}
    for name in options.corpora:
        for mode in options.modes:
            for seed in options.seeds:
                key = f"{name}/{mode}/{seed}"
                if key not in known:
                    known[key] = run_cell(name, mode, seed, options.data, more)
                    text = json.dumps(known, indent=1) + "\n"
                    options.output.write_text(text, encoding="utf-8")
    print("\n" + "\n".join(tables(known)))


if __name__ == "__main__":
    main()
