"""The run folder: made once, never overwritten silently, with the settings that made it.

config.resolved.yaml  probed.json  metrics.jsonl  checkpoints/  model/  results.json
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError

from hierbert.cache import reason, write_whole
from hierbert.config import RunConfig
from hierbert.config_loading import dump_config, load_config
from hierbert.errors import RunError
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.publishing.checkpoint import complete_folder

RESOLVED = "config.resolved.yaml"
PROBED = "probed.json"
# No number of a run depends on where its cache is, on how much memory it takes (a full disk, or a
# run that was ended for its memory, may ask for other values), or on where its model goes.
_CHANGEABLE = re.compile(
    r"training\.(cache_dir|cache_limit_gib|memory|memory_budget_gib)$|publish\."
)
# What is being written has the name it will get, and a dot before it.
_REMAINS = (
    ".model.*",
    ".metrics.jsonl.*",
    ".probed.json.*",
    ".results.json.*",
    "checkpoints/.best.safetensors.*",
    "checkpoints/.step_*",
)


def check_run_folder(config: RunConfig, resume: bool) -> None:
    """Refuse a folder that holds something else, before anything costs time.

    Args:
        config: Names the folder.
        resume: Whether to go on in it.

    Raises:
        RunError: It holds another run, or there is none to go on with.
    """
    folder = Path(config.run_dir)
    saved = folder / RESOLVED
    if not resume:
        if folder.exists() and not folder.is_dir():
            raise RunError(f"run_dir={folder} is a file; name a new folder")
        if folder.is_dir() and any(folder.iterdir()):
            hint = "go on with --resume, or " if saved.is_file() else ""
            raise RunError(
                f"run_dir={folder} holds something already; {hint}name another folder "
                f"(run_dir={folder}-2) or remove it"
            )
        _check_writable(folder)
        return
    if not saved.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"--resume: {folder} holds no run ({RESOLVED} is missing)")
        _check_writable(folder)
        return
    before, now = _flat(asdict(load_config(RunConfig, saved))), _flat(asdict(config))
    changed = [key for key in now if now[key] != before[key] and not _CHANGEABLE.match(key)]
    if changed:
        shown = "; ".join(f"{key}: {before[key]} -> {now[key]}" for key in changed)
        raise RunError(
            f"--resume: settings differ from those of {folder}: {shown}; put them back (or give "
            f"--config {saved} alone), or start anew with another run_dir"
        )


def open_run_folder(config: RunConfig, accelerator: Accelerator, resume: bool) -> Path:
    """Make the folder and write the settings into it.

    Args:
        config: All settings.
        accelerator: The first process writes.
        resume: Whether to go on in it.

    Returns:
        The folder.

    Raises:
        RunError: It cannot be used or written.
    """
    folder = Path(config.run_dir)
    # Each process looks before the first one writes.
    check_run_folder(config, resume)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and not (folder / RESOLVED).is_file():
        try:
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            settings = dump_config(config)
            write_whole(folder / RESOLVED, lambda aside: _write_text(aside, settings))
        except OSError as error:
            for made in (folder / "checkpoints", folder):
                with contextlib.suppress(OSError):
                    made.rmdir()
            raise RunError(f"run_dir={folder} cannot be written: {reason(error)}") from error
    if accelerator.is_main_process and resume:
        _remove_remains(folder)
    accelerator.wait_for_everyone()
    return folder


def read_probed(folder: Path) -> dict[str, int]:
    """What the run found out for itself about the machine it began on.

    Args:
        folder: The run's folder.

    Returns:
        Numbers by name; none where nothing was probed yet.

    Raises:
        RunError: The file cannot be read.
    """
    path = folder / PROBED
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _not_probed(path, reason(error)) from error
    if not isinstance(content, dict):
        raise _not_probed(path, "it holds no names and numbers")
    for name, value in content.items():
        if type(value) is not int or value < 0:
            raise _not_probed(path, f"{name} is {json.dumps(value)}, not a whole number from 0 up")
    return content


def save_probed(folder: Path, found: dict[str, int]) -> None:
    """Add to what `read_probed` reads; on one process only.

    Args:
        folder: The run's folder.
        found: Numbers by name.

    Raises:
        RunError: The file cannot be read or written.
    """
    text = json.dumps({**read_probed(folder), **found}, indent=1) + "\n"
    try:
        write_whole(folder / PROBED, lambda aside: _write_text(aside, text))
    except OSError as error:
        raise RunError(
            f"{folder / PROBED} cannot be written: {reason(error)}; mend that and go on with "
            "--resume"
        ) from error


def _not_probed(path: Path, why: str) -> RunError:
    return RunError(f"{path} cannot be read: {why}; remove it to probe again")


def save_model(
    folder: Path,
    model: HierBertForDocuments,
    processor: HierBertProcessor,
    accelerator: Accelerator,
) -> None:
    """Write the model as `from_pretrained` reads it, beside nothing half-written.

    Its code travels with it, so that the folder also loads where there is no hierbert.

    Args:
        folder: The run's folder; the model goes to its `model`.
        model: The best weights, on any device.
        processor: Its processor.
        accelerator: The run's.

    Raises:
        RunError: It cannot be written.
    """
    target = folder / "model"
    aside = folder / f".model.{os.getpid()}"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        state = accelerator.unwrap_model(model).state_dict()
        model.save_pretrained(aside, state_dict=state)
        processor.save_pretrained(aside)
        complete_folder(aside)
        if target.exists():
            shutil.rmtree(target)
        aside.replace(target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise RunError(
            f"{target} cannot be written: {reason(error)}; mend that and go on with --resume"
        ) from error


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written; nothing is made yet."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise RunError(
            f"run_dir={folder} cannot be written: {there}: {reason(error)}; name another folder"
        ) from error


def _remove_remains(folder: Path) -> None:
    """Remove what a killed run was writing; it was under names with a leading dot."""
    for pattern in _REMAINS:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    path.write_text(
        text,
        encoding="utf-8",
    )
