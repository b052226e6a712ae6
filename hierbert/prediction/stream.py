"""Rows to standard output, one by one as they come; nothing is kept."""

import os
import sys
from typing import Any

from hierbert.errors import RunError, error_text
from hierbert.log import log
from hierbert.prediction.outputs import StreamWriter
from hierbert.prediction.rows import InputRow, PartEnd


class StandardOutput:
    """Takes answers as `JobFolder` does, and prints them.

    Args:
        kind: "jsonl" or "csv".

    Attributes:
        answers: Rows that were answered.
        failures: Rows that could not be; each is told on standard error.
        shortened: Documents that `max_segments` took something from.
        omitted_segments: How many it took from all of them.

    Raises:
        RunError: Standard output is closed.
    """

    def __init__(self, kind: str) -> None:
        if sys.stdout is None:
            raise RunError("--output -: standard output is closed")
        # Whatever the locale says: the output is UTF-8 with plain newlines.
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        self._writer = StreamWriter(sys.stdout, kind)
        self.answers = self.failures = self.shortened = self.omitted_segments = 0

    def answer(self, row: InputRow, answer: dict[str, Any]) -> None:
        """Print a row.

        Raises:
            RunError: The disk behind standard output is full or gone.
            BrokenPipeError: The reader of standard output went away.
        """
        try:
            self._writer.write(answer)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            # Python flushes standard output once more at exit; give it somewhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise RunError(f"--output - cannot be written: {error_text(error)}") from error
        self.answers += 1
        if omission := answer.get("omission"):
            self.shortened += 1
            self.omitted_segments += omission["segments"]

    def fail(self, row: InputRow, why: str) -> None:
        """Say that a row could not be answered."""
        name = "" if row.id is None else f", id {row.id!r}"
        log.warning(f"row {row.number + 1} ({row.location}{name}) is not answered: {why}")
        self.failures += 1

    def end_part(self, end: PartEnd) -> None:
        """Nothing is kept by parts."""
