"""Trees of labels: a tree beside a flat head over its leaves, with the same encoder.

    python benchmarks/label_trees.py --data FOLDER --corpora hwv --systems tree flat --seeds 0 1 2

Each cell (corpus, system, seed) is a run of train.py in a process of its own; its figures are
written to --output as soon as it is done, and a cell that is there is not run again. A flat head
learns the last node of each path; its answers count with all that is above them. All figures are
made here from answers, of the hierbert of the run and of the baselines of the tree's run; settings
behind the flags (training.cache_dir=...) go to all runs.
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

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.cells import ROOT
from benchmarks.common.corpora import CORPORA, Splits, documents
from benchmarks.common.report import RESULTS
from hierbert import Taxonomy, read_taxonomy
from hierbert.scoring.hierarchical import level_scores
from hierbert.scoring.intervals import label_gains, label_intervals
from hierbert.scoring.labels import label_scores

SYSTEMS: dict[str, list[str]] = {
    "tree": [],
    "flat": ["data.label_type=single_label"],
    "adjusted": ["model.tree_adjustment=1"],
    "sigmoid": ["data.multi_path=true"],
    "vectors": ["model.words=false"],
    "flat-vectors": ["data.label_type=single_label", "model.words=false"],
    "siblings": ["model.tree_softmax=siblings"],
    "without-names": ["model.label_names=false"],
    "leaf": ["model.tree_decision=leaf"],
    "fine-tuned": ["training.freeze_encoder=false", "training.epochs=4"],
}
"""Settings by the name of a system; to measure another, add an entry."""
TREES = {"hwv": "hwv/taxonomy.jsonl.gz"}
"""Files of trees; of other corpora the documents' paths make it."""
_SHOWN = ("hf1", "hf1_macro", "exact_path", "lca_f1", "mean_depth")
_OURS = "hierbert"
Cell = dict[str, Any]
_Table = npt.NDArray[np.int64]


