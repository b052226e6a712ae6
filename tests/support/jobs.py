"""What the tests of jobs share: rows without files, a job without a model, equal rows."""

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl

from hierbert.data.document import BrokenRow, Example
from hierbert.prediction.job import Job, done_units, write_units
from hierbert.prediction.output_folder import Manifest, OutputFolder
from hierbert.prediction.units import (
    Cuts,
    InputRow,
    Result,
    Unit,
    cut_units,
    share_units,
    to_row,
)


def make_rows(sizes: list[int], broken: Iterable[int] = ()) -> list[InputRow]:
    """Rows of one source; those that are broken have no id."""
    places = [f"docs.jsonl, line {number}" for number in range(1, len(sizes) + 1)]
    return [
        to_row(
            BrokenRow(None, place, "broken JSON")
            if number in broken
            else Example(f"d{number}", "x" * sizes[number], {}, place)
        )
        for number, place in enumerate(places)
    ]


def units_of(sources: list[list[InputRow]], cuts: Cuts) -> Iterator[Unit]:
    """The units of sources."""
    for index, rows in enumerate(sources):
        yield from cut_units(rows, index, cuts, sum(map(len, sources[:index])))


def answer_to(row: InputRow) -> dict[str, Any]:
    """What stands for a model: an answer that only this row has."""
    answer: dict[str, Any] = {"id": row.id, "label": f"label of {row.fingerprint}"}
    if row.size % 5 == 0:
        answer["omission"] = {"segments": row.size, "sentences": 0, "tokens": 0, "characters": 0}
    return answer


def result_of(row: InputRow) -> Result:
    """An answer, or why there is none."""
    return Result(row, None if row.broken else answer_to(row), row.broken)


def manifest_of(**more: Any) -> Manifest:
    """A job that begins, whatever it is of."""
    values: dict[str, Any] = {"settings": {"ratio": 0.5}, "model": "m", "sources": []}
    return Manifest(**{**values, "unit_size": 20, "sessions": ["0a"], **more})


def work(
    target: OutputFolder,
    sources: list[list[InputRow]],
    processes: int = 1,
    resume: bool = False,
    limit: int = 20,
    step: Callable[[], None] = lambda: None,
) -> None:
    """A job of several processes; `step` is called between any two rows, and may kill it."""
    chance = random.Random(len(sources) * processes)
    with target.hold():
        if target.check(resume, False) == "begun":
            manifest = target.go_on("0b")
        else:
            manifest = manifest_of(unit_size=limit)
            target.start(manifest)
        done = done_units(target.units_folder(manifest))
        job = Job(target, manifest, len(sources), done)
        step()

        def answer(rows: Iterable[InputRow]) -> Iterator[Result]:
            for row in rows:
                step()
                yield result_of(row)

        def process(index: int) -> Iterator[None]:
            names = ["docs.jsonl"] * 9
            shared = share_units(units_of(sources, job.cuts), job.done, names, processes, index)
            own = (unit for unit, whose in shared if whose == "own")
            for _ in write_units(target, job.units, own, answer):
                if index == 0:
                    job.publish_shards()
                yield

        running = [process(index) for index in range(processes)]
        while running:
            one = chance.choice(running)
            if next(one, "ended") == "ended":
                running.remove(one)
            step()
        job.finish()


def _without_rounding(row: dict[str, Any]) -> dict[str, Any]:
    row = {**row, "sentences": [{**s, "score": 0} for s in row["sentences"]]}
    return {**row, "probabilities": list(row["probabilities"])}


def assert_equal_rows(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Rows are equal but for rounding."""
    assert list(map(_without_rounding, rows)) == list(map(_without_rounding, others))
    for row, other in zip(rows, others, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        scores = [[s["score"] for s in r["sentences"]] for r in (row, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def shard_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder of shards, in the order of their names."""
    return [row for path in sorted(folder.glob("part-*.jsonl")) for row in read_jsonl(path)]
