"""The parts of a job of several machines: cut, written and gone on with, without Ray."""

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import read_jsonl, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from inference import the_error
from parts import started

from hierbert.cli.infer import main
from hierbert.data.corpus import Columns, read_examples
from hierbert.errors import ConfigError, DataError, RunError
from hierbert.prediction.manifest import Manifest
from hierbert.prediction.on_ray.input import Item, Reading, pack, unpack
from hierbert.prediction.on_ray.output import PartFolder
from hierbert.prediction.on_ray.plan import (
    PartLimits,
    Plan,
    SourcePlan,
    check_source,
    find_rows,
    part_limits,
    read_parts,
    repeated_hashes,
    repeated_ids,
)
from hierbert.prediction.resuming import refuse_other_settings
from hierbert.prediction.target import Target


def plan_of(reading: Reading, limits: PartLimits) -> tuple[Plan, list[np.ndarray]]:
    """What checking every source in turn gives."""
    plans: list[SourcePlan] = []
    hashes = []
    for index in range(len(reading.sources)):
        *pieces, plan = check_source(reading, limits, index)
        assert isinstance(plan, SourcePlan)
        plans.append(plan)
        hashes.append(np.concatenate(pieces))
    return Plan(limits, plans), hashes


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=12), min_size=1, max_size=4),
    st.integers(1, 6),
    st.integers(1, 100),
    st.randoms(use_true_random=False),
)
def test_every_row_is_in_one_part_and_a_part_is_the_same_whatever_is_done(
    tmp_path_factory, lengths, rows, characters, chance
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    files = [
        str(write_jsonl(folder / f"f{n}.jsonl", [{"text": "x" * size} for size in sizes]))
        for n, sizes in enumerate(lengths)
    ]
    reading = Reading.of(files, Columns())
    plan, _ = plan_of(reading, PartLimits(rows, characters))
    for index, sizes in enumerate(lengths):
        parts = list(read_parts(reading, plan, index, lambda part: False))
        assert [number for number, _, _ in parts] == list(range(plan.sources[index].parts))
        read = [item for _, _, items in parts for item in items]
        assert [len(item.text) for item in read] == sizes
        assert [item.location.rsplit(" ", 1)[1] for item in read] == [
            str(n + 1) for n in range(len(sizes))
        ]
        for _, first, items in parts:
            lengths_of_part = [len(item.text) for item in items]
            assert lengths_of_part == sizes[first : first + len(items)]
            # Without its last row a part is not full yet.
            assert len(items) - 1 < rows and sum(lengths_of_part[:-1]) < characters
        done = {number for number, _, _ in parts if chance.random() < 0.5}
        again = list(read_parts(reading, plan, index, done.__contains__))
        assert again == [part for part in parts if part[0] not in done]
    assert plan.characters == sum(map(sum, lengths))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_ids_are_those_of_the_local_job_also_where_files_share_a_name(tmp_path) -> None:
    for name in ("a/docs.jsonl", "b/docs.jsonl", "c/other.csv"):
        (tmp_path / name).parent.mkdir()
    write_jsonl(tmp_path / "a/docs.jsonl", [{"text": "x"}, {"text": "y", "id": 7}])
    write_jsonl(tmp_path / "b/docs.jsonl", [{"text": "x"}])
    (tmp_path / "c/other.csv").write_text("text\nx\n", encoding="utf-8")
    files = [str(path) for path in sorted(tmp_path.glob("*/*"))]
    reading = Reading.of(files, Columns())
    ids = [item.id for index in range(3) for item in reading.items(index)]
    local = read_examples(files, Columns(), role="input")
    assert ids == [example.id for example in local]
    assert ids[0] == f"{files[0]}-1" and ids[1] == "7" and len(set(ids)) == 4


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from("abcdef"), max_size=6, unique=True).map(sorted), st.data())
def test_ids_that_occur_in_two_sources_are_found(tmp_path_factory, shared, data) -> None:
    folder = tmp_path_factory.mktemp("ids")
    others = [f"{n}{letter}" for n in range(2) for letter in "uvw"]
    first = data.draw(st.permutations([*shared, *others[:3]]))
    second = data.draw(st.permutations([*shared, *others[3:]]))
    files = [
        str(write_jsonl(folder / f"{n}.jsonl", [{"text": "x", "id": i} for i in ids]))
        for n, ids in enumerate((first, second))
    ]
    reading = Reading.of(files, Columns())
    _, hashes = plan_of(reading, PartLimits(5, 100))
    wanted = repeated_hashes(hashes)
    assert len(wanted) == len(shared)
    found = {n: list(find_rows(reading, n, wanted)) for n in range(2)}
    repeated = repeated_ids(found, keep_broken=False)
    expected = {row for row, name in enumerate(second) if name in shared}
    assert set(repeated) == ({1} if shared else set())
    assert set(repeated.get(1, {})) == expected
    for row, reason in repeated.get(1, {}).items():
        assert f"{files[0]}, line {first.index(second[row]) + 1}" in reason
        assert f"{files[1]}, line {row + 1}" in reason
    assert all("first in" in reason for reason in repeated_ids(found, True).get(1, {}).values())


