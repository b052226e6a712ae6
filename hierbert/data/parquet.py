"""Rows out of parquet files, decoded a few at a time.

A file of a thousand bytes can hold gigabytes: a dictionary keeps a text once and names it in every
row. What is decoded at a time is bounded before it is decoded, by what the file's footer says of
its sizes and by looking into dictionaries that may hold long values. It knows nothing of what
columns mean. Invariant: every row that is given has exactly the file's columns, and the values of
all rows together keep the limits of what a gzipped file may unpack to.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierbert.data import streams
from hierbert.data.broken import BrokenRow
from hierbert.data.rows import Reading, Row
from hierbert.data.sources import Source
from hierbert.data.tables import checked_header
from hierbert.errors import DataError, error_text

_ROWS_PER_BATCH = 32
# What a batch may hold for certain; above it, it is found out what the batch does hold.
_BYTES_PER_BATCH = 2**28
# What becomes Python objects at a time.
_BYTES_AT_ONCE = 2**26
# Text is packed less than this; what is packed more may hold long values anywhere.
_TIMES_PACKED = 20
_BYTES_PER_NUMBER = 8
_BYTES_PER_INDEX = 4
# What a list of texts that a dictionary keeps once may hold, in times of the file's size.
_LIST_EXPANSION = 100
# Longer than what common writers put into a dictionary.
_LONG_BYTES = 2**20
# Of a column that is only begun to be read.
_PROBE_BYTES = 2**16
_GROUPS_PER_RUN = 1_000
_DICTIONARIES = {"PLAIN_DICTIONARY", "RLE_DICTIONARY"}
_SHARED_STARTS = "DELTA_BYTE_ARRAY"


class _TooMuchError(Exception):
    """The file holds more than is allowed."""


class _Unpacked:
    """How much of a file has been decoded, against what is allowed."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self.file_bytes = path.stat().st_size
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count bytes that are about to be decoded."""
        self.check(size)
        self._bytes += size

    def check(self, more: int) -> None:
        """Refuse the rest of the file if so many bytes more would be too many.

        Raises:
            DataError: They would.
        """
        unpacked = self._bytes + more
        too_dense = (
            unpacked > streams.EXPANSION_FREE_BYTES
            and unpacked > streams.MAX_EXPANSION * self.file_bytes
        )
        if too_dense or unpacked > streams.MAX_DECOMPRESSED_BYTES:
            raise DataError(
                f"{self._source.field}: {self._source.name!r} unpacks to more than is allowed "
                f"({streams.MAX_DECOMPRESSED_BYTES:,} bytes, or {streams.MAX_EXPANSION} times its "
                f"size past {streams.EXPANSION_FREE_BYTES:,} bytes); write it as JSON Lines if it "
                "is right"
            )


@dataclass(frozen=True)
class _Way:
    """How a row group is read.

    Attributes:
        rows: Rows of a batch.
        as_dictionaries: Columns whose repeated values are not to be decoded.
        only_so: Whether they must not be read in another way.
    """

    rows: int
    as_dictionaries: tuple[str, ...] = ()
    only_so: bool = False


def read_parquet(reading: Reading) -> Iterator[Row | BrokenRow]:
    """Stream the rows of a parquet file, a few at a time: see `readers.read_rows`."""
    import pyarrow
    import pyarrow.parquet

    source = reading.source
    assert source.path is not None
    number = 0
    try:
        unpacked = _Unpacked(source, source.path)
        with pyarrow.parquet.ParquetFile(source.path) as file:
            checked_header(file.schema_arrow.names, source)
            for batch in _batches(file, source.path, unpacked):
                for values in _python_rows(batch, unpacked):
                    number += 1
                    if isinstance(values, dict):
                        yield Row(values, source.name, number, "row")
                    elif isinstance(values, _TooMuchError):
                        yield reading.broken(number, f" {values}")
                    else:
                        detail = f": cannot read a value: {error_text(values)}"
                        yield reading.broken(number, detail, values)
    except (pyarrow.lib.ArrowException, OSError, ValueError) as error:
        place = f"after row {number} " if number else ""
        raise DataError(
            f"{source.field}: {source.name!r} cannot be read {place}as parquet: {error_text(error)}"
        ) from error


def _batches(file: Any, path: Path, unpacked: _Unpacked) -> Iterator[Any]:
    """Give record batches whose decoding is bounded."""
    import pyarrow
    import pyarrow.parquet

    for way, groups in _runs(file, path, unpacked):
        if not way.as_dictionaries:
            yield from file.iter_batches(way.rows, row_groups=groups)
            continue
        names = list(way.as_dictionaries)
        with pyarrow.parquet.ParquetFile(path, read_dictionary=names) as packed:
            for group in groups:
                given = 0
                try:
                    for batch in packed.iter_batches(way.rows, row_groups=[group]):
                        given += batch.num_rows
                        yield batch
                except pyarrow.ArrowNotImplementedError:
                    # Lists that go on behind the end of a dictionary can only be read decoded.
                    if way.only_so:
                        raise
                    yield from _after(file.iter_batches(way.rows, row_groups=[group]), given)


def _after(batches: Iterator[Any], rows: int) -> Iterator[Any]:
    for batch in batches:
        if rows < batch.num_rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)


def _runs(file: Any, path: Path, unpacked: _Unpacked) -> Iterator[tuple[_Way, list[int]]]:
    """Give row groups, those together that are read alike: a reader takes a while to make."""
    columns, metadata = _Columns(file.schema), file.metadata
    run: list[int] = []
    last: _Way | None = None
    for group in range(file.num_row_groups):
        try:
            way = _way(columns, metadata, path, group, unpacked)
        except Exception:
            # Looking ahead must not cost the rows before.
            if last is not None and run:
                yield last, run
            raise
        if last is not None and (way != last or len(run) == _GROUPS_PER_RUN):
            yield last, run
            run = []
        last = way
        run.append(group)
    if last is not None:
        yield last, run


class _Columns:
    """The leaves of a file's schema.

    Attributes:
        columns: As pyarrow gives them.
        nested: Whether a row may hold more than one value of a column.
        width: Bytes of a row's numbers and bytes of a fixed length.
    """

    def __init__(self, schema: Any) -> None:
        self.columns = [schema.column(number) for number in range(len(schema))]
        self.nested = any(column.max_repetition_level for column in self.columns)
        self.width = max(1, sum(max(_BYTES_PER_NUMBER, column.length) for column in self.columns))


def _way(columns: _Columns, metadata: Any, path: Path, group: int, unpacked: _Unpacked) -> _Way:
    """Decide how to read a row group.

    Raises:
        DataError: It holds more than is allowed.
    """
    footer = metadata.row_group(group)
    rows = max(1, footer.num_rows)
    rows_per_batch = max(1, min(_ROWS_PER_BATCH, _BYTES_PER_BATCH // columns.width))
    # A value is no longer than its column.
    if not columns.nested and rows_per_batch * footer.total_byte_size <= _BYTES_PER_BATCH:
        return _Way(rows_per_batch)
    packed_bytes = plain_bytes = 0
    suspects: dict[str, int] = {}
    for number, column in enumerate(columns.columns):
        held = footer.column(number)
        packed_bytes += held.total_compressed_size
        plain_bytes += held.total_uncompressed_size
        in_a_batch, allowed = rows_per_batch, _BYTES_PER_BATCH
        if column.max_repetition_level:
            in_a_batch, allowed = (
                held.num_values,
                max(allowed, _LIST_EXPANSION * unpacked.file_bytes),
            )
            # They may all be in one row, and be there without taking room in the file.
            unpacked.check(held.num_values * max(_BYTES_PER_INDEX, column.length))
        if held.physical_type != "BYTE_ARRAY":
            continue
        if in_a_batch * held.total_uncompressed_size <= allowed:
            continue
        if not _DICTIONARIES.isdisjoint(held.encodings):
            if in_a_batch * _dictionary_bytes(path, held) > allowed:
                suspects[held.path_in_schema] = allowed // in_a_batch
        elif _SHARED_STARTS in held.encodings:
            rows_per_batch = 1
    unpacked.check(plain_bytes)
    average = plain_bytes // rows
    if plain_bytes > _BYTES_PER_BATCH and plain_bytes > _TIMES_PACKED * packed_bytes:
        rows_per_batch = 1
    rows_per_batch = max(1, min(rows_per_batch, _BYTES_PER_BATCH // max(1, average)))
    longest = _longest_texts(path, group, list(suspects))
    bombs = tuple(name for name, length in longest.items() if length > suspects[name])
    only_so = any(longest[name] > _LONG_BYTES for name in bombs)
    return _Way(rows_per_batch, bombs, only_so)


def _dictionary_bytes(path: Path, held: Any) -> int:
    """Give the size of a column's dictionary as its page's header says, which decoding goes by.

    No value is longer. It is that of the whole column where it does not begin with a dictionary.
    """
    start = held.dictionary_page_offset if held.has_dictionary_page else None
    if start is None or not 0 < start < held.data_page_offset:
        return int(held.total_uncompressed_size)
    with path.open("rb") as raw:
        raw.seek(start)
        header = raw.read(12)
    # In Thrift's compact protocol: field 1 is the type of the page, field 2 its unpacked size.
    if header[:3] != b"\x15\x04\x15":
        return int(held.total_uncompressed_size)
    zigzag = shift = 0
    for byte in header[3:]:
        zigzag |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return zigzag >> 1


def _longest_texts(path: Path, group: int, names: list[str]) -> dict[str, int]:
    """Give bytes of the longest text in each column's dictionary."""
    import pyarrow.parquet

    longest = {}
    for name in names:
        with pyarrow.parquet.ParquetFile(
            path, read_dictionary=[name], buffer_size=_PROBE_BYTES
        ) as file:
            # The first row brings the whole dictionary.
            row = next(file.iter_batches(1, row_groups=[group], columns=[name]), None)
        columns = [] if row is None else row.columns
        longest[name] = max((_longest(column) for column in columns), default=0)
    return longest


