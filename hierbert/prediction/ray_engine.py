"""The batch job on Ray: one machine's cores or GPUs, or those of a cluster.

The units are those of the local job, and so is the folder they are in. The input is checked first,
a task for each source. Then tasks stream sources and cut them into units, and actors, which hold
the model, answer these and write their files; only their sizes come back. The driver makes the
output, as the first process of a local job does. It works on files: input, model and output must
lie under the same paths on every machine. Ray repeats what a dead process or machine was at.

Invariant: nothing is held here but hashes of ids and what units there are; readers wait when they
are ahead of the actors.
"""

import argparse
import contextlib
import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hierbert
from hierbert.data.corpus import repeated_id
from hierbert.errors import HierBertError, ModelError, RunError, needing
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.log import Progress, log
from hierbert.prediction.answerer import Answerer, Tries
from hierbert.prediction.job import Job, read_footer, unit_path, write_units
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.run import Run
from hierbert.prediction.stopping import stop_if_asked
from hierbert.prediction.units import (
    Cuts,
    InputRow,
    Inputs,
    SourceCheck,
    Unit,
    UnitName,
    broken_row,
    changed_input,
    cut_units,
    say_broken,
    share_units,
    unit_limit,
)

_HASH_BYTES = 10
_ACTORS_PER_READER = 8
# Of one call of an actor: a GPU would wait between calls of a second.
_UNITS_PER_CALL, _UNITS_PER_CALL_ON_GPUS = 1, 8
# Of each actor one is at work and one waits; of each reader so many wait to be given to an actor.
_CALLS_AHEAD = 2


