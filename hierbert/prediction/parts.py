"""What is done of a job: a file for each unit, and the output made of these.

What state a unit is in is what the folder says, not what a process remembers:

* Not done: there is no file of its name. A process that answers it writes rows to a file aside.
* Done: the file aside was ended by a footer, synced, and renamed to the unit's name. The rename
  makes it done; done twice, it is the same rows, so that the second rename loses nothing.
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
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from hierbert.errors import RunError
from hierbert.files import sync_folder
from hierbert.prediction.answer_files import encode_line, error_row, failure, write_rows
from hierbert.prediction.output_folder import UNREADABLE, Manifest, OutputFolder, Part
from hierbert.prediction.units import InputRow, UnitEnd, UnitName

_ANSWER, _FAILURE, _FOOTER = b"+", b"-", b"="
_FINGERPRINT_BYTES = 16
_LONGEST_FOOTER_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Footer:
    """What the file of a unit holds.

    Attributes:
        rows: Rows of the input.
        answers: Rows that were answered.
        size: Of their texts, in UTF-8 bytes.
        input: The digest of the rows.
        last: Whether the unit is the last of its source.
        checksum: CRC-32 of the lines before.
    """

    rows: int
    answers: int
    size: int
    input: str
    last: bool
    checksum: int

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
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LONGEST_FOOTER_BYTES))
            end = file.read()
        line = end[end.rfind(b"\n", 0, -1) + 1 :]
        footer = Footer(**json.loads(line[1:-9]))
        return footer if line == footer.line() else None
    except (*UNREADABLE, TypeError):
        return None


def done_units(folder: Path) -> dict[UnitName, Footer]:
    """The units that are done."""
    done = {}
    for path in folder.glob("unit-*"):
        if (footer := read_footer(path)) is not None:
            _, source, number = path.name.split("-")
            done[UnitName(int(source), int(number))] = footer
    return done


class UnitWriter:
    """Writes units; it is the sink of a job's answers.

    Args:
        folder: Of the units.
        writing: Gives a context in which what cannot be written is told in one line.
        ended: Called after each unit.

    Attributes:
        rows: Rows of the units that it has written.
    """

    def __init__(
        self,
        folder: Path,
        writing: Callable[[], contextlib.AbstractContextManager[None]],
        ended: Callable[[UnitEnd], None] = lambda end: None,
    ) -> None:
        self._folder = folder
        self._writing = writing
        self._ended = ended
        self._file: BinaryIO | None = None
        self.rows = 0

    def start(self, unit: UnitName) -> None:
        """Begin a unit.

        Raises:
            RunError: It cannot be written, or the job's folder is gone.
        """
        with self._writing():
            handle, name = tempfile.mkstemp(prefix="new-", dir=self._folder)
            self._aside, self._file = Path(name), os.fdopen(handle, "wb")
        self._count = self._answers = self._checksum = 0

    def answer(self, row: InputRow, answer: dict[str, Any]) -> None:
        """Write a row's answer.

        Raises:
            RunError: It cannot be written.
        """
        self._answers += 1
        self._write(_ANSWER, row, answer)

    def fail(self, row: InputRow, why: str) -> None:
        """Write that a row could not be answered.

        Raises:
            RunError: It cannot be written.
        """
        self._write(_FAILURE, row, failure(row, why))

    def _write(self, kind: bytes, row: InputRow, content: dict[str, Any]) -> None:
        assert self._file is not None
        with self._writing():
            line = kind + row.fingerprint.encode() + encode_line(content).encode()
            self._checksum = zlib.crc32(line, self._checksum)
            self._count += 1
            self._file.write(line)

    def end(self, end: UnitEnd) -> None:
        """All rows of the unit are written: it is done when this returns.

        Raises:
            RunError: It cannot be written.
        """
        assert self._file is not None and self._count == end.rows
        footer = Footer(
            end.rows, self._answers, end.size, end.digest, end.last, checksum=self._checksum
        )
        with self._writing():
            with self._file:
                self._file.write(footer.line())
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file = None
            self._aside.replace(unit_path(self._folder, end.name))
            sync_folder(self._folder)
        self.rows += end.rows
        self._ended(end)

    def abandon(self) -> None:
        """Leave nothing of the unit under way."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._aside.unlink()
            self._file = None


