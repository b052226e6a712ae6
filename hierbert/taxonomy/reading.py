"""Taxonomies from files: nodes with parents, pairs of parent and child, paths, or lines with tabs.

Any format of a corpus is read (see `hierbert.data.readers`); the columns say how the tree is
written. Invariant: what is doubtful is refused with its place, never guessed.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hierbert.data.document import Row, RowError
from hierbert.data.readers import READERS
from hierbert.data.sources import resolve_sources
from hierbert.errors import DataError, did_you_mean, quote, quote_all, type_name
from hierbert.taxonomy.tree import Taxonomy

SEPARATOR = " > "
"""Between the names of a path that is one text."""

_ROLE = "taxonomy"


@dataclass(frozen=True)
class TaxonomyColumns:
    """Which column holds what; None takes the first of the usual names that is there.

    Attributes:
        id: Of a node: "id", or "child".
        parent: Its parent, or a list of them: "parent", "parents". Nothing there is the top.
        path: Its path from the top: "path".
        name: What it is called: "name".
        text: What it is, in words: "text".
        separator: Between the names of a path that is one text.
    """

    id: str | None = None
    parent: str | None = None
    path: str | None = None
    name: str | None = None
    text: str | None = None
    separator: str = SEPARATOR


_USUAL = {
    "path": ("path",),
    "parent": ("parents", "parent"),
    "id": ("id", "child"),
    "name": ("name",),
    "text": ("text",),
}
_LAYOUTS = "id and parent, id and parents, parent and child, or path"


@dataclass
class _Found:
    """What was read so far: by the id of each node its parents, name, text, and where it stands."""

    parents: dict[str, dict[str, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


def read_taxonomy(
    source: str | os.PathLike[str] | list[Mapping[str, Any]],
    columns: TaxonomyColumns | None = None,
    encoding: str = "utf-8",
) -> Taxonomy:
    """Read a tree of labels.

    A row is a node with its parent or parents, a pair of parent and child, or a path, whose other
    nodes need no row of their own; a ``.txt`` file has lines of a parent and its children with
    tabs between them. Of paths the last name is the node's id, or, where any name stands at two
    places, the whole path is.

    Args:
        source: A file of any format of a corpus, or rows in memory.
        columns: Where the columns have other names.
        encoding: Of text files.

    Raises:
        DataError: A file or row that cannot be read, columns that say of no tree, a node without
            an id or with two, a parent that is no node, a circle.
    """
    columns = columns or TaxonomyColumns()
    place = os.fsdecode(source) if isinstance(source, str | os.PathLike) else "the list handed in"
    rows = list(_rows(source, encoding))
    if not rows:
        raise DataError("holds no node of a taxonomy", place=place)
    found = _Found()
    paths: dict[tuple[str, ...], tuple[str, Mapping[str, Any]]] = {}
    read_row = _reader_of(rows, columns, found, paths)
    for row in rows:
        read_row(row.values, row.location)
    _add_paths(paths, columns, found)
    return _taxonomy_of(found, place)


def taxonomy_of_paths(paths: Mapping[tuple[str, ...], str], separator: str = SEPARATOR) -> Taxonomy:
    """The tree that paths from the top make, whatever their order; each with its place.

    Raises:
        DataError: Two paths are written alike.
    """
    found = _Found()
    said: Mapping[str, str] = {}
    each = {path: (paths[path], said) for path in sorted(paths)}
    _add_paths(each, TaxonomyColumns(separator=separator), found)
    return _taxonomy_of(found, "the paths of the documents")


def _taxonomy_of(found: _Found, place: str) -> Taxonomy:
    numbers = {node: number for number, node in enumerate(found.parents)}
    for node, parents in found.parents.items():
        for parent, where in parents.items():
            if parent not in numbers:
                raise DataError(
                    f"node {quote(node)} has the parent {quote(parent)}, which is no node"
                    f"{did_you_mean(parent, numbers)}",
                    place=where,
                )
    try:
        return Taxonomy(
            numbers,
            [[numbers[parent] for parent in parents] for parents in found.parents.values()],
            [found.names.get(node, node) for node in numbers],
            [found.texts.get(node) for node in numbers],
        )
    except DataError as error:
        raise DataError(error.message, place=place) from error


def _rows(source: Any, encoding: str) -> Iterator[Row]:
    for one in resolve_sources(source, _ROLE):
        if one.format == "txt":
            for row in READERS["txt"].read(one, encoding):
                assert isinstance(row, Row)
                yield from _tab_lines(row)
            continue
        for found in READERS[one.format].read(one, encoding):
            if isinstance(found, RowError):
                raise DataError(found.message, place=found.place)
            yield found


def _tab_lines(file: Row) -> Iterator[Row]:
    """Of each line, of a parent and its children, a row for each pair; a line of one is the top."""
    for number, line in enumerate(file.values["text"].splitlines(), 1):
        place = f"{file.location}, line {number}"
        parent, *children = (part.strip() for part in line.split("\t"))
        if not line.strip():
            continue
        for child in children or [None]:
            yield Row({"parent": parent, "child": child}, place, number)


def _reader_of(
    rows: list[Row],
    columns: TaxonomyColumns,
    found: _Found,
    paths: dict[tuple[str, ...], tuple[str, Mapping[str, Any]]],
) -> Callable[[Mapping[str, Any], str], None]:
    """What reads a row, by the columns that there are."""
    first, there = rows[0], dict.fromkeys(name for row in rows for name in row.values)
    known = {
        kind: getattr(columns, kind) or next((name for name in usual if name in there), None)
        for kind, usual in _USUAL.items()
    }
    for kind in _USUAL:
        own = getattr(columns, kind)
        if own is not None and own not in there:
            raise DataError(
                f"there is no column {quote(own)}{did_you_mean(own, there)}",
                place=first.location,
                allowed=quote_all(there),
            )
    path, node, parent = known["path"], known["id"], known["parent"]
    if columns.parent is None and path is not None:

        def read_path(values: Mapping[str, Any], place: str) -> None:
            paths_of = _path_of(values.get(path), columns.separator, path, place)
            paths.setdefault(paths_of, (place, _said(values, known)))

        return read_path
    if node is None or parent is None or node == parent:
        raise DataError(
            f"columns {quote_all(there)} say of no tree",
            place=first.location,
            allowed=f"{_LAYOUTS}; or name the columns",
        )
    are_pairs = node == "child"
    # Where some rows have one of the usual names and some the other, none is passed over.
    ups = (
        [name for name in _USUAL["parent"] if name in there] if columns.parent is None else [parent]
    )

    def read_node(values: Mapping[str, Any], place: str) -> None:
        above = [
            _id_of(one, up, place)
            for up in ups
            for one in _list_of(values.get(up))
            if not _is_blank(one)
        ]
        own = values.get(node)
        if are_pairs:
            for one in above:
                found.parents.setdefault(one, {})
                found.places.setdefault(one, place)
            if _is_blank(own):
                return
        own = _id_of(own, node, place)
        if not are_pairs and own in found.parents:
            raise DataError(
                f"node {quote(own)} was there before, in {found.places[own]}; several parents are "
                "a list in one row",
                place=place,
            )
        if own in above:
            raise DataError(f"node {quote(own)} is its own parent", place=place)
        parents = found.parents.setdefault(own, {})
        for one in above:
            parents.setdefault(one, place)
        found.places.setdefault(own, place)
        _keep_said(own, _said(values, known), found)

    return read_node


def _add_paths(
    paths: Mapping[tuple[str, ...], tuple[str, Mapping[str, Any]]],
    columns: TaxonomyColumns,
    found: _Found,
) -> None:
    """Nodes from paths, each with those above it."""
    nodes: dict[tuple[str, ...], str] = {}
    for path, (place, _) in paths.items():
        # From below, so that of many paths with the same beginning that is met once.
        for length in range(len(path), 0, -1):
            if path[:length] in nodes:
                break
            nodes[path[:length]] = place
    last = Counter(path[-1] for path in nodes)
    repeats = any(count > 1 for count in last.values())

    def id_of(path: tuple[str, ...]) -> str:
        return columns.separator.join(path) if repeats else path[-1]

    for path in sorted(nodes, key=len):
        own, place = id_of(path), nodes[path]
        if own in found.parents:
            raise DataError(
                f"two paths are written {quote(own)}; name a separator that is in no name",
                place=place,
            )
        found.parents[own] = {id_of(path[:-1]): place} if len(path) > 1 else {}
        found.names[own] = path[-1]
    for path, (_, said) in paths.items():
        _keep_said(id_of(path), said, found)


def names_of(path: str, separator: str) -> list[str]:
    """The names of a path in one text; between separators side by side there is an empty one."""
    # What follows a separator of spaces and a sign may be the space before the next.
    ends = separator[len(separator.rstrip()) :]
    parts = re.split(rf"{re.escape(separator.rstrip())}(?={re.escape(ends)})", path)
    return [part.strip() for part in parts]


def _path_of(value: Any, separator: str, column: str, place: str) -> tuple[str, ...]:
    parts = value
    if isinstance(value, str):
        parts = names_of(value, separator)
    if not isinstance(parts, list) or not parts or any(_is_blank(one) for one in parts):
        raise DataError(
            f"column {quote(column)} holds {quote(value)} ({type_name(value)})",
            place=place,
            allowed=f"a list of names from the top, or one text with {separator!r} between them",
        )
    return tuple(_id_of(one, column, place) for one in parts)


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _id_of(value: Any, column: str, place: str) -> str:
    """An id as text: a whole number is one too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"column {quote(column)} holds {quote(value)} ({type_name(value)})",
            place=place,
            allowed="the id of a node, a text or a whole number",
        )
    return value.strip()


def _said(values: Mapping[str, Any], known: Mapping[str, str | None]) -> dict[str, str]:
    """The name and the text of a row, where it has them."""
    return {
        kind: value
        for kind in ("name", "text")
        if (column := known[kind]) is not None
        and isinstance(value := values.get(column), str)
        and value.strip()
    }


def _keep_said(node: str, said: Mapping[str, str], found: _Found) -> None:
    if "name" in said:
        found.names[node] = said["name"]
    if "text" in said:
        found.texts[node] = said["text"]
