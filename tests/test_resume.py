"""Training survives: exact resume from any step, damage, full disks, signals, changes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOT, read_jsonl, write_jsonl
from conftest import make_rows
from safetensors.torch import load_file

from hierbert.locks import FolderLock
from hierbert.training import checkpoint_files, checkpoints, loop, validation
from hierbert.training.checkpoint_files import find_checkpoints
from hierbert.training.cli import main
from hierbert.training.loop import Trainer
from hierbert.training.nonfinite import find_culprits
from hierbert.training.signals import StopSignals

STEPS = 6  # of a run of `arguments`


class _KilledError(Exception):
    """Stands in for kill -9: nothing of the run's own catches it."""


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to the folder `run`."""
    write_jsonl(tmp_path / "train.jsonl", make_rows(11, seed=1))
    write_jsonl(tmp_path / "validation.jsonl", make_rows(4, seed=2))

    def build(*more: str) -> list[str]:
        return [
            f"data.train={tmp_path / 'train.jsonl'}",
            f"data.validation={tmp_path / 'validation.jsonl'}",
            "data.label_column=label",
            f"model.encoder={encoders['bert']}",
            f"run_dir={tmp_path / 'run'}",
            "model.aggregator_layers=1",
            "segmentation.max_tokens_per_segment=32",
            "training.documents_per_batch=4",
            "training.epochs=2",
            # Large enough that a lost or doubled step shows.
            "training.head_learning_rate=1e-2",
            "training.encoder_learning_rate=1e-3",
            "baselines=false",
            "show_sample=false",
            *more,
        ]

    return build


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(run_dir / "model" / "model.safetensors")


def outcome(run_dir: Path) -> dict[str, Any]:
    """What must not depend on interruptions: weights, metrics, results but for the clock."""
    results = json.loads((run_dir / "results.json").read_text())
    for name in ("seconds", "resources", "environment"):
        results.pop(name)
    tensors = {name: value.numpy().tobytes() for name, value in weights(run_dir).items()}
    return {
        "weights": tensors,
        "metrics": (run_dir / "metrics.jsonl").read_text(),
        "results": results,
    }


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def dying(monkeypatch: pytest.MonkeyPatch, where: tuple[Any, str], after: int) -> Any:
    """Lets a function run `after` times and then dies in its place."""
    owner, name = where
    original, calls = getattr(owner, name), []

    def run(*given: Any, **named: Any) -> Any:
        if len(calls) == after:
            raise _KilledError
        calls.append(0)
        return original(*given, **named)

    monkeypatch.setattr(owner, name, run)


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


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "file", "why"),
    [
        (cut, "weights.safetensors", "weights.safetensors has "),
        (flip, "optimizer.safetensors", "optimizer.safetensors is not as it was written"),
        (flip, "state.json", "state.json "),
        (Path.unlink, "state.json", "state.json is missing"),
        (Path.unlink, "weights.safetensors", "weights.safetensors is missing"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(
    arguments, tmp_path, monkeypatch, capsys, damage, file, why
) -> None:
    extra = ["training.checkpoint_every_steps=1"]
    assert main(arguments(*extra, f"run_dir={tmp_path / 'whole'}")) == 0
    with monkeypatch.context() as patch:
        dying(patch, (Trainer, "_step"), 5)
        with pytest.raises(_KilledError):
            main(arguments(*extra))
    older, newest = find_checkpoints(tmp_path / "run" / "checkpoints")
    damage(newest / file)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        dying(patch, (Trainer, "_step"), 1)
        with pytest.raises(_KilledError):
            main([*arguments(*extra), "--resume"])
    said = capsys.readouterr().err
    # Of the two that are kept, none is the damaged one.
    left = [path.name for path in find_checkpoints(tmp_path / "run" / "checkpoints")]
    assert left == [older.name, "step_00000005_2"]
    assert main([*arguments(*extra), "--resume"]) == 0
    assert f"warning: {newest} is damaged and passed over: {why}" in said
    assert f"resuming from {older} " in said
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_over(
    arguments, tmp_path, monkeypatch, capsys
) -> None:
    # The first evaluation is the best; the checkpoint of it, which holds the same, is lost.
    monkeypatch.setattr(validation, "choose_metric", lambda *_: 0.5)
    monkeypatch.setattr(validation, "score_answers", lambda *_: {"loss": 1.0})
    assert main(arguments()) == 0
    folder = tmp_path / "run/checkpoints"
    shutil.rmtree(folder / "step_00000003")
    flip(folder / "best_step_00000003.safetensors")
    capsys.readouterr()
    assert main([*arguments(), "--resume"]) == 2
    said = capsys.readouterr().err
    why = "best_step_00000003.safetensors is not as it was written"
    assert f"{folder / 'step_00000006'} is damaged and passed over: {why}" in said
    assert "no checkpoint" in said and "remove that folder" in said


def test_a_run_of_damaged_checkpoints_alone_is_not_begun_anew(arguments, tmp_path, capsys) -> None:
    assert main(arguments()) == 0
    for path in find_checkpoints(tmp_path / "run" / "checkpoints"):
        cut(path / "weights.safetensors")
    error = error_of(capsys, [*arguments(), "--resume"])
    assert "no checkpoint" in error and "is whole" in error and "to start from" in error


FULL_DISK = f"""
import resource, sys
sys.path.insert(0, {str(ROOT)!r})
from hierbert.training import {{module}} as owner
original = owner.{{name}}
def limited(*given, **named):
    if {{when}}:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
    return original(*given, **named)
