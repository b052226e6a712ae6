"""The input of a job: rows with fingerprints, cut into units, shared by processes."""

from itertools import chain
from typing import Any

import pytest
from commands import write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import all_items, to_rows

from hierbert.data.columns import Columns
from hierbert.data.corpus import read_examples
from hierbert.data.document import BrokenRow, Example
from hierbert.errors import RunError
from hierbert.prediction import units
from hierbert.prediction.units import (
    Cuts,
    InputRow,
    Inputs,
    Passed,
    SourceCheck,
    UnitEnd,
    UnitName,
    all_units,
    check_inputs,
    own_units,
    unit_limit,
)


def fingerprints(*items: Example | BrokenRow) -> list[str]:
    return [row.fingerprint for row in to_rows(items)]


def test_a_fingerprint_follows_from_id_and_text_alone() -> None:
    a = Example("a", "text", {}, "x.jsonl, line 1")
    assert fingerprints(a) == fingerprints(Example("a", "text", {}, "y.csv, row 9"))
    others = [
        Example("b", "text", {}, ""),
        Example("a", "text ", {}, ""),
        Example("a", ["text"], {}, ""),
        Example("at", "ext", {}, ""),
        Example("a\0", "text", {}, ""),
        Example("a", "\ud800", {}, ""),
        BrokenRow(id=None, location="x.jsonl, line 1", reason="broken"),
    ]
    assert len({*fingerprints(a, *others)}) == 1 + len(others)


def test_a_broken_row_is_known_by_its_place_without_the_folder() -> None:
    places = ("a/x.csv, row 3", "/b/x.csv, row 3", "x.csv, row 4")
    one, same, other = fingerprints(*(BrokenRow(None, place, "broken") for place in places))
    assert one == same != other


def test_the_size_is_of_utf8_so_that_scripts_weigh_alike() -> None:
    (row,) = to_rows([Example("a", "字a", {}, "")])
    assert row.size == 4


SIZES = st.lists(st.lists(st.integers(0, 60), max_size=30), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(
    sizes=SIZES,
    limit=st.integers(1, 100),
    most_rows=st.integers(1, 9),
    shard=st.none() | st.integers(1, 12),
)
def test_every_row_is_in_one_unit_which_ends_as_soon_as_it_is_full(
    sizes, limit, most_rows, shard
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "_MOST_ROWS", most_rows)
        items = list(all_items(sizes, limit, shard))
    expected = [(n, size) for n, source in enumerate(sizes) for size in source]
    unit: list[int] = []
    found, names, firsts = [], [], [0] * len(sizes)
    for item in items:
        if isinstance(item, UnitName):
            names.append(item)
            unit = []
        elif isinstance(item, InputRow):
            unit.append(item.size)
            found.append((names[-1].source, item.size))
        else:
            assert item.name == names[-1] and item.first_row == firsts[item.source]
            firsts[item.source] += item.rows
            assert (item.rows, item.size) == (len(unit), sum(unit))
            # Without its last row a unit is not full yet, and with it it is, but for the last one.
            assert sum(unit[:-1]) < limit and len(unit) <= most_rows
            full = sum(unit) >= limit or len(unit) == most_rows
            ends_shard = shard is not None and len(found) % shard == 0
            assert item.last or full or ends_shard
            first = len(found) - len(unit)
            assert shard is None or not unit or first // shard == (len(found) - 1) // shard
    assert found == expected
    ends = [item for item in items if isinstance(item, UnitEnd)]
    assert [end.name for end in ends] == names == sorted(names)
    assert [end.source for end in ends if end.last] == list(range(len(sizes)))


def test_a_digest_tells_the_last_unit_from_one_with_rows_after_it() -> None:
    short, long = ([i for i in all_items([[5] * n], 10) if isinstance(i, UnitEnd)] for n in (2, 3))
    assert (short[0].rows, short[0].last) == (2, True) and not long[0].last
    assert short[0].digest != long[0].digest


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, processes=st.integers(1, 5), limit=st.integers(1, 200), chance=st.randoms())
def test_shares_are_all_units_once_in_order_and_of_equal_size(
    sizes, processes, limit, chance
) -> None:
    ends = [item for item in all_items(sizes, limit) if isinstance(item, UnitEnd)]
    done = {end.name: end.digest for end in ends if chance.random() < 0.3}
    shares = [
        list(own_units(all_items(sizes, limit), done, processes, index))
        for index in range(processes)
    ]
    own = [[item for item in share if isinstance(item, UnitEnd)] for share in shares]
    assert all(part == sorted(part) for part in own)
    todo = [end for end in ends if end.name not in done]
    assert sorted(chain.from_iterable(own)) == todo
    totals = [sum(end.size for end in part) for part in own]
    assert max(totals) - min(totals) <= max((end.size for end in todo), default=0)
    for share, part in zip(shares, own, strict=True):
        rows = [item for item in share if isinstance(item, InputRow)]
        assert len(rows) == sum(end.rows for end in part)
        passed = [item for item in share if isinstance(item, Passed)]
        assert sum(p.rows for p in passed) + len(rows) == sum(map(len, sizes))
        before = sum(end.size for end in ends if end.name in done)
        assert sum(p.size for p in passed if p.done_before) == before