def run_cell(name: str, system: str, seed: int, data: Path, more: list[str]) -> Cell:
    """Train once, and score what every system answers to the test documents."""
    corpus = CORPORA[name]
    splits = documents(name, data, seed)
    tree = tree_of(name, data, splits)
    is_flat = "data.label_type=single_label" in SYSTEMS[system]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        arguments = ["data.label_column=label"]
        known = sorted({_label(row["label"], True, False) for row in splits["train"]})
        if not is_flat:
            nodes = folder / "tree.jsonl"
            nodes.write_text("".join(json.dumps(row) + "\n" for row in rows_of(tree)))
            arguments.append(f"data.taxonomy={nodes}")
        for split, rows in splits.items():
            path = folder / f"{split}.jsonl"
            several = "data.multi_path=true" in SYSTEMS[system]
            made = [{**row, "label": _label(row["label"], is_flat, several)} for row in rows]
            if is_flat and split != "train":
                # Of a leaf that no training document has a flat head cannot even be told.
                made = [one if one["label"] in known else {**one, "label": None} for one in made]
                if split == "test":
                    made = [{**one, "label": one["label"] or known[0]} for one in made]
            path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
            arguments.append(f"data.{split}={path}")
        command = [sys.executable, str(ROOT / "train.py"), "--config"]
        command += [str(ROOT / "configs" / f"{corpus.config}.yaml"), *arguments, *corpus.settings]
        command += [*SYSTEMS[system], *more, f"seed={seed}", f"run_dir={folder / 'run'}"]
        subprocess.run([*command, "show_sample=false"], check=True)
        results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
        lines = (folder / "run" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {row["id"]: row["classification"] for row in map(json.loads, lines)}
    return cell_of(splits, answers, results, tree, is_flat)


def tree_of(name: str, data: Path, splits: Splits) -> Taxonomy:
    """The tree of a corpus: of a file, or of the paths of all its documents."""
    if name in TREES:
        return read_taxonomy(data / TREES[name])
    paths = {tuple(row["label"]) for rows in splits.values() for row in rows}
    return read_taxonomy([{"path": list(path)} for path in sorted(paths)])


def rows_of(tree: Taxonomy) -> Iterable[dict[str, Any]]:
    """Its nodes, as a file has them."""
    for number, node in enumerate(tree.nodes):
        parents = [tree.nodes[parent] for parent in tree.parents[number]]
        yield {"id": node, "parents": parents, "name": tree.names[number]}


def _label(path: list[str], is_flat: bool, several: bool) -> Any:
    """A path as a run reads it. Equal last names at different places are different leaves."""
    if is_flat:
        return " > ".join(path)
    return [path] if several else path


def cell_of(
    splits: Splits,
    answers: dict[str, dict[str, Any]],
    results: dict[str, Any],
    tree: Taxonomy,
    is_flat: bool,
) -> Cell:
    """What is kept of a run."""
    numbers = {tuple(tree.names[n] for n in tree.path(node)): node for node in range(len(tree))}

    test = splits["test"]
    true = np.zeros((len(test), len(tree)), dtype=np.int64)
    for place, row in enumerate(test):
        true[place, tree.path(numbers[tuple(row["label"])])] = 1

    def table(system: str) -> _Table:
        made = np.zeros_like(true)
        for place, row in enumerate(test):
            own = answers[row["id"]][system]
            if isinstance(own, list):
                made[place, [tree.numbers[node] for node in own]] = 1
            else:
                made[place, tree.path(numbers[tuple(own.split(" > "))])] = 1
        return made

    train = np.zeros(len(tree), dtype=np.int64)
    for row in splits["train"]:
        train[tree.path(numbers[tuple(row["label"])])] += 1
    unseen = true[:, train == 0].any(1)
    # A flat head's baselines answer leaves too: those of the tree's run stand for both.
    names = [_OURS] if is_flat else [*next(iter(answers.values()))]
    systems = {}
    for name in (one for one in names if one != "true"):
        given = table(name)
        own: dict[str, Any] = label_scores("tree", given, true)
        own["levels"] = level_scores(given, true, tree.levels, train)
        for level in own["levels"]:
            del level["confusions"]
        if unseen.any():
            own["hf1_of_unseen"] = label_scores("tree", given[unseen], true[unseen])["hf1"]
        systems[name] = own
    ours = table(_OURS)
    return {
        "systems": systems,
        "intervals": label_intervals("tree", ours, true, 0),
        "answers": [[int(node) for node in np.flatnonzero(row)] for row in ours],
        "true": [[int(node) for node in np.flatnonzero(row)] for row in true],
        "nodes": len(tree),
        "unseen": float(unseen.mean()),
        "weights": (results.get("members") or {}).get("weights"),
        "documents": len(true),
        "seconds": results["seconds"],
        "environment": results["environment"],
    }


def tables(cells: dict[str, Cell]) -> Iterable[str]:
    """For each corpus what there is to read, in Markdown."""
    groups: dict[str, dict[str, dict[int, Cell]]] = {}
    for key, cell in cells.items():
        name, system, seed = key.split("/")
        groups.setdefault(name, {}).setdefault(system, {})[int(seed)] = cell
    for name, systems in groups.items():
        counts = sorted({len(own) for own in systems.values()})
        seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        yield f"**{name}**, {seeds} splits, mean (spread over the splits):\n"
        columns = (
            "hF1",
            "macro hF1",
            "exact path",
            "LCA-F1",
            "depth",
            "level 1",
            "level 2",
            "unseen",
        )
        yield f"| system | {' | '.join(columns)} |"
        yield "| --- " + "| ---: " * len(columns) + "|"
        for system, own in systems.items():
            yield _row(system, [cell["systems"][_OURS] for cell in own.values()])
        if "tree" in systems:
            first = next(iter(systems["tree"].values()))
            for baseline in (one for one in first["systems"] if one != _OURS):
                every = systems["tree"].values()
                yield _row(baseline, [cell["systems"][baseline] for cell in every])
        yield ""
        yield from _gains(systems)
        yield ""


def _row(title: str, scores: Sequence[dict[str, Any]]) -> str:
    cells = []
    for metric in _SHOWN:
        values = [one[metric] for one in scores]
        cells.append(_figure(values, 1 if metric == "mean_depth" else 100))
    for level in (0, 1):
        own = [one["levels"][level]["accuracy"] for one in scores if level < len(one["levels"])]
        cells.append(_figure(own, 100) if own else "-")
    # Of documents with a node that no training document has.
    own = [one["hf1_of_unseen"] for one in scores if "hf1_of_unseen" in one]
    cells.append(_figure(own, 100) if own else "-")
    return f"| {title} | {' | '.join(cells)} |"


def _figure(values: Sequence[float], factor: float) -> str:
    mean = factor * statistics.fmean(values)
    spread = f" ({factor * statistics.stdev(values):.1f})" if len(values) > 1 else ""
    return f"{mean:.1f}{spread}"


def _gains(systems: dict[str, dict[int, Cell]]) -> Iterable[str]:
    """What the tree gains over each other system, over all test documents of the same splits."""
    for system in systems:
        shared = sorted(set(systems["tree"]) & set(systems[system])) if "tree" in systems else []
        if system == "tree" or not shared:
            continue
        tables = [
            [_filled(systems[one][seed], key) for seed in shared]
            for one, key in (("tree", "answers"), (system, "answers"), ("tree", "true"))
        ]
        ours, theirs, true = (np.concatenate(own) for own in tables)
        gain = label_gains("tree", ours, {system: theirs}, true, 0)[system]["hf1"]
        low, high = 100 * gain["low"], 100 * gain["high"]
        yield f"- tree over {system}: {100 * gain['mean']:+.1f} hF1 [{low:+.1f}, {high:+.1f}]"


def _filled(cell: Cell, key: str) -> _Table:
    table = np.zeros((cell["documents"], cell["nodes"]), dtype=np.int64)
    for row, nodes in enumerate(cell[key]):
        table[row, nodes] = 1
    return table


def main() -> None:
    """Run what is asked for, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of the corpora")
    add("--corpora", nargs="*", default=[], metavar="NAME")
    add("--systems", nargs="+", choices=SYSTEMS, default=["tree", "flat"])
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--output", type=Path, default=RESULTS / "label_trees.json")
    options, more = parser.parse_known_args()
    cells: dict[str, Cell] = {}
    if options.output.exists():
        cells = json.loads(options.output.read_text(encoding="utf-8"))
    for name, system, seed in itertools.product(options.corpora, options.systems, options.seeds):
        key = f"{name}/{system}/{seed}"
        if key in cells:
            continue
        cells[key] = run_cell(name, system, seed, options.data, more)
        options.output.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    print("\n".join(tables(cells)))


if __name__ == "__main__":
    main()
