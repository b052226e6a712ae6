"""The input of a job, cut into units: consecutive rows of one source, seconds of work.

A source is cut after the row with which a unit reaches the job's limit, where a shard ends, and at
its end. Who answers a unit follows from what was read before it, so that processes need not talk to
agree. Invariant: where a source is cut, and the digest of a unit, follow from the rows and the cuts
alone: they are the same on every reading, in every process and on every engine.
"""

import hashlib
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hierbert.data.columns import Columns
from hierbert.data.corpus import CorpusReader, find_corpora
from hierbert.data.document import BrokenRow, Example, Source, Text
from hierbert.data.readers import documents_of_folder
from hierbert.data.seen_ids import SeenIds
from hierbert.errors import DataError, RunError
from hierbert.log import Progress, log
from hierbert.model.documents import Document
from hierbert.prediction.stopping import stop_if_asked

# UTF-8 bytes of texts.
_LARGEST, _LARGEST_ON_CPU, _SMALLEST = 1_000_000, 100_000, 50_000
_MOST_ROWS = 10_000
# Of an input that is smaller, so that the processes end at about the same time.
_UNITS_PER_PROCESS = 8


class InputRow(NamedTuple):
    """One row, readable or not."""

    location: str  # Where it lies, for messages: ``docs.jsonl, line 3``.
    id: str | None  # Of the document; None where the row is so broken that it has none.
    text: Text | Document | None  # The document; None of a broken row.
    broken: str | None  # Why it cannot be read; None of a document.
    # 16 hexadecimal digits that follow from the id and the text; of a broken row, from its place
    # without the folder.
    fingerprint: str
    size: int  # Of the text, in UTF-8 bytes: what its tokens are estimated by, in any script.
    kept: Mapping[str, Any] = {}  # What goes into the answer as it is.
    unread: int = 0  # As of `BrokenRow`.


class Result(NamedTuple):
    """What came of a row: its answer, or why there is none; and the text its spans point into."""

    row: InputRow
    answer: dict[str, Any] | None
    why: str | None
    text: str | None = None


class UnitName(NamedTuple):
    """Which unit of which source, both from 0; in the order of the input."""

    source: int
    number: int


class Unit(NamedTuple):
    """Some rows, at least one."""

    name: UnitName
    first_row: int  # Number of its first row in the source, from 0.
    rows: list[InputRow]
    size: int  # Of their texts, in UTF-8 bytes.
    digest: str  # 32 hexadecimal digits that follow from the rows and from `last`.
    last: bool  # Whether it is the last of its source.
    shard: int = 0  # Which shard its rows are in, from 0; 0 where there are none.
    rows_before: int = 0  # Rows of the input before it, those of other sources too.


@dataclass
class SourceCheck:
    """What a source holds, as far as it was read."""

    rows: int = 0  # Documents and broken rows.
    size: int = 0  # Of its texts, in UTF-8 bytes.
    broken: int = 0  # How many rows cannot be read.
    digest: str = ""  # Follows from the rows.
    unread: int = 0  # Rows of it where it is a file that was refused as a whole.

    def count(self, rows: Iterable[InputRow]) -> Iterator[InputRow]:
        """Count rows while they go by."""
        for row in rows:
            self.rows += 1
            self.size += row.size
            self.broken += row.broken is not None
            self.unread += row.unread
            self.digest = _digest(self.digest, row.fingerprint)
            yield row


