"""Steps whose loss or gradient is not finite: they stop the run, or change nothing."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import read_jsonl
from resuming import _KilledError, outcome, six_steps
from training import error_of

from hierbert.training.cli import main
from hierbert.training.loop import Trainer
from hierbert.training.nonfinite import find_culprits


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to the folder `run`."""
    return six_steps(tmp_path, encoders["bert"])


def poison(monkeypatch: pytest.MonkeyPatch, ids: set[str], kind: str) -> None:
    """Lets the loss or the gradient of some documents be infinite."""
    from hierbert.model.modeling_hierbert import HierBertForDocuments

    collate, forward = Trainer._collate, HierBertForDocuments.forward
    poisoned: list[bool] = []

    def noting(self: Trainer, documents: Any, hide_targets: bool) -> Any:
        poisoned[:] = [any(document.id in ids for document in documents)]
        return collate(self, documents, hide_targets)

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
