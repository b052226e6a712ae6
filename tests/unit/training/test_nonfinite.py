"""Steps and validations that are not finite, and numbers that no model can learn."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import write_jsonl
from conftest import make_rows
from small_runs import Settings, outcome, results_of
from training import KilledError, dying, error_of

from hierbert.cli.train import main
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.training.checkpoints import find_checkpoints, read_sealed
from hierbert.training.loop import TrainingLoop
from hierbert.training.nonfinite import find_nonfinite
from hierbert.training.state import TrainerState

KINDS = {
    "regression": ["data.label_column=number", "data.label_type=regression"],
    "one label": ["data.label_column=label"],
    "several labels": ["data.label_column=label", "data.label_type=multi_label"],
    "summary": ["data.label_column=", "data.summary_column=summary"],
}
SKIP = "training.on_nonfinite_loss=skip"


@pytest.fixture
def four(arguments, tmp_path) -> Settings:
    """Arguments of a run of 4 steps, each of which is evaluated; to the folder `run`."""
    for name, count, seed in (("train", 8, 1), ("validation", 4, 2)):
        rows = [{**row, "number": 7 + i % 2} for i, row in enumerate(make_rows(count, seed))]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    return lambda *more: arguments("data.test=", "training.eval_every_steps=1", *more)


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The lines, read as JSON is defined: without NaN and Infinity."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    text = (run_dir / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def break_answers(
    monkeypatch: pytest.MonkeyPatch, steps: set[int], value: float, rows: int = 1
) -> None:
    """Spoils the first documents' answers in the validations after some steps."""
    forward, evaluate, now = HierBertForDocuments.forward, TrainingLoop._evaluate, [0]

    def noting(self: TrainingLoop) -> None:
        now[0] = self.state.step
        evaluate(self)
        now[0] = -1

    def broken(self: HierBertForDocuments, **inputs: Any) -> Any:
        output = forward(self, **inputs)
        if not self.training and now[0] in steps:
            if output.logits is not None:
                output.logits[:rows] = value
            if output.sentence_scores is not None:
                output.sentence_scores[: inputs["sentences_per_document"][:rows].sum()] = value
        return output

    monkeypatch.setattr(TrainingLoop, "_evaluate", noting)
    monkeypatch.setattr(HierBertForDocuments, "forward", broken)


