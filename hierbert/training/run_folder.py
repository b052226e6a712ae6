"""The run folder: made once, never overwritten silently, with the settings that made it.

config.resolved.yaml  documents.jsonl  metrics.jsonl  checkpoints/  model/  answers.jsonl
results.json  report.html  report.md; where they are needed probed.json; .lock while a process works
in it
"""

import contextlib
import fnmatch
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierbert import files
from hierbert.config import RunConfig
from hierbert.errors import ConfigError, RunError, error_text
from hierbert.files import LOCK, FolderLock, sync_folder, write_text
from hierbert.log import log
from hierbert.settings import dump_config, load_config
from hierbert.settings_text import walk
from hierbert.training.processes import on_first_process

if TYPE_CHECKING:
    from accelerate import Accelerator

RESOLVED = "config.resolved.yaml"
DOCUMENTS = "documents.jsonl"
PROBED = "probed.json"
# A resume may have other values of these: no number of a run depends on where it, its cache or its
# model is, on how much memory it takes (a run that was ended for its memory, or by a full disk,
# may ask for other values), on what is shown of it, or on how often it can be resumed. A run that
# has met nothing that is not finite is the same whatever it would do about it. Documents and the
# encoder may have moved: they are compared by their content.
_MAY_DIFFER = re.compile(
    r"run_dir|show_sample|check_data|baselines|report|publish\..*|data\.(train|validation|test)"
    r"|model\.(encoder|encoder_revision|start_from)|training\.(cache_dir|cache_limit_gib|memory"
    r"|memory_budget_gib|checkpoint_every_steps|keep_checkpoints|on_nonfinite_loss|trackers)"
)
# One of them is there as soon as a run has begun to work in its folder.
_OF_A_RUN = (DOCUMENTS, PROBED, "checkpoints")
# Each has the name it will get, and a dot before it, as long as it is being written.
_FILES = (
    *(RESOLVED, DOCUMENTS, PROBED, "metrics.jsonl", "wandb_id.txt"),
    *("results.json", "answers.jsonl", "report.html", "report.md"),
    *("model", "checkpoints/best_step_*", "checkpoints/step_*"),
)


def load_resumed(path: Path | None, overrides: Sequence[str]) -> RunConfig:
    """The settings of a run that goes on, as `load_config` reads them.

    Where `path` is the config.resolved.yaml of a run folder and no override names a run_dir, that
    folder is the run's, wherever it was when the run began. A RunError where it is a run's and
    damaged.
    """
    if path is None or path.name != RESOLVED or not path.is_file():
        return load_config(RunConfig, path, overrides)
    _read_resolved(path)
    config = load_config(RunConfig, path, overrides)
    given = any(override.partition("=")[0].strip() == "run_dir" for override in overrides)
    here, before = path.parent, Path(config.run_dir)
    is_run = any((here / name).exists() for name in _OF_A_RUN)
    if is_run and not given and here.resolve() != before.resolve():
        config.run_dir = str(here)
        log.info(f"run_dir={here}: the run is where its {RESOLVED} is, not in {before} any more")
    return config


