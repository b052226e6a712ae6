"""The command line that scores a model: `hierbert evaluate` and `hierbert-evaluate`."""

import argparse
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hierbert.cli.common import CommandLineParser, command, escape_unprintable, quiet_libraries
from hierbert.cli.flags import add_document_flags, add_encoder_flags, number
from hierbert.cli.terminal import show
from hierbert.data.readers import allowed_endings
from hierbert.errors import ConfigError, DataError, flag_setting, quote
from hierbert.files import write_json, write_text, writing
from hierbert.log import format_seconds, is_first_process, log
from hierbert.prediction.options import cache_options, fields_of
from hierbert.prediction.stopping import stop_if_asked

EXAMPLES = f"""examples:
  hierbert evaluate --model runs/NAME/model --input labelled.csv
  hierbert evaluate --model user/name --input 'labelled/*.csv' --text-column body \\
      --label-column topic --train train.csv --by source --output evaluations/topics
  torchrun --nproc_per_node 2 -m hierbert evaluate --model runs/NAME/model --input labelled.csv

input:  {allowed_endings()},
        or a Hub dataset id (its test split unless #split names another)
output: tables, and with --output the folder's results.json (scores, intervals, figures of each
        label, baselines, slices), answers.jsonl, and a report of them, report.html and report.md
exit:   0 when all is scored, 2 for a mistake, 130 or 143 when interrupted
"""

_RESULTS, _ANSWERS = "results.json", "answers.jsonl"
_REPORT = ("report.html", "report.md")
_FILES = (_RESULTS, _ANSWERS, *_REPORT, "pages")
_REPORTS = ("full", "pages", "without-excerpts", "none")
_SEED = number(int, lambda value: value >= 0, "a whole number, 0 or more")
# What Python calls otherwise than this command.
_FLAGS = {"documents": "input", "keep_columns": "by"}


