"""The input of a job, cut into units: consecutive rows of one source, some seconds of work.

A source is cut after the row with which a unit reaches the job's limit, where a shard ends, and at
its end. Who answers a unit follows from what was read before it, so that processes need not talk to
agree. Invariant: where a source is cut, and the digest of a unit, follow from the rows and the cuts
alone: they are the same on every reading, in every process and on every engine.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from hierbert.data.columns import Columns
from hierbert.data.corpus import CorpusReader
from hierbert.data.document import BrokenRow, Example, Source, Text
from hierbert.data.seen_ids import SeenIds
from hierbert.data.sources import resolve_sources
from hierbert.errors import RunError
from hierbert.log import Progress, log
from hierbert.model.documents import Document

# Characters, counted as UTF-8 bytes.
_LARGEST, _LARGEST_ON_CPU, _SMALLEST = 1_000_000, 100_000, 50_000
_MOST_ROWS = 10_000
# Of an input that is smaller, so that the processes end at about the same time.
_UNITS_PER_PROCESS = 8


class UnitName(NamedTuple):
    """Which unit: it also stands before the unit's rows. Names are in the order of the input.

    Attributes:
        source: From 0, in the order of the input.
        number: Of the unit in its source, from 0.
    """

    source: int
    number: int


class InputRow(NamedTuple):
    """One row, readable or not.

    Attributes:
        location: Where it lies, for messages: ``docs.jsonl, line 3``.
        id: Of the document; None where the row is so broken that it has none.
        text: The document; None of a broken row.
        broken: Why it cannot be read; None of a document.
        fingerprint: 16 hexadecimal digits that follow from the id and the text; of a broken row,
            from its place without the folder.
        size: Of the text, in UTF-8 bytes: what its tokens are estimated by, in any script.
    """

    location: str
    id: str | None
    text: Text | Document | None
    broken: str | None
    fingerprint: str
    size: int


class UnitEnd(NamedTuple):
    """All rows of a unit have gone by.

    Attributes:
        source: Of the unit's name.
        number: Of the unit's name.
        first_row: Of the source, from 0.
        rows: How many rows it has.
        size: Of their texts, in UTF-8 bytes.
        digest: 32 hexadecimal digits that follow from its rows, and from whether it is the last.
        last: Whether it is the last of its source.
    """

    source: int
    number: int
    first_row: int
    rows: int
    size: int
    digest: str
    last: bool

    @property
    def name(self) -> UnitName:
        """The name of the unit."""
        return UnitName(self.source, self.number)


class Passed(NamedTuple):
    """A unit that another process answers, or that was done before.

    Attributes:
        rows: How many.
        size: Of their texts, in UTF-8 bytes.
        done_before: Whether it was done before the job began or was resumed.
    """

    rows: int
    size: int
    done_before: bool


class SourceCheck(NamedTuple):
    """What a source held when it was checked.

    Attributes:
        rows: Documents and broken rows.
        size: Of its texts, in UTF-8 bytes.
        broken: How many rows cannot be read.
        digest: Follows from the rows.
    """

    rows: int
    size: int
    broken: int
    digest: str


@dataclass(frozen=True)
class Inputs:
    """What a job reads, by `hierbert.data`, whose ids and messages are the same everywhere.

    Attributes:
        sources: What `resolve_sources` gives; paths are absolute, so that every process of a
            machine reads the same files.
        columns: Which column holds what.
        encoding: Of text files.
        keep_broken: Whether a row that cannot be read is a row all the same, rather than an error.
    """

    sources: list[Source]
    columns: Columns
    encoding: str = "utf-8"
    keep_broken: bool = False

    @classmethod
    def find(
        cls,
        spec: list[str],
        columns: Columns,
        encoding: str = "utf-8",
        input_format: str = "jsonl",
        keep_broken: bool = False,
    ) -> "Inputs":
        """Find the sources.

        Args:
            spec: Paths, globs, folders or Hub ids; ["-"] for standard input.
            columns: Which column holds what.
            encoding: Of text files.
            input_format: Of standard input.
            keep_broken: Whether a row that cannot be read is a row all the same.

        Raises:
            DataError: A source cannot be found.
        """
        sources = resolve_sources(spec, "input", input_format=input_format)
        absolute = [
            source if source.path is None else replace(source, path=source.path.absolute())
            for source in sources
        ]
        return cls(absolute, columns, encoding, keep_broken)

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once."""
        return any(source.is_stream for source in self.sources)

    @property
    def paths(self) -> list[Path]:
        """The files and folders that are read."""
        return [source.path for source in self.sources if source.path is not None]

    def describe(self) -> list[dict[str, Any]]:
        """The sources by name, with the bytes of files, for people to read."""
        sizes = [
            {"bytes": source.path.stat().st_size} if source.path and source.path.is_file() else {}
            for source in self.sources
        ]
        return [
            {"name": source.name, **size} for source, size in zip(self.sources, sizes, strict=True)
        ]

    def rows(self, index: int, seen: SeenIds | None = None) -> Iterator[InputRow]:
        """Stream the rows of a source.

        Args:
            index: Which source.
            seen: Ids of the sources before; None finds those alone that occur twice in this one.

        Raises:
            DataError: The source cannot be read, or a row, unless broken rows are kept.
        """
        reader = CorpusReader(self.sources, self.columns, self.encoding, self.keep_broken)
        return map(_to_row, reader.one_source(index, SeenIds() if seen is None else seen))

    def checked_rows(
        self, index: int, check: SourceCheck | None, seen: SeenIds | None = None
    ) -> Iterator[InputRow]:
        """The rows of a source that was checked before.

        Raises:
            RunError: They are other rows now.
        """
        rows = CheckedRows(self.rows(index, seen))
        yield from rows
        if check is not None and rows.check() != check:
            raise RunError(
                f"--input {self.sources[index].name} has changed since it was checked; leave the "
                "input alone while a job runs"
            )


