"""Where results that cost time are kept between runs, and how files get there whole.

A cache may be deleted at any time; nothing depends on it but time.
"""

import os
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
        return Path(configured).expanduser()
    named = os.environ.get("HIERBERT_CACHE")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "hierbert"


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
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def reason(error: Exception) -> str:
    """Why something could not be written or read, without the number and the file's name."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
