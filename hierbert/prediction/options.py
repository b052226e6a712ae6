"""The options of the inference command, and what they may not say.

Invariant: what is refused here costs nothing: no model is loaded and no document read.
"""

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierbert.cli.common import CommandLineParser
from hierbert.data.readers import allowed_endings, stdin_formats
from hierbert.errors import ConfigError, flag_setting
from hierbert.model.selection import SUMMARY_BUDGETS as BUDGETS
from hierbert.model.selection import SUMMARY_ORDERS
from hierbert.prediction.answer_files import FORMATS, output_format
from hierbert.prediction.output_folder import OutputFolder

if TYPE_CHECKING:
    from hierbert.vectors.cache import CacheOptions

EXAMPLES = f"""examples:
  python infer.py --model runs/NAME/model --input docs.jsonl --output answers.jsonl
  python infer.py --model runs/NAME/model --input 'docs/*.csv' --text-column body \\
      --output answers.parquet --task classify
  python infer.py --model runs/NAME/model --input papers/ --output out.jsonl --task summarize \\
      --max-words 150 --redundancy 0.3
  cat docs.jsonl | python infer.py --model runs/NAME/model --input - --output - | head
  torchrun --nproc_per_node 2 infer.py --model runs/NAME/model --input 'docs/*.parquet' \\
      --output answers --rows-per-shard 10000 --output-format parquet --on-error skip

input:  {allowed_endings()},
        a Hub dataset id, or - for standard input
output: one row for each document, in the order of the input: id, label (or labels),
        probabilities, summary, sentences (text, start, end, score), and omission where the
        model's max_segments left something out. What is done is kept in OUTPUT.partial until
        the file is whole, or in the folder itself with --rows-per-shard; --resume goes on with
        it, after kill -9 too, also with another number of processes or on the other engine
exit:   0 when every row is answered, 3 when rows are in errors.jsonl, 2 for a mistake, 130 or
        143 when interrupted
"""

_NUMBERS = ("batch_tokens", "rows_per_shard", *BUDGETS[:4])
RAY = ("actors", "cpus_per_actor", "gpus_per_actor", "ray_address")
_ROWS_PER_SHARD_ON_RAY = 10_000
PROBED = ("dtype", "tokens_per_forward")
_NOT_IN_ROWS = (
    # Rows and the model are known by their fingerprints, wherever they lie.
    "model",
    "input",
    "input_format",
    "encoding",
    "text_column",
    "id_column",
    "on_error",
    "check",
    "output",
    "output_format",
    "resume",
    "overwrite",
    "device",
    "batch_tokens",
    "tokens_per_forward",
    "compile",
    "cache_dir",
    "cache_limit_gib",
    "engine",
    *RAY,
)


def build_parser(prog: str = "infer.py") -> argparse.ArgumentParser:
    """The options of the command, under the name that its help gives it."""
    parser = CommandLineParser(
        prog=prog,
        description="Classify, summarize or embed documents of any length with a trained model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, help="folder of a trained model (runs/NAME/model), or a Hub id")
    add("--input", required=True, nargs="+", help="files, globs, folders, a Hub id, or -")
    add(
        "--output",
        required=True,
        help="a .jsonl, .csv or .parquet file, or - for jsonl; a folder with --rows-per-shard",
    )
    add(
        "--rows-per-shard",
        type=int,
        metavar="N",
        help="write a folder of files, each of the answers to N rows and there as soon as they are "
        "done, with a manifest.json",
    )
    add(
        "--on-error",
        default="stop",
        choices=("stop", "skip"),
        help="with a row that cannot be read or answered: stop, or skip it and write row, id and "
        "reason to errors.jsonl (default: stop)",
    )
    add(
        "--task",
        choices=("classify", "summarize", "embed", "all"),
        help="all adds vectors; default: what the model has heads for",
    )
    budget = parser.add_argument_group("summary (default: as the model was trained)")
    add_budget = budget.add_mutually_exclusive_group().add_argument
    add_budget("--max-words", type=int, metavar="N")
    add_budget("--max-sentences", type=int, metavar="N")
    add_budget("--max-tokens", type=int, metavar="N")
    add_budget("--max-characters", type=int, metavar="N")
    add_budget("--ratio", type=float, metavar="R", help="part of the document's words, 0 to 1")
    budget.add_argument("--order", choices=SUMMARY_ORDERS)
    budget.add_argument(
        "--redundancy", type=float, metavar="R", help="avoid repetition: 0 (off) to 1"
    )
    add("--segment-vectors", action="store_true", help="with embed: vectors of segments too")
    add("--text-column", default="text", help="column of the text (default: text)")
    add("--id-column", help='column of the id (default: "id" if there, else made)')
    add("--encoding", default="utf-8", help="of text files (default: utf-8)")
    add(
        "--input-format",
        default="jsonl",
        choices=stdin_formats(),
        help="of standard input (default: jsonl)",
    )
    add(
        "--output-format", choices=("jsonl", "csv", "parquet"), help="default: by the ending; jsonl"
    )
    add(
        "--batch-tokens",
        type=int,
        metavar="N",
        help="tokens of a batch of documents (default: 16 times those of a pass)",
    )
    add(
        "--tokens-per-forward",
        type=_tokens,
        metavar="N",
        help="tokens of one pass of the encoder, or auto to measure which is fastest here "
        "(default: 2048 on a CPU, 32768 elsewhere)",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16", "float16", "int8", "auto"),
        help="default: float32; the others answer slightly differently; int8 is for CPUs; auto "
        "measures whether bfloat16 or float16 is faster here",
    )
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the encoder first, which takes some seconds; halves the time of int8 "
        "(default: with int8)",
    )
    add_kept = parser.add_argument_group(
        "cached vectors (a document that was read before, in training or by another job with the "
        "same encoder, is not encoded again)"
    ).add_argument
    add_kept("--cache-dir", metavar="DIR", help="keep vectors in DIR (default: keep none)")
    add_kept(
        "--cache-dtype",
        choices=("float32", "float16"),
        help="default: float32; float16 takes half the room and answers slightly differently",
    )
    add_kept(
        "--cache-limit-gib",
        type=float,
        metavar="G",
        help="most GiB of DIR (default: half of the disk's free room)",
    )
    add(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read all input once before the first document, so that broken rows are told at "
        "once and the time left is known (default: yes)",
    )
    add_ray = parser.add_argument_group(
        "Ray (many machines; see the README): the same job, on all of them"
    ).add_argument
    add_ray("--engine", choices=("local", "ray"), default="local", help="default: local")
    add_ray("--actors", type=int, metavar="N", help="processes that hold the model (default: 1)")
    add_ray("--cpus-per-actor", type=float, metavar="C", help="default: 1")
    add_ray("--gpus-per-actor", type=float, metavar="G", help="0.25 lets four share one; default 0")
    add_ray("--ray-address", metavar="A", help="of a running Ray, or auto; default: start one")
    add("--resume", action="store_true", help="go on with an interrupted job of the same settings")
    add("--overwrite", action="store_true", help="replace an output that exists")
    return parser


