"""Labels that are nodes of a tree, or paths in it: which they are, and what they are numbered as.

Invariant: the same tree gives the same numbers whatever the order of the documents; what is
doubtful is refused with its place, never guessed.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from hierbert.data.document import Example
from hierbert.errors import (
    ConfigError,
    DataError,
    did_you_mean,
    quote,
    quote_all,
    setting_name,
)
from hierbert.log import log
from hierbert.tasks.label_cells import list_in, looks_like_a_list
from hierbert.tasks.label_checks import warn_of_similar
from hierbert.tasks.labels import LabelMap, UnknownLabel
from hierbert.taxonomy.facts import room_of
from hierbert.taxonomy.reading import (
    SEPARATOR,
    TaxonomyColumns,
    names_of,
    read_taxonomy,
    taxonomy_of_paths,
)
from hierbert.taxonomy.tree import Taxonomy

_Path = tuple[str, ...]
_MANY_NODES, _MOST_COMPARED = 100_000, 2_000
_MULTI_PATH = f"set {setting_name('multi_path')} to true"


class TreeLabels(LabelMap):
    """Nodes of a tree, and how documents name them.

    A cell names a node by its id, or by a name that no other node has, or by its path from the top:
    a list of names, or a text with a separator between them. Whoever has a node has all above it.

    Args:
        taxonomy: The tree; its nodes are the labels.
        separator: Between the names of a path in one text; None: ``" > "``.
        field: The column that holds the labels, for messages.
        multi_path: Whether a document may have several nodes, each as above, in a list.

    Raises:
        ConfigError: A separator of white space alone.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        separator: str | None = None,
        *,
        field: str = "label",
        multi_path: bool = False,
    ) -> None:
        super().__init__(taxonomy.nodes, "tree", field=field)
        if separator is not None and not separator.strip():
            raise ConfigError(
                "is not allowed: at least one character that is no space",
                setting=setting_name("label_separator"),
                value=separator,
            )
        self.taxonomy, self.separator, self.multi_path = taxonomy, separator, multi_path
        self._called: dict[str, list[int]] = defaultdict(list)
        for node, own in enumerate(zip(taxonomy.nodes, taxonomy.names, strict=True)):
            for word in dict.fromkeys(map(str.strip, own)):
                self._called[word].append(node)
        # Of each path that was read, its node.
        self._read: dict[_Path, int] = {}

    @classmethod
    def learn_tree(
        cls,
        examples: Sequence[Example],
        *,
        taxonomy: str | None = None,
        separator: str | None = None,
        field: str = "label",
        multi_path: bool = False,
        encoding: str = "utf-8",
    ) -> "TreeLabels":
        """The tree of a training corpus: that of a file, or what the documents' paths make.

        Raises:
            ConfigError: A separator of white space alone.
            DataError: No labels, or one path alone; the file cannot be read; a label that it lacks
                or contradicts; several parents or paths where there may be one; no node with a
                sibling.
        """
        labelled = [one for one in examples if _parts(one.fields["label"]) is not None]
        if not labelled:
            raise DataError(
                f"no document has a label in column {field!r}, from {examples[0].location} on"
            )
        if taxonomy is not None:
            columns = TaxonomyColumns(separator=separator or SEPARATOR)
            tree = read_taxonomy(taxonomy, columns, encoding)
        else:
            cut = cls(Taxonomy([""], [[]]), separator, field=field, multi_path=multi_path)
            places: dict[_Path, str] = {}
            for example in labelled:
                for own in cut._paths_of(example):
                    places.setdefault(own, example.location)
            tree = taxonomy_of_paths(places, separator or SEPARATOR)
            warn_of_similar(tree.nodes, field)
        learnt = cls(tree, separator, field=field, multi_path=multi_path)
        learnt._check_tree(taxonomy or f"the paths in column {field!r}")
        paths = [path for one in labelled if (path := learnt.encode(one))]
        if len({tuple(path) for path in paths}) < 2:
            raise DataError(
                f"all labels of column {field!r} are {quote(learnt.names[paths[0][-1]])}: there is "
                "nothing to learn",
                place=labelled[0].location,
            )
        learnt._tell(paths, len(examples))
        return learnt

    @override
    def written(self, separator: str | None, field: str) -> "TreeLabels":
        return type(self)(self.taxonomy, separator, field=field, multi_path=self.multi_path)

    @override
    def encode(self, example: Example) -> list[int] | None:
        """Numbers of all nodes of a document's path, from the top down; None: none is known.

        Of several paths ascending.

        Raises:
            UnknownLabel: A node that the tree lacks, or has elsewhere.
            DataError: A name of several nodes, several paths where there may be one, what is no
                text, a cell that looks like a list and cannot be read as one.
        """
        if _parts(example.fields["label"]) is None:
            return None
        nodes = [self._node(path, example) for path in self._paths_of(example)]
        above = [self.taxonomy.ancestors[node][::-1].tolist() for node in nodes]
        if not self.multi_path:
            return [*above[0], nodes[0]]
        return sorted({*nodes, *(one for own in above for one in own)})

    def _paths_of(self, example: Example) -> list[_Path]:
        """What a cell names: at least one path, or node, which is a path of one name."""
        parts = _parts(example.fields["label"])
        assert parts is not None
        if isinstance(parts, list) and not (self.multi_path or isinstance(parts[0], list)):
            return [self._names(parts, example)]
        each = parts if isinstance(parts, list) else [parts]
        if len(each) > 1 and not self.multi_path:
            raise self._refused(example, f", several paths; {_MULTI_PATH}, or give one")
        found = []
        for part in each:
            if isinstance(part, str) and part.strip() not in self._called:
                if part is parts and part.lstrip().startswith("[") and looks_like_a_list(part):
                    raise self._refused(
                        example,
                        ", which looks like a list and cannot be read as one; write lists of "
                        'texts, ["a", "b"]',
                    )
                part = names_of(part, self.separator or SEPARATOR)
            found.append(self._names(part if isinstance(part, list) else [part], example))
        return found

    def _names(self, parts: list[Any], example: Example) -> _Path:
        names = []
        for part in parts or [None]:
            if isinstance(part, float) and math.isfinite(part) and part.is_integer():
                part = int(part)
            is_name = isinstance(part, str) and part.strip()
            if not is_name and (not isinstance(part, int) or isinstance(part, bool)):
                raise self._refused(
                    example,
                    f"; {quote(part) if parts else 'an empty path'} in it is not allowed: only "
                    "names of nodes, texts or whole numbers",
                )
            names.append(str(part).strip())
        return tuple(names)

    def _node(self, path: _Path, example: Example) -> int:
        """The node at the end of a path."""
        if path in self._read:
            return self._read[path]
        called = self._called.get(path[-1], [])
        found = [node for node in called if len(path) == 1 or self._is_at(node, path)]
        if len(path) == 1 and len(found) > 1:
            # An id is one node's alone.
            found = [node for node in found if self.names[node] == path[0]] or found
        if not called:
            raise UnknownLabel(
                f"column {self.field!r} has {_worded(path)}, and the tree has no node "
                f"{quote(path[-1])}{did_you_mean(path[-1], self._near(path[-1]))}; in training "
                "data.taxonomy names a tree with nodes that no training document has",
                place=example.location,
            )
        if not found:
            ways = sorted({self._way(node) for node in called})
            several = not self.multi_path and all(name in self._called for name in path)
            raise UnknownLabel(
                f"column {self.field!r} has {_worded(path)}, but the tree has {quote(path[-1])} at "
                f"{quote_all(ways)}" + f"; if these are several labels, {_MULTI_PATH}" * several,
                place=example.location,
            )
        if len(found) > 1:
            ways = sorted({self._way(node) for node in found})
            raise DataError(
                f"column {self.field!r} has {_worded(path)}, which the tree has at {len(found)} "
                f"places ({quote_all(ways)}); write the id, or the whole path",
                place=example.location,
            )
        return self._read.setdefault(path, found[0])

    def _is_at(self, node: int, path: _Path) -> bool:
        """Whether names, the last a node's own, lead to it from the top."""
        current = {node}
        parents = self.taxonomy.parents
        for name in path[-2::-1]:
            above = {int(one) for own in current for one in parents[own]}
            current = {one for one in above if name in (self.names[one], self.taxonomy.names[one])}
        return any(not len(parents[one]) for one in current)

    def _way(self, node: int) -> str:
        names = self.taxonomy.names
        return (self.separator or SEPARATOR).join(names[one] for one in self.taxonomy.path(node))

    def _near(self, name: str) -> list[str]:
        """Names to compare one with: of many, those that begin or end like it, by their length."""
        if len(self._called) <= _MOST_COMPARED:
            return list(self._called)
        start, end = name[:2].lower(), name[-2:].lower()
        alike = [one for one in self._called if one[:2].lower() == start or one[-2:].lower() == end]
        return sorted(alike, key=lambda one: abs(len(one) - len(name)))

    def _refused(self, example: Example, problem: str) -> DataError:
        cell = quote(example.fields["label"])
        return DataError(f"column {self.field!r} holds {cell}{problem}", place=example.location)

    def _check_tree(self, place: str) -> None:
        tree = self.taxonomy
        if not tree.is_tree and not self.multi_path:
            node = int(np.argmax(tree.parents.lengths))
            above = [tree.nodes[one] for one in tree.parents[node]]
            raise DataError(
                f"node {quote(tree.nodes[node])} has several parents, {quote_all(above)}; "
                f"{_MULTI_PATH}, or leave one",
                place=place,
            )
        if len(tree.top) < 2 and not (tree.children.lengths > 1).any():
            raise DataError(
                f"no node has a sibling ({len(tree):,} in a row): there is nothing to decide",
                place=place,
            )
        if len(tree) > _MANY_NODES:
            log.warning(
                f"{place}: {len(tree):,} nodes: the output layer has a row of weights for each, "
                f"{room_of(len(tree))}"
            )
        if len(tree.top) == len(tree):
            lists = "lists of such lists" if self.multi_path else "lists of names"
            flat = DataError(
                f"no node is above another, so this is no tree; paths are {lists}, or texts with "
                f"{quote(self.separator or SEPARATOR)} ({setting_name('label_separator')}) between "
                "the names",
                place=place,
            )
            log.warning(flat.worded())

    def _tell(self, paths: Sequence[list[int]], documents: int) -> None:
        """Log what the tree is, and what of it the training documents have."""
        tree = self.taxonomy
        is_leaf = tree.children.lengths == 0
        seen = np.zeros(len(tree), bool)
        seen[[node for path in paths for node in path]] = True
        facts = [
            f"a tree of {len(tree):,} nodes in column {self.field!r}, {int(is_leaf.sum()):,} of "
            f"them leaves, on {int(tree.levels.max()):,} levels",
            f"leaves of no training document: {int((is_leaf & ~seen).sum()):,}",
        ]
        if not self.multi_path and (inner := sum(not is_leaf[path[-1]] for path in paths)):
            facts.append(f"documents that end above a leaf: {inner:,}")
        if blank := documents - len(paths):
            facts.append(f"unknown (blank) for {blank:,} of {documents:,} documents")
        log.info(f"labels: {'; '.join(facts)}")


def _parts(cell: Any) -> Any:
    """A cell as it is, the list that it spells, or None where it names nothing."""
    if isinstance(cell, str):
        spelled = list_in(cell, of_lists=True)
        if spelled is None:
            return cell if cell.strip() else None
        cell = spelled
    return None if isinstance(cell, list) and all(one == [] for one in cell) else cell


def _worded(path: _Path) -> str:
    if len(path) == 1:
        return f"the label {quote(path[0])}"
    return f"the path {quote(SEPARATOR.join(path))}"