def _to_row(item: Example | BrokenRow) -> InputRow:
    if isinstance(item, BrokenRow):
        return broken_row(item.location, item.id, item.reason)
    document = Document(item.text, item.fields) if item.fields else item.text
    # Of a text alone as it was before there were fields, so that jobs under way go on.
    read = [item.text, item.fields] if item.fields else item.text
    text = read if isinstance(read, str) else json.dumps(read, default=str)
    content = text.encode("utf-8", "surrogatepass")
    return InputRow(
        item.location, item.id, document, None, _fingerprint(item.id, content), len(content)
    )


def broken_row(location: str, document_id: str | None, why: str) -> InputRow:
    """A row that cannot be answered; it is known by its place."""
    # The file's name and the line, for the folder may be another one when a job is resumed.
    place = location.replace("\\", "/").rpartition("/")[2]
    fingerprint = _fingerprint("broken", place.encode("utf-8", "surrogatepass"))
    return InputRow(location, document_id, None, why, fingerprint, 0)


def _fingerprint(name: str, content: bytes) -> str:
    digest = hashlib.blake2b(json.dumps(name).encode(), digest_size=8)
    digest.update(b"\0")
    digest.update(content)
    return digest.hexdigest()


class CheckedRows:
    """Rows that are counted while they go by.

    Args:
        rows: Of one source.
    """

    def __init__(self, rows: Iterable[InputRow]) -> None:
        self._source = rows
        self._digest = hashlib.blake2b(digest_size=16)
        self._rows = self._size = self._broken = 0

    def __iter__(self) -> Iterator[InputRow]:
        for row in self._source:
            self._digest.update(row.fingerprint.encode())
            self._rows += 1
            self._size += row.size
            self._broken += row.broken is not None
            yield row

    def check(self) -> SourceCheck:
        """What went by."""
        return SourceCheck(self._rows, self._size, self._broken, self._digest.hexdigest())


def check_inputs(inputs: Inputs) -> list[SourceCheck] | None:
    """Read all input once, and say how much of it is broken.

    Args:
        inputs: What to read.

    Returns:
        What each source holds; None when it can be read only once and so was not read.

    Raises:
        DataError: The first row that cannot be read, unless broken rows are kept.
    """
    if inputs.is_stream:
        return None
    seen, checks = SeenIds(), []
    with Progress(None, "checking the input", unit="rows") as bar:
        for index in range(len(inputs.sources)):
            rows = CheckedRows(inputs.rows(index, seen))
            for _ in rows:
                bar.advance()
            checks.append(rows.check())
    say_broken(checks)
    return checks


def say_broken(checks: Iterable[SourceCheck]) -> None:
    """Say how many rows of the input cannot be read, if any."""
    if broken := sum(check.broken for check in checks):
        log.info(f"the input holds {broken:,} rows that cannot be read")


