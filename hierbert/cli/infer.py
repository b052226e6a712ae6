"""The command line of inference: `infer.py`, `hierbert infer` and `hierbert-infer`."""

import argparse
import math
from collections.abc import Sequence

from hierbert.cli.common import CommandLineParser, command, quiet_libraries
from hierbert.cli.flags import (
    add_document_flags,
    add_encoder_flags,
    add_selection_flags,
    count,
    number,
)
from hierbert.data.readers import allowed_endings, stdin_formats
from hierbert.pages.page_folder import DEFAULT_LIMIT
from hierbert.prediction.answer_files import FORMATS
from hierbert.prediction.options import check_options, find_target
from hierbert.prediction.stopping import stop_if_asked

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
output: one row for each document, in the order of the input: id, label (or labels), path (or
        paths) in a tree of labels, probabilities, summary, sentences (text, start, end, score),
        and omission where the model's max_segments left something out; top_labels, abstained and
        evidence where asked for.
        What is done is kept in OUTPUT.partial until the file is whole, or in the folder itself
        with --rows-per-shard; --resume goes on with it, after kill -9 too, also with another
        number of processes or on the other engine
exit:   0 when every row is answered, 3 when rows are in errors.jsonl, 2 for a mistake, 130 or
        143 when interrupted
"""

_share = number(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")
_part = number(float, lambda value: 0 < value <= 1, "a number above 0, at most 1")
_amount = number(float, lambda value: 0 <= value < math.inf, "a number, 0 or more")


def parse_options(argv: Sequence[str], prog: str = "infer.py") -> argparse.Namespace:
    """Read a command line; a ConfigError where it makes no sense."""
    parser = CommandLineParser(
        prog=prog,
        description="Classify, summarize or embed documents of any length with a trained model.",
        epilog=EXAMPLES if prog == "infer.py" else EXAMPLES.replace("python infer.py", prog),
    )
    add = parser.add_argument
    add("--model", required=True, help="folder of a trained model (runs/NAME/model), or a Hub id")
    add("--input", required=True, nargs="+", help="files, globs, folders, a Hub id, or -")
    text = "a .jsonl, .csv or .parquet file, or - for jsonl; a folder with --rows-per-shard"
    add("--output", required=True, help=text)
    text = "classify, summarize, embed or what else the model has a head for; all adds vectors; "
    text += "default: what the model has heads for"
    add("--task", help=text)
    labels = parser.add_argument_group("labels (default: as the model was trained)").add_argument
    text = "of several labels: the probability from which each applies, 0 to 1"
    labels("--threshold", type=_share, metavar="X", help=text)
    text = "name the K likeliest labels too, with their probabilities"
    labels("--top-labels", type=count, metavar="K", help=text)
    text = "of one label: where its probability is lower the answer names none, 0 (never) to 1"
    labels("--abstain-below", type=_share, metavar="X", help=text)
    text = "of a tree of labels: answers have at most N levels, from the top"
    labels("--depth", type=count, metavar="N", help=text)
    text = "of a tree with one path: each node of an answer has at least that probability, 0 to 1"
    labels("--min-probability", type=_share, metavar="X", help=text)
    text = "tell which segments, sentences and words the labels of an answer come from, and what "
    text += "the scores of a summary's sentences are made of; exact: encode segments anew without "
    text += "each sentence of a label's evidence"
    add("--evidence", nargs="?", const=True, choices=("exact",), metavar="exact", help=text)
    text = "the same, of these labels too, as a,b"
    labels("--evidence-labels", action="append", metavar="NAMES", help=text)
    text = "how many of each, the strongest first (default: 5)"
    labels("--evidence-count", type=count, metavar="K", help=text)
    add("--segment-vectors", action="store_true", help="with embed: vectors of segments too")
    add_job_flags(parser, "as the model was trained")
    options = parser.parse_args(argv)
    options.evidence_exact = options.evidence == "exact" or None
    options.evidence = options.evidence and True
    if options.evidence_labels:
        names = ",".join(options.evidence_labels).split(",")
        options.evidence_labels = [name.strip() for name in names]
    check_options(options)
    return options


def add_job_flags(parser: CommandLineParser, usual: str) -> None:
    """What all jobs over documents may be told; the usual summary is as these words say."""
    add = parser.add_argument
    text = "write a folder of files, each of the answers to N rows and there as soon as they are "
    text += "done, with a manifest.json"
    add("--rows-per-shard", type=count, metavar="N", help=text)
    text = "write a page for each document into FOLDER too: its text with the summary, and the "
    text += "evidence of its labels, which is then asked for, highlighted; and index.html"
    add("--html", type=_words, metavar="FOLDER", help=text)
    text = f"pages of the first N rows alone (default: {DEFAULT_LIMIT:,})"
    add("--html-limit", type=count, metavar="N", help=text)
    text = "with a row that cannot be read or answered: stop, or skip it and write row, id and "
    text += "reason to errors.jsonl (default: stop)"
    add("--on-error", default="stop", choices=("stop", "skip"), help=text)
    budget = parser.add_argument_group(f"summary (default: {usual})")
    limit = budget.add_mutually_exclusive_group()
    for unit in ("words", "sentences", "tokens", "characters"):
        limit.add_argument(f"--max-{unit}", type=count, metavar="N")
    text = "part of the document's words, 0 to 1"
    limit.add_argument("--ratio", type=_part, metavar="R", help=text)
    add_selection_flags(budget)
    text = "tell the kind of each sentence: prose, heading, list, code, table, reference, "
    text += "boilerplate"
    budget.add_argument("--sentence-kinds", action="store_const", const=True, help=text)
    text = "what the summaries should be about, a question or some words, where a document has "
    text += "none of its own (--column query=NAME says in which column)"
    budget.add_argument("--query", type=_words, metavar="TEXT", help=text)
    prose = parser.add_argument_group(
        "summary as prose (beside the extract; see docs/predict.md)"
    ).add_argument
    text = "model that rewrites each summary, causal or encoder-decoder: a folder, a GGUF file or "
    text += "a Hub id"
    prose("--rewrite", type=_words, metavar="NAME", help=text)
    text = "what the model is asked for, in words (default: short prose that adds nothing; of an "
    text += "encoder-decoder what it was trained for)"
    prose("--rewrite-instruction", type=_words, metavar="TEXT", help=text)
    text = "branch, tag or commit of that model on the Hub"
    prose("--rewrite-revision", metavar="R", help=text)
    add_document_flags(parser)
    text = "columns of the input that go into the answers, as a,b; a=new renames one"
    add("--keep-columns", action="append", default=[], metavar="NAMES", help=text)
    text = "of standard input (default: jsonl)"
    add("--input-format", default="jsonl", choices=stdin_formats(), help=text)
    add("--output-format", choices=FORMATS, help="default: by the ending; jsonl")
    text = "of csv for spreadsheets: an apostrophe before cells that begin with = + - @, a tab or "
    text += "a line end, unless they are numbers or JSON"
    add("--csv-safe", action="store_true", help=text)
    text = "tokens of a batch of documents (default: 16 times those of a pass)"
    add("--batch-tokens", type=count, metavar="N", help=text)
    add_encoder_flags(parser)
    text = "read all input once before the first document, so that broken rows are told at once "
    text += "and the time left is known (default: yes)"
    add("--check", action=argparse.BooleanOptionalAction, default=True, help=text)
    ray = parser.add_argument_group(
        "Ray (many machines; see docs/ray.md): the same job, on all of them"
    ).add_argument
    ray("--engine", choices=("local", "ray"), default="local", help="default: local")
    ray("--actors", type=count, metavar="N", help="processes that hold the model (default: 1)")
    ray("--cpus-per-actor", type=_amount, metavar="C", help="default: 1")
    ray("--gpus-per-actor", type=_amount, metavar="G", help="0.25 lets four share one; default 0")
    ray("--ray-address", metavar="A", help="of a running Ray, or auto; default: start one")
    add("--resume", action="store_true", help="go on with an interrupted job of the same settings")
    add("--overwrite", action="store_true", help="replace an output that exists")


def _words(value: str) -> str:
    if value.strip():
        return value
    raise argparse.ArgumentTypeError(f"{value!r} is not allowed: some words")


def _main(argv: list[str], prog: str) -> int:
    options = parse_options(argv, prog)
    # Again when the job begins; here before torch is imported.
    find_target(options)
    return run_job(options)


main = command(_main, "infer.py", terminated=True)


def run_job(options: argparse.Namespace) -> int:
    """Answer what options ask for; the exit code."""
    quiet_libraries()
    from hierbert.prediction.run import Run

    kind = Run
    if options.engine == "ray":
        from hierbert.prediction.ray_engine import RayRun

        kind = RayRun
    try:
        return kind(options).execute()
    finally:
        # Too late to be seen between two rows, or turned into another error on its way.
        stop_if_asked()
