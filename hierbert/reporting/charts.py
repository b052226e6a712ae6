"""The kinds of charts, each with its figures as a table, and how one becomes SVG.

matplotlib draws them: of the libraries that write SVG without a browser it is the best kept, and
it brings no more than NumPy needs. It is imported when a chart is drawn. Invariant: the same
figures give the same bytes; text stays text; colours are those of the page, in light and dark.
"""

import io
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from hierbert.pages.shell import shown
from hierbert.reporting.blocks import Chart, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What matplotlib is given, and what the page has in its place.
_INK, _FAINT = "#010101", "#020202"
_HUES = [f"#0300{number:02x}" for number in range(7)]
_COLOURS = {_INK: "currentColor", _FAINT: "var(--muted)"} | {
    given: f"var(--hue-{number})" for number, given in enumerate(_HUES)
}
# Also told apart without colour.
_DASHES, _MARKS = ("-", "--", "-.", ":"), "os^Dvx*"
_LONGEST_NAME, _LONGEST_TITLE = 32, 60
_MOST_INSIDE = 3
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hierbert",
    # Names of labels are no formulas.
    "text.parse_math": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "text.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "font.size": 10,
}

Points = tuple[Sequence[float], Sequence[float]]


def lines(
    title: str,
    description: str,
    series: Mapping[str, Points],
    x: str,
    y: str,
    *,
    unit: bool = False,
    diagonal: bool = False,
    best: float | None = None,
    points: Mapping[str, tuple[float, float]] | None = None,
    table: Table | None = None,
) -> Chart:
    """Lines through points.

    Args:
        title: Of the chart.
        description: See `Chart`.
        series: Numbers along and up, by the line's name.
        x: What is along.
        y: What is up.
        unit: Whether both axes are from 0 to 1.
        diagonal: Whether to draw where both are equal.
        best: Where along to draw a line up.
        points: Single points, by name.
        table: The figures; None makes a table of the series, which share what is along.
    """
    points = points or {}

    def draw(axes: "Axes") -> None:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle=":")
        if best is not None:
            axes.axvline(best, color=_FAINT, linewidth=1, linestyle="--")
        for number, (name, (along, up)) in enumerate(series.items()):
            axes.plot(
                along,
                up,
                color=_HUES[number % len(_HUES)],
                linestyle=_DASHES[number % len(_DASHES)],
                marker=_MARKS[number % len(_MARKS)],
                markersize=4 if len(along) <= 50 else 0,
                label=_short(name),
            )
        for number, (name, (along_one, up_one)) in enumerate(points.items(), start=len(series)):
            axes.plot(
                [along_one],
                [up_one],
                color=_HUES[number % len(_HUES)],
                marker="D",
                markersize=8,
                linestyle="",
                label=_short(name),
            )
        if unit:
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(_short(x, _LONGEST_TITLE))
        axes.set_ylabel(_short(y, _LONGEST_TITLE))
        _legend(axes, len(series) + len(points))

    if table is None:
        rows: dict[float, dict[str, str]] = {}
        for name, pairs in series.items():
            for along, up in zip(*pairs, strict=True):
                rows.setdefault(along, {})[name] = f"{up:.4g}"
        cells = [[f"{a:g}", *(own.get(n, "-") for n in series)] for a, own in sorted(rows.items())]
        table = Table([x, *series], cells)
    return Chart(title, description, draw, table)


def bars(
    title: str,
    description: str,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    x: str,
    y: str,
    ends: Sequence[tuple[float, float] | None] = (),
    table: Table | None = None,
) -> Chart:
    """Bars side by side, of the first series with intervals where they are known.

    Args:
        title: Of the chart.
        description: See `Chart`.
        names: Of the groups of bars.
        series: A height for each group, by the series' name.
        x: What the groups are.
        y: What is up.
        ends: Of the first series, low and high of each.
        table: The figures; None makes one of the series.
    """

    def draw(axes: "Axes") -> None:
        width = 0.8 / max(1, len(series))
        for number, (name, heights) in enumerate(series.items()):
            along = [
                place + (number - (len(series) - 1) / 2) * width for place in range(len(names))
            ]
            axes.bar(
                along, heights, width * 0.94, color=_HUES[number % len(_HUES)], label=_short(name)
            )
            for place, interval in enumerate(ends if number == 0 else ()):
                if interval is not None:
                    axes.plot([along[place]] * 2, interval, color=_INK, linewidth=1.4)
        axes.set_xticks(range(len(names)), [_short(name) for name in names])
        if len(names) > 6:
            for label in axes.get_xticklabels():
                label.set(rotation=30, horizontalalignment="right", rotation_mode="anchor")
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(_short(x, _LONGEST_TITLE))
        axes.set_ylabel(_short(y, _LONGEST_TITLE))
        _legend(axes, len(series))

    if table is None:
        cells = [
            [name, *(f"{heights[place]:.4g}" for heights in series.values())]
            for place, name in enumerate(names)
        ]
        table = Table([x, *series], cells)
    return Chart(title, description, draw, table)