class Merger:
    """Makes the output of the units that are done, in the order of the input.

    Args:
        target: The output.
        manifest: Of the job; what it says of shards is believed where their files are whole.
        sources: How many there are.

    Attributes:
        digests: Of units as the caller has read them; `finish` holds the units against them.
    """

    def __init__(self, target: OutputFolder, manifest: Manifest, sources: int) -> None:
        self._target, self._manifest, self._sources = target, manifest, sources
        self._folder = target.units_folder(manifest)
        self._next: UnitName | None = UnitName(0, 0)
        self._found: list[tuple[UnitName, Footer]] = []
        self._rows = 0
        self._published = sum(part.rows for part in manifest.parts)
        self._lines = self._lines_after(self._published)
        self.digests: dict[UnitName, str] = {}

    def advance(self) -> None:
        """Make each shard all of whose rows are done.

        Raises:
            RunError: It cannot be written, or a unit is damaged.
        """
        length = self._target.rows_per_shard
        with self._target.writing():
            self._find()
            while length is not None and self._rows - self._published >= length:
                self._publish_shard(length)

    def finish(self) -> Manifest:
        """Make what is missing of the output; nothing of the units stays.

        Returns:
            What was done.

        Raises:
            RunError: A unit is missing or damaged, or the output cannot be written.
        """
        self.advance()
        if self._next is not None:
            raise RunError(
                f"{self._target.folder} lacks rows of source {self._next.source + 1}; the same "
                "command with --resume answers them"
            )
        self._refuse_other_rows()
        with self._target.writing():
            if any(footer.answers < footer.rows for _, footer in self._found):
                self._publish(self._errors(), self._target.errors, "jsonl")
            else:
                self._target.errors.unlink(missing_ok=True)
            rest = self._rows - self._published
            if self._target.rows_per_shard is None:
                self._manifest.parts = [self._publish_rows(0, self._target.path, rest, always=True)]
            elif rest:
                self._publish_shard(rest)
            self._target.complete(self._manifest)
        return self._manifest

    def _find(self) -> None:
        """See which units are done, in order up to the first that is not."""
        while self._next is not None:
            footer = read_footer(unit_path(self._folder, self._next))
            if footer is None:
                return
            self._found.append((self._next, footer))
            self._rows += footer.rows
            source, number = self._next
            if not footer.last:
                self._next = UnitName(source, number + 1)
            else:
                self._next = UnitName(source + 1, 0) if source + 1 < self._sources else None

    def _refuse_other_rows(self) -> None:
        for name, footer in self._found:
            if self.digests.get(name, footer.input) != footer.input:
                raise RunError(
                    f"rows of source {name.source + 1} were read differently by two processes; "
                    "leave the input alone while a job runs; --overwrite starts anew"
                )

    def _lines_after(self, skip: int) -> Iterator[bytes]:
        """The lines of the units that are found, also of those found while it is read."""
        index = 0
        while index < len(self._found):
            name, footer = self._found[index]
            index += 1
            if skip < footer.rows:
                yield from islice(_unit_lines(unit_path(self._folder, name), footer), skip, None)
            skip = max(0, skip - footer.rows)

    def _publish_shard(self, rows: int) -> None:
        number = len(self._manifest.parts)
        path = self._target.part_path(number)
        self._manifest.parts.append(self._publish_rows(number, path, rows))
        self._manifest.save(self._target.folder)
        self._published += rows

    def _publish_rows(self, number: int, path: Path, rows: int, always: bool = False) -> Part:
        """Make a file of the next rows; without an answer there is none, unless `always`."""
        counts = {"answers": 0, "shortened": 0, "omitted_segments": 0}
        digest = hashlib.blake2b(digest_size=16)

        def answers() -> Iterator[bytes]:
            for line in islice(self._lines, rows):
                start = len(_ANSWER) + _FINGERPRINT_BYTES
                digest.update(line[len(_ANSWER) : start])
                if not line.startswith(_ANSWER):
                    continue
                content = line[start:]
                counts["answers"] += 1
                # Most rows are spared the parsing.
                if b'"omission"' in content and (omission := json.loads(content).get("omission")):
                    counts["shortened"] += 1
                    counts["omitted_segments"] += omission["segments"]
                yield content

        made = answers()
        first = list(islice(made, 1))
        file = path.name if first or always else None
        if file is not None:
            self._publish(chain(first, made), path, self._target.kind)
        size = path.stat().st_size if file is not None else 0
        return Part(
            part=number,
            file=file,
            bytes=size,
            rows=rows,
            errors=rows - counts["answers"],
            input=digest.hexdigest(),
            **counts,
        )

    def _publish(self, lines: Iterable[bytes], path: Path, kind: str) -> None:
        """Make a file of rows where nothing is left behind by a kill, and give it its name."""
        aside = self._target.unfinished / "new-output"
        write_rows(lines, aside, kind)
        aside.replace(path)
        sync_folder(path.parent)

    def _errors(self) -> Iterator[bytes]:
        """The rows of errors.jsonl, which alone know their numbers over all the input."""
        first = 1
        for name, footer in self._found:
            if footer.answers < footer.rows:
                path = unit_path(self._folder, name)
                for row, line in enumerate(_unit_lines(path, footer), first):
                    if line.startswith(_FAILURE):
                        values = json.loads(line[len(_FAILURE) + _FINGERPRINT_BYTES :])
                        yield encode_line(error_row(row, values)).encode()
            first += footer.rows


def _unit_lines(path: Path, footer: Footer) -> Iterator[bytes]:
    """The lines of a unit without its footer, after all of them were seen to be whole."""
    with path.open("rb") as file:
        checksum = 0
        for line in islice(file, footer.rows):
            checksum = zlib.crc32(line, checksum)
        if checksum != footer.checksum or next(file, b"") != footer.line():
            path.unlink()
            raise RunError(
                f"{path} is damaged; the same command with --resume answers its rows again"
            )
        file.seek(0)
        yield from islice(file, footer.rows)
