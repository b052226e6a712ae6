"""What training keeps: the checkpoints of a run that was stopped, and what runs find in the cache.

Weights and metrics have to end in the same bits.
"""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.common.flips import Target, run
from benchmarks.common.tiny import make_documents, make_encoder

_STOPPED_AT_STEP = 3
_CLOCK = ("seconds", "resources", "environment")
_SETTINGS = (
    *("data.label_column=label", "data.summary_column=summary", "model.aggregator_layers=1"),
    *("segmentation.max_tokens_per_segment=64", "training.documents_per_batch=4"),
    *("training.epochs=1", "training.head_learning_rate=5e-3", "training.eval_every_steps=2"),
    *("training.checkpoint_every_steps=1", "baselines=false", "show_sample=false"),
)


def _train(*arguments: str) -> tuple[int, str]:
    from accelerate.state import AcceleratorState

    from hierbert.cli.train import main

    AcceleratorState._reset_state(True)
    with mock.patch.dict(os.environ, ACCELERATE_USE_CPU="true"):
        return run(main, arguments)


def _arguments(place: Path, stopped: bool) -> list[str]:
    return [
        *(f"data.train={place.parent / 'train.jsonl'}", f"run_dir={place / 'run'}"),
        *(f"data.validation={place.parent / 'validation.jsonl'}", *_SETTINGS),
        *(f"model.encoder={place.parent / 'encoder'}", f"training.cache_dir={place / 'cache'}"),
        f"training.freeze_encoder={str(not stopped).lower()}",
    ]


def _begin(place: Path, seed: int, stopped: bool) -> None:
    """A run that was stopped, or the cache that a whole one has filled."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    make_encoder(place.parent / "encoder", seed)
    for part, count in (("train", 16), ("validation", 4)):
        path = make_documents(place.parent / f"{part}.jsonl", count, seed, 4)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            row["summary"] = row["text"].partition(".")[0] + "."
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    steps = 0

    def stop(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == _STOPPED_AT_STEP and stopped:
            signal.raise_signal(signal.SIGTERM)

    hook = register_optimizer_step_post_hook(stop)
    try:
        code, said = _train(*_arguments(place, stopped))
    finally:
        hook.remove()
    if code != (143 if stopped else 0):
        raise RuntimeError(f"training ended with {code}: {said[-2000:]}")
    if not stopped:
        shutil.rmtree(place / "run")


def _go_on(place: Path, stopped: bool) -> tuple[int, str]:
    if stopped:
        return _train("--config", str(place / "run" / "config.resolved.yaml"), "--resume")
    return _train(*_arguments(place, stopped))


def _outcome(place: Path) -> Any:
    folder = place / "run"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for clock in _CLOCK:
        results.pop(clock)
    return results, *(
        (folder / name).read_bytes() for name in ("metrics.jsonl", "model/model.safetensors")
    )


def _target(name: str, files: str, stopped: bool = False) -> Target:
    return Target(
        name,
        lambda place, seed: _begin(place, seed, stopped),
        (files,),
        lambda place: _go_on(place, stopped),
        _outcome,
    )


TRAINING_TARGETS = [
    _target("checkpoints", "run/checkpoints/**/*", stopped=True),
    _target("sentence-labels", "cache/sentence-labels-*"),
    _target("vectors", "cache/vectors-*/*"),
]
