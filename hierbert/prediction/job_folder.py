"""The state of a job on disk: logs of rows, parts made of them, and the output made of the parts.

    manifest.json           what is done
    part-00000.jsonl        answers of the rows of a part, when all of them are done
    .unfinished/            logs of the parts under way, errors, the lock

A process writes the rows that it answers to a log of its own for each part. When all processes have
closed theirs, the first process merges them into the part, in the order of the input. Who merges
learns by these files alone that a part is whole. Invariant: a row is in a part exactly once, for
merging compares numbers and fingerprints with what was read; a kill at any moment loses at most the
row that was being written.
"""

import contextlib
import heapq
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from hierbert.errors import RunError
from hierbert.files import FolderLock, sync_folder
from hierbert.log import log
from hierbert.prediction.failures import error_row
from hierbert.prediction.manifest import Manifest, Part
from hierbert.prediction.outputs import encode_line, write_rows
from hierbert.prediction.processes import wait_for_processes
from hierbert.prediction.records import Kind, Record, RecordLog, read_records
from hierbert.prediction.resuming import refuse_other_job, take_up
from hierbert.prediction.rows import InputRow, PartEnd, PartFingerprint
from hierbert.prediction.target import Target


class JobFolder:
    """One process's view of a job on disk.

    The first process alone calls `begin`, before any makes a log, and `finish`, which waits for the
    others.

    Args:
        target: Where the output goes; checked.
        processes: How many share the rows.
        index: This one, from 0.

    Attributes:
        answers: Rows that this process answered.
        failures: Rows that it could not.
        before: Rows that were done before it began, by any process.
    """

    def __init__(self, target: Target, processes: int = 1, index: int = 0) -> None:
        self.target = target
        self.processes = processes
        self.index = index
        self.answers = self.failures = self.before = 0
        self._log: RecordLog | None = None
        self._part: int | None = None
        # Rows of the part that is read now which were done before.
        self._kept_part: int | None = None
        self._kept: dict[int, str] = {}
        # Parts that this process has read whole and that are not merged yet.
        self._ends: dict[int, PartEnd] = {}
        self._last_part = -1

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other jobs out while the context lasts; an empty folder does not stay behind.

        Raises:
            RunError: Another job is at work in the folder, or it cannot be made.
        """
        there = self.target.folder.exists()
        with self.target.writing():
            self.target.folder.mkdir(exist_ok=True)
        try:
            with FolderLock(self.target.folder, f"--output {self.target.path}"):
                yield
        finally:
            if not there or self.target.rows_per_shard is None:
                # Only an empty folder can be removed so.
                with contextlib.suppress(OSError):
                    self.target.folder.rmdir()

    # The first process, before all others.

    def begin(self, manifest: Manifest, resume: bool) -> None:
        """Make ready: take up what an interrupted job left, or start anew.

        Args:
            manifest: Of this job, without parts.
            resume: Whether to take up what is there.

        Raises:
            RunError: It cannot be written, or the job to resume is another one.
        """
        with self.target.writing():
            session = secrets.token_hex(4)
            if resume and self.target.begun:
                before = Manifest.load(self.target.folder)
                refuse_other_job(before, manifest)
                self.before = take_up(self.target, before)
                before.complete = False
                before.sessions.append(session)
                before.save(self.target.folder)
                return
            self.target.make_empty()
            manifest.sessions = [session]
            manifest.save(self.target.folder)

    # Every process.

    def open(self) -> None:
        """Read what `begin` left, once the first process has called it.

        Raises:
            RunError: It cannot be read.
        """
        self._manifest = Manifest.load(self.target.folder)

    def is_done(self, row: InputRow) -> bool:
        """Whether a row was dealt with before this job began or was resumed; asked row by row.

        Raises:
            RunError: The row was another one then.
        """
        part = row.number // self.target.rows_per_part
        if part in self._manifest.parts:
            return True
        if part != self._kept_part:
            self._kept_part = part
            kept = read_records(self.target.kept_path(part))
            self._kept = {record.number: record.fingerprint for record in kept}
        before = self._kept.get(row.number)
        if before is not None and before != row.fingerprint:
            raise self._changed(f"row {row.number + 1} ({row.location}) is not what it was")
        return before is not None

    def answer(self, row: InputRow, answer: dict[str, Any]) -> None:
        """Keep a row's answer.

        Raises:
            RunError: The disk is full or gone; rows before are kept.
        """
        self._write(row, "answer", answer)
        self.answers += 1

    def fail(self, row: InputRow, why: str) -> None:
        """Keep that a row could not be answered.

        Raises:
            RunError: The disk is full or gone; rows before are kept.
        """
        content = error_row(row.number + 1, row.location, row.id, why)
        self._write(row, "failure", content)
        self.failures += 1

    def _write(self, row: InputRow, kind: Kind, content: dict[str, Any]) -> None:
        part = row.number // self.target.rows_per_part
        with self.target.writing():
            data = encode_line(content).removesuffix("\n").encode()
            self._open_log(part).write(Record(row.number, row.fingerprint, kind, data))

    def _open_log(self, part: int) -> RecordLog:
        if self._log is None or self._part != part:
            assert self._log is None, "parts are ended in order"
            self._log = RecordLog(self._own_path(part, "log"))
            self._part = part
        return self._log

    def end_part(self, end: PartEnd) -> None:
        """All rows of a part have been read, and this process has dealt with its own.

        Raises:
            RunError: The disk is full or gone, or the input is not what it was.
        """
        self._last_part = end.part
        done = self._manifest.parts.get(end.part)
        if done is not None:
            if (done.rows, done.input) != (end.rows, end.fingerprint):
                first = end.part * self.target.rows_per_part
                raise self._changed(
                    f"rows {first + 1:,} to {first + done.rows:,} are not what they were"
                )
            return
        if self._kept_part == end.part and any(
            number % self.target.rows_per_part >= end.rows for number in self._kept
        ):
            raise self._changed("it has fewer rows now")
        with self.target.writing():
            self._open_log(end.part).finish(self._own_path(end.part, "rows").name)
            self._log = None
            if self.index == 0:
                self._ends[end.part] = end
                self._merge_what_is_whole()

    def abandon(self) -> None:
        """Stop in the middle: keep what was done and say so, or leave nothing behind."""
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.close()
            self._log = None
        if self.before or self.answers or self.failures or self.processes > 1:
            rows = f" of {self._own_rows():,} rows" if self.processes == 1 else ""
            log.info(
                f"{self.target.folder} holds the answers{rows}; the same command with --resume "
                "goes on after them"
            )
            return
        with contextlib.suppress(OSError):
            self.target.clear()

    def _own_rows(self) -> int:
        return self.before + self.answers + self.failures

    # The first process, while the others work and at the end.

    def _merge_what_is_whole(self) -> int:
        """Merge parts in order; how many processes have not closed their logs of the next one."""
        for number, end in list(self._ends.items()):
            logs = (self._own_path(number, "rows", index) for index in range(self.processes))
            if missing := sum(not log.exists() for log in logs):
                return missing
            self._merge(end)
            del self._ends[number]
        return 0

    def _logs(self, part: int) -> list[Path]:
        own = [self._own_path(part, "rows", index) for index in range(self.processes)]
        return [self.target.kept_path(part), *own]

    def _merge(self, end: PartEnd) -> None:
        """Make a part of its logs, note it in the manifest, and only then remove the logs."""
        answers = self.target.aside(end.part, "answers")
        errors = self.target.aside(end.part, "errors")
        part = {"answers": 0, "errors": 0, "shortened": 0, "omitted_segments": 0}
        with answers.open("wb") as answered, errors.open("wb") as failed:
            for record in self._all_rows(end):
                if record.kind == "failure":
                    failed.write(record.content + b"\n")
                    part["errors"] += 1
                    continue
                answered.write(record.content + b"\n")
                part["answers"] += 1
                # Most rows are spared the parsing.
                if b'"omission"' in record.content:
                    omission = json.loads(record.content).get("omission")
                    part["shortened"] += bool(omission)
                    part["omitted_segments"] += omission["segments"] if omission else 0
            _sync(answered)
            _sync(failed)
        name = self.target.part_name(end.part) if part["answers"] else None
        if name is not None and self.target.part_kind == "jsonl":
            answers.replace(self.target.folder / name)
            sync_folder(self.target.folder)
        elif name is not None:
            self._publish([answers], self.target.folder / name, self.target.part_kind)
        answers.unlink(missing_ok=True)
        if not part["errors"]:
            errors.unlink()
        size = (self.target.folder / name).stat().st_size if name else 0
        self._manifest.parts[end.part] = Part(
            part=end.part, file=name, bytes=size, rows=end.rows, input=end.fingerprint, **part
        )
        self._manifest.save(self.target.folder)
        for path in self._logs(end.part):
            path.unlink(missing_ok=True)

    def _publish(self, rows: list[Path], path: Path, kind: str) -> None:
        """Make a file of rows where nothing is left behind by a kill, and give it its name."""
        aside = self.target.unfinished / "new-output"
        write_rows(rows, aside, kind)
        aside.replace(path)
        sync_folder(path.parent)

    def _all_rows(self, end: PartEnd) -> Iterator[Record]:
        """The records of a part in order, each there once."""
        first = end.part * self.target.rows_per_part
        digest, count = PartFingerprint(), 0
        logs = [read_records(path, whole=True) for path in self._logs(end.part)]
        for record in heapq.merge(*logs, key=lambda record: record.number):
            if record.number != first + count:
                break
            digest.add(record.fingerprint)
            count += 1
            yield record
        if count != end.rows or digest.value() != end.fingerprint:
            raise RunError(
                f"{self.target.folder}: row {first + count + 1} is not there once, or was read "
                "differently by two processes; all rows are kept, and the same command with "
                "--resume goes on; if the input has changed, --overwrite starts anew"
            )

    def finish(self) -> Manifest:
        """Make the output, as soon as every process has ended its last part.

        Returns:
            What was done.

        Raises:
            RunError: It cannot be written, or the input is shorter than before; all rows stay.
        """
        with self.target.writing():
            self._refuse_shorter_input()
            wait_for_processes(self._merge_what_is_whole, self.processes)
            parts = [self._manifest.parts[number] for number in sorted(self._manifest.parts)]
            errors = [self.target.aside(part.part, "errors") for part in parts if part.errors]
            if errors:
                self._publish(errors, self.target.errors, "jsonl")
            else:
                self.target.errors.unlink(missing_ok=True)
            if self.target.rows_per_shard is None:
                files = [self.target.folder / part.file for part in parts if part.file]
                self._publish(files, self.target.path, self.target.kind)
                self.target.clear()
            else:
                self._manifest.complete = True
                self._manifest.save(self.target.folder)
                shutil.rmtree(self.target.unfinished, ignore_errors=True)
        return self._manifest

    def _refuse_shorter_input(self) -> None:
        there = [int(path.name.split(".")[0]) for path in self.target.unfinished.glob("*.kept")]
        if max([*there, *self._manifest.parts], default=-1) > self._last_part:
            raise self._changed("it has fewer rows now")

    def _changed(self, how: str) -> RunError:
        return RunError(f"--resume: the input has changed: {how}; --overwrite starts anew")

    def _own_path(self, part: int, ending: str, index: int | None = None) -> Path:
        process = self.index if index is None else index
        session = self._manifest.session
        return self.target.unfinished / f"{part:05d}.{process:05d}.{session}.{ending}"


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
