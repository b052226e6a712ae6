"""Training survives: a run that dies anywhere ends, to the last bit, as one that did not."""

import contextlib
import shutil
from typing import Any

import pytest
from commands import read_jsonl
from small_runs import outcome, results_of
from training import KilledError, dying

from hierbert.cli.train import main
from hierbert.training import checkpoints, loop
from hierbert.training.checkpoints import Checkpoints
from hierbert.training.loop import TrainingLoop

STEPS = 6  # of a run of `arguments`

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
    "the last layer alone": ["training.trained_encoder_layers=1", "training.eval_every_steps=4"],
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
    step, deaths = TrainingLoop._step, 0
    for last in range(STEPS):

        def one_more(self: TrainingLoop, plan: Any, last: int = last) -> None:
            if self.state.step >= last:
                raise KilledError
            step(self, plan)

        monkeypatch.setattr(TrainingLoop, "_step", one_more)
        # The cache may be removed at any time.
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        try:
            code = main([*broken, *(["--resume"] if last else [])])
        except KilledError:
            deaths += 1
        else:
            assert code == 0 and "patience" in name
            break
    monkeypatch.setattr(TrainingLoop, "_step", step)
    assert main([*broken, "--resume"]) == 0
    assert deaths >= 2
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


PLACES = {
    "before the best weights": (Checkpoints, "save_best"),
    "between the best weights and the line of metrics": (loop.Trackers, "log"),
    "between the line of metrics and the checkpoint": (Checkpoints, "save"),
    "in the middle of a checkpoint": (checkpoints, "seal"),
    "before old checkpoints are removed": (Checkpoints, "_prune"),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_best_weights_are_those_of_the_state_that_is_resumed(
    arguments, tmp_path, monkeypatch, place
) -> None:
    # The metrics say that the second of six evaluations is the best; a kill at the third and
    # a resume must neither lose its weights nor take others for them.
    scripted = {1: 0.3, 2: 0.9, 3: 0.5, 4: 0.9, 5: 0.4, 6: 0.2}
    extra = ["training.eval_every_steps=1", "training.keep_checkpoints=1"]
    now: list[int] = []
    evaluate = TrainingLoop._evaluate

    def noting(self: TrainingLoop) -> None:
        now[:] = [self.state.step]
        evaluate(self)

    monkeypatch.setattr(TrainingLoop, "_evaluate", noting)
    monkeypatch.setattr(loop, "choose_metric", lambda *_: scripted[now[0]])
    assert main(arguments(*extra, f"run_dir={tmp_path / 'whole'}")) == 0
    for deaths, after in enumerate((1, 2, 1, 0)):
        with dying(PLACES[place], after), contextlib.suppress(KilledError):
            main([*arguments(*extra), *(["--resume"] if deaths else [])])
    assert main([*arguments(*extra), "--resume"]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    best = results_of(tmp_path / "run")["best_step"]
    assert best in (2, 4)
    # What no checkpoint needs is gone.
    names = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert names == {"step_00000006", f"best_step_{best:08d}.safetensors"}


def test_steps_that_overflow_do_not_move_the_schedule_of_a_resumed_run(
    arguments, tmp_path, monkeypatch
) -> None:
    from accelerate.optimizer import AcceleratedOptimizer

    def skip_the_first() -> None:
        answers = iter([True])
        skipped = property(lambda _: next(answers, False))
        monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", skipped)

    common = ["training.epochs=3", "training.checkpoint_every_steps=1"]
    skip_the_first()
    assert main(arguments(*common)) == 0
    other = arguments(*common, f"run_dir={tmp_path / 'other'}")
    skip_the_first()
    with dying((TrainingLoop, "_step"), 3), pytest.raises(KilledError):
        main(other)
    assert main([*other, "--resume"]) == 0
    assert read_jsonl(tmp_path / "other/metrics.jsonl") == read_jsonl(
        tmp_path / "run/metrics.jsonl"
    )