def test_one_long_document_leaves_the_other_process_all_the_short_ones() -> None:
    sizes = [10] * 100
    sizes[70] = 1_000_000
    shares = [own_units(all_items([sizes], 1), {}, 2, index) for index in range(2)]
    rows = sorted(sum(isinstance(item, InputRow) for item in share) for share in shares)
    # Until the long one comes, both have as many.
    assert rows == [36, 64]


def test_rows_that_were_done_before_and_are_others_now_are_refused() -> None:
    def read(sizes: list[int], done: dict[UnitName, str]) -> list[Any]:
        return list(own_units(all_items([sizes], 10), done, names=["a.jsonl"]))

    ends = [item for item in read([5] * 6, {}) if isinstance(item, UnitEnd)]
    done = {end.name: end.digest for end in ends[:2]}
    assert len(read([5] * 7, done)) == 2 + 5 + 2  # what follows what is done may be more
    with pytest.raises(RunError, match=r"rows 3 to 4 of a\.jsonl are not what they were"):
        read([5, 5, 5, 6, 5, 5], done)
    with pytest.raises(RunError, match=r"rows 3 to 4 of a\.jsonl are not what they were"):
        read([5] * 4, done)
    with pytest.raises(RunError, match="it has fewer rows now"):
        read([5, 5], {ends[1].name: ends[1].digest})


def test_units_of_a_small_input_leave_work_for_every_process() -> None:
    checks = [SourceCheck(10, 3_000_000, 0, ""), SourceCheck(10, 1_000_000, 0, "")]
    for on_cpu, largest in ((False, 1_000_000), (True, 100_000)):
        assert unit_limit(None, 4, on_cpu) == unit_limit(checks * 100, 4, on_cpu) == largest
    assert unit_limit(checks, 1, False) == 500_000 and unit_limit(checks, 8, True) == 62_500
    assert unit_limit([SourceCheck(1, 5, 0, "")], 9, True) == 50_000


def test_ids_are_those_of_all_sources_together(tmp_path) -> None:
    for name in ("a/docs.jsonl", "b/docs.jsonl", "c/other.csv"):
        (tmp_path / name).parent.mkdir()
    write_jsonl(tmp_path / "a/docs.jsonl", [{"text": "x"}, {"text": "y", "id": 7}])
    write_jsonl(tmp_path / "b/docs.jsonl", [{"text": "x"}])
    (tmp_path / "c/other.csv").write_text("text\nx\n", encoding="utf-8")
    files = [str(path) for path in sorted(tmp_path.glob("*/*"))]
    inputs = Inputs.find(files, Columns())
    alone = [row.id for index in range(3) for row in inputs.rows(index)]
    together = [item.id for item in all_units(inputs, Cuts(9)) if isinstance(item, InputRow)]
    corpus = read_examples(files, Columns(), role="input")
    assert alone == together == [item.id for item in corpus]
    assert alone[0] == f"{files[0]}-1" and alone[1] == "7" and len(set(alone)) == 4


def test_input_that_changes_while_a_job_runs_is_told(tmp_path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"id": n, "text": "x"} for n in range(3)])
    inputs = Inputs.find([str(path)], Columns())
    checks = check_inputs(inputs)
    assert checks == [SourceCheck(3, 3, 0, checks[0].digest)]
    assert len(list(all_units(inputs, Cuts(9), checks))) == 5
    write_jsonl(path, [{"id": n, "text": "y"} for n in range(3)])
    with pytest.raises(RunError, match=r"a\.jsonl has changed since it was checked"):
        list(all_units(inputs, Cuts(9), checks))
