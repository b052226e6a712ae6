"""The batch job on Ray Data: one machine's cores or GPUs, or those of a cluster.

    report = run_on_ray("runs/NAME/model", ["docs/"], "answers", actors=8, gpus_per_actor=1)

The input is checked whole first, a task for each source. Then sources are streamed, cut into
parts, and `map_batches` hands each part to one of the actors, which hold the model and write the
part's file; only what a part holds comes back. Ray's back pressure bounds what is read ahead, and
Ray repeats what a dead process or machine was at. It works on files: input, model and output must
lie under the same paths on every machine. Invariant: a part is done when its marker is there, see
`output`, and is done once.
"""

import contextlib
import json
import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hierbert.data.columns import Columns
from hierbert.errors import ConfigError, flag_setting
from hierbert.files import FolderLock
from hierbert.loading.fingerprints import folder_fingerprint
from hierbert.log import log
from hierbert.prediction.on_ray.actor import Answering
from hierbert.prediction.on_ray.input import Reading
from hierbert.prediction.on_ray.job import Cluster, RayJob, ray_session
from hierbert.prediction.on_ray.output import PartFolder
from hierbert.prediction.on_ray.plan import part_limits
from hierbert.prediction.options import BUDGETS, refuse_idle_flags
from hierbert.prediction.outputs import FORMATS
from hierbert.prediction.predictor import HierBertPredictor
from hierbert.prediction.resuming import refuse_other_settings

__all__ = ["Cluster", "RayReport", "run_on_ray"]

_LEAST_DIGITS = 5
# A part of a few seconds on a GPU, of some minutes on a core.
_CHARACTERS_ON_CORES = 8_000_000
_CHARACTERS_ON_GPUS = 64_000_000


@dataclass(frozen=True)
class RayReport:
    """What a job did.

    Attributes:
        answers: Documents that were answered, those of the job before included.
        errors: Rows in errors.jsonl.
        rows_before: How many rows had been dealt with before it was resumed.
        parts: How many parts there are; one without answers has no file.
        shortened: Documents that `max_segments` took something from.
        omitted_segments: How many segments it took.
    """

    answers: int
    errors: int
    rows_before: int
    parts: int
    shortened: int
    omitted_segments: int


def run_on_ray(
    model: str,
    sources: list[str],
    output: str,
    *,
    cluster: Cluster | None = None,
    columns: Columns | None = None,
    encoding: str = "utf-8",
    output_format: str = "jsonl",
    tasks: Sequence[str] | Literal["all"] | None = None,
    budget: dict[str, Any] | None = None,
    order: str | None = None,
    redundancy: float | None = None,
    segment_vectors: bool = False,
    options: dict[str, Any] | None = None,
    on_error: str = "stop",
    resume: bool = False,
    overwrite: bool = False,
    rows_per_part: int = 10_000,
    characters_per_part: int | None = None,
) -> RayReport:
    """Answer every document of the input, into a folder of parts.

    Args:
        model: A model's folder, or a Hub id.
        sources: Paths, globs, folders or Hub ids: as for `infer.py`, but for standard input.
        output: The folder; it gets part-00000 and so on in the order of the input, errors.jsonl
            where there are errors, and a manifest.json that says what is there.
        cluster: Who works; None for one process on one core.
        columns: Which column holds what; None for `text`, and `id` where there is one.
        encoding: Of text files.
        output_format: "jsonl", "csv" or "parquet".
        tasks: Of "classify", "summarize", "embed", or "all"; None for all the model's heads.
        budget: Fields of `Budget`; None for the model's own.
        order: Of summaries; None for the model's own.
        redundancy: Of summaries; None for the model's own.
        segment_vectors: Whether "embed" gives those too.
        options: Of `HierBertPredictor.from_pretrained`, such as `device` and `dtype`.
        on_error: "stop" at the first row that cannot be read or answered, or "skip" it: it goes
            to errors.jsonl.
        resume: Go on with an interrupted job of the same settings and input.
        overwrite: Replace a job that is there.
        rows_per_part: Most rows of a part.
        characters_per_part: Most characters of a part, but for a longer document; None for 8
            million, and 64 million on GPUs. Killing a job loses at most a part of each actor;
            small inputs get smaller parts.

    Returns:
        What was done.

    Raises:
        ConfigError: Ray is not installed, or a setting is not allowed.
        DataError: The input cannot be read.
        ModelError: The model cannot be loaded or cannot do a task.
        RunError: The folder cannot be written or resumed, or processes kept dying.
    """
    cluster = cluster or Cluster()
    options = dict(options or {})
    if characters_per_part is None:
        on_gpus = cluster.gpus_per_actor > 0
        characters_per_part = _CHARACTERS_ON_GPUS if on_gpus else _CHARACTERS_ON_CORES
    _check_settings(on_error, output_format, options, rows_per_part, characters_per_part)
    ray = _import_ray()
    keep_broken = on_error == "skip"
    reading = Reading.of(sources, columns or Columns(), encoding, keep_broken)
    folder = PartFolder(Path(os.path.expanduser(output)).absolute(), output_format)
    paths = [source.path for source in reading.sources if source.path is not None]
    if folder.check(resume, overwrite, paths):
        # Of a Hub id, the job goes on with the commit it has begun with.
        commit = folder.read_manifest()["settings"].get("revision")
        if commit is not None and not os.path.isdir(os.path.expanduser(model)):
            options.setdefault("revision", commit)
    answering = _answering(
        model, tasks, budget, order, redundancy, segment_vectors, options, keep_broken, cluster
    )
    settings = _settings(answering, reading, output_format)
    with contextlib.ExitStack() as stack:
        stack.enter_context(FolderLock(folder.path, f"--output {folder.path}"))
        # Another job may have ended since the first look.
        goes_on = folder.check(resume, overwrite, paths)
        if goes_on:
            refuse_other_settings(folder.read_manifest()["settings"], settings)
        stack.enter_context(ray_session(ray, cluster))
        job = RayJob(ray, cluster, reading)
        if goes_on:
            plan = folder.go_on()
            job.refuse_other_input(plan)
        else:
            limits = part_limits(reading, cluster.actors, rows_per_part, characters_per_part)
            plan = job.check(limits)
            folder.start(settings, plan)
        folder = PartFolder(folder.path, folder.kind, max(_LEAST_DIGITS, len(str(plan.parts))))
        before = folder.done()
        if before:
            log.info(f"resuming: {len(before):,} of {plan.parts:,} parts are done")
        try:
            job.answer(plan, folder, answering)
        except BaseException:
            log.info(
                f"{folder.path} holds {len(folder.done()):,} of {plan.parts:,} parts; the same "
                "command with --resume goes on after them"
            )
            raise
        values = folder.finish(settings, plan)
    return RayReport(
        values["answers"],
        values["errors"],
        sum(part.rows for part in before.values()),
        len(values["parts"]),
        values["shortened"],
        values["omitted_segments"],
    )


