"""Signals: training stops with a checkpoint of its step, and goes on from it to the same bits."""

import os
import signal
from typing import Any

import pytest
from small_runs import outcome
from training import KilledError, dying

from hierbert.cli.train import main
from hierbert.tasks import evaluation as answers
from hierbert.training.checkpoints import Checkpoints
from hierbert.training.signals import StopSignals


@pytest.mark.parametrize("evaluation", [0, 1])
def test_a_signal_does_not_wait_for_the_validation(
    arguments, tmp_path, monkeypatch, evaluation
) -> None:
    # A batch for each document, so that there is something to wait for.
    monkeypatch.setattr(answers, "TOKENS_PER_BATCH", 1)
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
        if evaluation == 0:
            # Interrupted again, in the evaluation that is made up for.
            calls.clear()
            assert main([*arguments(), "--resume"]) == 143
            assert len(calls) == 2
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
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.received == signal.SIGTERM
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        # The signals do again what they did before.
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == at_termination
    finally:
        signal.signal(signal.SIGINT, before)
