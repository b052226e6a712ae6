"""Train a configuration with several seeds and print the test figures with their spread.

    python benchmarks/quality.py --config configs/classification.yaml --seeds 0 1 2 \
        --name movie-reviews data.train=... data.test=...

Each seed is a run of train.py in a process of its own, in runs/quality/NAME-seedN; one that is
there already is not run again. The table gives the mean over seeds and the range; the
95 % intervals over documents are in each run's results.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SHOWN = ("accuracy", "macro_f1", "micro_f1", "map", "rouge1", "rouge2", "rougeL", "rougeLsum")


def run_seed(config: str, overrides: list[str], folder: Path, seed: int) -> dict[str, Any]:
    """Train with one seed, or read what was trained before."""
    results = folder / "results.json"
    if not results.is_file():
        command = [sys.executable, str(ROOT / "train.py"), "--config", config, *overrides]
        command += [f"seed={seed}", f"run_dir={folder}", "show_sample=false"]
        if (folder / "config.resolved.yaml").is_file():
            command.append("--resume")
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
    return json.loads(results.read_text(encoding="utf-8"))


def spread(values: list[float]) -> str:
    """Mean and range, times 100."""
    mean = 100 * statistics.mean(values)
    return f"{mean:.1f} ({100 * min(values):.1f} to {100 * max(values):.1f})"


def main() -> None:
    """Train all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--name", required=True, help="names the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/quality"))
    options, overrides = parser.parse_known_args()
    runs = [
        run_seed(options.config, overrides, options.folder / f"{options.name}-seed{seed}", seed)
        for seed in options.seeds
    ]
    first = runs[0]
    print(f"\n{options.name}: {first['documents']} {first['split']} documents, {len(runs)} seeds")
    print("x 100: mean over seeds (least to greatest)\n")
    systems: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        rows = {"hierbert": run["scores"], "Majority class": run.get("majority") or {}}
        for name, row in run.get("summaries", {}).get("systems", {}).items():
            if name != "hierbert":
                rows[name] = {kind: value["mean"] for kind, value in row.items()}
        for name, row in rows.items():
            for metric in SHOWN:
                if metric in row:
                    systems.setdefault(name, {}).setdefault(metric, []).append(row[metric])
    metrics = [metric for metric in SHOWN if metric in first["scores"]]
    print("| | " + " | ".join(metrics) + " |")
    print("|---" * (len(metrics) + 1) + "|")
    for name, row in systems.items():
        cells = [spread(row[metric]) if metric in row else "" for metric in metrics]
        print(f"| {name} | " + " | ".join(cells) + " |")
    seconds = [run["seconds"] for run in runs]
    print(f"\nseconds a run: {min(seconds):.0f} to {max(seconds):.0f}")
    for run, seed in zip(runs, options.seeds, strict=True):
        for name, gain in run.get("summaries", {}).get("gain", {}).items():
            if name == "LexRank":
                low, high = 100 * gain["low"], 100 * gain["high"]
                mean = 100 * gain["mean"]
                print(f"seed {seed}: {mean:+.1f} ROUGE-1 over LexRank [{low:+.1f}, {high:+.1f}]")


if __name__ == "__main__":
    main()
