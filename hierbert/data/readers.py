"""Rows out of files, folders, standard input, the Hub, packages and memory, one at a time.

Invariant: only a JSON file is ever held whole, and a row that cannot be read is an item of its own
that names its place. A format is one entry of `READERS`; all that depends on formats follows.
"""

import csv
import dataclasses
import functools
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierbert.data import streams
from hierbert.data.aclsum import read_aclsum
from hierbert.data.document import Row, RowError, Source, check_header
from hierbert.data.folders import folder_labels, near_paths_hint, text_files
from hierbert.data.in_memory import read_dataset, read_frame, read_given
from hierbert.data.packing import PACKINGS, unpacked_name
from hierbert.data.streams import bad_bytes, text_pieces, whole_text
from hierbert.errors import DataError, error_text, quote, quote_all, setting_name, type_name
from hierbert.hub import hub_problem

_MAX_COLUMNS_SHOWN = 20
# Between fields, by which program wrote them; a semicolon is Excel's where a comma is in numbers.
_DELIMITERS = (",", ";", "\t", "|")
# A line before the header, by which Excel is told.
_NAMED_DELIMITER = re.compile(r"\"?sep=([^\"\w\r\n])\"?(?:\r\n?|\n)", re.IGNORECASE)


@dataclass(frozen=True)
class Reader:
    """How one format is read.

    Attributes:
        read: Gives the rows of a source, whose text files have a certain encoding, in order. A row
            that cannot be read is a `RowError` among them; what ends the reading is raised.
        endings: Of its files, with their dots; none for what is no file.
        is_table: Whether all rows have the same columns.
        packed: Whether its files may be packed too, in any of `packing.PACKINGS`.
        is_document: Whether a file is one document, which has the column ``text``.
        stdin: Whether it can be read from standard input.
    """

    read: Callable[[Source, str], Iterator[Row | RowError]]
    endings: tuple[str, ...] = ()
    is_table: bool = True
    packed: bool = False
    is_document: bool = False
    stdin: bool = False


def file_format(name: str) -> tuple[str, str] | None:
    """The format of a file by its ending, and the ending of its packing; None if not known."""
    plain, packing = unpacked_name(name)
    ending = os.path.splitext(plain.lower())[1]
    for format_name, reader in READERS.items():
        if ending in reader.endings and (reader.packed or not packing):
            return format_name, packing
    return None


def stdin_formats() -> tuple[str, ...]:
    """The formats that standard input may have."""
    return tuple(name for name, reader in READERS.items() if reader.stdin)


def allowed_endings() -> str:
    """The endings of files, for messages and help."""
    packed, plain = (
        ", ".join(e for reader in READERS.values() if reader.packed is may for e in reader.endings)
        for may in (True, False)
    )
    return f"{packed} (each also with {', '.join(PACKINGS)}), {plain}, or a folder of these"


def documents_of_folder(folder: str | Path) -> list[str]:
    """The files of a folder that are one document each, at any depth: see `text_files`.

    Where all texts lie in folders of labels, what lies beside those is no document; nor is, beside
    texts, a README of another kind.
    """
    every = (
        ending for reader in READERS.values() if reader.is_document for ending in reader.endings
    )
    paths = text_files(folder, tuple(every))
    texts = [path for path in paths if path.lower().endswith(READERS["txt"].endings)]
    if not texts:
        return paths
    are_labelled = folder_labels(texts) is not None
    return [
        path
        for path in paths
        if ("/" in path or not are_labelled)
        and (path in texts or not os.path.basename(path).lower().startswith("readme."))
    ]


def _object_of_differing_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        # The last one would win, and a text be lost without a word.
        keys = Counter(key for key, _ in pairs)
        raise ValueError(f"an object has the key {quote(keys.most_common(1)[0][0])} twice")
    return values


# NaN is how pandas writes a missing value; the infinities stay, and no column accepts them.
_JSON = json.JSONDecoder(
    parse_constant=lambda name: None if name == "NaN" else float(name),
    object_pairs_hook=_object_of_differing_keys,
)


