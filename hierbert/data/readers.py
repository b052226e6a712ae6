"""Rows out of files, folders, standard input, the Hub and packages, one at a time.

It gives values as the format holds them and knows nothing of columns or labels. Invariant: only a
JSON file is ever held whole; every other format streams, by line, by row, by file or by record
batch, and a row that cannot be read is a `DataError` that names its place.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from hierbert.data.aclsum import read_aclsum
from hierbert.data.messages import Setting, config_setting, listed, type_name
from hierbert.data.sources import Source, folder_labels, near_paths_hint, text_files
from hierbert.data.streams import check_encoding, lines, lines_of_any_end, text_pieces
from hierbert.errors import DataError

_ROWS_PER_BATCH = 32
_MAX_FIELD_CHARS = 2**31 - 1  # the largest limit that fits the C long of every platform


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


def read_rows(
    source: Source, encoding: str = "utf-8", *, setting: Setting = config_setting
) -> Iterator[Row]:
    """Stream the rows of a source, in order.

    A source without rows gives none: whether that is a mistake is for the caller to say.

    Args:
        source: What `resolve_sources` returned.
        encoding: The encoding of csv, tsv, json, jsonl and txt; ``utf-8`` drops a byte order mark.
        setting: How the user writes the settings that messages advise to change.

    Returns:
        An iterator that reads as it is consumed.

    Raises:
        ConfigError: The encoding is unknown.
        DataError: While iterating: what cannot be opened, unzipped, decoded or parsed.
    """
    check_encoding(encoding, setting)
    readers: dict[str, Callable[[Source, str, Setting], Iterator[Row]]] = {
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
    return readers[source.format](source, encoding, setting)


def row_location(source: Source, number: int) -> str:
    """Find where row `number` of a source lies, without its values: see `Row.location`."""
    if source.format == "folder":
        assert source.path is not None
        return str(source.path / text_files(source.path, source.field)[number - 1])
    unit = {"jsonl": "line", "txt": ""}.get(source.format, "row")
    return Row({}, source.name, number, unit).location


def _read_csv(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    # The limit is the module's, not the reader's, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
    text = lines_of_any_end(text_pieces(source, encoding, setting))
    table = csv.reader(text, delimiter="\t" if source.format == "tsv" else ",", strict=True)
    header: list[str] | None = None
    number = 0
    while True:
        try:
            fields = next(table, None)
        except csv.Error as error:
            where = f"row {number + 1}" if header else "the header"
            raise DataError(
                f"{source.field}: {source.name}, {where} (line {table.line_num}) is broken: {error}"
            ) from error
        if fields is None:
            return
        if not fields:
            continue
        if header is None:
            header = _checked_header(fields, source)
            continue
        number += 1
        if len(fields) != len(header):
            raise DataError(
                f"{source.field}: {source.name}, row {number} (line {table.line_num}) has "
                f"{len(fields)} fields, but the header has {len(header)} ({listed(header)})"
            )
        yield Row(dict(zip(header, fields, strict=True)), source.name, number, "row")


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


def _read_jsonl(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    for number, line in enumerate(lines(text_pieces(source, encoding, setting)), 1):
        if not line.strip(" \t\r\n"):
            continue
        place = f"{source.field}: {source.name}, line {number}"
        try:
            values = _parse_json(line.rstrip("\r\n"))
        except json.JSONDecodeError as error:
            hint = ""
            if line.strip() in ("[", "{", "[{"):
                hint = "; a JSON document over several lines must have the ending .json"
            raise DataError(
                f"{place}, column {error.colno}: broken JSON: {error.msg}{hint}"
            ) from error
        except (RecursionError, ValueError) as error:
            raise DataError(f"{place}: cannot read this JSON: {error}") from error
        if not isinstance(values, dict):
            raise DataError(f"{place} must be an object in braces, but is {type_name(values)}")
        yield Row(values, source.name, number, "line")


def _read_json(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    text = "".join(text_pieces(source, encoding, setting))
    if not text.strip():
        return
    place = f"{source.field}: {source.name}"
    try:
        document = _parse_json(text)
    except json.JSONDecodeError as error:
        hint = "; JSON Lines must have the ending .jsonl" if error.msg == "Extra data" else ""
        raise DataError(
            f"{place}, line {error.lineno}, column {error.colno}: broken JSON: {error.msg}{hint}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{place}: cannot read this JSON: {error}") from error
    del text
    for number, values in enumerate(_json_rows(document, place), 1):
        if not isinstance(values, dict):
            raise DataError(
                f"{place}, row {number} must be an object in braces, but is {type_name(values)}"
            )
        yield Row(values, source.name, number, "row")


def _json_rows(document: Any, place: str) -> Iterator[Any]:
    if isinstance(document, list):
        return iter(document)
    if not isinstance(document, dict) or not all(isinstance(v, list) for v in document.values()):
        raise DataError(
            f"{place} must be an array of objects, or an object of columns (arrays of one length); "
            f"it is {type_name(document)}"
            + (f" with the keys {listed(document)}" if isinstance(document, dict) else "")
        )
    lengths = {name: len(column) for name, column in document.items()}
    if len(set(lengths.values())) > 1:
        shown_lengths = ", ".join(f"{name!r} {length}" for name, length in lengths.items())
        raise DataError(f"{place}: the columns differ in length: {shown_lengths}")
    names = list(document)
    return (dict(zip(names, row, strict=True)) for row in zip(*document.values(), strict=True))


def _read_parquet(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(source.path) as file:
            _checked_header(file.schema_arrow.names, source)
            for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(values, source.name, number, "row")
    except (pyarrow.lib.ArrowException, OSError, ValueError) as error:
        place = f"after row {number} " if number else ""
        raise DataError(
            f"{source.field}: {source.name!r} cannot be read {place}as parquet: {_one_line(error)}"
        ) from error


def _read_text(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    text = "".join(text_pieces(source, encoding, setting))
    yield Row({"text": text}, source.name, 1, "")


def _read_folder(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    assert source.path is not None
    paths = text_files(source.path, source.field)
    labels = folder_labels(paths)
    for number, relative in enumerate(paths, 1):
        path = source.path / relative
        text = Source(str(path), "txt", source.field, path)
        values = {"text": "".join(text_pieces(text, encoding, setting))}
        if labels is not None:
            values["label"] = labels[number - 1]
        values["id"] = relative[: -len(".txt")]
        yield Row(values, text.name, number, "")


def _read_hub(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    import datasets

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


def _read_package(source: Source, encoding: str, setting: Setting) -> Iterator[Row]:
    for number, values in enumerate(read_aclsum(source.split, source.field), 1):
        yield Row(values, source.name, number, "row")


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