def _longest(array: Any) -> int:
    """Bytes of the longest text in the dictionaries of an array."""
    import pyarrow
    import pyarrow.compute

    if isinstance(array, pyarrow.DictionaryArray):
        lengths = _lengths(array.dictionary)
        return 0 if lengths is None else pyarrow.compute.max(lengths).as_py() or 0
    return max((_longest(child) for child in _children(array)), default=0)


def _children(array: Any) -> list[Any]:
    """Give the arrays whose values make up a nested array's, and no others of theirs."""
    import pyarrow

    if isinstance(array, pyarrow.ExtensionArray):
        return [array.storage]
    if pyarrow.types.is_map(array.type):
        # Its keys and items are those of the whole array, also when it is a slice of one.
        start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return [part.slice(start, end - start) for part in (array.keys, array.items)]
    if pyarrow.types.is_struct(array.type):
        return list(array.flatten())
    if pyarrow.types.is_nested(array.type) and hasattr(array, "flatten"):
        return [array.flatten()]
    return []


def _lengths(array: Any, characters: bool = False) -> Any:
    """Give lengths of texts, in bytes or characters; None where values are no texts."""
    import pyarrow
    import pyarrow.compute

    kind = array.type
    if pyarrow.types.is_string_view(kind) or pyarrow.types.is_binary_view(kind):
        text = pyarrow.types.is_string_view(kind)
        array = array.cast(pyarrow.large_string() if text else pyarrow.large_binary())
        kind = array.type
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        measure = pyarrow.compute.utf8_length if characters else pyarrow.compute.binary_length
        return measure(array)
    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return pyarrow.compute.binary_length(array)
    return None