def intervals(
    title: str,
    description: str,
    rows: Mapping[str, Mapping[str, float]],
    x: str,
    percent: bool,
    strong: Collection[str] = (),
    zero: bool = False,
) -> Chart:
    """Values with their intervals, one above the other.

    Args:
        title: Of the chart.
        description: See `Chart`.
        rows: "mean", "low" and "high" by name.
        x: What is along.
        percent: Whether they are shown times 100.
        strong: Names that stand out.
        zero: Whether to draw a line where there is no difference.
    """
    scale = 100 if percent else 1
    names = list(rows)
    scaled = [[scale * rows[name][key] for key in ("mean", "low", "high")] for name in names]

    def draw(axes: "Axes") -> None:
        for place, (value, low, high) in enumerate(reversed(scaled)):
            stands_out = names[len(names) - 1 - place] in strong
            hue, mark = (_HUES[4], "D") if stands_out else (_HUES[0], "o")
            axes.plot([low, high], [place, place], color=hue, linewidth=2)
            axes.plot([value], [place], color=hue, marker=mark, markersize=6)
        if zero:
            axes.axvline(0, color=_FAINT, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(names)), [_short(name) for name in reversed(names)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(_short(x, _LONGEST_TITLE))

    cells = [
        [name, *(f"{value:.4g}" for value in each)]
        for name, each in zip(names, scaled, strict=True)
    ]
    places = [place for place, name in enumerate(names) if name in strong]
    table = Table(["Name", x, "low", "high"], cells, places)
    return Chart(title, description, draw, table, (5.6, 0.9 + 0.28 * len(rows)))


def scatter(title: str, description: str, pairs: Points, x: str, y: str, table: Table) -> Chart:
    """Points, with a line where both numbers are equal."""

    def draw(axes: "Axes") -> None:
        low, high = min(map(min, pairs)), max(map(max, pairs))
        axes.plot([low, high], [low, high], color=_FAINT, linewidth=1, linestyle=":")
        axes.plot(*pairs, color=_HUES[0], marker="o", markersize=4, linestyle="", alpha=0.7)
        axes.set_xlabel(_short(x, _LONGEST_TITLE))
        axes.set_ylabel(_short(y, _LONGEST_TITLE))

    return Chart(title, description, draw, table, (5.6, 3.8))


def svg(chart: Chart, name: str) -> str:
    """A chart as an `svg` element of a page, in which no other chart has this name."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS), warnings.catch_warnings():
        # The reader's machine has letters that matplotlib's own font lacks.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=chart.inches, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        chart.draw(figure.subplots())
        written = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.print_svg(written, metadata=nothing)
    return _of_a_page(written.getvalue(), chart, name)


def _of_a_page(written: bytes, chart: Chart, name: str) -> str:
    """matplotlib's file as a part of a page: its colours, no names but its own, a title."""
    # Written a moment ago by this process: no stranger's XML.
    root = ElementTree.fromstring(written)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    referred = set(re.findall(r"#([\w.-]+)", " ".join(_values(root))))
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                if value in referred:
                    element.set(key, f"{name}-{value}")
                else:
                    del element.attrib[key]
            elif key == f"{{{_LINK}}}href":
                del element.attrib[key]
                element.set("href", f"#{name}-{value[1:]}")
            elif key == "style" or key == "clip-path":
                element.set(key, _restyled(value, name))
            elif key == "d":
                element.set(key, " ".join(value.split()))
    for number, (tag, text) in enumerate((("title", chart.title), ("desc", chart.description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = _plain(text)
        root.insert(number, element)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    root.set("style", f"max-width: {chart.inches[0]:g}in; stroke-linejoin: round")
    ElementTree.register_namespace("", _SVG)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _values(root: ElementTree.Element) -> list[str]:
    """What attributes hold that may refer to others."""
    return [
        value
        for element in root.iter()
        for key, value in element.attrib.items()
        if key != "d" and "#" in value
    ]


def _restyled(style: str, name: str) -> str:
    style = re.sub(r"font-family: [^;]*;?", "", style)
    style = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", style)
    for given, colour in _COLOURS.items():
        style = style.replace(given, colour)
    return re.sub(r"url\(#", f"url(#{name}-", style)


def _legend(axes: "Axes", names: int) -> None:
    """Inside where there is room, else below."""
    if names > _MOST_INSIDE:
        axes.figure.legend(loc="outside lower center", ncols=3)
    elif names > 1:
        axes.legend()


def _plain(text: str) -> str:
    """A text on one line that XML can hold."""
    return " ".join(shown(text).unescape().split())


def _short(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that has room in a chart."""
    text = _plain(name)
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"
