"""Rows as jsonl, csv or parquet, in files or on standard output.

A job keeps its rows as JSON lines, whatever the format; files of any format are made of them, each
there whole or not at all. Invariant: all formats hold the same content, but for halves of surrogate
pairs: only JSON can write them, csv and parquet hold U+FFFD in their place, and a number behind
labels that would otherwise become the same.
"""

import contextlib
import csv
import gzip
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from hierbert.errors import ConfigError, RunError, error_text
from hierbert.log import log
from hierbert.prediction.units import Result

FORMATS = ("jsonl", "csv", "parquet", "jsonl.gz", "csv.gz")
# Columns of names of labels.
_LABELS = ("label", "labels", "path", "paths", "top_labels", "evidence")
_ROWS_PER_GROUP = 1_000
_BYTES_PER_GROUP = 10_000_000
_CSV_END = "\r\n"
# What a spreadsheet takes for the start of a formula, and the numbers that begin so and are none.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SURROGATES = re.compile("[\ud800-\udfff]")


def output_format(path: str, given: str | None) -> str:
    """The format of an output: as given, else by its ending; "-" is jsonl."""
    if given is None:
        given = "jsonl" if path == "-" else format_of(path)
    if given not in FORMATS:
        raise ConfigError(
            f"--output {path}: the format {given!r} is not allowed; choose from "
            f"{', '.join(FORMATS)} by the file's ending or --output-format"
        )
    if path == "-" and given not in ("jsonl", "csv"):
        raise ConfigError(f"--output - writes jsonl or csv; {given} needs a file")
    return given


def format_of(path: str) -> str:
    """The format that a file's ending names, whether or not it is one of `FORMATS`."""
    name = Path(path).name.lower().replace(".ndjson", ".jsonl")
    return next((kind for kind in FORMATS if name.endswith(f".{kind}")), Path(name).suffix[1:])


def encode_line(row: dict[str, Any]) -> str:
    """A row as one JSON line; half of a surrogate pair is escaped, as UTF-8 has no form for it."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(row)
    return line + "\n"


class _PlainEnds:
    """A stream for `csv`, which quotes those line ends alone that are its own.

    It is told that rows end in both, so that a field with either is quoted; they end in a newline.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        """Write one row, which `csv` gives whole."""
        self._stream.write(row.removesuffix(_CSV_END) + "\n")


class RowWriter:
    """Writes rows to an open stream as they come, of the kind "jsonl" or "csv".

    With `csv_safe`, no cell of a csv is a formula to a spreadsheet.
    """

    def __init__(self, stream: TextIO, kind: str, csv_safe: bool = False) -> None:
        self._stream = stream
        self._cell = _safe_cell if csv_safe else _cell
        self._csv: Any = None
        self._kind = kind

    def write(self, row: dict[str, Any]) -> None:
        """Write one row."""
        if self._kind == "jsonl":
            self._stream.write(encode_line(row))
            return
        if self._csv is None:
            self._csv = csv.DictWriter(
                _PlainEnds(self._stream),
                list(_with_all_fields(row)),
                restval="",
                lineterminator=_CSV_END,
            )
            self._csv.writerow({name: self._cell(name) for name in self._csv.fieldnames})
        self._csv.writerow({name: self._cell(value) for name, value in _encodable(row).items()})


def write_rows(lines: Iterable[bytes], path: Path, kind: str, csv_safe: bool = False) -> None:
    """Write rows, JSON lines, into a file of a format."""
    plain = kind.removesuffix(".gz")
    write_csv: Callable[..., None] = partial(_write_csv, csv_safe=csv_safe)
    write = {"jsonl": _write_jsonl, "csv": write_csv, "parquet": _write_parquet}[plain]

    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(path.open("wb"))
        if plain != kind:
            # The same rows are the same bytes: neither the time nor the name is in them.
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        write(lines, file)


def _write_jsonl(lines: Iterable[bytes], file: BinaryIO) -> None:
    file.writelines(lines)


def _write_csv(lines: Iterable[bytes], file: BinaryIO, csv_safe: bool) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = RowWriter(text, "csv", csv_safe)
    for line in lines:
        writer.write(json.loads(line))
    text.flush()
    text.detach()