@dataclass(frozen=True)
class Inputs:
    """What a job reads, by `hierbert.data`, whose ids and messages are the same everywhere."""

    # What `find_corpora` gives; paths are absolute, so that every process of a machine reads the
    # same files.
    sources: list[Source]
    reader: CorpusReader

    @classmethod
    def find(
        cls,
        spec: list[str],
        columns: Columns,
        encoding: str = "utf-8",
        input_format: str = "jsonl",
        keep_broken: bool = False,
    ) -> "Inputs":
        """Find the sources; arguments and errors are as of `corpus.read_documents`."""
        sources = [
            source if source.path is None else replace(source, path=source.path.absolute())
            for source in find_corpora({"input": spec}, columns, input_format=input_format)["input"]
        ]
        return cls(sources, CorpusReader(sources, columns, encoding, keep_broken))

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once."""
        return any(source.is_stream for source in self.sources)

    @property
    def names(self) -> list[str]:
        """What messages call the sources."""
        return [source.name for source in self.sources]

    @property
    def paths(self) -> list[Path]:
        """The files and folders that are read."""
        return [source.path for source in self.sources if source.path is not None]

    def describe(self, checks: Sequence[SourceCheck] | None = None) -> list[dict[str, Any]]:
        """The sources by name, with the bytes of files, and their rows where they were checked."""
        described: list[dict[str, Any]] = [{"name": name} for name in self.names]
        for source, values in zip(self.sources, described, strict=True):
            if source.path is not None and source.path.is_file():
                values["bytes"] = source.path.stat().st_size
        for check, values in zip(checks or (), described, strict=False):
            values |= {"rows": check.rows, "digest": check.digest}
        return described

    def rows(
        self,
        index: int,
        seen: SeenIds | None = None,
        check: SourceCheck | None = None,
        stamp: Any = None,
    ) -> Iterator[InputRow]:
        """Stream the rows of a source.

        `seen` are ids of the sources before; None finds those alone that occur twice in this one. A
        RunError where the source holds other rows than at its `check`, or without one, where its
        files are not what they were at its `_stamp`: whatever it was that reading stopped at.
        """
        now, source = SourceCheck(), self.sources[index]
        examples = self.reader.one_source(index, SeenIds() if seen is None else seen)
        changed = RunError(
            f"--input {self.names[index]} has changed since "
            f"{'the job began' if check is None else 'it was checked'}; leave the input alone "
            "while a job runs"
        )
        try:
            yield from now.count(map(to_row, examples))
        except DataError as error:
            # What was cut while it was read may end in the middle of a row.
            if source.path is None or (check is None and not _has_changed(source, stamp)):
                raise
            raise changed from error
        if now != check if check is not None else _has_changed(source, stamp):
            raise changed

    def by_source(
        self, checks: Sequence[SourceCheck] | None = None
    ) -> Iterator[Iterator[InputRow]]:
        """The rows of each source, to be read in this order: see `rows`."""
        seen, stamps = SeenIds(), [_stamp(source) for source in self.sources]
        for index, stamp in enumerate(stamps):
            yield self.rows(index, seen, None if checks is None else checks[index], stamp)


def _stamp(source: Source) -> Any:
    """Size and time of a file, or of those of a folder of texts; None where none can be seen."""
    path = source.path
    if path is None:
        return None
    try:
        paths = [path / name for name in documents_of_folder(path)] if path.is_dir() else [path]
        found = [one.stat() for one in paths]
    except (OSError, DataError):
        return None
    return [(str(one), at.st_size, at.st_mtime_ns) for one, at in zip(paths, found, strict=True)]


def _has_changed(source: Source, stamp: Any) -> bool:
    """Whether a source is another than at its stamp; what is gone is an error of its own."""
    return None not in (stamp, now := _stamp(source)) and now != stamp


def to_row(item: Example | BrokenRow) -> InputRow:
    """A row with its fingerprint."""
    if isinstance(item, BrokenRow):
        return broken_row(item.location, item.id, item.reason)._replace(unread=item.unread)
    document = Document(item.text, item.fields) if item.fields else item.text
    # Of a text alone as it was before there were fields, so that jobs under way go on.
    read: Any = [item.text, item.fields] if item.fields else item.text
    read = [read, item.kept] if item.kept else read
    text = read if isinstance(read, str) else json.dumps(read, default=str)
    content = text.encode("utf-8", "surrogatepass")
    fingerprint = _fingerprint(item.id, content)
    return InputRow(item.location, item.id, document, None, fingerprint, len(content), item.kept)


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


def check_inputs(inputs: Inputs) -> list[SourceCheck]:
    """Read all input once, see what each source holds, and say how much of it is broken.

    The first row that cannot be read is a DataError, unless broken rows are kept.
    """
    checks = []
    with Progress(None, "checking the input", unit="rows") as bar:
        for rows in inputs.by_source():
            checks.append(SourceCheck())
            for _ in checks[-1].count(rows):
                bar.advance()
                stop_if_asked()
    say_broken(checks)
    return checks


def say_broken(checks: Sequence[SourceCheck]) -> None:
    """Say how many rows cannot be read, if any."""
    if broken := sum(check.broken for check in checks if not check.unread):
        log.info(f"the input holds {broken:,} rows that cannot be read")
    if refused := refused_files(checks):
        log.warning(refused)


def refused_files(checks: Iterable[SourceCheck]) -> str:
    """How many files are refused as a whole, and how many rows these have; "" for none."""
    unread = [check.unread for check in checks if check.unread]
    files = f"{len(unread)} {'file' if len(unread) == 1 else 'files'}"
    return f"{files} refused, {sum(unread):,} rows unread" if unread else ""


def unit_limit(checks: list[SourceCheck] | None, processes: int, on_cpu: bool) -> int:
    """UTF-8 bytes of texts with which a unit ends, so that every process has work."""
    largest = _LARGEST_ON_CPU if on_cpu else _LARGEST
    if checks is None:
        return largest
    share = sum(check.size for check in checks) // (_UNITS_PER_PROCESS * processes)
    return max(_SMALLEST, min(largest, share))


class Cuts(NamedTuple):
    """Where units end: after so many UTF-8 bytes of texts, and with each shard of the input.

    Where `shards` are given, nothing is to be done but what is in these.
    """

    size: int
    rows_per_shard: int | None = None
    shards: frozenset[int] | None = None


def cut_units(
    rows: Iterable[InputRow], source: int, cuts: Cuts, rows_before: int = 0
) -> Iterator[Unit]:
    """Cut the rows of a source into units; the sources before have so many rows."""
    name, first_row, size = UnitName(source, 0), 0, 0
    unit: list[InputRow] = []

    def cut(last: bool) -> Unit:
        return _unit(name, first_row, unit, last, rows_before + first_row, cuts.rows_per_shard)

    for row in rows:
        most = _MOST_ROWS
        if cuts.rows_per_shard is not None:
            in_shard = (rows_before + first_row) % cuts.rows_per_shard
            most = min(most, cuts.rows_per_shard - in_shard)
        if size >= cuts.size or len(unit) == most:
            yield cut(last=False)
            name, first_row, size = UnitName(source, name.number + 1), first_row + len(unit), 0
            unit = []
        unit.append(row)
        size += row.size
    if unit:
        yield cut(last=True)


def _unit(
    name: UnitName,
    first_row: int,
    rows: list[InputRow],
    last: bool,
    rows_before: int,
    rows_per_shard: int | None,
) -> Unit:
    digest = _digest(*(row.fingerprint for row in rows), "last" if last else "")
    shard = rows_before // (rows_per_shard or sys.maxsize)
    size = sum(row.size for row in rows)
    return Unit(name, first_row, rows, size, digest, last, shard, rows_before)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("".join(parts).encode(), digest_size=16).hexdigest()


def all_units(
    inputs: Inputs, cuts: Cuts, checks: list[SourceCheck] | None = None
) -> Iterator[Unit]:
    """The units of all sources, in order, by one process; raises as `Inputs.rows`."""
    count = 0
    for index, rows in enumerate(inputs.by_source(checks)):
        for unit in cut_units(rows, index, cuts, rows_before=count):
            yield unit
            count += len(unit.rows)


def share_units(
    units: Iterable[Unit],
    done: Mapping[UnitName, str],
    names: Sequence[str],
    processes: int = 1,
    index: int = 0,
    shards: Collection[int] | None = None,
) -> Iterator[tuple[Unit, Literal["own", "other", "done"]]]:
    """Share units between processes: each goes to the process that has least so far.

    All units are yielded, each with whether it is this process's (number `index`), another's, or
    was done before, by digests that are the same on every process, or is in none of the `shards`
    that are wanted. A RunError where what was done before was of other rows, or of more.
    """
    totals = [0] * processes
    met = 0
    for unit in units:
        if unit.name in done:
            met += 1
            if done[unit.name] != unit.digest:
                first, last = unit.first_row + 1, unit.first_row + len(unit.rows)
                name = names[unit.name.source]
                raise changed_input(f"rows {first:,} to {last:,} of {name} are not what they were")
            yield unit, "done"
            continue
        if shards is not None and unit.shard not in shards:
            yield unit, "done"
            continue
        owner = totals.index(min(totals))
        totals[owner] += unit.size
        yield unit, "own" if owner == index else "other"
    if met < len(done):
        raise changed_input("it has fewer rows now")


def changed_input(how: str) -> RunError:
    """The mistake of going on with other input."""
    return RunError(f"--resume: the input has changed: {how}; --overwrite starts anew")
