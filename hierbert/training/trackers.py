"""Where the figures of a run go: metrics.jsonl always, other trackers through Accelerate."""

import importlib.util
import json
import math
import os
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.cache import reason, write_whole
from hierbert.errors import ConfigError, RunError
from hierbert.progress import say
from hierbert.training.checkpoints import raise_together


class Trackers:
    """Writes figures on the first process only.

    Args:
        path: The run's metrics.jsonl; lines are appended.
        accelerator: With the other trackers initialized.
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
            try:
                with self.path.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(json.dumps(values) + "\n")
                    file.flush()
                    # A checkpoint that follows must not outlast it in a power cut.
                    os.fsync(file.fileno())
            except OSError as error:
                raise self._not_writable(error) from error
        numbers = {
            name: value for name, value in values.items() if name != "step" and value is not None
        }
        self.accelerator.log(numbers, step=values.get("step"))

    def keep(self, lines: int, step: int) -> int:
        """Drop the lines of what is about to be done again; every process takes part.

        Args:
            lines: How many there were when the state was saved that the run goes on from.
            step: Of that state.

        Returns:
            How many there are now: those of them that are whole. Others are said and dropped.

        Raises:
            RunError: The file cannot be read or written, on every process.
        """
        kept, problem = [], None
        if self.accelerator.is_main_process and self.path.exists():
            try:
                for line in self.path.read_bytes().split(b"\n")[:lines]:
                    if _is_whole(line):
                        # A file that was shortened by damage may go on with a line too late.
                        if json.loads(line)["step"] <= step:
                            kept.append(line)
                    elif line:
                        say(f"warning: {self.path}: a damaged line is dropped: {line!r:.60}")
                text = b"".join(line + b"\n" for line in kept)
                write_whole(self.path, lambda aside: _write_bytes(aside, text))
            except OSError as error:
                problem = str(self._not_writable(error))
        raise_together(problem)
        return gather_object([len(kept)])[0]

    def _not_writable(self, error: OSError) -> RunError:
        return RunError(
            f"{self.path} cannot be written: {reason(error)}; mend that and go on with --resume"
        )


def require_installed(trackers: list[str]) -> None:
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


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
