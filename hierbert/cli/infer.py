"""The command line of inference: `infer.py`, `hierbert infer` and `hierbert-infer`."""

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence

from hierbert.cli.common import run_command
from hierbert.errors import flag_setting
from hierbert.prediction.options import find_target, parse_options

_TERMINATED = 143


def main(argv: Sequence[str] | None = None, prog: str = "infer.py") -> int:
    """Run the inference command.

    Args:
        argv: Arguments without the command's name; None takes those of the process.
        prog: What the help calls the command.

    Returns:
        The exit code: 0 when every row is answered, 3 when some could not be, 2 for a mistake in
        the input, 130 when interrupted.

    Raises:
        SystemExit: With 143 when terminated.
    """
    with _termination():
        return run_command(lambda arguments: _main(arguments, prog), argv, flag_setting)


def _main(argv: list[str], prog: str) -> int:
    options = parse_options(argv, prog)
    # Again when the job begins; here before torch is imported.
    find_target(options)
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    from hierbert.prediction.run import Run

    return Run(options).execute()


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """Let SIGTERM end the command like an interruption, so that it says how to go on."""

    def end(number: int, frame: object) -> None:
        sys.exit(_TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # signals are the main thread's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