def _tokens(value: str) -> int | str:
    """A number of at least 1, or auto."""
    if value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not allowed: auto, or at least 1")
    return int(value)


def parse_options(argv: Sequence[str], prog: str = "infer.py") -> argparse.Namespace:
    """Read a command line.

    Raises:
        ConfigError: It makes no sense.
    """
    options = build_parser(prog).parse_args(argv)
    for name in _NUMBERS:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"{flag_setting(name)} {value} is not allowed: at least 1")
    if options.resume and options.overwrite:
        raise ConfigError("--resume goes on with what is there, --overwrite starts anew: give one")
    for name in RAY:
        if options.engine != "ray" and getattr(options, name) is not None:
            raise ConfigError(f"{flag_setting(name)} needs --engine ray")
    if options.engine == "ray":
        _check_for_ray(options)
    return options


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
    if options.dtype == "auto":
        raise ConfigError(
            "--dtype auto is not allowed with --engine ray: machines could choose differently; "
            "name one"
        )
    # Of None the defaults of `Cluster`.
    for name, least in (("actors", 1), ("cpus_per_actor", 0), ("gpus_per_actor", 0)):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value >= least):
            allowed = "at least 1" if least else "0 or more"
            raise ConfigError(f"{flag_setting(name)} {value} is not allowed: {allowed}")
    is_file = Path(options.output).suffix.lower().lstrip(".") in (*FORMATS, "ndjson")
    if options.rows_per_shard is None and not is_file:
        options.rows_per_shard = _ROWS_PER_SHARD_ON_RAY


def find_target(options: argparse.Namespace) -> OutputFolder | None:
    """The output on disk; None for standard output.

    Raises:
        ConfigError: The options do not go together.
    """
    path = Path(os.path.expanduser(options.output))
    if options.output == "-":
        for name in ("resume", "overwrite", "rows_per_shard"):
            if getattr(options, name):
                raise ConfigError(f"{flag_setting(name)} needs an output on disk, not --output -")
        output_format(options.output, options.output_format)
        return None
    if options.rows_per_shard is None:
        return OutputFolder(path, output_format(options.output, options.output_format))
    if path.suffix.lower().lstrip(".") in (*FORMATS, "ndjson"):
        raise ConfigError(
            f"--output {options.output}: --rows-per-shard makes a folder; name one without an "
            "ending, and the format by --output-format"
        )
    return OutputFolder(path, options.output_format or "jsonl", options.rows_per_shard)


def cache_options(options: argparse.Namespace) -> "CacheOptions | None":
    """Where vectors are kept; None keeps none.

    Raises:
        ConfigError: An option of the cache without the cache.
    """
    from hierbert.vectors.cache import CacheOptions

    if options.cache_dir is None:
        for name in ("cache_dtype", "cache_limit_gib"):
            if getattr(options, name) is not None:
                raise ConfigError(f"{flag_setting(name)} needs --cache-dir, the folder to keep")
        return None
    dtype = options.cache_dtype or "float32"
    return CacheOptions(options.cache_dir, dtype, options.cache_limit_gib)


def refuse_idle_flags(options: argparse.Namespace, tasks: Sequence[str]) -> None:
    """A flag that would change nothing is a misunderstanding.

    Raises:
        ConfigError: There is one.
    """
    needs = dict.fromkeys((*BUDGETS, "order", "redundancy"), "summarize")
    needs["segment_vectors"] = "embed"
    for name, task in needs.items():
        if getattr(options, name) not in (None, False) and task not in tasks:
            raise ConfigError(
                f"{flag_setting(name)} is for the task {task}; the tasks here are "
                f"{', '.join(tasks)}"
            )


def asked_tasks(asked: str | None, possible: tuple[str, ...]) -> tuple[str, ...] | None:
    """The tasks of --task; None where it was not given."""
    if asked == "all":
        return possible
    return None if asked is None else (asked,)


def settings_of(
    options: argparse.Namespace, tasks: Sequence[str], target: OutputFolder
) -> dict[str, Any]:
    """What answers depend on beside model and rows: a job goes on only with the same."""
    values = {name: value for name, value in vars(options).items() if name not in _NOT_IN_ROWS}
    # One file may be made in any format: its rows are kept as JSON.
    kind = "jsonl" if target.rows_per_shard is None else target.kind
    return {**values, "task": list(tasks), "output_format": kind}