def _check_settings(
    on_error: str, output_format: str, options: dict[str, Any], rows: int, characters: int
) -> None:
    for name, value, allowed in (
        ("on_error", on_error, ("stop", "skip")),
        ("output_format", output_format, FORMATS),
    ):
        if value not in allowed:
            raise ConfigError(
                f"{flag_setting(name)} {value!r} is not allowed; choose from {', '.join(allowed)}"
            )
    for name, number in (("rows_per_part", rows), ("characters_per_part", characters)):
        if number < 1:
            raise ConfigError(f"{flag_setting(name)} {number} is not allowed: at least 1")
    if options.get("dtype") == "auto":
        raise ConfigError(
            "--dtype auto is not allowed with --engine ray: machines could choose differently; "
            "name one"
        )


def _import_ray() -> Any:
    # Ray would report its use to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(
            f"--engine ray needs Ray, which is missing ({error}): pip install 'hierbert[ray]'"
        ) from error
    return ray


def _answering(
    model: str,
    tasks: Sequence[str] | Literal["all"] | None,
    budget: dict[str, Any] | None,
    order: str | None,
    redundancy: float | None,
    segment_vectors: bool,
    options: dict[str, Any],
    skip_errors: bool,
    cluster: Cluster,
) -> Answering:
    """Load the model once here, so that what is wrong with it is told before anything starts."""
    # Where it will run, and how fast, is for the machines of the actors.
    here = {"device": "cpu", "dtype": "float32", "tokens_per_forward": None, "compile": False}
    predictor = HierBertPredictor.from_pretrained(
        model, **{**options, **here, "vector_cache": None}
    )
    asked = predictor.check_tasks(predictor.tasks if tasks == "all" else tasks)
    given = {**dict.fromkeys(BUDGETS), **(budget or {}), "order": order, "redundancy": redundancy}
    refuse_idle_flags(Namespace(**given, segment_vectors=segment_vectors), asked)
    folder = os.path.expanduser(model)
    path = os.path.abspath(folder) if os.path.isdir(folder) else model
    fingerprint = folder_fingerprint(path)
    if predictor.commit is not None:
        # A Hub id: all processes take the same commit.
        options = {**options, "revision": predictor.commit}
    return Answering(
        path,
        fingerprint,
        asked,
        predictor.summary_rule(budget, order, redundancy),
        segment_vectors,
        options,
        skip_errors,
        max(1, int(cluster.cpus_per_actor)),
    )


def _settings(answering: Answering, reading: Reading, kind: str) -> dict[str, Any]:
    """What rows depend on: a job goes on only with the same."""
    options = answering.options
    values = {
        "model": answering.fingerprint,
        "revision": options.get("revision"),
        "dtype": options.get("dtype", "float32"),
        "task": list(answering.tasks),
        "summary": repr(answering.rule),
        "segment_vectors": answering.segment_vectors,
        "text_column": reading.columns.text,
        "id_column": reading.columns.id,
        "encoding": reading.encoding,
        "output_format": kind,
        "hierbert": answering.version,
    }
    return dict(json.loads(json.dumps(values)))
