"""Vectors of trees: how well a node's ancestors stand out, in the ball and in the plane.

    python benchmarks/tree_vectors.py --data FOLDER --trees mammals hwv --dimensions 5 --seeds 0 1 2

Trees are WordNet's nouns and its mammals, the labels of hwv, and Google's kinds of products. Mean
rank and MAP are of `hierbert.taxonomy.embedding.reconstruction`, ties against; with --held-out,
that part of all pairs of a node and an ancestor that is not its parent is not learnt, and their MAP
says how well they are found. CPU seconds are of the fit, over all threads.
"""

import argparse
import gzip
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.report import RESULTS, keep_figures
from hierbert import Taxonomy, read_taxonomy
from hierbert.taxonomy.embedding import ancestor_pairs, fit_tree_vectors, reconstruction


def nouns(data: Path) -> Taxonomy:
    """WordNet's nouns, called by their words."""
    with gzip.open(data / "wordnet-3.0" / "synsets.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["id"].startswith("n")]
    return read_taxonomy(
        [
            {"id": row["id"], "parents": row["hypernyms"], "name": ", ".join(row["lemmas"])}
            for row in rows
        ]
    )


def mammals(data: Path) -> Taxonomy:
    """Those from "mammal" down."""
    every = nouns(data)
    top = next(n for n, name in enumerate(every.names) if "mammal" in name.split(", "))
    below = [node for node in range(len(every)) if node == top or top in every.ancestors[node]]
    kept = {node: number for number, node in enumerate(below)}
    parents = [[kept[int(one)] for one in every.parents[node] if int(one) in kept] for node in kept]
    return Taxonomy([every.nodes[node] for node in below], parents)


def of_file(name: str) -> Callable[[Path], Taxonomy]:
    """The taxonomy of a folder."""
    return lambda data: read_taxonomy(data / name / "taxonomy.jsonl.gz")


TREES = {
    "mammals": mammals,
    "nouns": nouns,
    **{name: of_file(name) for name in ("hwv", "google-product-taxonomy")},
}


def figures(
    name: str, data: Path, dimensions: int, euclidean: bool, held_out: float, seed: int
) -> dict[str, Any]:
    """Of one fit."""
    taxonomy = TREES[name](data)
    kept, out = ancestor_pairs(taxonomy, held_out, seed)
    began = time.process_time()
    vectors = fit_tree_vectors(taxonomy, dimensions, euclidean=euclidean, pairs=kept, seed=seed)
    found: dict[str, Any] = {"cpu_seconds": time.process_time() - began, "nodes": len(taxonomy)}
    found |= reconstruction(vectors, taxonomy, kept)
    if len(out.values):
        found["map_of_held_out"] = reconstruction(vectors, taxonomy, out)["map"]
    return found


def table(kept: dict[str, dict[str, Any]]) -> str:
    """In Markdown: means over seeds, least and greatest in brackets."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key, found in kept.items():
        *group, _ = key.split("/")
        groups.setdefault(tuple(group), []).append(found)
    lines = [
        "| tree | nodes | dimensions | points of | held out | seeds | mean rank | MAP "
        "| MAP of held-out pairs | CPU seconds |",
        "|---" * 10 + "|",
    ]
    for (name, dimensions, geometry, held_out), own in groups.items():
        cells = [name, f"{own[0]['nodes']:,}", dimensions, geometry, held_out, str(len(own))]
        for key, digits in (
            ("mean_rank", 3),
            ("map", 4),
            ("map_of_held_out", 4),
            ("cpu_seconds", 0),
        ):
            values = [one[key] for one in own if key in one]
            if not values:
                cells.append("")
                continue
            ends = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
            several = f" ({ends})" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.{digits}f}{several}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Fit what is asked for, keep the figures, and print all there are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the corpora")
    parser.add_argument("--trees", nargs="*", choices=TREES, default=[], metavar="NAME")
    parser.add_argument("--dimensions", nargs="+", type=int, default=[5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--held-out", type=float, default=0.0)
    parser.add_argument("--output", type=Path, default=RESULTS / "tree_vectors.json")
    options = parser.parse_args()
    if options.trees and options.data is None:
        parser.error("--trees needs --data")
    asked = {}
    for name, dimensions, euclidean, seed in itertools.product(
        options.trees, options.dimensions, (False, True), options.seeds
    ):
        geometry = "the plane" if euclidean else "the ball"
        key = f"{name}/{dimensions}/{geometry}/{options.held_out:g}/{seed}"
        asked[key] = partial(
            figures, name, options.data, dimensions, euclidean, options.held_out, seed
        )
    print(table(keep_figures(options.output, asked)))


if __name__ == "__main__":
    main()
