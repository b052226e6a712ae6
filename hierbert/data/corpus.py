"""Rows as examples: which column is the text, the label, the summary, the id.

It checks each row's types and that no id occurs twice; what labels mean is for `labels`. Invariant:
every example has an id of its own and the place it came from, and examples stream: of those gone by
only a hash of the id is kept.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, overload

from hierbert.data.broken import BrokenRow, RowError
from hierbert.data.messages import (
    Setting,
    config_setting,
    did_you_mean,
    listed,
    shown,
    type_name,
)
from hierbert.data.readers import Row, broken_rest, read_rows, row_location
from hierbert.data.sources import Source, file_format, resolve_sources
from hierbert.errors import DataError

Text = str | list[str] | list[list[str]]

# Formats whose rows all have the same columns.
_TABLES = ("csv", "tsv", "parquet", "txt", "folder", "hub", "package")
_NUMBER_BITS = 40


@dataclass(frozen=True)
class Columns:
    """Which column holds what.

    Attributes:
        text: The document.
        label: Its label or labels; None reads no labels.
        summary: Its reference summary; None reads no summaries.
        id: Its id; None takes the column ``id`` where there is one and makes ids where not; empty
            makes ids always.
    """

    text: str = "text"
    label: str | None = None
    summary: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Example:
    """One document of a corpus.

    Attributes:
        id: Unlike that of any other example of the corpus.
        text: The whole text, or its sentences or segments as the corpus cut them, or sentences
            within segments. May be empty.
        label: As the corpus holds it: a string, number, boolean or list; None when it has none.
        summary: The reference summary; None when it has none.
        location: Where it came from, for messages: ``docs.jsonl, line 3``.
    """

    id: str
    text: Text
    label: Any
    summary: str | None
    location: str


@overload
def read_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = ...,
    setting: Setting = ...,
    input_format: str = ...,
    keep_broken: Literal[False] = ...,
) -> Iterator[Example]: ...
@overload
def read_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = ...,
    setting: Setting = ...,
    input_format: str = ...,
    keep_broken: bool,
) -> Iterator[Example | BrokenRow]: ...
def read_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
    input_format: str = "jsonl",
    keep_broken: bool = False,
) -> Iterator[Example | BrokenRow]:
    """Stream the examples of one or several sources.

    Sources are found at once, rows read while iterating. Made ids are the file's name without its
    ending and the row's number, ``docs-17``; where two files would share that name, all ids of the
    corpus are made from names with their endings or, if need be, whole paths. The ids of texts in
    folders are their paths in the folder, and with the folder's name before them when there are
    several folders.

    Args:
        spec: Path, glob, folder, Hub dataset, or a list of them: see `resolve_sources`.
        columns: Which column holds what.
        field: The setting that holds `spec`, for messages: ``data.train``, ``--input``.
        role: ``train``, ``validation``, ``test`` or ``input``.
        encoding: Of text files.
        setting: How the user writes the settings that messages advise to change.
        input_format: The format of standard input.
        keep_broken: Whether a broken row becomes a `BrokenRow` and reading goes on with the next.
            A row whose id occurs twice is broken, and the first that has it is not. What costs the
            rest of a file, or all of it (see `read_rows`; also a table without the columns asked
            for, and a file without rows), is one `BrokenRow`; other files go on. The same input
            gives the same number of items in the same order on every reading.

    Returns:
        An iterator over the examples, in the sources' order.

    Raises:
        ConfigError: See `resolve_sources` and `read_rows`.
        DataError: At once for what cannot be found; while iterating for a source without rows,
            a missing column, a value of the wrong type, an id that occurs twice. With
            `keep_broken`, while iterating, only for what `read_rows` still raises.
    """
    sources = resolve_sources(spec, field, role, input_format=input_format)
    return _read_sources(sources, columns, encoding, setting, keep_broken)


def load_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
) -> list[Example]:
    """Read all the examples of one or several sources: a list of at least one.

    Arguments and errors are those of `read_examples`.
    """
    return list(
        read_examples(spec, columns, field=field, role=role, encoding=encoding, setting=setting)
    )


def read_one_source(
    sources: list[Source],
    index: int,
    columns: Columns,
    *,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
    keep_broken: bool = False,
) -> Iterator[Example | BrokenRow]:
    """Stream the examples of one of several sources, with the ids they have among all of them.

    So that several processes can share the sources; who does must look for himself for ids that
    occur in two of them.

    Args:
        sources: What `resolve_sources` returned.
        index: Which of them to read.
        columns: Which column holds what.
        encoding: Of text files.
        setting: How the user writes the settings that messages advise to change.
        keep_broken: As for `read_examples`.

    Returns:
        An iterator over its examples, in order; errors are those of `read_examples`.
    """
    return _read_sources(sources, columns, encoding, setting, keep_broken, only=index)


def _read_sources(
    sources: list[Source],
    columns: Columns,
    encoding: str,
    setting: Setting,
    keep_broken: bool,
    only: int | None = None,
) -> Iterator[Example | BrokenRow]:
    names = _names_for_ids(sources)
    several_folders = sum(source.format == "folder" for source in sources) > 1
    places: dict[int, int] = {}  # hash of an id -> source's index and row's number, in one integer
    for index, source in enumerate(sources):
        if only not in (None, index):
            continue
        seen_columns: dict[str, None] = {}
        row: Row | BrokenRow | None = None
        for row in read_rows(source, encoding, setting=setting, keep_broken=keep_broken):
            if isinstance(row, BrokenRow):
                yield row
                continue
            parser = _RowParser(row, source, columns, setting)
            example_id = None
            try:
                _check_columns(row, source, columns, seen_columns, setting)
                example_id = parser.id(names[index], several_folders)
                example = Example(
                    example_id, parser.text(), parser.label(), parser.summary(), row.location
                )
                key = _hash(example_id)
                if key in places:
                    first = places[key]
                    first_place = row_location(
                        sources[first >> _NUMBER_BITS], first & ((1 << _NUMBER_BITS) - 1)
                    )
                    raise _id_twice(example_id, first_place, row, source, setting)
            except _TableError as error:
                if not keep_broken:
                    raise
                yield broken_rest(error, source, row.number - 1)
                break
            except RowError as error:
                if not keep_broken:
                    raise
                if example_id is None:
                    example_id = parser.id_if_any(names[index], several_folders)
                yield error.as_row(example_id)
                continue
            places[key] = index << _NUMBER_BITS | row.number
            yield example
        else:
            missing = _missing_in_all(source, row, columns, seen_columns, setting)
            if missing is not None:
                if not keep_broken:
                    raise missing
                yield BrokenRow(None, source.name, missing.reason)


class _TableError(DataError):
    """What one row of a table lacks, and so all of them."""


def _id_twice(
    example_id: str, first_place: str, row: Row, source: Source, setting: Setting
) -> RowError:
    twice = f"the id {shown(example_id)} occurs twice"
    advice = (
        f"ids must differ: set {setting('id_column')} to another column, or to an empty string to "
        "have ids made"
    )
    error = RowError(source.field, row.location, f": {twice}, first in {first_place}; {advice}")
    error.args = (f"{source.field}: {twice}: {first_place}, and {row.location}; {advice}",)
    return error


def _missing_in_all(
    source: Source,
    last: Row | BrokenRow | None,
    columns: Columns,
    seen: dict[str, None],
    setting: Setting,
) -> RowError | None:
    """Give what is wrong with a source as a whole, once its rows are read."""
    if last is None:
        return RowError(source.field, repr(source.name), " holds no rows")
    for name, column in (("label_column", columns.label), ("summary_column", columns.summary)):
        # Where no row could be read, that has been said already.
        if column is not None and column not in seen and seen:
            return _missing(source.name, source, name, column, seen, setting)
    return None


def _check_columns(
    row: Row, source: Source, columns: Columns, seen: dict[str, None], setting: Setting
) -> None:
    # A JSON object may leave out a null, so a label or summary is missed only when no row has it.
    is_first = not seen
    wanted = (columns.label, columns.summary)
    for name in row.values:
        if is_first or name in wanted:
            seen[name] = None
    required = {"text_column": columns.text, "id_column": columns.id or None}
    is_table = source.format in _TABLES
    if is_first and is_table:
        required |= {"label_column": columns.label, "summary_column": columns.summary}
    for name, column in required.items():
        if column is not None and column not in row.values:
            error = _missing(row.location, source, name, column, row.values, setting)
            raise _TableError(str(error)) if is_table else error


def _missing(
    place: str,
    source: Source,
    name: str,
    column: str,
    there: dict[str, Any],
    setting: Setting,
) -> RowError:
    near = did_you_mean(column, there)
    return RowError(
        source.field,
        place,
        f" has no column {column!r}; its columns are "
        f"{listed(there) or 'none'}; set {setting(name)} to one of them{near}",
    )


def _hash(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _names_for_ids(sources: list[Source]) -> list[str]:
    """Name each source for the ids made of its rows, as shortly as tells all sources apart."""
    paths = ["stdin" if source.name == "standard input" else source.name for source in sources]
    bases = [os.path.basename(path.rstrip("/")) for path in paths]
    stems = [_stem(base) if file_format(base) else base for base in bases]
    for names in (stems, bases):
        if len(set(names)) == len(names):
            return names
    return paths


def _stem(name: str) -> str:
    base, ending = os.path.splitext(name)
    return os.path.splitext(base)[0] if ending.lower() == ".gz" else base


class _RowParser:
    """The values of one row, each checked for its type."""

    def __init__(self, row: Row, source: Source, columns: Columns, setting: Setting) -> None:
        self._row = row
        self._source = source
        self._columns = columns
        self._setting = setting

    def text(self) -> Text:
        value = self._row.values[self._columns.text]
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            if all(isinstance(item, str) for item in value):
                return value
            if all(isinstance(item, list) for item in value) and all(
                isinstance(part, str) for item in value for part in item
            ):
                return value
        allowed = "a string, a list of strings or a list of lists of strings"
        if _is_null(value):
            allowed += '; an empty document must be ""'
        raise self._error(self._columns.text, value, allowed)

    def label(self) -> Any:
        if self._columns.label is None:
            return None
        value = self._row.values.get(self._columns.label)
        if _is_null(value) or (isinstance(value, str) and not value.strip()):
            return None
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | bool | int | float) or _is_null(item):
                allowed = "a string, a number, a boolean, a list of those, or null for no label"
                raise self._error(self._columns.label, value, allowed)
        return value

    def summary(self) -> str | None:
        if self._columns.summary is None:
            return None
        value = self._row.values.get(self._columns.summary)
        if _is_null(value):
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = "\n".join(value)
        if not isinstance(value, str):
            allowed = "a string, a list of strings, or null for no summary"
            raise self._error(self._columns.summary, value, allowed)
        return value if value.strip() else None

    def id(self, source_name: str, several_folders: bool) -> str:
        column = "id" if self._columns.id is None else self._columns.id
        value = self._row.values.get(column) if column else None
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # how parquet and pandas hold a whole number beside a missing one
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value:
            prefix = self._source.format == "folder" and several_folders
            return f"{source_name}/{value}" if prefix else value
        is_missing = _is_null(value) or value == ""
        if not is_missing or self._columns.id:
            raise self._error(column, value, "a string that is not empty or a whole number")
        return f"{source_name}-{self._row.number}" if self._row.unit else source_name

    def id_if_any(self, source_name: str, several_folders: bool) -> str | None:
        """Give the id of a row that is broken elsewhere."""
        if self._columns.id and self._columns.id not in self._row.values:
            return None
        try:
            return self.id(source_name, several_folders)
        except RowError:
            return None

    def _error(self, column: str, value: object, allowed: str) -> RowError:
        return RowError(
            self._source.field,
            self._row.location,
            f": column {column!r} holds {shown(value)} ({type_name(value)}); allowed is {allowed}",
        )


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
