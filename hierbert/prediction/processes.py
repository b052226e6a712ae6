"""The processes of one job, as torchrun and `accelerate launch` start them.

They hardly talk: the first process checks and begins, the others wait; each works by itself; all
wait for the last. So any network that carries a few bytes will do, with or without GPUs. Invariant:
what one process refuses, all refuse, with the same message.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch

from hierbert import errors
from hierbert.errors import ConfigError, HierBertError

T = TypeVar("T")
# One process may have hours of work left when another has none.
_LONGEST_WAIT = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """How many processes share a job, and which one this is.

    Attributes:
        count: At least 1.
        index: This one, from 0.
        local_index: This one among those of its machine.
    """

    count: int = 1
    index: int = 0
    local_index: int = 0

    @classmethod
    def from_environment(cls) -> "Processes":
        """As the launcher says; one process without a launcher.

        Raises:
            ConfigError: The environment makes no sense.
        """
        names = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
        values = [os.environ.get(name, default) for name, default in zip(names, "100", strict=True)]
        try:
            count, index, local_index = map(int, values)
        except ValueError as error:
            shown = ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
            raise ConfigError(f"the environment of the launcher is broken: {shown}") from error
        return cls(count, index, local_index)

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Let the processes hear of each other while the context lasts.

        Raises:
            ConfigError: They cannot.
        """
        if self.count == 1:
            yield
            return
        try:
            torch.distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"WORLD_SIZE is {self.count}, but the processes cannot reach each other ({error}); "
                "start them with torchrun or accelerate launch"
            ) from error
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()

    def first(self, work: Callable[[], T]) -> T:
        """Let the first process do something, and all have what came of it.

        Args:
            work: Called on the first process alone.

        Returns:
            What it returned: plain values, for they travel.

        Raises:
            HierBertError: What the work raised, on every process.
        """
        if self.count == 1:
            return work()
        outcome: list[Any] = [None]
        if self.index == 0:
            try:
                outcome = [("value", work())]
            except HierBertError as error:
                # A class of its own elsewhere travels as the general one that it is.
                kinds = (kind.__name__ for kind in type(error).__mro__)
                outcome = [(next(name for name in kinds if hasattr(errors, name)), str(error))]
        torch.distributed.broadcast_object_list(outcome)
        kind, value = outcome[0]
        if kind == "value":
            result: T = value
            return result
        raise getattr(errors, kind)(value)

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def device(self, name: str) -> str:
        """The device of this process: where "auto" finds GPUs, each process takes its own."""
        if name == "auto" and self.count > 1 and torch.cuda.is_available():
            return f"cuda:{self.local_index % torch.cuda.device_count()}"
        return name
