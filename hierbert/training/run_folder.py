"""The run folder: made once, never overwritten silently, with the settings that made it.

config.resolved.yaml  documents.jsonl  metrics.jsonl  checkpoints/  model/  results.json; where they
are needed probed.json, encoding.jsonl, changes.jsonl; .lock while a process works in it
"""

import contextlib
import fnmatch
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError

from hierbert.cache import sync_folder, write_folder_whole, write_whole
from hierbert.config import RunConfig
from hierbert.config_loading import dump_config
from hierbert.errors import RunError, error_text
from hierbert.locks import LOCK, FolderLock
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.progress import say
from hierbert.publishing.checkpoint import complete_folder
from hierbert.training.checkpoints import raise_together
from hierbert.training.resolved import RESOLVED, read_resolved

PROBED = "probed.json"
# No number of a run depends on where it or its cache is, on how much memory it takes (a full disk,
# or a run that was ended for its memory, may ask for other values), or on where its model goes.
_CHANGEABLE = re.compile(
    r"run_dir$|training\.(cache_dir|cache_limit_gib|memory|memory_budget_gib|trackers)$|publish\."
)
# With these changed, the weights of a checkpoint would not fit, or mean something else. Whether an
# encoder of another name is another one is known when it has been read.
_FIXED = re.compile(
    r"model\.(pooling|aggregator_layers|sentence_layers|attention_heads)$|"
    r"data\.label_type$|training\.(freeze_encoder|trained_encoder_layers)$"
)
# Naming another column is allowed; with none, a head is missing.
_HEADS = ("data.label_column", "data.summary_column")
# What is being written has the name it will get, and a dot before it.
_REMAINS = (
    ".model.*",
    ".metrics.jsonl.*",
    ".wandb_id.txt.*",
    ".probed.json.*",
    ".results.json.*",
    ".documents.jsonl.*",
    ".encoding.jsonl.*",
    f".{RESOLVED}.*",
    "checkpoints/.best_step_*",
    "checkpoints/.step_*",
)


def check_run_folder(
    config: RunConfig, resume: bool, allow_changes: bool = False
) -> dict[str, tuple[Any, Any]]:
    """Refuse a folder that holds something else, before anything costs time.

    Args:
        config: Names the folder.
        resume: Whether to go on in it.
        allow_changes: Whether with other settings than it began with.

    Returns:
        Settings that are not what they were, by name: before and now.

    Raises:
        RunError: It holds another run, there is none to go on with, the settings there are
            damaged, or settings differ that must not.
    """
    folder = Path(config.run_dir)
    saved = folder / RESOLVED
    if not resume:
        if folder.exists() and not folder.is_dir():
            raise RunError(f"run_dir={folder} is a file; name a new folder")
        if folder.is_dir() and _holds_something(folder):
            hint = "go on with --resume, or " if saved.is_file() else ""
            raise RunError(
                f"run_dir={folder} holds something already; {hint}name another folder "
                f"(run_dir={folder}-2) or remove it"
            )
        _check_writable(folder)
        return {}
    if not saved.is_file():
        if folder.is_dir() and _holds_something(folder):
            raise RunError(f"--resume: {folder} holds no run ({RESOLVED} is missing)")
        _check_writable(folder)
        return {}
    before, now = _flat(asdict(read_resolved(saved))), _flat(asdict(config))
    changed = {
        key: (before[key], now[key])
        for key in now
        if now[key] != before[key] and not _CHANGEABLE.match(key)
    }
    fixed = {
        key: values
        for key, values in changed.items()
        if _FIXED.match(key) or (key in _HEADS and None in values)
    }
    if fixed and allow_changes:
        raise RunError(
            f"--allow-changes: the weights in {folder} would not fit: {_shown(fixed)}; put that "
            "back, or start anew with another run_dir"
        )
    if changed and not allow_changes:
        raise RunError(
            f"--resume: settings differ from those of {folder}: {_shown(changed)}; put them back "
            f"(or give --config {saved} alone), go on with them all the same by --resume "
            "--allow-changes, or start anew with another run_dir"
        )
    return changed


def settings_print(config: RunConfig) -> str:
    """Hash of the settings that a run's numbers may depend on."""
    values = {k: v for k, v in _flat(asdict(config)).items() if not _CHANGEABLE.match(k)}
    text = json.dumps(values, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@contextlib.contextmanager
def run_lock(config: RunConfig, accelerator: Accelerator) -> Iterator[None]:
    """Keep other live runs out of the folder; the first process holds the lock for all.

    Args:
        config: Names the folder.
        accelerator: The run's.

    Raises:
        RunError: Another live process works there, on every process.
    """
    problem = None
    with contextlib.ExitStack() as stack:
        if accelerator.is_main_process:
            lock = FolderLock(Path(config.run_dir), f"run_dir={config.run_dir}")
            try:
                stack.enter_context(lock)
            except RunError as error:
                problem = str(error)
        raise_together(problem)
        yield


def open_run_folder(
    config: RunConfig, accelerator: Accelerator, resume: bool, allow_changes: bool = False
) -> tuple[Path, dict[str, tuple[Any, Any]]]:
    """Make the folder and write the settings into it.

    Args:
        config: All settings.
        accelerator: The first process writes.
        resume: Whether to go on in it.
        allow_changes: Whether with other settings than it began with.

    Returns:
        The folder, and the settings that are not what they were, by name: before and now.

    Raises:
        RunError: It cannot be used or written.
    """
    folder = Path(config.run_dir)
    # Each process looks before the first one writes.
    changed = check_run_folder(config, resume, allow_changes)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process and not (folder / RESOLVED).is_file():
        if resume:
            say(f"--resume: there is no run in {folder} yet: starting a new run there")
        try:
            settings = dump_config(config)
            # First of all: from here on the folder is a run's, which --resume goes on with.
            write_whole(folder / RESOLVED, lambda aside: _write_text(aside, settings))
            sync_folder(folder.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise RunError(f"run_dir={folder} cannot be written: {error_text(error)}") from error
    if accelerator.is_main_process:
        _remove_remains(folder)
    accelerator.wait_for_everyone()
    return folder, changed


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
        raise _not_probed(path, error_text(error)) from error
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
            f"{folder / PROBED} cannot be written: {error_text(error)}; mend that and go on with "
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

    def write(aside: Path) -> None:
        state = accelerator.unwrap_model(model).state_dict()
        model.save_pretrained(aside, state_dict=state)
        processor.save_pretrained(aside)
        complete_folder(aside)

    try:
        write_folder_whole(target, write)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{target} cannot be written: {error_text(error)}; mend that and go on with --resume"
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


def _shown(changed: dict[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{key}: {old} -> {new}" for key, (old, new) in changed.items())


def _holds_something(folder: Path) -> bool:
    """Whether there is more in a folder than a process leaves that was killed at once."""
    return any(
        path.name != LOCK
        and not fnmatch.fnmatchcase(path.name, f".{RESOLVED}.*")
        and not (path.name == "checkpoints" and path.is_dir() and not any(path.iterdir()))
        for path in folder.iterdir()
    )


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
            f"run_dir={folder} cannot be written: {there}: {error_text(error)}; name another folder"
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
