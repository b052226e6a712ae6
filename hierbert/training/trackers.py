"""Where the figures of a run go: metrics.jsonl always, other trackers through Accelerate."""

import importlib.util
import json
import math
import os
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hierbert.cache import reason, write_whole
from hierbert.errors import ConfigError, RunError


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

    def forget_after(self, step: int) -> None:
        """Drop lines of steps that are about to be done again.

        Args:
            step: The last step that counts.

        Raises:
            RunError: The file cannot be written.
        """
        if not self.accelerator.is_main_process or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line).get("step", 0) <= step:
                    kept.append(line)
            except ValueError:
                # The line that was being written when the run was killed.
                continue
        text = "".join(line + "\n" for line in kept)
        try:
            write_whole(self.path, lambda aside: _write_text(aside, text))
        except OSError as error:
            raise self._not_writable(error) from error

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


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
