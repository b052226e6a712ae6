"""Predictions as rows, and rows as jsonl, csv or parquet files that are there whole or not at all.

Rows are written aside as JSON lines, whatever the format, so that an interrupted job can go on
after the last whole line; the output itself is made of them at the end, in one rename.
"""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from hierbert.cache import write_whole
from hierbert.errors import ConfigError, RunError
from hierbert.prediction.predictor import Prediction

FORMATS = ("jsonl", "csv", "parquet")
_ROWS_PER_GROUP = 1_000


def to_row(document_id: str, prediction: Prediction) -> dict[str, Any]:
    """A prediction as a plain row; what was not asked is left out.

    Args:
        document_id: Of the document.
        prediction: Its answers.

    Returns:
        `id`, then `label` or `labels`, `probabilities`, `summary`, `sentences` (`text`, `start`,
        `end`, `score`), `document_vector`, `segment_vectors`, `segment_spans`, and
        `omission` where a limit on segments left something out.
    """
    row: dict[str, Any] = {"id": document_id}
    for name in ("label", "labels", "probabilities", "summary"):
        value = getattr(prediction, name)
        if value is not None:
            row[name] = value
    if prediction.sentences is not None:
        row["sentences"] = [vars(sentence) for sentence in prediction.sentences]
    for name in ("document_vector", "segment_vectors", "segment_spans"):
        value = getattr(prediction, name)
        if value is not None:
            row[name] = value
    if prediction.omission is not None:
        row["omission"] = vars(prediction.omission)
    return row


def output_format(path: str, given: str | None) -> str:
    """The format of an output: as given, else by its ending; "-" is jsonl.

    Raises:
        ConfigError: The ending says nothing, or the format cannot be written there.
    """
    if given is None:
        ending = "jsonl" if path == "-" else Path(path).suffix.lstrip(".").lower()
        given = {"ndjson": "jsonl"}.get(ending, ending)
    if given not in FORMATS:
        raise ConfigError(
            f"--output {path}: the format {given!r} is not allowed; choose from "
            f"{', '.join(FORMATS)} by the file's ending or --output-format"
        )
    if path == "-" and given == "parquet":
        raise ConfigError("--output - writes jsonl or csv; parquet needs a file")
    return given


def encode_line(row: dict[str, Any]) -> str:
    """A row as one JSON line; half of a surrogate pair is escaped, as UTF-8 has no form for it."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        line = json.dumps(row)
    return line + "\n"


class StreamWriter:
    """Writes rows to an open stream as they come.

    Args:
        stream: Standard output, or a file.
        kind: "jsonl" or "csv".
    """

    def __init__(self, stream: TextIO, kind: str) -> None:
        self._stream = stream
        self._csv: Any = None
        self._kind = kind

    def write(self, row: dict[str, Any]) -> None:
        """Write one row."""
        if self._kind == "jsonl":
            self._stream.write(encode_line(row))
            return
        if self._csv is None:
            # Whether a document lost something is known per row; the columns must be fixed.
            self._csv = csv.DictWriter(
                self._stream, [*row, *([] if "omission" in row else ["omission"])], restval=""
            )
            self._csv.writeheader()
        self._csv.writerow({name: _cell(value) for name, value in row.items()})


def finish(rows_path: Path, output: Path, kind: str) -> None:
    """Make the output of the rows that were written aside, and remove those.

    Args:
        rows_path: JSON lines.
        output: The file to make.
        kind: One of `FORMATS`.

    Raises:
        RunError: The output cannot be written; the rows stay.
    """
    try:
        if kind == "jsonl":
            with rows_path.open("rb+") as file:
                os.fsync(file.fileno())
            rows_path.replace(output)
        else:
            convert = _write_csv if kind == "csv" else _write_parquet
            write_whole(output, lambda aside: convert(rows_path, aside))
            rows_path.unlink()
    except OSError as error:
        raise RunError(
            f"--output {output} cannot be written: {error}; the rows are in {rows_path}, and "
            "--resume goes on from there"
        ) from error


def read_rows_aside(path: Path) -> Iterator[dict[str, Any]]:
    """Rows that were written aside, one after the other."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _write_csv(rows_path: Path, aside: Path) -> None:
    with aside.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = StreamWriter(file, "csv")
        for row in read_rows_aside(rows_path):
            writer.write(row)


def _write_parquet(rows_path: Path, aside: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    schema = None
    group: list[dict[str, Any]] = []

    def flush() -> None:
        nonlocal writer, schema
        if schema is None:
            schema = _schema(group, pa)
            writer = pq.ParquetWriter(aside, schema)
        assert writer is not None
        writer.write_table(pa.Table.from_pylist(group, schema=schema))
        group.clear()

    for row in read_rows_aside(rows_path):
        row.setdefault("omission", None)
        group.append(_replace_surrogates(row))
        if len(group) == _ROWS_PER_GROUP:
            flush()
    if group or schema is None:
        flush()
    if writer is not None:
        writer.close()


def _schema(rows: list[dict[str, Any]], pa: Any) -> Any:
    """Column types: written down, so that an empty list in the first rows decides nothing."""
    sentence = pa.struct(
        [("text", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("score", pa.float64())]
    )
    counts = [("segments", pa.int64()), ("sentences", pa.int64())]
    types = {
        "id": pa.string(),
        "labels": pa.list_(pa.string()),
        "summary": pa.string(),
        "sentences": pa.list_(sentence),
        "document_vector": pa.list_(pa.float32()),
        "segment_vectors": pa.list_(pa.list_(pa.float32())),
        "segment_spans": pa.list_(pa.list_(pa.int64())),
        "omission": pa.struct([*counts, ("tokens", pa.int64()), ("characters", pa.int64())]),
    }
    columns = []
    for name, value in (rows[0] if rows else {"id": ""}).items():
        if name == "label":
            kind = pa.float64() if isinstance(value, float) else pa.string()
        elif name == "probabilities":
            kind = pa.struct([(label, pa.float64()) for label in value])
        else:
            kind = types[name]
        columns.append((name, kind))
    return pa.schema(columns)


def _replace_surrogates(value: Any) -> Any:
    """Halves of surrogate pairs, which parquet's UTF-8 cannot hold, become U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {name: _replace_surrogates(item) for name, item in value.items()}
    return value


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
