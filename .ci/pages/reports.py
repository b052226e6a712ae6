"""Write reports of hostile and of usual results, and a comparison, for `check.js` to look at.

python .ci/pages/reports.py FOLDER
"""

import json
import random
import sys
from pathlib import Path

from hierbert.cli.report import main
from hierbert.reporting.found import read_found
from hierbert.reporting.report import write_report

HOSTILE = (
    '</script><script>alert(1)</script> "\' onmouseover=alert(1) x="<img src=x onerror=alert(1)> '
    "$a_1$ | \x00 \ud800 \u202e"
)
LABELS = [HOSTILE, "law", "right to left: \u05e9\u05dc\u05d5\u05dd"]


def results(chance: random.Random) -> dict:
    """Results of a run with both heads, of which every part of a report can be made."""
    ends = {"low": 0.5, "high": 0.9}
    scores = {
        "micro_f1": 0.7,
        "accuracy": 0.7,
        "macro_f1": 0.6,
        "rouge1": 0.4,
        "rouge2": 0.1,
        "ece": 0.1,
        "loss": 1.0,
    }
    figures = dict.fromkeys(("precision", "recall", "f1"), 0.5)
    parts = {"scores": scores, "intervals": {"accuracy": ends, "rouge1": ends}, "documents": 9}
    row = {"places": [chance.randrange(9) for _ in range(10)]}
    row |= dict.fromkeys(("sentences", "words", "redundancy"), 0.5)
    return {
        "split": "validation",
        "documents": 9,
        "seed": 0,
        "best_step": 2,
        "scores": scores,
        "intervals": parts["intervals"],
        "majority": {"accuracy": 0.4, "macro_f1": 0.2, "micro_f1": 0.4},
        "gain": {"majority": {"accuracy": {"mean": 0.3, "low": -0.1, "high": 0.7, "p": 0.2}}},
        "summaries": {
            "systems": {n: {"rouge1": {"mean": 0.4, **ends}} for n in (HOSTILE, "hierbert")},
            "gain": {HOSTILE: {"mean": 0.1, "low": 0.0, "high": 0.2, "p": 0.04}},
        },
        "per_label": {
            "labels": [{"label": n, **figures, "support": 3, "predicted": 3} for n in LABELS],
            "confusion": [[chance.randrange(9) for _ in LABELS] for _ in LABELS],
        },
        "reliability": [{"count": 9, "claimed": x / 9, "true": x / 10} for x in range(5, 9)],
        "precision_recall": {
            "points": [
                {"threshold": 1 - x / 9, "precision": 1 - x / 20, "recall": x / 9}
                for x in range(1, 9)
            ],
            "chosen": {"precision": 0.6, "recall": 0.7},
        },
        "risk_coverage": {
            "area": 0.1,
            "points": [
                {"coverage": x / 9, "confidence": 1 - x / 20, "risk": x / 20} for x in range(1, 9)
            ],
            "answered": {"coverage": 0.5, "confidence": 0.8, "risk": 0.2},
        },
        "lengths": {
            "test": dict.fromkeys(
                ("documents", "median_tokens", "p90_tokens", "longest_tokens", "tokens"), 9
            )
        },
        "length_histogram": {"from": [0, 65], "to": [64, None], "splits": {"test": [5, 4]}},
        "slices": {
            "length": [{"from_tokens": x, "to_tokens": None, **parts} for x in (0, 513)],
            "columns": {HOSTILE: [{"value": x, **parts} for x in LABELS]},
        },
        "picks": {"systems": {"hierbert": row, "Oracle": row}},
        "resources": {
            "device": "CPU",
            "course": [{"step": x, "tokens_per_second": 9.0, "memory_mib": 9.0} for x in (1, 2)],
        },
        "environment": {"torch": "2"},
    }


def write(folder: Path, chance: random.Random) -> Path:
    """A folder as a run leaves one."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(results(chance)))
    rows = [
        {
            "id": f"{place} {HOSTILE}",
            "tokens": 9,
            "classification": {"true": chance.choice(LABELS), "hierbert": chance.choice(LABELS)},
            "summarization": {"hierbert": chance.random()},
        }
        for place in range(9)
    ]
    (folder / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    lines = [
        {
            "step": step,
            "train.loss": 1 / step,
            "train.learning_rate": 0.1,
            "validation.loss": 0.5,
            "validation.accuracy": chance.random(),
        }
        for step in (1, 2)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (folder / "config.resolved.yaml").write_text(f"seed: {chance.randrange(9)}\n")
    return folder


if __name__ == "__main__":
    place = Path(sys.argv[1])
    drawn = random.Random(0)
    runs = [write(place / "runs" / name, drawn) for name in ("one", "another")]
    examples = {
        "mistakes": [
            {"id": n, "true": n, "answer": n, "probability": 0.9, "excerpt": n} for n in LABELS
        ],
        "summaries": [
            {
                **dict.fromkeys(("which", "id", "metric", "summary"), HOSTILE),
                "score": 0.3,
                "references": LABELS,
            }
        ],
    }
    write_report(runs[0], read_found(runs[0], examples))
    code = main([*map(str, runs), "--output", str(place / "runs" / "compared"), "--quiet"])
    for name, folder in (("report", runs[0]), ("comparison", place / "runs" / "compared")):
        (place / "pages").mkdir(exist_ok=True)
        (folder / "report.html").replace(place / "pages" / f"{name}.html")
    sys.exit(code)
