"""The processes of one job, as torchrun and `accelerate launch` start them.

They hardly talk: the first process checks and begins, the others look from time to time whether it
has; then each works by itself. A store of keys carries what they say, so that every wait can be
interrupted. Invariant: what the first process refuses, all refuse, with the same message.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch

from hierbert.errors import ConfigError, HierBertError, RunError, flag_setting
from hierbert.log import log
from hierbert.prediction.stopping import stop_if_asked

T = TypeVar("T")
_RENDEZVOUS = timedelta(minutes=10)
_POLL_SECONDS = 0.1
_SAY_SECONDS = 10.0


@dataclass
class Processes:
    """How many processes share a job, and which one this is."""

    count: int = 1  # At least 1.
    index: int = 0  # This one, from 0.
    local_index: int = 0  # This one among those of its machine.
    _store: Any = None
    _said: int = 0

    @classmethod
    def from_environment(cls) -> "Processes":
        """As the launcher says; one process without a launcher."""
        defaults = {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}
        values = {name: os.environ.get(name, default) for name, default in defaults.items()}
        try:
            count, index, local_index = map(int, values.values())
            if count == 1:
                return cls()
            if not 0 <= index < count or local_index < 0:
                raise ValueError
        except ValueError as error:
            shown = ", ".join(f"{name}={value}" for name, value in values.items())
            raise ConfigError(f"the environment of the launcher is broken: {shown}") from error
        return cls(count, index, local_index)

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Let the processes hear of each other while the context lasts.

        A ConfigError where they cannot.
        """
        if self.count == 1:
            yield
            return
        try:
            rendezvous = torch.distributed.rendezvous("env://", timeout=_RENDEZVOUS)
            self._store, _, _ = next(iter(rendezvous))
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"WORLD_SIZE is {self.count}, but the processes cannot reach each other ({error}); "
                "start them with torchrun or accelerate launch"
            ) from error
        try:
            yield
        finally:
            self._store = None

    def first(self, work: Callable[[], T]) -> T:
        """Let the first process do something, and all have what came of it.

        That travels as JSON, so it is of plain values; a mistake is a RunError with the same
        message on the other processes.
        """
        if self.count == 1:
            return work()
        self._said += 1
        key = f"hierbert/first/{self._said}"
        if self.index == 0:
            try:
                value = work()
            except HierBertError as error:
                self._store.set(key, json.dumps([error.worded(flag_setting), None]))
                raise
            self._store.set(key, json.dumps([None, value]))
            return value
        mistake, heard = json.loads(self._hear(key))
        if mistake is not None:
            raise RunError(mistake)
        result: T = heard
        return result

    def _hear(self, key: str) -> bytes:
        try:
            while not self._store.check([key]):
                time.sleep(_POLL_SECONDS)
                stop_if_asked()
            return bytes(self._store.get(key))
        except RuntimeError as error:
            raise RunError(f"the first process of the job is gone: {error}") from error

    def end(self) -> None:
        """Say that this process has done its share; the first waits until all have.

        A RunError where the store of keys is gone, as its machine or its process.
        """
        if self.count == 1:
            return
        keys = [f"hierbert/ended/{index}" for index in range(self.count)]
        said = time.monotonic()
        try:
            self._store.set(keys[self.index], "yes")
            # In short steps, so that signals are heard.
            while self.index == 0 and (keys := [k for k in keys if not self._store.check([k])]):
                time.sleep(_POLL_SECONDS)
                stop_if_asked()
                if time.monotonic() - said > _SAY_SECONDS:
                    said = time.monotonic()
                    log.info(f"waiting for {len(keys)} of {self.count} processes")
        except RuntimeError as error:
            raise RunError(f"the other processes of the job cannot be heard: {error}") from error

    def device(self, name: str) -> str:
        """The device of this process: where "auto" finds GPUs, each process takes its own."""
        if name == "auto" and self.count > 1 and torch.cuda.is_available():
            return f"cuda:{self.local_index % torch.cuda.device_count()}"
        return name
