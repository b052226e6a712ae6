"""What a user can mend: every error here is one line that names the place and what is allowed.

The command lines print these without a traceback and exit with code 2. Anything else that is
raised is a defect of hierbert and keeps its traceback. The helpers that word values, names and
other libraries' errors never fail, whatever they are given.
"""

import contextlib
import difflib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Setting = Callable[[str], str]
"""Turns a setting's plain name (``text_column``) into what the user writes."""


class UNSET:
    """Stands for no value, where None is a value."""


# Control characters, lone surrogates, and the separators of lines and paragraphs.
_CONTROL_CATEGORIES = frozenset(("Cc", "Cs", "Zl", "Zp"))
# What shows all that follows in another order: embeddings, overrides, isolates, and their ends.
_TURNS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))

_MAX_VALUE_CHARS = 60
_MAX_NAMES = 20
_MAX_NAMES_COMPARED = 1000
_MAX_ERROR_CHARS = 300
_LINE_ENDS = re.compile(r"\s*[\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]\s*")
_MENTION = re.compile("\0([^\0]*)\0")
_TYPE_NAMES = {"NoneType": "null", "bool": "a boolean", "int": "a number", "float": "a number"}
_TYPE_NAMES |= {"str": "a string", "list": "a list", "dict": "an object", "bytes": "bytes"}


def config_setting(name: str) -> str:
    """Name a setting as train.py does: ``data.text_column``; a name with a dot is a whole key."""
    return name.removeprefix(".") if "." in name else f"data.{name}"


def flag_setting(name: str) -> str:
    """Name a setting as infer.py's command line does: ``--text-column``, ``--column query=``."""
    section, _, own = name.rpartition(".")
    return f"--column {own}=" if section == "data.columns" else "--" + own.replace("_", "-")


def setting_name(name: str) -> str:
    """A mark that mentions a setting in a message, which `HierBertError.worded` replaces."""
    return f"\0{name}\0"


class HierBertError(Exception):
    """A mistake in what was given: a setting, a file, a model folder, a run folder.

    Its line is ``place: setting=value message; allowed: ...``. A setting, a value or what is
    allowed that the message says itself is not said twice.

    Args:
        message: What is wrong. It may mention settings by `setting_name`.
        place: The file, row and field, such as ``docs.csv, row 3, column 'label'``.
        setting: Plain name of the setting at fault, such as ``text_column`` of the data section,
            ``training.epochs``, or ``.seed``, which is in no section.
        value: What was given.
        allowed: What would be right, in words.
    """

    def __init__(
        self,
        message: str,
        *,
        place: str | None = None,
        setting: str | None = None,
        value: Any = UNSET,
        allowed: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.setting = setting
        self.value = value
        self.allowed = allowed

    def worded(self, name_of: Setting = config_setting) -> str:
        """The whole line, settings named as the user writes them.

        Args:
            name_of: `config_setting` for train.py and Python, `flag_setting` for infer.py.
        """
        text = self.message
        subject = []
        if self.setting is not None and setting_name(self.setting) not in text:
            subject.append(name_of(self.setting))
        if self.value is not UNSET and (value := quote(self.value)) not in text:
            subject.append(value)
        if subject:
            text = f"{'='.join(subject)} {text}"
        if self.place is not None:
            text = f"{self.place}: {text}"
        if self.allowed is not None and self.allowed not in self.message:
            text = f"{text}; allowed: {self.allowed}"
        # One line, whatever stands in the keys and names that it quotes.
        # But the spaces of a path in a command that it prints.
        return _LINE_ENDS.sub(" ", _MENTION.sub(lambda mention: name_of(mention[1]), text)).strip()

    def __str__(self) -> str:
        return self.worded()


class ConfigError(HierBertError):
    """A setting that is missing, unknown, of the wrong type, or at odds with another."""


def not_allowed(setting: str, value: Any, allowed: str) -> ConfigError:
    """The mistake of a setting's value, which is none of what is allowed, in words."""
    return ConfigError("is not allowed", setting=setting, value=value, allowed=allowed)


class DataError(HierBertError):
    """A corpus that cannot be read: the message names file, row, field, value, what is allowed."""


class ModelError(HierBertError):
    """A model or encoder folder that is missing, incomplete, or not what was expected."""


@contextlib.contextmanager
def needing(
    what: str, package: str, extra: str, kind: type[HierBertError] = ConfigError
) -> Iterator[None]:
    """Say in one line that something needs a package that is imported here and missing."""
    try:
        yield
    except ImportError as error:
        raise kind(
            f"{what} needs {package}, which is missing ({error}): pip install 'hierbert[{extra}]'"
        ) from error


class RunError(HierBertError):
    """A run folder or an output that exists already, cannot be written, or does not match."""


class ProcessLost(RunError):
    """Another process of a run is gone, which each that is left says for itself."""


class HubError(HierBertError):
    """What the Hugging Face Hub refused, or that it cannot be reached."""


def printable(text: str) -> str:
    """A text on one line that gives a terminal no orders: its control characters as escapes."""
    return "".join(
        character
        if character == "\t"
        or (
            unicodedata.category(character) not in _CONTROL_CATEGORIES
            and unicodedata.bidirectional(character) not in _TURNS
        )
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def error_text(error: object, secret: str = "") -> str:
    """What another library's or the system's error says: one line of at most 300 characters.

    A system's error is given without its number and its file's name, one without words by its
    type's name. A `secret`, such as a token, is shown as ``***``.
    """
    text = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
    if not text or isinstance(error, KeyError):
        text = f"{type(error).__name__} {text}".strip()
    if secret:
        text = text.replace(secret, "***")
    return text if len(text) <= _MAX_ERROR_CHARS else f"{text[:_MAX_ERROR_CHARS].rstrip()}..."


def quote(value: object) -> str:
    """A value's repr, cut to 60 characters."""
    # Slicing first: the repr of a whole document would be built only to be thrown away.
    try:
        text = repr(value[:_MAX_VALUE_CHARS] if isinstance(value, str | bytes | list) else value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return "a value too large to show"
    cut = isinstance(value, str | bytes | list) and len(value) > _MAX_VALUE_CHARS
    if cut or len(text) > _MAX_VALUE_CHARS:
        return text[:_MAX_VALUE_CHARS].rstrip() + "..."
    return text


def quote_all(names: Iterable[str]) -> str:
    """Names in quotes, the first 20 of them."""
    all_names = list(names)
    text = ", ".join(quote(name) for name in all_names[:_MAX_NAMES])
    more = len(all_names) - _MAX_NAMES
    return f"{text} and {more} more" if more > 0 else text


def type_name(value: object) -> str:
    """A value's type in the words of JSON."""
    name = type(value).__name__
    return _TYPE_NAMES.get(name, f"a {name}")


def nearest(name: str, options: Iterable[str]) -> list[str]:
    """The option, if any, that is spelt like a name; of the first 1000, whatever their case."""
    if len(name) > _MAX_VALUE_CHARS:
        return []
    by_lower: dict[str, str] = {}
    for option in itertools.islice(options, _MAX_NAMES_COMPARED):
        if len(option) <= 2 * _MAX_VALUE_CHARS:
            by_lower.setdefault(option.lower(), option)
    return [by_lower[near] for near in difflib.get_close_matches(name.lower(), by_lower, n=1)]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest option; "" where none is near."""
    return "".join(f"; did you mean {near!r}?" for near in nearest(name, options))
