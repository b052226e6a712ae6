"""Models and forked processes: gunicorn's workers, Celery's, those of `multiprocessing`.

OpenMP's threads do not come along when a process forks, and a child waits forever for those of its
parent. So loading leaves no such threads behind, and where they were used since, a child computes
with one thread: it cannot have others.
"""

import contextlib
import os
from collections.abc import Iterator

import torch

_used = False
_compiled = False


@contextlib.contextmanager
def on_one_thread() -> Iterator[None]:
    """Compute on the thread of the caller alone, so that no others are started."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_are_used(compiled: bool = False) -> None:
    """Say that torch computes on threads from now on, so that children forked later do without.

    `compiled` where code was compiled for that number of threads; children do without it too.
    """
    global _used, _compiled
    _compiled = _compiled or compiled
    if not _used:
        _used = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_do_without)


def _do_without() -> None:
    torch.set_num_threads(1)
    if _compiled:
        torch.compiler.set_stance("force_eager")