def parse_options(argv: Sequence[str], prog: str) -> argparse.Namespace:
    """Read a command line; a ConfigError where it makes no sense."""
    parser = CommandLineParser(
        prog=prog,
        description="Score a trained model on labelled or summarized documents.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("--model", required=True, help="folder of a trained model (runs/NAME/model), or a Hub id")
    add("--input", required=True, nargs="+", help="files, globs, folders, or a Hub id")
    text = (
        "folder for results, answers and their report, made where it is missing (default: tables "
    )
    text += "on the screen alone)"
    add("--output", type=Path, metavar="DIR", help=text)
    add("--overwrite", action="store_true", help="replace the results of DIR")
    text = "report.html and report.md of DIR: full quotes how some documents begin, and summaries "
    text += "beside their references; pages adds a page of each of the ten surest mistakes "
    text += "(default: full)"
    add("--report", default="full", choices=_REPORTS, help=text)
    text = "column of the label, where the model classifies, or several such columns (default: "
    text += "label; '' leaves labels out)"
    add("--label-column", nargs="+", default=["label"], metavar="COLUMN", help=text)
    text = "column of the reference summary, where it summarizes (default: summary; '' leaves "
    text += "summaries out)"
    add("--summary-column", default="summary", metavar="COLUMN", help=text)
    text = "separates the labels of a document in one csv cell, for example ';'"
    add("--label-separator", metavar="S", help=text)
    text = "what a blank label says of several: they are unknown (default), or none applies"
    add("--empty-label", default="unknown", choices=("unknown", "none"), help=text)
    text = "with a label that the model does not know: stop, or leave the document out (default: "
    text += "refuse)"
    add("--unknown-labels", default="refuse", choices=("refuse", "leave-out"), help=text)
    add_document_flags(parser)
    text = "columns of the input: scores for each of their values too, as for each length"
    add("--by", nargs="+", default=[], metavar="COLUMN", help=text)
    text = "training documents, in the same columns, for baselines that learn from some"
    add("--train", nargs="+", metavar="FILE", help=text)
    text = "score what the model has to beat too (default: yes)"
    add("--baselines", action=argparse.BooleanOptionalAction, default=True, help=text)
    add("--seed", type=_SEED, default=0, help="of intervals and random baselines (default: 0)")
    add_encoder_flags(parser)
    return parser.parse_args(argv)


def _flag(name: str) -> str:
    return flag_setting(_FLAGS.get(name, name))


def _main(argv: list[str], prog: str) -> None:
    options = parse_options(argv, prog)
    columns, labels = fields_of(options), options.label_column
    with _output(options):
        escape_unprintable()
        from accelerate import Accelerator

        from hierbert.prediction.evaluating import evaluate_model
        from hierbert.prediction.mistake_pages import PAGES, write_mistake_pages
        from hierbert.prediction.predictor import HierBert
        from hierbert.prediction.processes import Processes
        from hierbert.reporting.report import report_folder

        quiet_libraries()
        processes = Processes.from_environment()
        for name in ("dtype", "backend", "tokens_per_forward"):
            if processes.count > 1 and getattr(options, name) == "auto":
                raise ConfigError(f"{flag_setting(name)} auto is for one process; name one")
        model = HierBert.from_pretrained(
            options.model,
            device=processes.device(options.device),
            dtype=options.dtype,
            backend=options.backend,
            tokens_per_forward=options.tokens_per_forward,
            compile=options.compile,
            vector_cache=cache_options(options),
        )
        accelerator = Accelerator(cpu=model.model.device.type == "cpu", mixed_precision="no")
        try:
            made = evaluate_model(
                model,
                options.input,
                text_column=options.text_column,
                label_column=labels[0] or None if len(labels) == 1 else labels,
                summary_column=options.summary_column or None,
                id_column=options.id_column,
                encoding=options.encoding,
                delimiter=options.delimiter,
                columns=columns,
                label_separator=options.label_separator,
                empty_label=options.empty_label,
                unknown_labels=options.unknown_labels.replace("-", "_"),
                by=options.by,
                train=options.train,
                baselines=options.baselines,
                seed=options.seed,
                accelerator=accelerator,
            )
        except DataError as error:
            if error.setting in ("label_column", "summary_column"):
                error.message += f"; {flag_setting(error.setting)} '' leaves these out"
            raise
        accelerator.end_training()
        # A signal that Python has dropped ends this before anything is written.
        stop_if_asked()
        if not is_first_process():
            return
        made.results["model"] = {"source": options.model, **made.results["model"]}
        path = None if options.output is None else options.output / _RESULTS
        # Before the tables, whose reader may be gone (`| head`).
        if path is not None:
            with writing(path):
                lines = "".join(f"{json.dumps(row)}\n" for row in made.answers)
                write_text(path.parent / _ANSWERS, lines)
                write_json(path, made.results)
                # What another evaluation has left does not stand beside these results.
                for name in _REPORT:
                    (path.parent / name).unlink(missing_ok=True)
            if options.report == PAGES:
                write_mistake_pages(path.parent, model, made.examples)
            report_folder(path.parent, options.report.replace("-", "_"), made.examples)
        print()
        show(made.report)
        print()
        if path is not None:
            log.info(f"results: {path} ({format_seconds(made.results['seconds'])})")


main = command(_main, "hierbert-evaluate", _flag, terminated=True)


@contextlib.contextmanager
def _output(options: argparse.Namespace) -> Iterator[None]:
    """Refuse an output that is not this command's to write, before anything costs time."""
    if options.output is None:
        if options.overwrite:
            raise ConfigError("--overwrite needs --output, the folder whose results.json it means")
        yield
        return
    folder = options.output = Path(os.path.expanduser(options.output))
    there = folder.exists()
    with writing(f"--output {folder}"):
        if is_first_process():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    # Without results, what has these names may be anyone's.
    own = _FILES if _RESULTS in held else ()
    others = [name for name in held if name not in own]
    if others:
        raise ConfigError(
            f"--output {folder} holds other things, such as {quote(others[0])}; name a folder of "
            "its own"
        )
    if held and not options.overwrite:
        raise ConfigError(f"--output {folder} holds results already; --overwrite replaces them")
    try:
        yield
    except BaseException:
        # Nothing is left of what was refused or interrupted.
        if not there and is_first_process():
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
