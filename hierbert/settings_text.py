"""What a schema of settings says of itself: keys, types, ranges, defaults and help, as text.

A schema is a dataclass. Each field is a *setting*, or a *section* where its type is a dataclass. A
setting is a bool, int, float, str, a Literal of texts, a list, a mapping of names to texts, null,
or one of several of these.
The module writes text and reads none: `hierbert.settings` does that. Invariant: what `dump_config`
writes, `load_config` reads back to an equal instance.
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
from typing import Any, Literal

import yaml

HELP_WIDTH = 100
_WORDS: dict[Any, str] = {bool: "true or false", int: "whole number", float: "number"}
_WORDS |= {str: "text", types.NoneType: "null"}
TEXT_BY_NAME = dict[str, str]
"""The type of a setting that is a mapping."""
_WORDS[TEXT_BY_NAME] = "{name: text, ...}"
_RANGES = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}
# Plain in any YAML: no indicator, no digit or dot in front, and none of the words of YAML 1.1.
_PLAIN = re.compile(r"(\.{0,2}/)?[a-z_][a-z0-9_./-]*", re.ASCII | re.IGNORECASE)
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
# A key or a path that is cut in two cannot be copied.
_WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def setting(
    default: Any = MISSING, help: str = "", *, factory: Any = MISSING, **bounds: float
) -> Any:
    """Declare a setting of a schema, for use as ``name: type = setting(default, "what it does")``.

    Without a default and without a `factory`, which makes that of lists and sections, it is
    required (such fields come first). The help says what it does, with unit and the reason of the
    default; `bounds` are a number's ``at_least`` or ``above``, ``at_most`` or ``below``.
    """
    if bounds.keys() - _RANGES:
        raise TypeError(f"{', '.join(bounds)}: a range is given by {', '.join(_RANGES)}")
    metadata = {"help": help, "bounds": bounds}
    return dataclasses.field(default=default, default_factory=factory, metadata=metadata)


@dataclass(frozen=True)
class Setting:
    """One field of a schema."""

    name: str  # The field's name, the last part of its key.
    type: Any  # Its declared type, resolved.
    help: str  # What it does, one paragraph, maybe empty.
    bounds: Mapping[str, float]  # The range of a number, as `setting` takes it.
    # The dataclass of the settings inside; None where the field is a single setting.
    section: type | None
    # Gives a fresh default, or `dataclasses.MISSING` where the field declares none.
    default: Callable[[], Any]

    def allowed(self) -> str:
        """What may be written, in words: ``whole number or null, at least 1``."""
        ranges = [f"{_RANGES[name]} {bound}" for name, bound in self.bounds.items()]
        return ", ".join([describe_type(self.type), *ranges])


def union_members(declared: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself as the only one."""
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        return typing.get_args(declared)
    return (declared,)


@functools.cache
def settings_of(schema: type) -> tuple[Setting, ...]:
    """The settings and sections of a schema in field order (without those inside sections)."""
    found = []
    for field in dataclasses.fields(schema):
        declared: Any = field.type
        section = declared if dataclasses.is_dataclass(declared) else None
        describe_type(declared)  # refuses a type that no value can be read into
        default, factory = field.default, field.default_factory
        make = functools.partial(lambda value: value, default) if factory is MISSING else factory
        text, bounds = field.metadata.get("help", ""), field.metadata.get("bounds", {})
        found.append(Setting(field.name, declared, text, bounds, section, make))
    return tuple(found)