def check_run_folder(config: RunConfig, resume: bool) -> None:
    """Refuse a folder that holds something else, before anything costs time.

    A RunError where it holds another run, there is none to go on with, the settings there are
    damaged, or settings differ that numbers may depend on.
    """
    folder = Path(config.run_dir)
    saved = folder / RESOLVED
    holds_something = folder.is_dir() and _holds_something(folder)
    if not resume and folder.exists() and not folder.is_dir():
        raise RunError(f"run_dir={folder} is a file; name a new folder")
    if not resume and holds_something:
        hint = "go on with --resume, or " if saved.is_file() else ""
        raise RunError(
            f"run_dir={folder} holds something already; {hint}name another folder "
            f"(run_dir={shlex.quote(f'{folder}-2')}) or remove it"
        )
    if holds_something and not saved.is_file():
        raise RunError(f"--resume: {folder} holds no run ({RESOLVED} is missing)")
    if not saved.is_file():
        return
    if (folder / "changes.jsonl").is_file():
        raise RunError(
            f"--resume: {folder} was changed on its way by --allow-changes of an earlier version, "
            f"so that it cannot go on exactly; {other_ways(folder)}"
        )
    before = _read_resolved(saved)
    differing = []
    for key, item in walk(RunConfig):
        old, new = attrgetter(key)(before), attrgetter(key)(config)
        if item.section is None and old != new and not _MAY_DIFFER.fullmatch(key):
            differing.append(f"{key}: {old} -> {new}")
    if differing:
        raise RunError(
            f"--resume: settings differ from those of {folder}: {'; '.join(differing)}; "
            f"{other_ways(folder)} (--config {shlex.quote(str(saved))} alone has its settings)"
        )


def other_ways(folder: Path) -> str:
    """What a user can do whose run is not the one that a folder holds."""
    there = "" if (folder / "model").is_dir() else ", once the run has ended"
    return (
        "put that back, or begin a new run in another run_dir, which starts from the weights of "
        f"this one with model.start_from={shlex.quote(str(folder / 'model'))}{there}"
    )


def writing(place: Path | str) -> contextlib.AbstractContextManager[None]:
    """Say in one line, as a RunError, that a file of a run could not be written in this context."""
    return files.writing(place, "; mend that and go on with --resume")


def _read_resolved(path: Path) -> RunConfig:
    """The settings that a run has written, to the last section; a RunError if it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
        # Written last: with it the whole file is there.
        last = fields(RunConfig)[-1].name
        if text.endswith("\n") and re.search(rf"^{last}:", text, re.MULTILINE):
            return load_config(RunConfig, path)
        why = "its end is missing" if text.strip() else "it is empty"
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        why = error_text(error)
    raise RunError(
        f"{path} is damaged: {why}; put the settings back that the run began with (train.py with "
        "those settings and --print-config prints such a file), or start anew with another run_dir"
    )


@contextlib.contextmanager
def run_lock(config: RunConfig, accelerator: "Accelerator") -> Iterator[None]:
    """Keep other live runs out of the folder, by a RunError; the first process locks for all."""
    lock = FolderLock(Path(config.run_dir), f"run_dir={config.run_dir}")
    with contextlib.ExitStack() as stack:

        def take() -> None:
            stack.enter_context(lock)

        on_first_process(accelerator, take)
        yield


def open_run_folder(config: RunConfig, accelerator: "Accelerator", resume: bool) -> Path:
    """Make the folder where it is not there, and write the settings into it; or a RunError."""
    folder = Path(config.run_dir)
    # Each process looks before the first one writes.
    check_run_folder(config, resume)
    accelerator.wait_for_everyone()

    def make() -> None:
        if not (folder / RESOLVED).is_file():
            if resume:
                log.info(f"--resume: there is no run in {folder} yet: starting a new run there")
            with writing(f"run_dir={folder}"):
                try:
                    # First of all: from here on the folder is a run's, to go on with.
                    write_text(folder / RESOLVED, dump_config(config))
                    sync_folder(folder.parent)
                except OSError:
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                    raise
        _remove_remains(folder)

    on_first_process(accelerator, make)
    return folder


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _holds_something(folder: Path) -> bool:
    """Whether there is more in a folder than a process leaves that was killed at once."""
    return any(
        path.name != LOCK
        and not fnmatch.fnmatchcase(path.name, f".{RESOLVED}.*")
        and not (path.name == "checkpoints" and path.is_dir() and not any(path.iterdir()))
        for path in folder.iterdir()
    )


def _remove_remains(folder: Path) -> None:
    """Remove what a killed run was writing: under the name it was to get, after a dot."""
    for name in _FILES:
        place = folder / name
        for path in place.parent.glob(f".{place.name}.*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
