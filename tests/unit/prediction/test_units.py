"""The input of a job: rows with fingerprints, cut into units, shared by processes."""

from typing import Any

import pytest
from commands import write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import make_rows, units_of

from hierbert.data.columns import Columns
from hierbert.data.corpus import load_examples
from hierbert.data.document import BrokenRow, Example
from hierbert.data.sources import resolve_sources
from hierbert.errors import RunError
from hierbert.prediction import units
from hierbert.prediction.units import (
    Cuts,
    Inputs,
    SourceCheck,
    Unit,
    UnitName,
    all_units,
    check_inputs,
    share_units,
    to_row,
    unit_limit,
)


def test_rows_are_known_by_their_ids_and_texts_and_broken_ones_by_their_places() -> None:
    def fingerprint(item: Example | BrokenRow) -> str:
        return to_row(item).fingerprint

    documents: list[tuple[Any, ...]] = [
        *(("a", "text"), ("b", "text"), ("a", "text "), ("a", ["text"]), ("at", "ext")),
        *(("a\0", "text"), ("a", "\ud800")),
        # What is read and what is kept beside the text is a part of the answer.
        *(("a", "text", {"x": 1}), ("a", "text", {"x": 2}), ("a", "text", {}, {"y": 1})),
        *(("a", "text", {}, {"y": 2}), ("a", "text", {"x": 1}, {"y": 1})),
    ]
    made = [
        [
            fingerprint(Example(name, text, fields[0] if fields else {}, place, *fields[1:]))
            for name, text, *fields in documents
        ]
        for place in ("x.jsonl, line 1", "y.csv, row 9")
    ]
    assert made[0] == made[1]
    places = ("a/x.csv, row 3", "/b/x.csv, row 3", "x.csv, row 4")
    broken = [fingerprint(BrokenRow(None, place, "broken")) for place in places]
    # The folder may be another one when a job is resumed.
    assert broken[0] == broken[1]
    assert len({*made[0], *broken}) == len(documents) + 2
    # Of UTF-8, so that scripts weigh alike.
    assert to_row(Example("a", "字a", {}, "")).size == 4


SIZES = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), max_size=5)


@settings(deadline=None, max_examples=100)
@given(
    sizes=SIZES,
    limit=st.integers(1, 200),
    most_rows=st.integers(1, 10),
    shard=st.none() | st.integers(1, 30),
)
def test_units_are_whole_rows_in_order_cut_where_they_are_full(
    sizes, limit, most_rows, shard
) -> None:
    sources = [make_rows(source) for source in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "_MOST_ROWS", most_rows)
        made = list(units_of(sources, Cuts(limit, shard)))
    assert [(unit.name.source, row) for unit in made for row in unit.rows] == [
        (source, row) for source, rows in enumerate(sources) for row in rows
    ]
    before = 0
    for index, rows in enumerate(sources):
        own = [unit for unit in made if unit.name.source == index]
        assert [unit.name.number for unit in own] == list(range(len(own)))
        assert [unit.last for unit in own] == [False] * (len(own) - 1) + [True]
        first = 0
        for unit in own:
            assert unit.first_row == first
            first += len(unit.rows)
            sizes_ = [row.size for row in unit.rows]
            assert unit.size == sum(sizes_)
            # Without its last row a unit is not full yet, and with it it is, but for the last one.
            assert sum(sizes_[:-1]) < limit and len(sizes_) <= most_rows
            ends_shard = shard is not None and (before + first) % shard == 0
            full = unit.size >= limit or len(sizes_) == most_rows
            assert unit.last or full or ends_shard
            if shard is not None:
                shards = {(before + n) // shard for n in range(first - len(sizes_), first)}
                assert len(shards) == 1
        before += len(rows)


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, processes=st.integers(1, 5), limit=st.integers(1, 200), chance=st.randoms())
def test_shares_are_all_units_once_in_order_and_of_equal_size(
    sizes, processes, limit, chance
) -> None:
    every = list(units_of([make_rows(source) for source in sizes], Cuts(limit)))
    done = {unit.name: unit.digest for unit in every if chance.random() < 0.3}
    shares = [list(share_units(every, done, [], processes, index)) for index in range(processes)]
    for share in shares:
        assert [unit for unit, _ in share] == every
        assert {unit.name for unit, whose in share if whose == "done"} == done.keys()
    owners = list(zip(*([whose for _, whose in share] for share in shares), strict=True))
    assert all(
        whose.count("own") == (unit.name not in done)
        for unit, whose in zip(every, owners, strict=True)
    )
    totals = [sum(unit.size for unit, whose in share if whose == "own") for share in shares]
    todo = [unit.size for unit in every if unit.name not in done]
    assert max(totals) - min(totals) <= max(todo, default=0)


