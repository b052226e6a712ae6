"""The run folder: made once, never overwritten silently, with the settings that made it.

config.resolved.yaml  metrics.jsonl  checkpoints/  model/  results.json
"""

import os
import shutil
from pathlib import Path

from accelerate import Accelerator

from hierbert.config import RunConfig
from hierbert.config_loading import dump_config, load_config
from hierbert.errors import RunError
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

RESOLVED = "config.resolved.yaml"


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
        return
    if not saved.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"--resume: {folder} holds no run ({RESOLVED} is missing)")
        return
    before = _flat(dump_config(load_config(RunConfig, saved)))
    now = _flat(dump_config(config))
    changed = [key for key in now if now[key] != before.get(key)]
    if changed:
        shown = "; ".join(f"{key}: {before.get(key)} -> {now[key]}" for key in changed)
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
            (folder / RESOLVED).write_text(dump_config(config), encoding="utf-8")
        except OSError as error:
            raise RunError(f"run_dir={folder} cannot be written: {error}") from error
    accelerator.wait_for_everyone()
    return folder


def save_model(
    folder: Path,
    model: HierBertForDocuments,
    processor: HierBertProcessor,
    accelerator: Accelerator,
) -> None:
    """Write the model as `from_pretrained` reads it, beside nothing half-written.

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
        if target.exists():
            shutil.rmtree(target)
        aside.replace(target)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise RunError(f"{target} cannot be written: {error}") from error


def _flat(text: str) -> dict[str, str]:
    """Dumped settings as lines by dotted key; sections are one level deep."""
    values, section = {}, ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, _, value = line.partition(":")
        if not value.strip() and not line.startswith(" "):
            section = key.strip() + "."
            continue
        if not line.startswith(" "):
            section = ""
        values[section + key.strip()] = value.strip()
    return values