class RayRun(Run):
    """A run on Ray; a ConfigError where that is not installed."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.actors = options.actors or 1
        self.cpus_per_actor = 1.0 if options.cpus_per_actor is None else options.cpus_per_actor
        self.gpus_per_actor = options.gpus_per_actor or 0.0
        # Ray would report its use to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if options.ray_address is None:
            # It listens on loopback alone where no other machine can join, as on macOS.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        with needing("--engine ray", "Ray", "ray"):
            import ray
        self._ray: Any = ray
        # Of each source the rows whose ids occur in a source before.
        self._repeated: list[set[int]] = []

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Ray while a context lasts; one that ran before goes on running afterwards.

        A RunError where it cannot be reached, or has too few cores or GPUs.
        """
        ray, address = self._ray, self.options.ray_address
        was_running = ray.is_initialized()
        try:
            if not was_running:
                settings = {} if address else {"include_dashboard": False}
                try:
                    ray.init(
                        address=address or "local",
                        logging_level=logging.ERROR,
                        log_to_driver=False,
                        **settings,
                    )
                except (ConnectionError, RuntimeError, ValueError) as error:
                    why = " ".join(str(error).split())
                    raise RunError(
                        f"--ray-address {address or 'local'}: Ray cannot be reached: {why}"
                    ) from error
            self._check_room()
            yield
        finally:
            if not was_running:
                ray.shutdown()

    def _check_room(self) -> None:
        """Ray waits for cores that will never be there; say so instead."""
        there = self._ray.cluster_resources()
        for kind, each in (("CPU", self.cpus_per_actor), ("GPU", self.gpus_per_actor)):
            wanted = each * self.actors
            if wanted <= there.get(kind, 0):
                continue
            message = (
                f"--actors {self.actors} need {wanted:g} {kind}s, and Ray has "
                f"{there.get(kind, 0):g}"
            )
            if self.options.ray_address is None:
                raise RunError(f"{message}; lower --actors or --{kind.lower()}s-per-actor")
            log.info(f"{message}; waiting for the cluster to grow")

    def check_rows(self) -> list[SourceCheck]:
        """Read the whole input once, and find ids that occur in two sources.

        The first mistake in the order of the sources is a DataError.
        """
        checks: list[SourceCheck] = []
        hashes: list[np.ndarray] = []
        task = self._ray.remote(check_source).options(num_cpus=1)
        inputs = self._ray.put(self.inputs)
        tasks = [task.remote(inputs, index) for index in range(len(self.inputs.sources))]
        try:
            with Progress(None, "checking the input", unit="rows") as bar:
                for one in tasks:
                    check, of_ids = self._get(one)
                    checks.append(check)
                    hashes.append(of_ids)
                    bar.advance(check.rows)
                    stop_if_asked()
        except BaseException:
            for one in tasks:
                self._ray.cancel(one)
            raise
        self._repeated = repeated_rows(hashes)
        if not self.skip:
            self._refuse_repeated(hashes)
        say_broken(checks)
        return checks

    def describe_input(self, checks: list[SourceCheck] | None) -> list[dict[str, Any]]:
        """What the manifest says of the input.

        A digest of rows is only what a local job would have, where no id occurs in two sources.
        """
        described = super().describe_input(checks)
        for values, repeated in zip(described, self._repeated, strict=False):
            if repeated:
                values.pop("digest")
        return described

    def _refuse_repeated(self, hashes: list[np.ndarray]) -> None:
        """Refuse the first row whose id occurs in a source before, with both places."""
        for index, rows in enumerate(self._repeated):
            if rows:
                wanted = hashes[index][min(rows)]
                before = next(n for n, values in enumerate(hashes) if wanted in values)
                first, second = (
                    next(row for row in self.inputs.rows(n) if _id_hash(row) == wanted)
                    for n in (before, index)
                )
                raise repeated_id(str(second.id), second.location, first.location)

    def model_options(self) -> dict[str, Any]:
        """Here the model only shows what is wrong with it, before anything starts.

        Where it will run, and how fast, is for the machines of the actors.
        """
        return {"device": "cpu", "compile": False, "tokens_per_forward": None}

    def unit_size(self, predictor: HierBertPredictor, checks: list[SourceCheck] | None) -> int:
        """Where units end, so that every actor has work."""
        return unit_limit(checks, self.actors, on_cpu=not self.gpus_per_actor)

    def answer(
        self,
        answerer: Answerer,
        predictor: HierBertPredictor,
        job: Job,
        checks: list[SourceCheck] | None,
    ) -> None:
        """Answer the units that are not done; the job hears of each that is."""
        assert checks is not None
        ray = self._ray
        if any(name.source >= len(checks) for name in job.done):
            raise changed_input("it has fewer rows now")
        units_per_call = _UNITS_PER_CALL_ON_GPUS if self.gpus_per_actor else _UNITS_PER_CALL
        # They take no core: there may be none left, and they mostly wait.
        read = ray.remote(read_units).options(
            num_cpus=0, num_returns="streaming", _generator_backpressure_num_objects=_CALLS_AHEAD
        )
        inputs = ray.put(self.inputs)

        def start(index: int) -> Any:
            return read.remote(
                inputs,
                index,
                checks[index],
                self._repeated[index],
                job.cuts,
                sum(check.rows for check in checks[:index]),
                {name: digest for name, digest in job.done.items() if name.source == index},
                units_per_call,
            )

        actor = ray.remote(UnitAnswerer).options(
            num_cpus=self.cpus_per_actor,
            num_gpus=self.gpus_per_actor or None,
            max_restarts=-1,
            max_task_retries=-1,
        )
        told = vars(self.actor(answerer.question, predictor.commit, job))
        actors = [actor.remote(**told) for _ in range(self.actors)]
        readers = max(1, self.actors // _ACTORS_PER_READER)
        # Of the rows of some shards nobody knows the size before they are read.
        size = None if job.cuts.shards is not None else sum(check.size for check in checks)
        try:
            with Progress(size, "predicting", unit="bytes", initial=job.size_before) as bar:
                for ended in self._answers(actors, self._calls(start, len(checks), readers)):
                    stop_if_asked()
                    for rows, unit_size in ended:
                        bar.advance(unit_size)
                        job.rows += rows
                        job.publish_shards()
        finally:
            for one in actors:
                ray.kill(one)

    def _calls(
        self, start: Callable[[int], Any], count: int, readers: int
    ) -> Generator[Any, None, None]:
        """References to the units of all sources, so many of which are read at a time."""
        waiting = deque(range(count))
        reading: list[Any] = []
        try:
            while waiting or reading:
                while waiting and len(reading) < readers:
                    reading.append(start(waiting.popleft()))
                [reader], _ = self._ray.wait(reading, fetch_local=False)
                try:
                    yield next(reader)
                except StopIteration:
                    reading.remove(reader)
        finally:
            for reader in reading:
                self._ray.cancel(reader)

    def _answers(
        self, actors: list[Any], calls: Generator[Any, None, None]
    ) -> Iterator[list[tuple[int, int]]]:
        """What each call of an actor gives, as they end."""
        # An actor whose machine is not there yet is given nothing, and not waited for in the end.
        starting = {actor.begin.remote(): actor for actor in actors}
        working: dict[Any, Any] = {}
        free: deque[Any] = deque()

        def next_end() -> list[tuple[int, int]]:
            [ended], _ = self._ray.wait([*starting, *working])
            if ended in starting:
                free.extend([starting.pop(ended)] * _CALLS_AHEAD)
            else:
                free.append(working.pop(ended))
            made: list[tuple[int, int]] = self._get(ended)
            return made

        with contextlib.closing(calls):
            for call in calls:
                while not free:
                    yield next_end()
                actor = free.popleft()
                working[actor.answer.remote(call)] = actor
        while working:
            yield next_end()

    def actor(self, question: dict[str, Any], commit: str | None, job: Job) -> "UnitAnswerer":
        """What each actor is."""
        folder = os.path.expanduser(self.options.model)
        path = os.path.abspath(folder) if os.path.isdir(folder) else self.options.model
        names = ("device", "dtype", "backend", "batch_tokens", "tokens_per_forward", "compile")
        options = {name: getattr(self.options, name) for name in names}
        options["vector_cache"] = self.vector_cache
        if commit is not None:
            # A Hub id, from which the model was checked: all processes take the same commit.
            options["revision"] = commit
        return UnitAnswerer(
            target=job.target,
            folder=job.units,
            model=path,
            fingerprint=folder_fingerprint(path),
            question=question,
            options=options,
            skip=self.skip,
            threads=max(1, int(self.cpus_per_actor)),
            version=hierbert.__version__,
        )

    def _get(self, reference: Any) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, HierBertError):
                raise error.cause from None
            raise
        except exceptions.RayError as error:
            words = " ".join(str(error).split())
            raise RunError(
                f"Ray lost processes or machines and gave up ({type(error).__name__}): {words}"
            ) from error


