"""SIGINT and SIGTERM as wishes that training sees between two steps.

It saves nothing and ends nothing by itself. Invariant: outside of its context the signals do what
they did before.
"""

import signal
import threading
from types import FrameType
from typing import Any, Self

from hierbert.log import write_from_signal

_SAID = (
    "stopping after this step, with a checkpoint; interrupt once more (Ctrl-C) to stop at once, "
    "without one"
)


class StopSignals:
    """Notes SIGINT (Ctrl-C) and SIGTERM (batch systems, torchrun) while its context lasts.

    The first signal is noted. A SIGINT after that raises KeyboardInterrupt at once, a SIGTERM
    after that changes nothing. Only Python's main thread can receive signals: in others the context
    does nothing.

    Attributes:
        received: The number of the first signal; None as long as there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begin to note signals."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals to whom they were left before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.received = number
        write_from_signal(_SAID)
