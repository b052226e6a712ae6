"""The command line of training: `train.py`, `hierbert train` and `hierbert-train`."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hierbert.cli.common import LOG_FLAGS, escape_unprintable, quiet_libraries, run_command
from hierbert.cli.terminal import show
from hierbert.config import RunConfig
from hierbert.data.columns import columns_of_text
from hierbert.errors import ConfigError, flag_setting
from hierbert.log import is_first_process, log
from hierbert.settings import dump_config, load_config, parse_command_line
from hierbert.settings_text import format_help
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
    "--print-config": "Print all settings as YAML, as they would be used, and stop.",
    "--help": "Print this text and stop.",
}


def main(argv: Sequence[str] | None = None, prog: str = "train.py") -> int:
    """Run the training command, which the help calls `prog`; argv of None is the process's.

    The exit code: 0, 2 for a mistake in the input, 130 when interrupted, 143 after SIGTERM.
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
    if "--help" in argv or "-h" in argv:
        examples = EXAMPLES if prog == "train.py" else EXAMPLES.replace("python train.py", prog)
        print(format_help(RunConfig, DESCRIPTION, examples, prog, FLAGS), end="")
        return
    command = parse_command_line(argv, RunConfig, FLAGS)
    resume = "--resume" in command.flags
    if resume:
        from hierbert.training.run_folder import load_resumed

        config = load_resumed(command.config, command.overrides)
    else:
        config = load_config(RunConfig, command.config, command.overrides)
    if "--print-config" in command.flags:
        print(dump_config(config, comments=True), end="")
        return
    # What imports torch comes after the checks that need none: mistakes are answered sooner.
    from hierbert.training.run_folder import RESOLVED, check_run_folder

    check_run_folder(config, resume)
    escape_unprintable()
    from hierbert.training.callbacks import Callback
    from hierbert.training.trainer import HierBertTrainer

    typed = "hierbert-train" if Path(sys.argv[0]).stem == "hierbert-train" else prog

    class Report(Callback):
        """Prints what a run found, before anything is pushed."""

        def on_end(self, results: Mapping[str, Any]) -> None:
            if is_first_process():
                print()
                show(trainer.report)
                print(f"\nGo on with:\n  {inference_command(config, typed)}")

    trainer = HierBertTrainer(config=config, callbacks=[Report()])
    quiet_libraries()
    try:
        trainer.train(resume, stop)
    except KeyboardInterrupt:
        saved = Path(config.run_dir) / RESOLVED
        if saved.is_file():
            words = [*_as_typed(typed), *_option("--config", str(saved)), "--resume"]
            log.info(f"go on with: {shlex.join(words)}")
        raise


def inference_command(config: RunConfig, typed: str) -> str:
    """The command that answers with the model: of the test documents where they are one file.

    `typed` is what the user called to train, such as ``train.py`` or ``hierbert train``.
    """
    words = [*_as_typed(typed.replace("train", "infer"))]
    words += _option("--model", str(Path(config.run_dir) / "model"))
    test = config.data.test
    if isinstance(test, list) and len(test) == 1:
        test = test[0]
    if isinstance(test, str) and Path(test).is_file():
        words += _option("--input", test)
        text_columns = columns_of_text(config.data.text_column, test)
        data = replace(config.data, text_column="|".join(text_columns))
        defaults = {"text_column": "text", "id_column": None, "encoding": "utf-8"}
        for name, default in {**defaults, "delimiter": None}.items():
            value = getattr(data, name)
            if value is not None and value != default:
                words += _option(flag_setting(name), value)
    else:
        words += ["--input", "docs.jsonl"]
    return shlex.join([*words, "--output", "answers.jsonl"])


def _option(flag: str, value: str) -> list[str]:
    """A flag and its value, as one word where the value would be taken for a flag."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _as_typed(name: str) -> list[str]:
    return ["python", name] if name.endswith(".py") else name.split()
