"""What a taxonomy looks like, in figures and in words."""

from collections import Counter
from typing import Any

import numpy as np

from hierbert.errors import printable, quote
from hierbert.log import counted
from hierbert.scoring.tables import grid
from hierbert.taxonomy.tree import Taxonomy

_MOST_NAMES = 5
# A classifier has a number for each, and a row of weights.
_MANY_NODES = 100_000


def taxonomy_facts(taxonomy: Taxonomy) -> dict[str, Any]:
    """Counts of nodes, levels and pairs, and what may be a mistake; JSON.

    Raises:
        DataError: It is too deep; see `Taxonomy.ancestors`.
    """
    levels, children = taxonomy.levels, taxonomy.children.lengths
    is_leaf = children == 0
    names = Counter(taxonomy.names)
    several = taxonomy.parents.lengths > 1
    return {
        "nodes": len(taxonomy),
        "leaves": int(is_leaf.sum()),
        "is_tree": taxonomy.is_tree,
        "levels": [
            {
                "level": level,
                "nodes": int((levels == level).sum()),
                "leaves": int((is_leaf & (levels == level)).sum()),
            }
            for level in range(1, int(levels.max()) + 1)
        ],
        "ancestor_pairs": len(taxonomy.ancestors.values),
        "most_children": int(children.max()),
        "nodes_with_several_parents": [taxonomy.nodes[node] for node in np.flatnonzero(several)],
        "only_children": int((children == 1).sum()),
        "repeated_names": [name for name, count in names.items() if count > 1],
    }


def facts_text(facts: dict[str, Any]) -> str:
    """The same for a terminal."""
    heading = (
        f"{facts['nodes']:,} nodes, {facts['leaves']:,} of them leaves, on "
        f"{len(facts['levels']):,} levels; {facts['ancestor_pairs']:,} pairs of a node and an "
        f"ancestor; at most {facts['most_children']:,} children"
    )
    rows = [["level", "nodes", "leaves"]]
    rows += [[f"{one[key]:,}" for key in rows[0]] for one in facts["levels"]]
    notes = []
    if several := facts["nodes_with_several_parents"]:
        notes.append(
            f"no tree: {counted(len(several), 'node')} with several parents, " + _some(several)
        )
    if names := facts["repeated_names"]:
        notes.append(f"{counted(len(names), 'name')} at several places, {_some(names)}")
    if only := facts["only_children"]:
        notes.append(f"single children, which say no more than their parents: {only:,}")
    if facts["most_children"] <= 1 and len(facts["levels"]) == facts["nodes"]:
        notes.append("a chain: no node has a sibling, so there is nothing to decide")
    if facts["nodes"] > _MANY_NODES:
        notes.append(
            f"a classifier's output layer has a row for each node, {room_of(facts['nodes'])}"
        )
    return grid(rows, heading, map(printable, notes))


def room_of(nodes: int) -> str:
    """What rows of weights of the commonest sizes take, in words."""
    return " and ".join(
        f"{nodes * width * 4 / 2**30:.2f} GiB with vectors of {width}" for width in (384, 768)
    )


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    shown = ", ".join(map(quote, names[:_MOST_NAMES]))
    return "such as " + shown if more > 0 else shown
