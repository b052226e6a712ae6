"""report.html and report.md of a run or an evaluation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hierbert.errors import HierBertError, error_text
from hierbert.files import write_text
from hierbert.log import log
from hierbert.reporting.blocks import Note, Section
from hierbert.reporting.found import Found, read_found
from hierbert.reporting.markdown import render_markdown
from hierbert.reporting.page import render_html
from hierbert.reporting.sections import SECTIONS

PAGE, TABLES = "report.html", "report.md"
WITHOUT_EXCERPTS = "Excerpts of documents are left out, as was set."


_Given = TypeVar("_Given")


def make_sections(found: Found) -> list[Section]:
    """The sections of a report, those that there is something for."""
    return draw_sections(SECTIONS, found)


def draw_sections(
    draws: Iterable[Callable[[_Given], Section | None]], found: _Given
) -> list[Section]:
    """Those that there is something for; one that cannot be drawn says so in its place."""
    made = []
    for draw in draws:
        try:
            section = draw(found)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # Results of another version, or changed by hand: the other sections stand.
            name = draw.__name__.strip("_").replace("_", " ")
            told = f"This cannot be told from these results: {error_text(error)}."
            section = Section(name.capitalize(), [Note(told)])
        if section is not None and section.blocks:
            made.append(section)
    return made


def write_report(folder: Path, found: Found) -> None:
    """Write both files into a folder.

    Raises:
        OSError: They cannot be written.
    """
    write_pages(folder, f"Report: {found.name}", make_sections(found))


def write_pages(folder: Path, title: str, sections: Sequence[Section]) -> None:
    """Write sections as report.html and report.md, each whole."""
    subtitle = "Made by hierbert; this file holds all that it shows, and loads nothing."
    # Both are made before one is written.
    page, tables = render_html(title, subtitle, sections), render_markdown(title, sections)
    write_text(folder / PAGE, page)
    write_text(folder / TABLES, tables)


def report_folder(folder: Path, kind: str, examples: Mapping[str, Any]) -> None:
    """Write the report of a run or an evaluation that is whole, which it can never lose.

    Args:
        folder: Of it.
        kind: "full", "pages" (which are written by then), "without_excerpts" or "none".
        examples: See `Found`.
    """
    if kind == "none":
        return
    left_out = WITHOUT_EXCERPTS if kind == "without_excerpts" else ""
    try:
        write_report(folder, read_found(folder, examples, left_out))
    except (OSError, HierBertError) as error:
        log.warning(f"{folder / PAGE} cannot be written, all else is there: {error_text(error)}")
    except Exception as error:
        # A defect of drawing, or of a library's version: hours of work do not end in it.
        what = f"{type(error).__name__} {error_text(error)}"
        log.warning(f"{folder / PAGE} could not be drawn, all else is there: {what}")
    else:
        log.info(f"report: {folder / PAGE}")