def test_input_that_changes_while_a_job_runs_is_told(tmp_path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}] * 3)
    reading = Reading.of([str(path)], Columns())
    plan, _ = plan_of(reading, PartLimits(1, 10))
    parts = read_parts(reading, plan, 0, lambda part: False)
    next(parts)
    write_jsonl(path, [{"text": "x"}] * 4)
    with pytest.raises(RunError, match=r"a\.jsonl has changed since it was checked"):
        list(parts)


def test_a_pipe_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "docs.jsonl")
    for spec in ("-", str(tmp_path / "docs.jsonl")):
        with pytest.raises(DataError, match=r"can be read only once|is no file but a pipe"):
            Reading.of([spec], Columns())


def test_small_inputs_are_cut_so_that_every_actor_has_work(tmp_path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "x" * 1000}] * 3000)
    reading = Reading.of([str(path)], Columns())
    limits = part_limits(reading, 2, 10_000, 8_000_000)
    plan, _ = plan_of(reading, limits)
    assert limits.rows == 10_000 and plan.parts >= 4
    assert part_limits(reading, 2, 10_000, 9).characters == 9


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.builds(
            Item,
            st.none() | st.text(),
            st.text(),
            st.none() | st.text(st.characters(exclude_categories=())) | st.lists(st.text()),
            st.none() | st.text(),
        )
    ),
    st.integers(1),
)
def test_what_is_packed_comes_back(items, first) -> None:
    assert unpack(pack(first, items)) == (first, items)


# The folder of parts.


def test_a_part_is_done_when_its_marker_and_its_file_agree(tmp_path) -> None:
    folder, plan = started(tmp_path)
    for number in range(3):
        folder.write(number, iter([{"id": str(number)}]), [], 5)
    assert set(folder.done()) == {0, 1, 2}
    (folder.path / "part-00001.jsonl").write_text("{", encoding="utf-8")
    assert set(folder.done()) == {0, 2}
    marker = folder.unfinished / "done-2.json"
    marker.write_text(marker.read_text()[:20])
    assert set(folder.done()) == {0}
    with pytest.raises(RunError, match="lacks 2 of 3 parts"):
        folder.finish({"model": "m"}, plan)
    assert not folder.read_manifest()["complete"]
    for number in (1, 2):
        folder.write(number, iter([{"id": str(number)}]), [], 5)
    values = folder.finish({"model": "m"}, plan)
    assert values["answers"] == 3 and values["complete"]
    files = sorted(path.name for path in folder.path.iterdir())
    assert files == ["manifest.json", *(f"part-0000{n}.jsonl" for n in range(3))]


def test_a_part_that_fails_halfway_leaves_nothing(tmp_path) -> None:
    folder, _ = started(tmp_path)

    def rows() -> Any:
        yield {"id": "a"}
        raise RunError("no")

    with pytest.raises(RunError):
        folder.write(0, rows(), [], 5)
    assert not folder.done() and not list(folder.path.glob("part-*"))
    assert [path.name for path in folder.unfinished.iterdir()] == ["plan.json"]


def test_errors_come_in_the_order_of_the_input(tmp_path) -> None:
    folder, plan = started(tmp_path)
    errors = [{"row": n, "location": f"line {n}", "id": None, "reason": "no"} for n in (1, 4, 6)]
    for number in (2, 0, 1):
        folder.write(number, iter([]), [errors[number]], 0)
    values = folder.finish({"model": "m"}, plan)
    assert read_jsonl(folder.path / "errors.jsonl") == errors
    assert values["errors"] == 3 and all(part["file"] is None for part in values["parts"])


