"""The command line of a command that is set up by a schema: one config file, overrides, flags.

``--config FILE key=value ...`` and nothing else, but for the flags that the command declares.
It opens no file and checks no value: `hierbert.config_loading.load_config` does. Invariant: an
argument is either understood or refused with what to write instead.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hierbert.config_help import did_you_mean, format_help, nearest_keys, walk
from hierbert.errors import ConfigError


@dataclass(frozen=True)
class CommandLine:
    """What was asked for on a command line.

    Attributes:
        config: The file of ``--config``, not yet opened.
        overrides: The ``key=value`` arguments in order, without leading dashes, not yet checked.
        flags: Those of the command's own flags that were given, as they were declared.
        print_config: Whether ``--print-config`` was given.
    """

    config: Path | None
    overrides: tuple[str, ...]
    flags: frozenset[str]
    print_config: bool


def parse_command_line(
    argv: Sequence[str],
    schema: type,
    description: str,
    epilog: str,
    prog: str,
    flags: Mapping[str, str] | None = None,
) -> CommandLine | None:
    """Split a command line into the config file, overrides and flags.

    Args:
        argv: The arguments without the command's name.
        schema: The dataclass of the settings, for help and "did you mean".
        description: What the command does, for ``--help``.
        epilog: Examples, for ``--help``; printed as they stand, before the settings.
        prog: The command's name.
        flags: The command's own flags without a value, such as ``--resume``, with their help.

    Returns:
        What was asked for, or None when help was, which is then on standard output.

    Raises:
        ConfigError: An argument is none of these; the message says what to write instead.
    """
    flags = flags or {}
    config: Path | None = None
    overrides: list[str] = []
    seen: set[str] = set()
    if "--help" in argv or "-h" in argv:
        print(format_help(schema, description, epilog, prog, flags), end="")
        return None
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "--config":
            value = value if equals else next(arguments, "")
            if not value or value.startswith("-"):
                raise ConfigError("--config needs a file: --config FILE")
            if config is not None:
                raise ConfigError(f"--config is given twice: {config} and {value}; one is read")
            config = Path(value)
        elif name in ("--print-config", *flags):
            if equals:
                raise ConfigError(f"{name} takes no value; write {name}, not {argument}")
            seen.add(name)
        elif equals and re.fullmatch(r"(--)?[^-=].*", name, re.DOTALL):
            overrides.append(argument.removeprefix("--"))
        else:
            _refuse_argument(argument, next(arguments, None), schema, flags)
    printing = "--print-config" in seen
    return CommandLine(config, tuple(overrides), frozenset(seen - {"--print-config"}), printing)


def _refuse_argument(
    argument: str, following: str | None, schema: type, flags: Mapping[str, str]
) -> NoReturn:
    known = [key for key, item, _ in walk(schema) if item.section is None]
    options = ["--config", "--print-config", "--help", *flags]
    if not argument.startswith("-"):
        hint = f"a config file is given as --config {argument}, a setting as key=value"
        raise ConfigError(f"command line: unexpected argument {argument!r}; {hint}")
    close = difflib.get_close_matches(argument, options, n=1, cutoff=0.75)
    keys = nearest_keys(argument.partition("=")[0].lstrip("-").replace("-", "_"), known)
    if close:
        hint = did_you_mean(close)
    elif keys:
        is_value = following is not None and not following.startswith("-") and "=" not in following
        value = following if is_value else "value"
        hint = f"settings are written key=value: {' or '.join(f'{k}={value}' for k in keys)}"
    else:
        hint = f"options are {', '.join(options)}; settings are written key=value"
    raise ConfigError(f"command line: unknown option {argument}; {hint}")
