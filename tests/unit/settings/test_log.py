import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hierbert.log import Progress, command_log, format_seconds, is_first_process, log


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def standard_error(monkeypatch: pytest.MonkeyPatch, stream: Any) -> Any:
    monkeypatch.setattr("hierbert.log.sys", SimpleNamespace(stderr=stream))
    return stream


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A log file in place of standard error."""
    with command_log():
        yield standard_error(monkeypatch, io.StringIO())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal in place of standard error."""
    with command_log():
        yield standard_error(monkeypatch, Terminal())


@pytest.fixture(autouse=True)
def first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_lines_come_after_five_seconds_then_every_interval_and_at_the_end(stream) -> None:
    clock = Clock()
    seen = []
    with Progress(1000, "encoding", "tokens", clock=clock) as bar:
        for second in range(1, 101):
            clock.seconds = 100.0 + second
            bar.advance(10)
            seen.append(stream.getvalue().count("\n"))
    # One line each at seconds 5, 35, 65 and 95, and one more when the work is done.
    assert [seen.index(lines) + 1 for lines in (1, 2, 3, 4)] == [5, 35, 65, 95]
    lines = stream.getvalue().splitlines()
    assert lines[0] == "encoding: 50/1,000 tokens (5%), 10 tokens/s, 1 min 35 s left"
    assert lines[1] == "encoding: 350/1,000 tokens (35%), 10 tokens/s, 1 min 05 s left"
    assert lines[4:] == ["encoding: 1,000/1,000 tokens (100%), 10 tokens/s, done in 1 min 40 s"]


def test_unknown_total_and_notes(stream) -> None:
    clock = Clock()
    with Progress(None, "training", "steps", clock=clock) as bar:
        bar.note(loss=0.123456, best="yes")
        bar.note(loss=0.5)
        clock.seconds += 8
        bar.advance(2)
    assert stream.getvalue().splitlines() == [
        "training: 2 steps, 0.25 steps/s, 8 s so far, loss=0.5, best=yes",
        "training: 2 steps, 0.25 steps/s, done in 8 s, loss=0.5, best=yes",
    ]


@pytest.mark.parametrize("told_later", [False, True])
def test_what_was_done_before_counts_as_done_but_not_as_speed(stream, told_later) -> None:
    clock = Clock()
    with Progress(100, "training", "steps", initial=60 * (not told_later), clock=clock) as bar:
        if told_later:
            bar.skip(60)
        clock.seconds += 10
        bar.advance(20)
        assert (bar.done, bar.initial) == (80, 60)
    first = stream.getvalue().splitlines()[0]
    assert first == "training: 80/100 steps (80%), 2 steps/s, 10 s left"


def test_an_error_passes_through_and_the_last_line_says_so(stream) -> None:
    clock = Clock()
    with pytest.raises(KeyError), Progress(10, "reading", clock=clock) as bar:
        clock.seconds += 2
        bar.advance(4)
        raise KeyError
    assert stream.getvalue() == "reading: 4/10 documents (40%), 2 documents/s, stopped after 2 s\n"


def test_empty_and_overfull_work(stream) -> None:
    clock = Clock()
    with Progress(0, "reading", clock=clock):
        pass
    assert stream.getvalue() == "reading: 0/0 documents, done in 0 s\n"
    with Progress(1, "reading", clock=clock) as bar:
        clock.seconds += 10
        bar.advance(10)
    assert "0 s left" in stream.getvalue().splitlines()[1]


def test_a_terminal_gets_a_bar_with_count_unit_and_notes(terminal) -> None:
    with Progress(2000, "encoding", "tokens") as bar:
        bar.note(loss=0.25)
        bar.advance(2000)
    with Progress(100, "training", "steps", initial=60) as bar:  # of a run that goes on
        bar.advance(20)
    text = terminal.getvalue()
    parts = ("\r", "encoding: 100%", "2.00k/2.00k", "tokens/s", "loss=0.25", "60.0/100", "80.0/100")
    assert all(part in text for part in parts)


def test_a_line_is_written_whole_above_an_open_bar(terminal) -> None:
    with Progress(10, "encoding") as bar:
        bar.advance(5)
        log.info("epoch 1 is done")
    before, _, after = terminal.getvalue().partition("epoch 1 is done\n")
    # The bar is taken off its line before, and drawn again after.
    assert before.rsplit("\r", 1)[1].strip(" ") == "" or before.endswith("\r\x1b[K")
    assert "encoding" in after


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_other_ranks_are_silent(kind, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = standard_error(monkeypatch, kind())
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()
    clock = Clock()
    with Progress(2, "encoding", clock=clock) as bar:
        clock.seconds += 60
        bar.advance()
        bar.note(loss=1.0)
    log.info("hello")
    log.warning("careful")
    monkeypatch.setenv("RANK", "0")
    with Progress(2, "encoding", shown=False):
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize("options", [{"level": "warning"}, {"as_json": True}])
def test_a_quiet_log_and_one_of_json_have_no_bar(options, terminal) -> None:
    with command_log(**options), Progress(2, "encoding") as bar:
        bar.advance(2)
    lines = terminal.getvalue().splitlines()
    assert lines == [] if "level" in options else json.loads(lines[0])["level"] == "info"


def test_a_program_formats_and_redirects_the_log_as_any_other(stream, caplog) -> None:
    log.handlers, log.propagate = [], True  # as without a command line
    caplog.set_level("INFO", "hierbert")
    with Progress(2, "encoding") as bar:
        bar.advance(2)
    log.info("hello")
    assert [record.name for record in caplog.records] == ["hierbert", "hierbert"]
    assert caplog.messages[0].startswith("encoding: 2/2") and caplog.messages[1] == "hello"
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (158, "2 min 38 s"),
        (3599.7, "1 h 00 min"),
        (11_100, "3 h 05 min"),
        (7199, "2 h 00 min"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words
