"""The batch job on Ray Data: one machine's cores or GPUs, or those of a cluster.

The units are those of the local job, and so is the folder they are in. The input is checked first,
a task for each source. Then sources are streamed and cut into units, and `map_batches` gives each
unit to one of the actors, which hold the model and write the unit's file; only its size comes back.
The driver makes the output, as the first process of a local job does. Ray's back pressure bounds
what is read ahead, and Ray repeats what a dead process or machine was at. It works on files: input,
model and output must lie under the same paths on every machine.

Mistakes come back as rows, for Ray would wrap what is raised and try again; only what ends
processes comes as one of Ray's errors. Invariant: nothing is held here but hashes of ids and what
units there are.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

import hierbert
from hierbert.data.corpus import repeated_id
from hierbert.data.document import RowError
from hierbert.errors import ConfigError, DataError, HierBertError, ModelError, RunError
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.log import Progress, log
from hierbert.prediction.job import Item, Job, Question, Tries
from hierbert.prediction.options import cache_options
from hierbert.prediction.output_folder import OutputFolder
from hierbert.prediction.parts import UnitWriter, read_footer, unit_path
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.processes import error_of, error_values
from hierbert.prediction.units import (
    CheckedRows,
    InputRow,
    Inputs,
    Passed,
    SourceCheck,
    UnitEnd,
    UnitName,
    broken_row,
    cut_units,
    own_units,
    say_broken,
)

if TYPE_CHECKING:
    from hierbert.prediction.run import JobOnDisk

_IDS_PER_PIECE = 250_000
_MOST_REPEATED = 1_000_000
_ACTORS_PER_READER = 8
# Of one call of an actor: a GPU would wait between calls of a second.
_UNITS_PER_CALL, _UNITS_PER_CALL_ON_GPUS = 1, 8
# Calls that wait for an actor, over those that are being read.
_CALLS_AHEAD = 2


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

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Cluster":
        """As the options say."""
        names = {
            "actors": options.actors,
            "cpus_per_actor": options.cpus_per_actor,
            "gpus_per_actor": options.gpus_per_actor,
            "address": options.ray_address,
        }
        return cls(**{name: value for name, value in names.items() if value is not None})


class RayEngine:
    """The steps of a job that run on Ray.

    Args:
        options: From `parse_options`.
        inputs: What to read.

    Raises:
        ConfigError: Ray is not installed.
    """

    def __init__(self, options: argparse.Namespace, inputs: Inputs) -> None:
        self.options, self.inputs = options, inputs
        self.cluster = Cluster.of(options)
        # Ray would report its use to its makers.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ConfigError(
                f"--engine ray needs Ray, which is missing ({error}): pip install 'hierbert[ray]'"
            ) from error
        self._ray: Any = ray
        self._repeated: dict[int, dict[int, str]] = {}

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Ray while a context lasts; one that ran before goes on running afterwards.

        Raises:
            RunError: It cannot be reached, or has too few cores or GPUs.
        """
        ray, address = self._ray, self.cluster.address
        was_running = ray.is_initialized()
        loggers = {name: logging.getLogger(name) for name in ("ray", "ray.data")}
        levels = {name: logger.level for name, logger in loggers.items()}
        context = ray.data.DataContext.get_current()
        kept = context.enable_progress_bars, context.target_max_block_size
        kept_limits = context.execution_options.resource_limits
        try:
            if not was_running:
                settings = {} if address else {"include_dashboard": False}
                try:
                    with _importable(os.environ):
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
            for logger in loggers.values():
                logger.setLevel(logging.ERROR)
            context.enable_progress_bars = False
            # A call is a row, and rows that share a block would wait for each other.
            context.target_max_block_size = 1
            yield
        finally:
            context.enable_progress_bars, context.target_max_block_size = kept
            context.execution_options.resource_limits = kept_limits
            for name, logger in loggers.items():
                logger.setLevel(levels[name])
            if not was_running:
                ray.shutdown()

    def _check_room(self) -> None:
        """Ray waits for cores that will never be there; say so instead."""
        cluster, there = self.cluster, self._ray.cluster_resources()
        for kind, each in (("CPU", cluster.cpus_per_actor), ("GPU", cluster.gpus_per_actor)):
            wanted = each * cluster.actors
            if wanted <= there.get(kind, 0):
                continue
            message = (
                f"--actors {cluster.actors} need {wanted:g} {kind}s, and Ray has "
                f"{there.get(kind, 0):g}"
            )
            if cluster.address is None:
                raise RunError(f"{message}; lower --actors or --{kind.lower()}s-per-actor")
            log.info(f"{message}; waiting for the cluster to grow")

    def check(self) -> list[SourceCheck]:
        """Read the whole input once, and find ids that occur in two sources.

        Raises:
            DataError: The first mistake in the order of the sources.
        """
        inputs = self.inputs

        def check(index: int) -> Iterator[tuple[int, bytes]]:
            rows = CheckedRows(inputs.rows(index))
            hashes: list[int] = []
            for row in rows:
                hashes.append(_id_hash(row))
                if len(hashes) == _IDS_PER_PIECE:
                    yield 1, np.array(hashes, dtype=np.uint64).tobytes()
                    hashes = []
            yield 1, np.array(hashes, dtype=np.uint64).tobytes()
            yield 0, json.dumps(rows.check()).encode()

        count = len(inputs.sources)
        hashes: list[list[np.ndarray]] = [[] for _ in range(count)]
        checks: dict[int, SourceCheck] = {}
        mistakes: dict[int, HierBertError] = {}
        with Progress(None, "checking the input", unit="rows") as bar:
            for source, kind, data in self._rows(self._map_sources(check, range(count), None)):
                if kind == 1:
                    hashes[source].append(np.frombuffer(data, dtype=np.uint64))
                    bar.advance(len(hashes[source][-1]))
                elif kind == 0:
                    checks[source] = SourceCheck(*json.loads(data))
                else:
                    mistakes[source] = error_of(json.loads(data))
        if mistakes:
            raise mistakes[min(mistakes)]
        self._repeated = self._find_repeated(hashes)
        ordered = [checks[index] for index in range(count)]
        say_broken(ordered)
        return ordered

    def answer(self, predictor: HierBertPredictor, question: Question, job: "JobOnDisk") -> None:
        """Answer the units that are not done.

        Args:
            predictor: The model; only what actors need to know of it is taken.
            question: What is asked.
            job: Takes the word that a unit is done.

        Raises:
            HierBertError: The first mistake; units that were done stay.
        """
        assert job.checks is not None
        inputs, checks, cuts = self.inputs, job.checks, job.cuts
        count, repeated = len(inputs.sources), self._repeated
        done: list[dict[UnitName, str]] = [{} for _ in range(count)]
        for name, digest in job.done.items():
            if name.source >= count:
                raise RunError(
                    f"--resume: the job had more than {count} sources, and has {count} now; "
                    "--overwrite starts anew"
                )
            done[name.source][name] = digest
        names = [source.name for source in inputs.sources]
        on_gpus = self.cluster.gpus_per_actor > 0
        units_per_call = _UNITS_PER_CALL_ON_GPUS if on_gpus else _UNITS_PER_CALL

        def read(index: int) -> Iterator[tuple[int, bytes]]:
            rows = _without_repeated(
                inputs.checked_rows(index, checks[index]), repeated.get(index, {})
            )
            before = sum(check.rows for check in checks[:index])
            units = cut_units(rows, index, cuts, before)
            for call in _calls(own_units(units, done[index], names=names), units_per_call):
                yield 0, pack(call)

        readers = min(count, max(1, self.cluster.actors // _ACTORS_PER_READER))
        ahead = _CALLS_AHEAD * (self.cluster.actors + readers) + readers
        data = self._ray.data
        data.DataContext.get_current().execution_options.resource_limits = data.ExecutionResources(
            # A unit may end with a row that is larger than all the others.
            object_store_memory=ahead * max(4 * cuts.size * units_per_call, 1 << 20)
        )
        calls = self._map_sources(read, range(count), readers).map_batches(
            UnitAnswerer,
            fn_constructor_args=(self.answering(predictor, question), job.target, job.units),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=self.cluster.actors),
            num_cpus=self.cluster.cpus_per_actor,
            num_gpus=self.cluster.gpus_per_actor or None,
        )
        size = sum(check.size for check in checks)
        with Progress(size, "predicting", unit="bytes", initial=job.size_before) as bar:
            for _, kind, values in self._rows(calls):
                if kind < 0:
                    raise error_of(json.loads(values))
                for end in (UnitEnd(*end) for end in json.loads(values)):
                    bar.advance(end.size)
                    job.unit_ended(end)

    def answering(self, predictor: HierBertPredictor, question: Question) -> "Answering":
        """What the actors are told."""
        folder = os.path.expanduser(self.options.model)
        path = os.path.abspath(folder) if os.path.isdir(folder) else self.options.model
        names = ("device", "dtype", "batch_tokens", "tokens_per_forward", "compile")
        options = {name: getattr(self.options, name) for name in names}
        if predictor.commit is not None:
            # A Hub id: all processes take the same commit.
            options["revision"] = predictor.commit
        return Answering(
            path,
            folder_fingerprint(path),
            question,
            {**options, "vector_cache": cache_options(self.options)},
            self.options.on_error == "skip",
            max(1, int(self.cluster.cpus_per_actor)),
        )

    def _find_repeated(self, hashes: list[list[np.ndarray]]) -> dict[int, dict[int, str]]:
        """Rows whose ids occur in a source before."""
        joined = [np.concatenate(pieces) for pieces in hashes]
        wanted = repeated_hashes(joined)
        if not len(wanted):
            return {}
        holds = [np.isin(values, wanted) for values in joined]
        inputs = self.inputs
        if sum(int(where.sum()) for where in holds) > _MOST_REPEATED:
            named = [s.name for s, where in zip(inputs.sources, holds, strict=True) if where.any()]
            raise DataError(
                f"--input: {len(wanted):,} ids occur in several sources, such as "
                f"{' and '.join(named[:2])}; name each document once"
            )

        def find(index: int) -> Iterator[tuple[int, bytes]]:
            yield 0, json.dumps(find_rows(inputs, index, wanted)).encode()

        found: dict[int, list[tuple[int, str, str]]] = {}
        some = [index for index, where in enumerate(holds) if where.any()]
        for source, kind, data in self._rows(self._map_sources(find, some, None)):
            if kind < 0:
                raise error_of(json.loads(data))
            found[source] = json.loads(data)
        repeated = repeated_ids(found)
        if repeated and not inputs.keep_broken:
            first = repeated[min(repeated)]
            raise first[min(first)]
        return {
            index: {number: error.as_row().reason for number, error in errors.items()}
            for index, errors in repeated.items()
        }

    def _map_sources(
        self,
        read: Callable[[int], Iterator[tuple[int, bytes]]],
        indexes: Iterable[int],
        readers: int | None,
    ) -> Any:
        """A dataset of sources, kinds and bytes, from a function of sources; -1 is a mistake."""

        def rows(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
            for index in map(int, batch["source"]):
                try:
                    for kind, data in read(index):
                        yield _row(index, kind, data)
                except HierBertError as error:
                    yield _row(index, -1, json.dumps(error_values(error)).encode())

        data = self._ray.data
        items = [{"source": index} for index in indexes]
        sources = data.from_items(items, override_num_blocks=len(items))
        # Readers beside actors take no core: there may be none left, and they mostly wait.
        cores, compute = (1.0, None) if readers is None else (0.0, data.TaskPoolStrategy(readers))
        return sources.map_batches(rows, batch_size=1, num_cpus=cores, compute=compute)

    def _rows(self, dataset: Any) -> Iterator[tuple[int, int, bytes]]:
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
        there = self._ray.exceptions
        failed = tuple(getattr(there, name) for name in names if hasattr(there, name))
        try:
            for row in dataset.iter_rows():
                yield int(row["source"]), int(row["kind"]), row["data"]
        except failed as error:
            words = " ".join(str(error).split())
            raise RunError(
                f"Ray lost processes or machines and gave up ({type(error).__name__}): {words}"
            ) from error


def _row(source: int, kind: int, data: bytes) -> dict[str, Any]:
    values = {"source": np.array([source]), "kind": np.array([kind])}
    return {**values, "data": np.array([data], dtype=object)}


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


# Ids that occur in two sources, which several processes read.


def _id_hash(row: InputRow) -> int:
    """64 bits; 0 stands for no id."""
    if row.text is None or row.id is None:
        return 0
    data = row.id.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def repeated_hashes(hashes: list[np.ndarray]) -> np.ndarray:
    """The hashes that occur more than once among those of all sources (uint64, sorted).

    Within a source, reading itself finds ids that occur twice; over all of them this holds two
    times 8 bytes for each row.
    """
    if len(hashes) < 2:
        return np.array([], dtype=np.uint64)
    every = np.concatenate(hashes)
    every.sort()
    same = every[1:][every[1:] == every[:-1]]
    return np.unique(same[same != 0])


def find_rows(inputs: Inputs, index: int, wanted: np.ndarray) -> list[tuple[int, str, str]]:
    """The rows of a source whose ids have certain hashes: number from 0, id and location."""
    hashes = set(wanted.tolist())
    return [
        (number, row.id or "", row.location)
        for number, row in enumerate(inputs.rows(index))
        if _id_hash(row) in hashes
    ]


def repeated_ids(
    rows: dict[int, list[tuple[int, str, str]]],
) -> dict[int, dict[int, RowError]]:
    """Which rows have an id that a row before has.

    Args:
        rows: Of each source what `find_rows` gave.

    Returns:
        Of each source the rows to leave out, each with the reason.
    """
    first: dict[str, str] = {}
    repeated: dict[int, dict[int, RowError]] = {}
    for index in sorted(rows):
        for number, document_id, location in rows[index]:
            if (before := first.setdefault(document_id, location)) != location:
                error = repeated_id(document_id, location, before)
                repeated.setdefault(index, {})[number] = error
    return repeated


def _without_repeated(rows: Iterable[InputRow], repeated: dict[int, str]) -> Iterator[InputRow]:
    for number, row in enumerate(rows):
        if number in repeated:
            row = broken_row(row.location, row.id, repeated[number])
        yield row


# What actors do.


def _calls(items: Iterable[Item], units: int) -> Iterator[list[Item]]:
    """Units in lists of so many, for a call of an actor each."""
    call: list[Item] = []
    ended = 0
    for item in items:
        if isinstance(item, Passed):
            continue
        call.append(item)
        ended += isinstance(item, UnitEnd)
        if ended == units:
            yield call
            call, ended = [], 0
    if call:
        yield call


_KINDS = (UnitName, InputRow, UnitEnd)


def pack(items: list[Item]) -> bytes:
    """Units as bytes: JSON, for columns of text hold no halves of surrogate pairs."""
    values = [[_KINDS.index(type(item)), *item] for item in items]
    return json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass")


def unpack(data: bytes) -> list[Item]:
    """What `pack` was given."""
    values = json.loads(data.decode("utf-8", "surrogatepass"))
    return [cast(Item, _KINDS[kind](*fields)) for kind, *fields in values]


@dataclass(frozen=True)
class Answering:
    """How documents are answered: the same in every process.

    Attributes:
        model: A folder under the same path on every machine, or a Hub id.
        fingerprint: Of the files of the model that was checked.
        question: What is asked.
        options: Of `HierBertPredictor.from_pretrained`.
        skip: Whether a document that cannot be answered is an error of its own.
        threads: Of torch, on a CPU.
        version: Of hierbert.
    """

    model: str
    fingerprint: str
    question: Question
    options: dict[str, Any]
    skip: bool = False
    threads: int = 1
    version: str = hierbert.__version__


class UnitAnswerer:
    """An actor: it holds the model, answers units and writes them.

    It knows Ray no more than by the shape of a batch. A mistake is returned, not raised. Units that
    keep ending their process are taken document by document, so that the one that does it is
    found, see `Tries`: it goes to the errors, or ends the job.

    Args:
        answering: How to answer.
        target: The output.
        folder: Where units go.
    """

    def __init__(self, answering: Answering, target: OutputFolder, folder: Path) -> None:
        self._target, self._folder = target, folder
        self._mistake: HierBertError | None = None
        self._ended: list[UnitEnd] = []
        self._writer = UnitWriter(folder, target.writing, self._ended.append)
        torch.set_num_threads(answering.threads)
        try:
            if hierbert.__version__ != answering.version:
                raise RunError(
                    f"a machine has hierbert {hierbert.__version__}, where the job was started "
                    f"with {answering.version}; install the same on all"
                )
            if folder_fingerprint(answering.model) != answering.fingerprint:
                raise ModelError(f"model {answering.model} is another one on one of the machines")
            predictor = HierBertPredictor.from_pretrained(answering.model, **answering.options)
            self._job = Job(predictor, answering.question, self._writer, answering.skip)
        except HierBertError as error:
            self._mistake = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer units.

        Args:
            batch: `source` (numbers), `kind` (-1 for a mistake of reading) and `data` (what `pack`
                gave, or the mistake).

        Returns:
            The same, `data` being the ends of the units that are done, or the mistake, as JSON.
        """
        results = [
            (kind, data) if kind < 0 else self._answer(data)
            for kind, data in zip(batch["kind"], batch["data"], strict=True)
        ]
        return {
            "source": batch["source"],
            "kind": np.array([kind for kind, _ in results]),
            "data": np.array([data for _, data in results], dtype=object),
        }

    def _answer(self, data: bytes) -> tuple[int, bytes]:
        self._ended.clear()
        try:
            if self._mistake is not None:
                raise self._mistake
            with self._target.writing():
                self._write(unpack(data))
        except HierBertError as error:
            return -1, json.dumps(error_values(error)).encode()
        finally:
            self._writer.abandon()
        return 0, json.dumps(self._ended).encode()

    def _write(self, items: list[Item]) -> None:
        first = items[0]
        assert isinstance(first, UnitName)
        tries = Tries(self._folder / f"tries-{first.source}-{first.number}")
        todo: list[Item] = []
        is_done = False
        for item in items:
            if isinstance(item, UnitName):
                # By a process that was lost before it could say so.
                is_done = read_footer(unit_path(self._folder, item)) is not None
            if not is_done:
                todo.append(item)
            elif isinstance(item, UnitEnd):
                self._ended.append(item)
        self._job.run(todo, tries)
        tries.forget()
