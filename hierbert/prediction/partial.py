"""Where rows go: to standard output, or to a file that is there whole or not at all.

Rows of a file go to OUTPUT.partial and get their name at the end; the settings they depend on lie
beside it. Invariant: whatever stops a job, the partial file holds whole rows in the order of the
input and perhaps one torn line at its end, which resuming cuts off.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hierbert.data.messages import flag_setting
from hierbert.errors import RunError
from hierbert.prediction.outputs import StreamWriter, encode_line, finish
from hierbert.progress import say

_PROBED = "probed"


class Output:
    """The rows of a job, written one by one.

    Making one only looks whether the output may be written; `open` writes first.

    Args:
        path: "-" or a file.
        kind: "jsonl", "csv" or "parquet".
        resume: Go on with the rows of OUTPUT.partial.
        overwrite: Replace an output that exists.
        inputs: Files that are read, so that none of them is replaced.

    Attributes:
        done_ids: Ids of the rows that were there when it was opened.
        rows: How many rows there are now, those included.
        shortened: How many of them are of documents that `max_segments` took something from.
        omitted_segments: How many segments it took from all.

    Raises:
        RunError: The output exists, cannot be made there, or cannot be resumed.
    """

    def __init__(
        self,
        path: str,
        kind: str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        inputs: Iterable[Path] = (),
    ) -> None:
        self.kind = kind
        self.path = None if path == "-" else Path(path).expanduser()
        self.done_ids: list[str] = []
        self.rows = self.shortened = self.omitted_segments = 0
        self._resume = resume
        if self.path is None:
            if resume:
                raise RunError("--resume needs an output file; --output - cannot be resumed")
            if sys.stdout is None:
                raise RunError("--output -: standard output is closed")
            return
        self.partial = self.path.with_name(self.path.name + ".partial")
        # Not .json: in a folder of inputs it would be one of them.
        self._settings_path = self.path.with_name(self.path.name + ".partial-settings")
        self._check_names(self.path, overwrite, inputs)

    def _check_names(self, path: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
        if not path.parent.is_dir():
            raise RunError(f"--output {path}: there is no folder {path.parent}")
        if path.exists() and not path.is_file():
            raise RunError(f"--output {path} is no regular file; name another, or - for jsonl")
        if path.resolve() in {source.resolve() for source in inputs}:
            raise RunError(f"--output {path} is one of the inputs; name another file")
        goes_on = self._resume and self.partial.exists()
        if path.exists() and not goes_on and self._resume:
            raise RunError(f"--resume: {path} is complete, there is nothing to go on with")
        if path.exists() and not overwrite:
            raise RunError(f"--output {path} exists; name another file or --overwrite it")
        if self.partial.exists() and not goes_on and not overwrite:
            raise RunError(
                f"{self.partial} is of an interrupted job: --resume goes on with it, "
                "--overwrite starts anew"
            )

    def probed_before(self) -> dict[str, Any]:
        """What the job to resume had measured; nothing where none is resumed."""
        if self.path is None or not (self._resume and self.partial.exists()):
            return {}
        return dict(self._read_settings().get(_PROBED) or {})

    def open(self, settings: dict[str, Any], probed: dict[str, Any] | None = None) -> None:
        """Make ready to write.

        Args:
            settings: All that answers depend on; a job is resumed only with the same.
            probed: What the job measured for itself; kept for resuming.

        Raises:
            RunError: It cannot be written, or the job to resume had other settings.
        """
        if self.path is None:
            # Whatever the locale says: the output is UTF-8 with plain newlines.
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
            self._writer = StreamWriter(sys.stdout, self.kind)
            return
        try:
            if self._resume and self.partial.exists():
                self._check_settings(settings)
                self._read_rows()
                say(f"resuming after {self.rows:,} documents")
            else:
                # In this order, so that rows never lie beside settings that are not theirs.
                self.partial.unlink(missing_ok=True)
                self._settings_path.write_text(
                    json.dumps({**settings, _PROBED: probed or {}}, indent=1),
                    encoding="utf-8",
                    newline="\n",
                )
            self._file = self.partial.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise self._cannot_write(error) from error

    def _check_settings(self, settings: dict[str, Any]) -> None:
        before = self._read_settings()
        before.pop(_PROBED, None)
        now = json.loads(json.dumps(settings))
        changed = [
            f"{flag_setting(name)} was {before.get(name)!r} and is {now.get(name)!r}"
            for name in {**before, **now}
            if now.get(name) != before.get(name)
        ]
        if changed:
            raise RunError(
                f"--resume: the job has changed: {'; '.join(changed)}; --overwrite starts anew"
            )

    def _read_settings(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._settings_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"--resume: {self._settings_path} cannot be read ({error}); --overwrite starts anew"
            ) from error

    def _read_rows(self) -> None:
        """Take up the rows that are there; a torn last line is cut off."""
        whole = 0
        with self.partial.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    document_id = row["id"]
                except (ValueError, KeyError, TypeError):
                    break
                if not line.endswith(b"\n"):
                    break
                self.done_ids.append(document_id)
                self._count(row)
                whole += len(line)
        os.truncate(self.partial, whole)

    def write(self, row: dict[str, Any]) -> None:
        """Write a row and hand it to the system.

        Raises:
            RunError: The disk is full or gone; rows written before are kept.
            BrokenPipeError: The reader of standard output went away.
        """
        try:
            if self.path is None:
                self._writer.write(row)
                sys.stdout.flush()
            else:
                self._file.write(encode_line(row))
                self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if self.path is None:
                # Python flushes standard output once more at exit; give it somewhere to go.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise self._cannot_write(error) from error
        self._count(row)

    def _count(self, row: dict[str, Any]) -> None:
        self.rows += 1
        if omission := row.get("omission"):
            self.shortened += 1
            self.omitted_segments += omission["segments"]

    def finish(self) -> None:
        """Give the output its name.

        Raises:
            RunError: It cannot be written; the rows stay in the partial file.
        """
        if self.path is None:
            return
        try:
            self._file.close()
            finish(self.partial, self.path, self.kind)
            self._settings_path.unlink(missing_ok=True)
        except OSError as error:
            raise self._cannot_write(error) from error

    def abandon(self) -> None:
        """Stop before the end: keep the rows for resuming and say so, or leave nothing behind."""
        if self.path is None:
            return
        with contextlib.suppress(OSError):
            self._file.close()
        if not self.partial.exists():
            return
        if self.rows:
            say(
                f"{self.partial} holds the rows of {self.rows:,} documents; the same command with "
                "--resume goes on after them"
            )
            return
        with contextlib.suppress(OSError):
            self.partial.unlink()
            self._settings_path.unlink(missing_ok=True)

    def _cannot_write(self, error: OSError) -> RunError:
        return RunError(f"--output {self.path or '-'} cannot be written: {error.strerror or error}")
