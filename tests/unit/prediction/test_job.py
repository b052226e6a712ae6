"""Units and the output made of them: killed at any moment, resumed, damaged.

Nothing here needs a model: a job is driven as the engines drive it, and killed between any two rows
and before or after any file gets its name.
"""

import json
import os
import resource
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from commands import read_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import answer_to, make_rows, manifest_of, result_of, units_of, work

from hierbert.errors import RunError
from hierbert.prediction.job import Job, done_units, read_footer, unit_path, write_units
from hierbert.prediction.output_folder import Manifest, OutputFolder
from hierbert.prediction.units import Cuts, InputRow, Result, UnitName


class Killed(BaseException):
    """The machine's own way to end a process in the middle."""


def run(
    target: OutputFolder,
    sources: list[list[InputRow]],
    processes: int = 1,
    *,
    resume: bool = False,
    steps: int | None = None,
    renames: int | None = None,
    limit: int = 20,
) -> bool:
    """Work until the end, or die as by kill -9; whether it ended.

    It dies after so many steps, or at a rename: an even number, halved, counts those that were
    done, an odd one those that were about to be.
    """
    home = target.path.parent
    dead = home.with_name(f"{home.name}-dead")
    replace, acts, step = Path.replace, 0, 0

    def die() -> None:
        shutil.copytree(home, dead)
        raise Killed

    def renaming(self: Path, to: Path) -> Path:
        nonlocal acts
        for done in (False, True):
            if done:
                replace(self, to)
            if acts == renames:
                die()
            acts += 1
        return to

    def next_step() -> None:
        nonlocal step
        if step == steps:
            die()
        step += 1

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", renaming)
            work(target, sources, processes, resume, limit, next_step)
        return True
    except Killed:
        # Nothing that a process cleans up after itself is cleaned up.
        shutil.rmtree(home)
        dead.rename(home)
        return False


def check_output(target: OutputFolder, sources: list[list[InputRow]]) -> None:
    """Every row is there once, in order, as answer or as error."""
    rows = [row for source in sources for row in source]
    expected = [answer_to(row) for row in rows if row.broken is None]
    errors = [
        {"row": number, "location": row.location, "id": None, "reason": "broken JSON"}
        for number, row in enumerate(rows, 1)
        if row.broken is not None
    ]
    if target.rows_per_shard is None:
        assert not target.folder.exists()
        assert read_jsonl(target.path) == expected
    else:
        manifest = json.loads((target.path / "manifest.json").read_text())
        assert manifest["complete"] and manifest["rows_done"] == len(rows)
        assert (manifest["answers"], manifest["errors"]) == (len(expected), len(errors))
        names = [part["file"] for part in manifest["parts"] if part["file"]]
        files = {"manifest.json", *names} | ({"errors.jsonl"} if errors else set())
        assert {path.name for path in target.path.iterdir()} == files
        length = target.rows_per_shard
        for number, part in enumerate(manifest["parts"]):
            own = rows[number * length : (number + 1) * length]
            answers = [answer_to(row) for row in own if row.broken is None]
            assert part["rows"] == len(own) and part["answers"] == len(answers)
            assert part["errors"] == len(own) - len(answers)
            assert (part["file"] is None) == (not answers)
            if answers:
                assert read_jsonl(target.path / part["file"]) == answers
                assert part["bytes"] == (target.path / part["file"]).stat().st_size
            omitted = [a["omission"]["segments"] for a in answers if "omission" in a]
            assert (part["shortened"], part["omitted_segments"]) == (len(omitted), sum(omitted))
    assert (read_jsonl(target.errors) if target.errors.exists() else []) == errors


