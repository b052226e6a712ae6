"""What a schema of settings says of itself: keys, types, defaults and help, as help text and YAML.

A schema is a dataclass. Each field is a *setting*, or a *section* where its type is a dataclass
(or ``Dataclass | None``). Supported types of settings: bool, int, float, str, Path, None, Literal,
``list[X]``, ``tuple[X, ...]``, ``dict[str, X]`` and unions of these. The module writes text and
reads none: `hierbert.config_loading` does that. Invariant: what `dump_config` writes,
`load_config` reads back to an equal instance.
"""

import dataclasses
import difflib
import functools
import math
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

T = TypeVar("T")

HELP_WIDTH = 100
_WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
_READ_ALIKE: dict[Any, Any] = {tuple: list, Path: str}
# Plain in any YAML: no indicator, no digit or dot in front, and none of the words of YAML 1.1.
_PLAIN = re.compile(r"(\.{0,2}/)?[a-z_][a-z0-9_./-]*", re.ASCII | re.IGNORECASE)
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


@overload
def setting(default: T, help: str = "") -> T: ...
@overload
def setting(*, factory: Callable[[], T], help: str = "") -> T: ...
@overload
def setting(*, help: str = "") -> Any: ...
def setting(default: Any = MISSING, help: str = "", *, factory: Any = MISSING) -> Any:
    """Declare a setting of a schema, for use as ``name: type = setting(default, "what it does")``.

    Args:
        default: The value when none is given. Without it and without ``factory`` the setting is
            required (such fields come first, or the dataclass is ``kw_only``).
        help: What the setting does, with unit, range and the reason of the default. Line breaks
            and indentation do not matter.
        factory: Makes the default, for lists, dicts and sections.

    Returns:
        A dataclass field that carries the help.
    """
    metadata = {"help": " ".join(help.split())}
    return dataclasses.field(default=default, default_factory=factory, metadata=metadata)


@dataclass(frozen=True)
class Setting:
    """One field of a schema.

    Attributes:
        name: The field's name, the last part of its key.
        type: Its declared type, resolved.
        help: What it does, one paragraph, maybe empty.
        section: The dataclass of the settings inside; None where the field is a single setting.
        optional: True where null is allowed.
    """

    name: str
    type: Any
    help: str
    section: type | None
    optional: bool
    _field: "dataclasses.Field[Any]"

    def default(self) -> Any:
        """A fresh default, or `dataclasses.MISSING` where the field declares none."""
        if self._field.default_factory is not MISSING:
            return self._field.default_factory()
        return self._field.default


