"""Small runs of training through the command line alone, and what is compared of them.

Nothing here knows hierbert's own modules, so that tests of what a user sees outlive their moves.
"""

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from commands import run, write_jsonl
from conftest import make_rows
from safetensors.torch import load_file
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

Settings = Callable[..., list[str]]

SMALL = {
    "data.label_column": "label",
    "model.aggregator_layers": "1",
    "segmentation.max_tokens_per_segment": "32",
    "training.documents_per_batch": "4",
    "training.epochs": "2",
    # Large enough that a lost or doubled step shows.
    "training.encoder_learning_rate": "1e-3",
    "training.head_learning_rate": "1e-2",
    "baselines": "false",
    "show_sample": "false",
    "report": "none",
}


def small_run(folder: Path, encoder: Path) -> Settings:
    """What makes the arguments of a run of 6 steps in 2 epochs, with dropout; to `folder / run`.

    Its documents are written to train.jsonl (11), validation.jsonl (4) and test.jsonl (5).
    Arguments of the result replace those of the same name, ``key=`` alone leaves one out.
    """
    parts = {"train": 11, "validation": 4, "test": 5}
    paths = {
        f"data.{name}": write_jsonl(folder / f"{name}.jsonl", make_rows(count, seed=seed))
        for seed, (name, count) in enumerate(parts.items(), start=1)
    }
    common = {**paths, "model.encoder": encoder, "run_dir": folder / "run", **SMALL}

    def build(*more: str) -> list[str]:
        changed = dict(item.split("=", 1) for item in more if not item.startswith("-"))
        flags = [item for item in more if item.startswith("-")]
        merged = {key: str(value) for key, value in {**common, **changed}.items()}
        return [f"{key}={value}" for key, value in merged.items() if value] + flags

    return build


def printed_config(*arguments: str | Path) -> dict[str, Any]:
    """The settings that ``--print-config`` prints, by dotted name."""
    done = run("train.py", *arguments, "--print-config", here=True)
    assert done.returncode == 0, done.stderr
    return flat(yaml.safe_load(done.stdout))


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict) and value  # an empty one is the value of a setting
        found |= flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return found


def results_of(folder: Path) -> dict[str, Any]:
    """What results.json of a run holds."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def bits_of(folder: Path) -> dict[str, bytes]:
    """The weights of a run's model, to the last bit."""
    tensors = load_file(folder / "model" / "model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def outcome(folder: Path) -> dict[str, Any]:
    """What no interruption may change: weights, metrics, results but for the clock."""
    results = results_of(folder)
    for name in ("seconds", "resources", "environment"):
        results.pop(name)
    metrics = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return {"weights": bits_of(folder), "metrics": metrics, "results": results}


def content_of(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Every file of a folder with its bytes and the time of its last change."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@contextlib.contextmanager
def at_step(number: int, do: Callable[[], Any]) -> Iterator[None]:
    """Do something once, in the optimizer's step of this number, counted from here."""
    steps = 0

    def hook(*_: Optimizer | Any) -> None:
        nonlocal steps
        steps += 1
        if steps == number:
            do()

    handle = register_optimizer_step_post_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def signal_at_step(number: int, name: int) -> contextlib.AbstractContextManager[None]:
    """Send this process a signal in the optimizer's step of this number."""
    # To this thread: another one might be given it, and be scheduled a step later.
    return at_step(number, lambda: signal.raise_signal(name))
