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

_PROJECT = "hierbert"
_WANDB_ID = "wandb_id.txt"


class Trackers:
    """Writes figures on the first process only.

    Args:
        path: The run's metrics.jsonl; lines are appended.
        accelerator: Knows which other trackers there are; `begin` starts them.
    """

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        self.path = path
        self.accelerator = accelerator

    def log(self, values: dict[str, Any]) -> None:
        """Append a line, and tell the other trackers.

        Args:
            values: Figures by name; "step" is the optimizer step. What is not finite becomes null,
                and the other trackers do not hear of it.

        Raises:
            RunError: The line cannot be written.
        """
        # JSON has no word for them.
        values = {name: value if _is_finite(value) else None for name, value in values.items()}
        if self.accelerator.is_main_process:
            with (
                writing(self.path),
                self.path.open("a", encoding="utf-8", newline="\n") as file,
            ):
                file.write(json.dumps(values) + "\n")
                file.flush()
                # A checkpoint that follows must not outlast it in a power cut.
                os.fsync(file.fileno())
        numbers = {
            name: value for name, value in values.items() if name != "step" and value is not None
        }
        self.accelerator.log(numbers, step=values.get("step"))

    def begin(self, lines: int, step: int, evaluation_due: bool = False) -> int:
        """Drop the lines of what is about to be done again, and start the other trackers.

        TensorBoard hides what it has of later steps, W&B goes on with the run of this folder.
        Every process takes part.

        Args:
            lines: How many there were when the state was saved that the run goes on from.
            step: Of that state.
            evaluation_due: Whether that state is yet to be evaluated at its step.

        Returns:
            How many there are now: those of them that are whole. Others are said and dropped.

        Raises:
            RunError: The file cannot be read or written, or another tracker does not start; on
                every process.
        """

        def begin_here() -> int:
            kept = []
            with writing(self.path):
                if self.path.exists():
                    for line in self.path.read_bytes().split(b"\n")[:lines]:
                        if _is_whole(line):
                            # A file shortened by damage may go on with a line too late.
                            if json.loads(line)["step"] <= step:
                                kept.append(line + b"\n")
                        elif line:
                            log.warning(f"{self.path}: a damaged line is dropped: {line!r:.60}")
                    write_bytes(self.path, b"".join(kept))
            if self.accelerator.log_with:
                self._start_others(step if evaluation_due else step + 1)
            return len(kept)

        return on_first_process(self.accelerator, begin_here)

    def _start_others(self, step: int) -> None:
        """Start them for what comes from a step on."""
        names = [str(getattr(kind, "value", kind)) for kind in self.accelerator.log_with]
        try:
            options: dict[str, dict[str, Any]] = {"tensorboard": {"purge_step": step}}
            if "wandb" in names:
                options["wandb"] = {
                    "id": self._wandb_id(),
                    "resume": "allow",
                    "name": self.path.parent.resolve().name,
                    "dir": str(self.path.parent),
                }
            self.accelerator.init_trackers(_PROJECT, init_kwargs=options)
        # What their libraries fail with has no common class.
        except Exception as error:
            line = f"training.trackers={', '.join(names)} cannot be started: {error_text(error)}"
            if "wandb" in names:
                line += f"; W&B begins a new run where {self.path.with_name(_WANDB_ID)} is removed"
            raise RunError(line) from error

    def _wandb_id(self) -> str:
        """By which W&B knows the run of this folder, the same after a resume."""
        path = self.path.with_name(_WANDB_ID)
        if not path.is_file():
            write_text(path, uuid.uuid4().hex[:8])
        return path.read_text(encoding="utf-8").strip()


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
    """Refuse trackers that are not installed, before anything costs time.

    Raises:
        ConfigError: Names the package to install.
    """
    for name in trackers:
        packages = ("tensorboard", "tensorboardX") if name == "tensorboard" else (name,)
        if not any(importlib.util.find_spec(package) for package in packages):
            raise ConfigError(
                f"training.trackers has {name}, which is not installed: pip install {name}"
            )


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _is_whole(line: bytes) -> bool:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and type(values.get("step")) is int
