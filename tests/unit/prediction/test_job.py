"""The batch job on disk: rows shared by size, logs that may be torn anywhere, parts, resuming.

Nothing here needs a model: a job is driven as the command drives it, and killed between any two of
its writes.
"""

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import read_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.data.corpus import BrokenRow, Example
from hierbert.errors import RunError
from hierbert.prediction import processes
from hierbert.prediction.job_folder import JobFolder
from hierbert.prediction.manifest import Manifest
from hierbert.prediction.records import Record, RecordLog, read_records
from hierbert.prediction.rows import InputRow, PartEnd, number_rows
from hierbert.prediction.sharing import Passed, own_share
from hierbert.prediction.target import Target


def example(number: int, size: int = 1) -> Example:
    return Example(f"d{number}", "x" * size, None, None, f"docs.jsonl, line {number + 1}")


def make_input(sizes: list[int], broken: set[int] = frozenset()) -> list[Example | BrokenRow]:  # type: ignore[assignment]
    return [
        BrokenRow(id=None, location=f"docs.jsonl, line {n + 1}", reason="broken JSON")
        if n in broken
        else example(n, size)
        for n, size in enumerate(sizes)
    ]


def test_rows_are_numbered_and_parts_end_after_their_last_row() -> None:
    items = list(number_rows(make_input([1] * 7), 3))
    kinds = [item.part if isinstance(item, PartEnd) else None for item in items]
    assert kinds == [None, None, None, 0, None, None, None, 1, None, 2]
    ends = [item for item in items if isinstance(item, PartEnd)]
    assert [end.rows for end in ends] == [3, 3, 1]
    rows = [item.number for item in items if isinstance(item, InputRow)]
    assert rows == list(range(7))
    exact = [item for item in number_rows(make_input([1] * 6), 3) if isinstance(item, PartEnd)]
    assert [end.rows for end in exact] == [3, 3]
    assert list(number_rows([], 3)) == []


def fingerprints(*examples: Example | BrokenRow) -> list[str]:
    return [row.fingerprint for row in number_rows(examples, 99) if isinstance(row, InputRow)]


def test_a_fingerprint_follows_from_id_and_text_alone() -> None:
    a = Example("a", "text", None, None, "x.jsonl, line 1")
    same = Example("a", "text", "label", "summary", "y.csv, row 9")
    assert fingerprints(a) == fingerprints(same)
    others = [
        Example("b", "text", None, None, ""),
        Example("a", "text ", None, None, ""),
        Example("a", ["text"], None, None, ""),
        Example("at", "ext", None, None, ""),
        Example("a\0", "text", None, None, ""),
        Example("a", "\ud800", None, None, ""),
        BrokenRow(id=None, location="x.jsonl, line 1", reason="broken"),
    ]
    assert len({*fingerprints(a, *others)}) == 1 + len(others)