def union_members(declared: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself as the only one."""
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        return typing.get_args(declared)
    return (declared,)


@functools.cache
def settings_of(schema: type) -> tuple[Setting, ...]:
    """The settings and sections of a schema in field order (without those inside sections)."""
    hints = typing.get_type_hints(schema)
    found = []
    for field in dataclasses.fields(schema):
        if not field.init:
            continue
        members = union_members(hints[field.name])
        sections = [member for member in members if dataclasses.is_dataclass(member)]
        if sections and len(set(members) - {types.NoneType}) > 1:
            raise TypeError(f"{schema.__name__}.{field.name}: a section is a union with None only")
        section = typing.cast(type, sections[0]) if sections else None
        describe_type(hints[field.name])  # refuses a type that no value can be read into
        text = field.metadata.get("help", "") or (_first_paragraph(section) if section else "")
        optional = types.NoneType in members
        found.append(Setting(field.name, hints[field.name], text, section, optional, field))
    return tuple(found)


def walk(schema: type, prefix: str = "", base: Any = None) -> Iterator[tuple[str, Setting, Any]]:
    """Go through a schema depth first, a section before what is inside it.

    Args:
        schema: The dataclass.
        prefix: What stands before each key, with its dot.
        base: An instance that holds the defaults; None takes the fields' own.

    Yields:
        The dotted key, the setting, and its default (`dataclasses.MISSING` where there is none).
    """
    for item in settings_of(schema):
        key = prefix + item.name
        default = item.default() if base is None else getattr(base, item.name)
        yield key, item, default
        if item.section is not None:
            yield from walk(item.section, key + ".", None if default is MISSING else default)


def describe_type(declared: Any) -> str:
    """A type in a user's words: ``whole number or null``, ``one of mean, cls``, ``[text, ...]``."""
    members = union_members(declared)
    if len(members) > 1:
        kinds = [typing.get_origin(member) or member for member in members]
        if len({_READ_ALIKE.get(kind, kind) for kind in kinds}) < len(kinds):
            raise TypeError(f"{declared}: two types of this union are written alike")
        # Null reads best at the end: "whole number or null".
        ordered = sorted(members, key=lambda member: member is types.NoneType)
        return " or ".join(describe_type(member) for member in ordered)
    arguments = typing.get_args(declared)
    origin = typing.get_origin(declared)
    if declared is types.NoneType:
        return "null"
    if declared in _WORDS:
        return _WORDS[declared]
    if dataclasses.is_dataclass(declared):
        return "section of settings"
    if origin is Literal and all(isinstance(choice, str | int) for choice in arguments):
        choices = ", ".join(write_value(choice) for choice in arguments)
        return f"one of {choices}" if len(arguments) > 1 else choices
    if origin is list or (origin is tuple and arguments[1:] == (Ellipsis,)):
        return f"[{describe_type(arguments[0])}, ...]"
    if origin is dict and arguments[0] is str:
        return f"{{name: {describe_type(arguments[1])}, ...}}"
    raise TypeError(f"{declared} is not a type that a setting can have")


def write_value(value: Any) -> str:
    """One value as YAML on one line; floats keep their point, text is quoted where it must be."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _write_float(value)
    if isinstance(value, str | Path):
        return _write_text(str(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{_write_text(name)}: {write_value(item)}" for name, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise TypeError(f"a setting cannot hold {type(value).__name__}")


def dump_config(instance: Any, comments: bool = False) -> str:
    """A configuration as YAML that `load_config` reads back to an equal instance.

    Args:
        instance: An instance of a schema.
        comments: Write each setting's help and type above it.

    Returns:
        Text that ends in a line break: keys in field order, a blank line around each section of
        the top level.
    """
    return "\n".join(_dump_section(instance, "", comments)) + "\n"


def format_help(
    schema: type, description: str, epilog: str, prog: str, flags: Mapping[str, str]
) -> str:
    """The text of ``--help``: what the command does, examples, options, then every setting.

    Args:
        schema: The dataclass of the settings.
        description: What the command does; paragraphs are kept and wrapped.
        epilog: Examples, printed as they stand.
        prog: The command's name.
        flags: The command's own flags (``--resume``) with their help.

    Returns:
        Text of at most `HELP_WIDTH` columns, but for the examples and keys longer than that.
    """
    usage = " ".join(f"[{flag}]" for flag in flags)
    options = {
        "--config FILE": "Read settings from this YAML file; what it leaves out keeps its default.",
        "key=value": (
            "Change one setting, named in full as in the list below; --key=value means the same, "
            "and the last one counts. A list is written key='[a, b]', a mapping key='{a: 1}' or "
            "one entry of it key.a=1, and null or an empty value means none. Text that looks like "
            "one of these goes in double quotes inside the shell's: key='\"null\"'."
        ),
        **flags,
        "--print-config": "Print all settings as YAML, as they would be used, and stop.",
        "--help": "Print this text and stop.",
    }
    parts = [f"usage: {prog} --config FILE [key=value ...]" + (f" {usage}" if usage else "")]
    parts += [textwrap.fill(" ".join(text.split()), HELP_WIDTH) for text in _split(description)]
    parts += [textwrap.dedent(epilog).strip("\n")] if epilog.strip() else []
    parts.append("options:\n" + "\n".join(_entry(*pair) for pair in options.items()))
    top = [entry for entry in walk(schema) if entry[1].section is None and "." not in entry[0]]
    if top:
        parts.append("settings:\n" + "\n".join(_setting_entry(*entry) for entry in top))
    for key, item, default in walk(schema):
        if item.section is None:
            continue
        inside = [
            entry
            for entry in walk(schema)
            if entry[1].section is None and entry[0].rpartition(".")[0] == key
        ]
        state = " (null by default)" if default is None else ""
        heading = textwrap.fill(f"{key}{state}: {item.help}".rstrip(), HELP_WIDTH)
        parts.append("\n".join([heading, *(_setting_entry(*entry) for entry in inside)]))
    return "\n\n".join(parts) + "\n"


def nearest_keys(key: str, known: Iterable[str]) -> list[str]:
    """Up to three known dotted keys that may have been meant by an unknown one.

    Keys are compared by their last part, for the section is long and says little: keys of the
    same last part in another section come first; else those spelt alike, and where some of them
    are in the section that was named, only these.
    """
    by_last: dict[str, list[str]] = {}
    for name in known:
        # The section that a key is in says nothing new.
        if not key.startswith(name + "."):
            by_last.setdefault(name.rpartition(".")[2], []).append(name)
    section, dot, last = key.rpartition(".")
    close = [last] if last in by_last else difflib.get_close_matches(last, by_last, cutoff=0.75)
    near = [name for part in close for name in by_last[part]]
    same = [name for name in near if name.rpartition(".")[0] == section]
    return (same if dot and same else near)[:3]


def did_you_mean(near: Iterable[str]) -> str:
    """``did you mean a or b?``, or nothing where there is nothing near."""
    names = " or ".join(near)
    return f"did you mean {names}?" if names else ""


def _setting_entry(key: str, item: Setting, default: Any) -> str:
    state = "required" if default is MISSING else f"default {write_value(default)}"
    return _entry(f"{key}  ({describe_type(item.type)}; {state})", item.help)


def _entry(head: str, text: str) -> str:
    lines = textwrap.wrap(
        head, HELP_WIDTH, initial_indent="  ", subsequent_indent="    ", **_WHOLE_WORDS
    )
    indent = " " * 6
    body = textwrap.wrap(" ".join(text.split()), HELP_WIDTH - 6, **_WHOLE_WORDS)
    return "\n".join(lines + [indent + line for line in body])


# A key or a path that is cut in two cannot be copied.
_WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def _split(text: str) -> list[str]:
    return [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


def _first_paragraph(section: type) -> str:
    text = section.__doc__ or ""
    # A dataclass without a docstring gets its signature for one.
    if text.startswith(section.__name__ + "("):
        return ""
    return " ".join(_split(text)[0].split()) if text.strip() else ""


def _dump_section(instance: Any, indent: str, comments: bool) -> list[str]:
    lines: list[str] = []
    after_section = False
    schema: type = type(instance)
    for item in settings_of(schema):
        value = getattr(instance, item.name)
        is_section = item.section is not None and value is not None
        if not indent and lines and (is_section or after_section):
            lines.append("")
        if comments:
            state = "" if item.section else f"({describe_type(item.type)})"
            note = f"{item.help} {state}".strip()
            lead = f"{indent}# "
            note_lines = textwrap.wrap(note, HELP_WIDTH - len(lead), **_WHOLE_WORDS)
            lines += [lead + line for line in note_lines]
        if is_section:
            inside = _dump_section(value, indent + "  ", comments)
            lines += [f"{indent}{item.name}:{'' if inside else ' {}'}", *inside]
        else:
            lines.append(f"{indent}{item.name}: {write_value(value)}")
        after_section = is_section
    return lines


def _write_float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    # repr gives 1e-05, which YAML 1.1 reads as text: 1.0e-5 is a number everywhere.
    mantissa, _, exponent = repr(value).partition("e")
    mantissa += "" if "." in mantissa else ".0"
    return f"{mantissa}e{int(exponent):+d}" if exponent else mantissa


def _write_text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    # All that YAML forbids or folds (controls, line separators, surrogates) is not printable.
    if character.isprintable():
        return character
    code = ord(character)
    for letter, digits in (("x", 2), ("u", 4)):
        if code < 16**digits:
            return f"\\{letter}{code:0{digits}x}"
    return f"\\U{code:08x}"
