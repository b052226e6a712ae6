"""How much room cached vectors may take on a disk, and what goes when it is used up.

A cache folder holds a folder for each encoder. Files that were not used for the longest go first,
whichever encoder they are of. Invariant: nothing that the running job has used or written goes.
Another job that still reads a removed file goes on reading it: it is mapped into its memory.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
FOLDERS = "vectors-*"
ENDING = ".safetensors"
# Of the disk's free room, the cache's own files counted as free.
_DEFAULT_SHARE = 0.5
# What was not written to its end for so long was left by a process that was killed.
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True)
class _Kept:
    """A file of a cache."""

    path: Path
    used_at: float
    size_bytes: int


def default_limit_bytes(root: Path) -> int:
    """Half of the disk's free room, where the cache's own files count as free.

    Args:
        root: The cache's folder, which exists.

    Returns:
        Bytes.
    """
    return int(_DEFAULT_SHARE * (shutil.disk_usage(root).free + used_bytes(root)))


def used_bytes(root: Path) -> int:
    """Bytes of all encoders' vectors in a cache."""
    return sum(kept.size_bytes for kept in _files(root))


def make_room(root: Path, wanted_bytes: int, limit: int, used_since: float) -> int:
    """Remove what was not used for longest until there is room, or until nothing may go.

    Args:
        root: The cache's folder.
        wanted_bytes: Bytes that are about to be written.
        limit: Most bytes of the whole cache.
        used_since: What was used at this time (seconds since the epoch) or later stays.

    Returns:
        Bytes that may be written; fewer than wanted, maybe below 0, when the limit is reached.
    """
    now = time.time()
    used = 0
    removable = []
    for kept in _files(root):
        if _is_aside(kept.path) and now - kept.used_at > _ABANDONED_SECONDS:
            _remove(kept.path)
            continue
        used += kept.size_bytes
        if not _is_aside(kept.path) and kept.used_at < used_since:
            removable.append(kept)
    for kept in sorted(removable, key=lambda kept: (kept.used_at, str(kept.path))):
        if used + wanted_bytes <= limit:
            break
        if _remove(kept.path):
            used -= kept.size_bytes
    return limit - used


def mark_used(path: Path) -> None:
    """Note on a file that it was used now; a cache that may only be read stays as it is."""
    try:
        os.utime(path)
    except OSError:
        return


def _files(root: Path) -> Iterator[_Kept]:
    for folder in root.glob(FOLDERS):
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if ENDING not in entry.name:
                continue
            try:
                stat = entry.stat()
            except OSError:
                # Another process has just removed or renamed it.
                continue
            yield _Kept(Path(entry.path), stat.st_mtime, stat.st_size)


def _is_aside(path: Path) -> bool:
    """Whether a file is being written: it has a dot before its name (see `write_whole`)."""
    return path.name.startswith(".")


def _remove(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