def test_the_size_is_of_utf8_so_that_scripts_weigh_alike() -> None:
    row = next(iter(number_rows([Example("a", "字a", None, None, "")], 9)))
    assert isinstance(row, InputRow) and row.size == 4


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 5_000), min_size=1, max_size=80),
    processes=st.integers(1, 5),
    rows_per_part=st.integers(1, 40),
    done=st.sets(st.integers(0, 79)),
)
def test_shares_are_all_rows_once_in_order_and_of_equal_size(
    sizes, processes, rows_per_part, done
) -> None:
    shares = []
    for index in range(processes):
        items = number_rows(make_input(sizes), rows_per_part)
        shares.append(list(own_share(items, lambda row: row.number in done, processes, index)))
    own = [[item for item in share if isinstance(item, InputRow)] for share in shares]
    numbers = [[row.number for row in rows] for rows in own]
    assert all(part == sorted(part) for part in numbers)
    assert sorted(chain.from_iterable(numbers)) == [n for n in range(len(sizes)) if n not in done]
    totals = [sum(row.size for row in rows) for rows in own]
    assert max(totals) - min(totals) <= max(sizes)
    for share in shares:
        passed = [item for item in share if isinstance(item, Passed)]
        assert sum(item.rows for item in passed) == len(sizes)
        assert sum(item.size for item in passed) == sum(sizes)
        before = sum(sizes[n] for n in done if n < len(sizes))
        assert sum(item.size_before for item in passed) == before
        seen: list[int] = []
        for item in share:
            if isinstance(item, InputRow):
                assert item.number // rows_per_part == len(seen), "rows come before their part ends"
            elif isinstance(item, PartEnd):
                seen.append(item.part)
        assert seen == list(range(-(-len(sizes) // rows_per_part)))


def test_one_long_document_leaves_the_other_process_all_the_short_ones() -> None:
    sizes = [10] * 100
    sizes[70] = 1_000_000
    shares = [
        [r for r in own_share(number_rows(make_input(sizes), 1000), lambda row: False, 2, index)
         if isinstance(r, InputRow)]
        for index in range(2)
    ]  # fmt: skip
    assert sorted(map(len, shares)) == [1, 99]


def test_a_log_torn_or_damaged_anywhere_gives_the_rows_before(tmp_path) -> None:
    records = [
        Record(0, "00" * 8, "answer", b'{"id": "a b", "label": "x y"}'),
        Record(1, "01" * 8, "failure", b'{"row": 2}'),
        Record(5, "ff" * 8, "answer", '{"id": "字"}'.encode()),
    ]
    log = RecordLog(tmp_path / "log")
    for record in records:
        log.write(record)
    assert list(read_records(tmp_path / "log")) == records, "before it is closed"
    log.finish("done")
    data = (tmp_path / "done").read_bytes()
    assert list(read_records(tmp_path / "done", whole=True)) == records
    ends = [n + 1 for n, byte in enumerate(data) if byte == ord("\n")]
    torn = tmp_path / "torn"
    for length in range(len(data) + 1):
        torn.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        assert list(read_records(torn)) == records[:whole], length
        if length not in (0, *ends):
            with pytest.raises(RunError, match="is damaged"):
                list(read_records(torn, whole=True))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        torn.write_bytes(damaged)
        whole = sum(end <= place for end in ends)
        assert list(read_records(torn))[:whole] == records[:whole]
        assert len(list(read_records(torn))) == whole, place
    assert list(read_records(tmp_path / "none")) == []


class Killed(Exception):
    """The machine's own way to end a process in the middle."""


def answer_to(row: InputRow) -> dict[str, Any]:
    """What stands for a model: an answer that only this row has."""
    answer: dict[str, Any] = {"id": row.id, "label": f"label of {row.number}"}
    if row.number % 5 == 0:
        answer["omission"] = {"segments": row.number, "sentences": 0, "tokens": 0, "characters": 0}
    return answer


def work(target: Target, given: list[Any], processes: int, resume: bool) -> Iterator[None]:
    """A job of several processes; it may be killed wherever it yields, which it does at random."""
    folders = [JobFolder(target, processes, index) for index in range(processes)]
    chance = random.Random(len(given) * processes)
    with folders[0].hold():
        folders[0].begin(Manifest(settings={"ratio": 0.5}, model="m", sources=[]), resume)
        yield

        def one(folder: JobFolder) -> Iterator[None]:
            folder.open()
            rows = number_rows(given, target.rows_per_part)
            for item in own_share(rows, folder.is_done, processes, folder.index):
                if isinstance(item, PartEnd):
                    folder.end_part(item)
                elif isinstance(item, InputRow) and item.broken is not None:
                    folder.fail(item, item.broken)
                elif isinstance(item, InputRow):
                    folder.answer(item, answer_to(item))
                yield

        running = [one(folder) for folder in folders]
        while running:
            process = chance.choice(running)
            try:
                next(process)
            except StopIteration:
                running.remove(process)
            yield
        folders[0].finish()


def run(target: Target, given: list[Any], processes: int = 1, *, steps: int | None = None,
        resume: bool = False) -> bool:  # fmt: skip
    """Work until the end, or for so many steps and then die as by kill -9; whether it ended."""
    job = work(target, given, processes, resume)
    for number, _ in enumerate(job):
        if number == steps:
            # The lock goes with the process; nothing else of it is cleaned up.
            shutil.copytree(target.folder, target.folder.with_name("dead"))
            with contextlib.suppress(Killed):
                job.throw(Killed())
            shutil.rmtree(target.folder, ignore_errors=True)
            target.folder.with_name("dead").rename(target.folder)
            return False
    return True


def check_output(target: Target, sizes: list[int], broken: set[int]) -> None:
    """Every row is there once, in order, as answer or as error."""
    rows = [r for r in number_rows(make_input(sizes, broken), 9) if isinstance(r, InputRow)]
    expected = [answer_to(row) for row in rows if row.broken is None]
    errors = [
        {"row": r.number + 1, "location": r.location, "id": None, "reason": "broken JSON"}
        for r in rows
        if r.broken is not None
    ]
    if target.rows_per_shard is None:
        assert not target.folder.exists()
        found = read_jsonl(target.path)
    else:
        manifest = json.loads((target.path / "manifest.json").read_text())
        assert manifest["complete"] and manifest["rows_done"] == len(sizes)
        assert (manifest["answers"], manifest["errors"]) == (len(expected), len(errors))
        names = [part["file"] for part in manifest["parts"] if part["file"]]
        files = {"manifest.json", *names} | ({"errors.jsonl"} if errors else set())
        assert {path.name for path in target.path.iterdir()} == files
        found = [row for name in names for row in read_jsonl(target.path / name)]
        assert all(part["rows"] <= target.rows_per_shard for part in manifest["parts"])
        assert sum(part["shortened"] for part in manifest["parts"]) == sum(
            "omission" in row for row in expected
        )
    assert found == expected
    assert (read_jsonl(target.errors) if target.errors.exists() else []) == errors


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=25),
    broken=st.sets(st.integers(0, 24), max_size=4),
    rows_per_shard=st.integers(1, 12),
    kills=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), max_size=4),
    processes=st.integers(1, 3),
)
def test_killed_anywhere_and_resumed_by_any_number_of_processes(
    tmp_path_factory, sizes, broken, rows_per_shard, kills, processes
) -> None:
    target = Target(tmp_path_factory.mktemp("job") / "out", "jsonl", rows_per_shard)
    given = make_input(sizes, broken)
    begun = False
    for number, steps in kills:
        if run(target, given, number, steps=steps, resume=begun):
            break
        begun = True
    else:
        target.check(resume=True, overwrite=False, inputs=[])
        run(target, given, processes, resume=True)
    check_output(target, sizes, broken & set(range(len(sizes))))


