"""What the readers share: a source, a row as its file holds it, an example, and a row in error."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierbert.errors import DataError, Setting, flag_setting, quote, quote_all

Text = str | list[str] | list[list[str]]


@dataclass(frozen=True)
class Source:
    """One thing to read rows from.

    Attributes:
        name: What messages call it: the path as given, ``standard input``,
            ``hub://user/name#split``, ``package://name/split`` or ``the list handed in``.
        format: The name of its reader in `readers.READERS`.
        path: The file or folder; None for all else.
        packing: How the file is packed, by the ending of its name, such as ".gz"; "" for not.
        dataset: The Hub dataset's or the package's name.
        config: The Hub dataset's configuration, when one was named.
        split: The split of a Hub dataset or package.
        given: Rows in memory.
        stem: What made ids begin with, where it is not the name.
        delimiter: Between the fields of csv; None where the header tells.
    """

    name: str
    format: str
    path: Path | None = None
    packing: str = ""
    dataset: str = ""
    config: str | None = None
    split: str = ""
    given: Any = field(default=None, repr=False, compare=False)
    stem: str = ""
    delimiter: str | None = None

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once: standard input or an iterator."""
        if self.given is not None:
            return iter(self.given) is self.given
        return self.path is None and not self.dataset


@dataclass(frozen=True)
class Row:
    """One document's values, still as the file holds them.

    Attributes:
        values: Column name to value; of csv and tsv all values are strings.
        location: Where it lies: ``docs.jsonl, line 3``, ``my.csv, row 17``, ``folder/a.txt``.
        number: Counted from 1: the physical line of JSON Lines, the data row (the header not
            counted) of other formats; 0 where the file is the document.
    """

    values: dict[str, Any]
    location: str
    number: int


@dataclass(frozen=True)
class Example:
    """One document of a corpus.

    Attributes:
        id: Unlike that of any other example of the corpus.
        text: The whole text, or its sentences or segments as the corpus cut them, or sentences
            within segments. May be empty.
        fields: What stands in the other columns that were asked for, by the names of `Columns`,
            such as "label" and "summary"; None where the document has none.
        location: Where it came from, for messages: ``docs.jsonl, line 3``.
        kept: What stands in the columns that go into the answers as they are; plain JSON values.
    """

    id: str
    text: Text
    fields: Mapping[str, Any]
    location: str
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BrokenRow:
    """A row that was passed over, or the rest of a file that cannot be read.

    Attributes:
        id: The row's id where it could be read or made; None where not.
        location: Where it lies: ``docs.jsonl, line 3``, or the file alone when its rest is broken.
        reason: What is wrong with it and what is allowed, in one line; settings are named as
            infer.py's flags, unless the reader was asked for another way.
        unread: Where it stands for a whole file, how many rows that has; else 0.
    """

    id: str | None
    location: str
    reason: str
    unread: int = 0


class RowError(DataError):
    """One row that cannot be read; those after it can."""

    row_id: str | None = None

    def as_row(self, name_of: Setting = flag_setting) -> BrokenRow:
        """The same as an item among the rows."""
        place = self.place or ""
        return BrokenRow(self.row_id, place, self.worded(name_of).removeprefix(f"{place}: "))


def rest_of_source(
    error: DataError,
    source: Source,
    last: str,
    unread: int = 0,
    name_of: Setting = flag_setting,
) -> BrokenRow:
    """The item that stands for the rest of a source, after the last place that was read, if any.

    Where it is known that none of its rows is read, `unread` is how many there are.
    """
    lost = f"its {unread:,} rows were not read" if unread else "nothing of the file was read"
    if last:
        place = last.removeprefix(f"{source.name}, ")
        lost = f"the rest of the file after {place} was not read"
    reason = error.worded(name_of).removeprefix(source.name).lstrip(" ,:")
    return BrokenRow(None, source.name, f"{reason}; {lost}", unread)


def check_header(names: Iterable[str], source: Source) -> None:
    """Refuse (DataError) a header that leaves a column without a name or names one twice."""
    header = list(names)
    for number, name in enumerate(header, 1):
        if not name.strip():
            raise DataError(
                f"the header's column {number} has no name; the header is {quote_all(header)}",
                place=source.name,
            )
    for name, count in Counter(header).items():
        if count > 1:
            raise DataError(f"the header names the column {quote(name)} twice", place=source.name)


def words_of(text: Text) -> Iterator[str]:
    """The words of a text, however it is cut."""
    for part in [text] if isinstance(text, str) else text:
        yield from part.split() if isinstance(part, str) else words_of(part)


def is_blank(text: Text) -> bool:
    """Whether there is nothing to read: no text, or nothing but white space."""
    if isinstance(text, str):
        return not text or text.isspace()
    return all(is_blank(part) for part in text)
