"""The command line of inference: `infer.py`, and `hierbert-infer` where hierbert is installed."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hierbert.data.messages import flag_setting
from hierbert.errors import CommandLineParser, ConfigError, run_command
from hierbert.progress import say

if TYPE_CHECKING:
    from hierbert.prediction.partial import Output
    from hierbert.vectors.fill import CacheOptions

EXAMPLES = """examples:
  python infer.py --model runs/NAME/model --input docs.jsonl --output answers.jsonl
  python infer.py --model runs/NAME/model --input 'docs/*.csv' --text-column body \\
      --output answers.parquet --task classify
  python infer.py --model runs/NAME/model --input papers/ --output out.jsonl --task summarize \\
      --max-words 150 --redundancy 0.3
  cat docs.jsonl | python infer.py --model runs/NAME/model --input - --output - | head

input:  csv, tsv, json, jsonl (each also .gz), parquet, a folder of .txt, a Hub dataset id,
        or - for standard input
output: one row for each document, in the order of the input: id, label (or labels),
        probabilities, summary, sentences (text, start, end, score), and omission where the
        model's max_segments left something out. It is written aside, as OUTPUT.partial, and
        renamed when it is whole; --resume goes on with such a file
"""

_BUDGETS = ("max_words", "max_sentences", "max_tokens", "max_characters", "ratio")
_NUMBERS = ("batch_tokens", *_BUDGETS[:4])
_PROBED = ("dtype", "tokens_per_forward")
_NOT_IN_ROWS = (
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
)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = CommandLineParser(
        prog="infer.py",
        description="Classify, summarize or embed documents of any length with a trained model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, help="folder of a trained model (runs/NAME/model), or a Hub id")
    add("--input", required=True, nargs="+", help="files, globs, folders, a Hub id, or -")
    add("--output", required=True, help="a .jsonl, .csv or .parquet file, or - for jsonl")
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
    budget.add_argument("--order", choices=("document", "score"))
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
        choices=("jsonl", "csv", "tsv", "json"),
        help="of standard input (default: jsonl)",
    )
    add("--output-format", choices=("jsonl", "csv", "parquet"), help="default: by the ending")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the inference command.

    Args:
        argv: Arguments without the command's name; None takes those of the process.

    Returns:
        The exit code: 0, 2 for a mistake in the input, 130 when interrupted.
    """
    return run_command(lambda: _main(sys.argv[1:] if argv is None else list(argv)))


def _main(argv: list[str]) -> None:
    options = build_parser().parse_args(argv)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("infer.py runs in one process; start it without torchrun")
    for name in _NUMBERS:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"{flag_setting(name)} {value} is not allowed: at least 1")
    from transformers.utils import logging

    from hierbert.data.corpus import Columns
    from hierbert.prediction.job import Inputs, check_inputs, run_job
    from hierbert.prediction.outputs import output_format
    from hierbert.prediction.partial import Output
    from hierbert.prediction.predictor import HierBertPredictor

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # What costs nothing to check comes first, then every row, then the model.
    kind = output_format(options.output, options.output_format)
    vector_cache = _cache_options(options)
    columns = Columns(text=options.text_column, id=options.id_column)
    inputs = Inputs(options.input, columns, options.encoding, options.input_format)
    output = Output(
        options.output,
        kind,
        resume=options.resume,
        overwrite=options.overwrite,
        inputs=inputs.paths(),
    )
    characters = check_inputs(inputs)
    # What an interrupted job measured holds on, so that all its rows are of one kind.
    before = output.probed_before()
    automatic = [name for name in _PROBED if getattr(options, name) == "auto"]
    predictor = HierBertPredictor.from_pretrained(
        options.model,
        device=options.device,
        batch_tokens=options.batch_tokens,
        compile=options.compile,
        vector_cache=vector_cache,
        **{
            name: before.get(name, "auto") if name in automatic else getattr(options, name)
            for name in _PROBED
        },
    )
    probed = {name: getattr(predictor, name) for name in automatic}
    for name, value in probed.items():
        say(f"{flag_setting(name)} auto: {value}")
    tasks = predictor.check_tasks(_tasks(options.task, predictor.tasks))
    _refuse_idle_flags(options, tasks)
    budget = {name: getattr(options, name) for name in _BUDGETS}
    rule = predictor.summary_rule(budget, options.order, options.redundancy)
    output.open(_settings(options, tasks), probed)
    try:
        run_job(predictor, inputs, output, tasks, rule, options.segment_vectors, characters)
    except BaseException:
        output.abandon()
        raise
    _report(output)
    if (vectors := predictor.vectors) is not None:
        say(f"vectors: {vectors.found:,} documents found, {vectors.encoded:,} encoded")
        say(f"vectors: {vectors.report()}")


def _cache_options(options: argparse.Namespace) -> "CacheOptions | None":
    from hierbert.vectors.fill import CacheOptions

    if options.cache_dir is None:
        for name in ("cache_dtype", "cache_limit_gib"):
            if getattr(options, name) is not None:
                raise ConfigError(f"{flag_setting(name)} needs --cache-dir, the folder to keep")
        return None
    dtype = options.cache_dtype or "float32"
    return CacheOptions(options.cache_dir, dtype, options.cache_limit_gib, "--cache-")


def _report(output: "Output") -> None:
    before = f" ({len(output.done_ids):,} of them before)" if output.done_ids else ""
    say(f"{output.rows:,} documents{before} -> {output.path or 'standard output'}")
    if output.shortened:
        say(
            f"documents cut to the model's max_segments: {output.shortened:,} (segments left out: "
            f"{output.omitted_segments:,}; see `omission` in their rows)"
        )


def _refuse_idle_flags(options: argparse.Namespace, tasks: Sequence[str]) -> None:
    """A flag that would change nothing is a misunderstanding."""
    needs = dict.fromkeys((*_BUDGETS, "order", "redundancy"), "summarize")
    needs["segment_vectors"] = "embed"
    for name, task in needs.items():
        if getattr(options, name) not in (None, False) and task not in tasks:
            raise ConfigError(
                f"{flag_setting(name)} is for the task {task}; the tasks here are "
                f"{', '.join(tasks)}"
            )


def _tasks(asked: str | None, possible: tuple[str, ...]) -> tuple[str, ...] | None:
    if asked == "all":
        return possible
    return None if asked is None else (asked,)


def _settings(options: argparse.Namespace, tasks: Sequence[str]) -> dict[str, Any]:
    """What rows depend on: a job goes on only with the same."""
    values = {name: value for name, value in vars(options).items() if name not in _NOT_IN_ROWS}
    return {**values, "task": list(tasks)}
