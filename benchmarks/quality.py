"""How good answers are: systems on corpora with several seeds, and the tables of docs/results.md.

    python benchmarks/quality.py --data FOLDER --corpora hyperpartisan movie-reviews --seeds 0 1 2

Each cell (corpus, system, seed) is a run of train.py in a process of its own; its figures, and what
each system answered to each test document, are written to --output as soon as it is done, and a
cell that is there is not run again. Settings behind the flags (training.cache_dir=...) go to all
runs; where they change figures, name another --output. The corpora are in common/corpora.py.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.answers import Answers, gain, interval, mcnemar, packed, score, unpacked
from benchmarks.common.cells import ROOT
from benchmarks.common.corpora import CORPORA, documents
from benchmarks.common.report import RESULTS
from hierbert.scoring.answers import OF_ROWS
from hierbert.scoring.label_baselines import LABEL_BASELINES
from hierbert.scoring.metric import METRICS

SYSTEMS: dict[str, list[str]] = {
    "configured": [],
    "frozen": ["training.freeze_encoder=true"],
    # Four of a document's segments, anew in each epoch: as many tokens as two epochs of all.
    "fine-tuned": ["training.epochs=4", "training.segments_per_document=4"],
}
"""Settings by the name of a system; to measure another, add an entry."""
SHOWN = (
    *("accuracy", "micro_f1", "macro_f1", "map", "log_loss", "ece"),
    *("rouge1", "rouge2", "rougeL", "rougeLsum"),
)
OURS = "hierbert"
# Names that cells have had before baselines had titles.
_TITLES = {"majority": "commonest labels", "tfidf_logistic": "TF-IDF, logistic regression"}
_TITLES = {one.name: one.title for one in LABEL_BASELINES} | _TITLES
# Known too late to be beaten.
_BOUND = "Oracle"
_LENGTHS = (-1, 512, 1024, 2048, 4096, 8192, float("inf"))
_FEWEST = 5
Cell = dict[str, Any]


def run_cell(name: str, system: str, seed: int, data: Path | None, more: list[str]) -> Cell:
    """Train once, and give the figures and answers of every system."""
    corpus = CORPORA[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = []
        for split, rows in documents(name, data or folder, seed).items():
            path = folder / f"{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            arguments.append(f"data.{split}={path}")
        command = [sys.executable, str(ROOT / "train.py"), "--config"]
        command += [str(ROOT / "configs" / f"{corpus.config}.yaml"), *arguments, *corpus.settings]
        command += [*SYSTEMS[system], *more]
        command += [f"seed={seed}", f"run_dir={folder / 'run'}", "show_sample=false"]
        subprocess.run(command, check=True)
        results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
        lines = (folder / "run" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    return cell_of(results, [json.loads(line) for line in lines])


def cell_of(results: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Cell:
    """What is kept of a run."""
    members = results.get("members", {})
    systems: dict[str, dict[str, float]] = {
        _TITLES[name]: results[name] for name in results.get("gain", {})
    }
    systems |= {
        f"{part.replace('_', ' ')} alone": own for part, own in members.get("scores", {}).items()
    }
    for system, own in results.get("summaries", {}).get("systems", {}).items():
        systems[system] = {metric: value["mean"] for metric, value in own.items()}
    systems[OURS] = results["scores"]
    titled = [
        {
            key: value
            if key in OF_ROWS
            else {_TITLES.get(system, system): answer for system, answer in value.items()}
            for key, value in row.items()
        }
        for row in rows
    ]
    return {
        "systems": {
            system: {metric: own[metric] for metric in SHOWN if metric in own}
            for system, own in systems.items()
        },
        "intervals": results.get("intervals"),
        "weights": members.get("weights"),
        "answers": packed(titled),
        "documents": results["documents"],
        "seconds": results["seconds"],
        "environment": results["environment"],
    }


def tables(cells: dict[str, Cell]) -> Iterable[str]:
    """For each corpus and system what there is to read, in Markdown."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for key, cell in cells.items():
        name, system, _ = key.split("/")
        groups.setdefault((name, system), []).append(cell)
    for (name, system), own in groups.items():
        counts = sorted({cell["documents"] for cell in own})
        count = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        title = f"{name}, {system}: {count} test documents, {len(own)} seeds"
        kept = [cell["answers"] for cell in own if cell.get("answers")]
        tasks = dict.fromkeys(task for one in kept for task in one if task != "documents")
        runs = [[unpacked(one, task) for one in kept if task in one] for task in tasks]
        yield "\n".join([title, "", *_scores(own, runs)])
        for each in runs:
            yield "\n".join(_gains(own, each))
            # Of one length there is nothing to compare.
            if len(lengths := list(_lengths(own, each))) > 3:
                yield "\n".join(lengths)