# What tasks do with a source.


def check_source(inputs: Inputs, index: int) -> tuple[SourceCheck, np.ndarray]:
    """What a source holds, and the hashes of its ids, 80 bits each; of a broken row zeros."""
    check = SourceCheck()
    hashes = np.fromiter(map(_id_hash, check.count(inputs.rows(index))), f"S{_HASH_BYTES}")
    return check, hashes


def _id_hash(row: InputRow) -> bytes:
    if row.text is None or row.id is None:
        return b""
    data = row.id.encode("utf-8", "surrogatepass")
    # Without zeros at its end, which arrays do not keep.
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest().rstrip(b"\0")


def repeated_rows(hashes: list[np.ndarray]) -> list[set[int]]:
    """Of each source the rows, from 0, whose ids occur in a source before; takes 20 bytes a row.

    Within a source, reading itself finds ids that occur twice.
    """
    every = np.concatenate(hashes)
    every.sort()
    twice = np.unique(every[1:][every[1:] == every[:-1]])
    twice = twice[twice != b""]
    met: set[bytes] = set()
    repeated = []
    for values in hashes:
        rows = np.flatnonzero(np.isin(values, twice))
        repeated.append({int(row) for row in rows if values[row] in met})
        met.update(values[rows].tolist())
    return repeated


def read_units(
    inputs: Inputs,
    index: int,
    check: SourceCheck,
    repeated: set[int],
    cuts: Cuts,
    rows_before: int,
    done: dict[UnitName, str],
    units_per_call: int,
) -> Iterator[list[Unit]]:
    """The units of a source that are not done, in lists for a call of an actor each.

    `check` is what it held when it was checked, `repeated` its rows whose ids occur in a source
    before, `rows_before` counts those of the sources before, and `done` has the digests of its
    units.
    """
    rows = without_repeated(inputs.rows(index, check=check), repeated)
    call: list[Unit] = []
    units = cut_units(rows, index, cuts, rows_before)
    for unit, whose in share_units(units, done, inputs.names, shards=cuts.shards):
        if whose == "own":
            call.append(unit)
        if len(call) == units_per_call:
            yield call
            call = []
    if call:
        yield call


def without_repeated(rows: Iterable[InputRow], repeated: set[int]) -> Iterator[InputRow]:
    """Rows of a source, of which those that are repeated are broken."""
    for number, row in enumerate(rows):
        if number not in repeated:
            yield row
            continue
        error = repeated_id(str(row.id), row.location, "a row before it")
        yield broken_row(row.location, row.id, error.as_row().reason)


# What actors do.


@dataclass
class UnitAnswerer:
    """An actor: it holds the model, answers units and writes them.

    It knows nothing of Ray. Units that keep ending their process are taken document by document, so
    that the one that does it is found, see `Tries`: it goes to the errors, or ends the job.
    """

    target: OutputFolder
    folder: Path  # Where units go.
    model: str  # A folder under the same path on every machine, or a Hub id.
    fingerprint: str  # Of the files of the model that was checked.
    question: dict[str, Any]  # What is asked.
    options: dict[str, Any]  # Of `HierBert.from_pretrained`.
    skip: bool  # Whether a document that cannot be answered is an error of its own.
    threads: int  # Of torch, on a CPU.
    version: str  # Of hierbert where the job was started.

    @cached_property
    def _answerer(self) -> Answerer:
        # Not when it is made: what that raises Ray would tell as the end of the process.
        torch.set_num_threads(self.threads)
        if hierbert.__version__ != self.version:
            raise RunError(
                f"a machine has hierbert {hierbert.__version__}, where the job was started with "
                f"{self.version}; install the same on all"
            )
        if folder_fingerprint(self.model) != self.fingerprint:
            raise ModelError(f"model {self.model} is another one on one of the machines")
        predictor = HierBertPredictor.from_pretrained(self.model, **self.options)
        return Answerer(predictor, self.question, self.skip)

    def begin(self) -> list[tuple[int, int]]:
        """Load the model; no unit is done by it."""
        assert self._answerer
        return []

    def answer(self, units: list[Unit]) -> list[tuple[int, int]]:
        """Answer units, and give of each its rows and the bytes of their texts."""
        answer = self._answerer.results
        # Some may be done by a process that was lost before it could say so.
        todo = [unit for unit in units if read_footer(unit_path(self.folder, unit.name)) is None]
        source, number = units[0].name
        tries = Tries(self.target, self.folder / f"tries-{source}-{number}")
        for _ in write_units(self.target, self.folder, todo, partial(answer, tries=tries)):
            pass
        tries.forget()
        return [(len(unit.rows), unit.size) for unit in units]
