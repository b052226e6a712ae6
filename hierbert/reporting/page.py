"""A report as a page: one file that loads nothing, in the frame of all pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader
from markupsafe import Markup

from hierbert.pages.shell import environment, render_page
from hierbert.reporting import charts
from hierbert.reporting.blocks import Chart, Note, Quotation, Section, Table

_HERE = Path(__file__).parent
_KINDS = {Note: "note", Table: "table", Quotation: "quotation"}


def render_html(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The page, with a list of its sections in front."""
    made, number = [], 0
    for place, section in enumerate(sections, start=1):
        blocks: list[dict[str, Any]] = []
        for block in section.blocks:
            if not isinstance(block, Chart):
                blocks.append({"kind": _KINDS[type(block)], "block": block})
                continue
            number += 1
            drawn = {"block": block, "svg": Markup(charts.svg(block, f"chart-{number}"))}
            # Those that follow one another stand side by side.
            if not blocks or blocks[-1]["kind"] != "charts":
                blocks.append({"kind": "charts", "charts": []})
            blocks[-1]["charts"].append(drawn)
        made.append({"id": f"section-{place}", "title": section.title, "blocks": blocks})
    templates = environment().overlay(loader=FileSystemLoader(_HERE))
    body = templates.get_template("report.html.jinja").render(
        title=title, subtitle=subtitle, sections=made
    )
    styles = (_HERE / "report.css").read_text(encoding="utf-8")
    return render_page(title, Markup(body), styles)
