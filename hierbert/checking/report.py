"""What a look at the documents has found, for a terminal and as JSON."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hierbert.checking.check import Check
from hierbert.checking.corpus import CheckedCorpus
from hierbert.checking.finding import SEVERITIES, Finding, ranked
from hierbert.errors import printable
from hierbert.log import counted
from hierbert.scoring.tables import Parts, grid, join_parts

_WIDTH = 79


def make_report(
    corpus: CheckedCorpus,
    checks: Sequence[Check],
    findings: Sequence[Finding],
    estimate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All that was found, as plain JSON values: findings by their rank, and figures by check."""
    facts = {check.name: own for check in checks if corpus.splits and (own := check.facts(corpus))}
    found = ranked(findings)
    return {
        "would_fail": any(one.severity == "error" for one in found),
        "findings": [asdict(one) for one in found],
        "documents": {split: len(numbers) for split, numbers in corpus.splits.items()},
        **facts,
        "estimate": None if estimate is None else dict(estimate),
    }


def report_text(report: Mapping[str, Any], checks: Sequence[Check]) -> Parts:
    """The same to be read: tables, the estimate, findings with what to do."""
    tables = [check.table(report.get(check.name, {})) for check in checks]
    # Of titles alone there is nothing to see.
    parts: list[str] = [
        grid([[printable(cell) for cell in row] for row in rows])
        for rows in tables
        if len(rows) > 1
    ]
    if report["estimate"]:
        parts.append("\n".join(_wrapped("Estimate: ", printable(report["estimate"]["line"]))))
    findings = report["findings"]
    counts = Counter(one["severity"] for one in findings)
    total = ", ".join(counted(counts[kind], kind) for kind in SEVERITIES if counts[kind])
    lines = [f"Findings: {total or 'none'}"]
    for one in findings:
        lines += ["", f"{one['severity'].upper()}  {one['name']}"]
        lines += _wrapped("  ", one["message"])
        for number, place in enumerate(one["examples"]):
            lines.append(f"  {'   ' if number else 'at:'} {place}")
        if one["advice"]:
            lines += _wrapped("  do: ", one["advice"])
    # They quote what stands in a stranger's documents.
    parts.append("\n".join(map(printable, lines)))
    return join_parts(parts)


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
