"""The options of the inference command, and what they may not say.

Invariant: what is refused here costs nothing: no model is loaded and no document read.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierbert.data.columns import SETTLED, Columns
from hierbert.errors import ConfigError, did_you_mean, flag_setting
from hierbert.pages.page_folder import PageFolder, make_page_folder
from hierbert.prediction.answer_files import FORMATS, format_of, output_format
from hierbert.prediction.output_folder import OutputFolder

if TYPE_CHECKING:
    from hierbert.model.processing_hierbert import HierBertProcessor
    from hierbert.prediction.predictor import HierBert
    from hierbert.prediction.rewriting import Rewriter
    from hierbert.vectors.cache import CacheOptions

ANSWERED = (
    *("id", "label", "labels", "path", "paths", "abstained", "probabilities", "top_labels"),
    *("evidence", "summary", "sentences", "rewritten", "rewritten_sentences", "document_vector"),
    *("segment_vectors", "segment_spans", "over_limit", "query_unmatched", "omission"),
)
"""Fields of answers, whose names columns of the input cannot have there."""
_ANSWERED_WHERE = {"keep_speaker": "speakers", "sentence_kinds": "sentence_kinds"}
"""Others, that are there where an option asks for them."""
RAY = ("actors", "cpus_per_actor", "gpus_per_actor", "ray_address")
_ROWS_PER_SHARD_ON_RAY = 10_000
PROBED = ("dtype", "backend", "tokens_per_forward")
# Rows and the model are known by their fingerprints, wherever they lie.
_NOT_IN_ROWS = {
    *("model", "input", "input_format", "encoding", "text_column", "id_column", "column"),
    *("on_error", "delimiter", "check", "output", "output_format", "csv_safe", "resume"),
    *("overwrite", "rewrite", "rewrite_revision", "device", "batch_tokens", "tokens_per_forward"),
    *("backend", "compile", "cache_dir", "cache_limit_gib", "engine", *RAY),
}


def check_options(options: argparse.Namespace) -> None:
    """Refuse (ConfigError) options that make no sense; some that Ray needs get a default."""
    if options.resume and options.overwrite:
        raise ConfigError("--resume goes on with what is there, --overwrite starts anew: give one")
    for name in ("rewrite_instruction", "rewrite_revision"):
        if options.rewrite is None and getattr(options, name) is not None:
            raise ConfigError(f"{flag_setting(name)} needs --rewrite")
    if options.html is None and options.html_limit is not None:
        raise ConfigError("--html-limit needs --html, the folder of the pages")
    for name in RAY:
        if options.engine != "ray" and getattr(options, name) is not None:
            raise ConfigError(f"{flag_setting(name)} needs --engine ray")
    if options.engine == "ray":
        _check_for_ray(options)


def _check_for_ray(options: argparse.Namespace) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("--engine ray starts its own processes; start it without torchrun")
    if not options.check:
        raise ConfigError("--no-check is not allowed with --engine ray: ids are compared by it")
    if "-" in (options.output, *options.input):
        raise ConfigError(
            "--input - and --output - are not allowed with --engine ray: name files that every "
            "machine can read"
        )
    for name in ("dtype", "backend"):
        if getattr(options, name) == "auto":
            raise ConfigError(
                f"{flag_setting(name)} auto is not allowed with --engine ray: machines could "
                "choose differently; name one"
            )
    is_file = format_of(options.output) in FORMATS
    if options.rows_per_shard is None and not is_file:
        options.rows_per_shard = _ROWS_PER_SHARD_ON_RAY


def find_target(options: argparse.Namespace) -> OutputFolder | None:
    """The output on disk, None for standard output; a ConfigError where options are at odds."""
    path = Path(os.path.expanduser(options.output))
    if options.output == "-":
        for name in ("resume", "overwrite", "rows_per_shard"):
            # Pages may be replaced all the same.
            if getattr(options, name) and not (name == "overwrite" and options.html):
                raise ConfigError(f"{flag_setting(name)} needs an output on disk, not --output -")
    elif options.rows_per_shard is not None and format_of(options.output) in FORMATS:
        raise ConfigError(
            f"--output {options.output}: --rows-per-shard makes a folder; name one without an "
            "ending, and the format by --output-format"
        )
    if options.rows_per_shard is None:
        kind = output_format(options.output, options.output_format)
    else:
        kind = options.output_format or "jsonl"
    if options.csv_safe and kind.removesuffix(".gz") != "csv":
        raise ConfigError(f"--csv-safe is for csv, and --output {options.output} is {kind}")
    pages = pages_of(options)
    if options.output == "-":
        return None
    target = OutputFolder(path, kind, options.rows_per_shard, options.csv_safe, pages)
    if pages is not None:
        apart = [os.path.abspath(one) for one in (path, target.folder)]
        shared = [os.path.commonpath([one, pages.path]) for one in apart]
        if {*shared} & {*apart, str(pages.path)}:
            raise ConfigError(f"--html {options.html} and --output {path} are one in the other")
    return target


def pages_of(options: argparse.Namespace) -> PageFolder | None:
    """Where pages go, if anywhere."""
    return None if options.html is None else make_page_folder(options.html, options.html_limit)


def columns_of(options: argparse.Namespace) -> Columns:
    """Which column of the input holds what; refuses --keep-columns that make no sense."""
    kept: dict[str, str] = {}
    own = {*ANSWERED, *(n for flag, n in _ANSWERED_WHERE.items() if getattr(options, flag, False))}
    for given in ",".join(options.keep_columns).split(",") if options.keep_columns else ():
        column, _, name = (part.strip() for part in given.partition("="))
        name = name or column
        if not column or name in kept or name in own:
            why = "is given twice" if name in kept else "is not allowed: names of other columns"
            new = f"; an answer has {name!r} itself: {column}=NEW" if name in own else ""
            raise ConfigError(f"--keep-columns {column} {why}{new}")
        kept[name] = column
    fields = fields_of(options)
    return Columns(options.text_column, options.id_column, fields, options.delimiter, kept)


def fields_of(options: argparse.Namespace) -> dict[str, str]:
    """Columns of further fields, by the field's name; refuses a --column that makes no sense."""
    fields = {}
    for given in options.column:
        name, equals, column = given.partition("=")
        if not (name and equals and column) or name in SETTLED:
            raise ConfigError(
                f"--column {given} is not allowed: FIELD=NAME, of a field that features read"
            )
        if name in fields:
            raise ConfigError(f"--column {name} is given twice")
        fields[name] = column
    return fields


