"""Rows out of files, folders, standard input, the Hub and packages, one at a time.

It gives values as the format holds them and knows nothing of columns or labels. Invariant: only a
JSON file is ever held whole; every other format streams, by line, by row, by file or by record
batch, and a row that cannot be read is a `DataError` that names its place, or a `BrokenRow`.
"""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast, overload

from hierbert.data.aclsum import read_aclsum
from hierbert.data.broken import BrokenRow, RowError
from hierbert.data.messages import Setting, config_setting, listed, shown, type_name
from hierbert.data.sources import Source, folder_labels, near_paths_hint, text_files
from hierbert.data.streams import (
    MAX_ROW_CHARACTERS,
    LongLineError,
    StreamClosedError,
    bad_byte,
    bad_byte_reason,
    check_encoding,
    lines,
    lines_of_any_end,
    text_pieces,
)
from hierbert.errors import DataError

_ROWS_PER_BATCH = 32
_MAX_COLUMNS_SHOWN = 20
_FILES = ("csv", "tsv", "jsonl", "json", "parquet", "txt", "folder")


@dataclass(frozen=True)
class Row:
    """One document's values, still as the file holds them.

    Attributes:
        values: Column name to value; of csv and tsv all values are strings.
        file: What messages call the file: its path as given, or the source's name.
        number: Counted from 1: the physical line of JSON Lines, the data row (the header not
            counted) of other formats, the place in the sorted listing of a text folder.
        unit: What `number` counts, ``line`` or ``row``; empty when the file is the document.
    """

    values: dict[str, Any]
    file: str
    number: int
    unit: str

    @property
    def location(self) -> str:
        """Where the row lies: ``docs.jsonl, line 3``, ``my.csv, row 17``, ``folder/a.txt``."""
        return f"{self.file}, {self.unit} {self.number}" if self.unit else self.file


class Reading:
    """One source as it is being read, and what becomes of its broken rows.

    Args:
        source: What is read.
        encoding: Of text files.
        setting: How the user writes the settings that messages advise to change.
        keep_broken: Whether a broken row is an item of its own, or ends the reading.
    """

    def __init__(
        self, source: Source, encoding: str, setting: Setting, keep_broken: bool = False
    ) -> None:
        self.source = source
        self.encoding = encoding
        self.setting = setting
        self.keep_broken = keep_broken
        self.last_broken = 0

    def broken(
        self, number: int, detail: str, cause: Exception | None = None, location: str = ""
    ) -> BrokenRow:
        """Give a broken row's item.

        Raises:
            RowError: Broken rows are not kept.
        """
        location = location or row_location(self.source, number)
        error = RowError(self.source.field, location, detail)
        if not self.keep_broken:
            raise error from cause
        self.last_broken = number
        return error.as_row()

    def refuse(self, detail: str, cause: Exception | None = None) -> NoReturn:
        """Refuse what of the source has not been read yet.

        Raises:
            DataError: Always.
        """
        raise DataError(f"{self.source.field}: {self.source.name}{detail}") from cause


@overload
def read_rows(
    source: Source,
    encoding: str = ...,
    *,
    setting: Setting = ...,
    keep_broken: Literal[False] = ...,
) -> Iterator[Row]: ...
@overload
def read_rows(
    source: Source, encoding: str = ..., *, setting: Setting = ..., keep_broken: bool
) -> Iterator[Row | BrokenRow]: ...
def read_rows(
    source: Source,
    encoding: str = "utf-8",
    *,
    setting: Setting = config_setting,
    keep_broken: bool = False,
) -> Iterator[Row | BrokenRow]:
    """Stream the rows of a source, in order.

    A source without rows gives none: whether that is a mistake is for the caller to say.

    Args:
        source: What `resolve_sources` returned.
        encoding: The encoding of csv, tsv, json, jsonl and txt; ``utf-8`` drops a byte order mark.
        setting: How the user writes the settings that messages advise to change.
        keep_broken: Whether a row that cannot be read becomes a `BrokenRow` and reading goes on
            with the next. What makes the rest of a file unreadable (damaged gzip or parquet, a
            quote that is never closed, a header that is none) becomes one `BrokenRow`, the last.

    Returns:
        An iterator that reads as it is consumed.

    Raises:
        ConfigError: The encoding is unknown.
        DataError: While iterating: what cannot be opened, unzipped, decoded or parsed. With
            `keep_broken` only what is no file's: the Hub, a package, a closed standard input.
    """
    check_encoding(encoding, setting)
    readers: dict[str, Callable[[Reading], Iterator[Row | BrokenRow]]] = {
        "csv": _read_csv,
        "tsv": _read_csv,
        "jsonl": _read_jsonl,
        "json": _read_json,
        "parquet": _read_parquet,
        "txt": _read_text,
        "folder": _read_folder,
        "hub": _read_hub,
        "package": _read_package,
    }
    reading = Reading(source, encoding, setting, keep_broken)
    rows = readers[source.format](reading)
    return _with_broken_rest(rows, reading) if keep_broken else rows