def test_a_validation_that_is_not_finite_stops_after_its_checkpoint(
    four, tmp_path, monkeypatch, capsys
) -> None:
    with monkeypatch.context() as patch:
        break_answers(patch, {2}, torch.nan)
        error = error_of(capsys, four())
        assert "validation after step 2: its loss (nan)" in error
        assert "1 of 4 documents have answers that are not: 'd" in error
        assert "training.on_nonfinite_loss=skip" in error
        newest = find_checkpoints(tmp_path / "run/checkpoints")[-1]
        assert newest.name == "step_00000002" and read_sealed(newest)["state"]["best_step"] == 1
        first, second = metrics(tmp_path / "run")
        assert first["best"] and not second["best"] and second["validation.loss"] is None
        # Nothing has changed: the same again.
        assert error_of(capsys, [*four(), "--resume"]) == error
        assert len(metrics(tmp_path / "run")) == 2
    # The trouble has gone: the evaluation is made up for.
    assert main([*four(), "--resume"]) == 0
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2, 3, 4]
    assert all(line["validation.loss"] is not None for line in metrics(tmp_path / "run"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_that_is_not_finite_is_skipped_and_never_the_best(
    four, tmp_path, monkeypatch, capsys, kind
) -> None:
    # The first validation of all would be the best by any rule but this one.
    break_answers(monkeypatch, {1, 3, 4}, torch.inf, rows=2)
    more = ["training.metric=loss", "training.patience=2", "training.epochs=3", SKIP]
    assert main(four(*KINDS[kind], *more)) == 0
    said = capsys.readouterr().err
    assert said.count("never the best: validation after step ") == 3
    assert "2 of 4 documents" in said
    lines = metrics(tmp_path / "run")
    # Patience ends it after two without a gain.
    assert [line["validation.loss"] is None for line in lines] == [True, False, True, True]
    assert [line["best"] for line in lines] == [False, True, False, False]
    assert results_of(tmp_path / "run")["best_step"] == 2


def test_test_documents_whose_answers_are_not_finite_end_the_run_in_one_line(
    four, monkeypatch, capsys
) -> None:
    load_best = TrainingLoop._load_best

    def then_break(self: TrainingLoop) -> None:
        load_best(self)
        self.model.classifier.output.weight.data.fill_(torch.nan)

    monkeypatch.setattr(TrainingLoop, "_load_best", then_break)
    error = error_of(capsys, four())
    assert "error: scoring validation: its " in error and "4 of 4 documents" in error


@pytest.mark.parametrize(
    ("split", "numbers", "culprit", "allowed"),
    [
        ("validation", [7, 8, 7, -1e39], "d3", "-3.40282e+38 to 3.40282e+38"),
        # Finite alone, but not from each other, or not in the unit of the others.
        ("train", [3e38, -3e38, 3.1e38, 3e38], "d1", "in another unit"),
        ("validation", [7, 1e30, 8, 7], "d1", "plus or minus at most 1e19 times"),
        ("train", [1e-320, 3e-320, 1e-320, 3e-320], "d", "at least 1e-37"),
    ],
)
def test_a_number_that_no_model_can_learn_is_named(
    four, tmp_path, capsys, split, numbers, culprit, allowed
) -> None:
    rows = [{**row, "number": n} for row, n in zip(make_rows(4, 3), numbers, strict=True)]
    path = write_jsonl(tmp_path / f"{split}.jsonl", rows)
    error = error_of(capsys, four(*KINDS["regression"]))
    assert str(path) in error and "'number'" in error and allowed in error
    assert f"id {culprit}" in error.replace("'", "")
    assert not (tmp_path / "run").exists()


def poison(monkeypatch: pytest.MonkeyPatch, ids: set[str], kind: str) -> None:
    """Lets the loss or the gradient of some documents be infinite."""
    collate, forward = TrainingLoop._collate, HierBertForDocuments.forward
    poisoned: list[bool] = []

    def noting(self: TrainingLoop, documents: Any, hide_targets: bool) -> Any:
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

    monkeypatch.setattr(TrainingLoop, "_collate", noting)
    monkeypatch.setattr(HierBertForDocuments, "forward", broken)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_step_that_is_not_finite_stops_and_names_its_documents(
    arguments, tmp_path, capsys, monkeypatch, kind
) -> None:
    poison(monkeypatch, {"d3", "d7"}, kind)
    error = error_of(capsys, arguments("training.documents_per_batch=11"))
    assert f"its {kind} (" in error and "is not finite" in error
    found = error.partition("do it alone: ")[2].partition(";")[0]
    assert sorted(found.split(", ")) == ["'d3'", "'d7'"]
    assert "training.on_nonfinite_loss=skip" in error


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_step_that_is_left_out_changes_nothing_and_is_counted(
    arguments, tmp_path, capsys, monkeypatch, kind
) -> None:
    skip = arguments(SKIP, "training.checkpoint_every_steps=1")
    poison(monkeypatch, {"d3"}, kind)
    step, left_out = TrainingLoop._step, []

    def all_of(loop: TrainingLoop) -> tuple[list[torch.Tensor], Any]:
        moments = [state["step"].item() for state in loop.optimizer.state.values()]
        weights = [weight.detach().clone() for weight in loop.model.parameters()]
        return weights, (loop.optimizer.param_groups[0]["lr"], moments)

    def noting(self: TrainingLoop, plan: Any) -> None:
        before, count = all_of(self), self.state.nonfinite_steps
        step(self, plan)
        after = all_of(self)
        same = all(a.equal(b) for a, b in zip(before[0], after[0], strict=True))
        left_out.append(self.state.nonfinite_steps > count)
        assert same == left_out[-1] and (not same or before[1] == after[1])

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "_step", noting)
        assert main(skip) == 0
    assert sum(left_out) == 2  # once an epoch
    said = capsys.readouterr().err
    assert said.count("documents that do it alone: 'd3'") == 2
    assert results_of(tmp_path / "run")["nonfinite_steps"] == 2
    assert metrics(tmp_path / "run")[-1]["train.nonfinite_steps"] == 2
    newest = find_checkpoints(tmp_path / "run/checkpoints")[-1]
    state = read_sealed(newest)["state"]
    assert state["nonfinite_steps"] == 2 and state["nonfinite_in_a_row"] < 2
    # Exact on resume, though the search for the document drew random numbers.
    broken = [*skip, f"run_dir={tmp_path / 'broken'}"]
    for more in ([], ["--resume"]):
        with dying((TrainingLoop, "_step"), 2), pytest.raises(KilledError):
            main([*broken, *more])
    assert main([*broken, "--resume"]) == 0
    assert outcome(tmp_path / "broken") == outcome(tmp_path / "run")


def test_looking_for_the_documents_draws_no_random_number_of_the_run() -> None:
    weight, before = torch.nn.Parameter(torch.ones(1)), torch.get_rng_state()

    def loss_of(index: int) -> torch.Tensor:
        return (weight * torch.rand(1) * (torch.inf if index == 2 else 1)).sum()

    assert find_nonfinite([1, 2, 3], loss_of, [weight], contextlib.nullcontext) == [2]
    assert torch.get_rng_state().equal(before) and weight.grad is None


def test_ten_steps_in_a_row_that_are_not_finite_end_the_run(arguments, capsys, monkeypatch) -> None:
    poison(monkeypatch, {f"d{number}" for number in range(11)}, "loss")
    error = error_of(capsys, arguments(SKIP, "training.documents_per_batch=1"))
    assert error.startswith("error: step 10: ") and "10 such steps in a row" in error


def test_the_schedule_follows_the_steps_that_changed_weights_alone() -> None:
    assert TrainerState(step=9, skipped_steps=1, nonfinite_steps=2).updates == 6
