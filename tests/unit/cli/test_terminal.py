"""Tables on a terminal of any width, and plain lines where there is none."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hierbert.cli.terminal import show, show_sections
from hierbert.reporting.blocks import Note, Quotation, Section, Table
from hierbert.scoring.tables import grid, join_parts

HEAD = ["", "documents", "Accuracy", "Macro-F1", "ROUGE-1"]
ROWS = [
    [f"System {row}", *(f"{row}{place}.5 [{row}, 9{place}]" for place in "1234")] for row in "56"
]
REPORT = join_parts(
    [
        grid([HEAD, *ROWS, ["hierbert", "1", "2", "3", "4"]], "Labels of 3 documents", ["a gain"]),
        "Findings: 1 error\n\nERROR  labels\n  the message\n  at: a.csv, line 3",
    ]
)
PLAIN = """Labels of 3 documents
               documents      Accuracy      Macro-F1       ROUGE-1
  System 5  51.5 [5, 91]  52.5 [5, 92]  53.5 [5, 93]  54.5 [5, 94]
  System 6  61.5 [6, 91]  62.5 [6, 92]  63.5 [6, 93]  64.5 [6, 94]
  hierbert             1             2             3             4
  a gain

Findings: 1 error

ERROR  labels
  the message
  at: a.csv, line 3
"""
HOSTILE = "\x1b[31m[red]\u202eevil [link=file:///etc/passwd]x[/link] :smile:\n\ud800\0"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What stands on a terminal of some width, and of settings of the environment."""

    def draw(shown: Callable[[], None], columns: int = 80, **environment: str) -> str:
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        given = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40", **environment}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        screen = Terminal()
        monkeypatch.setattr("sys.stdout", screen)
        shown()
        return screen.getvalue()

    return draw


def bare(text: str) -> str:
    """Without colours."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_a_file_and_a_dumb_terminal_get_plain_lines(drawn, capsys) -> None:
    show(REPORT)
    assert capsys.readouterr().out == PLAIN
    assert drawn(lambda: show(REPORT), TERM="dumb") == PLAIN
    show("a text without parts")
    assert drawn(lambda: show("a text without parts")).strip() == "a text without parts"


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_no_figure_is_lost_or_broken_at_any_width(columns, drawn) -> None:
    text = bare(drawn(lambda: show(REPORT), columns))
    lines = text.split("\n")
    assert max(map(len, lines)) <= max(40, columns)
    for row in ROWS:
        assert all(any(cell in line for line in lines) for cell in row)
        # Each part of the table has the names.
        assert sum(row[0] in line for line in lines) == sum("─" in line for line in lines)
    assert all(part in text for part in ("Labels of 3", "a gain", "\n  at: a.csv, line 3"))


def test_the_model_and_what_is_wrong_stand_out_but_not_in_colours_without(drawn) -> None:
    text = drawn(lambda: show(REPORT))
    assert re.search("\x1b\\[1mhierbert", text) and "\x1b[1;31mERROR\x1b[0m  labels" in text
    assert "\x1b[1;31m" not in drawn(lambda: show(REPORT), NO_COLOR="1")


def test_a_report_is_drawn_with_all_its_blocks(drawn) -> None:
    table = Table(
        ["Name", "text"], [["one", "word " * 60], ["two", "x"]], [1], (), True, ["p.html"]
    )
    sections = [
        Section("Mistakes", [Note("Of ten."), table]),
        Section("Examples", [Quotation("Best", [("Reference", "It is so.")])]),
    ]
    text = bare(drawn(lambda: show_sections("Report: r", sections, "# Report: r")))
    assert text.startswith("Report: r\nMistakes ──") and "one (p.html)" in text
    assert text.count("word") == 60 and "Reference:\n  It is so." in text
    assert max(map(len, text.split("\n"))) == 80


def test_what_stands_in_labels_is_no_order_and_no_markup(drawn) -> None:
    parts = join_parts([grid([["", "n"], [HOSTILE, "1"]], HOSTILE, [HOSTILE]), HOSTILE])
    table = Table(["Name", "n"], [[HOSTILE, "1"]])
    text = drawn(lambda: show(parts), 200) + drawn(
        lambda: show_sections(HOSTILE, [Section(HOSTILE, [Note(HOSTILE), table])], ""), 200
    )
    text = bare(text)
    assert text.encode() and not set("\x1b\u202e\0") & set(text)
    told = r"\x1b[31m[red]\u202eevil [link=file:///etc/passwd]x[/link] :smile:"
    # And once cut, as long cells of a report are.
    assert text.count(told) == 7 and text.count(told[:40]) == 8


def test_rich_is_imported_by_nothing_else() -> None:
    package = Path(__file__).parents[3] / "hierbert"
    importing = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"(from|import) rich\b", path.read_text(encoding="utf-8"))
    }
    assert importing == {"cli/terminal.py"}
