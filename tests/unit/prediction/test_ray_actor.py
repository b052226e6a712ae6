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
from jobs import assert_equal_rows, manifest_of

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
    RayEngine,
    UnitAnswerer,
    check_source,
    find_rows,
    read_units,
    repeated_hashes,
)
from hierbert.prediction.units import (
    Cuts,
    Inputs,
    Unit,
    all_units,
    check_inputs,
    cut_units,
    to_row,
)

ROWS = make_rows(12, seed=4)
ROWS[3]["text"] = ""
ROWS[4]["text"] = "这部电影很好。 Half \ud83d a pair.\r\nThe\x00 end."


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from("abcdef"), max_size=6, unique=True).map(sorted), st.data())
def test_ids_that_occur_in_two_sources_are_found(tmp_path_factory, shared, data) -> None:
    folder = tmp_path_factory.mktemp("ids")
    files, ids = [], []
    for n in range(2):
        ids.append(data.draw(st.permutations([*shared, *(f"{n}{letter}" for letter in "uvw")])))
        files.append(write_jsonl(folder / f"{n}.jsonl", [{"text": "x", "id": i} for i in ids[n]]))
        with files[n].open("a") as file:
            file.write("{\n{\n")  # rows without an id are no repeated ones
    inputs = Inputs.find([*map(str, files)], Columns(), keep_broken=True)
    checks, hashes = zip(*(check_source(inputs, n) for n in range(2)), strict=True)
    wanted = repeated_hashes(list(hashes))
    assert len(wanted) == len(shared)
    for n in range(2):
        (alone,) = check_inputs(Inputs.find([str(files[n])], Columns(), keep_broken=True))
        assert checks[n] == alone and alone.broken == 2
        assert find_rows(inputs, n, wanted) == [
            (row, name, f"{files[n]}, line {row + 1}")
            for row, name in enumerate(ids[n])
            if name in shared
        ]


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
        repeated = {2: "the id '2' occurs twice"}
        return list(read_units(inputs, 1, check, repeated, cuts, 1, digests, per_call))

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
    actor, predict = actor_of(model, target, skip=True), HierBertPredictor.predict

    def die(self: Any, texts: Any, *rest: Any, **more: Any) -> Any:
        texts = list(texts)
        if ROWS[1]["text"] in texts:
            raise KeyboardInterrupt
        return predict(self, texts, *rest, **more)

    monkeypatch.setattr(HierBertPredictor, "predict", die)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            actor.answer(units_of(ROWS[:3]))
    assert actor.answer(units_of(ROWS[:3]))[0][0] == 3
    Job(target, manifest_of(), 1).finish()
    (failed,) = read_jsonl(target.errors)
    assert failed["id"] == "d1" and "2 processes were ended from outside" in failed["reason"]


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
    command = ["--model", os.path.relpath(model), "--input", "x.jsonl", "--output", "out"]
    options = parse_options([*command, "--engine", "ray", "--on-error", "skip", "--actors", "3"])
    engine = RayEngine(options, Inputs([], None, False))  # type: ignore[arg-type]
    actor = engine.actor({"tasks": ("classify",)}, "c0ffee", Job(target, manifest_of(), 1))
    assert actor.options["revision"] == "c0ffee" and actor.skip and engine.actors == 3
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
