"""What a user can mend: every error here is one line that names the place and what is allowed.

The command lines print these without a traceback and exit with code 2. Anything else that is
raised is a defect of hierbert and keeps its traceback.
"""

import argparse
import os
import sys
import time
import unicodedata
from collections.abc import Callable
from typing import NoReturn

from hierbert.progress import is_first_process

# Control characters, lone surrogates, and the separators of lines and paragraphs.
_ORDERS = frozenset(("Cc", "Cs", "Zl", "Zp"))

_FIRST_SPEAKS_SECONDS = 10.0


class HierBertError(Exception):
    """A mistake in what was handed in: a setting, a file, a model folder, a run folder."""


class ConfigError(HierBertError):
    """A setting that is missing, unknown, of the wrong type, or at odds with another."""


class DataError(HierBertError):
    """A corpus that cannot be read: the message names file, row, field, value, what is allowed."""


class ModelError(HierBertError):
    """A model or encoder folder that is missing, incomplete, or not what was expected."""


class RunError(HierBertError):
    """A run folder or an output that exists already, cannot be written, or does not match."""


class HubError(HierBertError):
    """What the Hugging Face Hub refused, or that it cannot be reached."""


def run_command(command: Callable[[], None]) -> int:
    """Run a command line's body and turn a user's mistake into one line on standard error.

    Args:
        command: The body. Its `HierBertError`s become one line, everything else passes through.

    Returns:
        The exit code: 0, 2 for a mistake in the input, 130 when interrupted, and 0 when the
        reader of a pipe went away (``| head``).
    """
    try:
        command()
        sys.stdout.flush()
    except HierBertError as error:
        line = printable(" ".join(str(error).split()))
        if is_first_process():
            print(f"error: {line}", file=sys.stderr)
        else:
            # What all meet the first says, and the launcher then ends the others in this time.
            # What one meets alone it says itself.
            time.sleep(_FIRST_SPEAKS_SECONDS)
            print(f"process {os.environ.get('RANK')}: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python flushes standard output once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def printable(text: str) -> str:
    """A text that commands nothing: control characters of it are shown as escapes.

    Args:
        text: May quote what stands in a stranger's file, of which a terminal would take some as
            orders.

    Returns:
        The text on one line.
    """
    return "".join(
        sign if sign == "\t" or unicodedata.category(sign) not in _ORDERS else _escape(sign)
        for sign in text
    )


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


class CommandLineParser(argparse.ArgumentParser):
    """Answers a mistake in one line, like every other mistake."""

    def error(self, message: str) -> NoReturn:
        """Refuse a command line.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"command line: {message}; see {self.prog} --help")
