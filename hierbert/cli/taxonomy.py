"""The command line about trees of labels: `hierbert taxonomy check` and `embed`."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierbert.cli.common import (
    CommandLineParser,
    check_writable,
    command,
    escape_unprintable,
)
from hierbert.cli.flags import count, number
from hierbert.cli.terminal import show
from hierbert.errors import ConfigError, flag_setting
from hierbert.files import write_json, writing
from hierbert.log import log

if TYPE_CHECKING:
    from hierbert.taxonomy.tree import Taxonomy

EXAMPLES = """examples:
  hierbert taxonomy check tree.jsonl
  hierbert taxonomy check synsets.jsonl.gz --parent-column hypernyms --json facts.json
  hierbert taxonomy embed tree.jsonl --output tree-vectors.parquet --dimensions 10

input:  nodes with their parent or parents (columns id and parent, or id and parents), pairs
        (parent and child), paths from the top (path: a list, or one text with ' > ' between the
        names), in any format of a corpus; or a .txt file whose lines are a parent and its
        children with tabs between them
output: check: how many nodes each level has, and what may be a mistake; embed: a Parquet file of
        id and vector, and how well a node's ancestors stand out by their distance, with points of
        the plane beside it
exit:   0; 2 for a mistake, such as a circle or a parent that is no node; 130 when interrupted
"""
_SEED = number(int, lambda value: 0 <= value < 2**63, "a whole number, at least 0")
_PART = number(float, lambda value: 0 <= value <= 0.5, "0 to 0.5")
_OF_EMBED = ("output", "dimensions", "epochs", "seed", "euclidean", "held_out", "overwrite")


def _flag(name: str) -> str:
    """As this command line names settings; what holds the nodes is no flag."""
    return "FILE" if name == "taxonomy" else flag_setting(name)


def _main(argv: list[str], prog: str) -> None:
    options = _parser(prog).parse_args(argv)
    escape_unprintable()
    from hierbert.data.streams import check_encoding
    from hierbert.taxonomy.reading import SEPARATOR, TaxonomyColumns, read_taxonomy

    check_encoding(options.encoding)
    if options.separator is not None and not options.separator.strip():
        raise ConfigError(
            "is not allowed: at least one character that is no space",
            setting="separator",
            value=options.separator,
        )
    path = None
    if options.json is not None:
        path = Path(os.path.expanduser(options.json)).resolve()
        check_writable(path, "--json")
    if options.action == "embed":
        _check_embed(options)
    else:
        for name in _OF_EMBED:
            if getattr(options, name) not in (None, False):
                raise ConfigError(f"{_flag(name)} is of embed, not of check")
    columns = TaxonomyColumns(
        options.id_column,
        options.parent_column,
        options.path_column,
        options.name_column,
        separator=options.separator or SEPARATOR,
    )
    taxonomy = read_taxonomy(options.file, columns, options.encoding)
    facts = (_embed if options.action == "embed" else _check)(taxonomy, options)
    if path is not None:
        with writing(f"--json {path}"):
            write_json(path, facts)


def _parser(prog: str) -> CommandLineParser:
    parser = CommandLineParser(
        prog=prog,
        description="Look at a tree of labels, or give its nodes vectors.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    text = "check: say what is in a file, and whether it can be used; embed: find vectors"
    add("action", choices=("check", "embed"), help=text)
    add("file", metavar="FILE", help="what holds the nodes")
    add("--id-column", metavar="NAME", help="column of a node's id (default: id, or child)")
    text = "column of its parent, or of a list of them (default: parents, or parent)"
    add("--parent-column", metavar="NAME", help=text)
    add("--path-column", metavar="NAME", help="column of its path from the top (default: path)")
    add("--name-column", metavar="NAME", help="column of what it is called (default: name)")
    text = "between the names of a path that is one text (default: ' > ')"
    add("--separator", metavar="TEXT", help=text)
    add("--encoding", default="utf-8", help="of text files (default: utf-8)")
    add("--json", type=Path, metavar="FILE", help="write all that was found to FILE")
    add = parser.add_argument_group("embed").add_argument
    add("--output", type=Path, metavar="FILE.parquet", help="where vectors are written")
    add("--overwrite", action="store_true", help="replace that file")
    add("--dimensions", type=count, metavar="N", help="of the vectors (default: 10)")
    text = "write points of the plane rather than of the Poincare ball; both are scored"
    add("--euclidean", action="store_true", help=text)
    text = "how often each node is asked about (default: 250)"
    add("--epochs", type=count, metavar="N", help=text)
    add("--seed", type=_SEED, metavar="N", help="of first points and order (default: 0)")
    text = "leave out that part of all pairs of a node and an ancestor that is not its parent, and "
    text += "say how well they are found (default: 0)"
    add("--held-out", type=_PART, metavar="P", help=text)
    return parser


def _check(taxonomy: "Taxonomy", options: argparse.Namespace) -> dict[str, Any]:
    from hierbert.taxonomy.facts import facts_text, taxonomy_facts

    facts = taxonomy_facts(taxonomy)
    show(facts_text(facts))
    return facts


def _check_embed(options: argparse.Namespace) -> None:
    """Refuse an output before anything is computed."""
    if options.output is None:
        raise ConfigError("embed needs --output FILE.parquet, where vectors are written")
    options.output = Path(os.path.expanduser(options.output))
    if options.output.suffix.lower() != ".parquet":
        raise ConfigError(f"--output {options.output} has another ending; allowed: .parquet")
    check_writable(options.output, "--output")
    if options.output.exists() and not options.overwrite:
        raise ConfigError(f"--output {options.output} exists; --overwrite replaces it")


def _embed(taxonomy: "Taxonomy", options: argparse.Namespace) -> dict[str, Any]:
    from hierbert.scoring.tables import grid
    from hierbert.taxonomy.embedding import ancestor_pairs, fit_tree_vectors, reconstruction
    from hierbert.taxonomy.vector_files import write_tree_vectors

    dimensions, seed = options.dimensions or 10, options.seed or 0
    kept, out = ancestor_pairs(taxonomy, options.held_out or 0.0, seed)
    if not len(kept.values):
        raise ConfigError("no node has another above it, so there is nothing to learn")
    more = {} if options.epochs is None else {"epochs": options.epochs}
    facts: dict[str, Any] = {"nodes": len(taxonomy), "dimensions": dimensions, "seed": seed}
    facts["held_out_pairs"] = len(out.values)
    rows = [["", "mean rank", "MAP", *(["MAP of held-out pairs"] if len(out.values) else [])]]
    checkpoints = []
    for euclidean, title in ((False, "Poincare ball"), (True, "Plane")):
        part = "plane" if euclidean else "ball"
        checkpoints.append(options.output.with_name(f".{options.output.name}.{part}.checkpoint"))
        vectors = fit_tree_vectors(
            taxonomy,
            dimensions,
            euclidean=euclidean,
            pairs=kept,
            seed=seed,
            checkpoint=checkpoints[-1],
            **more,
        )
        own = reconstruction(vectors, taxonomy, kept)
        cells = [title, f"{own['mean_rank']:.3f}", f"{own['map']:.4f}"]
        if len(out.values):
            own["map_of_held_out"] = reconstruction(vectors, taxonomy, out)["map"]
            cells.append(f"{own['map_of_held_out']:.4f}")
        rows.append(cells)
        facts[part] = own
        if euclidean == options.euclidean:
            chosen = vectors
    with writing(options.output):
        write_tree_vectors(options.output, chosen, facts)
    for path in checkpoints:
        path.unlink(missing_ok=True)
    size = f"{len(taxonomy):,} nodes in {dimensions:,} dimensions, {len(kept.values):,} pairs"
    show(grid(rows, f"{size} of a node and an ancestor (1 is best)"))
    log.info(f"vectors: {options.output}")
    return facts


main = command(_main, "hierbert-taxonomy", _flag, terminated=True)
