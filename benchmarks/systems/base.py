"""What a compared system offers: text in, label out."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch


class Unavailable(Exception):
    """A system or an option that is not here; the message says why, for its row."""


class System(Protocol):
    """A classifier of documents."""

    name: str
    note: str

    def classify(self, texts: Sequence[str]) -> list[int]:
        """The number of each document's label."""
        ...


def linear_head(hidden_size: int, labels: int, seed: int) -> torch.nn.Linear:
    """The head of a system that has none of its own."""
    generator = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(hidden_size, labels)
    with torch.no_grad():
        head.weight.normal_(std=0.1, generator=generator)
        head.bias.zero_()
    return head.eval()


def tune(
    sizes: Sequence[int], build: Callable[[int], System], texts: Sequence[str]
) -> tuple[System, int]:
    """A system at the batch size at which it is fastest, each tried once after a warm-up."""
    from benchmarks.common.machine import timed

    tried = []
    for size in sizes:
        system = build(size)
        system.classify(texts[:1])
        tried.append((timed(partial(system.classify, texts)), size, system))
    _, size, system = min(tried, key=lambda entry: entry[:2])
    return system, size