owner.{{name}} = limited
from hierbert.training.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
SECOND = "given[3].step == 6"
FULL = {
    "checkpoint": ("loop", "save_checkpoint", SECOND, "step_00000006"),
    "best": ("loop", "save_best", "given[2].step == 6", "best_step_00000006"),
    "documents": ("resuming", "save_documents", "True", "documents.jsonl"),
    "metrics": ("loop", "Trackers.log", "given[1]['step'] == 6", "metrics.jsonl"),
    "results": ("run", "write_results", "True", "results.json"),
    "model": ("run", "save_model", "True", "model"),
}


@pytest.mark.parametrize(
    "name",
    ["checkpoint", *(pytest.param(n, marks=pytest.mark.slow) for n in FULL if n != "checkpoint")],
)
def test_a_disk_that_is_full_from_now_on_ends_the_run_in_one_line(
    arguments, tmp_path, monkeypatch, name
) -> None:
    """The operating system's own limit on the size of files, for the rest of the process."""
    module, function, when, file = FULL[name]
    script = FULL_DISK.format(module=module, name=function, when=when)
    best = ["training.metric=loss"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # Standard error is a pipe, which has no size.
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments(*best)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and file in errors[0] and "File too large" in errors[0], done.stderr
    assert "cannot be written" in errors[0] and "--resume" in errors[0]
    assert "Traceback" not in done.stderr
    path, damaged = checkpoints.newest_whole(tmp_path / "run" / "checkpoints")
    assert damaged == [] and (name == "documents") == (path is None)
    assert [left.name for left in (tmp_path / "run").rglob(".*")] == []
    assert main([*arguments(*best), "--resume"]) == 0
    assert main(arguments(*best, f"run_dir={tmp_path / 'whole'}")) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_signal_ends_training_with_a_checkpoint_of_its_step(
    arguments, tmp_path, monkeypatch, capfd
) -> None:
    assert main(arguments(f"run_dir={tmp_path / 'whole'}")) == 0
    for number, code, at in ((signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 4)):
        step = Trainer._step

        def signalled(
            self: Trainer, plan: Any, number: int = number, at: int = at, step: Any = step
        ) -> None:
            if self.state.step == at:
                os.kill(os.getpid(), number)
            step(self, plan)

        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", signalled)
            assert main([*arguments(), *(["--resume"] if at > 1 else [])]) == code
        said = capfd.readouterr().err
        assert "stopping after this step" in said and f"stopped after step {at + 1};" in said
        assert f"go on with: train.py --config {tmp_path / 'run' / 'config.resolved.yaml'}" in said
        newest = find_checkpoints(tmp_path / "run" / "checkpoints")[-1]
        assert newest.name == f"step_{at + 1:08d}"
    assert main([*arguments(), "--resume"]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    # The signals do again what they did before.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("evaluation", [0, 1])
def test_a_signal_does_not_wait_for_the_validation(
    arguments, tmp_path, monkeypatch, capfd, evaluation
) -> None:
    from hierbert.evaluation import answers

    # A batch for each document, so that there is something to wait for.
    monkeypatch.setattr(answers, "_TOKENS_PER_BATCH", 1)
    assert main(arguments(f"run_dir={tmp_path / 'whole'}")) == 0
    answer, calls = answers._answer_batch, []

    def signalled(*given: Any) -> Any:
        calls.append(0)
        if len(calls) == 4 * evaluation + 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return answer(*given)

    with monkeypatch.context() as patch:
        patch.setattr(answers, "_answer_batch", signalled)
        assert main(arguments()) == 143
    assert len(calls) == 4 * evaluation + 2  # not one document more
    # Interrupted again, in the evaluation that is made up for.
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(answers, "_answer_batch", signalled)
        if evaluation == 0:
            assert main([*arguments(), "--resume"]) == 143
            assert len(calls) == 2
    # Killed when the line of metrics that was due is there and its checkpoint is not.
    with monkeypatch.context() as patch:
        dying(patch, (loop, "save_checkpoint"), 0)
        with pytest.raises(_KilledError):
            main([*arguments(), "--resume"])
    assert main([*arguments(), "--resume"]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_second_interrupt_stops_at_once() -> None:
    stop = StopSignals()
    with stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_interrupt_ends_the_step_it_comes_in(arguments, tmp_path, monkeypatch) -> None:
    def twice(self: Trainer, plan: Any) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still there")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", twice)
        assert main(arguments()) == 130
    assert find_checkpoints(tmp_path / "run" / "checkpoints") == []


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


def poison(monkeypatch: pytest.MonkeyPatch, ids: set[str], kind: str) -> None:
    """Lets the loss or the gradient of some documents be infinite."""
    from hierbert.model.modeling_hierbert import HierBertForDocuments

    collate, forward = Trainer._collate, HierBertForDocuments.forward
    poisoned: list[bool] = []

    def noting(self: Trainer, documents: Any, hide_labels: bool) -> Any:
        poisoned[:] = [any(document.id in ids for document in documents)]
        return collate(self, documents, hide_labels)

    def broken(self: Any, **inputs: Any) -> Any:
        output = forward(self, **inputs)
        if self.training and poisoned and poisoned[0]:
            if kind == "loss":
                output.loss = output.loss * torch.inf
            else:
                # The square root's slope at 0 is infinite, its value is not.
                output.loss = output.loss + (output.loss * 0).sqrt()
        return output

    monkeypatch.setattr(Trainer, "_collate", noting)
    monkeypatch.setattr(HierBertForDocuments, "forward", broken)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_step_that_is_not_finite_stops_and_names_its_documents(
    arguments, tmp_path, capsys, monkeypatch, kind
) -> None:
    poison(monkeypatch, {"d3", "d7"}, kind)
    error = error_of(capsys, arguments("training.documents_per_batch=11"))
    assert f"its {kind} (" in error and "is not finite" in error
    found = error.partition("do it alone: ")[2].partition(";")[0]
    assert sorted(found.split(", ")) == ["d3", "d7"]
    assert "training.on_nonfinite_loss=skip" in error


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_step_that_is_left_out_changes_nothing_and_is_counted(
    arguments, tmp_path, capsys, monkeypatch, kind
) -> None:
    skip = arguments("training.on_nonfinite_loss=skip", "training.checkpoint_every_steps=1")
    poison(monkeypatch, {"d3"}, kind)
    step, kept, rates = Trainer._step, [], []

    def noting(self: Trainer, plan: Any) -> None:
        before = [w.detach().clone() for w in self.model.parameters()]
        rate, count = self.optimizer.param_groups[0]["lr"], self.state.nonfinite_steps
        moments = [state["step"].item() for state in self.optimizer.state.values()]
        step(self, plan)
        same = all(a.equal(b) for a, b in zip(before, self.model.parameters(), strict=True))
        if self.state.nonfinite_steps > count:
            kept.append(same)
            rates.append(rate == self.optimizer.param_groups[0]["lr"])
            now = [state["step"].item() for state in self.optimizer.state.values()]
            assert now == moments
        else:
            assert not same

    monkeypatch.setattr(Trainer, "_step", noting)
    assert main(skip) == 0
    assert kept == rates == [True, True]  # once an epoch
    said = capsys.readouterr().err
    assert said.count("documents that do it alone: d3") == 2
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["nonfinite_steps"] == 2
    assert read_jsonl(tmp_path / "run/metrics.jsonl")[-1]["train.nonfinite_steps"] == 2
    state = json.loads((tmp_path / "run/checkpoints/step_00000006/state.json").read_text())
    assert state["state"]["nonfinite_steps"] == 2
    # Exact on resume, though the search for the document drew random numbers.
    broken = [*skip, f"run_dir={tmp_path / 'broken'}"]
    for last in (2, 4):

        def dies(self: Trainer, plan: Any, last: int = last) -> None:
            if self.state.step >= last:
                raise _KilledError
            step(self, plan)

        monkeypatch.setattr(Trainer, "_step", dies)
        with pytest.raises(_KilledError):
            main([*broken, *(["--resume"] if last > 2 else [])])
    monkeypatch.setattr(Trainer, "_step", step)
    assert main([*broken, "--resume"]) == 0
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "run")


def test_looking_for_the_documents_draws_no_random_number_of_the_run() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    torch.manual_seed(0)
    before = torch.get_rng_state()

    def loss_of(index: int) -> torch.Tensor:
        return (weight * torch.rand(1) * (torch.inf if index == 2 else 1)).sum()

    assert find_culprits([1, 2, 3], loss_of, [weight], contextlib.nullcontext) == [2]
    assert torch.get_rng_state().equal(before) and weight.grad is None


def test_ten_steps_in_a_row_that_are_not_finite_end_the_run(arguments, capsys, monkeypatch) -> None:
    poison(monkeypatch, {f"d{number}" for number in range(11)}, "loss")
    skip = ["training.on_nonfinite_loss=skip", "training.documents_per_batch=1"]
    error = error_of(capsys, arguments(*skip))
    assert error.startswith("error: step 10: ") and "10 such steps in a row" in error


def test_a_best_file_of_another_folder_is_not_read(tmp_path) -> None:
    entry = {"name": "../secret.safetensors", "bytes": 1, "sha256": ""}
    with pytest.raises(checkpoint_files.DamagedError, match="names no file"):
        checkpoint_files.check_best(tmp_path, entry)


@pytest.mark.parametrize(
    "values",
    [None, [], {}, {"epoch": 1}, {"step": "1"}, {"losses": [1]}, {"best_metric": "x"}, {"more": 1}],
)
def test_a_state_of_other_names_or_types_is_refused(values) -> None:
    from dataclasses import asdict

    from hierbert.training.state import TrainerState

    if isinstance(values, dict) and values and "epoch" not in values:
        values = {**asdict(TrainerState()), **values}
    with pytest.raises(ValueError, match=r"state has other values|is .* not of type"):
        TrainerState.from_json(values)
    again = TrainerState.from_json(json.loads(json.dumps(asdict(TrainerState(best_metric=0.5)))))
    assert again == TrainerState(best_metric=0.5)