def test_what_was_begun_is_gone_on_with_or_begun_anew_and_nothing_else_is_touched(
    tmp_path,
) -> None:
    folder, plan = started(tmp_path)
    folder.write(0, iter([{"id": "a"}]), [], 5)
    for name in ("new-1-xyz", ".done-1.json.xyz", "../.part-00001.jsonl.xyz"):
        (folder.unfinished / name).write_text("torn", encoding="utf-8")
    with pytest.raises(RunError, match="--resume goes on with it; --overwrite starts anew"):
        folder.check(False, False)
    assert folder.check(True, False) is True
    assert folder.go_on() == plan and set(folder.done()) == {0}
    there = {path.name for path in folder.path.rglob("*")} - {".unfinished"}
    assert there == {"manifest.json", "plan.json", "done-0.json", "part-00000.jsonl"}
    mine = [
        folder.path / name
        for name in ("part-of-mine.txt", "part-of-mine.csv", "part-00000.cleaned.jsonl")
    ]
    for path in mine:
        path.write_text("mine", encoding="utf-8")
        # What is gone on with removes nothing.
        assert folder.check(True, False) is True
        for overwrite in (False, True):
            with pytest.raises(RunError, match=f"holds '{path.name}', which is no output of a job"):
                folder.check(False, overwrite)
        path.rename(tmp_path / path.name)
    for path in mine:
        (tmp_path / path.name).rename(path)
    (folder.path / "part-00001.parquet").mkdir()
    with pytest.raises(RunError, match="which is no output of a job"):
        folder.check(False, True)
    folder.start({"model": "m"}, plan)
    assert not folder.done() and not (folder.path / "part-00000.jsonl").exists()
    assert [path.read_text() for path in mine] == ["mine"] * 3
    (folder.path / "part-00001.parquet").rmdir()
    for path in mine:
        path.unlink()
    assert folder.check(False, True) is False
    for number in range(3):
        folder.write(number, iter([]), [], 0)
    folder.finish({"model": "m"}, plan)
    with pytest.raises(RunError, match="is complete, there is nothing to go on with"):
        folder.check(True, False)
    with pytest.raises(RunError, match="exists; --overwrite starts anew, or name another folder"):
        folder.check(False, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ('{"format": "other"}', "is not of the format"),
        ("[" * 100_000, "cannot be read"),
        ("null", "cannot be read"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(tmp_path, content, message) -> None:
    folder = PartFolder(tmp_path, "jsonl")
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        with pytest.raises(RunError, match=r"holds 'manifest\.json', which is no output of a job"):
            folder.check(resume, overwrite)
    # Beside what a job left it is one that was damaged.
    folder.unfinished.mkdir()
    for resume in (False, True):
        with pytest.raises(RunError, match=f"{message}.*; --overwrite starts anew"):
            folder.check(resume, False)
    assert folder.check(False, True) is False


def test_a_folder_of_other_things_is_refused_even_to_overwrite(tmp_path) -> None:
    (tmp_path / "thesis.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(RunError, match=r"holds 'thesis\.txt', which is no output of a job"):
        PartFolder(tmp_path, "jsonl").check(False, True)
    with pytest.raises(RunError, match="is no folder"):
        PartFolder(tmp_path / "thesis.txt", "jsonl").check(False, True)


def test_rows_that_no_job_made_are_never_removed(tmp_path) -> None:
    folder, plan = started(tmp_path)
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    (folder.path / "part-00000.jsonl").write_text("precious", encoding="utf-8")
    with pytest.raises(RunError, match=r"holds 'part-00000\.jsonl', which is no output of a job"):
        folder.check(False, True)
    # To start removes none by itself.
    folder.start({"model": "m"}, plan)
    assert (folder.path / "part-00000.jsonl").read_text(encoding="utf-8") == "precious"


def test_the_engines_know_and_replace_each_others_jobs_and_go_on_with_none(tmp_path) -> None:
    folder, plan = started(tmp_path, 1)
    local = Target(folder.path, "jsonl", 3)
    folder.write(0, iter([{"id": "a"}]), [], 5)
    folder.finish({"model": "m"}, plan)
    with pytest.raises(RunError, match="holds a complete job of another engine or version of"):
        local.check(True, False)
    assert local.check(False, True) is False
    local.clear()
    assert list(folder.path.iterdir()) == []
    local.make_empty()
    Manifest(settings={}, model="m", sources=[], complete=True).save(folder.path)
    with pytest.raises(RunError, match="holds a complete job of another engine or version of"):
        folder.check(True, False)
    assert folder.check(False, True) is False


def test_a_name_that_no_file_can_have_is_told_in_a_line(tmp_path) -> None:
    with pytest.raises(RunError, match="cannot be written: File name too long"):
        PartFolder(tmp_path / ("a" * 300), "jsonl").check(False, False)


@pytest.mark.parametrize("kill_at", ["manifest.json", "plan.json"])
def test_a_start_that_is_killed_is_no_job_to_go_on_with(tmp_path, monkeypatch, kill_at) -> None:
    folder, plan = started(tmp_path)
    folder.write(0, iter([{"id": "a"}]), [], 5)
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.name == kill_at:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.start({"model": "other"}, plan)
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        assert folder.check(resume, overwrite) is False
    folder.start({"model": "other"}, plan)
    assert folder.check(True, False) is True
    assert folder.go_on() == plan and not folder.done()


# The job as a whole.


def test_without_ray_a_line_says_how_to_get_it(monkeypatch) -> None:
    from hierbert.prediction.on_ray.engine import run_on_ray

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'hierbert\[ray\]'"):
        run_on_ray("model", ["docs"], "out")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"on_error": "ignore"}, "--on-error 'ignore' is not allowed; choose from stop, skip"),
        ({"output_format": "xml"}, "--output-format 'xml' is not allowed"),
        ({"rows_per_part": 0}, "--rows-per-part 0 is not allowed: at least 1"),
        ({"options": {"dtype": "auto"}}, "--dtype auto is not allowed with --engine ray"),
    ],
)
def test_settings_are_checked_before_anything_starts(given, message) -> None:
    from hierbert.prediction.on_ray.engine import run_on_ray

    with pytest.raises(ConfigError) as caught:
        run_on_ray("model", ["docs"], "out", **given)
    assert message in str(caught.value)


