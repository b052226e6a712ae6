"""Ratios of interleaved rounds, their spread, and what may be concluded from them.

Nothing here measures. Invariant: a target that depends on time has no verdict unless the probe
says that the machine was steady while it was measured.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_STEADINESS = 0.8

REACHED = "reached"
MISSED = "not reached"
UNSETTLED = "unsettled: noisy machine"
NOT_FULL = "no verdict: not a full run"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of some figures."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value.

        Raises:
            ValueError: There is none.
        """
        if not values:
            raise ValueError("no values to take a median of")
        return cls(statistics.median(values), min(values), max(values))

    def show(self, digits: int = 2, unit: str = "") -> str:
        """Median (least to greatest), for a table."""
        return (
            f"{self.median:,.{digits}f}{unit} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"
        )


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """One ratio for each round: only times of the same round are divided by each other.

    Returns:
        As many ratios.

    Raises:
        ValueError: The numbers of rounds differ.
    """
    return [one / other for one, other in zip(numerators, denominators, strict=True)]


def steadiness(probes: Sequence[float]) -> float:
    """The median of a probe's figures over the best of them, above 0, at most 1.

    Raises:
        ValueError: There is none.
    """
    return Spread.of(probes).median / max(probes)


def is_steady(probes: Sequence[float]) -> bool:
    """Whether ratios measured beside these probes settle anything."""
    return steadiness(probes) >= LEAST_STEADINESS


@dataclass(frozen=True)
class Target:
    """What the project set out to reach.

    Attributes:
        key: Its name in the JSON.
        what: For people.
        threshold: The bound, itself included.
        at_least: Whether it is a lower bound; an upper one otherwise.
        timed: Whether a busy machine can change it.
        unit: After the number.
        digits: After the point, where it is shown.
    """

    key: str
    what: str
    threshold: float
    at_least: bool
    timed: bool = True
    unit: str = "x"
    digits: int = 2

    @property
    def bound(self) -> str:
        """The bound, for a table."""
        kind = "at least" if self.at_least else "at most"
        return f"{kind} {self.threshold:g}{self.unit}"

    def verdict(self, value: float | None, *, steady: bool, full: bool) -> str:
        """Whether it is reached.

        Args:
            value: The measured figure (a median, where there are several); None without one.
            steady: What `is_steady` says of the probes beside it.
            full: Whether this was a full run; another settles nothing.

        Returns:
            One of the constants of this module.
        """
        if value is None:
            return NOT_MEASURED
        if not full:
            return NOT_FULL
        if self.timed and not steady:
            return UNSETTLED
        reached = value >= self.threshold if self.at_least else value <= self.threshold
        return REACHED if reached else MISSED


TARGETS = {
    target.key: target
    for target in (
        Target("belt_cls", "belt-nlp / ours, cls pooling", 1.5, True),
        Target("belt_mean", "belt-nlp / ours, mean pooling", 1.25, True),
        Target("naive", "naive padding / ours", 4.0, True),
        Target(
            "sentence_transformers",
            "sentence-transformers' encode, as it comes / ours",
            1.25,
            True,
        ),
        Target(
            "sentence_transformers_tuned",
            "sentence-transformers' encode, tuned / ours",
            1.25,
            True,
        ),
        Target("utilization", "FLOPs of the encoder on full segments / GEMM probe", 0.68, True),
        Target(
            "padding", "padding among encoded tokens", 0.02, False, timed=False, unit="", digits=4
        ),
        Target("int8", "ours in float32 / ours in int8", 1.5, True),
        Target("cached_epoch", "second epoch with cached vectors / first", 0.05, False, digits=3),
        Target(
            "training_memory",
            "memory of a training step, recompute, 512 / 32 segments",
            1.1,
            False,
            timed=False,
        ),
        Target("recompute_time", "time of a training step, recompute / keep", 1.4, False),
        Target(
            "inference_memory",
            "peak RSS of inference on 1,048,576 tokens",
            1.5,
            False,
            timed=False,
            unit=" GiB",
        ),
        Target(
            "job_memory_file",
            "peak memory of a batch job into one file, ten times the documents / them",
            1.1,
            False,
            timed=False,
        ),
        Target(
            "job_memory_shards",
            "peak memory of a batch job into shards, ten times the documents / them",
            1.1,
            False,
            timed=False,
        ),
        Target(
            "linear_time",
            "time per 1,000 tokens, inference, 1,048,576 / 4,096 tokens",
            1.3,
            False,
        ),
    )
}


@dataclass(frozen=True)
class Finding:
    """A target and what was measured for it.

    Attributes:
        key: Of `TARGETS`.
        values: One figure, or one of each round; empty when there is none.
        probes: What the probe said beside them.
        note: Why there is no figure, or how to read it.
    """

    key: str
    values: Sequence[float]
    probes: Sequence[float] = ()
    note: str = ""

    def record(self, full: bool) -> dict[str, object]:
        """As it stands in the JSON and in the table."""
        target = TARGETS[self.key]
        spread = Spread.of(self.values) if self.values else None
        steady = is_steady(self.probes) if self.probes else False
        return {
            "target": self.key,
            "what": target.what,
            "bound": target.bound,
            "measured": shown(target, self.values),
            "median": spread.median if spread else None,
            "values": list(self.values),
            "steadiness": steadiness(self.probes) if self.probes else None,
            "verdict": target.verdict(spread.median if spread else None, steady=steady, full=full),
            "note": self.note,
        }


def shown(target: Target, values: Sequence[float]) -> str:
    """A target's figures, for a table."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:,.{target.digits}f}{target.unit}"
    return Spread.of(values).show(target.digits, target.unit)
