"""Training survives: exact resume from any step, and of what has changed only what is allowed."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import read_jsonl, write_jsonl
from conftest import make_rows
from resuming import _KilledError, dying, outcome, six_steps
from safetensors.torch import load_file
from training import error_of

from hierbert.files import FolderLock
from hierbert.training import checkpoints, loop, validation
from hierbert.training.cli import main
from hierbert.training.loop import Trainer

STEPS = 6  # of a run of `arguments`


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to the folder `run`."""
    return six_steps(tmp_path, encoders["bert"])


VARIANTS = {
    "dropout": [],
    "accumulation, a step's evaluation and checkpoint": [
        "training.accumulation_steps=2",
        "training.eval_every_steps=2",
        "training.checkpoint_every_steps=1",
        "training.keep_checkpoints=1",
    ],
    "patience and the recomputed graphs": [
        "training.patience=1",
        "training.eval_every_steps=1",
        "training.memory=recompute",
        "training.tokens_per_forward=64",
    ],
    "frozen": ["training.freeze_encoder=true", "training.checkpoint_every_steps=2"],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_that_dies_in_every_step_ends_as_one_that_did_not(
    arguments, tmp_path, monkeypatch, name
) -> None:
    """Each start does one step more than the last checkpoint, and dies before the next."""
    monkeypatch.setenv("HIERBERT_CACHE", str(tmp_path / "cache"))
    extra = VARIANTS[name]
    assert main(arguments(*extra, f"run_dir={tmp_path / 'whole'}")) == 0
    broken = arguments(*extra)
    step, deaths = Trainer._step, 0
    for last in range(STEPS):

        def one_more(self: Trainer, plan: Any, last: int = last) -> None:
            if self.state.step >= last:
                raise _KilledError
            step(self, plan)

        monkeypatch.setattr(Trainer, "_step", one_more)
        # The cache may be removed at any time.
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        try:
            code = main([*broken, *(["--resume"] if last else [])])
        except _KilledError:
            deaths += 1
        else:
            assert code == 0 and "patience" in name
            break
    monkeypatch.setattr(Trainer, "_step", step)
    assert main([*broken, "--resume"]) == 0
    assert deaths >= 2
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_run_that_died_while_encoding_trains_on_the_same_bits(
    arguments, tmp_path, monkeypatch
) -> None:
    """What was not written yet is encoded in the batches in which it would have been."""
    from hierbert.vectors import fill

    monkeypatch.setattr(fill, "_TOKENS_PER_FILE", 1)  # a file for each batch
    monkeypatch.setattr(fill, "_TOKENS_PER_BATCH", 300)
    # About 95, 245, 95, 95, ... tokens: the first two are alone in their batches, and beside the
    # first there would be room for what follows the second.
    rows = [
        {"id": f"d{number}", "text": "court " * words + chr(97 + number), "label": number % 2}
        for number, words in enumerate([90, 230, *[90] * 9])
    ]
    write_jsonl(tmp_path / "train.jsonl", rows)
    write_jsonl(tmp_path / "validation.jsonl", [{**row, "text": "judge"} for row in rows[:2]])
    encode, companies = fill.VectorCache._encode, []

    def noting(self: Any, documents: Any) -> Any:
        companies.append(tuple(documents))
        return encode(self, documents)

    monkeypatch.setattr(fill.VectorCache, "_encode", noting)
    frozen = "training.freeze_encoder=true"
    for name in ("whole", "run"):
        cache = tmp_path / f"cache-{name}"
        common = arguments(frozen, f"training.cache_dir={cache}", f"run_dir={tmp_path / name}")
        if name == "run":
            with monkeypatch.context() as patch:
                dying(patch, (fill.VectorCache, "_write"), 2)
                with pytest.raises(_KilledError):
                    main(common)
            # Of the files that were written, the first is lost.
            files = sorted(cache.glob("vectors-*/*"), key=lambda path: path.stat().st_mtime_ns)
            assert len(files) == 2
            files[0].unlink()
            common.append("--resume")
            companies.clear()
        assert main(common) == 0
        if name == "whole":
            whole = list(companies)
    # The vectors of a model this small do not depend on their company; those of others do.
    assert [len(company) for company in whole][:3] == [1, 1, 3]
    assert companies == [whole[0], *whole[2:]]
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


PLACES = {
    "before the best weights": (loop, "save_best"),
    "between the best weights and the line of metrics": (loop.Trackers, "log"),
    "between the line of metrics and the checkpoint": (loop, "save_checkpoint"),
    "in the middle of a checkpoint": (checkpoints, "seal"),
    "before old checkpoints are removed": (checkpoints, "prune"),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_best_weights_are_those_of_the_state_that_is_resumed(
    arguments, tmp_path, monkeypatch, place
) -> None:
    # The metrics say that the second of four evaluations is the best; a kill at the third and
    # a resume must neither lose its weights nor take others for them.
    scripted = {1: 0.3, 2: 0.9, 3: 0.5, 4: 0.9, 5: 0.4, 6: 0.2}
    extra = ["training.eval_every_steps=1", "training.keep_checkpoints=1"]
    now: list[int] = []
    evaluate = Trainer._evaluate

    def noting(self: Trainer) -> None:
        now[:] = [self.state.step]
        evaluate(self)

    monkeypatch.setattr(Trainer, "_evaluate", noting)
    monkeypatch.setattr(validation, "choose_metric", lambda *_: scripted[now[0]])
    assert main(arguments(*extra, f"run_dir={tmp_path / 'whole'}")) == 0
    for deaths, after in enumerate((1, 2, 1, 0)):
        with monkeypatch.context() as patch:
            dying(patch, PLACES[place], after)
            with contextlib.suppress(_KilledError):
                main([*arguments(*extra), *(["--resume"] if deaths else [])])
    assert main([*arguments(*extra), "--resume"]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert json.loads((tmp_path / "run/results.json").read_text())["best_step"] in (2, 4)
    # What no checkpoint needs is gone.
    names = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    best = json.loads((tmp_path / "run/results.json").read_text())["best_step"]
    assert names == {"step_00000006", f"best_step_{best:08d}.safetensors"}


def test_a_folder_that_a_live_run_works_in_is_refused(arguments, tmp_path, capsys) -> None:
    with FolderLock(tmp_path / "run", "another"):
        assert f"in use by process {os.getpid()}" in error_of(capsys, arguments())
    assert main(arguments()) == 0
    with FolderLock(tmp_path / "run", "another"):
        assert "in use by process" in error_of(capsys, [*arguments(), "--resume"])
    assert main([*arguments(), "--resume"]) == 0


def test_a_changed_corpus_is_refused_with_the_difference(arguments, tmp_path, capsys) -> None:
    assert main(arguments()) == 0
    rows = make_rows(11, seed=1)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    resume = [*arguments(), "--resume"]

    def refusal(name: str, rows: list[dict[str, Any]]) -> str:
        path = tmp_path / f"{name}.jsonl"
        kept = path.read_bytes()
        write_jsonl(path, rows)
        error = error_of(capsys, resume)
        path.write_bytes(kept)
        return error

    error = refusal("train", [*rows[1:], {**rows[0], "id": "new"}])
    assert "data.train: 1 added (new), 1 removed (d0)" in error
    error = refusal("train", [{**rows[0], "text": "Another."}, *rows[1:]])
    assert "data.train: 1 changed (d0)" in error and "--allow-changes" in error
    error = refusal("train", [{**rows[0], "label": rows[1]["label"]}, *rows[1:]])
    assert "data.train: 1 changed (d0)" in error
    error = refusal("train", rows[::-1])
    assert "data.train: the same documents in another order" in error
    # Class names that were not there before: weights cannot learn of them.
    error = refusal("train", [{**row, "label": f"{row['label']}s"} for row in rows])
    assert "film, law -> films, laws" in error or "'law'" in error
    error = refusal("validation", make_rows(4, seed=2)[:3])
    assert "data.validation: 1 removed (d3)" in error and "data.train:" not in error
    many = [{**row, "text": "Other text."} for row in rows]
    error = refusal("train", many)
    assert "11 changed (d0, d1, d2, d3, d4, ...)" in error
    assert {p: p.read_bytes() for p in before} == before
    # Nothing has changed: nothing to refuse.
    assert main(resume) == 0


def test_a_corpus_that_changed_before_the_first_checkpoint_is_refused_too(
    arguments, tmp_path, monkeypatch, capsys
) -> None:
    with monkeypatch.context() as patch:
        dying(patch, (Trainer, "_step"), 1)
        with pytest.raises(_KilledError):
            main(arguments())
    write_jsonl(tmp_path / "train.jsonl", make_rows(10, seed=1))
    assert "data.train: 1 removed (d10)" in error_of(capsys, [*arguments(), "--resume"])
    assert main([*arguments(), "--resume", "--allow-changes"]) == 0
    assert main([*arguments(), "--resume"]) == 0


def test_changes_that_are_allowed_are_noted_and_go_on_with_the_weights(
    arguments, tmp_path, monkeypatch, capsys
) -> None:
    assert "give both" in error_of(capsys, [*arguments(), "--allow-changes"])
    with monkeypatch.context() as patch:
        dying(patch, (Trainer, "_step"), 5)
        with pytest.raises(_KilledError):
            main(arguments("training.checkpoint_every_steps=1"))
    at_five = load_file(tmp_path / "run/checkpoints/step_00000005/weights.safetensors")
    write_jsonl(tmp_path / "train.jsonl", make_rows(15, seed=1))
    write_jsonl(tmp_path / "validation.jsonl", make_rows(6, seed=2))
    changed = arguments("training.checkpoint_every_steps=1", "training.epochs=3")
    error = error_of(capsys, [*changed, "--resume"])
    assert "training.epochs: 2 -> 3" in error and "--allow-changes" in error
    started: list[dict[str, torch.Tensor]] = []
    trained: list[list[int]] = []
    step = Trainer._step

    def noting(self: Trainer, plan: Any) -> None:
        if not started:
            started.append({n: w.detach().clone() for n, w in self.model.named_parameters()})
        trained.append(
            [self.state.epoch, *(i for shares in plan for share in shares for i in share)]
        )
        step(self, plan)

    monkeypatch.setattr(Trainer, "_step", noting)
    assert main([*changed, "--resume", "--allow-changes"]) == 0
    assert all(started[0][name].equal(value) for name, value in at_five.items())
    # The second epoch, of which 2 of 3 steps were done, begins anew with all documents.
    for epoch in (1, 2):
        assert sorted(i for at, *own in trained if at == epoch for i in own) == list(range(15))
    said = capsys.readouterr().err
    assert "changed: training.epochs: 2 -> 3" in said and "epoch 2 begins anew" in said
    (note,) = read_jsonl(tmp_path / "run/changes.jsonl")
    assert note["settings"] == {"training.epochs": [2, 3]} and note["step"] == 5
    assert note["documents"][0].startswith("data.train: 4 added (d11, d12, d13, d14)")
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["epochs"] == 3 and results["steps"] == 5 + 4 + 4
    lines = read_jsonl(tmp_path / "run/metrics.jsonl")
    # Judged by other documents, the weights of the changed run are evaluated first.
    assert [line["step"] for line in lines] == [3, 5, 9, 13]
    assert lines[-1]["train.learning_rate"] == pytest.approx(0, abs=1e-12)
    # From now on these are the run's settings.
    expected = outcome(tmp_path / "run")
    assert main([*changed, "--resume"]) == 0
    assert outcome(tmp_path / "run") == expected


@pytest.mark.parametrize(
    "change",
    ["model.aggregator_layers=2", "training.freeze_encoder=true", "data.summary_column=summary"],
)
def test_what_the_weights_would_not_fit_is_never_allowed(
    arguments, tmp_path, capsys, change
) -> None:
    assert main(arguments()) == 0
    error = error_of(capsys, [*arguments(change), "--resume", "--allow-changes"])
    assert change.partition("=")[0] in error and "would not fit" in error


def test_other_weights_of_the_same_encoder_are_noticed(
    arguments, encoders, tmp_path, capsys
) -> None:
    own = tmp_path / "encoder"
    shutil.copytree(encoders["bert"], own)
    named = arguments(f"model.encoder={own}", "training.freeze_encoder=true")
    assert main(named) == 0
    flip_weights = load_file(own / "model.safetensors")
    name = next(n for n in flip_weights if n.endswith("dense.weight"))
    flip_weights[name] += 1
    from safetensors.torch import save_file

    save_file(flip_weights, own / "model.safetensors", {"format": "pt"})
    error = error_of(capsys, [*named, "--resume"])
    assert "weights that are not trained are others" in error