def _with_broken_rest(
    rows: Iterator[Row | BrokenRow], reading: Reading
) -> Iterator[Row | BrokenRow]:
    source = reading.source
    last = 0
    try:
        for row in rows:
            if isinstance(row, Row):
                last = row.number
            yield row
    except DataError as error:
        if source.format not in _FILES or isinstance(error, StreamClosedError):
            raise
        yield broken_rest(error, source, max(last, reading.last_broken))


def broken_rest(error: DataError, source: Source, last: int) -> BrokenRow:
    """Give the item that stands for the rest of a file.

    Args:
        error: Why it cannot be read.
        source: The file.
        last: The number of the last row that was read, whole or broken; 0 for none.
    """
    reason = str(error).removeprefix(f"{source.field}: ")
    reason = reason.removeprefix(source.name).removeprefix(repr(source.name)).lstrip(" ,:")
    if source.format == "txt":
        lost = ""
    elif last:
        unit = "line" if source.format == "jsonl" else "row"
        lost = f"; the rest of the file after {unit} {last} was not read"
    else:
        lost = "; nothing of the file was read"
    return BrokenRow(None, source.name, reason + lost)


def row_location(source: Source, number: int) -> str:
    """Find where row `number` of a source lies, without its values: see `Row.location`."""
    if source.format == "folder":
        assert source.path is not None
        return str(source.path / text_files(source.path, source.field)[number - 1])
    unit = {"jsonl": "line", "txt": ""}.get(source.format, "row")
    return Row({}, source.name, number, unit).location


class _Lines:
    """The physical lines of a table as `csv` takes them, watched for what it cannot tell."""

    def __init__(self, reading: Reading) -> None:
        marks = reading.keep_broken
        pieces = text_pieces(
            reading.source, reading.encoding, reading.setting, mark_bad_bytes=marks
        )
        self._lines = lines_of_any_end(pieces)
        self.quotes = 0
        self.bad_byte: int | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.quotes += line.count('"')
        if self.bad_byte is None:
            self.bad_byte = bad_byte(line)
        return line

    def start_row(self) -> None:
        """Forget the row before."""
        self.quotes = 0
        self.bad_byte = None


def _read_csv(reading: Reading) -> Iterator[Row | BrokenRow]:
    source = reading.source
    # The limit is the module's, not the reader's, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARACTERS))
    text = _Lines(reading)
    # The watch costs time, and only rows that are kept need it.
    watched = text if reading.keep_broken else text._lines
    table = csv.reader(watched, delimiter="\t" if source.format == "tsv" else ",", strict=True)
    header: list[str] | None = None
    number = last_line = 0
    while True:
        try:
            fields = next(table, None)
        except (csv.Error, LongLineError) as error:
            where = f", row {number + 1}" if header else ", the header"
            detail = f" ({_line_span(last_line + 1, table.line_num)}) is broken: {error}"
            # Quotes come in pairs. Where they do not, no one can tell text from the next row.
            can_go_on = isinstance(error, csv.Error) and text.quotes % 2 == 0
            if header is None or not can_go_on or not reading.keep_broken:
                reading.refuse(where + detail, error)
            number += 1
            yield reading.broken(number, detail, error)
            last_line = table.line_num
            text.start_row()
            continue
        if fields is None:
            return
        first_line, last_line = last_line + 1, table.line_num
        bad = text.bad_byte
        text.start_row()
        if not fields:
            continue
        if header is None:
            if bad is not None:
                reading.refuse(f", the header {_not_text(bad, reading)}")
            header = _checked_header(fields, source)
            continue
        number += 1
        if bad is not None:
            yield reading.broken(number, f" {_not_text(bad, reading)}")
        elif len(fields) != len(header):
            detail = f"{len(fields)} fields, but the header has {len(header)} ({listed(header)})"
            place = _line_span(first_line, last_line)
            yield reading.broken(number, f" ({place}) has {detail}")
        else:
            yield Row(dict(zip(header, fields, strict=True)), source.name, number, "row")


