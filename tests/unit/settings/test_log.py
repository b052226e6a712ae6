"""What the log and the progress say: when, how often, to whom."""

import io
import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from hierbert.log import Progress, command_log, format_seconds, log, rank


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[io.StringIO])
def stream(request, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A log file, or what else is asked for, in place of standard error."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    made = request.param()
    monkeypatch.setattr("hierbert.log.sys", SimpleNamespace(stderr=made))
    with command_log():
        yield made


on_a_terminal = pytest.mark.parametrize("stream", [Terminal], indirect=True)


def test_lines_come_after_five_seconds_then_every_interval_and_at_the_end(stream, clock) -> None:
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


def test_what_a_line_says_of_work_of_other_kinds(stream, clock) -> None:
    # Of an unknown total, with notes.
    with Progress(None, "training", "steps", clock=clock) as bar:
        bar.note(loss=0.123456, best="yes")
        bar.note(loss=0.5)
        clock.seconds += 8
        bar.advance(2)
    # Of none.
    with Progress(0, "reading", clock=clock):
        pass
    # Of more than was thought, and of work that an error ends.
    with pytest.raises(KeyError), Progress(1, "reading", clock=clock) as bar:
        clock.seconds += 10
        bar.advance(10)
        raise KeyError
    assert stream.getvalue().splitlines() == [
        "training: 2 steps, 0.25 steps/s, 8 s so far, loss=0.5, best=yes",
        "training: 2 steps, 0.25 steps/s, done in 8 s, loss=0.5, best=yes",
        "reading: 0/0 documents, done in 0 s",
        "reading: 10/1 documents (1000%), 1 documents/s, 0 s left",
        "reading: 10/1 documents (1000%), 1 documents/s, stopped after 10 s",
    ]


@pytest.mark.parametrize("told_later", [False, True])
def test_what_was_done_before_counts_as_done_but_not_as_speed(stream, clock, told_later) -> None:
    with Progress(100, "training", "steps", initial=60 * (not told_later), clock=clock) as bar:
        if told_later:
            bar.skip(60)
        clock.seconds += 10
        bar.advance(20)
    first = stream.getvalue().splitlines()[0]
    assert first == "training: 80/100 steps (80%), 2 steps/s, 10 s left"


@on_a_terminal
def test_a_terminal_gets_a_bar_with_count_unit_and_notes(stream) -> None:
    with Progress(2000, "encoding", "tokens") as bar:
        bar.note(loss=0.25)
        bar.advance(2000)
    with Progress(100, "training", "steps", initial=50) as bar:  # of a run that goes on
        bar.skip(10)
        bar.advance(20)
    text = stream.getvalue()
    parts = ("\r", "encoding: 100%", "2.00k/2.00k", "tokens/s", "loss=0.25", "50.0/100", "80.0/100")
    assert all(part in text for part in parts)


@on_a_terminal
def test_a_line_is_written_whole_above_an_open_bar(stream) -> None:
    with Progress(10, "encoding") as bar:
        bar.advance(5)
        log.info("epoch 1 is done")
    before, _, after = stream.getvalue().partition("epoch 1 is done\n")
    # The bar is taken off its line before, and drawn again after.
    assert before.rsplit("\r", 1)[1].strip(" ") == "" or before.endswith("\r\x1b[K")
    assert "encoding" in after


@on_a_terminal
@pytest.mark.parametrize("options", [{"level": "warning"}, {"as_json": True}])
def test_a_quiet_log_and_one_of_json_have_no_bar(options, stream) -> None:
    with command_log(**options), Progress(2, "encoding") as bar:
        bar.advance(2)
    lines = stream.getvalue().splitlines()
    assert lines == [] if "level" in options else json.loads(lines[0])["level"] == "info"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], indirect=True)
def test_other_ranks_are_silent(stream, clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with Progress(2, "encoding", clock=clock) as bar:
        clock.seconds += 60
        bar.advance()
        bar.note(loss=1.0)
    log.warning("careful")
    monkeypatch.setenv("RANK", "0")
    with Progress(2, "encoding", shown=False):
        pass
    assert stream.getvalue() == ""
    # A rank without other processes, or that is no number, is none.
    for size, number in (("1", "1"), ("2", "abc"), ("2", "-1")):
        monkeypatch.setenv("WORLD_SIZE", size)
        monkeypatch.setenv("RANK", number)
        assert rank() == 0


def test_a_program_formats_and_redirects_the_log_as_any_other(stream, caplog) -> None:
    log.handlers, log.propagate = [], True  # as without a command line
    caplog.set_level("INFO", "hierbert")
    with Progress(2, "encoding") as bar:
        bar.advance(2)
    assert [record.name for record in caplog.records] == ["hierbert"]
    assert caplog.messages[0].startswith("encoding: 2/2") and stream.getvalue() == ""


def test_durations_in_words() -> None:
    for seconds, words in {
        59.4: "59 s",
        59.6: "1 min 00 s",
        158: "2 min 38 s",
        3599.7: "1 h 00 min",
        7199: "2 h 00 min",
        11_100: "3 h 05 min",
    }.items():
        assert format_seconds(seconds) == words
