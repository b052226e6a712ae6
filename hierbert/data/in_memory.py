"""Documents in memory: rows and texts that a program hands in, checked as those of files are.

Invariant: a row is copied as it is read, so that nothing changes it afterwards; and what holds rows
is never taken for texts, nor the other way round.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hierbert.data.document import Row, RowError, Source, check_header
from hierbert.errors import (
    ConfigError,
    DataError,
    HierBertError,
    error_text,
    quote,
    quote_all,
    type_name,
)
from hierbert.model.documents import Document, DocumentLike, Texts, field_lacking, no_texts

_ROWS_OF_A_SLICE = 256
_PLAIN = (str, bool, int, float, type(None))
_ROWS = "a list of dicts, a datasets.Dataset, a pandas DataFrame, or any iterable of dicts"
_TEXTS = "texts: a list or another iterable of strings, or of lists of sentences"


def rows_given(given: Any, role: str) -> Source:
    """Make a source of rows in memory; made ids begin with `role`, the setting they are given for.

    A ConfigError for what holds no rows: None, bytes, one mapping, an open file, a number.
    """
    allowed = f"paths, or rows: {_ROWS}"
    if isinstance(given, Mapping):
        what = f"one mapping ({type(given).__name__}) with the keys {quote_all(given)}"
        raise ConfigError(f"is {what}", setting=role, allowed=allowed)
    # Bytes and the lines of a file are no rows.
    single = isinstance(given, str | bytes | bytearray | memoryview | io.IOBase | type)
    if single or not hasattr(given, "__iter__"):
        raise ConfigError(f"is {_what(given)}", setting=role, allowed=allowed)
    kind = "rows"
    if hasattr(given, "columns") and hasattr(given, "iloc"):
        kind = "frame"
    elif hasattr(given, "features") and hasattr(given, "column_names"):
        kind = "dataset"
    return Source(f"the {type(given).__name__} handed in", kind, given=given, stem=role)


def read_given(source: Source, encoding: str) -> Iterator[Row | RowError]:
    """Stream the rows of any iterable of mappings: see `readers.Reader`."""
    for number, values in enumerate(_checked(source.given, source.name, "row"), 1):
        place = f"row {number} of {source.name}"
        if isinstance(values, Mapping):
            yield Row(_plain(values), place, number)
        else:
            yield RowError(
                f"is {_what(values)}", place=place, allowed="a dict of column names and values"
            )


def read_frame(source: Source, encoding: str) -> Iterator[Row | RowError]:
    """Stream the rows of a pandas DataFrame: see `readers.Reader`."""
    frame = source.given
    check_header(map(str, frame.columns), source)
    for first in range(0, len(frame), _ROWS_OF_A_SLICE):
        part = frame.iloc[first : first + _ROWS_OF_A_SLICE]
        for number, values in enumerate(part.to_dict("records"), first + 1):
            yield Row(_plain(values), f"row {number} of {source.name}", number)


def read_dataset(source: Source, encoding: str) -> Iterator[Row | RowError]:
    """Stream the rows of a `datasets.Dataset`, its labels by name: see `readers.Reader`."""
    features = source.given.features or {}
    names = {column: found for column in features if (found := _class_names(features[column]))}
    for number, values in enumerate(_checked(source.given, source.name, "row"), 1):
        row = _plain(values)
        for column in names.keys() & row.keys():
            row[column] = _with_names(row[column], names[column])
        place = f"row {number}"
        of_hub = f"{source.name}, {place}"
        yield Row(row, of_hub if source.dataset else f"{place} of {source.name}", number)


def document_texts(documents: Texts, fields: Sequence[str] = ()) -> Iterator[DocumentLike]:
    """Turn what was handed in for texts into an iterator over them, each checked as it comes.

    There may be no end of them; `fields` are what the model reads of each beside the text. A
    DataError at once for what holds no texts: a table, a mapping, a path, bytes, None, an open
    file, a set; while iterating for one that is no text, lacks a field, or where the iterable
    raises, chained to that error.
    """
    if isinstance(documents, str | Document):
        documents = [documents]
    if what := no_texts(documents):
        raise DataError(f"is {what}", place="texts", allowed=_TEXTS)
    return _texts(documents, fields)


def _texts(documents: Iterable[Any], fields: Sequence[str]) -> Iterator[Any]:
    for number, document in enumerate(_checked(documents, "texts", "text")):
        text = document.text if isinstance(document, Document) else document
        if not _is_text(text, depth=2):
            raise DataError(
                f"is {_what(text)}" + (" of other things" if isinstance(text, list) else ""),
                place=f"texts[{number}]",
                allowed="a string, a list of strings or a list of lists of strings",
            )
        if lacking := field_lacking(document, fields):
            raise DataError(lacking, place=f"texts[{number}]")
        query = document.fields.get("query") if isinstance(document, Document) else None
        if not isinstance(query, str | None):
            raise DataError(
                f"has the query {quote(query)} ({type_name(query)})",
                place=f"texts[{number}]",
                allowed="a string, or None for no question",
            )
        yield document


def _is_text(part: Any, depth: int) -> bool:
    if isinstance(part, list | tuple) and depth:
        return all(_is_text(inner, depth - 1) for inner in part)
    return isinstance(part, str)


def _checked(given: Iterable[Any], name: str, unit: str) -> Iterator[Any]:
    """The items of an iterable; where it raises, an error says behind which of them."""
    number = 0
    try:
        for item in given:
            number += 1
            yield item
    except HierBertError:
        raise
    except Exception as error:
        after = f" after {unit} {number}" if number else f" before the first {unit}"
        raise DataError(
            f"raised {type(error).__name__}{after}: {error_text(error)}", place=name
        ) from error


def _what(given: Any) -> str:
    return "None" if given is None else type_name(given)


def _plain(value: Any) -> Any:
    """A copy in the types of JSON, as far as it has them: arrays are lists, NA is None."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def _class_names(feature: Any) -> list[str] | None:
    """The names of a ClassLabel, or of a list of them; None for any other feature."""
    inner = getattr(feature, "feature", feature)
    names = getattr(inner, "names", None)
    return list(names) if names is not None and hasattr(inner, "int2str") else None


def _with_names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    # The Hub's convention: -1 marks a label that is held back.
    return None if value is None or value < 0 else names[value]
