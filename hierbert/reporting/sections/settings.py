"""How the run was set up."""

from hierbert.config import RunConfig, SummaryConfig
from hierbert.reporting.blocks import Note, Section, Table
from hierbert.reporting.found import Found
from hierbert.settings_text import walk


def settings(found: Found) -> Section | None:
    """What was set otherwise than by default."""
    if found.settings is None:
        return None
    usual = {name: item.default() for name, item in walk(RunConfig) if item.section is None}
    # Its check fills in a limit that nobody has set.
    summary = SummaryConfig()
    summary.check()
    filled = {f"summary.{name}": value for name, value in vars(summary).items()}
    rows = [
        [name, str(value)]
        for name, value in found.settings.items()
        if name not in usual or value not in (usual[name], filled.get(name, usual[name]))
    ]
    note = Note("Settings that are not the defaults; config.resolved.yaml has all.")
    return Section("Settings", [note, Table(["setting", "value"], rows, prose=True)])