def unit_limit(checks: list[SourceCheck] | None, processes: int, on_cpu: bool) -> int:
    """How large units are: smaller where the input is, so that every process has work.

    Args:
        checks: What the input holds; None where that is not known.
        processes: How many share it.
        on_cpu: Whether documents are encoded by cores, which take the longer for them.

    Returns:
        UTF-8 bytes of the texts with which a unit ends.
    """
    largest = _LARGEST_ON_CPU if on_cpu else _LARGEST
    if checks is None:
        return largest
    share = sum(check.size for check in checks) // (_UNITS_PER_PROCESS * processes)
    return max(_SMALLEST, min(largest, share))


class Cuts(NamedTuple):
    """Where units end, beside the end of each source.

    Attributes:
        size: UTF-8 bytes of texts with which a unit ends.
        rows_per_shard: A unit ends with each so many rows of the input; None where not.
    """

    size: int
    rows_per_shard: int | None = None


def cut_units(
    rows: Iterable[InputRow], source: int, cuts: Cuts, rows_before: int = 0
) -> Iterator[UnitName | InputRow | UnitEnd]:
    """Cut the rows of a source into units, of at least one unit.

    Args:
        rows: Of the source, in order.
        source: Which one.
        cuts: Where units end.
        rows_before: How many rows the sources before have.

    Yields:
        Of each unit its name, its rows and its end.
    """
    number = first_row = count = size = 0

    def most_rows() -> int:
        if cuts.rows_per_shard is None:
            return _MOST_ROWS
        shard = cuts.rows_per_shard
        return min(_MOST_ROWS, shard - (rows_before + first_row) % shard)

    most = most_rows()
    digest = hashlib.blake2b(digest_size=16)
    yield UnitName(source, number)
    for row in rows:
        if size >= cuts.size or count >= most:
            yield UnitEnd(source, number, first_row, count, size, digest.hexdigest(), False)
            number, first_row, count, size = number + 1, first_row + count, 0, 0
            most = most_rows()
            digest = hashlib.blake2b(digest_size=16)
            yield UnitName(source, number)
        digest.update(row.fingerprint.encode())
        count += 1
        size += row.size
        yield row
    digest.update(b"last")
    yield UnitEnd(source, number, first_row, count, size, digest.hexdigest(), True)


def all_units(
    inputs: Inputs, cuts: Cuts, checks: list[SourceCheck] | None = None
) -> Iterator[UnitName | InputRow | UnitEnd]:
    """The units of all sources, in order, by one process.

    Args:
        inputs: What to read.
        cuts: Where units end.
        checks: What each source held before; None where that is not known.

    Raises:
        DataError: See `Inputs.rows`.
        RunError: A source has changed since it was checked.
    """
    seen, rows_before, rows = SeenIds(), 0, 0
    for index in range(len(inputs.sources)):
        check = None if checks is None else checks[index]
        read = inputs.checked_rows(index, check, seen)
        for item in cut_units(read, index, cuts, rows_before):
            rows += isinstance(item, InputRow)
            yield item
        rows_before = rows


def own_units(
    items: Iterable[UnitName | InputRow | UnitEnd],
    done: Mapping[UnitName, str],
    processes: int = 1,
    index: int = 0,
    names: Sequence[str] = (),
) -> Iterator[UnitName | InputRow | UnitEnd | Passed]:
    """The units that one process answers: each goes to the process that has least so far.

    Args:
        items: From `all_units`, or `cut_units` of one source.
        done: Digests of the units of `items` that were done before; the same on every process.
        processes: How many share the units.
        index: This one, from 0.
        names: Of all sources, for messages; needed where something is done.

    Yields:
        The process's units, and a `Passed` for each of the others.

    Raises:
        RunError: What was done before was of other rows, or of more.
    """
    totals = [0] * processes
    owner: int | None = None
    met = 0
    for item in items:
        if isinstance(item, UnitName):
            owner = None if item in done else totals.index(min(totals))
        elif isinstance(item, UnitEnd):
            if owner is not None:
                totals[owner] += item.size
            else:
                met += 1
                if done[item.name] != item.digest:
                    raise _changed(
                        f"rows {item.first_row + 1:,} to {item.first_row + item.rows:,} of "
                        f"{names[item.source]} are not what they were"
                    )
            if owner != index:
                yield Passed(item.rows, item.size, owner is None)
        if owner == index:
            yield item
    if met < len(done):
        raise _changed("it has fewer rows now")


def _changed(how: str) -> RunError:
    return RunError(f"--resume: the input has changed: {how}; --overwrite starts anew")
