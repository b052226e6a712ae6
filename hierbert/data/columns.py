"""Which column of a row is the text, the id, the label, the summary, or another field.

Invariant: a value that comes out has one of the types that its field may have.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hierbert.data.document import Example, Row, RowError, Source, Text
from hierbert.data.readers import READERS, delimiter_hint, file_format
from hierbert.errors import (
    ConfigError,
    DataError,
    did_you_mean,
    quote,
    quote_all,
    setting_name,
    type_name,
)


@dataclass(frozen=True)
class Columns:
    """Which column holds what.

    Where files differ the text's column has alternatives in order, ``text|body``, some of one file
    alone, ``a.csv=body|text``. A file that none of them is of has it in ``text``.
    """

    text: str = "text"
    # Its id; None takes the column ``id`` where there is one and makes ids where not; empty makes
    # ids always.
    id: str | None = None
    # Columns of what else is read, by the field's name: "label", "summary", or any other that a
    # task or a feature reads. Of several columns, a list, the field is a mapping of them to what
    # they hold.
    fields: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    delimiter: str | None = None  # Between the fields of csv files; None where their header tells.
    # Columns that go into the answers as they are, by the name they have there.
    kept: Mapping[str, str] = field(default_factory=dict)
    # What fields are where a row has nothing in their column, by name, else None.
    blanks: Mapping[str, Any] = field(default_factory=dict)

    def text_of(self, source: Source, there: Container[str]) -> str:
        """The column of the text in a source, of those that are there; as named where none is."""
        # So it is in nearly every row.
        if self.text in there:
            return self.text
        names = columns_of_text(self.text, source.name)
        missing = names[0] if len(names) == 1 else self.text
        return next((name for name in names if name in there), missing)

    def refuse_other_files(self, sources: Iterable[Source]) -> None:
        """Refuse (ConfigError) an alternative of the text's column that is of none of the files."""
        there = {name for one in sources for name in (one.name, os.path.basename(one.name))}
        for alternative in self.text.split("|"):
            file, _ = _file_and_column(alternative)
            if file is not None and file not in there:
                raise ConfigError(
                    f"is of {file!r}, which is none of the files that are read"
                    f"{did_you_mean(file, there)}",
                    setting="text_column",
                    value=self.text,
                )


@dataclass(frozen=True)
class Field:
    """What a field may hold."""

    # Turns a column's value, not null, into the field's; a TypeError refuses it. None says that
    # there is none.
    value: Callable[[Any], Any]
    allowed: str  # What it takes, in words.


def _label(value: Any) -> Any:
    for part in value if isinstance(value, list) else [value]:
        # A list in a list is a path in a tree; what has no tree refuses it.
        for item in part if isinstance(part, list) and part is not value else [part]:
            if not isinstance(item, str | bool | int | float) or _is_null(item):
                raise TypeError
    return None if isinstance(value, str) and not value.strip() else value


def _summary(value: Any) -> str | list[str] | None:
    """A reference, or several: the items of a list, each a text or a list of its sentences."""
    if isinstance(value, str):
        return value if value.strip() else None
    if not isinstance(value, list):
        raise TypeError
    references = [_summary("\n".join(item) if _are_strings(item) else item) for item in value]
    if not all(reference is None or isinstance(reference, str) for reference in references):
        raise TypeError
    there = [reference for reference in references if isinstance(reference, str)]
    if len(there) > 1:
        return there
    return there[0] if there else None


def _text_or_none(value: Any) -> str | None:
    if not isinstance(value, str):
        raise TypeError
    return value if value.strip() else None


FIELDS = {
    "label": Field(
        _label,
        "a string, a number, a boolean, a list of those (in a tree also a list of paths, which are "
        "lists of them), or null for no label",
    ),
    "summary": Field(
        _summary,
        "a string, a list of references (each a string or a list of its sentences), or null for "
        "no summary",
    ),
}
"""Fields whose column has a setting of its own, ``label_column``; others may hold anything."""

SETTLED = ("text", "id", *FIELDS)
"""Names that columns of other fields cannot have."""