def _read_jsonl(source: Source, encoding: str) -> Iterator[Row | RowError]:
    pieces = text_pieces(source, encoding)
    for number, line in enumerate(streams.lines(pieces), 1):
        if not line.strip(" \t\r\n"):
            continue
        place = f"{source.name}, line {number}"
        values: Any = None
        problem: str | None
        if len(line) > streams.MAX_ROW_CHARACTERS:
            problem = f"has more than {streams.MAX_ROW_CHARACTERS:,} characters"
        elif (problem := bad_bytes(line, encoding)) is None:
            try:
                values = _JSON.decode(line.rstrip("\r\n"))
            except json.JSONDecodeError as error:
                problem = f"broken JSON in column {error.colno}: {error.msg}"
                if line.strip() in ("[", "{", "[{"):
                    problem += "; a JSON document over several lines must have the ending .json"
            except (RecursionError, ValueError) as error:
                problem = f"cannot read this JSON: {error}"
            else:
                problem = _no_object(values)
        yield RowError(problem, place=place) if problem else Row(values, place, number)


def _no_object(values: Any) -> str | None:
    if isinstance(values, dict):
        return None
    return f"must be an object in braces, but is {type_name(values)}"


def _read_json(source: Source, encoding: str) -> Iterator[Row | RowError]:
    hint = "; JSON Lines (.jsonl) has no such limit"
    text = whole_text(source, streams.MAX_JSON_CHARACTERS, encoding, hint)
    if not text.strip():
        return
    try:
        document = _JSON.decode(text)
    except json.JSONDecodeError as error:
        hint = "; JSON Lines must have the ending .jsonl" if error.msg == "Extra data" else ""
        where = f"{source.name}, line {error.lineno}, column {error.colno}"
        raise DataError(f"broken JSON: {error.msg}{hint}", place=where) from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"cannot read this JSON: {error}", place=source.name) from error
    del text
    for number, values in enumerate(_json_rows(document, source), 1):
        place = f"{source.name}, row {number}"
        problem = _no_object(values)
        yield RowError(problem, place=place) if problem else Row(values, place, number)


def _json_rows(document: Any, source: Source) -> Iterable[Any]:
    if isinstance(document, list):
        return document
    keys = f" with the keys {quote_all(document)}" if isinstance(document, dict) else ""
    if not keys or not all(isinstance(column, list) for column in document.values()):
        raise DataError(
            f"is {type_name(document)}{keys}",
            place=source.name,
            allowed="an array of objects, or an object of columns (arrays of one length)",
        )
    lengths = {name: len(column) for name, column in document.items()}
    if len(set(lengths.values())) > 1:
        some = itertools.islice(lengths.items(), _MAX_COLUMNS_SHOWN)
        shown = ", ".join(f"{quote(name)} {length}" for name, length in some)
        raise DataError(f"the columns differ in length: {shown}", place=source.name)
    return (dict(zip(document, row, strict=True)) for row in zip(*document.values(), strict=True))


def _delimiter(header: str) -> str:
    """What separates the names of a header: a comma, else what other programs write."""
    names = re.sub('"[^"]*"', "", header)
    return next((one for one in _DELIMITERS if one in names), ",")


def delimiter_hint(header: Collection[str]) -> str:
    """What to set where the names of a header may have been separated at the wrong character."""
    doubtful = len(header) == 1 or any(one in name for name in header for one in _DELIMITERS)
    return f"; {setting_name('delimiter')} names what is between its fields" if doubtful else ""


def _read_csv(
    source: Source, encoding: str, delimiter: str | None = None
) -> Iterator[Row | RowError]:
    # The limit is the module's, not the reader's, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), streams.MAX_ROW_CHARACTERS))
    raw: list[str] = []  # the physical lines of the row

    def recorded() -> Iterator[str]:
        for line in streams.lines_of_any_end(text_pieces(source, encoding), source):
            raw.append(line)
            yield line

    lines = recorded()
    delimiter = delimiter or source.delimiter
    start = next((line for line in lines if line.strip()), "")
    if named := _NAMED_DELIMITER.fullmatch(start):
        delimiter = delimiter or named[1]
        raw[-1] = "\n"
    elif delimiter is None:
        delimiter = _delimiter(start)
    lines = itertools.chain([*raw], lines)
    raw.clear()
    table = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = last_line = 0
    while True:
        raw.clear()
        first_line = last_line + 1
        broken: csv.Error | None = None
        try:
            fields = next(table, None)
        except csv.Error as error:
            fields, broken = [], error
        if fields is None:
            return
        last_line = table.line_num
        if not fields and broken is None:
            continue
        number += header is not None
        place = f"{source.name}, {f'row {number}' if header else 'the header'}"
        several = f"lines {first_line} to {last_line}"
        span = several if first_line < last_line else f"line {last_line}"
        problem = f"{span}: {broken}" if broken else bad_bytes("".join(fields), encoding)
        # Quotes come in pairs. Where they do not, no one can tell text from the next row.
        lost = broken is not None and "".join(raw).count('"') % 2 == 1
        if problem is not None and (header is None or lost):
            raise DataError(problem, place=place) from broken
        if header is None:
            check_header(fields, source)
            header = fields
            continue
        if problem is None and len(fields) != len(header):
            problem = f"{span}: {len(fields)} fields, but the header has {len(header)}"
            problem += f" ({quote_all(header)}){delimiter_hint(header)}"
        if problem is not None:
            yield RowError(problem, place=place)
        else:
            yield Row(dict(zip(header, fields, strict=True)), place, number)


