"""What is gained where unsure answers are withheld."""

from hierbert.reporting import charts
from hierbert.reporting.blocks import Note, Section, Table
from hierbert.reporting.found import Found


def coverage(found: Found) -> Section | None:
    """The part of wrong answers, by the part of documents that are answered."""
    kept = found.results.get("risk_coverage")
    if not kept:
        return None
    points, answered = kept["points"], kept.get("answered")
    shown = {}
    if answered:
        shown[f"from {answered['confidence']:g} on"] = answered["coverage"], answered["risk"]
    chart = charts.lines(
        "Risk and coverage",
        f"Of all answers {points[-1]['risk']:.3f} are wrong, of the surest "
        f"{points[0]['coverage']:.2f} of them {points[0]['risk']:.3f}.",
        {"the model": ([p["coverage"] for p in points], [p["risk"] for p in points])},
        "part of the documents that is answered",
        "part of these answers that is wrong",
        points=shown,
        table=Table(
            ["answered", "from probability", "wrong"],
            [[f"{p[n]:.3f}" for n in ("coverage", "confidence", "risk")] for p in points],
        ),
    )
    area = f"Area under the curve: {kept['area']:.4f}; 0 where the wrong answers are the unsurest."
    return Section("Risk and coverage", [chart, Note(area)])
