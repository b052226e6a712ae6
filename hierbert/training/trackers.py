"""Where the figures of a run go: metrics.jsonl always, other trackers through Accelerate."""

import importlib.util
import json
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hierbert.errors import ConfigError, RunError, error_text
from hierbert.files import write_bytes, write_text
from hierbert.log import log
from hierbert.scoring import shown_metrics
from hierbert.training.processes import on_first_process
from hierbert.training.run_folder import writing


class Trackers:
    """Writes figures on the first process, to metrics.jsonl and to the accelerator's trackers."""

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        self.path = path
        self.accelerator = accelerator

    def log(self, values: dict[str, Any]) -> None:
        """Append a line of figures by name, "step" among them, and tell the other trackers.

        What is not finite is null in the line, and the others do not hear of it. A RunError where
        the line cannot be written.
        """
        known = {name: value for name, value in values.items() if math.isfinite(value)}
        if self.accelerator.is_main_process:
            with writing(self.path), self.path.open("ab") as file:
                # JSON has no word for what is not finite.
                file.write(json.dumps(dict.fromkeys(values) | known).encode() + b"\n")
                file.flush()
                # A checkpoint that follows must not outlast it in a power cut.
                os.fsync(file.fileno())
        step = known.pop("step")
        self.accelerator.log(known, step=step)

    def begin(self, first: int) -> None:
        """Drop the lines from step `first` on, which are yet to come, and start the other trackers.

        A RunError, on every process, where the file cannot be read or written, or another tracker
        does not start.
        """

        def begin_here() -> None:
            with writing(self.path):
                if self.path.exists():
                    kept = []
                    for line in self.path.read_bytes().split(b"\n"):
                        step = _step_of(line)
                        if step is not None and step < first:
                            kept.append(line + b"\n")
                        elif line and step is None:
                            log.warning(f"{self.path}: a damaged line is dropped: {line!r:.60}")
                    write_bytes(self.path, b"".join(kept))
            if self.accelerator.log_with:
                self._start_others(first)

        on_first_process(self.accelerator, begin_here)

    def _start_others(self, first: int) -> None:
        names = [str(getattr(kind, "value", kind)) for kind in self.accelerator.log_with]
        id_file = self.path.with_name("wandb_id.txt")
        # TensorBoard hides what it has of later steps, W&B goes on with the run of this folder.
        options: dict[str, dict[str, Any]] = {"tensorboard": {"purge_step": first}}
        try:
            if "wandb" in names:
                if not id_file.is_file():
                    write_text(id_file, uuid.uuid4().hex[:8])
                options["wandb"] = {
                    "id": id_file.read_text(encoding="utf-8").strip(),
                    "resume": "allow",
                    "name": self.path.parent.resolve().name,
                    "dir": str(self.path.parent),
                }
            self.accelerator.init_trackers("hierbert", init_kwargs=options)
        # What their libraries fail with has no common class.
        except Exception as error:
            line = f"training.trackers={', '.join(names)} cannot be started: {error_text(error)}"
            if "wandb" in names:
                line += f"; W&B begins a new run where {id_file} is removed"
            raise RunError(line) from error


def line_text(line: Mapping[str, Any]) -> str:
    """A line of metrics.jsonl for people."""
    scores = {name.removeprefix("validation."): value for name, value in line.items()}
    names = ["loss", *(metric.name for metric in shown_metrics(scores) if metric.headline)]
    shown = [f"{name} {scores[name]:.4f}" for name in names if scores.get(name) is not None]
    return (
        f"epoch {line['epoch']:g}, step {line['step']}: train loss "
        f"{line.get('train.loss', math.nan):.4f}; validation {', '.join(shown)}"
        + (" (best)" if line["best"] else "")
    )


def require_installed(trackers: Sequence[str]) -> None:
    """Refuse trackers that are not installed, by a ConfigError that names the package."""
    for name in trackers:
        packages = ("tensorboard", "tensorboardX") if name == "tensorboard" else (name,)
        if not any(importlib.util.find_spec(package) for package in packages):
            raise ConfigError(
                f"training.trackers has {name}, which is not installed: pip install {name}"
            )


def _step_of(line: bytes) -> int | None:
    """The step of a line of metrics; None of one that is damaged."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return step if type(step) is int else None
