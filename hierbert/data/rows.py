"""A row as its file holds it, and what is said when it cannot be read.

It opens nothing. Invariant: a row's place is said the same way, whether it was read or not.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

from hierbert.data.broken import BrokenRow, RowError
from hierbert.data.sources import Source
from hierbert.data.streams import bad_byte_reason
from hierbert.errors import DataError, Setting


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

    def broken(self, number: int, detail: str, cause: Exception | None = None) -> BrokenRow:
        """Give a broken row's item.

        Raises:
            RowError: Broken rows are not kept.
        """
        location = Row({}, self.source.name, number, _unit(self.source)).location
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

    def not_text(self, byte: int) -> str:
        """Say that something holds a byte that is no text."""
        return bad_byte_reason(byte, self.encoding, self.setting)


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
        lost = f"; the rest of the file after {_unit(source)} {last} was not read"
    else:
        lost = "; nothing of the file was read"
    return BrokenRow(None, source.name, reason + lost)


def _unit(source: Source) -> str:
    return "line" if source.format == "jsonl" else "row"
