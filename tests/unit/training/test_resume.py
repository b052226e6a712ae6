"""Training survives: a run that dies anywhere ends, to the last bit, as one that did not."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import read_jsonl, write_jsonl
from small_runs import Settings, outcome, small_run
from training import KilledError, dying

from hierbert.cli.train import main
from hierbert.training import checkpoints, loop, nonfinite
from hierbert.training.loop import TrainingLoop

STEPS = 6  # of a run of `arguments`


@pytest.fixture
def arguments(encoders: dict[str, Path], tmp_path: Path) -> Settings:
    """Arguments of a run of 6 steps in 2 epochs, with dropout; to the folder `run`."""
    return small_run(tmp_path, encoders["bert"])


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


def test_a_run_that_died_while_encoding_trains_on_the_same_bits(
    arguments, tmp_path, monkeypatch
) -> None:
    """What was not written yet is encoded in the batches in which it would have been."""
    from hierbert.vectors import cache as vector_cache

    monkeypatch.setattr(vector_cache, "_TOKENS_PER_FILE", 1)  # a file for each batch
    monkeypatch.setattr(vector_cache, "_TOKENS_PER_BATCH", 300)
    # About 95, 245, 95, 95, ... tokens: the first two are alone in their batches, and beside the
    # first there would be room for what follows the second.
    rows = [
        {"id": f"d{number}", "text": "court " * words + chr(97 + number), "label": number % 2}
        for number, words in enumerate([90, 230, *[90] * 9])
    ]
    write_jsonl(tmp_path / "train.jsonl", rows)
    write_jsonl(tmp_path / "validation.jsonl", [{**row, "text": "judge"} for row in rows[:2]])
    encode, companies = vector_cache.VectorCache._encode, []

    def noting(self: Any, documents: Any) -> Any:
        companies.append(tuple(documents))
        return encode(self, documents)

    monkeypatch.setattr(vector_cache.VectorCache, "_encode", noting)
    frozen = "training.freeze_encoder=true"
    for name in ("whole", "run"):
        cache = tmp_path / f"cache-{name}"
        common = arguments(
            frozen, "data.test=", f"training.cache_dir={cache}", f"run_dir={tmp_path / name}"
        )
        if name == "run":
            with monkeypatch.context() as patch:
                dying(patch, (vector_cache.VectorCache, "_write"), 2)
                with pytest.raises(KilledError):
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
    evaluate = TrainingLoop._evaluate

    def noting(self: TrainingLoop) -> None:
        now[:] = [self.state.step]
        evaluate(self)

    monkeypatch.setattr(TrainingLoop, "_evaluate", noting)
    monkeypatch.setattr(nonfinite, "choose_metric", lambda *_: scripted[now[0]])
    assert main(arguments(*extra, f"run_dir={tmp_path / 'whole'}")) == 0
    for deaths, after in enumerate((1, 2, 1, 0)):
        with monkeypatch.context() as patch:
            dying(patch, PLACES[place], after)
            with contextlib.suppress(KilledError):
                main([*arguments(*extra), *(["--resume"] if deaths else [])])
    assert main([*arguments(*extra), "--resume"]) == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert json.loads((tmp_path / "run/results.json").read_text())["best_step"] in (2, 4)
    # What no checkpoint needs is gone.
    names = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    best = json.loads((tmp_path / "run/results.json").read_text())["best_step"]
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
    step = TrainingLoop._step

    def stop(self: TrainingLoop, plan: Any) -> None:
        if self.state.step == 3:
            raise KeyboardInterrupt
        step(self, plan)

    other = arguments(*common, f"run_dir={tmp_path / 'other'}")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "_step", stop)
        skip_the_first()
        assert main(other) == 130
    assert main([*other, "--resume"]) == 0
    assert read_jsonl(tmp_path / "other/metrics.jsonl") == read_jsonl(
        tmp_path / "run/metrics.jsonl"
    )
