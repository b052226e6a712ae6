"""Tables on a terminal, drawn by rich; to a file or a pipe the plain lines of the same.

Bars are tqdm's (hierbert/log.py), as those of transformers, datasets and the Hub are: a line of the
log stays whole beside all of them by the lock that they share, and no thread draws.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hierbert.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from hierbert.reporting.blocks import Section, Table

# A figure is not broken; what is wider may be.
_WIDEST_FIGURE = 24
_BETWEEN, _INDENT = 2, 2
_NARROWEST = 40
_SEVERITIES = {"ERROR": "bold red", "WARNING": "bold yellow", "NOTE": "bold"}


def show(text: str) -> None:
    """Print tables and what stands between them, which `Parts` keep apart."""
    console = _console()
    if console is None:
        print(text)
        return
    from hierbert.scoring.answers import OWN
    from hierbert.scoring.tables import Grid, Parts

    for place, part in enumerate(text.parts if isinstance(text, Parts) else [text]):
        if place:
            console.print()
        if not isinstance(part, Grid):
            _print_lines(console, part)
            continue
        if part.heading:
            console.print(_text(part.heading, "bold"))
        head, *rows = part.rows
        strong = [number for number, row in enumerate(rows) if row[0] == OWN]
        console.print(*_draw(head, rows, console.width, strong), sep="\n")
        for note in part.notes:
            console.print(_indented(_text(note)))


def show_sections(title: str, sections: "Sequence[Section]", plain: str) -> None:
    """Print a report, or to a file its `plain` lines."""
    console = _console()
    if console is None:
        print("\n".join(map(printable, plain.splitlines())))
        return
    from rich.rule import Rule

    from hierbert.reporting.blocks import Chart, Note, Quotation, Table

    console.print(_text(title, "bold"))
    for section in sections:
        console.print(Rule(_text(section.title, "bold"), align="left"))
        for block in section.blocks:
            if isinstance(block, Note):
                console.print(_text(block.text))
            elif isinstance(block, Table):
                _print_table(console, block)
            elif isinstance(block, Chart):
                console.print(_text(block.title, "bold"))
                _print_table(console, block.table)
            elif isinstance(block, Quotation):
                console.print(_text(block.title, "bold"))
                for name, text in block.texts:
                    console.print(_text(f"{name}:"), _indented(_prose(text)), sep="\n")
            console.print()


def _console() -> "Console | None":
    """Where tables are drawn; None where lines are to be plain."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return None
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    # Below that a figure beside a name would be cut: the terminal breaks the lines.
    console.width = max(_NARROWEST, console.width)
    return console


def _text(text: str, style: str = "") -> "Text":
    """A text on a line, of which nothing is read as markup or obeyed."""
    from rich.text import Text

    return Text(printable(" ".join(text.split())), style)


def _prose(text: str) -> "Text":
    """As much of a text of a document as a report quotes."""
    from hierbert.reporting.markdown import LONGEST_TEXT, shortened

    return _text(shortened(text, LONGEST_TEXT))


def _indented(what: "RenderableType") -> "RenderableType":
    from rich.padding import Padding

    return Padding(what, (0, 0, 0, _INDENT), expand=False)


def _print_lines(console: "Console", text: str) -> None:
    """Lines as they are, but for the colours of what is wrong."""
    from rich.text import Text

    for line in text.split("\n"):
        drawn = Text(printable(line))
        severity = line.partition("  ")[0]
        drawn.stylize(_SEVERITIES.get(severity, ""), 0, len(severity))
        console.print(drawn, soft_wrap=True)


def _print_table(console: "Console", table: "Table") -> None:
    """A table of a report, its cells as long as there."""
    from hierbert.reporting.markdown import LONGEST_CELL, LONGEST_TEXT, shortened

    last = LONGEST_TEXT if table.prose else LONGEST_CELL
    rows = [[*map(shortened, row[:-1]), shortened(row[-1], last)] for row in table.rows]
    for row, link in zip(rows, table.links, strict=False):
        row[0] += f" ({link})" if link else ""
    drawn = _draw(table.head, rows, console.width, table.strong, table.prose)
    console.print(*drawn, sep="\n")


def _draw(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    strong: Sequence[int] = (),
    prose: bool = False,
) -> "Iterator[RenderableType]":
    """A table; of one that is too wide, some columns after the other, each beside the names."""
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.table import Table

    cells = [[_text(cell) for cell in row] for row in (head, *rows)]
    widths = [max(cell_len(cell.plain) for cell in own) for own in zip(*cells, strict=True)]
    least = [min(own, _WIDEST_FIGURE) for own in widths]
    groups, taken = [[0]], _INDENT + least[0]
    for place in range(1, len(head)):
        taken += _BETWEEN + least[place]
        if taken > width and len(groups[-1]) > 1:
            groups.append([0])
            taken = _INDENT + least[0] + _BETWEEN + least[place]
        groups[-1].append(place)
    for number, group in enumerate(groups):
        if number:
            yield ""
        drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for place in group:
            left = place == 0 or (prose and place == len(head) - 1)
            drawn.add_column(
                cells[0][place],
                justify="left" if left else "right",
                overflow="fold",
                no_wrap=place > 0 and widths[place] <= _WIDEST_FIGURE,
            )
        for row, own in enumerate(cells[1:]):
            drawn.add_row(*(own[place] for place in group), style="bold" if row in strong else "")
        yield _indented(drawn)
