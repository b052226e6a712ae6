"""What a process knows of the rows it has answered: a log of one line a row, safe to be killed in.

A line holds the row's number and fingerprint, a checksum, and the answer or the failure as JSON.
Invariant: a log is readable up to its first line that is torn or damaged, whatever happened to the
process or the disk, and what follows that line counts as never written.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from hierbert.errors import RunError

Kind = Literal["answer", "failure"]
_KINDS: dict[bytes, Kind] = {b"answer": "answer", b"failure": "failure"}


@dataclass(frozen=True)
class Record:
    """One row as it was dealt with.

    Attributes:
        number: The row's, from 0.
        fingerprint: The row's.
        kind: Whether it could be answered.
        content: The answer, or the line for errors.jsonl: JSON without a newline, UTF-8.
    """

    number: int
    fingerprint: str
    kind: Kind
    content: bytes

    def to_line(self) -> bytes:
        """The line of the log."""
        head = f"{self.number} {self.fingerprint} {self.kind} ".encode()
        return head + b"%08x " % zlib.crc32(head + self.content) + self.content + b"\n"


def read_records(path: Path, *, whole: bool = False) -> Iterator[Record]:
    """Read a log.

    Args:
        path: The log; none where it does not exist.
        whole: Whether it was closed and so must be whole.

    Returns:
        An iterator over the records before the first line that is torn or damaged.

    Raises:
        RunError: It should be whole and is not.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            record = _parse(line)
            if record is None:
                if whole:
                    raise RunError(f"{path} is damaged; the same command with --resume mends it")
                return
            yield record


def gather_records(logs: Sequence[Path], output: BinaryIO) -> int:
    """Put what is readable of some logs into one, in the order of the rows, each row once.

    Args:
        logs: Of the same rows; in any order, torn or not.
        output: Takes the lines.

    Returns:
        How many rows there are.

    Raises:
        OSError: A log cannot be read, or the output not be written.
    """
    # Where each row's line lies: answers may be long, and are not held.
    places: dict[int, tuple[int, int, int]] = {}
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in logs]
        for index, file in enumerate(files):
            offset = 0
            for line in file:
                record = _parse(line)
                if record is None:
                    break
                places[record.number] = (index, offset, len(line))
                offset += len(line)
        for number in sorted(places):
            index, offset, length = places[number]
            files[index].seek(offset)
            output.write(files[index].read(length))
    return len(places)


def _parse(line: bytes) -> Record | None:
    parts = line.removesuffix(b"\n").split(b" ", 4)
    if not line.endswith(b"\n") or len(parts) != 5:
        return None
    number, fingerprint, kind, checksum, content = parts
    head = b" ".join([number, fingerprint, kind, b""])
    if kind not in _KINDS or checksum != b"%08x" % zlib.crc32(head + content):
        return None
    return Record(int(number), fingerprint.decode(), _KINDS[kind], content)


class RecordLog:
    """A log that is being written.

    Args:
        path: The file, which is made.

    Raises:
        OSError: It cannot be made, or is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("xb")

    def write(self, record: Record) -> None:
        """Write a record and hand it to the system, so that killing the process loses nothing.

        Raises:
            OSError: The disk is full or gone.
        """
        self._file.write(record.to_line())
        self._file.flush()

    def close(self) -> None:
        """Close it as it is."""
        self._file.close()

    def finish(self, name: str) -> None:
        """Sync it to the disk and give it the name by which it counts as whole.

        Raises:
            OSError: The disk is full or gone.
        """
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._path.replace(self._path.with_name(name))