def _text_size(array: Any, characters: bool = False) -> int:
    """Bytes or characters of all texts in an array, each as often as it is there."""
    import pyarrow
    import pyarrow.compute

    if isinstance(array, pyarrow.DictionaryArray):
        lengths = _lengths(array.dictionary, characters)
        if lengths is not None:
            lengths = lengths.cast(pyarrow.int64()).take(array.indices)
    else:
        lengths = _lengths(array, characters)
    if lengths is not None:
        return pyarrow.compute.sum(lengths.cast(pyarrow.int64())).as_py() or 0
    return sum(_text_size(child, characters) for child in _children(array))


def _decoded_size(batch: Any) -> int:
    """Bytes of a batch's values, those of dictionaries as often as they are there."""
    return sum(
        _text_size(column) if _has_dictionary(column.type) else int(column.nbytes)
        for column in batch.columns
    )


def _python_rows(batch: Any, unpacked: _Unpacked) -> Iterator[dict[str, Any] | Exception]:
    """Give a record batch's rows; for one that Python cannot hold, why it cannot."""
    size = _decoded_size(batch)
    if size <= min(_BYTES_AT_ONCE, streams.MAX_ROW_CHARACTERS):
        unpacked.add(size)
        yield from _small_rows(batch)
        return
    for place in range(batch.num_rows):
        row = batch.slice(place, 1)
        size = _decoded_size(row)
        unpacked.add(size)
        if size > streams.MAX_ROW_CHARACTERS:
            characters = sum(_text_size(column, characters=True) for column in row.columns)
            if characters > streams.MAX_ROW_CHARACTERS:
                limit = streams.MAX_ROW_CHARACTERS
                yield _TooMuchError(f"has more than {limit:,} characters")
                continue
        yield from _small_rows(row)


def _has_dictionary(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        return True
    if isinstance(kind, pyarrow.ExtensionType):
        return _has_dictionary(kind.storage_type)
    return any(_has_dictionary(kind.field(number).type) for number in range(kind.num_fields))


def _small_rows(batch: Any) -> Iterator[dict[str, Any] | Exception]:
    # Text that is not UTF-8, a date past the year 9999, an unknown time zone: each its own error.
    failures = (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError)
    try:
        rows = batch.to_pylist()
    except failures:
        rows = [_python_row(batch, place, failures) for place in range(batch.num_rows)]
    yield from rows


def _python_row(
    batch: Any, place: int, failures: tuple[type[Exception], ...]
) -> dict[str, Any] | Exception:
    try:
        return batch.slice(place, 1).to_pylist()[0]
    except failures as error:
        return error
