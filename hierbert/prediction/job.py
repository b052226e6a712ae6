"""What is done of a job: a file for each unit, and the output made of these.

What state a unit is in is what the folder says, not what a process remembers:

* Not done: there is no file of its name. A process that answers it holds its rows.
* Done: these and a footer were written to a file aside, synced, and renamed to the unit's name. The
  rename makes it done; done twice, it is the same rows, so that the second rename loses nothing.
* In the output: the file or shard of its rows was written aside, synced and renamed; of a shard
  the manifest then says so. Units stay until the whole output is there, so that a shard that was
  lost is made again without answering anything.

Invariants, after a kill of any process at any moment:

1. A unit's file has one line for each row, in order, then a footer with their checksum; without
   such a footer it is not done, and what does not match it never comes into the output.
2. Only whole files have the names of outputs. Each row is in them once, in the order of the input,
   for one process makes them, walking the units in the order of their names.
3. A folder of units belongs to one job, and stays its own when the job is resumed, by whatever
   engine. A process that outlives its job writes the same units, or into a folder that is gone.
"""

import contextlib
import hashlib
import json
import os
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import BinaryIO

from hierbert.errors import RunError
from hierbert.files import open_plain, write_whole
from hierbert.log import log
from hierbert.prediction.answer_files import encode_line, write_rows
from hierbert.prediction.output_folder import Manifest, OutputFolder, Part
from hierbert.prediction.units import Cuts, InputRow, Result, Unit, UnitName, changed_input
from hierbert.state_files import ShapeError, file_checksum, of_shape

_ANSWER, _FAILURE, _FOOTER = b"+", b"-", b"="
# Of a line, what stands before the JSON: its kind and the row's fingerprint.
_HEAD_BYTES = 17
_LONGEST_FOOTER_BYTES = 1024
_UNIT_FILE = re.compile(r"unit-(\d{5,9})-(\d{6,9})", re.ASCII)  # see `unit_path`


@dataclass(frozen=True, slots=True)
class Footer:
    """What the file of a unit holds."""

    rows: int  # Rows of the input.
    answers: int  # Rows that were answered.
    size: int  # As of `Unit`.
    input: str  # The unit's digest.
    last: bool  # As of `Unit`.
    checksum: int  # CRC-32 of the lines before.

    def line(self) -> bytes:
        """The line of the file, with a checksum of its own."""
        line = _FOOTER + json.dumps(asdict(self)).encode()
        return line + b"%08x\n" % zlib.crc32(line)


def unit_path(folder: Path, name: UnitName) -> Path:
    """The file of a unit."""
    return folder / f"unit-{name.source:05d}-{name.number:06d}"


def read_footer(path: Path) -> Footer | None:
    """What the file of a unit says it holds; None where the unit is not done."""
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LONGEST_FOOTER_BYTES))
            end = file.read()
        line = end[end.rfind(b"\n", 0, -1) + 1 :]
        footer = of_shape(json.loads(line[1:-9]), Footer)
        return footer if line == footer.line() else None
    except (OSError, ShapeError, ValueError, RecursionError):
        return None


def done_units(folder: Path) -> dict[UnitName, Footer]:
    """The units that are done."""
    footers = {name: read_footer(path) for path, name in _unit_files(folder).items()}
    return {name: footer for name, footer in footers.items() if footer is not None}


def whole_units(folder: Path) -> dict[UnitName, Footer]:
    """The units that are done and as they were written; others are removed, to be answered again.

    All of them are read.
    """
    done = done_units(folder)
    for path, name in _unit_files(folder).items():
        if name in done:
            with os.fdopen(open_plain(path), "rb") as file:
                if _is_whole(file, done[name]):
                    continue
            del done[name]
        log.info(f"{path} is not what the job wrote: its rows are answered again")
        path.unlink()
    return done


def _unit_files(folder: Path) -> dict[Path, UnitName]:
    """What has the name of a unit's file, whatever it is."""
    paths = {path: _UNIT_FILE.fullmatch(path.name) for path in sorted(folder.glob("unit-*"))}
    return {path: UnitName(int(m[1]), int(m[2])) for path, m in paths.items() if m}


def write_units(
    target: OutputFolder,
    folder: Path,
    units: Iterable[Unit],
    answer: Callable[[Iterable[InputRow]], Iterator[Result]],
) -> Iterator[Unit]:
    """Answer units and write them into a folder: each is done when it is yielded.

    They are read as they are needed, and their rows answered as one stream, in order. A RunError
    where one cannot be written, or the job's folder is gone.
    """
    begun: deque[Unit] = deque()

    def rows() -> Iterator[InputRow]:
        for unit in units:
            begun.append(unit)
            yield from unit.rows

    results = answer(rows())
    for first in results:
        unit = begun.popleft()
        _write_unit(target, folder, unit, chain([first], islice(results, len(unit.rows) - 1)))
        yield unit