def cache_options(options: argparse.Namespace) -> "CacheOptions | None":
    """Where vectors are kept, None for nowhere; refuses options of a cache without a cache."""
    from hierbert.vectors.cache import CacheOptions

    if options.cache_dir is None:
        for name in ("cache_dtype", "cache_limit_gib"):
            if getattr(options, name) is not None:
                raise ConfigError(f"{flag_setting(name)} needs --cache-dir, the folder to keep")
        return None
    dtype = options.cache_dtype or "float32"
    return CacheOptions(options.cache_dir, dtype, options.cache_limit_gib)


def check_for_model(
    options: argparse.Namespace, tasks: Sequence[str], processor: "HierBertProcessor"
) -> None:
    """Refuse flags that would change nothing with a model, and a field of its without a column."""
    columns = columns_of(options).fields
    for name, column in columns.items():
        if name not in processor.fields:
            raise ConfigError(f"--column {name}={column}: no feature of the model reads it")
    for name in processor.needed_fields:
        if name not in columns:
            raise ConfigError(f"the model reads the field {name}: give --column {name}=NAME")
    from hierbert.model.heads import HEADS

    needs = {"segment_vectors": ["embed"], "rewrite": ["summarize"]}
    for head in HEADS.values():
        for name in head.settings:
            needs.setdefault(name, []).append(head.verb)
    for name, verbs in needs.items():
        if getattr(options, name, None) not in (None, False) and not set(verbs) & set(tasks):
            raise ConfigError(
                f"{flag_setting(name)} is for the task {' or '.join(verbs)}; the tasks here are "
                f"{', '.join(tasks)}"
            )


def settings_of_heads(options: argparse.Namespace) -> dict[str, Any]:
    """What is set for the heads that answer, by the names of `Head.settings`."""
    from hierbert.model.heads import HEADS

    names = [name for head in HEADS.values() for name in head.settings]
    return {name: getattr(options, name, None) for name in names}


def check_task(options: argparse.Namespace) -> None:
    """Refuse a --task that no head has, before anything costs time."""
    from hierbert.prediction.predictor import known_tasks

    known = [*known_tasks(), "all"]
    if options.task is not None and options.task not in known:
        near = did_you_mean(options.task, known)
        allowed = f"choose from {', '.join(known)}"
        raise ConfigError(f"--task {options.task!r} is not allowed; {allowed}{near}")


def asked_tasks(options: argparse.Namespace, predictor: "HierBert") -> tuple[str, ...]:
    """The tasks that the model is asked; refused as by `HierBert.check_tasks`."""
    if options.task == "all":
        return predictor.tasks
    return predictor.check_tasks(options.task)


def rewriter_of(options: argparse.Namespace) -> "Rewriter | None":
    """What rewrites summaries, if anything does."""
    if options.rewrite is None:
        return None
    from hierbert.prediction.rewriting import Rewriter

    return Rewriter(options.rewrite, options.rewrite_instruction, options.rewrite_revision)


def settings_of(
    options: argparse.Namespace,
    tasks: Sequence[str],
    target: OutputFolder,
    rewriter: "Rewriter | None" = None,
) -> dict[str, Any]:
    """What answers depend on beside model and rows: a job goes on only with the same."""
    values = {name: value for name, value in vars(options).items() if name not in _NOT_IN_ROWS}
    # One file may be made in any format: its rows are kept as JSON.
    kind = "jsonl" if target.rows_per_shard is None else target.kind
    values |= {"task": list(tasks), "output_format": kind}
    values["rewrite"] = None if rewriter is None else rewriter.fingerprint
    values["csv_safe"] = (target.rows_per_shard is not None and target.csv_safe) or None
    # What is not asked for is left out, as by versions that did not know it.
    return {name: value for name, value in values.items() if value is not None}
