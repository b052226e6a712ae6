"""One thing that a look at the documents has found."""

from collections.abc import Iterable
from dataclasses import dataclass, field

SEVERITIES = ("error", "warning", "note")
"""From the gravest: the run would fail; it would mislead or waste; it is worth knowing."""


@dataclass(frozen=True)
class Finding:
    """What was found, where, and what to do.

    Attributes:
        severity: One of `SEVERITIES`.
        name: The same in every run, in words with underscores.
        message: What was found, with its figures.
        advice: What to do; empty where nothing needs to be done.
        counts: Figures by name; "documents" is how many it is about.
        examples: Some places, as ``train.jsonl, line 3``.
        weight: Of equally grave findings the heavier comes first: what makes scores wrong.
    """

    severity: str
    name: str
    message: str
    advice: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    weight: int = 0


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first, of equally grave ones the heavier, then that of most documents."""
    return sorted(
        findings,
        key=lambda one: (
            SEVERITIES.index(one.severity),
            -one.weight,
            -one.counts.get("documents", 0),
        ),
    )
