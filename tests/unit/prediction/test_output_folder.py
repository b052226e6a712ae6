"""What a job may replace, resume and remove; looking at an output changes nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jobs import make_rows, manifest_of, work

from hierbert.errors import RunError
from hierbert.prediction.output_folder import Manifest, OutputFolder

WAYS = ((False, False), (True, False), (False, True))


def shards(path: Path) -> OutputFolder:
    return OutputFolder(path, "jsonl", 3)


def finished(target: OutputFolder) -> OutputFolder:
    work(target, [make_rows([1] * 4)])
    return target


def refused(target: OutputFolder, resume: bool, overwrite: bool, *inputs: Path) -> str:
    with pytest.raises(RunError) as caught:
        target.check(resume, overwrite, inputs)
    return str(caught.value)


def test_an_output_is_new_begun_or_complete(tmp_path) -> None:
    for target in (shards(tmp_path / "out"), OutputFolder(tmp_path / "o.jsonl", "jsonl")):
        assert [target.check(*way) for way in WAYS] == ["new"] * 3
        target.start(manifest_of())
        told = refused(target, False, False)
        assert "--resume goes on with it" in told and "--overwrite starts anew" in told
        assert [target.check(*way) for way in WAYS[1:]] == ["begun", "new"]
        finished(target) if target.check(True, False) == "new" else target.clear()
        finished(target)
        assert "exists" in refused(target, False, False)
        assert [target.check(*way) for way in WAYS[1:]] == ["complete", "new"]


def test_nothing_that_a_job_did_not_make_is_removed(tmp_path) -> None:
    target = finished(shards(tmp_path / "out"))
    mine = ["part-of-mine.txt", "part-of-mine.csv", "part-00000.cleaned.jsonl", "notes.txt"]
    for name in mine:
        path = target.path / name
        path.write_text("mine", encoding="utf-8")
        assert f"holds {name!r}, which is no output of a job" in refused(target, False, True)
        # What is gone on with removes nothing.
        assert target.check(True, False) == "complete"
        path.rename(tmp_path / name)
    for name in mine:
        (tmp_path / name).rename(target.path / name)
    (target.path / "part-00001.parquet").mkdir()
    assert "which is no output of a job" in refused(target, False, True)
    target.start(manifest_of())
    assert not (target.path / "part-00000.jsonl").exists()
    assert [(target.path / name).read_text() for name in mine] == ["mine"] * 4


def test_rows_that_no_job_made_are_never_removed(tmp_path) -> None:
    target = shards(tmp_path / "out")
    target.path.mkdir()
    (target.path / "part-00000.jsonl").write_text("precious", encoding="utf-8")
    assert "holds 'part-00000.jsonl', which is no output of a job" in refused(target, False, True)
    # To clear or start removes none by itself.
    target.clear()
    target.start(manifest_of())
    assert (target.path / "part-00000.jsonl").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("content", ["{", '{"name": "my web app"}', "[" * 100_000, "null"])
def test_a_manifest_of_another_kind_is_no_job(tmp_path, content) -> None:
    target = shards(tmp_path)
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    for way in WAYS:
        assert "holds 'manifest.json', which is no output of a job" in refused(target, *way)
    target.clear()
    assert (tmp_path / "manifest.json").exists()
    # Beside what a job left it is one that was damaged.
    target.unfinished.mkdir()
    for way in WAYS[:2]:
        told = refused(target, *way)
        assert "manifest.json cannot be read" in told and "--overwrite starts anew" in told
    assert target.check(False, True) == "new"


@pytest.mark.parametrize("found", [1, "ray 1", 3])
@pytest.mark.parametrize("name", ["out", "o.jsonl"])
def test_a_job_of_another_format_is_refused_by_name_and_may_be_overwritten(
    tmp_path, found, name
) -> None:
    target = OutputFolder(tmp_path / name, "jsonl", 3 if name == "out" else None)
    target.start(manifest_of())
    path = target.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": found}))
    for way in WAYS[:2]:
        told = refused(target, *way)
        assert str(target.folder) in told and f"format {found!r}" in told and "--overwrite" in told
    assert target.check(False, True) == "new"
    target.clear()
    assert list(target.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parts": [{"part": 0, "file": "../precious"}]}, "TypeError"),
        ({"parts": [dict.fromkeys(("bytes", "rows", "answers", "errors"), 1)
                    | {"part": 0, "file": "../precious", "input": ""}]}, "'../precious'"),
        ({"sessions": ["../../x"]}, "sessions"),
        ({"sessions": []}, "sessions"),
    ],
)  # fmt: skip
def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path, change, told) -> None:
    target = shards(tmp_path / "out")
    target.start(manifest_of())
    path = target.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert told in refused(target, True, False)


def test_a_manifest_says_what_a_job_depends_on() -> None:
    before = manifest_of(settings={"task": ["embed"], "max_words": 5}, model="a")
    before.refuse_other(manifest_of(settings={"task": ["embed"], "max_words": 5}, model="a"))
    with pytest.raises(RunError) as caught:
        before.refuse_other(manifest_of(settings={"task": ["classify"], "max_words": 5}, model="b"))
    told = str(caught.value)
    for words in ("--model", "--task was ['embed'] and is ['classify']", "--overwrite"):
        assert words in told
    assert "max-words" not in told


def test_a_start_that_is_killed_is_no_job_to_go_on_with(tmp_path, monkeypatch) -> None:
    target = finished(shards(tmp_path / "out"))

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            target.start(manifest_of())
    assert [target.check(*way) for way in WAYS] == ["new"] * 3
    target.start(manifest_of())
    assert target.check(True, False) == "begun"
    assert Manifest.load(target.folder) == manifest_of()


@pytest.mark.parametrize("moment", range(4))
def test_an_overwriting_that_is_killed_can_be_tried_again(tmp_path, monkeypatch, moment) -> None:
    target = finished(shards(tmp_path / "out"))
    removals = iter(range(moment))

    def killed_at(remove: Any) -> Any:
        def removing(*given: Any, **more: Any) -> None:
            if next(removals, None) is None:
                raise KeyboardInterrupt
            remove(*given, **more)

        return removing

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed_at(Path.unlink))
        patch.setattr(shutil, "rmtree", killed_at(shutil.rmtree))
        target.clear()
    assert target.check(False, True) == "new"
    target.clear()
    assert list(target.path.iterdir()) == []


def test_what_was_being_written_when_a_job_was_killed_does_not_stay(tmp_path) -> None:
    target = shards(tmp_path / "out")
    target.start(manifest_of())
    torn = [f".unfinished/{name}" for name in (".new-output.abc", "new-output", "units-0a/new-x")]
    # As versions before wrote them, beside the output.
    torn += [".manifest.json.3txjm33n", ".part-00003.jsonl.x", ".errors.jsonl.y"]
    for again in (lambda: target.go_on("0b"), lambda: target.start(manifest_of())):
        for name in torn:
            (target.path / name).write_text("torn")
        assert target.check(False, True) == "new"
        again()
        assert not any((target.path / name).exists() for name in torn)


def test_the_input_cannot_lie_where_work_is_removed(tmp_path) -> None:
    folder = tmp_path / "in.jsonl.partial"
    folder.mkdir()
    file = OutputFolder(tmp_path / "in.jsonl", "jsonl")
    assert "holds the input" in refused(file, False, True, folder / "part-00000.jsonl")
    for source in (tmp_path / "part-00000.jsonl", tmp_path):
        assert "holds the input" in refused(shards(tmp_path), False, True, source)
    assert "one of the inputs" in refused(file, False, True, file.path)


def test_the_output_of_a_job_that_is_named_like_errors_is_never_removed(tmp_path) -> None:
    other = finished(OutputFolder(tmp_path / "a.errors.jsonl", "jsonl"))
    rows = other.path.read_bytes()
    for way in (WAYS[0], WAYS[2]):
        assert "a.errors.jsonl" in refused(OutputFolder(tmp_path / "a.jsonl", "jsonl"), *way)
    assert other.path.read_bytes() == rows


def test_links_and_names_that_cannot_be(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".unfinished").symlink_to(tmp_path / "mine")
    for way in WAYS:
        assert ".unfinished is a link; remove it" in refused(shards(tmp_path / "out"), *way)
    (tmp_path / "o.jsonl").symlink_to(tmp_path / "nowhere")
    assert "exists" in refused(OutputFolder(tmp_path / "o.jsonl", "jsonl"), False, False)
    (tmp_path / "x.jsonl.partial").symlink_to(tmp_path)
    assert "is in the way" in refused(OutputFolder(tmp_path / "x.jsonl", "jsonl"), False, True)
    (tmp_path / "thesis.txt").write_text("dear")
    assert "is no folder" in refused(shards(tmp_path / "thesis.txt"), False, True)
    for target in (shards(tmp_path / ("a" * 300)), OutputFolder(tmp_path / ("a" * 300), "jsonl")):
        assert "cannot be written: File name too long" in refused(target, False, False)
