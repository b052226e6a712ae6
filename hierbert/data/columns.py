"""Which column of a row is the text, the label, the summary, the id.

It reads no file, and what labels mean is for `labels`. Invariant: a value that comes out has one of
the types that its column may have.
"""

import math
from dataclasses import dataclass
from typing import Any

from hierbert.data.broken import BrokenRow, RowError
from hierbert.data.rows import Row
from hierbert.data.sources import Source
from hierbert.errors import DataError, Setting, did_you_mean, quote, quote_all, type_name

Text = str | list[str] | list[list[str]]

# Formats whose rows all have the same columns.
_TABLES = ("csv", "tsv", "parquet", "txt", "folder", "hub", "package")


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


class TableError(DataError):
    """What one row of a table lacks, and so all of them."""


def check_columns(
    row: Row, source: Source, columns: Columns, seen: dict[str, None], setting: Setting
) -> None:
    """Refuse a row that lacks a column.

    Args:
        row: The row.
        source: Where it comes from.
        columns: Which columns are asked for.
        seen: Those that rows before it had; the row's own are added.
        setting: How the user writes the settings that messages advise to change.

    Raises:
        RowError: The row lacks a column that others may have.
        TableError: Every row of the source lacks it.
    """
    # A JSON object may leave out a null, so a label or summary is missed only when no row has it.
    values = row.values
    is_first = not seen
    if is_first:
        seen.update(dict.fromkeys(values))
    else:
        for name in (columns.label, columns.summary):
            if name is not None and name in values:
                seen[name] = None
        if columns.text in values and (not columns.id or columns.id in values):
            return
    required = {"text_column": columns.text, "id_column": columns.id or None}
    is_table = source.format in _TABLES
    if is_first and is_table:
        required |= {"label_column": columns.label, "summary_column": columns.summary}
    for name, column in required.items():
        if column is not None and column not in row.values:
            error = _missing(row.location, source, name, column, row.values, setting)
            raise TableError(str(error)) if is_table else error


def missing_in_all(
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
        f"{quote_all(there) or 'none'}; set {setting(name)} to one of them{near}",
    )


class RowParser:
    """The values of one row, each checked for its type: a wrong one is a `RowError`."""

    def __init__(self, row: Row, source: Source, columns: Columns, setting: Setting) -> None:
        self._row = row
        self._source = source
        self._columns = columns
        self._setting = setting

    def text(self) -> Text:
        """Give the document."""
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
        """Give its label or labels; None when it has none."""
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
        """Give its reference summary; None when it has none."""
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
        """Give the row's id, or make one."""
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
            f": column {column!r} holds {quote(value)} ({type_name(value)}); allowed is {allowed}",
        )


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