def test_rows_that_were_done_before_and_are_others_now_are_refused() -> None:
    def read(sizes: list[int], done: dict[UnitName, str]) -> list[Any]:
        return list(share_units(units_of([make_rows(sizes)], Cuts(10)), done, ["a.jsonl"]))

    first, second, _ = (unit for unit, _ in read([5] * 6, {}))
    done = {unit.name: unit.digest for unit in (first, second)}
    # What follows what is done may be more.
    assert [whose for _, whose in read([5] * 7, done)] == ["done", "done", "own", "own"]
    for sizes in ([5, 5, 5, 6, 5, 5], [5] * 4):
        with pytest.raises(RunError, match=r"rows 3 to 4 of a\.jsonl are not what they were"):
            read(sizes, done)
    with pytest.raises(RunError, match="it has fewer rows now"):
        read([5, 5], {second.name: second.digest})


def test_units_of_a_small_input_leave_work_for_every_process() -> None:
    checks = [SourceCheck(10, 3_000_000, 0, ""), SourceCheck(10, 1_000_000, 0, "")]
    for on_cpu, largest in ((False, 1_000_000), (True, 100_000)):
        assert unit_limit(None, 4, on_cpu) == unit_limit(checks * 100, 4, on_cpu) == largest
    assert unit_limit(checks, 1, False) == 500_000 and unit_limit(checks, 8, True) == 62_500
    assert unit_limit([SourceCheck(1, 5, 0, "")], 9, True) == 50_000


def rows_in(every: list[Unit]) -> list[str | None]:
    return [row.id for unit in every for row in unit.rows]


def test_ids_are_those_of_all_sources_together(tmp_path) -> None:
    for name in ("a/docs.jsonl", "b/docs.jsonl", "c/other.csv"):
        (tmp_path / name).parent.mkdir()
    write_jsonl(tmp_path / "a/docs.jsonl", [{"text": "x"}, {"text": "y", "id": 7}])
    write_jsonl(tmp_path / "b/docs.jsonl", [{"text": "x"}] * 3)
    (tmp_path / "c/other.csv").write_text("text\nx\n", encoding="utf-8")
    files = [str(path) for path in sorted(tmp_path.glob("*/*"))]
    inputs = Inputs.find(files, Columns())
    alone = [row.id for index in range(3) for row in inputs.rows(index)]
    corpus = load_examples(resolve_sources(files, "input"), Columns())
    assert alone == rows_in(list(all_units(inputs, Cuts(9)))) == [item.id for item in corpus]
    assert alone[0] == f"{files[0]}-1" and alone[1] == "7" and len(set(alone)) == 6
    # Shards are counted over all sources.
    assert [len(unit.rows) for unit in all_units(inputs, Cuts(9, 4))] == [2, 2, 1, 1]


def test_input_that_changes_while_a_job_runs_is_told(tmp_path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"id": n, "text": "x"} for n in range(3)])
    inputs = Inputs.find([str(path)], Columns())
    checks = check_inputs(inputs)
    assert checks == [SourceCheck(3, 3, 0, checks[0].digest)]
    assert rows_in(list(all_units(inputs, Cuts(9), checks))) == ["0", "1", "2"]
    write_jsonl(path, [{"id": n, "text": "y"} for n in range(3)])
    with pytest.raises(RunError, match=r"a\.jsonl has changed since it was checked"):
        list(all_units(inputs, Cuts(9), checks))
