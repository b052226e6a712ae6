"""What an actor of a job on Ray makes of its parts, without Ray: answers, errors, lost work."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import read_jsonl, write_jsonl
from conftest import make_rows
from inference import answer, save_model
from parts import assert_equal_rows, started

from hierbert.data.corpus import Columns
from hierbert.errors import RunError
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.prediction.on_ray import engine
from hierbert.prediction.on_ray.actor import (
    Answering,
    PartPredictor,
    mistake_of,
)
from hierbert.prediction.on_ray.input import Item, Reading, pack
from hierbert.prediction.on_ray.output import PartFolder
from hierbert.prediction.predictor import HierBertPredictor

ROWS = make_rows(12, seed=4)
ROWS[3]["text"] = ""
ROWS[4]["text"] = "这部电影很好。 Half \ud83d a pair.\r\nThe\x00 end."


@pytest.fixture(scope="module")
def model(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {0: "art", 1: "law", 2: "a.b"}
    return save_model(tmp_path_factory.mktemp("model"), encoders["bert"], id2label=names)


def actor_of(model: Path, folder: PartFolder, **more: Any) -> PartPredictor:
    predictor = HierBertPredictor.from_pretrained(model, device="cpu")
    answering = Answering(
        str(model),
        folder_fingerprint(model),
        predictor.check_tasks(None),
        predictor.summary_rule(),
        **more,
    )
    return PartPredictor(answering, folder)


def items_of(rows: list[dict[str, Any]]) -> list[Item]:
    return [Item(row["id"], f"docs, line {n}", row["text"]) for n, row in enumerate(rows, 1)]


def work(actor: PartPredictor, number: int, items: list[Item], first: int = 1) -> dict[str, Any]:
    data = np.array([pack(first, items)], dtype=object)
    return dict(json.loads(actor({"part": np.array([number]), "data": data})["data"][0]))


def test_an_actor_answers_as_the_local_job_does(model, tmp_path) -> None:
    folder, _ = started(tmp_path)
    done = work(actor_of(model, folder), 0, items_of(ROWS))
    assert done["rows"] == len(ROWS) and done["errors"] == []
    assert done["characters"] == sum(len(str(row["text"])) for row in ROWS)
    local = answer(model, write_jsonl(tmp_path / "d.jsonl", ROWS), tmp_path / "local.jsonl")
    assert_equal_rows(read_jsonl(folder.path / "part-00000.jsonl"), local)


def test_a_broken_row_becomes_an_error_with_its_number(model, tmp_path) -> None:
    folder, _ = started(tmp_path)
    items = items_of(ROWS[:3])
    items[1] = Item(None, "docs, line 2", None, "broken JSON")
    done = work(actor_of(model, folder), 0, items, first=41)
    expected = {"row": 42, "location": "docs, line 2", "id": None, "reason": "broken JSON"}
    assert done["errors"] == [expected] and done["answers"] == 2
    assert [row["id"] for row in read_jsonl(folder.path / "part-00000.jsonl")] == ["d0", "d2"]


def poisoned(actor: PartPredictor, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """One document that the model cannot answer, alone or with others."""
    predict = HierBertPredictor.predict

    def fail(self: Any, texts: Any, *rest: Any) -> Any:
        texts = list(texts)
        if ROWS[1]["text"] in texts:
            raise error
        return predict(self, texts, *rest)

    monkeypatch.setattr(HierBertPredictor, "predict", fail)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RunError("too little memory"), "too little memory"),
        (ValueError("what a tokenizer says"), "ValueError: what a tokenizer says"),
    ],
)
def test_a_document_that_cannot_be_answered_is_found_and_left_out(
    model, tmp_path, monkeypatch, error, reason
) -> None:
    folder, _ = started(tmp_path)
    actor = actor_of(model, folder, skip_errors=True)
    poisoned(actor, monkeypatch, error)
    done = work(actor, 0, items_of(ROWS))
    assert [error["row"] for error in done["errors"]] == [2]
    assert done["errors"][0]["reason"] == reason and done["answers"] == len(ROWS) - 1
    monkeypatch.undo()
    local = answer(model, write_jsonl(tmp_path / "d.jsonl", ROWS), tmp_path / "local.jsonl")
    del local[1]
    assert_equal_rows(read_jsonl(folder.path / "part-00000.jsonl"), local)


def test_a_document_that_cannot_be_answered_stops_the_job_by_name(
    model, tmp_path, monkeypatch
) -> None:
    folder, _ = started(tmp_path)
    actor = actor_of(model, folder)
    poisoned(actor, monkeypatch, RunError("too little memory"))
    mistake = mistake_of(work(actor, 0, items_of(ROWS)))
    assert isinstance(mistake, RunError)
    assert str(mistake) == "--input: docs, line 2: too little memory"
    assert not folder.done()


def test_a_model_that_answers_nothing_stops_the_job_though_errors_are_skipped(
    model, tmp_path, monkeypatch
) -> None:
    folder, _ = started(tmp_path)
    actor = actor_of(model, folder, skip_errors=True)
    poisoned(actor, monkeypatch, RunError("no finite numbers"))
    rows = [{"id": str(number), "text": ROWS[1]["text"]} for number in range(120)]
    mistake = mistake_of(work(actor, 0, items_of(rows)))
    assert "none of the first 20 documents could be answered" in str(mistake)
    assert not folder.done()


def killed_at(actor: PartPredictor, monkeypatch: pytest.MonkeyPatch, items: list[Item]) -> int:
    """How often a part is tried in vain when a document ends every process that reads it."""
    poisoned(actor, monkeypatch, KeyboardInterrupt())
    for tries in range(20):
        try:
            work(actor, 0, items)
        except KeyboardInterrupt:
            continue
        return tries
    raise AssertionError("it is never given up")


def test_a_document_that_ends_its_process_again_and_again_is_given_up(
    model, tmp_path, monkeypatch
) -> None:
    folder, _ = started(tmp_path)
    actor = actor_of(model, folder, skip_errors=True)
    # Three times together, twice alone.
    assert killed_at(actor, monkeypatch, items_of(ROWS)) == 5
    done = folder.done()[0]
    assert done.answers == len(ROWS) - 1
    assert [error["id"] for error in done.errors] == ["d1"]
    assert "2 processes were ended from outside" in done.errors[0]["reason"]
    assert not list(folder.unfinished.glob("tries-*"))


def test_a_process_that_is_lost_by_chance_blames_no_document(model, tmp_path) -> None:
    folder, _ = started(tmp_path)
    (folder.unfinished / "tries-0").write_text("all\nall\nall\n1\n1 done\n2\n", encoding="utf-8")
    done = work(actor_of(model, folder), 0, items_of(ROWS))
    assert done["rows"] == len(ROWS) and not done["errors"]


def test_a_wrong_model_or_version_on_a_machine_is_told(model, tmp_path) -> None:
    folder, _ = started(tmp_path)
    actor = actor_of(model, folder, version="0.0.1")
    mistake = mistake_of(work(actor, 0, items_of(ROWS[:1])))
    assert "install the same on all" in str(mistake)
    answering = Answering(str(model), "0" * 32, ("classify",), None)  # type: ignore[arg-type]
    mistake = mistake_of(work(PartPredictor(answering, folder), 0, items_of(ROWS[:1])))
    assert "is another one on one of the machines" in str(mistake)


def test_a_folder_that_cannot_be_written_is_told_in_a_line(model, tmp_path) -> None:
    folder, _ = started(tmp_path)
    actor = actor_of(model, folder)
    for path in folder.unfinished.iterdir():
        path.unlink()
    folder.unfinished.rmdir()
    mistake = mistake_of(work(actor, 0, items_of(ROWS[:1])))
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


def test_what_is_done_with_errors_is_no_setting_that_rows_depend_on(model, tmp_path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": "x", "text": "y"}])
    found = []
    for skip in (False, True):
        answering = engine._answering(
            str(model), "all", None, None, None, False, {}, skip, engine.Cluster()
        )
        reading = Reading.of([str(tmp_path / "a.jsonl")], Columns(), "utf-8", skip)
        found.append(engine._settings(answering, reading, "jsonl"))
    assert found[0] == found[1]


def test_a_job_that_ended_while_the_model_was_loaded_is_not_replaced(
    model, tmp_path, monkeypatch
) -> None:
    docs = write_jsonl(tmp_path / "a.jsonl", [{"id": "x", "text": "y"}])
    monkeypatch.setattr(engine, "_import_ray", lambda: None)
    load = engine._answering

    def overtaken(*given: Any) -> Answering:
        folder, plan = started(tmp_path, 1)
        folder.write(0, iter([{"id": "a"}]), [], 5)
        folder.finish({"model": "m"}, plan)
        return load(*given)

    monkeypatch.setattr(engine, "_answering", overtaken)
    with pytest.raises(RunError, match="exists; --overwrite starts anew"):
        engine.run_on_ray(str(model), [str(docs)], tmp_path / "out")
    assert (tmp_path / "out" / "part-00000.jsonl").exists()
