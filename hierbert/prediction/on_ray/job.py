"""What a job runs on Ray: the check of the input, and the parts, as datasets that are streamed.

A dataset's rows are a number and bytes, so Ray never looks into a document. Mistakes come back as
rows; only what ends processes comes as one of Ray's errors. Invariant: nothing is held here but
hashes of ids and what parts hold.
"""

import contextlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import hierbert
from hierbert.errors import ConfigError, DataError, HierBertError, RunError, flag_setting
from hierbert.log import Progress, log
from hierbert.prediction.on_ray.actor import Answering, PartPredictor, as_bytes, mistake_of
from hierbert.prediction.on_ray.input import Reading, pack, stamp
from hierbert.prediction.on_ray.output import PartFolder
from hierbert.prediction.on_ray.plan import (
    PartLimits,
    Plan,
    SourcePlan,
    check_source,
    find_rows,
    read_parts,
    repeated_hashes,
    repeated_ids,
)

_ACTORS_PER_READER = 8
_MOST_REPEATED = 1_000_000
_BYTES_PER_CHARACTER = 4
# Parts that wait for an actor, over those that are being read.
_PARTS_AHEAD = 2


@dataclass(frozen=True)
class Cluster:
    """Who works.

    Attributes:
        actors: Processes that hold the model.
        cpus_per_actor: Cores that each takes; also its threads.
        gpus_per_actor: GPUs that each takes, or a part of one.
        address: Of a running Ray, or "auto"; None starts one here and ends it afterwards.
    """

    actors: int = 1
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.actors < 1:
            raise ConfigError(f"--actors {self.actors} is not allowed: at least 1")
        for name in ("cpus_per_actor", "gpus_per_actor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{flag_setting(name)} {value} is not allowed: 0 or more")


@contextlib.contextmanager
def ray_session(ray: Any, cluster: Cluster) -> Iterator[None]:
    """Ray while a context lasts; one that ran before goes on running afterwards."""
    was_running = ray.is_initialized()
    loggers = {name: logging.getLogger(name) for name in ("ray", "ray.data")}
    levels = {name: logger.level for name, logger in loggers.items()}
    context = ray.data.DataContext.get_current()
    kept = context.enable_progress_bars, context.target_max_block_size
    kept_limits = context.execution_options.resource_limits
    try:
        if not was_running:
            settings = {} if cluster.address else {"include_dashboard": False}
            try:
                with _importable(os.environ):
                    ray.init(
                        address=cluster.address or "local",
                        logging_level=logging.ERROR,
                        log_to_driver=False,
                        **settings,
                    )
            except (ConnectionError, RuntimeError, ValueError) as error:
                why = " ".join(str(error).split())
                raise RunError(
                    f"--ray-address {cluster.address or 'local'}: Ray cannot be reached: {why}"
                ) from error
        _check_room(ray, cluster, fixed=cluster.address is None)
        for logger in loggers.values():
            logger.setLevel(logging.ERROR)
        context.enable_progress_bars = False
        # A part is a row, and rows that share a block would wait for each other.
        context.target_max_block_size = 1
        yield
    finally:
        context.enable_progress_bars, context.target_max_block_size = kept
        context.execution_options.resource_limits = kept_limits
        for name, logger in loggers.items():
            logger.setLevel(levels[name])
        if not was_running:
            ray.shutdown()


