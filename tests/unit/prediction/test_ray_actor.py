"""The parts of a job on Ray that need no Ray: ids in two sources, what a task and an actor do."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, write_jsonl
from conftest import make_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from inference import answer, save_model, the_error
from jobs import assert_equal_rows, manifest_of, shard_rows

import hierbert
from hierbert.cli.infer import main, parse_options
from hierbert.data.columns import Columns
from hierbert.data.document import BrokenRow, Example
from hierbert.errors import ModelError, RunError
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.prediction.job import Job, unit_path
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.ray_engine import (
    RayRun,
    UnitAnswerer,
    check_source,
    read_units,
    repeated_rows,
    without_repeated,
)
from hierbert.prediction.units import (
    Cuts,
    Inputs,
    Unit,
    all_units,
    cut_units,
    to_row,
)

ROWS = make_rows(12, seed=4)
ROWS[3]["text"] = ""
ROWS[4]["text"] = "这部电影很好。 Half \ud83d a pair.\r\nThe\x00 end."


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=5, unique=True), min_size=1))
def test_ids_that_occur_in_two_sources_are_found_as_by_a_local_job(tmp_path_factory, ids) -> None:
    folder = tmp_path_factory.mktemp("ids")
    for n, own in enumerate(ids):
        path = write_jsonl(folder / f"{n:02}.jsonl", [{"text": "x", "id": i} for i in own])
        with path.open("a") as file:
            file.write("{\n{\n")  # rows without an id are no repeated ones
    inputs = Inputs.find([str(folder)], Columns(), keep_broken=True)
    checks, hashes = zip(*(check_source(inputs, n) for n in range(len(ids))), strict=True)
    assert [(check.rows, check.broken) for check in checks] == [(len(i) + 2, 2) for i in ids]
    assert [
        list(without_repeated(inputs.rows(n), rows))
        for n, rows in enumerate(repeated_rows(list(hashes)))
    ] == [list(rows) for rows in inputs.by_source()]


def test_a_source_is_cut_as_by_a_local_job_whatever_was_repeated_or_done(tmp_path) -> None:
    """So the engines cut the same units, and know them by the same digests."""
    paths = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    write_jsonl(Path(paths[0]), [{"id": 2, "text": "xy"}])
    write_jsonl(Path(paths[1]), [{"id": i, "text": "xy"} for i in range(9)])
    inputs, cuts = Inputs.find(paths, Columns(), keep_broken=True), Cuts(5, 4)
    local = [unit for unit in all_units(inputs, cuts) if unit.name.source == 1]
    check, _ = check_source(inputs, 1)

    def read(done: list[Unit], per_call: int) -> list[list[Unit]]:
        digests = {unit.name: unit.digest for unit in done}
        return list(read_units(inputs, 1, check, {2}, cuts, 1, digests, per_call))

    def plain(units: list[Unit]) -> list[Any]:
        return [(unit.name, unit.digest, len(unit.rows), unit.last) for unit in units]

    assert [plain(call) for call in read([], 2)] == [plain(local[:2]), plain(local[2:])]
    assert [plain(call) for call in read(local[:1], 1)] == [[one] for one in plain(local[1:])]
    assert [row.text for row in local[0].rows + local[1].rows].count(None) == 1
    with pytest.raises(RunError, match=r"b\.jsonl are not what they were"):
        read([local[0]._replace(digest="0")], 1)
    write_jsonl(Path(paths[1]), [{"id": i, "text": "xz"} for i in range(9)])
    with pytest.raises(RunError, match="has changed since it was checked"):
        read([], 1)


def test_without_ray_a_line_says_how_to_get_it(tmp_path, monkeypatch, capsys) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", ROWS)
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["--model", "m", "--input", str(docs), "--output", str(tmp_path / "out")]
    assert main([*command, "--engine", "ray"]) == 2
    assert "pip install 'hierbert[ray]'" in the_error(capsys)


# What an actor does.


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"])


@pytest.fixture
def target(tmp_path: Path) -> OutputFolder:
    target = OutputFolder(tmp_path / "out", "jsonl", 100)
    target.start(manifest_of())
    return target


def actor_of(model: Path, target: OutputFolder, **more: Any) -> UnitAnswerer:
    values: dict[str, Any] = {
        "model": str(model),
        "fingerprint": folder_fingerprint(model),
        "question": {"tasks": ("classify", "summarize")},
        "options": {"device": "cpu"},
        "skip": False,
        "threads": 1,
        "version": hierbert.__version__,
    }
    return UnitAnswerer(target, target.units_folder(manifest_of()), **{**values, **more})


def units_of(rows: list[dict[str, Any]], limit: int = 10**9, *broken: int) -> list[Unit]:
    places = [f"docs, line {n + 1}" for n in range(len(rows))]
    items = [
        BrokenRow(None, place, "broken JSON")
        if n in broken
        else Example(rows[n]["id"], rows[n]["text"], {}, place)
        for n, place in enumerate(places)
    ]
    return list(cut_units(map(to_row, items), 0, Cuts(limit)))


def test_an_actor_answers_as_the_local_job_does(model, target, tmp_path) -> None:
    local = answer(model, write_jsonl(tmp_path / "d.jsonl", ROWS), tmp_path / "local.jsonl")
    actor, units = actor_of(model, target), units_of(ROWS, 500, 1)
    assert actor.begin() == [] and len(units) > 2
    expected = [(len(unit.rows), unit.size) for unit in units]
    assert actor.answer(units[:1]) == expected[:1]
    # What a process has done that was lost before it could say so is not done again.
    folder = target.units_folder(manifest_of())
    before = unit_path(folder, units[0].name).stat().st_ino
    assert actor.answer(units) == expected
    assert unit_path(folder, units[0].name).stat().st_ino == before
    assert not list(folder.glob("tries-*"))
    Job(target, manifest_of(), 1).finish()
    assert_equal_rows(read_jsonl(target.path / "part-00000.jsonl"), [local[0], *local[2:]])
    failed = {"row": 2, "location": "docs, line 2", "id": None, "reason": "broken JSON"}
    assert read_jsonl(target.errors) == [failed]


def test_units_that_keep_ending_their_process_are_taken_document_by_document(
    model, target, monkeypatch
) -> None:
    actor, answering = actor_of(model, target, skip=True), HierBertPredictor.answering
    asked: list[list[str]] = []

    def deadly(self: Any, *question: Any, **more: Any) -> Any:
        answers = answering(self, *question, **more)

        def die(texts: Any) -> Any:
            asked.append(texts := list(texts))
            if ROWS[1]["text"] in texts:
                raise KeyboardInterrupt
            return answers(texts)

        return die

    monkeypatch.setattr(HierBertPredictor, "answering", deadly)
    units = units_of(ROWS[:4], 10**9, 2)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            actor.answer(units)
    assert actor.answer(units)[0][0] == 4
    # Three times together, twice alone up to the one that does it, and then the others.
    d0, d1, _, d3 = (row["text"] for row in ROWS[:4])
    assert asked == [*[[d0, d1, d3]] * 3, *[[d0], [d1]] * 2, [d0], [d3]]
    Job(target, manifest_of(), 1).finish()
    assert [row["id"] for row in shard_rows(target.path)] == ["d0", "d3"]
    first, broken = read_jsonl(target.errors)
    assert first["id"] == "d1" and "2 processes were ended from outside" in first["reason"]
    assert (broken["row"], broken["reason"]) == (3, "broken JSON")


def test_what_is_wrong_on_a_machine_is_told_in_a_line(model, target) -> None:
    units = units_of(ROWS[:1])
    with pytest.raises(RunError, match="install the same on all"):
        actor_of(model, target, version="0.0.1").begin()
    with pytest.raises(ModelError, match="is another one on one of the machines"):
        actor_of(model, target, fingerprint="0" * 32).answer(units)
    target.clear()
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        actor_of(model, target).answer(units)


def test_actors_take_the_commit_of_the_hub_that_was_checked(model, target) -> None:
    pytest.importorskip("ray")
    docs = write_jsonl(target.path.with_name("docs.jsonl"), ROWS)
    command = ["--model", os.path.relpath(model), "--input", str(docs), "--output", "out"]
    options = parse_options([*command, "--engine", "ray", "--on-error", "skip", "--actors", "3"])
    run = RayRun(options)
    actor = run.actor({"tasks": ("classify",)}, "c0ffee", Job(target, manifest_of(), 1))
    assert actor.options["revision"] == "c0ffee" and actor.skip and run.actors == 3
    assert actor.model == str(model.resolve()) and actor.threads == 1


def test_weights_settings_and_tokenizer_tell_models_apart(model, tmp_path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    before = folder_fingerprint(copy)
    assert before == folder_fingerprint(model)
    (copy / "README.md").write_text("about", encoding="utf-8")
    assert folder_fingerprint(copy) == before
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        content = bytearray((copy / name).read_bytes())
        content[-1] ^= 1
        (copy / name).write_bytes(content)
        assert folder_fingerprint(copy) != before
        before = folder_fingerprint(copy)
