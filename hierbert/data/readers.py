"""Rows out of files, folders, standard input, the Hub and packages, one at a time.

It gives values as the format holds them and knows nothing of columns or labels. Invariant: only a
JSON file is ever held whole; every other format streams, by line, by row, by file or by record
batch, and a row that cannot be read is a `DataError` that names its place, or a `BrokenRow`.
"""

import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast, overload

from hierbert.data.aclsum import read_aclsum
from hierbert.data.broken import BrokenRow
from hierbert.data.parquet import read_parquet
from hierbert.data.rows import Reading, Row, broken_rest
from hierbert.data.sources import Source, folder_labels, near_paths_hint, text_files
from hierbert.data.streams import (
    MAX_JSON_CHARACTERS,
    MAX_ROW_CHARACTERS,
    StreamClosedError,
    bad_byte,
    check_encoding,
    lines,
    text_pieces,
    whole_text,
)
from hierbert.data.tables import read_csv
from hierbert.errors import (
    DataError,
    Setting,
    config_setting,
    error_text,
    quote,
    quote_all,
    type_name,
)

_MAX_COLUMNS_SHOWN = 20
_FILES = ("csv", "tsv", "jsonl", "json", "parquet", "txt", "folder")


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
        "csv": read_csv,
        "tsv": read_csv,
        "jsonl": _read_jsonl,
        "json": _read_json,
        "parquet": read_parquet,
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


@functools.cache
def _json_decoder() -> json.JSONDecoder:
    # NaN is how pandas writes a missing value; the infinities stay, and no column accepts them.
    return json.JSONDecoder(
        parse_constant=lambda name: None if name == "NaN" else float(name),
        object_pairs_hook=_object_of_differing_keys,
    )


def _object_of_differing_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        # The last one would win, and a text be lost without a word.
        keys = Counter(key for key, _ in pairs)
        raise ValueError(f"an object has the key {quote(keys.most_common(1)[0][0])} twice")
    return values


def _parse_json(text: str) -> Any:
    return _json_decoder().decode(text)


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
            yield reading.broken(number, f" {reading.not_text(bad)}")
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
    hint = "; JSON Lines (.jsonl) has no such limit"
    text = whole_text(source, MAX_JSON_CHARACTERS, reading.encoding, reading.setting, hint)
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
            + (f" with the keys {quote_all(document)}" if isinstance(document, dict) else "")
        )
    lengths = {name: len(column) for name, column in document.items()}
    if len(set(lengths.values())) > 1:
        some = dict(itertools.islice(lengths.items(), _MAX_COLUMNS_SHOWN))
        shown_lengths = ", ".join(f"{quote(name)} {length}" for name, length in some.items())
        reading.refuse(f": the columns differ in length: {shown_lengths}")
    names = list(document)
    return (dict(zip(names, row, strict=True)) for row in zip(*document.values(), strict=True))


def _read_text(reading: Reading) -> Iterator[Row | BrokenRow]:
    text = whole_text(reading.source, MAX_ROW_CHARACTERS, reading.encoding, reading.setting)
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
            content = whole_text(text, MAX_ROW_CHARACTERS, reading.encoding, reading.setting)
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
            f"from the Hugging Face Hub (split {source.split!r}): {error_text(error)}"
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
