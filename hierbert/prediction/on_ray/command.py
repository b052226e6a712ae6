"""`infer.py --engine ray`: the options of the command, as the arguments of `run_on_ray`."""

import argparse
import os
from pathlib import Path

from hierbert.data.columns import Columns
from hierbert.errors import ConfigError, flag_setting
from hierbert.log import log
from hierbert.prediction.on_ray.engine import Cluster, RayReport, run_on_ray
from hierbert.prediction.options import BUDGETS, cache_options
from hierbert.prediction.output_folder import ERRORS
from hierbert.prediction.outputs import FORMATS
from hierbert.prediction.run import WITH_ERRORS

_ROWS_PER_PART = 10_000


def execute(options: argparse.Namespace) -> int:
    """Run the job on Ray.

    Args:
        options: From `parse_options`.

    Returns:
        The exit code: 0, or `WITH_ERRORS`.

    Raises:
        HierBertError: What `run_on_ray` raises, and options that do not go together.
    """
    _refuse(options)
    given = {name: getattr(options, name) for name in ("actors", "cpus_per_actor")}
    given |= {"gpus_per_actor": options.gpus_per_actor, "address": options.ray_address}
    report = run_on_ray(
        options.model,
        options.input,
        options.output,
        cluster=Cluster(**{name: value for name, value in given.items() if value is not None}),
        columns=Columns(text=options.text_column, id=options.id_column),
        encoding=options.encoding,
        output_format=options.output_format or "jsonl",
        tasks=options.task if options.task in (None, "all") else (options.task,),
        budget={name: getattr(options, name) for name in BUDGETS},
        order=options.order,
        redundancy=options.redundancy,
        segment_vectors=options.segment_vectors,
        options={
            "device": options.device,
            "dtype": options.dtype,
            "batch_tokens": options.batch_tokens,
            "tokens_per_forward": options.tokens_per_forward,
            "compile": options.compile,
            "vector_cache": cache_options(options),
        },
        on_error=options.on_error,
        resume=options.resume,
        overwrite=options.overwrite,
        rows_per_part=options.rows_per_shard or _ROWS_PER_PART,
    )
    _say(report, Path(options.output))
    return WITH_ERRORS if report.errors else 0


def _refuse(options: argparse.Namespace) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("--engine ray starts its own processes; start it without torchrun")
    if not options.check:
        raise ConfigError("--no-check is not allowed with --engine ray: the check plans the parts")
    ending = Path(options.output).suffix.lower().lstrip(".")
    if options.output == "-" or ending in (*FORMATS, "ndjson"):
        raise ConfigError(
            f"--output {options.output}: --engine ray makes a folder; name one without an ending, "
            f"and the format by {flag_setting('output_format')}"
        )


def _say(report: RayReport, output: Path) -> None:
    if report.shortened:
        log.info(
            f"documents cut to the model's max_segments: {report.shortened:,} (segments left out: "
            f"{report.omitted_segments:,}; see `omission` in their rows)"
        )
    before = f" ({report.rows_before:,} rows of them before)" if report.rows_before else ""
    failed = ""
    if report.errors:
        failed = f"; {report.errors:,} rows could not be answered (see {output / ERRORS})"
    log.info(f"{report.answers:,} documents{before} -> {output}{failed}")
