"""The command line that summarizes without a trained model: `hierbert summarize`."""

import argparse
import tempfile
from collections.abc import Sequence

from hierbert.cli.common import CommandLineParser, command, quiet_libraries
from hierbert.cli.infer import add_job_flags, run_job
from hierbert.data.readers import allowed_endings
from hierbert.errors import ConfigError, flag_setting
from hierbert.prediction.options import check_options, find_target

EXAMPLES = f"""examples:
  hierbert summarize docs.jsonl
  hierbert summarize 'papers/*.txt' --output summaries.csv --max-words 150
  hierbert summarize docs.jsonl --encoder sentence-transformers/all-MiniLM-L6-v2
  hierbert summarize meetings.jsonl --query "What was decided about the budget?"
  hierbert summarize docs.jsonl --rewrite HuggingFaceTB/SmolLM2-1.7B-Instruct
  cat docs.jsonl | hierbert summarize - --max-sentences 3 | head

input:  {allowed_endings()},
        a Hub dataset id, or - for standard input
output: one row for each document, in the order of the input: id, summary, and sentences (text,
        start, end, score: 1 for the most central of the document); rewritten and
        rewritten_sentences with --rewrite; jobs, their folders and --resume are those of
        hierbert infer
exit:   0 when every row is answered, 3 when rows are in errors.jsonl, 2 for a mistake, 130 or
        143 when interrupted
"""
# What asks for a model's vectors, or sets how they are computed.
_OF_ENCODERS = (
    *("encoder_revision", "cache_dir", "compile", "tokens_per_forward", "dtype", "backend"),
)


def parse_options(argv: Sequence[str], prog: str) -> argparse.Namespace:
    """Read a command line; a ConfigError where it makes no sense."""
    parser = CommandLineParser(
        prog=prog,
        description="Summarize documents of any length by their most central sentences, without "
        "training.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("input", nargs="+", help="files, globs, folders, a Hub id, or -")
    text = "a .jsonl, .csv or .parquet file; a folder with --rows-per-shard (default: standard "
    text += "output, as jsonl)"
    add("--output", default="-", help=text)
    text = "lexrank: sentences that many others are like, directly or by way of others; centroid: "
    text += "those near the sum of all, in less time (default: lexrank, with --encoder centroid)"
    add("--method", choices=("lexrank", "centroid"), help=text)
    text = "compare sentences by the vectors of this encoder, a folder or a Hub id (default: by "
    text += "their words)"
    add("--encoder", metavar="NAME", help=text)
    add("--encoder-revision", metavar="R", help="branch, tag or commit of the encoder on the Hub")
    add_job_flags(parser, "at most 100 words, --redundancy 0.5, --min-words-per-sentence 5")
    # What a trained model may be asked beside.
    asked = {"task": "summarize", "segment_vectors": False}
    labels = ("threshold", "top_labels", "abstain_below", "depth", "min_probability", "evidence")
    own = (*labels, "evidence_count", "evidence_labels", "evidence_exact")
    parser.set_defaults(**asked, **dict.fromkeys(own))
    options = parser.parse_args(argv)
    for name in _OF_ENCODERS:
        if options.encoder is None and getattr(options, name) != parser.get_default(name):
            raise ConfigError(f"{flag_setting(name)} needs --encoder")
    check_options(options)
    return options


def _main(argv: list[str], prog: str) -> int:
    options = parse_options(argv, prog)
    # Again when the job begins; here before torch is imported.
    find_target(options)
    quiet_libraries()
    from hierbert.prediction.predictor import HierBert

    model = HierBert.summarizer(
        vars(options).pop("encoder"),
        method=vars(options).pop("method"),
        revision=vars(options).pop("encoder_revision"),
        device="cpu",
    )
    # From a folder, so that it is a model as any other to jobs, whatever answers them; a job knows
    # it by its fingerprint.
    with tempfile.TemporaryDirectory(prefix="hierbert-summarize-") as folder:
        model.save_pretrained(folder)
        options.model = folder
        return run_job(options)


main = command(_main, "hierbert summarize", terminated=True)