def _scores(own: list[Cell], runs: list[list[Answers]]) -> Iterable[str]:
    """Means over seeds, least and greatest, and the interval of our system over documents."""
    shown = [metric for metric in SHOWN if metric in own[0]["systems"][OURS]]
    yield from ("| | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|")
    for system in dict.fromkeys(system for cell in own for system in cell["systems"]):
        rows = [cell["systems"][system] for cell in own if system in cell["systems"]]
        figures = (_figure(metric, [row.get(metric) for row in rows]) for metric in shown)
        seeds = "" if len(rows) == len(own) else f" ({len(rows)} seeds)"
        yield f"| {system}{seeds} | " + " | ".join(figures) + " |"
    ends: dict[str, str] = {}
    for each in runs:
        for metric in each[0].metrics():
            _, low, high = interval(each, OURS, metric)
            ends[metric] = f"{_shown(metric, low)} to {_shown(metric, high)}"
    if ends:
        cells = " | ".join(ends.get(metric, "") for metric in shown)
        yield f"| {OURS}, 95 % interval over documents | {cells} |"


def _gains(own: list[Cell], runs: list[Answers]) -> Iterable[str]:
    """Of each metric what our system gains over the best baseline."""
    for metric in runs[0].metrics():
        best = _best(own, runs, metric)
        if best is None:
            continue
        mean, low, high, p = gain(runs, OURS, best, metric)
        ends = f"[{100 * low:+.1f}, {100 * high:+.1f}]"
        line = f"{metric} over {best}: {100 * mean:+.1f} {ends}, p = {p:.3f}"
        if metric == "accuracy":
            line += f", McNemar p of the first = {mcnemar(runs, OURS, best):.3f}"
        yield f"- {line}"


def _lengths(own: list[Cell], runs: list[Answers]) -> Iterable[str]:
    """Our system and the best baseline by the length of the document, in the first metric."""
    metric = next((one for one in ("accuracy", "micro_f1") if one in runs[0].metrics()), "rouge1")
    if (best := _best(own, runs, metric)) is None:
        return
    yield from (f"| tokens | documents | {OURS} | {best} | {metric} gained |", "|---" * 5 + "|")
    for low, high in itertools.pairwise(_LENGTHS):
        parts = [run.of_length(low, high) for run in runs]
        parts = [part for part in parts if len(part.tokens)]
        count = sum(len(part.tokens) for part in {p.documents: p for p in parts}.values())
        if count < _FEWEST:
            continue
        ours, theirs = (score(parts, one, metric) for one in (OURS, best))
        mean, least, most, _ = gain(parts, OURS, best, metric)
        ends = f"{100 * mean:+.1f} [{100 * least:+.1f}, {100 * most:+.1f}]"
        name = f"up to {high:,}" if high < float("inf") else f"over {low:,}"
        yield f"| {name} | {count} | {100 * ours:.1f} | {100 * theirs:.1f} | {ends} |"


def _best(own: list[Cell], runs: list[Answers], metric: str) -> str | None:
    """The baseline with the best mean over seeds, of those that every run has answers of."""
    names = [
        name
        for name in runs[0].systems
        if name not in (OURS, _BOUND) and all(name in run.systems for run in runs)
    ]
    means = {name: score(runs, name, metric) for name in names}
    choose = max if METRICS[metric].better == "higher" else min
    return choose(means, key=means.__getitem__) if means else None


def _figure(metric: str, values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    mean, low, high = (
        _shown(metric, value) for value in (statistics.mean(known), min(known), max(known))
    )
    return mean if low == high else f"{mean} ({low} to {high})"


def _shown(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if METRICS[metric].percent else f"{value:.3f}"


def main() -> None:
    """Run the cells that are missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the corpora")
    parser.add_argument("--corpora", nargs="*", choices=CORPORA, default=[], metavar="NAME")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, help="the corpus's own, without")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=RESULTS / "quality.json")
    options, more = parser.parse_known_args()
    cells = json.loads(options.output.read_text("utf-8")) if options.output.is_file() else {}
    for name in options.corpora:
        if CORPORA[name].folder and options.data is None:
            parser.error(f"{name} needs --data")
        for system in options.systems or CORPORA[name].systems:
            for seed in options.seeds:
                key = f"{name}/{system}/{seed}"
                if key not in cells:
                    cells[key] = run_cell(name, system, seed, options.data, more)
                    text = json.dumps(cells, indent=1) + "\n"
                    options.output.write_text(text, encoding="utf-8")
    print("\n" + "\n\n".join(tables(cells)))


if __name__ == "__main__":
    main()
