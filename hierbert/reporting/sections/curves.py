"""How training went."""

from collections.abc import Sequence

from hierbert.reporting import charts
from hierbert.reporting.blocks import Block, Note, Section
from hierbert.reporting.found import Found

_LOSSES = {"training": "train.loss", "validation": "validation.loss"}
_RATES = {"heads": "train.learning_rate", "encoder": "train.encoder_learning_rate"}
_COURSE = {
    "tokens_per_second": ("Tokens a second", "trained tokens a second"),
    "memory_mib": ("Memory", "most memory so far, MiB"),
    "device_memory_mib": ("Device memory", "most device memory so far, MiB"),
}


def curves(found: Found) -> Section | None:
    """From metrics.jsonl, a point for each evaluation; speed and memory from the results."""
    if not found.metrics:
        return None
    best = found.results.get("best_step")
    blocks: list[Block] = []
    if len(found.metrics) == 1:
        blocks.append(Note("There was one evaluation: a point is no curve."))

    def chart(title: str, names: dict[str, str], up: str) -> None:
        series = {name: points for name, key in names.items() if (points := _points(found, key))[0]}
        if series:
            told = f"{up.capitalize()} by step: {_ends(series)}."
            blocks.append(charts.lines(title, told, series, "step", up, best=best))

    chart("Loss; the dashed line is the best step", _LOSSES, "loss")
    scored = {
        metric.title: f"validation.{metric.name}"
        for metric in found.headlines(
            {name.removeprefix("validation."): 0 for name in found.metrics[-1]}
        )
    }
    percent = {
        metric.title
        for metric in found.headlines({k.removeprefix("validation."): 0 for k in scored.values()})
        if metric.percent
    }
    # What is not between 0 and 1 has a picture of its own.
    chart("Scores of validation", {n: k for n, k in scored.items() if n in percent}, "score")
    for name, key in scored.items():
        if name not in percent:
            chart(f"{name} of validation", {name: key}, name.lower())
    chart("Learning rates", _RATES, "learning rate")
    course = (found.results.get("resources") or {}).get("course") or []
    for key, (title, up) in _COURSE.items():
        known = [(one["step"], one[key]) for one in course if one.get(key) is not None]
        if known:
            points = [a for a, _ in known], [b for _, b in known]
            told = f"{title} by step: {_ends({title: points})}."
            blocks.append(charts.lines(title, told, {title: points}, "step", up))
    if course and len(course) < len(found.metrics):
        blocks.append(Note("Speed and memory are those since the run was last resumed."))
    if course and not any(one.get("tokens_per_second") for one in course):
        blocks.append(
            Note("The encoder is frozen: steps read its vectors, and tokens a second say nothing.")
        )
    return Section("Training", blocks)


def _points(found: Found, key: str) -> charts.Points:
    known = [(line["step"], line[key]) for line in found.metrics if line.get(key) is not None]
    return [step for step, _ in known], [value for _, value in known]


def _ends(series: dict[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """Where lines begin and end, in words."""
    return "; ".join(
        f"{name} from {ups[0]:.4g} to {ups[-1]:.4g}" for name, (_, ups) in series.items()
    )
