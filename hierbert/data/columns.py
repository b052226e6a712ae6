"""Which column of a row is the text, the label, the summary, the id.

Invariant: a value that comes out has one of the types that its column may have.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hierbert.data.document import Example, Row, RowError, Source, Text
from hierbert.data.readers import READERS
from hierbert.errors import DataError, did_you_mean, quote, quote_all, setting_name, type_name


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


class SourceColumns:
    """The columns of one source: its rows become examples, each value checked for its type.

    Made ids begin with `name`, those that a row has itself with `id_prefix`.
    """

    def __init__(self, source: Source, columns: Columns, name: str, id_prefix: str = "") -> None:
        self._source = source
        self._columns = columns
        self._name = name
        self._id_prefix = id_prefix
        self._is_table = READERS[source.format].is_table
        # A JSON object may leave out a null, so a label or summary is missed only when no row has
        # it: these are the columns of the first row, and those of the labels and summaries seen.
        self._seen: dict[str, None] = {}

    def check(self, row: Row) -> None:
        """Refuse a row that lacks a column.

        Raises:
            RowError: The row lacks a column that others may have.
            DataError: Every row of the source lacks it.
        """
        columns, values = self._columns, row.values
        is_first = not self._seen
        self._seen |= {
            name: None
            for name in (values if is_first else (columns.label, columns.summary))
            if name is not None and name in values
        }
        required = {"text_column": columns.text, "id_column": columns.id or None}
        if is_first and self._is_table:
            required |= {"label_column": columns.label, "summary_column": columns.summary}
        for setting, column in required.items():
            if column is not None and column not in values:
                kind = DataError if self._is_table else RowError
                raise kind(_no_column(setting, column, values), place=row.location, setting=setting)

    def missing(self) -> DataError | None:
        """What no row has, once all are read."""
        columns = {"label_column": self._columns.label, "summary_column": self._columns.summary}
        for setting, column in columns.items():
            # Where no row could be read, that has been reported.
            if column is not None and column not in self._seen and self._seen:
                message = _no_column(setting, column, self._seen)
                return DataError(message, place=self._source.name, setting=setting)
        return None

    def example(self, row: Row) -> Example:
        """Turn a row that has the columns into an example; a RowError names a value's type."""
        row_id = self.row_id(row)
        return Example(row_id, self._text(row), self._label(row), self._summary(row), row.location)

    def row_id(self, row: Row) -> str:
        """The row's id, or one made; a RowError where it has none and must, or one that is none."""
        column = "id" if self._columns.id is None else self._columns.id
        value = row.values.get(column) if column else None
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # how parquet and pandas hold a whole number beside a missing one
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value:
            return self._id_prefix + value
        if self._columns.id or not (_is_null(value) or value == ""):
            raise _wrong(row, column, value, "a string that is not empty or a whole number")
        return f"{self._name}-{row.number}" if row.number else self._name

    def _text(self, row: Row) -> Text:
        value = row.values[self._columns.text]
        if isinstance(value, str) or _are_strings(value):
            return value
        if isinstance(value, list) and all(map(_are_strings, value)):
            return value
        allowed = "a string, a list of strings or a list of lists of strings"
        if _is_null(value):
            allowed += '; an empty document must be ""'
        raise _wrong(row, self._columns.text, value, allowed)

    def _label(self, row: Row) -> Any:
        if self._columns.label is None:
            return None
        value = row.values.get(self._columns.label)
        if _is_null(value) or (isinstance(value, str) and not value.strip()):
            return None
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | bool | int | float) or _is_null(item):
                allowed = "a string, a number, a boolean, a list of those, or null for no label"
                raise _wrong(row, self._columns.label, value, allowed)
        return value

    def _summary(self, row: Row) -> str | None:
        if self._columns.summary is None:
            return None
        value = row.values.get(self._columns.summary)
        if _is_null(value):
            return None
        if isinstance(value, list) and _are_strings(value):
            value = "\n".join(value)
        if not isinstance(value, str):
            allowed = "a string, a list of strings, or null for no summary"
            raise _wrong(row, self._columns.summary, value, allowed)
        return value if value.strip() else None


def _no_column(setting: str, column: str, there: Iterable[str]) -> str:
    return (
        f"has no column {column!r}; its columns are {quote_all(there) or 'none'}; set "
        f"{setting_name(setting)} to one of them{did_you_mean(column, there)}"
    )


def _wrong(row: Row, column: str, value: object, allowed: str) -> RowError:
    return RowError(
        f"column {column!r} holds {quote(value)} ({type_name(value)})",
        place=row.location,
        allowed=allowed,
    )


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_null(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