def _line_span(first: int, last: int) -> str:
    return f"line {last}" if first >= last else f"lines {first} to {last}"


def _not_text(byte: int, reading: Reading) -> str:
    return bad_byte_reason(byte, reading.encoding, reading.setting)


def _checked_header(names: list[str], source: Source) -> list[str]:
    for place, name in enumerate(names):
        if not name.strip():
            raise DataError(
                f"{source.field}: {source.name}: the header's column {place + 1} has no name; "
                f"the header is {listed(names)}"
            )
        if name in names[:place]:
            raise DataError(
                f"{source.field}: {source.name}: the header names the column {name!r} twice"
            )
    return names


def _parse_json(text: str) -> Any:
    # NaN is how pandas writes a missing value; the infinities stay, and no column accepts them.
    return json.loads(text, parse_constant=lambda name: None if name == "NaN" else float(name))


def _read_jsonl(reading: Reading) -> Iterator[Row | BrokenRow]:
    source, marks = reading.source, reading.keep_broken
    text = text_pieces(source, reading.encoding, reading.setting, mark_bad_bytes=marks)
    for number, line in enumerate(lines(text), 1):
        if not line.strip(" \t\r\n"):
            continue
        if len(line) > MAX_ROW_CHARACTERS:
            yield reading.broken(number, f" has more than {MAX_ROW_CHARACTERS:,} characters")
            continue
        if marks and (bad := bad_byte(line)) is not None:
            yield reading.broken(number, f" {_not_text(bad, reading)}")
            continue
        try:
            values = _parse_json(line.rstrip("\r\n"))
        except json.JSONDecodeError as error:
            hint = ""
            if line.strip() in ("[", "{", "[{"):
                hint = "; a JSON document over several lines must have the ending .json"
            detail = f", column {error.colno}: broken JSON: {error.msg}{hint}"
            yield reading.broken(number, detail, error)
            continue
        except (RecursionError, ValueError) as error:
            yield reading.broken(number, f": cannot read this JSON: {error}", error)
            continue
        if isinstance(values, dict):
            yield Row(values, source.name, number, "line")
        else:
            yield reading.broken(number, _no_object(values))


def _no_object(values: Any) -> str:
    return f" must be an object in braces, but is {type_name(values)}"


def _read_json(reading: Reading) -> Iterator[Row | BrokenRow]:
    source = reading.source
    text = "".join(text_pieces(source, reading.encoding, reading.setting))
    if not text.strip():
        return
    try:
        document = _parse_json(text)
    except json.JSONDecodeError as error:
        hint = "; JSON Lines must have the ending .jsonl" if error.msg == "Extra data" else ""
        place = f", line {error.lineno}, column {error.colno}"
        reading.refuse(f"{place}: broken JSON: {error.msg}{hint}", error)
    except (RecursionError, ValueError) as error:
        reading.refuse(f": cannot read this JSON: {error}", error)
    del text
    for number, values in enumerate(_json_rows(document, reading), 1):
        if isinstance(values, dict):
            yield Row(values, source.name, number, "row")
        else:
            yield reading.broken(number, _no_object(values))


