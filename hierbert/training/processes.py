"""What the processes of a run owe each other: what the first does alone, and that all are there."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar, cast

from hierbert.errors import ProcessLost, RunError, error_text
from hierbert.prediction.processes import Processes

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

# How gloo, NCCL and the store of keys say it, whose errors have no class of their own.
_LOST = re.compile(
    r"gloo|nccl|TCPStore|recvValue|closed by peer|connection (reset|closed|refused)|broken pipe",
    re.IGNORECASE,
)


def partners_there() -> contextlib.AbstractContextManager[None]:
    """Wait some minutes for the other processes to come, and let none go while the context lasts.

    What joins processes would wait as long for them as processes that are joined for each other:
    half a day. A ConfigError where they do not come.
    """
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return contextlib.nullcontext()
    return Processes.from_environment().connected()


@contextlib.contextmanager
def partners_needed() -> Iterator[None]:
    """Say in one line (ProcessLost) that another process is gone, or its machine."""
    try:
        yield
    except RuntimeError as error:
        import torch

        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        if alone and not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            raise
        if not isinstance(error, torch.distributed.DistError) and not _LOST.search(str(error)):
            raise
        raise ProcessLost(
            f"another process of this run is gone ({error_text(error)[:100]}); the same command "
            "with --resume goes on from the newest checkpoint"
        ) from error


def on_first_process(accelerator: "Accelerator", work: Callable[[], T]) -> T:
    """Do something on the first process, and let every process have its result or its error.

    Every process takes part, so that none waits for one that has failed. The result is pickled on
    the way to the others; the first has its own. A RunError is raised on every process; anything
    else as it is on the first, and as a RunError on the others.
    """
    # Brings torch, which a mistake on the command line need not wait for.
    from accelerate.utils import gather_object

    outcome: tuple[T | None, str | None] = None, None
    raised: Exception | None = None
    if accelerator.is_main_process:
        try:
            outcome = work(), None
        except Exception as error:
            raised = error
            said = str(error) if isinstance(error, RunError) else error_text(error)
            outcome = None, said or type(error).__name__
    result, problem = gather_object([outcome])[0]
    if raised is not None and not isinstance(raised, RunError):
        raise raised
    if problem is not None:
        raise RunError(problem)
    return cast(T, outcome[0] if accelerator.is_main_process else result)
