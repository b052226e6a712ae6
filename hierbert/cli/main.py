"""One command for all: ``hierbert train``, also as ``python -m hierbert train``."""

import sys
from collections.abc import Sequence
from importlib import import_module

from hierbert.cli.common import LOG_FLAGS, run_command
from hierbert.errors import ConfigError, did_you_mean

COMMANDS = {
    "check": "look at documents before training: what would fail, and what would mislead",
    "train": "train a model on documents of any length",
    "infer": "classify, summarize or embed documents with a trained model",
    "summarize": "summarize documents without training",
    "evaluate": "score a trained model on labelled or summarized documents",
    "report": "show what a run found, or compare several",
    "taxonomy": "look at a tree of labels, or give its nodes vectors",
    "push": "publish a trained model on the Hugging Face Hub",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command: the first argument that is no flag names it, the others are the command's.

    The exit code is the command's; 0 for help, 2 for a mistake.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for position, name in enumerate(arguments):
        if name in COMMANDS:
            rest = [*arguments[:position], *arguments[position + 1 :]]
            # Only the command that is asked for is imported.
            command = import_module(f"hierbert.cli.{name}").main
            return int(command(rest, prog=f"hierbert {name}"))
        if not name.startswith("-") and arguments[position - 1] != "--log-level":
            break
    return run_command(_help, arguments)


def _help(arguments: list[str]) -> None:
    if arguments and arguments[0] not in ("--help", "-h"):
        name = arguments[0]
        raise ConfigError(
            "is no command",
            value=name,
            allowed=f"{', '.join(COMMANDS)}{did_you_mean(name, COMMANDS)}",
        )
    lines = ["usage: hierbert COMMAND [argument ...]", "", "commands (each has a --help):"]
    lines += [f"  {name:11}{text}" for name, text in COMMANDS.items()]
    lines += ["", "flags of all commands:"]
    lines += [f"  {flag:20}{text}" for flag, text in LOG_FLAGS.items()]
    print("\n".join(lines))