def test_one_file_is_made_of_all_parts_in_the_order_of_the_input(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("hierbert.prediction.target._ROWS_PER_PART", 4)
    target = Target(tmp_path / "out.jsonl", "jsonl")
    sizes, broken = [n % 7 for n in range(30)], {3, 17}
    assert not run(target, make_input(sizes, broken), 3, steps=25)
    assert not target.path.exists() and target.begun
    assert run(target, make_input(sizes, broken), 2, resume=True)
    check_output(target, sizes, broken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.errors.jsonl", "out.jsonl"]


def test_a_shard_of_nothing_but_errors_has_no_file(tmp_path) -> None:
    target = Target(tmp_path / "out", "parquet", 2)
    assert run(target, make_input([1] * 6, {2, 3}))
    files = sorted(path.name for path in target.path.glob("part-*"))
    assert files == ["part-00000.parquet", "part-00002.parquet"]
    rows = [row for name in files for row in pq.read_table(target.path / name).to_pylist()]
    assert [row["id"] for row in rows] == ["d0", "d1", "d4", "d5"]
    assert len(read_jsonl(target.path / "errors.jsonl")) == 2


def test_a_part_that_was_lost_or_changed_is_answered_again(tmp_path, capsys) -> None:
    target = Target(tmp_path / "out", "jsonl", 3)
    given = make_input([1] * 10, {1})
    assert not run(target, given, steps=17)
    first, second = target.path / "part-00000.jsonl", target.path / "part-00001.jsonl"
    assert first.exists() and second.exists()
    first.unlink()
    second.write_text("{}\n")
    assert run(target, given, resume=True)
    check_output(target, [1] * 10, {1})
    said = capsys.readouterr().err
    assert "part 0 is not what the job wrote" in said and "part 1 is not what" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [example(99), *rows[1:]], "rows 1 to 3 are not what they were"),
        (lambda rows: [*rows[:4], example(99), *rows[5:]], "row 5 .* is not what it was"),
        (lambda rows: rows[:2], "rows 1 to 3 are not what they were"),
        (lambda rows: rows[:4], "it has fewer rows now"),
    ],
)
def test_an_input_that_has_changed_is_refused_and_what_was_done_stays(
    tmp_path, change, message
) -> None:
    target = Target(tmp_path / "out", "jsonl", 3)
    given = make_input([1] * 10)
    # Part 0 is whole, and two rows of part 1 are in its log.
    assert not run(target, given, steps=12)
    with pytest.raises(RunError, match=message):
        run(target, change(given), resume=True)
    assert run(target, given, resume=True)
    check_output(target, [1] * 10, set())


