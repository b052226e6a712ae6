"""Markdown that says what it was given, whatever stands in it."""

import re
from collections.abc import Sequence

from hierbert.errors import printable
from hierbert.reporting.blocks import Chart, Note, Quotation, Section, Table

LONGEST_CELL = 60
LONGEST_TEXT = 600


def shortened(text: str, longest: int = LONGEST_CELL) -> str:
    """So many characters at most, on a line that gives a terminal no orders."""
    # A lone surrogate cannot be written as UTF-8.
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[:longest].rstrip()}…"


def cell(text: str, longest: int = LONGEST_CELL) -> str:
    """The same, escaped: nothing is read as Markdown or HTML."""
    line = shortened(text, longest)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|~#!$])", r"\\\1", line)
    # The Hub makes links and mentions of bare addresses.
    return re.sub(r"(?i)(:(?=/)|(?<=www)\.|@)", r"\\\1", line)


def render_markdown(title: str, sections: Sequence[Section]) -> str:
    """A report as Markdown, charts as their tables, whose columns stand below one another."""
    parts = [f"# {cell(title, 200)}"]
    for section in sections:
        parts.append(f"## {cell(section.title, 200)}")
        for block in section.blocks:
            if isinstance(block, Note):
                parts.append(cell(block.text, 2000))
            elif isinstance(block, Table):
                parts.append(_table(block))
            elif isinstance(block, Chart):
                parts.append(f"{cell(block.title, 200)}:\n\n{_table(block.table)}")
            elif isinstance(block, Quotation):
                parts.append(f"### {cell(block.title, 200)}")
                parts += [
                    f"{cell(name, 200)}:\n\n> {cell(text, LONGEST_TEXT)}"
                    for name, text in block.texts
                ]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    longest = [LONGEST_CELL] * len(table.head)
    if table.prose:
        longest[-1] = LONGEST_TEXT
    head = [cell(text) for text in table.head]
    rows = [[cell(t, most) for t, most in zip(row, longest, strict=True)] for row in table.rows]
    for number, link in enumerate(table.links):
        if link:
            rows[number][0] = f"[{rows[number][0]}]({link})"
    for number in table.strong:
        rows[number][0] = f"**{rows[number][0]}**"
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    texts = len(head) - 1 if table.prose else None
    if table.prose:
        # A text would make all lines as long as the longest one.
        widths[-1] = 3

    def line(cells: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if place in (0, texts) else text.rjust(width)
            for place, (text, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if place in (0, texts) else "-" * (width - 1) + ":"
        for place, width in enumerate(widths)
    ]
    return "\n".join([line(head), line(rule), *map(line, rows)])