def test_a_cluster_of_nobody_is_refused() -> None:
    from hierbert.prediction.on_ray.engine import Cluster

    for wrong, message in (
        ({"actors": 0}, "--actors 0 is not allowed: at least 1"),
        ({"cpus_per_actor": -1}, "--cpus-per-actor -1 is not allowed: 0 or more"),
        ({"gpus_per_actor": float("nan")}, "--gpus-per-actor nan is not allowed"),
    ):
        with pytest.raises(ConfigError, match=message):
            Cluster(**wrong)


def test_the_order_of_sources_is_that_of_the_input(tmp_path) -> None:
    chance = random.Random(0)
    names = [f"{chance.random()}.jsonl" for _ in range(5)]
    files = [str(write_jsonl(tmp_path / name, [{"text": name}] * 3)) for name in names]
    plan, _ = plan_of(Reading.of(files, Columns()), PartLimits(2, 1000))
    assert plan.first_parts() == [0, 2, 4, 6, 8] and plan.first_rows() == [0, 3, 6, 9, 12]
    assert [source.name for source in plan.sources] == files


def test_an_output_that_holds_the_input_is_refused(tmp_path) -> None:
    folder = PartFolder(tmp_path, "jsonl")
    for source in (tmp_path / "part-00000.jsonl", tmp_path):
        with pytest.raises(RunError, match="holds the input"):
            folder.check(False, True, [source])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--actors", "2"], "--actors needs --engine ray"),
        (["--ray-address", "auto"], "--ray-address needs --engine ray"),
        (["--engine", "ray", "--no-check"], "--no-check is not allowed with --engine ray"),
        (["--engine", "ray", "--output", "x.jsonl"], "--engine ray makes a folder"),
        (["--engine", "ray", "--output", "-"], "--engine ray makes a folder"),
        (["--engine", "ray", "--actors", "0"], "--actors 0 is not allowed: at least 1"),
        (["--engine", "ray", "--dtype", "auto"], "--dtype auto is not allowed with --engine ray"),
    ],
)
def test_the_command_refuses_what_does_not_go_with_ray(more, message, capsys) -> None:
    assert main(["--model", "m", "--input", "docs", "--output", "out", *more]) == 2
    assert message in the_error(capsys)


def test_the_command_refuses_ray_within_torchrun(monkeypatch, capsys) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    command = ["--model", "m", "--input", "docs", "--output", "out", "--engine", "ray"]
    assert main(command) == 2
    assert "start it without torchrun" in the_error(capsys)


def test_rows_whose_ids_were_read_before_are_left_out_of_their_part(tmp_path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"id": i, "text": "xy"} for i in range(4)])
    reading = Reading.of([str(path)], Columns())
    plan, _ = plan_of(reading, PartLimits(2, 1000))
    plan.repeated[0] = {2: "occurs twice"}
    (_, _, first), (_, _, second) = read_parts(reading, plan, 0, lambda part: False)
    assert [item.text for item in first] == ["xy", "xy"]
    assert [(item.id, item.text, item.reason) for item in second] == [
        ("2", None, "occurs twice"),
        ("3", "xy", None),
    ]


def test_a_job_goes_on_with_no_other_model_or_task() -> None:
    now = {"model": "a", "task": ["classify"]}
    refuse_other_settings(now, dict(now))
    message = r"changed: --model is another model; --task was \['embed'\] and is \['classify'\];"
    with pytest.raises(RunError, match=message):
        refuse_other_settings({"model": "b", "task": ["embed"]}, now)
