"""Ratios of interleaved rounds, their spread, and what may be concluded from them.

Nothing here measures. Invariant: a target that depends on time has no verdict unless the probe
says that the machine was steady while it was measured.
"""

import math
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
        """The spread of at least one value."""
        if not values:
            raise ValueError("no values to take a median of")
        return cls(statistics.median(values), min(values), max(values))

    def show(self, digits: int = 2, unit: str = "") -> str:
        """Median (least to greatest), for a table."""
        return (
            f"{self.median:,.{digits}f}{unit} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"
        )


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """One ratio for each round: only times of the same round are divided by each other."""
    return [one / other for one, other in zip(numerators, denominators, strict=True)]


def steadiness(probes: Sequence[float]) -> float:
    """The median of a probe's figures over the best of them, above 0, at most 1."""
    return Spread.of(probes).median / max(probes)


def is_steady(probes: Sequence[float]) -> bool:
    """Whether ratios measured beside these probes settle anything."""
    return steadiness(probes) >= LEAST_STEADINESS


@dataclass(frozen=True)
class Target:
    """What the project set out to reach: a bound, itself included, from below or from above.

    A busy machine can change what is `timed`; `digits` are those after the point.
    """

    what: str
    at_least: float = -math.inf
    at_most: float = math.inf
    timed: bool = True
    unit: str = "x"
    digits: int = 2

    @property
    def bound(self) -> str:
        """The bound, for a table."""
        if self.at_least > -math.inf:
            return f"at least {self.at_least:g}{self.unit}"
        return f"at most {self.at_most:g}{self.unit}"

    def verdict(self, value: float | None, *, steady: bool, full: bool) -> str:
        """Whether a figure, or none, reaches it; only a full run on a steady machine says so."""
        if value is None:
            return NOT_MEASURED
        if not full:
            return NOT_FULL
        if self.timed and not steady:
            return UNSETTLED
        return REACHED if self.at_least <= value <= self.at_most else MISSED


_JOB = "peak memory of a batch job into {}, ten times the documents / them"
TARGETS = {
    "belt_cls": Target("belt-nlp / ours, cls pooling", at_least=1.5),
    "belt_mean": Target("belt-nlp / ours, mean pooling", at_least=1.25),
    "naive": Target("naive padding / ours", at_least=4.0),
    "sentence_transformers": Target(
        "sentence-transformers' encode, as it comes / ours", at_least=1.25
    ),
    "sentence_transformers_tuned": Target(
        "sentence-transformers' encode, tuned / ours", at_least=1.25
    ),
    "utilization": Target("FLOPs of the encoder on full segments / GEMM probe", at_least=0.68),
    "padding": Target("padding among encoded tokens", at_most=0.02, timed=False, unit="", digits=4),
    "int8": Target("ours in float32 / ours in int8", at_least=1.5),
    "openvino": Target("ours in float32 / ours by OpenVINO in float32", at_least=1.15),
    "openvino_int8": Target("ours in float32 / ours by OpenVINO in int8", at_least=2.5),
    "cached_epoch": Target("second epoch with cached vectors / first", at_most=0.05, digits=3),
    "training_memory": Target(
        "memory of a training step, recompute, 512 / 32 segments", at_most=1.1, timed=False
    ),
    "recompute_time": Target("time of a training step, recompute / keep", at_most=1.4),
    "inference_memory": Target(
        "peak RSS of inference on 1,048,576 tokens", at_most=1.5, timed=False, unit=" GiB"
    ),
    "inference_memory_all": Target(
        "the same, a summary and a vector too", at_most=1.5, timed=False, unit=" GiB"
    ),
    "job_memory_file": Target(_JOB.format("one file"), at_most=1.1, timed=False),
    "job_memory_shards": Target(_JOB.format("shards"), at_most=1.1, timed=False),
    "evidence": Target(
        "time that evidence adds to an answer about 20 segments / the answer's", at_most=0.3
    ),
    "faithfulness": Target(
        "comprehensiveness of evidence less twice that of as much text at random",
        at_least=0.0,
        timed=False,
        unit=" logits",
    ),
    "linear_time": Target(
        "time per 1,000 tokens, inference, 1,048,576 / 4,096 tokens", at_most=1.3
    ),
}


@dataclass(frozen=True)
class Finding:
    """A target and what was measured for it: one figure, one of each round, or none.

    With what the probe said beside them, and a note: why there is no figure, or how to read it.
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
