"""What the tests of jobs share: rows without files, a job without a model, equal rows."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hierbert.data.document import BrokenRow, Example
from hierbert.prediction import units
from hierbert.prediction.output_folder import Manifest, OutputFolder
from hierbert.prediction.parts import Merger, UnitWriter, done_units
from hierbert.prediction.units import Cuts, InputRow, UnitEnd, UnitName, cut_units, own_units


def example(number: int, size: int = 1) -> Example:
    return Example(f"d{number}", "x" * size, {}, f"docs.jsonl, line {number + 1}")


def to_rows(items: Iterable[Example | BrokenRow]) -> list[InputRow]:
    return [units._to_row(item) for item in items]


def make_rows(sizes: list[int], broken: Iterable[int] = ()) -> list[InputRow]:
    """Rows of one source; those that are broken have no id."""
    return to_rows(
        BrokenRow(id=None, location=f"docs.jsonl, line {n + 1}", reason="broken JSON")
        if n in broken
        else example(n, size)
        for n, size in enumerate(sizes)
    )


def all_items(
    sizes: list[list[int]], limit: int, rows_per_shard: int | None = None
) -> Iterator[UnitName | InputRow | UnitEnd]:
    """The units of sources whose rows have these sizes."""
    for index, source in enumerate(sizes):
        before = sum(map(len, sizes[:index]))
        yield from cut_units(make_rows(source), index, Cuts(limit, rows_per_shard), before)


def answer_to(row: InputRow) -> dict[str, Any]:
    """What stands for a model: an answer that only this row has."""
    answer: dict[str, Any] = {"id": row.id, "label": f"label of {row.fingerprint}"}
    if row.size % 5 == 0:
        answer["omission"] = {"segments": row.size, "sentences": 0, "tokens": 0, "characters": 0}
    return answer


def manifest_of(**more: Any) -> Manifest:
    values: dict[str, Any] = {"settings": {"ratio": 0.5}, "model": "m", "sources": []}
    return Manifest(**{**values, "unit_size": 20, "sessions": ["0a"], **more})


def work(
    target: OutputFolder,
    sources: list[list[InputRow]],
    processes: int = 1,
    resume: bool = False,
    limit: int = 20,
) -> Iterator[None]:
    """A job of several processes; it yields wherever it may be killed, which it does at random."""
    chance = random.Random(len(sources) * processes)
    with target.hold():
        done: dict[UnitName, str] = {}
        if target.check(resume, False) == "begun":
            manifest = target.go_on("0b")
            folder = target.units_folder(manifest)
            done = {name: footer.input for name, footer in done_units(folder).items()}
        else:
            manifest = manifest_of(unit_size=limit)
            target.start(manifest)
            folder = target.units_folder(manifest)
        merger = Merger(target, manifest, len(sources))
        cuts = Cuts(manifest.unit_size, target.rows_per_shard)
        yield

        def one(index: int) -> Iterator[None]:
            ended = [lambda end: merger.advance(), lambda end: None][index > 0]
            writer = UnitWriter(folder, target.writing, ended)
            items = (
                item
                for number, rows in enumerate(sources)
                for item in cut_units(rows, number, cuts, sum(map(len, sources[:number])))
            )
            for item in own_units(items, done, processes, index, names=["docs.jsonl"] * 9):
                if isinstance(item, UnitName):
                    writer.start(item)
                elif isinstance(item, UnitEnd):
                    writer.end(item)
                elif isinstance(item, InputRow) and item.broken is not None:
                    writer.fail(item, item.broken)
                elif isinstance(item, InputRow):
                    writer.answer(item, answer_to(item))
                yield

        running = [one(index) for index in range(processes)]
        while running:
            process = chance.choice(running)
            try:
                next(process)
            except StopIteration:
                running.remove(process)
            yield
        merger.finish()


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


def shard_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder of shards, in the order of their names."""
    from commands import read_jsonl

    return [row for path in sorted(folder.glob("part-*.jsonl")) for row in read_jsonl(path)]
