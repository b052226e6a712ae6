"""What sections are made of, whatever it is rendered as: words, tables, charts, quotations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; the first cell of a row names it.

    Attributes:
        head: Titles of the columns.
        rows: As many cells each.
        strong: Numbers of the rows that stand out.
        shades: How dark a cell is, 0 to 1, for each row and each column but the first; or none.
        prose: Whether the last column holds texts, rather than figures.
        links: Of each row the file beside the report that its name links to, or ""; or none.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[int] = ()
    shades: Sequence[Sequence[float]] = ()
    prose: bool = False
    links: Sequence[str] = ()


@dataclass(frozen=True)
class Chart:
    """A picture, and the same as a table, which is all of it where there are no pictures.

    Attributes:
        title: What it shows, in some words.
        description: What there is to see, for who cannot.
        draw: Draws it, on axes of matplotlib.
        table: Its figures.
        inches: Its width and height.
    """

    title: str
    description: str
    draw: Callable[["Axes"], None]
    table: Table
    inches: tuple[float, float] = (5.6, 3.2)


@dataclass(frozen=True)
class Quotation:
    """Texts of one document, each under its name."""

    title: str
    texts: Sequence[tuple[str, str]]


Block = Note | Table | Chart | Quotation


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Its heading.
        blocks: What is in it.
    """

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