@contextlib.contextmanager
def _importable(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Processes that are started meanwhile find this hierbert, installed or not."""
    name = "PYTHONPATH"
    before = environment.get(name)
    here = str(Path(hierbert.__file__).parent.parent)
    environment[name] = here if not before else f"{here}{os.pathsep}{before}"
    try:
        yield
    finally:
        if before is None:
            del environment[name]
        else:
            environment[name] = before


def _check_room(ray: Any, cluster: Cluster, fixed: bool) -> None:
    """Ray waits for cores that will never be there; say so instead."""
    there = ray.cluster_resources()
    for kind, each in (("CPU", cluster.cpus_per_actor), ("GPU", cluster.gpus_per_actor)):
        wanted = each * cluster.actors
        if wanted <= there.get(kind, 0):
            continue
        message = (
            f"--actors {cluster.actors} need {wanted:g} {kind}s, and Ray has {there.get(kind, 0):g}"
        )
        if fixed:
            raise RunError(f"{message}; lower --actors or --{kind.lower()}s-per-actor")
        log.info(f"{message}; waiting for the cluster to grow")


@dataclass
class RayJob:
    """The steps of a job that run on Ray.

    Args:
        ray: The module.
        cluster: Who works.
        reading: What to read.
    """

    ray: Any
    cluster: Cluster
    reading: Reading
    _failed: tuple[type[Exception], ...] = field(init=False)

    def __post_init__(self) -> None:
        names = (
            "ActorDiedError",
            "ActorUnavailableError",
            "LocalRayletDiedError",
            "NodeDiedError",
            "ObjectLostError",
            "OutOfMemoryError",
            "RayActorError",
            "WorkerCrashedError",
        )
        errors = self.ray.exceptions
        self._failed = tuple(getattr(errors, name) for name in names if hasattr(errors, name))

    def check(self, limits: PartLimits) -> Plan:
        """Read the whole input once.

        Raises:
            DataError: The first mistake in the order of the sources.
        """
        count = len(self.reading.sources)
        hashes: list[list[np.ndarray]] = [[] for _ in range(count)]
        plans = self._check_sources(limits, list(range(count)), hashes)
        repeated = self._repeated(hashes)
        if not any(plan.rows for plan in plans.values()):
            raise DataError("--input holds no rows")
        return Plan(limits, [plans[index] for index in range(count)], repeated)

    def refuse_other_input(self, plan: Plan) -> None:
        """See that the input is that of the job to resume; files that were touched are read.

        Raises:
            RunError: It is another.
        """
        names = [source.name for source in plan.sources]
        now = [source.name for source in self.reading.sources]
        if names != now:
            raise RunError(
                f"--resume: the job had {len(names)} sources and has {len(now)} now, or others; "
                "--overwrite starts anew"
            )
        touched = [
            index
            for index, source in enumerate(plan.sources)
            if stamp(self.reading.sources[index]) != (source.size, source.written_ns)
        ]
        if not touched:
            return
        for index, again in self._check_sources(plan.limits, touched, None).items():
            planned = plan.sources[index]
            if again.digest != planned.digest:
                raise RunError(
                    f"--resume: --input {planned.name} has changed: it had {planned.rows:,} rows "
                    f"of {planned.characters:,} characters, and has {again.rows:,} of "
                    f"{again.characters:,}; --overwrite starts anew"
                )
            plan.sources[index] = again

    def answer(self, plan: Plan, folder: PartFolder, answering: Answering) -> None:
        """Answer the parts that are not done.

        Raises:
            HierBertError: The first mistake; parts that were done stay.
        """
        done = folder.done()
        if len(done) == plan.parts:
            return
        reading, first_parts, first_rows = self.reading, plan.first_parts(), plan.first_rows()
        is_done = np.zeros(plan.parts, dtype=bool)
        is_done[list(done)] = True
        ends = [*first_parts[1:], plan.parts]
        todo = [
            index
            for index, (first, end) in enumerate(zip(first_parts, ends, strict=True))
            if not is_done[first:end].all()
        ]
        limits = plan.limits

        def read(index: int) -> Iterator[tuple[int, bytes]]:
            first_part = first_parts[index]
            for number, row, items in read_parts(
                reading, plan, index, lambda part: bool(is_done[first_part + part])
            ):
                yield first_part + number, pack(first_rows[index] + row + 1, items)

        readers = min(len(todo), max(1, self.cluster.actors // _ACTORS_PER_READER))
        ahead = _PARTS_AHEAD * (self.cluster.actors + readers) + readers
        context = self.ray.data.DataContext.get_current()
        part_bytes = max(_BYTES_PER_CHARACTER * limits.characters, 1 << 20)
        context.execution_options.resource_limits = self.ray.data.ExecutionResources(
            object_store_memory=ahead * part_bytes
        )
        gpus = self.cluster.gpus_per_actor
        parts = self._map_sources(read, todo, readers).map_batches(
            PartPredictor,
            fn_constructor_args=(answering, folder),
            batch_size=1,
            compute=self.ray.data.ActorPoolStrategy(size=self.cluster.actors),
            num_cpus=self.cluster.cpus_per_actor,
            num_gpus=gpus or None,
        )
        passed = sum(part.characters for part in done.values())
        with Progress(plan.characters, "predicting", unit="characters", initial=passed) as bar:
            for _, values in self._results(parts):
                bar.advance(values["characters"])

    def _check_sources(
        self, limits: PartLimits, indexes: list[int], hashes: list[list[np.ndarray]] | None
    ) -> dict[int, SourcePlan]:
        reading = self.reading

        def check(index: int) -> Iterator[tuple[int, bytes]]:
            for found in check_source(reading, limits, index):
                if isinstance(found, SourcePlan):
                    yield index, json.dumps(vars(found)).encode()
                else:
                    yield -index - 2, found.tobytes()

        plans: dict[int, SourcePlan] = {}
        mistakes: dict[int, HierBertError] = {}
        with Progress(None, "checking the input", unit="rows") as bar:
            for number, data in self._rows(self._map_sources(check, indexes, None)):
                if number < -1:
                    piece = np.frombuffer(data, dtype=np.uint64)
                    bar.advance(len(piece))
                    if hashes is not None:
                        hashes[-number - 2].append(piece)
                    continue
                values = json.loads(data)
                mistake = mistake_of(values)
                if mistake is None:
                    plans[number] = SourcePlan(**values)
                else:
                    mistakes[values["source"]] = mistake
        if mistakes:
            raise mistakes[min(mistakes)]
        return plans

    def _repeated(self, hashes: list[list[np.ndarray]]) -> dict[int, dict[int, str]]:
        """Rows whose ids occur in a source before."""
        joined = [np.concatenate(pieces) for pieces in hashes]
        wanted = repeated_hashes(joined)
        if not len(wanted):
            return {}
        holds = [np.isin(values, wanted) for values in joined]
        count = sum(int(where.sum()) for where in holds)
        reading = self.reading
        if count > _MOST_REPEATED:
            raise DataError(
                f"--input: {len(wanted):,} ids occur in several sources, such as "
                f"{_names(reading, holds)}; name each document once"
            )

        def find(index: int) -> Iterator[tuple[int, bytes]]:
            yield index, json.dumps(list(find_rows(reading, index, wanted))).encode()

        rows = {
            number: [(row, name, place) for row, name, place in values]
            for number, values in self._results(
                self._map_sources(find, [i for i, w in enumerate(holds) if w.any()], None)
            )
        }
        repeated = repeated_ids(rows, reading.keep_broken)
        if repeated and not reading.keep_broken:
            first = repeated[min(repeated)]
            raise DataError(f"--input: {first[min(first)]}")
        return repeated

    def _map_sources(
        self,
        read: Callable[[int], Iterator[tuple[int, bytes]]],
        indexes: list[int],
        readers: int | None,
    ) -> Any:
        """A dataset of numbers and bytes, from a function of sources."""

        def rows(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
            for index in batch["source"]:
                try:
                    for number, data in read(int(index)):
                        yield _row(number, data)
                except HierBertError as error:
                    values = {**json.loads(as_bytes(error)), "source": int(index)}
                    yield _row(-1, json.dumps(values).encode())

        data = self.ray.data
        sources = data.from_items(
            [{"source": index} for index in indexes], override_num_blocks=len(indexes)
        )
        # Readers beside actors take no core: there may be none left, and they mostly wait.
        cores, compute = (1.0, None) if readers is None else (0.0, data.TaskPoolStrategy(readers))
        return sources.map_batches(rows, batch_size=1, num_cpus=cores, compute=compute)

    def _results(self, dataset: Any) -> Iterator[tuple[int, Any]]:
        """Rows that are JSON; a mistake among them is raised."""
        for number, data in self._rows(dataset):
            values = json.loads(data)
            if isinstance(values, dict) and (mistake := mistake_of(values)):
                raise mistake
            yield number, values

    def _rows(self, dataset: Any) -> Iterator[tuple[int, bytes]]:
        try:
            for row in dataset.iter_rows():
                yield int(row["part"]), row["data"]
        except self._failed as error:
            words = " ".join(str(error).split())
            raise RunError(
                f"Ray lost processes or machines and gave up ({type(error).__name__}): {words}"
            ) from error


def _row(number: int, data: bytes) -> dict[str, Any]:
    return {"part": np.array([number]), "data": np.array([data], dtype=object)}


def _names(reading: Reading, holds: list[np.ndarray]) -> str:
    found = [
        source.name for source, where in zip(reading.sources, holds, strict=True) if where.any()
    ]
    return " and ".join(found[:2])