def _read_parquet(source: Source, encoding: str) -> Iterator[Row | RowError]:
    from hierbert.data.parquet import read_parquet

    return read_parquet(source, encoding)


def _read_text(source: Source, encoding: str) -> Iterator[Row]:
    text = whole_text(source, streams.MAX_ROW_CHARACTERS, encoding)
    yield Row({"text": text}, source.name, 0)


def _read_markup(source: Source, encoding: str, kind: str) -> Iterator[Row]:
    from hierbert.data import markup

    text_of = {"html": markup.html_text, "md": markup.markdown_text}[kind]
    try:
        for row in _read_text(source, encoding):
            yield Row({"text": text_of(row.values["text"])}, row.location, row.number)
    except DataError as error:
        error.place = error.place or source.name
        raise


def _read_folder(source: Source, encoding: str) -> Iterator[Row | RowError]:
    assert source.path is not None
    paths = documents_of_folder(source.path)
    labels = folder_labels(paths)
    names = [os.path.splitext(path)[0] for path in paths]
    count = Counter(names)
    for number, relative in enumerate(paths):
        path = source.path / relative
        found = file_format(relative)
        assert found is not None
        try:
            (row,) = READERS[found[0]].read(Source(str(path), found[0], path), encoding)
            if isinstance(row, RowError):
                raise row
        except DataError as error:
            yield RowError(error.message, place=error.place)
            continue
        if labels is not None:
            row.values["label"] = labels[number]
        is_alone = found[0] == "txt" or count[names[number]] == 1
        row.values["id"] = names[number] if is_alone else relative
        yield row


def _read_hub(source: Source, encoding: str) -> Iterator[Row | RowError]:
    import datasets

    problem = hub_problem()
    offline = datasets.config.HF_HUB_OFFLINE
    # Its own way to take what is in its cache alone.
    datasets.config.HF_HUB_OFFLINE = offline or problem is not None
    try:
        dataset = datasets.load_dataset(source.dataset, source.config, split=source.split)
    # Besides its own errors, datasets passes on those of the network and of every file format.
    except Exception as error:
        raise DataError(
            f"{source.dataset!r} is no file or folder here and cannot be loaded from the Hugging "
            f"Face Hub (split {source.split!r}): {problem or error_text(error)}"
            f"{near_paths_hint(source.dataset)}",
            place=source.name,
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
    yield from read_dataset(dataclasses.replace(source, given=dataset), encoding)


def _read_package(source: Source, encoding: str) -> Iterator[Row | RowError]:
    for number, values in enumerate(read_aclsum(source.split), 1):
        yield Row(values, f"{source.name}, row {number}", number)


READERS: dict[str, Reader] = {
    "csv": Reader(_read_csv, (".csv",), packed=True, stdin=True),
    "tsv": Reader(functools.partial(_read_csv, delimiter="\t"), (".tsv",), packed=True, stdin=True),
    "json": Reader(_read_json, (".json",), is_table=False, packed=True, stdin=True),
    "jsonl": Reader(_read_jsonl, (".jsonl", ".ndjson"), is_table=False, packed=True, stdin=True),
    "parquet": Reader(_read_parquet, (".parquet",)),
    "txt": Reader(_read_text, (".txt",), is_document=True),
    "html": Reader(
        functools.partial(_read_markup, kind="html"), (".html", ".htm"), is_document=True
    ),
    "md": Reader(
        functools.partial(_read_markup, kind="md"), (".md", ".markdown"), is_document=True
    ),
    "folder": Reader(_read_folder),
    "hub": Reader(_read_hub),
    "package": Reader(_read_package),
    "rows": Reader(read_given, is_table=False),
    "frame": Reader(read_frame),
    "dataset": Reader(read_dataset),
}
"""The formats by name. To read another, add an entry, here or in a program of your own."""