def walk(schema: type, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Each dotted key of a schema with its setting; a section comes before what is inside it."""
    for item in settings_of(schema):
        yield prefix + item.name, item
        if item.section is not None:
            yield from walk(item.section, f"{prefix}{item.name}.")


def describe_type(declared: Any) -> str:
    """A type in a user's words: ``whole number or null``, ``one of mean, cls``, ``[text, ...]``.

    A TypeError where a setting cannot have it.
    """
    members = union_members(declared)
    if len(members) > 1:
        # Null reads best at the end: "whole number or null".
        ordered = sorted(members, key=lambda member: member is types.NoneType)
        return " or ".join(describe_type(member) for member in ordered)
    arguments = typing.get_args(declared)
    if declared in _WORDS:
        return _WORDS[declared]
    if dataclasses.is_dataclass(declared):
        return "section of settings"
    if typing.get_origin(declared) is Literal:
        choices = ", ".join(write_value(choice) for choice in arguments)
        return f"one of {choices}" if len(arguments) > 1 else choices
    if typing.get_origin(declared) is list:
        return f"[{describe_type(arguments[0])}, ...]"
    raise TypeError(f"{declared} is not a type that a setting can have")


def write_value(value: Any) -> str:
    """One value as YAML on one line; floats keep their point, text is quoted where it must be."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        # repr gives 1e-05, which YAML 1.1 reads as text: 1.0e-5 is a number everywhere.
        mantissa, _, exponent = repr(value).partition("e")
        mantissa += "" if "." in mantissa else ".0"
        return f"{mantissa}e{int(exponent):+d}" if exponent else mantissa
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
            return value
        quoted = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=math.inf)
        return str(quoted).rstrip("\n")
    if isinstance(value, list):
        return "[" + ", ".join(write_value(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{write_value(name)}: {write_value(item)}" for name, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise TypeError(f"a setting cannot hold {type(value).__name__}")


def dump_config(instance: Any, comments: bool = False) -> str:
    """A configuration as YAML that `load_config` reads back to an equal instance.

    Keys are in field order, a blank line around each section of the top level; with `comments` each
    setting has its help and type above it.
    """
    return "\n".join(_dump_section(instance, "", comments)) + "\n"


def format_help(
    schema: type, description: str, epilog: str, prog: str, flags: Mapping[str, str]
) -> str:
    """The text of ``--help``: what the command does, examples, options, then every setting.

    It has at most `HELP_WIDTH` columns, but for the examples (`epilog`) and keys longer than that.
    `flags` are the command's own, with their help.
    """
    options = {
        "--config FILE": "Read settings from this YAML file; what it leaves out keeps its default.",
        "key=value": "Change one setting, named in full as in the list below; --key=value means "
        "the same, and the last one counts. A list is written key='[a, b]', a mapping "
        "key='{name: value}' or an entry at a time key.name=value, and null or an empty value "
        "means none. Text that looks like one of these goes in double quotes inside the shell's: "
        "key='\"null\"'.",
        **flags,
    }
    usage = "".join(f" [{flag}]" for flag in flags)
    parts = [
        _filled(f"usage: {prog} --config FILE [key=value ...]{usage}", indent="    "),
        *(_filled(paragraph) for paragraph in re.split(r"\n\s*\n", description.strip())),
        epilog.strip("\n"),
        "options:\n" + "\n".join(_entry(*pair) for pair in options.items()),
    ]
    sections: dict[str, list[str]] = {"": ["settings:"]}
    for key, item in walk(schema):
        if item.section is not None:
            sections[key] = [_filled(f"{key}: {item.help}")]
            continue
        default = item.default()
        state = "required" if default is MISSING else f"default {write_value(default)}"
        entry = _entry(f"{key}  ({item.allowed()}; {state})", item.help)
        sections[key.rpartition(".")[0]].append(entry)
    parts += ["\n".join(entries) for entries in sections.values()]
    return "\n\n".join(part for part in parts if part) + "\n"


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


def _entry(head: str, text: str) -> str:
    return f"{_filled(head, '  ', '    ')}\n{_filled(text, '      ', '      ')}"


def _filled(text: str, first: str = "", indent: str = "") -> str:
    words = " ".join(text.split()) if not first else text
    return textwrap.fill(
        words, HELP_WIDTH, initial_indent=first, subsequent_indent=indent, **_WHOLE_WORDS
    )


def _dump_section(instance: Any, indent: str, comments: bool) -> list[str]:
    lines: list[str] = []
    after_section = False
    schema: type = type(instance)
    for item in settings_of(schema):
        value = getattr(instance, item.name)
        if not indent and lines and (item.section or after_section):
            lines.append("")
        if comments:
            note = item.help if item.section else f"{item.help} ({item.allowed()})".strip()
            lines += _filled(note, f"{indent}# ", f"{indent}# ").splitlines()
        if item.section:
            lines += [f"{indent}{item.name}:", *_dump_section(value, indent + "  ", comments)]
        else:
            lines.append(f"{indent}{item.name}: {write_value(value)}")
        after_section = item.section is not None
    return lines
