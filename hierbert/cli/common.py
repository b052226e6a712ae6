"""What the command lines share: mistakes in one line, exit codes, the log on standard error."""

import argparse
import contextlib
import errno
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hierbert
from hierbert.errors import (
    ConfigError,
    HierBertError,
    ProcessLost,
    Setting,
    config_setting,
    error_text,
    flag_setting,
    quote,
)
from hierbert.files import writing
from hierbert.log import LEVELS, command_log, is_first_process, log
from hierbert.prediction.stopping import stopped_by_signals

LOG_FLAGS = {
    "--quiet": "Write warnings and errors alone: --log-level warning.",
    "--log-level LEVEL": f"Write what is at least as grave: {', '.join(LEVELS)} (default: info).",
    "--log-json": "Write the log as one JSON object a line, with time, level, message and rank.",
    "--version": "Print hierbert's version and stop.",
}
"""Flags that every command line has, with their help; `run_command` reads them."""

_FIRST_SPEAKS_SECONDS = 10.0
# No permission, no room, names too long, disks that fail.
_OF_THE_MACHINE = {
    getattr(errno, name, None)
    for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EIO", "ENAMETOOLONG")
}


def run_command(
    body: Callable[[list[str]], int | None],
    argv: Sequence[str] | None = None,
    name_of: Setting = config_setting,
) -> int:
    """Run a command line's body and turn a user's mistake into one line on standard error.

    Args:
        body: Called with the arguments that are not of the log. It may return an exit code. Its
            `HierBertError`s become one line, and so does a file that the system refuses; a defect
            passes through, or is a line of a JSON log.
        argv: Arguments without the command's name; None takes those of the process.
        name_of: How this command line names settings.

    Returns:
        The exit code: the body's or 0, 2 for a mistake in the input, 130 when interrupted, and 0
        when the reader of a pipe went away (``| head``).
    """
    arguments, level, as_json = _split_log_flags(sys.argv[1:] if argv is None else argv)
    with command_log(level if level in LEVELS else "info", as_json):
        try:
            if level not in LEVELS:
                raise ConfigError(
                    f"--log-level {level} is not allowed; choose from {', '.join(LEVELS)}"
                )
            code = 0
            if "--version" in arguments:
                print(f"hierbert {hierbert.__version__}")
            else:
                code = body(arguments) or 0
            sys.stdout.flush()
        except HierBertError as error:
            if not is_first_process() and not isinstance(error, ProcessLost):
                # What all meet the first says, and the launcher then ends the others in this time.
                # What one meets alone it says itself.
                time.sleep(_FIRST_SPEAKS_SECONDS)
            log.error("%s", error.worded(name_of))
            return 2
        except BrokenPipeError:
            # Python flushes standard output once more at exit; give it somewhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE and error.filename:
                # Whoever touched the file, no program can be to blame that the system refuses it.
                log.error("%s: %s", quote(error.filename), error_text(error))
                return 2
            if not as_json:
                raise
            log.critical("a defect of hierbert", exc_info=True)
            return 1
        except KeyboardInterrupt:
            log.warning("interrupted")
            return 130
    return code


def command(
    body: Callable[[list[str], str], int | None],
    prog: str,
    name_of: Setting = flag_setting,
    terminated: bool = False,
) -> Callable[..., int]:
    """The `main` of a command line, of arguments (None: the process's) and what the help calls it.

    Its body is called with both; it gives the exit code, see `run_command`. Where a SIGTERM is to
    end it as an interrupt does, by a SystemExit with 143, `terminated` is True.
    """

    def main(argv: Sequence[str] | None = None, prog: str = prog) -> int:
        with stopped_by_signals() if terminated else contextlib.nullcontext():
            return run_command(lambda arguments: body(arguments, prog), argv, name_of)

    return main


def quiet_libraries() -> None:
    """Leave the log and its bars to hierbert."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _split_log_flags(argv: Sequence[str]) -> tuple[list[str], str, bool]:
    """The other arguments, the level, and whether the log is JSON.

    They are read before all others, so that a mistake in those is already said as was asked for.
    """
    rest: list[str] = []
    level, as_json = "info", False
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *arguments]
        elif argument == "--quiet":
            level = "warning"
        elif argument == "--log-json":
            as_json = True
        elif name == "--log-level":
            level = value if equals else next(arguments, "")
        else:
            rest.append(argument)
    return rest, level, as_json


def escape_unprintable() -> None:
    """Show characters of documents that the terminal's encoding lacks as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def check_writable(path: Path, flag: str) -> None:
    """Refuse a file that cannot be written, before anything costs time."""
    if path.is_dir():
        raise ConfigError(f"{flag} {path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{flag} {path} is a device or a pipe; name a file")
    with writing(f"{flag} {path}"), tempfile.TemporaryFile(dir=path.parent):
        pass


class CommandLineParser(argparse.ArgumentParser):
    """Answers a mistake in one line, like every other mistake; knows the flags of the log.

    A flag of several values that is given twice is refused, for the first ones would be lost. Of
    one of a single value the last counts, which is said.
    """

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.register("action", None, _StoreOnce)
        group = self.add_argument_group("log, on standard error")
        for flag, text in LOG_FLAGS.items():
            # `run_command` has read them; here they are for --help.
            name, *value = flag.split()
            more: dict[str, Any] = {"metavar": value[0]} if value else {"action": "store_true"}
            group.add_argument(name, help=text, **more)

    def error(self, message: str) -> NoReturn:
        """Refuse (ConfigError) a command line."""
        raise ConfigError(f"command line: {message}; see {self.prog} --help")


class _StoreOnce(argparse.Action):
    """Stores a value, and compares it with one that was stored before."""

    # Of the command line that was read last; a parser may read several.
    _last: tuple[Any, Any] = (None, None)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        flag = option_string or self.dest
        command_line, value = self._last
        before = value if command_line is namespace else None
        if before is not None and self.nargs == "+":
            parser.error(f"{flag} is given twice; several are written {flag} ONE OTHER")
        if before not in (None, values):
            log.warning(
                f"command line: {flag} is given twice, {quote(before)} and {quote(values)}; "
                "the last one counts"
            )
        self._last = namespace, values
        setattr(namespace, self.dest, values)
