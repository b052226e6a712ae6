"""What a job may replace, resume and remove; looking at an output changes nothing."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jobs import make_rows, manifest_of, work

from hierbert.errors import RunError
from hierbert.prediction.output_folder import OutputFolder

PLAIN, RESUME, OVERWRITE = WAYS = ((False, False), (True, False), (False, True))


def shards(path: Path) -> OutputFolder:
    return OutputFolder(path, "jsonl", 3)


def one_file(path: Path) -> OutputFolder:
    return OutputFolder(path, "jsonl")


def finished(target: OutputFolder) -> OutputFolder:
    work(target, [make_rows([1] * 4, {2})])
    return target


def refused(target: OutputFolder, way: tuple[bool, bool], *inputs: Path) -> str:
    with pytest.raises(RunError) as caught:
        target.check(*way, inputs)
    return str(caught.value)


@pytest.mark.parametrize("make", [shards, one_file])
def test_an_output_is_new_begun_or_complete(tmp_path, make) -> None:
    target = make(tmp_path / "out")
    assert [target.check(*way) for way in WAYS] == ["new"] * 3
    target.start(manifest_of())
    told = refused(target, PLAIN)
    assert "--resume goes on with it" in told and "--overwrite starts anew" in told
    assert [target.check(*way) for way in (RESUME, OVERWRITE)] == ["begun", "new"]
    target.clear()
    finished(target)
    assert "exists" in refused(target, PLAIN)
    assert [target.check(*way) for way in (RESUME, OVERWRITE)] == ["complete", "new"]


def test_nothing_that_a_job_did_not_make_is_removed(tmp_path) -> None:
    target = shards(tmp_path / "out")
    target.path.mkdir()
    rows = target.path / "part-00000.jsonl"
    rows.write_text("mine")
    assert "holds 'part-00000.jsonl', which is no output of a job" in refused(target, OVERWRITE)
    target.clear()
    assert rows.read_text() == "mine"
    rows.unlink()
    finished(target)
    others = ["part-of-mine.csv", "part-00000.cleaned.jsonl", "notes.txt"]
    for name in others:
        (target.path / name).write_text("mine")
        assert f"holds {name!r}, which is no output of a job" in refused(target, OVERWRITE)
        # What is gone on with removes nothing.
        assert target.check(*RESUME) == "complete"
        (target.path / name).rename(tmp_path / name)
    for name in others:
        (tmp_path / name).rename(target.path / name)
    (target.path / "part-00001.parquet").mkdir()
    assert "which is no output of a job" in refused(target, OVERWRITE)
    target.start(manifest_of())
    assert not rows.exists()
    assert [(target.path / name).read_text() for name in others] == ["mine"] * 3


def test_what_was_being_written_when_a_job_was_killed_does_not_stay(tmp_path) -> None:
    target = shards(tmp_path / "out")
    target.start(manifest_of())
    torn = [f".unfinished/{name}" for name in (".new-output.abc", "new-output", "units-0a/new-x")]
    # As versions before wrote them, beside the output.
    torn += [".manifest.json.3txjm33n", ".part-00003.jsonl.x", ".errors.jsonl.y"]
    for again in (lambda: target.go_on("0b"), lambda: target.start(manifest_of())):
        for name in torn:
            (target.path / name).write_text("torn")
        assert target.check(*OVERWRITE) == "new"
        again()
        assert not any((target.path / name).exists() for name in torn)


def test_what_cannot_be_written_to_its_end_is_not_there(tmp_path) -> None:
    target = shards(tmp_path / "out")
    target.start(manifest_of())
    before = sorted(tmp_path.rglob("*"))

    def half(aside: Path) -> None:
        aside.write_text("half")
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        target.put(target.part_path(0), half)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", ["{", '{"name": "my web app"}', "[" * 100_000, "null"])
def test_a_manifest_of_another_kind_is_no_job(tmp_path, content) -> None:
    target = shards(tmp_path)
    (tmp_path / "manifest.json").write_text(content)
    for way in WAYS:
        assert "holds 'manifest.json', which is no output of a job" in refused(target, way)
    target.clear()
    assert (tmp_path / "manifest.json").exists()
    # Beside what a job left it is one that was damaged.
    target.unfinished.mkdir()
    for way in (PLAIN, RESUME):
        told = refused(target, way)
        assert "manifest.json cannot be read" in told and "--overwrite starts anew" in told
        assert told.count("cannot be read") == told.count(str(target.folder)) == 1
    assert target.check(*OVERWRITE) == "new"


@pytest.mark.parametrize("make", [shards, one_file])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 1}, "(format 1), which this one cannot go on with; --overwrite"),
        ({"parts": [{"part": 0, "file": "a"}]}, "lacks 'bytes'"),
        ({"parts": [{"part": 0, "file": "../precious", "bytes": 1, "rows": 1, "answers": 1,
                     "errors": 0, "input": ""}]}, "'../precious' is outside the folder"),
        ({"sessions": ["../../x"]}, "sessions are missing"),
        ({"sessions": []}, "sessions are missing"),
    ],
)  # fmt: skip
def test_a_manifest_of_another_format_or_that_leads_out_of_its_folder_is_refused(
    tmp_path, make, change, told
) -> None:
    target = make(tmp_path / "out")
    target.start(manifest_of())
    path = target.folder / "manifest.json"
    # One of a version before, which had no checksum.
    content = {**json.loads(path.read_text()), **change}
    del content["sha256"]
    path.write_text(json.dumps(content))
    for way in (PLAIN, RESUME):
        line = refused(target, way)
        assert told in line and str(target.folder) in line
    assert target.check(*OVERWRITE) == "new"
    target.clear()
    assert list(target.folder.iterdir()) == []


def test_an_overwriting_that_is_killed_can_be_tried_again(tmp_path, monkeypatch) -> None:
    for moment in range(4):
        target = finished(shards(tmp_path / f"out{moment}"))
        removals = iter(range(moment))

        def killed_at(remove: Any, removals: Any = removals) -> Any:
            def removing(*given: Any, **more: Any) -> None:
                if next(removals, None) is None:
                    raise KeyboardInterrupt
                remove(*given, **more)

            return removing

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "unlink", killed_at(Path.unlink))
            patch.setattr(shutil, "rmtree", killed_at(shutil.rmtree))
            target.clear()
        assert target.check(*OVERWRITE) == "new"
        target.clear()
        assert list(target.path.iterdir()) == []


def test_places_that_no_output_can_have(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = finished(one_file(tmp_path / "a.errors.jsonl"))
    work_folder = tmp_path / "in.jsonl.partial"
    work_folder.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".unfinished").symlink_to(work_folder)
    (tmp_path / "o.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "x.jsonl.partial").symlink_to(tmp_path)
    file, link, long = tmp_path / "in.jsonl", tmp_path / "o.jsonl", tmp_path / ("a" * 300)
    for target, way, told, inputs in (
        (one_file(file), OVERWRITE, "holds the input", [work_folder / "part-00000.jsonl"]),
        (shards(tmp_path), OVERWRITE, "holds the input", [tmp_path / "part-00000.jsonl"]),
        (shards(tmp_path), OVERWRITE, "holds the input", [tmp_path]),
        (one_file(file), OVERWRITE, "one of the inputs", [file]),
        (one_file(Path(file.name)), OVERWRITE, "one of the inputs", [file]),
        # It is named like errors, and is the output of another job.
        (one_file(tmp_path / "a.jsonl"), PLAIN, "holds no errors of a job", []),
        (one_file(tmp_path / "a.jsonl"), OVERWRITE, "holds no errors of a job", []),
        *((shards(tmp_path / "out"), way, ".unfinished is a link; remove it", []) for way in WAYS),
        (one_file(link), PLAIN, "exists", []),
        (one_file(tmp_path / "x.jsonl"), OVERWRITE, "is in the way", []),
        (shards(other.path), OVERWRITE, "is no folder", []),
        (shards(long), PLAIN, "cannot be written: File name too long", []),
        (one_file(long), PLAIN, "cannot be written: File name too long", []),
    ):
        assert told in refused(target, way, *inputs), (target, way)


@pytest.mark.parametrize(
    ("before", "now", "complete", "told"),
    [
        ({"rows": 12}, {"rows": 13}, False, None),
        ({"rows": 12}, {"rows": 13}, True, "had 12 rows, now 13"),
        ({"rows": 12}, {"rows": 11}, False, "had 12 rows, now 11"),
        ({"rows": 12, "digest": "a"}, {"rows": 12, "digest": "b"}, False, "not what they were"),
        ({"rows": 12, "digest": "a"}, {"rows": 13, "digest": "b"}, False, None),
        # Without a check the bytes alone are known, of which a mended line leaves nearly all.
        ({"bytes": 1000}, {"bytes": 901}, False, None),
        ({"bytes": 1000}, {"bytes": 899}, False, "had 1,000 bytes, now 899"),
        ({"bytes": 1000}, {"bytes": 999}, True, "had 1,000 bytes, now 999"),
        # What is known of one reading alone is compared with nothing.
        ({"rows": 12}, {"bytes": 1}, True, None),
    ],
)
def test_input_that_lost_rows_is_refused_and_a_complete_jobs_that_has_more(
    before, now, complete, told
) -> None:
    was, is_now = (manifest_of(sources=[{"name": "a.csv", **own}]) for own in (before, now))
    was.complete = complete
    with pytest.raises(RunError, match=told) if told else contextlib.nullcontext():
        was.refuse_lost_input(is_now)
