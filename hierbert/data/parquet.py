"""Rows out of parquet files, decoded a few at a time.

A file of a thousand bytes can hold gigabytes: a dictionary keeps a text once and names it in every
row. So the footer is read first: where the values of a batch could pass the limit, columns of text
stay dictionaries until the size of each row is known, and where much is packed into little, a batch
is one row. Invariant: all rows together keep the limits of what a gzipped file may unpack to.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from hierbert.data import streams
from hierbert.data.document import Row, RowError, Source, check_header
from hierbert.errors import DataError, error_text

_ROWS_PER_BATCH = 32
# What a batch may hold for certain, and what becomes Python objects at a time.
_BYTES_PER_BATCH = 2**28
_BYTES_AT_ONCE = 2**26
# Text is packed less than this; what is packed more may hold long values anywhere.
_TIMES_PACKED = 20
_BYTES_PER_NUMBER = 8
_SHARED_STARTS = "DELTA_BYTE_ARRAY"
# Text that is not UTF-8, a date past the year 9999, an unknown time zone: each its own error.
_NO_VALUE = (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError)


def read_parquet(source: Source, encoding: str) -> Iterator[Row | RowError]:
    """Stream the rows of a parquet file, a few at a time: see `readers.Reader`."""
    assert source.path is not None
    number = unpacked = 0
    try:
        file_bytes = source.path.stat().st_size

        def check(more: int) -> None:
            streams.check_expansion(source, unpacked + more, file_bytes, "write it as JSON Lines")

        with pyarrow.parquet.ParquetFile(source.path) as file:
            check_header(file.schema_arrow.names, source)
            for batch in _batches(file, source, check):
                small = _size(batch) <= min(_BYTES_AT_ONCE, streams.MAX_ROW_CHARACTERS)
                rows_at_once = max(1, batch.num_rows) if small else 1
                for first in range(0, batch.num_rows, rows_at_once):
                    rows = batch.slice(first, rows_at_once)
                    size = _size(rows)
                    check(size)
                    unpacked += size
                    for values in _python_rows(rows):
                        number += 1
                        place = f"{source.name}, row {number}"
                        if isinstance(values, dict):
                            yield Row(values, place, number)
                        else:
                            yield RowError(values, place=place)
    except (pyarrow.lib.ArrowException, OSError, ValueError) as error:
        after = f"after row {number} " if number else ""
        raise DataError(
            f"cannot be read {after}as parquet: {error_text(error)}", place=source.name
        ) from error


def _batches(file: Any, source: Source, check: Callable[[int], None]) -> Iterator[Any]:
    """Record batches whose decoding is bounded."""
    columns = [file.schema.column(number) for number in range(len(file.schema))]
    texts = [column.path for column in columns if _is_text(column)]
    row_bytes = max(1, sum(max(_BYTES_PER_NUMBER, column.length) for column in columns))
    with pyarrow.parquet.ParquetFile(source.path, read_dictionary=texts) as as_dictionaries:
        for group in range(file.num_row_groups):
            footer = file.metadata.row_group(group)
            rows = max(1, min(_ROWS_PER_BATCH, _BYTES_PER_BATCH // row_bytes))
            packed_bytes = list_bytes = text_bytes = 0
            one_by_one = False
            for number, column in enumerate(columns):
                held = footer.column(number)
                packed_bytes += held.total_compressed_size
                values = rows
                if column.max_repetition_level:
                    # All may be in one row, and be there without taking room in the file.
                    values = held.num_values
                    list_bytes += values * max(_BYTES_PER_NUMBER, column.length)
                if column.path in texts:
                    # No value is longer than its column.
                    text_bytes += values * held.total_uncompressed_size
                    # Lists of two rows that go on behind the end of a dictionary cannot be read.
                    one_by_one |= column.max_repetition_level > 0
                one_by_one |= _SHARED_STARTS in held.encodings
            plain_bytes = footer.total_byte_size
            check(max(plain_bytes, list_bytes))
            if text_bytes <= _BYTES_PER_BATCH:
                yield from file.iter_batches(rows, row_groups=[group])
                continue
            if plain_bytes > max(_BYTES_PER_BATCH, _TIMES_PACKED * packed_bytes):
                one_by_one = True
            rows = 1 if one_by_one else rows
            yield from as_dictionaries.iter_batches(rows, row_groups=[group])


def _is_text(column: Any) -> bool:
    # A decimal is stored as bytes too, but has no dictionary of its own type.
    return column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "DECIMAL"


def _python_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    """A record batch's rows; for one that Python cannot or may not hold, why not."""
    limit = streams.MAX_ROW_CHARACTERS
    if batch.num_rows == 1 and _size(batch) > limit:
        characters = _size(batch, pyarrow.compute.utf8_length)
        if characters > limit:
            yield f"has more than {limit:,} characters"
            return
    try:
        yield from batch.to_pylist()
    except _NO_VALUE as error:
        if batch.num_rows == 1:
            yield f"cannot read a value: {error_text(error)}"
            return
        for place in range(batch.num_rows):
            yield from _python_rows(batch.slice(place, 1))


def _leaves(array: Any) -> Iterator[Any]:
    """The arrays whose values make up a batch or an array: dictionaries, texts, numbers."""
    kind = getattr(array, "type", None)
    if kind is None:
        parts = array.columns
    elif isinstance(array, pyarrow.ExtensionArray):
        parts = [array.storage]
    elif pyarrow.types.is_map(kind):
        # Its keys and items are those of the whole array, also when it is a slice of one.
        start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        parts = [part.slice(start, end - start) for part in (array.keys, array.items)]
    elif pyarrow.types.is_struct(kind):
        parts = array.flatten()
    elif pyarrow.types.is_nested(kind) and hasattr(array, "flatten"):
        parts = [array.flatten()]
    else:
        yield array
        return
    for part in parts:
        yield from _leaves(part)


def _size(array: Any, measure: Callable[[Any], Any] = pyarrow.compute.binary_length) -> int:
    """Bytes or characters of a batch's values, dictionaries' as often as they are there."""
    kind = pyarrow.types
    size = 0
    for leaf in _leaves(array):
        is_dictionary = isinstance(leaf, pyarrow.DictionaryArray)
        values = leaf.dictionary if is_dictionary else leaf
        if kind.is_string(values.type) or kind.is_large_string(values.type):
            lengths = measure(values)
        elif kind.is_binary(values.type) or kind.is_large_binary(values.type):
            lengths = pyarrow.compute.binary_length(values)
        else:
            size += leaf.nbytes
            continue
        if is_dictionary:
            lengths = lengths.take(leaf.indices)
        size += pyarrow.compute.sum(lengths.cast(pyarrow.int64())).as_py() or 0
    return size