def _write_parquet(lines: Iterable[bytes], file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = None
    with contextlib.ExitStack() as stack:
        for group in _groups(lines):
            if schema is None:
                schema = _schema(group[0], pa)
                writer = stack.enter_context(pq.ParquetWriter(file, schema))
            texts = [field.name for field in schema if (field.metadata or {}).get(b"json")]
            for row in group:
                row.update((name, json.dumps(row[name])) for name in texts)
            try:
                table = pa.Table.from_pylist(group, schema=schema)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise RunError(
                    f"a field of a row has another type than in the first row, which "
                    f"parquet does not allow: {error_text(error)}; jsonl holds it"
                ) from error
            writer.write_table(table)
        if schema is None:
            # No row at all; a file of no bytes would be no parquet.
            pq.write_table(pa.table({"id": pa.array([], pa.string())}), file)


def _groups(lines: Iterable[bytes]) -> Iterator[list[dict[str, Any]]]:
    """Rows in groups of bounded size."""
    group: list[dict[str, Any]] = []
    size = 0
    for line in lines:
        row = json.loads(line)
        group.append(_encodable(_with_all_fields(row)))
        size += len(line)
        if len(group) == _ROWS_PER_GROUP or size >= _BYTES_PER_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _schema(row: dict[str, Any], pa: Any) -> Any:
    """Column types: written down, so that an empty list in the first row decides nothing.

    Of a field that heads of other kinds answer, a number or a text in the first row is the type;
    anything else is kept as JSON.
    """
    parts = [("text", pa.string()), ("start", pa.int64()), ("end", pa.int64())]
    parts.append(("score", pa.float64()))
    if "sentence_kinds" in row:
        parts.append(("kind", pa.string()))
    rewritten = pa.struct(
        [
            ("text", pa.string()),
            ("extracts", pa.list_(pa.int64())),
            ("flags", pa.list_(pa.string())),
            ("fell_back", pa.bool_()),
        ]
    )
    part = [("start", pa.int64()), ("end", pa.int64()), ("contribution", pa.float64())]
    word = [("text", pa.string()), part[-1], ("count", pa.int64())]
    word.append(("spans", pa.list_(pa.list_(pa.int64()))))
    evidence = [("label", pa.string()), ("logit", pa.float64())]
    for name, own in (("segments", part), ("sentences", part), ("words", word)):
        evidence.append((name, pa.list_(pa.struct(own))))
    counts = ("segments", "sentences", "tokens", "characters")
    types = {
        "id": pa.string(),
        "label": pa.float64() if isinstance(row.get("label"), float) else pa.string(),
        "labels": pa.list_(pa.string()),
        "abstained": pa.bool_(),
        "top_labels": pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float64())])),
        "probabilities": pa.struct([(name, pa.float64()) for name in row.get("probabilities", ())]),
        "evidence": pa.list_(pa.struct(evidence)),
        "summary": pa.string(),
        "sentences": pa.list_(pa.struct(parts)),
        "rewritten": pa.string(),
        "rewritten_sentences": pa.list_(rewritten),
        "document_vector": pa.list_(pa.float32()),
        "segment_vectors": pa.list_(pa.list_(pa.float32())),
        "segment_spans": pa.list_(pa.list_(pa.int64())),
        "over_limit": pa.bool_(),
        "query_unmatched": pa.bool_(),
        "omission": pa.struct([(name, pa.int64()) for name in counts]),
    }
    for one, beside in (("path", "label"), ("paths", "labels")):
        if {one, beside, "probabilities"} <= row.keys():
            types[one] = types["labels"] if one == "path" else pa.list_(types["labels"])
            # Of a tree each row tells other nodes.
            del types["probabilities"]
    columns = []
    for name, own in row.items():
        kind = types.get(name)
        if kind is None and isinstance(own, int | float) and not isinstance(own, bool):
            kind = pa.float64()
        as_json = kind is None and not isinstance(own, str)
        metadata = {"json": "yes"} if as_json else None
        columns.append(pa.field(name, kind or pa.string(), metadata=metadata))
    return pa.schema(columns)


def _with_all_fields(row: dict[str, Any]) -> dict[str, Any]:
    """A row with what only some rows have: the columns of a table are the same for all."""
    sometimes = ["over_limit", "query_unmatched"] if "summary" in row else []
    sometimes.append("omission")
    return {**row, **{name: row.get(name) for name in sometimes}}


def _encodable(row: dict[str, Any]) -> dict[str, Any]:
    """A row without halves of surrogate pairs, which UTF-8 cannot hold: each becomes U+FFFD.

    Labels that would become the same are numbered, wherever they stand.
    """
    labels = row.get("probabilities") or {}
    names = _distinct_names(labels)
    clean = {
        column: _replace_surrogates(value, names if column in _LABELS else {})
        for column, value in row.items()
    }
    if labels:
        clean["probabilities"] = {names[label]: value for label, value in labels.items()}
    return clean


def _distinct_names(labels: Iterable[str]) -> dict[str, str]:
    """What each label is called where UTF-8 is all there is."""
    names = {label: _SURROGATES.sub("\ufffd", label) for label in labels}
    # Those that UTF-8 can hold keep their names, and are the first to have them.
    taken = {label for label, name in names.items() if label == name}
    for label, name in names.items():
        if label == name:
            continue
        number = 1
        while (numbered := name if number == 1 else f"{name} ({number})") in taken:
            number += 1
        names[label] = numbered
        taken.add(numbered)
    return names


def _replace_surrogates(value: Any, names: dict[str, str]) -> Any:
    """The same with clean texts of the same lengths; what is in `names` is called so."""
    if isinstance(value, str):
        return names.get(value) or _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_replace_surrogates(item, names) for item in value]
    if isinstance(value, dict):
        return {name: _replace_surrogates(item, names) for name, item in value.items()}
    return value


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _safe_cell(value: Any) -> Any:
    """A cell with an apostrophe before what a spreadsheet would compute."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return _cell(value)


class StandardOutput:
    """Prints each answer as it comes, and counts as `Part` does; a RunError where it is closed.

    Rows that could not be answered are told on standard error.
    """

    def __init__(self, kind: str, csv_safe: bool = False) -> None:
        if sys.stdout is None:
            raise RunError("--output -: standard output is closed")
        # Whatever the locale says: the output is UTF-8 with plain newlines.
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        self._writer = RowWriter(sys.stdout, kind, csv_safe)
        self.answers = self.errors = self.shortened = self.omitted_segments = self.over_limit = 0

    def write(self, result: Result) -> None:
        """Print an answer, or say that a row has none.

        A RunError where the disk behind standard output is full or gone; a BrokenPipeError where
        its reader went away.
        """
        row, answer, why, _ = result
        if answer is None:
            self.errors += 1
            name = "" if row.id is None else f", id {row.id!r}"
            number = self.answers + self.errors
            log.warning(f"row {number} ({row.location}{name}) is not answered: {why}")
            return
        try:
            self._writer.write(answer)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            # Python flushes standard output once more at exit; give it somewhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise RunError(f"--output - cannot be written: {error_text(error)}") from error
        self.answers += 1
        if omission := answer.get("omission"):
            self.shortened += 1
            self.omitted_segments += omission["segments"]
        self.over_limit += "over_limit" in answer