KILLS = st.tuples(
    st.integers(1, 3),
    st.fixed_dictionaries({"steps": st.integers(0, 60)})
    | st.fixed_dictionaries({"renames": st.integers(0, 30)}),
)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.lists(st.integers(0, 15), min_size=1, max_size=12), min_size=1, max_size=3),
    broken=st.sets(st.integers(0, 11), max_size=4),
    rows_per_shard=st.none() | st.integers(1, 12),
    kills=st.lists(KILLS, max_size=5),
    processes=st.integers(1, 3),
)
def test_killed_anywhere_and_resumed_by_any_number_of_processes(
    tmp_path_factory, sizes, broken, rows_per_shard, kills, processes
) -> None:
    folder = tmp_path_factory.mktemp("job")
    name = "out.jsonl" if rows_per_shard is None else "out"
    target = OutputFolder(folder / name, "jsonl", rows_per_shard)
    sources = [make_rows(source, broken) for source in sizes]
    for number, moment in kills:
        if target.check(True, False) != "complete":
            run(target, sources, number, resume=True, **moment)
    if target.check(True, False) != "complete":
        assert run(target, sources, processes, resume=True)
    check_output(target, sources)


def ten(target: OutputFolder, units: int, length: int = 2) -> list[list[InputRow]]:
    """A job of ten rows that was killed when so many units of a length were done."""
    sources = [make_rows([1] * 10, {9})]
    # A step at the start, one for each row and one for each unit.
    assert not run(target, sources, limit=length, steps=1 + (length + 1) * units)
    assert len(list(target.unfinished.glob("*/unit-*"))) == units
    return sources


def test_a_shard_that_was_lost_or_changed_is_made_again_without_an_answer(tmp_path, capsys) -> None:
    target = OutputFolder(tmp_path / "out", "jsonl", 2)
    sources = ten(target, 3)
    done = {path: path.stat().st_mtime_ns for path in target.unfinished.glob("*/unit-*")}
    first, second = target.path / "part-00000.jsonl", target.path / "part-00001.jsonl"
    second.write_text("{}\n")
    first.unlink()
    assert not run(target, sources, resume=True, steps=1)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert run(target, sources, resume=True)
    check_output(target, sources)
    assert "part 0 is not what the job wrote" in capsys.readouterr().err


def one_unit(tmp_path: Path) -> tuple[OutputFolder, Path]:
    """A job whose only unit is done."""
    target = OutputFolder(tmp_path / "out.jsonl", "jsonl")
    manifest = manifest_of()
    target.start(manifest)
    folder = target.units_folder(manifest)
    (unit,) = write_units(target, folder, units_of([make_rows([1, 2])], Cuts(99)), results)
    return target, unit_path(folder, unit.name)


def results(rows: Iterable[InputRow]) -> Iterator[Result]:
    return map(result_of, rows)


def job_of(target: OutputFolder, sources: int = 1) -> Job:
    return Job(target, Manifest.load(target.folder), sources)


def test_a_unit_torn_or_damaged_anywhere_is_not_done_or_not_read(tmp_path) -> None:
    target, path = one_unit(tmp_path)
    data = path.read_bytes()
    footer = read_footer(path)
    assert footer is not None and (footer.rows, footer.answers, footer.last) == (2, 2, True)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert read_footer(path) is None, length
    start = data.rindex(b"={")
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert (read_footer(path) is None) == (place >= start - 1), place
        with pytest.raises(RunError):
            job_of(target).finish()
        assert not target.path.exists() and target.begun, place
    path.write_bytes(data)
    job_of(target).finish()
    assert [row["id"] for row in read_jsonl(target.path)] == ["d0", "d1"]


def test_a_damaged_unit_is_answered_again(tmp_path) -> None:
    target = OutputFolder(tmp_path / "out", "jsonl", 4)
    sources = ten(target, 1)
    (path,) = target.unfinished.glob("*/unit-*")
    path.write_bytes(path.read_bytes().replace(b"label", b"LABEL", 1))
    with pytest.raises(RunError, match="damaged; the same command with --resume answers"):
        run(target, sources, resume=True)
    assert run(target, sources, resume=True)
    check_output(target, sources)


def test_a_short_last_shard_does_not_stay_in_the_middle_when_sources_are_added(
    tmp_path, monkeypatch
) -> None:
    def killed(self: OutputFolder, manifest: Manifest) -> None:
        raise Killed

    target = OutputFolder(tmp_path / "out", "jsonl", 4)
    sources = [make_rows([1] * 6)]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(OutputFolder, "complete", killed)
        work(target, sources)
    assert len(list(target.path.glob("part-*"))) == 2
    assert run(target, [*sources, make_rows([2] * 5)], resume=True)
    check_output(target, [*sources, make_rows([2] * 5)])


