"""Lines on two logarithmic axes as SVG, readable on light and on dark pages.

Only what the scaling benchmark needs: no other axes, no styles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 860, 500
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 190, 56, 64
_LABEL_HEIGHT = 17
# Told apart by people who see no red or no green, on white and on black (after Okabe and Ito 2008).
_COLOURS = ("#0a84d8", "#e0791a", "#0f9d74", "#cc6ea5", "#9a8a00", "#7a7aff", "#d0453c", "#808080")
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}"
    ".grid{stroke:#8c959f;stroke-opacity:.28}.axis{stroke:#57606a;fill:none}"
    ".page{fill:#ffffff}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#9198a1}"
    ".page{fill:#0d1117}}"
)


@dataclass(frozen=True)
class Line:
    """A named line."""

    name: str
    points: Sequence[tuple[float, float]]


def line_plot(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """An SVG of lines over x in powers of two and y in powers of ten, all above 0."""
    points = [point for line in lines for point in line.points]
    if not points or any(x <= 0 or y <= 0 for x, y in points):
        raise ValueError("a plot on logarithmic axes needs points, all above 0")
    xs = [math.log2(x) for x, _ in points]
    ys = [math.log10(y) for _, y in points]
    x_low, x_high = math.floor(min(xs)), math.ceil(max(max(xs), min(xs) + 1))
    y_low, y_high = math.floor(min(ys)), math.ceil(max(max(ys), min(ys) + 0.1))
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        horizontal = (math.log2(x) - x_low) / (x_high - x_low)
        vertical = (math.log10(y) - y_low) / (y_high - y_low)
        return _LEFT + across * horizontal, _TOP + down * (1 - vertical)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}"/>',
        _text(_LEFT, 30, title, "start", "title"),
    ]
    for power in range(x_low, x_high + 1):
        x, _ = place(2.0**power, 10.0**y_low)
        parts.append(_grid(x, _TOP, x, _TOP + down))
        if (power - x_low) % 2 == 0:
            parts.append(_text(x, _TOP + down + 20, f"{2**power:,}"))
    for power in range(y_low, y_high + 1):
        for times in (1, 2, 5):
            value = times * 10.0**power
            if math.log10(value) > y_high + 1e-9:
                break
            _, y = place(2.0**x_low, value)
            parts.append(_grid(_LEFT, y, _LEFT + across, y))
            parts.append(_text(_LEFT - 8, y + 4, f"{value:,.10g}", "end"))
    parts.append(f'<path class="axis" d="M{_LEFT},{_TOP}V{_TOP + down}H{_LEFT + across}"/>')
    parts.append(_text(_LEFT + across / 2, _HEIGHT - 18, x_label))
    middle = _TOP + down / 2
    parts.append(
        f'<text x="20" y="{middle:.1f}" text-anchor="middle" '
        f'transform="rotate(-90 20 {middle:.1f})">{escape(y_label)}</text>'
    )
    ends = []
    for number, line in enumerate(lines):
        if not line.points:
            continue
        colour = _COLOURS[number % len(_COLOURS)]
        corners = [place(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/>' for x, y in corners
        ]
        ends.append((corners[-1][1], corners[-1][0], line.name, colour))
    parts += _labels(ends)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _labels(ends: Sequence[tuple[float, float, str, str]]) -> list[str]:
    """A label beside each line's end, moved down where two would lie on each other."""
    parts = []
    taken: list[tuple[float, float]] = []
    for y, x, name, colour in sorted(ends):
        place = y
        while any(abs(place - other) < _LABEL_HEIGHT and abs(x - at) < 170 for other, at in taken):
            place += 1
        taken.append((place, x))
        parts.append(
            f'<text x="{x + 9:.1f}" y="{place + 4:.1f}" style="fill:{colour};font-weight:600">'
            f"{escape(name)}</text>"
        )
    return parts


def _grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