def _json_rows(document: Any, reading: Reading) -> Iterator[Any]:
    if isinstance(document, list):
        return iter(document)
    if not isinstance(document, dict) or not all(isinstance(v, list) for v in document.values()):
        reading.refuse(
            " must be an array of objects, or an object of columns (arrays of one length); "
            f"it is {type_name(document)}"
            + (f" with the keys {listed(document)}" if isinstance(document, dict) else "")
        )
    lengths = {name: len(column) for name, column in document.items()}
    if len(set(lengths.values())) > 1:
        some = dict(itertools.islice(lengths.items(), _MAX_COLUMNS_SHOWN))
        shown_lengths = ", ".join(f"{shown(name)} {length}" for name, length in some.items())
        reading.refuse(f": the columns differ in length: {shown_lengths}")
    names = list(document)
    return (dict(zip(names, row, strict=True)) for row in zip(*document.values(), strict=True))


def _read_parquet(reading: Reading) -> Iterator[Row | BrokenRow]:
    import pyarrow
    import pyarrow.parquet

    source = reading.source
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(source.path) as file:
            _checked_header(file.schema_arrow.names, source)
            for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH):
                for values in _python_rows(batch):
                    number += 1
                    if isinstance(values, dict):
                        yield Row(values, source.name, number, "row")
                    else:
                        detail = f": cannot read a value: {_one_line(values)}"
                        yield reading.broken(number, detail, values)
    except (pyarrow.lib.ArrowException, OSError, ValueError) as error:
        place = f"after row {number} " if number else ""
        raise DataError(
            f"{source.field}: {source.name!r} cannot be read {place}as parquet: {_one_line(error)}"
        ) from error


def _python_rows(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    """Give a record batch's rows; for one with a value that Python cannot hold, why it cannot."""
    # Text that is not UTF-8, a date past the year 9999, an unknown time zone: each its own error.
    failures = (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError)
    try:
        yield from batch.to_pylist()
        return
    except failures:
        pass
    for place in range(batch.num_rows):
        try:
            yield from batch.slice(place, 1).to_pylist()
        except failures as error:
            yield error


def _read_text(reading: Reading) -> Iterator[Row | BrokenRow]:
    text = "".join(text_pieces(reading.source, reading.encoding, reading.setting))
    yield Row({"text": text}, reading.source.name, 1, "")


def _read_folder(reading: Reading) -> Iterator[Row | BrokenRow]:
    source = reading.source
    assert source.path is not None
    paths = text_files(source.path, source.field)
    labels = folder_labels(paths)
    for number, relative in enumerate(paths, 1):
        path = source.path / relative
        text = Source(str(path), "txt", source.field, path)
        try:
            content = "".join(text_pieces(text, reading.encoding, reading.setting))
        except DataError as error:
            if not reading.keep_broken:
                raise
            reading.last_broken = number
            yield broken_rest(error, text, 0)
            continue
        values = {"text": content}
        if labels is not None:
            values["label"] = labels[number - 1]
        values["id"] = relative[: -len(".txt")]
        yield Row(values, text.name, number, "")


def _read_hub(reading: Reading) -> Iterator[Row | BrokenRow]:
    import datasets

    source = reading.source
    try:
        dataset = datasets.load_dataset(source.dataset, source.config, split=source.split)
    # Besides its own errors, datasets passes on those of the network and of every file format.
    except Exception as error:
        raise DataError(
            f"{source.field}: {source.dataset!r} is no file or folder here and cannot be loaded "
            f"from the Hugging Face Hub (split {source.split!r}): {_one_line(error)}"
            f"{near_paths_hint(source.dataset)}"
        ) from error
    named = {name: f for name, f in dataset.features.items() if _class_names(f) is not None}
    for number, values in enumerate(dataset, 1):
        for name, feature in named.items():
            values[name] = _with_names(values[name], cast(list[str], _class_names(feature)))
        yield Row(dict(values), source.name, number, "row")


def _class_names(feature: Any) -> list[str] | None:
    """Give the names behind a ClassLabel, or a list of them, and None for any other feature."""
    inner = getattr(feature, "feature", feature)
    names = getattr(inner, "names", None)
    return list(names) if names is not None and hasattr(inner, "int2str") else None


def _with_names(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    # The Hub's convention: -1 marks a label that is held back.
    return None if value is None or value < 0 else names[value]


def _read_package(reading: Reading) -> Iterator[Row | BrokenRow]:
    source = reading.source
    for number, values in enumerate(read_aclsum(source.split, source.field), 1):
        yield Row(values, source.name, number, "row")


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
