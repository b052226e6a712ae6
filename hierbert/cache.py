"""Where results that cost time are kept between runs, and how files and folders get there whole.

A cache may be deleted at any time; nothing depends on it but time. Invariant: what
`write_whole` and `write_folder_whole` put under a name is there whole or not at all, after a
kill, a full disk or a power cut.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder(configured: str | None = None) -> Path:
    """The cache's folder: as configured, else HIERBERT_CACHE, else ~/.cache/hierbert.

    Args:
        configured: What the settings say.

    Returns:
        The folder, which may not exist yet.
    """
    if configured:
        return Path(os.path.expanduser(configured))
    named = os.environ.get("HIERBERT_CACHE")
    if named:
        return Path(os.path.expanduser(named))
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(home)) / "hierbert"


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file aside, sync it and rename it, so that it is there whole or not at all.

    Args:
        path: The file to make or replace; its folder is made.
        write: Writes the content to the path it is given.

    Raises:
        OSError: The file cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    aside = Path(name)
    try:
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes files for the owner alone; others may read what a run leaves.
        aside.chmod(0o666 & ~_umask())
        aside.replace(path)
        sync_folder(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_folder_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write a folder aside, sync all that is in it and rename it.

    Where the folder is there already it stays until the new one is whole. A process that is killed
    leaves what it was writing under the folder's name with a dot before it.

    Args:
        target: The folder to make or replace; its parents are made.
        write: Writes the content into the empty folder it is given, which only its owner can read
            as long as it is not whole.

    Raises:
        OSError: The folder cannot be written; nothing is left behind, and what was there stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f".{target.name}.{os.getpid()}"
    old = target.parent / f"{aside.name}.old"
    for remains in (aside, old):
        shutil.rmtree(remains, ignore_errors=True)
    try:
        aside.mkdir(mode=0o700)
        write(aside)
        _sync_all(aside)
        aside.chmod(0o777 & ~_umask())
        if target.exists():
            target.replace(old)
        aside.replace(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        if old.exists() and not target.exists():
            old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk, so that a rename in it outlasts a power cut.

    Args:
        folder: Any folder; where the system cannot sync folders, nothing happens.

    Raises:
        OSError: The disk failed.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)


def _sync_all(folder: Path) -> None:
    """Bring all files and folders in a folder to the disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(root))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