def _spans(value: Any) -> list[list[int]] | None:
    """Parts of a text that people marked, also as JSON in a cell; an empty list is none of it."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            raise TypeError from None
    if value is not None and not (isinstance(value, list) and all(map(_is_span, value))):
        raise TypeError
    return value


def _is_span(value: Any) -> bool:
    is_pair = isinstance(value, list) and [type(place) for place in value] == [int, int]
    return is_pair and 0 <= value[0] < value[1]


_ANY = Field(lambda value: value, "anything")
_KINDS = FIELDS | {
    "query": Field(_text_or_none, "a string, or null for no question"),
    "spans": Field(_spans, "a list of [start, end] with 0 <= start < end, or null where unknown"),
}


def check_columns(
    given: Any, read: Collection[str] | None = None, may_lack: Collection[str] = ()
) -> Mapping[str, Any]:
    """Refuse (ConfigError) columns of further fields that make no sense, whoever gives them.

    `given` should be the column of each field, by the field's name; `read` are the fields that
    something reads, None where that is not known yet, and `may_lack` those whose column may be
    None.
    """
    if not isinstance(given, Mapping):
        allowed = "a mapping of fields to columns"
        raise ConfigError(f"is {type_name(given)}", setting="data.columns", allowed=allowed)
    for name, column in given.items():
        if name in SETTLED:
            raise ConfigError(
                f"has the field {name!r}, whose column is {setting_name(f'{name}_column')}",
                setting="data.columns",
            )
        if read is not None and name not in read:
            raise ConfigError(
                f"{name!r} is a field that no task and no feature that is known here reads"
                f"{did_you_mean(str(name), read)}",
                place=setting_name(f"data.columns.{name}"),
            )
        if not isinstance(name, str) or not (
            isinstance(column, str) or (column is None and name in may_lack)
        ):
            raise ConfigError(
                f"has {quote(column)} ({type_name(column)}) for the field {name!r}",
                setting="data.columns",
                allowed="the name of a column",
            )
    return given


def label_blanks(empty_label: str) -> dict[str, Any]:
    """`Columns.blanks` where a blank label says "unknown", or that "none" applies."""
    return {"label": []} if empty_label == "none" else {}


def columns_of_text(text: str, source: str) -> list[str]:
    """The columns that may hold the text of a source, in order: of `Columns.text`, what is its."""
    pairs = map(_file_and_column, text.split("|"))
    own = [name for file, name in pairs if file in (None, source, os.path.basename(source))]
    return own or [Columns.text]


def _file_and_column(alternative: str) -> tuple[str | None, str]:
    """The file that an alternative of the text's column is of, None where of all, and the column.

    What stands before "=" is a file where it has the ending of one that can be read.
    """
    file, equals, name = alternative.partition("=")
    return (file, name) if equals and file_format(file) is not None else (None, alternative)


def field_setting(name: str) -> str:
    """The plain name of the setting that says which column holds a field."""
    return f"{name}_column" if name in FIELDS else f"data.columns.{name}"


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
        # Beside text and id, with the setting that names them.
        self._others = [
            *(
                (column, field_setting(name))
                for name, given in columns.fields.items()
                for column in ([given] if isinstance(given, str) else given)
            ),
            *((column, "keep_columns") for column in columns.kept.values()),
        ]
        # A JSON object may leave out a null, so a field is missed only when no row has it: these
        # are the columns of the first row, and those of the fields seen.
        self._seen: dict[str, None] = {}

    def check(self, row: Row) -> None:
        """Refuse a row that lacks a column: a RowError, or a DataError where every row lacks it."""
        columns, values = self._columns, row.values
        is_first = not self._seen
        for name in values if is_first else dict(self._others):
            if name in values:
                self._seen[name] = None
        text = columns.text_of(self._source, values)
        required = [(text, "text_column"), *([(columns.id, "id_column")] if columns.id else ())]
        if is_first and self._is_table:
            required += self._others
        for column, setting in required:
            if column not in values:
                kind = DataError if self._is_table else RowError
                message = _no_column(setting, column, values)
                if self._source.format == "csv":
                    message += delimiter_hint(values)
                raise kind(message, place=row.location, setting=setting)

    def missing(self) -> RowError | None:
        """What no row has, once all are read."""
        for column, setting in self._others:
            # Where no row could be read, that has been reported.
            if column not in self._seen and self._seen:
                message = _no_column(setting, column, self._seen)
                return RowError(message, place=self._source.name, setting=setting)
        return None

    def example(self, row: Row) -> Example:
        """Turn a row that has the columns into an example; a RowError names a value's type."""
        fields = {name: self._field(row, name, of) for name, of in self._columns.fields.items()}
        kept = {name: _plain(row.values.get(column)) for name, column in self._columns.kept.items()}
        return Example(self.row_id(row), self._text(row), fields, row.location, kept)

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

    def _field(self, row: Row, name: str, column: str | Sequence[str]) -> Any:
        """What a row has of a field; None or the field's blank where it has nothing."""
        if not isinstance(column, str):
            values = {one: self._field(row, name, one) for one in column}
            return None if all(value is None for value in values.values()) else values
        kind, value = _KINDS.get(name, _ANY), row.values.get(column)
        try:
            found = None if _is_null(value) else kind.value(value)
        except TypeError:
            raise _wrong(row, column, value, kind.allowed) from None
        return self._columns.blanks.get(name) if found is None else found

    def _text(self, row: Row) -> Text:
        column = self._columns.text_of(self._source, row.values)
        value = row.values[column]
        if isinstance(value, str) or _are_strings(value):
            return value
        if isinstance(value, list) and all(map(_are_strings, value)):
            return value
        allowed = "a string, a list of strings or a list of lists of strings"
        if _is_null(value):
            allowed += '; an empty document must be ""'
        raise _wrong(row, column, value, allowed)


def _plain(value: Any) -> Any:
    """A value as JSON holds it; what JSON has no form for, such as a date, as text."""
    return None if _is_null(value) else json.loads(json.dumps(value, default=str))


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
