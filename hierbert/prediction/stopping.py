"""SIGINT and SIGTERM as the end of a batch job, also where Python drops what a handler raises.

A handler that raises ends whatever is waited for, such as the next line of a pipe. But what is
raised in a callback of a weak reference, in a finalizer or in the garbage collector is dropped, and
the signal with it. So the signal is noted too, and `stop_if_asked` raises it again between two
rows. Invariant: a command that was sent one of these signals never ends as if it was not.
"""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

TERMINATED = 143

# Signals are the process's, and so is what was noted of them.
_received: list[int] = []


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM end the work as SIGINT does; both are noted for `stop_if_asked`.

    Afterwards they do what they did before, and have the same codes while Python ends. A SIGINT
    that is ignored, as in the background of a shell, stays so. Only Python's main thread receives
    signals: in others this does nothing.
    """
    before: dict[int, Any] = {}
    hook = sys.unraisablehook

    def said(dropped: Any) -> None:
        # It is not lost, and nothing to be told of.
        if not (_received and isinstance(dropped.exc_value, (SystemExit, KeyboardInterrupt))):
            hook(dropped)

    _received.clear()
    try:
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            before[signal.SIGINT] = signal.signal(signal.SIGINT, _note)
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, _note)
    except ValueError:  # another thread than the main one
        yield
        return
    sys.unraisablehook = said
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
        # Once, and the first of what is done at the end.
        atexit.unregister(_keep_codes)
        atexit.register(_keep_codes)
        _received.clear()


def stop_if_asked() -> None:
    """Raise what a signal asked for: SystemExit with 143, or KeyboardInterrupt."""
    if _received:
        _stop(_received[0])


def _note(number: int, frame: object) -> None:
    _received.append(number)
    _stop(number)


def _keep_codes() -> None:
    """Let signals that would end the process by themselves end it with the codes they have here."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, lambda number, frame: os._exit(128 + number))


def _stop(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(TERMINATED)
