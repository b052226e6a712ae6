"""Rows out of csv and tsv files, whose rows all have the same columns.

It knows nothing of what columns mean. Invariant: no two columns share a name, and every row that is
given has exactly the header's columns.
"""

import csv
from collections.abc import Iterator

from hierbert.data.broken import BrokenRow
from hierbert.data.rows import Reading, Row
from hierbert.data.sources import Source
from hierbert.data.streams import (
    MAX_ROW_CHARACTERS,
    LongLineError,
    bad_byte,
    lines_of_any_end,
    text_pieces,
)
from hierbert.errors import DataError, quote, quote_all


class _Watch:
    """The physical lines of a table as `csv` takes them, watched for what it cannot tell."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
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


def read_csv(reading: Reading) -> Iterator[Row | BrokenRow]:
    """Stream the rows of a csv or tsv file, all values strings: see `readers.read_rows`."""
    source = reading.source
    # The limit is the module's, not the reader's, so it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARACTERS))
    marks = reading.keep_broken
    lines = lines_of_any_end(
        text_pieces(source, reading.encoding, reading.setting, mark_bad_bytes=marks)
    )
    watch = _Watch(lines)
    # Watching costs time, and only where broken rows are kept does it matter.
    delimiter = "\t" if source.format == "tsv" else ","
    table = csv.reader(watch if marks else lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = last_line = 0
    while True:
        try:
            fields = next(table, None)
        except (csv.Error, LongLineError) as error:
            where = f", row {number + 1}" if header else ", the header"
            detail = f" ({_line_span(last_line + 1, table.line_num)}) is broken: {error}"
            # Quotes come in pairs. Where they do not, no one can tell text from the next row.
            can_go_on = isinstance(error, csv.Error) and watch.quotes % 2 == 0
            if header is None or not can_go_on or not reading.keep_broken:
                reading.refuse(where + detail, error)
            number += 1
            yield reading.broken(number, detail, error)
            last_line = table.line_num
            watch.start_row()
            continue
        if fields is None:
            return
        first_line, last_line = last_line + 1, table.line_num
        bad = watch.bad_byte
        watch.start_row()
        if not fields:
            continue
        if header is None:
            if bad is not None:
                reading.refuse(f", the header {reading.not_text(bad)}")
            header = checked_header(fields, source)
            continue
        number += 1
        if bad is not None:
            yield reading.broken(number, f" {reading.not_text(bad)}")
        elif len(fields) != len(header):
            detail = f"{len(fields)} fields, but the header has {len(header)} ({quote_all(header)})"
            place = _line_span(first_line, last_line)
            yield reading.broken(number, f" ({place}) has {detail}")
        else:
            yield Row(dict(zip(header, fields, strict=True)), source.name, number, "row")


def _line_span(first: int, last: int) -> str:
    return f"line {last}" if first >= last else f"lines {first} to {last}"


def checked_header(names: list[str], source: Source) -> list[str]:
    """Give the names of a table's columns, each of which there is once.

    Raises:
        DataError: One is empty, or there twice.
    """
    seen = set()
    for place, name in enumerate(names):
        if not name.strip():
            raise DataError(
                f"{source.field}: {source.name}: the header's column {place + 1} has no name; "
                f"the header is {quote_all(names)}"
            )
        if name in seen:
            raise DataError(
                f"{source.field}: {source.name}: the header names the column {quote(name)} twice"
            )
        seen.add(name)
    return names
