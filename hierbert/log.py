"""What long work says: the package's logger, and how far it is.

Programs that use hierbert as a library silence, redirect and format the logger "hierbert" as any
other. Only the command lines install a handler (`command_log`), which writes to standard error:
standard output is left alone, for it may carry data. Time left follows from the units done, so
count what the cost grows with: tokens rather than documents. Invariant: neither a line nor progress
changes or fails the work it shows.
"""

import contextlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Self

from tqdm import tqdm

from hierbert.errors import printable

log = logging.getLogger("hierbert")

LEVELS = ("debug", "info", "warning", "error")

_FIRST_LINE_SECONDS = 5.0
_SECONDS_BETWEEN_LINES = 30.0


def is_first_process() -> bool:
    """Whether this process is the one that speaks."""
    return rank() == 0


def rank() -> int:
    """Number of this process in a distributed run, by WORLD_SIZE and RANK; 0 where it is alone."""
    number = os.environ.get("RANK", "0")
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    return 0 if alone or not number.isdecimal() else int(number)


@contextlib.contextmanager
def command_log(level: str = "info", as_json: bool = False) -> Iterator[None]:
    """Write the package's log to standard error as long as a command line runs.

    Processes other than the first write errors alone. `level` is one of `LEVELS`; bars and lines of
    progress are "info". As JSON each line is an object of "time" (ISO 8601, UTC), "level",
    "message" and "rank" (the process's number).
    """
    handler = _StandardError(as_json)
    before = log.handlers, log.level, log.propagate
    log.handlers, log.propagate = [handler], False
    log.setLevel(level.upper())
    try:
        yield
    finally:
        log.handlers, before_level, log.propagate = before
        log.setLevel(before_level)


class _StandardError(logging.Handler):
    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        if not is_first_process() and record.levelno < logging.ERROR:
            return
        # Who reads the log may be gone (`2>&1 | head`); the work goes on.
        with contextlib.suppress(OSError):
            # Unlike print, this takes an open bar off the screen and puts it back below the line.
            tqdm.write(self.format(record), file=sys.stderr)

    def format(self, record: logging.LogRecord) -> str:
        level, message = record.levelname.lower(), record.getMessage()
        if self.as_json:
            now = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
            values = {"time": now, "level": level, "message": message, "rank": rank()}
            if record.exc_info:
                values["traceback"] = "".join(traceback.format_exception(*record.exc_info))
            return json.dumps(values)
        prefix = f"{level}: " if record.levelno >= logging.WARNING else ""
        prefix = prefix if is_first_process() else f"process {rank()}: "
        return prefix + "\n".join(map(printable, message.split("\n")))


def write_from_signal(message: str) -> None:
    """Write a line of the log from a signal's handler, while a stream may be in use.

    It is "info" in a command line's log; in a program that sets up none, whoever interrupts it is
    at its terminal, and sees a "warning".
    """
    handler = next((it for it in log.handlers if isinstance(it, _StandardError)), None)
    level = logging.WARNING if handler is None else logging.INFO
    if not is_first_process() or not log.isEnabledFor(level):
        return
    handler = handler or _StandardError(as_json=False)
    record = log.makeRecord(log.name, logging.INFO, __file__, 0, message, (), None)
    # A bar may be in the middle of its line.
    start = "" if handler.as_json else "\n"
    with contextlib.suppress(OSError):
        os.write(2, f"{start}{handler.format(record)}\n".encode())


def counted(number: int, word: str) -> str:
    """A number and what there are as many of: ``1 note``, ``2 notes``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """A duration in words: ``45 s``, ``2 min 38 s``, ``3 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Shows how far some work is and how long it still takes.

    Use it as a context: ``with Progress(total, "training", unit="tokens") as bar:`` and
    ``bar.advance(n)`` inside. On a terminal this is a tqdm bar on standard error, unless the log
    is of a level above "info" or of JSON objects. Elsewhere (a log file, a batch system) it is one
    line of the log after about 5 seconds, one every 30 seconds after that, and one at the end.
    Lines are written from within `advance`, so a single step that takes longer delays them.

    Args:
        total: Units of the whole work; None when unknown, then no time left is shown.
        description: What is being done, such as ``encoding``.
        unit: What is counted, in the plural.
        shown: True or False decides; None means on rank 0 only.
        initial: Units that were done before, by a run that is now resumed. They count as done
            but not towards the rate.
        clock: Seconds that only grow; for the lines, not for the bar.
    """

    def __init__(
        self,
        total: int | None,
        description: str,
        unit: str = "documents",
        shown: bool | None = None,
        *,
        initial: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.description = description
        self.unit = unit
        self.shown = is_first_process() if shown is None else shown
        self.done = self.initial = initial
        self._clock = clock
        self._notes: dict[str, float | str] = {}
        self._bar: Any = None
        self._started = self._next_line = 0.0

    def __enter__(self) -> Self:
        self._started = self._clock()
        self._next_line = self._started + _FIRST_LINE_SECONDS
        as_json = any(isinstance(it, _StandardError) and it.as_json for it in log.handlers)
        if self.shown and log.level <= logging.INFO and not as_json and sys.stderr.isatty():
            self._bar = tqdm(
                total=self.total,
                desc=self.description,
                unit=f" {self.unit}",
                unit_scale=True,
                initial=self.initial,
                file=sys.stderr,
                dynamic_ncols=True,
                # Micro-batches differ in length: a steady estimate beats a nervous one.
                smoothing=0.05,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.shown:
            self._write(f"{'stopped after' if kind else 'done in'} {self._elapsed()}")

    def advance(self, units: int = 1) -> None:
        """Count ``units`` more as done."""
        self.done += units
        if self._bar is not None:
            self._bar.update(units)
        elif self.shown and self._clock() >= self._next_line:
            self._next_line = self._clock() + _SECONDS_BETWEEN_LINES
            rate = self.per_second(self.done - self.initial)
            if self.total is None or not rate:
                self._write(f"{self._elapsed()} so far")
            else:
                self._write(f"{format_seconds(max(0, self.total - self.done) / rate)} left")

    def skip(self, units: int) -> None:
        """Count ``units`` as done that cost no time, such as those of a run before."""
        self.initial += units
        self.done += units
        if self._bar is not None:
            self._bar.initial += units
            self._bar.update(units)

    def per_second(self, count: int) -> float:
        """How many a second, of what was counted since the work began."""
        elapsed = self._clock() - self._started
        return count / elapsed if elapsed > 0 else 0.0

    def note(self, **values: float | str) -> None:
        """Keep figures beside the progress, such as ``loss=0.31``; the last one of a name stays."""
        self._notes.update(values)
        if self._bar is not None:
            self._bar.set_postfix_str(self._notes_text(), refresh=False)

    def _elapsed(self) -> str:
        return format_seconds(self._clock() - self._started)

    def _write(self, state: str) -> None:
        count = f"{self.done:,} {self.unit}"
        if self.total is not None:
            percent = f" ({100 * self.done // self.total}%)" if self.total else ""
            count = f"{self.done:,}/{self.total:,} {self.unit}{percent}"
        rate = self.per_second(self.done - self.initial)
        speed = f"{rate:{',.0f' if rate >= 10 else '.2g'}} {self.unit}/s" if rate else ""
        parts = [part for part in (count, speed, state, self._notes_text()) if part]
        log.info("%s: %s", self.description, ", ".join(parts))

    def _notes_text(self) -> str:
        return ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in self._notes.items()
        )
