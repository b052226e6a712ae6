"""A batch job that is told to end ends, wherever the signal finds it."""

import gc
import io
import json
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from commands import read_jsonl, run, succeed
from conftest import make_rows

ROWS = make_rows(120, seed=9, sentences=3)


def in_a_weakref_callback(number: int) -> None:
    class Thing:
        pass

    thing = Thing()
    kept = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    assert kept() is None


def in_a_finalizer(number: int) -> None:
    class Thing:
        def __del__(self) -> None:
            signal.raise_signal(number)

    Thing()


def in_the_garbage_collector(number: int) -> None:
    def callback(phase: str, info: object) -> None:
        if phase == "stop":
            gc.callbacks.remove(callback)
            signal.raise_signal(number)

    gc.callbacks.append(callback)
    gc.collect()


class Rows(io.RawIOBase):
    """Rows, one at a time; with the one of this number the process gets a signal."""

    def __init__(self, at: int, send: Callable[[], None]) -> None:
        self._lines = [json.dumps(row).encode() + b"\n" for row in reversed(ROWS)]
        self._left, self._send = len(ROWS) - at, send

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if len(self._lines) == self._left:
            self._send()
        line = self._lines.pop() if self._lines else b""
        buffer[: len(line)] = line
        return len(line)


@pytest.fixture
def default_handlers() -> Iterator[None]:
    """As in a terminal, wherever the tests run: in the background of a shell SIGINT is ignored."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) == (
            signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler
        )
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_python_ends_has_its_code_too(default_handlers, number) -> None:
    code = (
        f"import atexit, signal; atexit.register(signal.raise_signal, {int(number)}); "
        "from hierbert.cli.infer import main; raise SystemExit(main())"
    )
    command = [sys.executable, "-c", code, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 128 + number and not done.stderr, done.stderr
    assert done.stdout.startswith("usage:")


PLACES = [in_a_weakref_callback, in_a_finalizer, in_the_garbage_collector, signal.raise_signal]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_never_lost(models, tmp_path, default_handlers, place, number, code) -> None:
    output = tmp_path / "o"
    # The last is so late that all rows are answered before the signal is looked for again.
    for at in (60, len(ROWS)):
        stdin = Rows(at, lambda: place(number))
        arguments = ["infer.py", "--model", models["both"], "--input", "-", "--output", output]
        more = ["--rows-per-shard", "20", "--batch-tokens", "100", "--overwrite"]
        done = run(*arguments, *more, here=True, stdin=stdin)
        assert done.returncode == code, (at, done.stderr)
        assert "Traceback" not in done.stderr and "ignored" not in done.stderr
    rest = succeed(*arguments, *more[:-1], "--resume", here=True, stdin=Rows(-1, lambda: None))
    assert "resuming after" in rest.stderr or "is complete" in rest.stderr
    found = [row["id"] for path in sorted(output.glob("part-*")) for row in read_jsonl(path)]
    assert found == [row["id"] for row in ROWS]
