"""The parts of a job on Ray that need no Ray: ids in two sources, packing, what an actor does."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import read_jsonl, write_jsonl
from conftest import make_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from inference import answer, save_model, the_error
from parts import assert_equal_rows, manifest_of, to_rows

from hierbert.cli.infer import main, parse_options
from hierbert.data.columns import Columns
from hierbert.data.document import BrokenRow, Example
from hierbert.data.seen_ids import SeenIds
from hierbert.errors import HierBertError, RunError
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.prediction.job import Question
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.parts import Merger
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.processes import error_of
from hierbert.prediction.ray_engine import (
    Answering,
    RayEngine,
    UnitAnswerer,
    _calls,
    _id_hash,
    _without_repeated,
    find_rows,
    pack,
    repeated_hashes,
    repeated_ids,
    unpack,
)
from hierbert.prediction.units import Cuts, InputRow, Inputs, UnitEnd, UnitName, cut_units

ROWS = make_rows(12, seed=4)
ROWS[3]["text"] = ""
ROWS[4]["text"] = "这部电影很好。 Half \ud83d a pair.\r\nThe\x00 end."


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
    inputs = Inputs.find(files, Columns())
    hashes = [np.array([_id_hash(row) for row in inputs.rows(n)], np.uint64) for n in range(2)]
    wanted = repeated_hashes(hashes)
    assert len(wanted) == len(shared)
    found = {n: find_rows(inputs, n, wanted) for n in range(2)}
    repeated = repeated_ids(found)
    assert set(repeated) == ({1} if shared else set())
    assert set(repeated.get(1, {})) == {row for row, name in enumerate(second) if name in shared}
    for row, error in repeated.get(1, {}).items():
        assert f"first in {files[0]}, line {first.index(second[row]) + 1};" in error.message
        assert error.place == f"{files[1]}, line {row + 1}"


def test_rows_whose_ids_were_read_before_are_broken_rows_as_in_a_local_job(tmp_path) -> None:
    """So the engines cut the same units, and know them by the same digests."""
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    write_jsonl(paths[0], [{"id": 2, "text": "xy"}])
    write_jsonl(paths[1], [{"id": i, "text": "xy"} for i in range(4)])
    inputs = Inputs.find([str(path) for path in paths], Columns(), keep_broken=True)
    seen = SeenIds()
    list(inputs.rows(0, seen))
    local = list(cut_units(inputs.rows(1, seen), 1, Cuts(5), 1))
    on_ray = list(cut_units(_without_repeated(inputs.rows(1), {2: "occurs twice"}), 1, Cuts(5), 1))
    ends = [[item for item in items if isinstance(item, UnitEnd)] for items in (local, on_ray)]
    assert ends[0] == ends[1]
    texts = [item.text for item in on_ray if isinstance(item, InputRow)]
    assert texts == ["xy", "xy", None, "xy"]


ITEMS = st.lists(
    st.builds(UnitName, st.integers(0), st.integers(0))
    | st.builds(
        InputRow,
        st.text(),
        st.none() | st.text(),
        st.none() | st.text(st.characters(exclude_categories=())) | st.lists(st.text()),
        st.none() | st.text(),
        st.text(),
        st.integers(0),
    )
    | st.builds(UnitEnd)
)


@settings(deadline=None, max_examples=50)
@given(ITEMS)
def test_what_is_packed_comes_back(items) -> None:
    again = unpack(pack(items))
    assert again == items and [type(item) for item in again] == [type(item) for item in items]


def test_calls_are_of_whole_units() -> None:
    rows = to_rows([Example(f"d{n}", "x", {}, "") for n in range(7)])
    calls = list(_calls(cut_units(rows, 0, Cuts(2)), 2))
    assert [sum(isinstance(item, InputRow) for item in call) for call in calls] == [4, 3]
    assert all(isinstance(call[0], UnitName) and isinstance(call[-1], UnitEnd) for call in calls)


def test_without_ray_a_line_says_how_to_get_it(tmp_path, monkeypatch, capsys) -> None:
    docs = write_jsonl(tmp_path / "docs.jsonl", ROWS)
    monkeypatch.setitem(sys.modules, "ray", None)
    command = ["--model", "m", "--input", str(docs), "--output", str(tmp_path / "out")]
    assert main([*command, "--engine", "ray"]) == 2
    assert "pip install 'hierbert[ray]'" in the_error(capsys)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--actors", "2"], "--actors needs --engine ray"),
        (["--ray-address", "auto"], "--ray-address needs --engine ray"),
        (["--engine", "ray", "--no-check"], "--no-check is not allowed with --engine ray"),
        (["--engine", "ray", "--output", "-"], "are not allowed with --engine ray"),
        (["--engine", "ray", "--input", "-"], "are not allowed with --engine ray"),
        (
            ["--engine", "ray", "--actors", "0"],
            "--actors: '0' is not allowed: a whole number, at least 1",
        ),
        (
            ["--engine", "ray", "--cpus-per-actor", "-1"],
            "--cpus-per-actor: '-1' is not allowed: a number, 0 or more",
        ),
        (
            ["--engine", "ray", "--gpus-per-actor", "nan"],
            "--gpus-per-actor: 'nan' is not allowed: a number, 0 or more",
        ),
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


# What an actor does.


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {0: "art", 1: "law", 2: "a.b"}
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"], id2label=names)


@pytest.fixture
def target(tmp_path: Path) -> OutputFolder:
    target = OutputFolder(tmp_path / "out", "jsonl", 100)
    target.start(manifest_of())
    return target


def actor_of(model: Path, target: OutputFolder, **more: Any) -> UnitAnswerer:
    fingerprint = folder_fingerprint(model)
    answering = Answering(
        str(model),
        **{
            "fingerprint": fingerprint,
            "question": Question(("classify", "summarize")),
            "options": {"device": "cpu"},
            **more,
        },
    )
    return UnitAnswerer(answering, target, target.units_folder(manifest_of()))


def rows_of(rows: list[dict[str, Any]]) -> list[InputRow]:
    return to_rows(
        Example(row["id"], row["text"], {}, f"docs, line {n}") for n, row in enumerate(rows, 1)
    )


def work(actor: UnitAnswerer, rows: list[InputRow], limit: int = 10**9) -> HierBertError | int:
    """The mistake, or how many units are done."""
    data = pack(list(cut_units(rows, 0, Cuts(limit))))
    batch = {"source": np.array([0]), "kind": np.array([0]), "data": np.array([data], object)}
    made = actor(batch)
    values = json.loads(made["data"][0])
    return error_of(values) if made["kind"][0] < 0 else len(values)


def output_of(target: OutputFolder) -> list[dict[str, Any]]:
    Merger(target, manifest_of(), 1).finish()
    return read_jsonl(target.path / "part-00000.jsonl")


@pytest.fixture
def local(model: Path, tmp_path: Path) -> list[dict[str, Any]]:
    return answer(model, write_jsonl(tmp_path / "d.jsonl", ROWS), tmp_path / "local.jsonl")


def test_an_actor_answers_as_the_local_job_does(model, target, local) -> None:
    actor = actor_of(model, target)
    assert work(actor, rows_of(ROWS), limit=500) == work(actor, rows_of(ROWS), limit=500) > 1
    assert_equal_rows(output_of(target), local)


def test_a_broken_row_becomes_an_error(model, target) -> None:
    rows = rows_of(ROWS[:3])
    rows[1] = to_rows([BrokenRow(None, "docs, line 2", "broken JSON")])[0]
    assert work(actor_of(model, target), rows) == 1
    assert [row["id"] for row in output_of(target)] == ["d0", "d2"]
    expected = {"row": 2, "location": "docs, line 2", "id": None, "reason": "broken JSON"}
    assert read_jsonl(target.errors) == [expected]


def poison(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """One document that the model cannot answer, alone or with others."""
    predict = HierBertPredictor.predict

    def fail(self: Any, texts: Any, *rest: Any) -> Iterator[Any]:
        texts = list(texts)
        if ROWS[1]["text"] in texts:
            raise error
        yield from predict(self, texts, *rest)

    monkeypatch.setattr(HierBertPredictor, "predict", fail)


def out_of_memory() -> RunError:
    error = RunError("too little memory")
    error.__cause__ = torch.OutOfMemoryError()
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (out_of_memory(), "too little memory"),
        (ValueError("what a tokenizer says"), "ValueError: what a tokenizer says"),
    ],
)
def test_a_document_that_cannot_be_answered_is_left_out_or_stops_the_job_by_name(
    model, target, local, monkeypatch, error, reason
) -> None:
    poison(monkeypatch, error)
    if isinstance(error, RunError):
        stopped = work(actor_of(model, target), rows_of(ROWS))
        assert isinstance(stopped, RunError)
        assert str(stopped) == "docs, line 2: too little memory"
        assert not list(target.unfinished.glob("*/unit-*"))
        assert not list(target.unfinished.glob("*/new-*"))
        error.place = None
    assert work(actor_of(model, target, skip=True), rows_of(ROWS)) == 1
    monkeypatch.undo()
    assert_equal_rows(output_of(target), [local[0], *local[2:]])
    (failed,) = read_jsonl(target.errors)
    assert (failed["row"], failed["reason"]) == (2, reason)


def test_a_model_that_answers_nothing_stops_the_job_though_errors_are_skipped(
    model, target, monkeypatch
) -> None:
    poison(monkeypatch, out_of_memory())
    rows = [{"id": str(number), "text": ROWS[1]["text"]} for number in range(120)]
    mistake = work(actor_of(model, target, skip=True), rows_of(rows))
    assert "none of the first 20 documents could be answered" in str(mistake)
    assert not list(target.unfinished.glob("*/unit-*"))


def test_a_document_that_ends_its_process_again_and_again_is_given_up(
    model, target, local, monkeypatch
) -> None:
    actor = actor_of(model, target, skip=True)
    poison(monkeypatch, KeyboardInterrupt())
    # Three times together, twice alone.
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            work(actor, rows_of(ROWS))
    assert work(actor, rows_of(ROWS)) == 1
    assert not list(target.unfinished.glob("*/tries-*"))
    assert_equal_rows(output_of(target), [local[0], *local[2:]])
    (failed,) = read_jsonl(target.errors)
    assert failed["id"] == "d1" and "2 processes were ended from outside" in failed["reason"]


def test_a_process_that_is_lost_by_chance_blames_no_document(model, target, local) -> None:
    (first, second, *_) = rows_of(ROWS)
    noted = ["all"] * 3 + [first.fingerprint, f"{first.fingerprint} done", second.fingerprint]
    tries = target.units_folder(manifest_of()) / "tries-0-0"
    tries.write_text("\n".join(noted) + "\n", encoding="utf-8")
    assert work(actor_of(model, target), rows_of(ROWS)) == 1
    assert_equal_rows(output_of(target), local)


def test_a_wrong_model_or_version_on_a_machine_is_told(model, target) -> None:
    mistake = work(actor_of(model, target, version="0.0.1"), rows_of(ROWS[:1]))
    assert "install the same on all" in str(mistake)
    mistake = work(actor_of(model, target, fingerprint="0" * 32), rows_of(ROWS[:1]))
    assert "is another one on one of the machines" in str(mistake)


def test_a_folder_that_cannot_be_written_is_told_in_a_line(model, target) -> None:
    actor = actor_of(model, target)
    target.clear()
    mistake = work(actor, rows_of(ROWS[:1]))
    assert isinstance(mistake, RunError)
    assert "cannot be written: No such file or directory" in str(mistake)


def test_weights_settings_and_tokenizer_tell_models_apart(model, tmp_path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
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


def test_actors_take_the_commit_of_the_hub_that_was_checked(model) -> None:
    pytest.importorskip("ray")
    command = ["--model", str(model), "--input", "x.jsonl", "--output", "out", "--engine", "ray"]
    engine = RayEngine(parse_options([*command, "--on-error", "skip"]), Inputs([], Columns()))
    predictor = HierBertPredictor.from_pretrained(model, device="cpu")
    predictor.commit = "c0ffee"
    answering = engine.answering(predictor, Question(("classify",)))
    assert answering.options["revision"] == "c0ffee" and answering.skip
