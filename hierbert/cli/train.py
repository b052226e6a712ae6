"""The command line of training: `train.py`, `hierbert train` and `hierbert-train`."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from hierbert.cli.common import LOG_FLAGS, run_command
from hierbert.config import RunConfig
from hierbert.errors import ConfigError
from hierbert.log import log
from hierbert.settings import dump_config, load_config, parse_command_line
from hierbert.training.signals import StopSignals

DESCRIPTION = """
Train a hierarchical BERT on documents of any length: to classify them, to summarize them by
their own sentences, or both with one model.
"""

EXAMPLES = """
examples:
  python train.py --config configs/quickstart.yaml
  python train.py --config configs/classification.yaml data.train=my.csv \\
      data.text_column=body data.label_column=topic
  python train.py --config configs/summarization.yaml data.train=my.parquet \\
      data.validation=dev.jsonl.gz run_dir=runs/mine
  python train.py --config runs/mine/config.resolved.yaml --resume
  torchrun --nproc_per_node 2 train.py --config configs/multitask.yaml data.train=my.jsonl
"""

FLAGS = {
    "--resume": "Go on with the run in run_dir from its newest checkpoint, with the same settings.",
    **LOG_FLAGS,
}


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Run the training command.

    Args:
        argv: Arguments without the command's name; None takes those of the process.
        prog: What the help calls the command.

    Returns:
        The exit code: 0, 2 for a mistake in the input, 130 when interrupted, 143 when training
        was ended by SIGTERM.
    """
    stop = StopSignals()
    code = run_command(lambda arguments: _main(arguments, stop, prog), argv)
    # What shells report of a process that a signal ended.
    return 128 + stop.received if code == 130 and stop.received is not None else code


def _main(argv: list[str], stop: StopSignals, prog: str) -> None:
    if "--allow-changes" in argv:
        raise ConfigError(
            "--allow-changes is no more: a resume has the settings and documents of its run; to "
            "train the weights of one with others, begin a new run in another run_dir with "
            "model.start_from=runs/NAME/model"
        )
    command = parse_command_line(argv, RunConfig, DESCRIPTION, EXAMPLES, prog, FLAGS)
    if command is None:
        return
    resume = "--resume" in command.flags
    if resume:
        from hierbert.training.run_folder import load_resumed

        config = load_resumed(command.config, command.overrides)
    else:
        config = load_config(RunConfig, command.config, command.overrides)
    if command.print_config:
        print(dump_config(config, comments=True), end="")
        return
    # What imports torch comes after the checks that need none: mistakes are answered sooner.
    from hierbert.training.run_folder import RESOLVED, check_run_folder

    check_run_folder(config, resume)
    # A document may hold characters that the terminal's encoding lacks; they are shown escaped.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    from transformers.utils import logging

    from hierbert.training.run import train

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        train(config, resume, stop)
    except KeyboardInterrupt:
        saved = Path(config.run_dir) / RESOLVED
        if saved.is_file():
            log.info(f"go on with: train.py --config {saved} --resume")
        raise
