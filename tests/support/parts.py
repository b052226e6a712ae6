"""What the tests of jobs on Ray share: a job that was begun, and rows but for rounding."""

from pathlib import Path
from typing import Any

import pytest

from hierbert.prediction.on_ray.output import PartFolder
from hierbert.prediction.on_ray.plan import PartLimits, Plan, SourcePlan


def started(tmp_path: Path, parts: int = 3) -> tuple[PartFolder, Plan]:
    folder = PartFolder(tmp_path / "out", "jsonl")
    limits = PartLimits(2, 100)
    plan = Plan(limits, [SourcePlan("a.jsonl", 2 * parts, 10, parts, "d", 1, 1)])
    assert folder.check(False, False) is False
    folder.start({"model": "m"}, plan)
    return folder, plan


def close(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what rounding may change, which is compared by itself."""
    row = {**row, "sentences": [{**s, "score": 0} for s in row["sentences"]]}
    return {**row, "probabilities": list(row["probabilities"])}


def assert_equal_rows(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    assert [close(row) for row in rows] == [close(row) for row in others]
    for row, other in zip(rows, others, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        scores = [[s["score"] for s in r["sentences"]] for r in (row, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
