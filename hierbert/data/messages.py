"""The words that error messages about corpora share.

It holds no checks: it only says a setting's name, a shortened value and a near match the same way
everywhere. Invariant: nothing here fails, whatever value it is handed.
"""

import difflib
import itertools
from collections.abc import Callable, Iterable

Setting = Callable[[str], str]
"""Turns a setting's plain name (``text_column``) into what the user writes."""

_MAX_VALUE_CHARS = 60
_MAX_NAMES = 20
_MAX_NAMES_COMPARED = 1000


def config_setting(name: str) -> str:
    """Name a setting as train.py's config does: ``data.text_column``."""
    return f"data.{name}"


def flag_setting(name: str) -> str:
    """Name a setting as infer.py's command line does: ``--text-column``."""
    return "--" + name.replace("_", "-")


def shown(value: object) -> str:
    """Give a value's repr, cut to 60 characters."""
    # Slicing first: the repr of a whole document would be built only to be thrown away.
    try:
        text = repr(value[:_MAX_VALUE_CHARS] if isinstance(value, str | bytes | list) else value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return "a value too large to show"
    cut = isinstance(value, str | bytes | list) and len(value) > _MAX_VALUE_CHARS
    if cut or len(text) > _MAX_VALUE_CHARS:
        return text[:_MAX_VALUE_CHARS].rstrip() + "..."
    return text


def type_name(value: object) -> str:
    """Name a value's type as someone who writes JSON would."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    names = {"str": "a string", "list": "a list", "dict": "an object", "bytes": "bytes"}
    name = type(value).__name__
    return names.get(name, f"a {name}")


def listed(names: Iterable[str]) -> str:
    """List names in quotes, the first 20 of them."""
    all_names = list(names)
    text = ", ".join(shown(name) for name in all_names[:_MAX_NAMES])
    more = len(all_names) - _MAX_NAMES
    return f"{text} and {more} more" if more > 0 else text


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Give ``; did you mean 'x'?`` for the nearest option, or nothing when none is near."""
    if len(name) > _MAX_VALUE_CHARS:
        return ""
    by_lower: dict[str, str] = {}
    for option in itertools.islice(options, _MAX_NAMES_COMPARED):
        if len(option) <= 2 * _MAX_VALUE_CHARS:
            by_lower.setdefault(option.lower(), option)
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