def _write_unit(target: OutputFolder, folder: Path, unit: Unit, results: Iterable[Result]) -> None:
    lines: list[bytes] = []
    answers = checksum = 0
    for row, answer, why, text in results:
        if answer is not None and text is not None and target.pages is not None:
            # Before the unit is done, so that what is done has its pages.
            target.pages.write(unit.rows_before + len(lines), row.fingerprint, text, answer)
        kind = _FAILURE if answer is None else _ANSWER
        if answer is None:
            answer = {"location": row.location, "id": row.id, "reason": why}
        lines.append(kind + row.fingerprint.encode() + encode_line(answer).encode())
        checksum = zlib.crc32(lines[-1], checksum)
        answers += kind == _ANSWER
    assert len(lines) == len(unit.rows)
    lines.append(Footer(len(lines), answers, unit.size, unit.digest, unit.last, checksum).line())

    def write(aside: Path) -> None:
        with aside.open("wb") as file:
            file.writelines(lines)

    # What answers raise is not told as what writing raises.
    with target.writing():
        write_whole(unit_path(folder, unit.name), write, folder)


class Job:
    """A job on disk: what is done of it, and the output that is made of the units.

    Args:
        target: The output.
        manifest: Of the job; what it says of shards is believed where their files are whole.
        sources: How many there are.
        done: The units that were done when it was begun or resumed.

    Attributes:
        units: The folder of the units.
        cuts: Where they end.
        done: Digests of the units that were done.
        rows_before: Their rows.
        size_before: Of the texts of these, in UTF-8 bytes.
        rows: Rows of all units that this process knows to be done.
        digests: Of units as the caller has read them; `finish` holds the units against them.
    """

    def __init__(
        self,
        target: OutputFolder,
        manifest: Manifest,
        sources: int,
        done: Mapping[UnitName, Footer] | None = None,
    ) -> None:
        self.target, self.manifest = target, manifest
        self.units = target.units_folder(manifest)
        self.cuts = Cuts(manifest.unit_size, target.rows_per_shard)
        done = done or {}
        self.done = {name: footer.input for name, footer in done.items()}
        self.rows = self.rows_before = sum(footer.rows for footer in done.values())
        self.size_before = sum(footer.size for footer in done.values())
        self.digests: dict[UnitName, str] = {}
        self._sources = sources
        # The units up to the first that is not done, and that one.
        self._found: list[tuple[UnitName, Footer]] = []
        self._next = UnitName(0, 0)
        self._found_rows = 0
        self._published = sum(part.rows for part in manifest.parts)
        self._lines = self._lines_after(self._published)

    def read(self, unit: Unit) -> None:
        """Take note of a unit that was read, whoever answers it."""
        self.digests[unit.name] = unit.digest

    def publish_shards(self) -> None:
        """Make each shard all of whose rows are done; raises as `finish`."""
        length = self.target.rows_per_shard
        with self.target.writing():
            self._find()
            while length is not None and self._found_rows - self._published >= length:
                self._publish_shard(length)

    def finish(self) -> Manifest:
        """Make what is missing of the output, and say what was done; nothing of the units stays.

        A RunError where a unit is missing or damaged, or the output cannot be written.
        """
        self.publish_shards()
        if self._next.source < self._sources:
            raise RunError(
                f"{self.target.folder} lacks rows of source {self._next.source + 1}; the same "
                "command with --resume answers them"
            )
        self._refuse_two_readings()
        with self.target.writing():
            self._put_errors(self._errors(count(1)))
            rest = self._found_rows - self._published
            if self.target.rows_per_shard is None:
                self.manifest.parts = [self._publish_rows(0, self.target.path, rest, always=True)]
            elif rest:
                self._publish_shard(rest)
            self._list_pages()
            self.target.complete(self.manifest)
        return self.manifest

    def abandon(self, alone: bool, interrupted: bool) -> None:
        """Stop in the middle: keep what was done and say so, or leave nothing behind."""
        if self.rows or not alone or done_units(self.units):
            rows = f" of {self.rows:,} rows" if alone else ""
            log.info(
                f"{self.target.folder} holds the answers{rows}; the same command with --resume "
                "goes on after them"
            )
            return
        with contextlib.suppress(OSError):
            self.target.clear()
        if interrupted:
            log.info("nothing is kept yet; the same command begins anew, also with --resume")

    def _refuse_two_readings(self) -> None:
        for name, footer in self._found:
            if self.digests.get(name, footer.input) != footer.input:
                raise RunError(
                    f"rows of source {name.source + 1} were read differently by two processes; "
                    "leave the input alone while a job runs; --overwrite starts anew"
                )

    def _find(self) -> None:
        """See which units are done, in order up to the first that is not."""
        while (footer := read_footer(unit_path(self.units, self._next))) is not None:
            self._found.append((self._next, footer))
            self._found_rows += footer.rows
            source, number = self._next
            self._next = UnitName(source + 1, 0) if footer.last else UnitName(source, number + 1)

    def _lines_after(self, skip: int) -> Iterator[bytes]:
        """The lines of the units that are found, also of those found while it is read."""
        index = 0
        while index < len(self._found):
            name, footer = self._found[index]
            index += 1
            if skip < footer.rows:
                yield from islice(_unit_lines(unit_path(self.units, name), footer), skip, None)
            skip = max(0, skip - footer.rows)

    def _publish_shard(self, rows: int) -> None:
        number = len(self.manifest.parts)
        part = self._publish_rows(number, self.target.part_path(number), rows)
        self.manifest.parts.append(part)
        self.target.save(self.manifest)
        self._published += rows

    def _publish_rows(
        self, number: int, path: Path, rows: int, always: bool = False, expected: str | None = None
    ) -> Part:
        """Make a file of the next rows; without an answer there is none, unless `always`.

        A RunError where they are not those whose fingerprint is `expected`; then the file stays.
        """
        part = Part(number, None, 0, rows, answers=0, errors=rows, input="")
        digest = hashlib.blake2b(digest_size=16)

        def answers() -> Iterator[bytes]:
            for line in islice(self._lines, rows):
                digest.update(line[len(_ANSWER) : _HEAD_BYTES])
                if not line.startswith(_ANSWER):
                    continue
                content = line[_HEAD_BYTES:]
                part.answers += 1
                # Most rows are spared the parsing.
                if b'"omission"' in content or b'"over_limit"' in content:
                    row = json.loads(content)
                    part.over_limit += "over_limit" in row
                    if omission := row.get("omission"):
                        part.shortened += 1
                        part.omitted_segments += omission["segments"]
                yield content
            part.input = digest.hexdigest()
            if expected not in (None, part.input):
                raise changed_input(f"rows of part {number} are not what they were")

        made = answers()
        first = list(islice(made, 1))
        if first or always:
            rows_of_file = chain(first, made)
            write = partial(write_rows, kind=self.target.kind, csv_safe=self.target.csv_safe)
            self.target.put(path, partial(write, rows_of_file))
            part.file, part.bytes = path.name, path.stat().st_size
            part.sha256 = file_checksum(path)
        else:
            path.unlink(missing_ok=True)
        part.errors = rows - part.answers
        return part

    def _list_pages(self) -> None:
        """Make the lists of the pages, where there are any."""
        pages = self.target.pages
        if pages is None:
            return
        lines = islice(self._lines_after(0), pages.limit)
        pages.finish(
            (
                (json.loads(line[_HEAD_BYTES:])["id"], line[len(_ANSWER) : _HEAD_BYTES].decode())
                for line in lines
                if line.startswith(_ANSWER)
            ),
            self._found_rows,
        )

    def _put_errors(self, lines: Iterator[bytes]) -> None:
        """Make errors.jsonl, where there are any."""
        self.manifest.errors_sha256 = None
        if first := list(islice(lines, 1)):
            errors = partial(write_rows, chain(first, lines), kind="jsonl")
            self.target.put(self.target.errors, errors)
            self.manifest.errors_sha256 = file_checksum(self.target.errors)
        else:
            self.target.errors.unlink(missing_ok=True)

    def _errors(self, numbers: Iterator[int]) -> Iterator[bytes]:
        """The rows of errors.jsonl, which alone have numbers, those over all the input."""
        for name, footer in self._found:
            own = list(islice(numbers, footer.rows))
            if footer.answers < footer.rows:
                lines = _unit_lines(unit_path(self.units, name), footer)
                for row, line in zip(own, lines, strict=True):
                    if line.startswith(_FAILURE):
                        error = {"row": row, **json.loads(line[_HEAD_BYTES:])}
                        yield encode_line(error).encode()


def _unit_lines(path: Path, footer: Footer) -> Iterator[bytes]:
    """The lines of a unit without its footer, after all of them were seen to be whole."""
    with os.fdopen(open_plain(path), "rb") as file:
        if not _is_whole(file, footer):
            path.unlink()
            raise RunError(
                f"{path} is damaged; the same command with --resume answers its rows again"
            )
        file.seek(0)
        yield from islice(file, footer.rows)


def _is_whole(file: BinaryIO, footer: Footer) -> bool:
    """Whether the lines of a unit's file are those that its footer knows."""
    checksum = 0
    for line in islice(file, footer.rows):
        checksum = zlib.crc32(line, checksum)
    return checksum == footer.checksum and next(file, b"") == footer.line()
