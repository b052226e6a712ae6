"""Files and folders that are whole or not there, and folders that one process at a time fills.

Invariant: what the `write_*` functions put under a name is there whole or not at all, after a
kill, a full disk or a power cut; and of the live processes that hold a `FolderLock` on a folder,
there is at most one. Nothing depends on the cache's folder but time: it may be deleted.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from hierbert.errors import HierBertError, RunError, error_text

LOCK = ".lock"
"""Name of a lock's file; a folder that holds nothing else counts as empty."""

_LARGEST_JSON_BYTES = 64 << 20
# What a system answers that has no locks, or cannot sync folders.
_NOT_HERE = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


def cache_folder(configured: str | None = None) -> Path:
    """The cache's folder, which may be missing: configured, else HIERBERT_CACHE, else at home."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = configured or os.environ.get("HIERBERT_CACHE") or f"{home}/hierbert"
    return Path(os.path.expanduser(folder))


@contextlib.contextmanager
def writing(place: object, then: str = "") -> Iterator[None]:
    """Say in one line, a RunError, that a place cannot be written here, and what `then` to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(f"{place} cannot be written: {error_text(error)}{then}") from error


def write_whole(path: Path, write: Callable[[Path], object], folder: Path | None = None) -> None:
    """Write a file aside, sync it and rename it.

    `write` is given a path for the content, which only its owner can read as long as it is not
    whole; then that is for the umask to say. Where it fails nothing is left behind. It is beside
    the file, whose folder is made; or in a `folder` that is there, under a name with "new-" before
    it.
    """
    if folder is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    else:
        aside = folder / f"new-{secrets.token_hex(4)}"
    os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        mode = stat.S_IMODE(aside.stat().st_mode)
        aside.chmod(0o600)
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.chmod(mode)
        aside.replace(path)
        sync_folder(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole; see `write_whole`."""
    write_whole(path, lambda aside: aside.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 whole, a lone surrogate as its escape; see `write_whole`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole; see `write_whole`."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_checked_json(path: Path, value: Any) -> None:
    """Write a JSON file that tells whether it is as it was written; see `write_whole`."""
    write_json(path, {"sha256": _sha256(path, value), "value": value})


def read_checked_json(path: Path) -> Any:
    """What `write_checked_json` wrote.

    A ValueError where it is not as it was written; an OSError where it cannot be read.
    """
    with os.fdopen(open_plain(path), "rb") as file:
        try:
            content = json.loads(file.read())
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
    if (
        not isinstance(content, dict)
        or content.keys() != {"sha256", "value"}
        or content["sha256"] != _sha256(path, content["value"])
    ):
        raise ValueError("its sha256 differs")
    return content["value"]


def open_plain(path: Path) -> int:
    """Open a file that others may put something else in the place of: its descriptor, to read.

    An OSError where it is a link, a pipe or another thing that is no plain file; none is waited
    for.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "no plain file", str(path))
    # Where it becomes another thing just now.
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
    handle = os.open(path, sum(flags, os.O_RDONLY))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return handle


def is_in_the_way(path: Path, folder: bool = False) -> bool:
    """Whether there is something that is no plain file, or no folder, such as a link to one."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode))


def write_folder_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Write a folder aside, sync all that is in it and rename it; its parents are made.

    Where the folder is there already it stays until the new one is whole. `write` is given an empty
    folder, which only its owner can read as long as it is not whole; then who may read it, and all
    that is in it, is for the umask to say. A process that is killed leaves what it was writing
    under the folder's name with a dot before it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f".{target.name}.{os.getpid()}"
    old = target.parent / f"{aside.name}.old"
    for remains in (aside, old):
        shutil.rmtree(remains, ignore_errors=True)
    try:
        aside.mkdir()
        mode = stat.S_IMODE(aside.stat().st_mode)
        aside.chmod(0o700)
        write(aside)
        for root, _, files in os.walk(aside, topdown=False):
            for path in (Path(root) / name for name in files):
                path.chmod(mode & 0o666)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            Path(root).chmod(mode)
            sync_folder(Path(root))
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
    """Bring a folder's names to the disk, so that a rename in it outlasts a power cut."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    finally:
        os.close(handle)


def read_json(path: Path, kind: type[HierBertError], place: str | None = None) -> dict[str, Any]:
    """A JSON object out of a plain file of at most 64 MiB, which may come from a stranger.

    Anything else is an error of that kind, whose message begins with the place and the file's name,
    or with the path.
    """
    what = str(path) if place is None else f"{place}: {path.name}"
    if not path.is_file():
        # A pipe or a device would be read for ever.
        raise kind(f"{what} {'is no plain file' if path.exists() else 'is missing'}")
    try:
        if (size := path.stat().st_size) > _LARGEST_JSON_BYTES:
            raise kind(f"{what} has {size:,} bytes, at most 64 MiB are read")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise kind(f"{what} cannot be read: {error_text(error)}") from error
    if not isinstance(values, dict):
        raise kind(f"{what} holds no JSON object")
    return values


class FolderLock:
    """Keeps other live processes out of a folder while a context lasts.

    The system releases the lock whatever ends the process, kill -9 included; a lock file that a
    killed process left behind holds nobody up. It does not watch other machines where a network
    file system keeps locks to each machine, and does nothing where there are no locks at all.

    Args:
        path: The folder; it is made where there is none, and removed in the end when it was made
            here and nothing has come into it.
        what: How messages name it, such as ``run_dir=runs/mine``.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = Path(path)
        self.what = what
        self._file = self.path / LOCK
        self._lock = FileLock(self._file, timeout=0)
        self._made: list[Path] = []

    def __enter__(self) -> "FolderLock":
        """Take the lock without waiting.

        A RunError where another process has it, or it cannot be made.
        """
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        # Who had it before may remove the folder, or the file, between our making it and our
        # locking it; then there is something to try again.
        for attempts_left in (2, 1, 0):
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
                break
            except Timeout as error:
                if not attempts_left:
                    text = f"in use by {self._holder()}; wait until it has ended, or end it"
                    raise RunError(f"{self.what} is {text}") from error
            except OSError as error:
                if error.errno in _NOT_HERE:
                    break
                if not attempts_left or not isinstance(error, FileNotFoundError):
                    raise RunError(f"{self.what} cannot be locked: {error_text(error)}") from error
        self._made = missing
        # Whose it is helps people; on a full disk the lock holds without it.
        with contextlib.suppress(OSError):
            self._file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock; remove its file, and the folder if it stayed empty."""
        # While it is still ours: after the release the file may be another process's.
        with contextlib.suppress(OSError):
            self._file.unlink()
        self._lock.release()
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def _holder(self) -> str:
        """Who wrote itself into the lock's file, in words."""
        try:
            words = self._file.read_bytes()[:300].decode("utf-8", "replace").split()
        except OSError:
            words = []
        if len(words) != 2 or not words[0].isdecimal():
            return "another process"
        here = "" if words[1] == socket.gethostname() else f" on {words[1]}"
        return f"process {words[0]}{here}"


def _sha256(path: Path, value: Any) -> str:
    # With its name: what was moved to another one is not what belongs there.
    return hashlib.sha256(f"{path.name} {json.dumps(value, sort_keys=True)}".encode()).hexdigest()
