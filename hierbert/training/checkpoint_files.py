"""The folders and files of checkpoints: their names, their seals, which are whole, which go.

A checkpoint is a folder step_N (step_N_2 where that step has been saved before) with a state.json
that holds size and SHA-256 of every other file, and of itself. It says nothing about models.

Invariant: what `read_sealed` returns is what was written, to the last bit, or it raises.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from hierbert.errors import error_text
from hierbert.files import write_whole

STATE = "state.json"
WEIGHTS = "weights.safetensors"
_FORMAT = 3
_NAME = re.compile(r"step_(\d{8,})(?:_(\d+))?")
_BEST = "best_step_{:08d}.safetensors"
_BEST_NAME = re.compile(r"best_step_\d{8,}\.safetensors")


class DamagedError(Exception):
    """A checkpoint that is not whole; the message says what is wrong with it."""


def find_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run by their names, whole or not, oldest first."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            found.append((int(match[1]), int(match[2] or 1), path))
    return [path for _, _, path in sorted(found)]


def new_checkpoint(folder: Path, step: int) -> Path:
    """A name for a checkpoint of a step that is not taken and sorts after those that are."""
    numbers = [0]
    for path in find_checkpoints(folder):
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) == step:
            numbers.append(int(match[2] or 1))
    number = max(numbers) + 1
    return folder / (f"step_{step:08d}" + (f"_{number}" if number > 1 else ""))


def write_best(folder: Path, step: int, write: Callable[[Path], None]) -> dict[str, Any]:
    """Write the best weights so far beside those that checkpoints may still need.

    Args:
        folder: Of the checkpoints.
        step: Whose weights they are.
        write: Writes them to the path it is given.

    Returns:
        What a state keeps to find the file again and to know it: name, bytes, sha256.

    Raises:
        OSError: The file cannot be written.
    """
    path = folder / _BEST.format(step)
    write_whole(path, write)
    return {"name": path.name, **_known(path)}


def check_best(folder: Path, entry: dict[str, Any]) -> Path:
    """The file that `write_best` wrote.

    Args:
        folder: Of the checkpoints.
        entry: What `write_best` returned.

    Returns:
        Its path.

    Raises:
        DamagedError: It is not there, or not as it was written.
    """
    name = entry.get("name")
    if not isinstance(name, str) or not _BEST_NAME.fullmatch(name):
        raise DamagedError(f"it names no file of best weights, but {name!r:.60}")
    _check_file(folder / name, entry)
    return folder / name


def mend_best(folder: Path, entry: dict[str, Any]) -> Path | None:
    """Write a file of best weights anew, from a checkpoint that holds the same weights.

    Args:
        folder: Of the checkpoints.
        entry: What `write_best` returned.

    Returns:
        The checkpoint; None where there is none with those weights, to the last bit, or the file
        cannot be written.
    """
    name = entry.get("name")
    if not isinstance(name, str) or not _BEST_NAME.fullmatch(name):
        return None
    for path in find_checkpoints(folder):
        try:
            weights = path / WEIGHTS
            _check_file(weights, entry)
            write_whole(folder / name, partial(_copy, weights))
        except (DamagedError, OSError, KeyError):
            continue
        return path
    return None


def seal(folder: Path, content: dict[str, Any]) -> None:
    """Write state.json over the files of a checkpoint, which are all there.

    Args:
        folder: Of the checkpoint, not yet under its name.
        content: JSON; "format", "files" and "sha256" are added.

    Raises:
        OSError: It cannot be written.
    """
    files = {path.name: _known(path) for path in sorted(folder.iterdir())}
    sealed = {"format": _FORMAT, **content, "files": files}
    sealed["sha256"] = _hash_of_json(sealed)
    (folder / STATE).write_text(json.dumps(sealed, indent=1) + "\n", encoding="utf-8")


def read_sealed(path: Path) -> dict[str, Any]:
    """What `seal` was given, when every file is still as it was.

    Args:
        path: A checkpoint's folder.

    Returns:
        The content.

    Raises:
        DamagedError: A file is missing or another than was written.
    """
    try:
        content = json.loads((path / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DamagedError(f"{STATE} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{STATE} cannot be read: {error_text(error)}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise DamagedError(f"{STATE} is not of this version of hierbert")
    if content.pop("sha256", None) != _hash_of_json(content):
        raise DamagedError(f"{STATE} is not as it was written (its sha256 differs)")
    files = content.pop("files")
    del content["format"]
    for name, entry in files.items():
        _check_file(path / name, entry)
    return content


def prune(folder: Path, newest: Path, keep: int, superseded: Iterable[Path]) -> None:
    """Remove what no resume will need.

    Args:
        folder: Of the checkpoints.
        newest: Just written.
        keep: Newest checkpoints that stay.
        superseded: Those that `newest` stands in for: damaged ones, and whatever came after the
            one that the run was resumed from.
    """
    for path in superseded:
        shutil.rmtree(path, ignore_errors=True)
    found = find_checkpoints(folder)
    kept = found[: found.index(newest) + 1][-keep:]
    for path in [path for path in found if path not in kept]:
        shutil.rmtree(path, ignore_errors=True)
    needed = set()
    for path in kept:
        try:
            content = json.loads((path / STATE).read_text(encoding="utf-8"))
            needed.add(content["state"]["best_file"].get("name"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # What a damaged one needs cannot be said, and nothing can be made of it.
            continue
    for best in folder.glob("best_step_*.safetensors"):
        if best.name not in needed:
            best.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _known(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _check_file(path: Path, entry: dict[str, Any]) -> None:
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise DamagedError(f"{path.name} has {size:,} bytes, not {entry['bytes']:,}")
        if _known(path)["sha256"] != entry["sha256"]:
            raise DamagedError(f"{path.name} is not as it was written (its sha256 differs)")
    except FileNotFoundError as error:
        raise DamagedError(f"{path.name} is missing") from error
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read: {error_text(error)}") from error


def _hash_of_json(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
