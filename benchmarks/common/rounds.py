"""Interleaved rounds: every task once a round, in reversed order on alternate rounds.

What drifts over minutes (a neighbour on the same host, heat) then meets all tasks alike, and
ratios are taken within a round. Invariant: a probe stands right before every timed task.
"""

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.common.machine import timed


@dataclass(frozen=True)
class Round:
    """One round."""

    order: list[str]
    seconds: dict[str, float]
    probes: dict[str, float]


class Rounds:
    """The rounds of some tasks."""

    def __init__(self, rounds: list[Round]) -> None:
        self.rounds = rounds

    def seconds(self, name: str) -> list[float]:
        """A task's time in each round."""
        return [round_.seconds[name] for round_ in self.rounds]

    def probes(self) -> list[float]:
        """One figure a round: the median of its probes."""
        return [statistics.median(round_.probes.values()) for round_ in self.rounds]

    def all_probes(self) -> list[float]:
        """Every probe of every round."""
        return [probe for round_ in self.rounds for probe in round_.probes.values()]

    def record(self) -> list[dict[str, Any]]:
        """Every raw time, for the JSON."""
        return [asdict(round_) for round_ in self.rounds]


def run_rounds(
    tasks: Mapping[str, Callable[[], object]],
    rounds: int,
    probe: Callable[[], float],
    title: str = "",
    clock: Callable[[Callable[[], object]], float] = timed,
) -> Rounds:
    """Time tasks against each other, the probe before each; each task was run before."""
    done = []
    for number in range(rounds):
        order = list(tasks) if number % 2 == 0 else list(tasks)[::-1]
        seconds, probes = {}, {}
        for name in order:
            probes[name] = probe()
            seconds[name] = clock(tasks[name])
        done.append(Round(order, seconds, probes))
        total = sum(seconds.values())
        say(f"{title} round {number + 1} of {rounds}: {total:.1f} s")
    return Rounds(done)


def say(message: str) -> None:
    """A line of progress, beside the results."""
    print(message.strip(), file=sys.stderr, flush=True)
