"""One process at a time in a folder that it fills: a lock that dies with the process.

The lock belongs to an open file, so the kernel releases it whatever ends the process, kill -9
included; a lock file that a killed process left behind holds nobody up. It does not watch other
machines where a network file system keeps locks to each machine, and does nothing where there are
no such locks at all.

Invariant: of the live processes that hold a `FolderLock` on a folder, there is at most one.
"""

import contextlib
import errno
import os
import socket
from pathlib import Path
from types import TracebackType

from hierbert.errors import RunError, error_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""Name of the lock's file; a folder that holds nothing else counts as empty."""

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


class FolderLock:
    """Keeps other live processes out of a folder while a context lasts.

    Args:
        path: The folder; it is made where there is none, and removed in the end when it was made
            here and nothing has come into it.
        what: How messages name it, such as ``run_dir=runs/mine``.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = Path(path)
        self.what = what
        self._handle: int | None = None
        self._made: list[Path] = []

    def __enter__(self) -> "FolderLock":
        """Take the lock, without waiting for it.

        Raises:
            RunError: Another live process has it, or its file cannot be made.
        """
        if fcntl is None:
            return self
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            # Who had it before may remove the file, and the folder, between our open and our lock.
            while self._handle is None:
                self.path.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    self._handle = self._open_and_lock()
            self._made = missing
        except OSError as error:
            raise RunError(f"{self.what} cannot be locked: {error_text(error)}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the lock; remove its file, and the folder if it stayed empty."""
        if self._handle is None:
            return
        # While it is still ours: after the release the file may be another process's.
        with contextlib.suppress(OSError):
            (self.path / LOCK).unlink()
        os.close(self._handle)
        self._handle = None
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def _open_and_lock(self) -> int | None:
        """The locked file, or None where it was removed meanwhile."""
        file = self.path / LOCK
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(file, flags, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    if error.errno not in (errno.EAGAIN, errno.EACCES):
                        raise
                    raise RunError(
                        f"{self.what} is in use by {_holder(handle)}; wait until it has ended, or "
                        "end it"
                    ) from error
            if not _is_still(file, handle):
                os.close(handle)
                return None
        except BaseException:
            os.close(handle)
            raise
        # Whose it is helps people; on a full disk the lock holds without it.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        return handle


def _is_still(file: Path, handle: int) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.stat(file, follow_symlinks=False), os.fstat(handle))
    except FileNotFoundError:
        return False


def _holder(handle: int) -> str:
    """Who wrote itself into a lock's file, in words."""
    words = os.pread(handle, 300, 0).decode("utf-8", "replace").split()
    if len(words) != 2 or not words[0].isdecimal():
        return "another process"
    here = "" if words[1] == socket.gethostname() else f" on {words[1]}"
    return f"process {words[0]}{here}"