def test_rows_added_at_the_end_of_an_unfinished_input_are_answered_too(tmp_path) -> None:
    target = Target(tmp_path / "out", "jsonl", 3)
    assert not run(target, make_input([1] * 10), steps=9)
    assert run(target, make_input([1] * 12), resume=True)
    check_output(target, [1] * 12, set())


def test_a_second_job_is_kept_out_while_the_first_works(tmp_path) -> None:
    target = Target(tmp_path / "out", "jsonl", 3)
    first = work(target, make_input([1] * 9), 1, False)
    next(first)
    with pytest.raises(RunError, match="in use by process"), JobFolder(target).hold():
        pass
    for _ in first:
        pass
    check_output(target, [1] * 9, set())


def test_what_no_job_made_is_never_removed(tmp_path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "part-00000.jsonl").write_text("precious")
    target = Target(folder, "jsonl", 3)
    with pytest.raises(RunError, match=r"holds 'part-00000.jsonl', which is no output of a job"):
        target.check(resume=False, overwrite=True, inputs=[])
    target.clear()
    assert (folder / "part-00000.jsonl").read_text() == "precious"
    (folder / "part-00000.jsonl").unlink()
    assert run(target, make_input([1] * 4))
    with pytest.raises(RunError, match="exists; --overwrite starts anew"):
        target.check(resume=False, overwrite=False, inputs=[])
    with pytest.raises(RunError, match="is complete, there is nothing to go on with"):
        target.check(resume=True, overwrite=False, inputs=[])
    (folder / "notes.txt").write_text("precious")
    with pytest.raises(RunError, match=r"holds 'notes.txt', which is no output of a job"):
        target.check(resume=False, overwrite=True, inputs=[])
    (folder / "notes.txt").unlink()
    target.check(resume=False, overwrite=True, inputs=[])
    assert run(target, make_input([1] * 2))
    check_output(target, [1] * 2, set())


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path) -> None:
    target = Target(tmp_path / "out", "jsonl", 3)
    run(target, make_input([1] * 9), steps=12)
    path = target.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["parts"][0]["file"] = "../precious"
    path.write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"part file '../precious' is outside the folder"):
        run(target, make_input([1] * 9), resume=True)


def test_an_input_that_ends_with_a_part_now_is_refused_too(tmp_path) -> None:
    """All parts that are met are equal, and those that are not were done before."""
    target = Target(tmp_path / "out", "jsonl", 3)
    given = make_input([1] * 10)
    assert not run(target, given, steps=18)
    assert (target.path / "part-00001.jsonl").exists()
    for rows in (3, 6):
        with pytest.raises(RunError, match="it has fewer rows now"):
            run(target, given[:rows], resume=True)
    assert run(target, given, resume=True)
    check_output(target, [1] * 10, set())


def test_a_worker_that_outlives_its_job_cannot_touch_the_next_one(tmp_path) -> None:
    target = Target(tmp_path / "out", "jsonl", 4)
    given = make_input([1] * 12)
    orphan = JobFolder(target, 2, 1)
    first = JobFolder(target, 2, 0)
    first.begin(Manifest(settings={"ratio": 0.5}, model="m", sources=[]), False)
    orphan.open()
    rows = [row for row in number_rows(given, 4) if isinstance(row, InputRow)]
    orphan.answer(rows[1], answer_to(rows[1]))
    # Its job is over and goes on without it; what it had written is taken up.
    job = work(target, given, 2, True)
    for _ in range(4):
        next(job)
    ends = [item for item in number_rows(given, 4) if isinstance(item, PartEnd)]
    with pytest.raises(RunError):
        orphan.end_part(ends[0])
    # It may go on to parts of its own reckoning, with answers of another kind.
    orphan._log = None
    orphan.answer(rows[5], {"id": "d5", "label": "the orphan's"})
    for _ in job:
        pass
    check_output(target, [1] * 12, set())


def test_an_orphan_of_an_overwritten_job_is_not_taken_up(tmp_path) -> None:
    target = Target(tmp_path / "out", "jsonl", 4)
    given = make_input([1] * 12)
    orphan = JobFolder(target, 2, 1)
    JobFolder(target, 2, 0).begin(Manifest(settings={"ratio": 0.5}, model="m", sources=[]), False)
    orphan.open()
    rows = [row for row in number_rows(given, 4) if isinstance(row, InputRow)]
    assert not run(target, given, steps=3)
    orphan.answer(rows[5], {"id": "d5", "label": "another model's"})
    assert run(target, given, resume=True)
    check_output(target, [1] * 12, set())


