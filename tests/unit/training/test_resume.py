"""Training survives: a run that dies anywhere ends, to the last bit, as one that did not."""

import contextlib
import signal
from typing import Any

import pytest
from accelerate.optimizer import AcceleratedOptimizer
from commands import read_jsonl
from small_runs import outcome, results_of
from training import KilledError, dying

from hierbert.cli.train import main
from hierbert.tasks import evaluation
from hierbert.training import checkpoints, loop
from hierbert.training.checkpoints import Checkpoints
from hierbert.training.loop import TrainingLoop
from hierbert.training.signals import StopSignals

STEPS = 6  # of a run of `arguments`

VARIANTS = {
    "each step evaluated, until patience ends it": [
        "training.accumulation_steps=2",
        "training.eval_every_steps=1",
        "training.keep_checkpoints=1",
        "training.memory=recompute",
        "training.patience=1",
        "training.segments_per_document=2",
        "training.tokens_per_forward=64",
    ],
    "the last layer alone": ["training.trained_encoder_layers=1", "training.eval_every_steps=4"],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_that_dies_in_every_step_ends_as_one_that_did_not(
    arguments, tmp_path, monkeypatch, name
) -> None:
    """Each start does one step more than the last checkpoint, and dies before the next."""
    extra = VARIANTS[name]
    assert main(arguments(*extra, f"run_dir={tmp_path / 'whole'}")) == 0
    step, deaths = TrainingLoop._step, 0
    for last in range(STEPS):

        def one_more(self: TrainingLoop, plan: Any, last: int = last) -> None:
            if self.state.step >= last:
                raise KilledError
            step(self, plan)

        monkeypatch.setattr(TrainingLoop, "_step", one_more)
        with contextlib.suppress(KilledError):
            assert main([*arguments(*extra), "--resume"]) == 0
            break
        deaths += 1
    monkeypatch.setattr(TrainingLoop, "_step", step)
    assert main([*arguments(*extra), "--resume"]) == 0
    assert deaths >= 2
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


PLACES = {
    "before the best weights": (Checkpoints, "save_best"),
    "between the best weights and the line of metrics": (loop.Trackers, "log"),
    "between the line of metrics and the checkpoint": (Checkpoints, "save"),
    "in the middle of a checkpoint": (checkpoints, "seal"),
    "before old checkpoints are removed": (Checkpoints, "_prune"),
}
SLOW_PLACES = ("before the best weights", "before old checkpoints are removed")


@pytest.mark.parametrize(
    "place",
    [pytest.param(p, marks=pytest.mark.slow if p in SLOW_PLACES else ()) for p in PLACES],
)
def test_the_best_weights_are_those_of_the_state_that_is_resumed(
    arguments, tmp_path, monkeypatch, place
) -> None:
    # The metrics say that the second or the fourth of six evaluations is the best; a kill at the
    # third and a resume must neither lose its weights nor take others for them.
    scripted = {1: 0.3, 2: 0.9, 3: 0.5, 4: 0.9, 5: 0.4, 6: 0.2}
    run = arguments("training.eval_every_steps=1", "training.keep_checkpoints=1")
    now: list[int] = []
    evaluate = TrainingLoop._evaluate

    def noting(self: TrainingLoop) -> None:
        now[:] = [self.state.step]
        evaluate(self)

    monkeypatch.setattr(TrainingLoop, "_evaluate", noting)
    monkeypatch.setattr(loop, "choose_metric", lambda *_: scripted[now[0]])
    assert main([*run, f"run_dir={tmp_path / 'whole'}"]) == 0
    for after in (1, 2, 1, 0):
        with dying(PLACES[place], after), contextlib.suppress(KilledError):
            main([*run, "--resume"])
    assert main([*run, "--resume"]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    # Of two that are equally good, the one with the lower loss.
    losses = {
        line["step"]: line["validation.loss"] for line in read_jsonl(tmp_path / "run/metrics.jsonl")
    }
    best = results_of(tmp_path / "run")["best_step"]
    assert best == min((2, 4), key=losses.__getitem__) and losses[2] != losses[4]
    # What no checkpoint needs is gone.
    names = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert names == {"step_00000006", f"best_step_{best:08d}.safetensors"}


def test_steps_that_overflow_do_not_move_the_schedule_of_a_resumed_run(
    arguments, tmp_path, monkeypatch
) -> None:
    def skip_the_first() -> None:
        answers = iter([True])
        skipped = property(lambda _: next(answers, False))
        monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", skipped)

    run = arguments("training.epochs=3", "training.checkpoint_every_steps=1")
    skip_the_first()
    assert main([*run, f"run_dir={tmp_path / 'whole'}"]) == 0
    skip_the_first()
    with dying((TrainingLoop, "_step"), 3), pytest.raises(KilledError):
        main(run)
    assert main([*run, "--resume"]) == 0
    lines = [read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("run", "whole")]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("evaluation_number", [0, 1])
def test_a_signal_does_not_wait_for_the_validation(
    arguments, tmp_path, monkeypatch, evaluation_number
) -> None:
    # A batch for each document, so that there is something to wait for.
    monkeypatch.setattr(evaluation, "TOKENS_PER_BATCH", 1)
    assert main(arguments(f"run_dir={tmp_path / 'whole'}")) == 0
    answer, calls = evaluation._answer_batch, []
    second = 4 * evaluation_number + 2

    def signalled(*given: Any) -> Any:
        calls.append(0)
        if len(calls) == second:
            signal.raise_signal(signal.SIGTERM)
        return answer(*given)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "_answer_batch", signalled)
        assert main(arguments()) == 143
        assert len(calls) == second  # not one document more
        if evaluation_number == 0:
            # Interrupted again, in the evaluation that is made up for.
            calls.clear()
            assert main([*arguments(), "--resume"]) == 143
            assert len(calls) == second
    # Killed when the line of metrics that was due is there and its checkpoint is not.
    with dying((Checkpoints, "save"), 0), pytest.raises(KilledError):
        main([*arguments(), "--resume"])
    assert main([*arguments(), "--resume"]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_second_interrupt_stops_at_once() -> None:
    # In the background of a shell, SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    at_termination = signal.getsignal(signal.SIGTERM)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert stop.received == signal.SIGTERM
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        # The signals do again what they did before.
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == at_termination
    finally:
        signal.signal(signal.SIGINT, before)
