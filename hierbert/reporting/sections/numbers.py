"""Numbers that were answered, beside those that are true."""

from hierbert.reporting import charts
from hierbert.reporting.blocks import Section, Table
from hierbert.reporting.found import Found
from hierbert.scoring.answers import OWN

_MOST_POINTS = 500
_MOST_ROWS = 50


def numbers(found: Found) -> Section | None:
    """Of a regression."""
    blocks = []
    for answers in found.answers.values():
        if answers.kind != "regression" or answers.true is None:
            continue
        true, given = answers.true, answers.systems[OWN]
        count = len(true)
        # Evenly spread over the documents.
        places = range(0, count, -(-count // _MOST_POINTS))
        pairs = [true[p] for p in places], [given[p] for p in places]
        far = sorted(range(count), key=lambda p: -abs(given[p] - true[p]))[:_MOST_ROWS]
        rows = [[answers.ids[p], f"{true[p]:.4g}", f"{given[p]:.4g}"] for p in far]
        blocks.append(
            charts.scatter(
                "Answered and true numbers; on the dotted line they are the same",
                f"{len(pairs[0]):,} of {count:,} documents.",
                pairs,
                "true",
                "answered",
                Table(["the largest errors", "true", "answered"], rows),
            )
        )
    return Section("Numbers", blocks) if blocks else None