def test_what_was_being_written_when_it_was_killed_does_not_stay(tmp_path) -> None:
    target = Target(tmp_path / "out", "jsonl", 4)
    given = make_input([1] * 12)
    assert not run(target, given, steps=12)
    for name in (".manifest.json.abc", ".part-00001.jsonl.abc", ".unfinished/.00002.kept.abc"):
        (target.path / name).write_text("torn")
    assert run(target, given, resume=True)
    check_output(target, [1] * 12, set())


def test_the_input_cannot_lie_where_work_is_removed(tmp_path) -> None:
    folder = tmp_path / "in.jsonl.partial"
    folder.mkdir()
    source = folder / "part-00000.jsonl"
    source.write_text("precious")
    target = Target(tmp_path / "in.jsonl", "jsonl")
    with pytest.raises(RunError, match="holds the input"):
        target.check(resume=False, overwrite=True, inputs=[source])


def test_the_output_of_a_job_that_is_named_like_errors_is_never_removed(tmp_path) -> None:
    other, target = (Target(tmp_path / name, "jsonl") for name in ("a.errors.jsonl", "a.jsonl"))
    assert run(other, make_input([1] * 2))
    rows = other.path.read_bytes()
    for overwrite in (False, True):
        with pytest.raises(RunError, match=r"a\.errors\.jsonl"):
            target.check(resume=False, overwrite=overwrite, inputs=[])
    assert other.path.read_bytes() == rows


def test_unfinished_work_behind_a_link_is_refused(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".unfinished").symlink_to(tmp_path / "mine")
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        with pytest.raises(RunError, match=r"\.unfinished is a link; remove it"):
            Target(tmp_path / "out", "jsonl", 3).check(
                resume=resume, overwrite=overwrite, inputs=[]
            )


def test_a_name_of_almost_the_longest_length_is_written(tmp_path) -> None:
    # With .partial behind it it has the 255 bytes that a name may have.
    target = Target(tmp_path / f"{'a' * 241}.jsonl", "jsonl")
    target.check(resume=False, overwrite=False, inputs=[])
    assert run(target, make_input([1] * 2))
    check_output(target, [1] * 2, set())


def test_a_manifest_of_something_else_is_no_job(tmp_path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"name": "my web app"}')
    (folder / "part-00000.parquet").write_text("precious")
    target = Target(folder, "jsonl", 3)
    with pytest.raises(RunError, match="which is no output of a job"):
        target.check(resume=False, overwrite=True, inputs=[])
    target.clear()
    assert len(list(folder.iterdir())) == 2


def test_names_that_no_file_can_have_and_links_that_lead_nowhere(tmp_path) -> None:
    with pytest.raises(RunError, match="cannot be written: File name too long"):
        Target(tmp_path / ("a" * 300 + ".jsonl"), "jsonl").check(
            resume=False, overwrite=False, inputs=[]
        )
    (tmp_path / "o.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunError, match="exists"):
        Target(tmp_path / "o.jsonl", "jsonl").check(resume=False, overwrite=False, inputs=[])
    (tmp_path / "x.jsonl.partial").symlink_to(tmp_path)
    with pytest.raises(RunError, match="is in the way"):
        Target(tmp_path / "x.jsonl", "jsonl").check(resume=False, overwrite=True, inputs=[])


def test_a_broken_row_is_known_by_its_place_without_the_folder() -> None:
    def broken_at(location: str) -> BrokenRow:
        return BrokenRow(id=None, location=location, reason="broken")

    one, same, other = (
        fingerprints(broken_at(place))
        for place in ("a/x.csv, row 3", "/b/x.csv, row 3", "x.csv, row 4")
    )
    assert one == same != other


def test_who_waits_for_processes_says_for_how_many(monkeypatch, capsys) -> None:
    monkeypatch.setattr(processes, "_POLL_SECONDS", 0)
    monkeypatch.setattr(processes, "_SAY_SECONDS", -1)
    waiting = iter([2, 1, 0, 9])
    processes.wait_for_processes(lambda: next(waiting), 3)
    said = capsys.readouterr().err.splitlines()
    assert said == ["waiting for 2 of 3 processes", "waiting for 1 of 3 processes"]
    assert next(waiting) == 9