@pytest.mark.parametrize("rows_per_shard", [None, 4])
def test_what_gets_its_name_is_on_the_disk_before_and_its_name_after(
    tmp_path, monkeypatch, rows_per_shard
) -> None:
    sync, replace = os.fsync, Path.replace
    synced: set[tuple[int, int]] = set()
    renamed_in: set[int] = set()

    def note(handle: int) -> None:
        sync(handle)
        found = os.fstat(handle)
        synced.add((found.st_ino, found.st_mtime_ns))
        renamed_in.discard(found.st_ino)

    def renaming(self: Path, to: Path) -> Path:
        found = self.stat()
        assert (found.st_ino, found.st_mtime_ns) in synced, to
        renamed_in.add(to.parent.stat().st_ino)
        return replace(self, to)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Path, "replace", renaming)
    target = OutputFolder(tmp_path / "out", "jsonl", rows_per_shard)
    work(target, [make_rows([9] * 6, broken={2})])
    assert len(synced) > 6 and not renamed_in
    monkeypatch.undo()
    check_output(target, [make_rows([9] * 6, broken={2})])


def test_units_that_are_missing_or_were_read_differently_make_no_output(tmp_path) -> None:
    target, path = one_unit(tmp_path)
    with pytest.raises(RunError, match=r"lacks rows of source 2; .* --resume answers them"):
        job_of(target, sources=2).finish()
    job = job_of(target)
    job.digests[UnitName(0, 0)] = "0" * 32
    with pytest.raises(RunError, match="read differently by two processes"):
        job.finish()
    assert not target.path.exists() and len(done_units(path.parent)) == 1


def test_a_second_job_is_kept_out_while_the_first_works(tmp_path) -> None:
    target = OutputFolder(tmp_path / "out", "jsonl", 3)
    with target.hold():
        with pytest.raises(RunError, match="in use by process"), target.hold():
            pass
        assert target.folder.is_dir()
    assert not target.folder.exists()


@pytest.mark.parametrize("overwritten", [False, True])
def test_a_worker_that_outlives_its_job_cannot_touch_the_next_one(tmp_path, overwritten) -> None:
    target = OutputFolder(tmp_path / "out", "jsonl", 4)
    sources = [make_rows([1] * 12)]
    manifest = manifest_of(unit_size=3)
    target.start(manifest)

    def slowly(rows: Iterable[InputRow]) -> Iterator[Result]:
        for number, row in enumerate(rows):
            yield Result(row, {"id": row.id, "label": "the orphan's"}, None)
            if number == 1:
                if overwritten:
                    target.start(manifest_of(unit_size=3, sessions=["0c"]))
                work(target, sources, 2, resume=True)

    orphan = write_units(
        target, target.units_folder(manifest), units_of(sources, Cuts(3, 4)), slowly
    )
    with pytest.raises(RunError, match="cannot be written"):
        next(orphan)
    check_output(target, sources)


def test_what_answering_raises_is_not_told_as_what_writing_raises(tmp_path) -> None:
    target, rows = OutputFolder(tmp_path / "answers.jsonl", "jsonl"), make_rows([5] * 3)
    target.start(manifest := manifest_of())
    folder = target.units_folder(manifest)

    def full(asked: Iterable[InputRow]) -> Iterator[Result]:
        yield result_of(next(iter(asked)))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        next(write_units(target, folder, units_of([rows], Cuts(99)), full))
    assert list(folder.iterdir()) == []

    def long(asked: Iterable[InputRow]) -> Iterator[Result]:
        for row in asked:
            yield Result(row, {"id": row.id, "text": "x" * (100 if row is rows[0] else 5000)}, None)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"answers\.jsonl cannot be written: "):
            list(write_units(target, folder, units_of([rows], Cuts(5)), long))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(folder.iterdir()) == [unit_path(folder, UnitName(0, 0))]


def test_a_name_of_almost_the_longest_length_is_written(tmp_path) -> None:
    # With .partial behind it it has the 255 bytes that a name may have.
    target = OutputFolder(tmp_path / f"{'a' * 241}.jsonl", "jsonl")
    sources = [make_rows([1] * 2)]
    assert run(target, sources)
    check_output(target, sources)
