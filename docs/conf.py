"""Builds the documentation: ``sphinx-build -W docs build/docs`` (docs/requirements.txt)."""

import sys
from dataclasses import MISSING
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import hierbert
from hierbert.config import RunConfig
from hierbert.settings_text import walk, write_value

project = "hierbert"
author = "the authors of hierbert"
release = version = hierbert.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["requirements.txt"]

html_theme = "furo"
html_title = f"hierbert {release}"
html_show_sourcelink = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True


def settings_tables() -> str:
    """Every setting as Markdown: a table for each section of the schema."""
    head = ["", "| setting | default | what it does |", "|---|---|---|"]
    tables = {"": ["## The run itself", *head]}
    for key, item in walk(RunConfig):
        if item.section is not None:
            tables[key] = [f"## {key}", "", item.help, *head]
            continue
        default = item.default()
        state = "required" if default is MISSING else f"`{write_value(default)}`"
        cells = (f"`{key}`", state, f"{item.help} ({item.allowed()})")
        line = " | ".join(cell.replace("|", "\\|") for cell in cells)
        tables[key.rpartition(".")[0]].append(f"| {line} |")
    return "\n\n".join("\n".join(lines) for lines in tables.values()) + "\n"


def setup(app: object) -> None:
    """Put the tables at the end of the page of settings."""

    def add_settings(app: object, page: str, source: list[str]) -> None:
        if page == "settings":
            source[0] += "\n" + settings_tables()

    app.connect("source-read", add_settings)  # type: ignore[attr-defined]
