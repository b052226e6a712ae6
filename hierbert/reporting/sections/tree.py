"""Figures of each level of a tree of labels, and which nodes are taken for which."""

from typing import Any

from hierbert.reporting.blocks import Block, Note, Section, Table
from hierbert.reporting.found import Found


def tree(found: Found) -> Section | None:
    """A row for each level, then the pairs most often confused there."""
    facts = found.results.get("tree") or {}
    levels = facts.get("levels")
    if not levels:
        return None
    names = ("accuracy", "macro_f1", "rare_macro_f1")
    blocks: list[Block] = [
        Table(
            ["Level", "nodes", "documents", "Accuracy", "Macro-F1", "Macro-F1 of the rarer half"],
            [
                [
                    *(f"{level[name]:,}" for name in ("level", "nodes", "documents")),
                    *(_percent(level[name]) for name in names),
                ]
                for level in levels
            ],
        ),
        Note(
            "Documents whose true path reaches a level; an answer that ends above it is wrong "
            f"there. {_percent(facts.get('consistent'))} % of the answers have with each node its "
            f"parents; {_percent(facts.get('unseen'))} % of the documents have a node that no "
            "training document has."
        ),
    ]
    pairs = [
        [f"{level['level']}", one["true"], one["answered"] or "(ends above)", f"{one['count']:,}"]
        for level in levels
        for one in level["confusions"]
    ]
    if pairs:
        blocks += [
            Note("What is most often taken for what, by the level."),
            Table(["Level", "true", "answered", "documents"], pairs),
        ]
    return Section("Levels of the tree", blocks)


def _percent(value: Any) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
