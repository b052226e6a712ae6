"""How much room cached vectors may take on a disk, and what goes when it is used up.

A cache folder holds a folder for each encoder. Files that were not used for the longest go first,
whichever encoder they are of. Invariants: nothing that the running job has used or written goes,
and nothing that no cache has written: only plain files of its names in folders of its names, which
no link leads to. Another job that still reads a removed file goes on reading it, or encodes anew.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

GIB = 2**30
ENDING = ".safetensors"
FILE_NAME = re.compile(r"[0-9a-f]{24}" + re.escape(ENDING))
_FOLDER_NAME = re.compile(r"vectors-[0-9a-f]{24}-\w+")
# `write_whole` gives a file a dot before its name, and an ending, until it is whole.
_UNFINISHED = re.compile(rf"\.{FILE_NAME.pattern}\.\w+")
# What was not written to its end for so long was left by a process that was killed.
_ABANDONED_SECONDS = 3600.0


def default_limit_bytes(root: Path) -> int:
    """Half of the disk's free room, where the cache's own files count as free."""
    return (shutil.disk_usage(root).free + used_bytes(root)) // 2


def used_bytes(root: Path, encoder: str | None = None) -> int:
    """Bytes of all encoders' vectors in a cache, or of those in one encoder's folder."""
    return sum(stat.st_size for _, stat in _files(root, encoder))


def make_room(root: Path, wanted_bytes: int, limit: int, used_since: float) -> int:
    """Remove what was not used for longest until there is room, or until nothing may go.

    What was used at `used_since` (seconds since the epoch) or later stays. Gives the bytes that may
    be written: fewer than wanted, maybe below 0, where the limit of the whole cache is reached.
    """
    used = 0
    removable = []
    for path, stat in _files(root):
        used += stat.st_size
        if not path.name.startswith("."):
            if stat.st_mtime < used_since:
                removable.append((stat.st_mtime, path, stat.st_size))
        elif time.time() - stat.st_mtime > _ABANDONED_SECONDS and _remove(path):
            used -= stat.st_size
    for _, path, size in sorted(removable):
        if used + wanted_bytes <= limit:
            break
        if _remove(path):
            used -= size
    return limit - used


def _files(root: Path, encoder: str | None = None) -> Iterator[tuple[Path, os.stat_result]]:
    """Files of vectors, whole or being written; others may remove them meanwhile."""
    names = [encoder] if encoder else os.listdir(root) if root.is_dir() else []
    for folder in (root / name for name in names if _FOLDER_NAME.fullmatch(name)):
        if folder.is_symlink():
            continue
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                is_own = FILE_NAME.fullmatch(entry.name) or _UNFINISHED.fullmatch(entry.name)
                if is_own and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(OSError):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)


def _remove(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False
