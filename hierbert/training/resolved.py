"""The settings that a run folder keeps: read back, also where the folder has been moved.

Invariant: what is read is what was written, to its last section, or the file is called damaged.
"""

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hierbert.config import RunConfig
from hierbert.config_loading import load_config
from hierbert.errors import ConfigError, RunError, error_text
from hierbert.progress import say

RESOLVED = "config.resolved.yaml"
# One of them is there as soon as a run has begun to work in its folder.
_OF_A_RUN = ("documents.jsonl", "probed.json", "checkpoints")


def read_resolved(path: Path) -> RunConfig:
    """The settings of a run.

    Args:
        path: Its config.resolved.yaml.

    Returns:
        All of them.

    Raises:
        RunError: The file is damaged; the message says what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # Written last: with it the whole file is there.
        last = fields(RunConfig)[-1].name
        if not text.endswith("\n") or not re.search(rf"^{last}:", text, re.MULTILINE):
            raise _damaged(path, "its end is missing" if text.strip() else "it is empty")
        return load_config(RunConfig, path)
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise _damaged(path, error_text(error)) from error


def load_resumed(path: Path | None, overrides: Sequence[str]) -> RunConfig:
    """The settings of a run that goes on, by the command line.

    Args:
        path: Of ``--config``. Where it is the config.resolved.yaml of a run folder, that folder is
            the run's, wherever it was when the run began.
        overrides: As for `load_config`; a run_dir among them is taken as it is.

    Returns:
        The settings.

    Raises:
        ConfigError: As `load_config` raises it.
        RunError: The file is a run's and damaged.
    """
    is_of_run = path is not None and path.name == RESOLVED and path.is_file()
    if path is not None and is_of_run:
        read_resolved(path)
    config = load_config(RunConfig, path, overrides)
    given = any(override.partition("=")[0].strip() == "run_dir" for override in overrides)
    if path is None or not is_of_run or given:
        return config
    here, before = path.parent, config.run_dir
    if (
        any((here / name).exists() for name in _OF_A_RUN)
        and here.resolve() != Path(before).resolve()
    ):
        config.run_dir = str(here)
        say(f"run_dir={here}: the run is where its {RESOLVED} is, not in {before} any more")
    return config


def _damaged(path: Path, why: str) -> RunError:
    return RunError(
        f"{path} is damaged: {why}; put the settings back that the run began with (train.py with "
        "those settings and --print-config prints such a file), or start anew with another run_dir"
    )
