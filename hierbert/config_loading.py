"""Settings from a YAML file and ``key=value`` overrides into nested dataclasses.

The schema says what each value is: scalars are kept as written until the declared type reads
them, so ``1e-5`` is a float, ``no`` and ``12:30`` stay text. Knows nothing of any one schema, and
reads plain YAML only: no tags, anchors or aliases, so no object is ever built from a file.
Invariant: any text either loads or raises a one-line `ConfigError` that names the place.

An empty value is null, in the file (``key:``) and on the command line (``key=``); the empty text is
``""`` in YAML's quotes. On the command line a value that begins with ``[ { " '`` is YAML, anything
else is taken as written (``data.train=*.csv``). `setting`, `dump_config` and `parse_command_line`
belong to the same job and are offered here too.
"""

import difflib
import math
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import yaml

from hierbert.config_command_line import CommandLine, parse_command_line
from hierbert.config_help import (
    Setting,
    describe_type,
    did_you_mean,
    dump_config,
    nearest_keys,
    setting,
    settings_of,
    union_members,
    walk,
    write_value,
)
from hierbert.errors import ConfigError

__all__ = ["CommandLine", "dump_config", "load_config", "parse_command_line", "setting"]

S = TypeVar("S")

_COMMAND_LINE = "command line"
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True}
_BOOLEANS |= {"false": False, "False": False, "FALSE": False}
# A leading zero is octal to YAML 1.1 and decimal to YAML 1.2; here it is no number.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*(_[0-9]+)*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*(_[0-9]+)*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INFINITIES = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
# Which member of a union reads a scalar first; quoted text is text wherever text is allowed.
_SCALAR_ORDER = (Literal, bool, int, float, str, Path)


def load_config(schema: type[S], path: Path | None, overrides: Sequence[str] = ()) -> S:
    """Read a configuration: the schema's defaults, then the file, then the overrides.

    A setting that holds a mapping is replaced as a whole by the file or by ``key={...}``;
    ``key.name=value`` changes one entry of it. After a section is built, its ``validate()`` is
    called if it has one, inner sections first.

    Args:
        schema: The dataclass to fill.
        path: A YAML file in UTF-8; None for overrides alone.
        overrides: ``key=value`` with dotted keys; later ones win.

    Returns:
        An instance of ``schema``, every value of its declared type.

    Raises:
        ConfigError: The file cannot be read or is not plain YAML, a key is unknown or missing, a
            value is not of its type, or ``validate`` or the constructor raised ValueError.
    """
    values = _Values(schema)
    if path is not None:
        root = _compose(_read_text(path), str(path))
        if root is not None:
            values.add_mapping(schema, "", root, str(path))
    for override in overrides:
        values.add_override(override.removeprefix("--"))
    missing: list[str] = []
    config = values.build(schema, "", None, missing)
    if missing:
        place = f"{path}: " if path else ""
        what = "a required setting is" if len(missing) == 1 else "required settings are"
        raise _error(
            f"{place}{what} missing: {', '.join(missing)}; add it to the config file or as "
            "key=value on the command line"
        )
    return typing.cast(S, config)


class _Values:
    """What was given so far, by dotted key, and the configuration made of it."""

    def __init__(self, schema: type) -> None:
        self.schema = schema
        self.known = [key for key, _, _ in walk(schema)]
        self.given: dict[str, tuple[yaml.Node, str]] = {}
        # Entries of mappings that were set one by one, on top of the mapping itself.
        self.entries: dict[str, dict[str, tuple[yaml.Node, str]]] = {}
        self.opened: set[str] = set()

    def add_mapping(self, schema: type, prefix: str, node: yaml.Node, source: str) -> None:
        inside = {item.name: item for item in settings_of(schema)}
        if not isinstance(node, yaml.MappingNode):
            section = prefix.rstrip(".")
            what = f"{section} is a section" if section else "a config is a list of key: value"
            names = ", ".join(prefix + name for name in inside)
            raise _error(f"{_place(source, node)}: {what}, got {_show(node)}; it takes: {names}")
        for name_node, value in node.value:
            item = inside.get(name_node.value)
            if item is None:
                self._refuse_key(prefix + name_node.value, _place(source, name_node), source)
            self._add(item, prefix + item.name, value, source)

    def add_override(self, override: str) -> None:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            raise _error(f"{_COMMAND_LINE}: {override!r} is not of the form key=value")
        text = text.strip()
        node: yaml.Node | None = yaml.ScalarNode("", text)
        if text[:1] in ("[", "{", '"', "'"):
            hint = f"if all of it is text, write {key}='{write_value(text)}'"
            node = _compose(text, f"{_COMMAND_LINE}: {key}", hint)
        schema, prefix = self.schema, ""
        names = key.split(".")
        for position, name in enumerate(names):
            item = {item.name: item for item in settings_of(schema)}.get(name)
            if item is None:
                break
            rest = ".".join(names[position + 1 :])
            if position == len(names) - 1:
                return self._add(item, key, typing.cast(yaml.Node, node), _COMMAND_LINE)
            if item.section is None:
                return self._add_entry(item, prefix + name, rest, typing.cast(yaml.Node, node))
            schema, prefix = item.section, f"{prefix}{name}."
        self._refuse_key(key, _COMMAND_LINE, _COMMAND_LINE)

    def build(self, schema: type, prefix: str, base: Any, missing: list[str]) -> Any:
        built: dict[str, Any] = {}
        for item in settings_of(schema):
            key = prefix + item.name
            value = item.default() if base is None else getattr(base, item.name)
            if key in self.given:
                node, source = self.given[key]
                value = None if item.section else _coerce(node, item.type, key, source)
            elif item.section is not None:
                default = None if value is MISSING else value
                if default is not None or not item.optional or self._is_open(key):
                    value = self.build(item.section, key + ".", default, missing)
            for name, (node, source) in self.entries.get(key, {}).items():
                entry = _coerce(node, _entry_type(item.type), f"{key}.{name}", source)
                value = {**(value if isinstance(value, dict) else {}), name: entry}
            if value is MISSING:
                first_sentence = item.help.partition(". ")[0].rstrip(".")
                words = f"{describe_type(item.type)}: {first_sentence}".removesuffix(": ")
                missing.append(f"{key} ({words})")
            built[item.name] = value
        if missing:
            return None
        try:
            config = schema(**built)
            if hasattr(config, "validate"):
                config.validate()
        except ConfigError:
            raise
        except ValueError as error:
            raise _error(f"{prefix.rstrip('.') or 'settings'}: {error}") from error
        return config

    def _add(self, item: Setting, key: str, node: yaml.Node, source: str) -> None:
        parent = key.rpartition(".")[0]
        while parent:
            self.given.pop(parent, None)
            parent = parent.rpartition(".")[0]
        if item.section is None:
            self.given[key] = (node, source)
            self.entries.pop(key, None)
        elif _is_null(node) and node.value == "" and not item.optional and source != _COMMAND_LINE:
            # In a file, a section whose settings are all commented out.
            return
        elif not _is_null(node) or not item.optional:
            self.given.pop(key, None)
            self.opened.add(key)
            self.add_mapping(item.section, key + ".", node, source)
        else:
            for values in (self.given, self.entries):
                for other in [other for other in values if other.startswith(key + ".")]:
                    del values[other]
            self.opened = {name for name in self.opened if not f"{name}.".startswith(key + ".")}
            self.given[key] = (node, source)

    def _add_entry(self, item: Setting, key: str, name: str, node: yaml.Node) -> None:
        if _entry_type(item.type) is None:
            raise _error(
                f"{_COMMAND_LINE}: {key}.{name}: {key} is one setting "
                f"({describe_type(item.type)}), with nothing inside; write {key}=value"
            )
        self.entries.setdefault(key, {})[name] = (node, _COMMAND_LINE)

    def _is_open(self, key: str) -> bool:
        given = (*self.opened, *self.given, *self.entries)
        return any(f"{name}.".startswith(key + ".") for name in given)

    def _refuse_key(self, key: str, place: str, source: str) -> NoReturn:
        if key in self.known and source != _COMMAND_LINE:
            section, _, name = key.rpartition(".")
            raise _error(f"{place}: {key}: write {name} inside the section {section}")
        hint = did_you_mean(nearest_keys(key, self.known))
        if not hint:
            section = key.rpartition(".")[0]
            prefix = f"{section}." if section in self.known else ""
            names = [name for name in self.known if name.startswith(prefix)]
            names = [name for name in names if "." not in name.removeprefix(prefix)]
            hint = f"known here: {', '.join(names)} (--help explains them)"
        raise _error(f"{place}: unknown setting {key}; {hint}")


def _coerce(node: yaml.Node, declared: Any, key: str, source: str) -> Any:
    """The value of a node by the type that the schema declares for it."""
    members = union_members(declared)
    if _is_null(node):
        if types.NoneType in members:
            return None
        hint = ' (in quotes, "null", it is text)' if str in members else ""
        _refuse_value(node, declared, key, source, hint)
    if isinstance(node, yaml.ScalarNode):
        return _coerce_scalar(node, declared, key, source)
    for member in members:
        origin, arguments = typing.get_origin(member), typing.get_args(member)
        if isinstance(node, yaml.MappingNode) and origin is dict:
            return {
                name.value: _coerce(item, arguments[1], f"{key}.{name.value}", source)
                for name, item in node.value
            }
        if isinstance(node, yaml.SequenceNode) and origin in (list, tuple):
            items = enumerate(node.value)
            return origin(_coerce(item, arguments[0], f"{key}[{i}]", source) for i, item in items)
    _refuse_value(node, declared, key, source)


def _coerce_scalar(node: yaml.ScalarNode, declared: Any, key: str, source: str) -> Any:
    members = union_members(declared)
    text = node.value
    if node.style is not None and str in members:
        return text
    by_kind = {typing.get_origin(member) or member: member for member in members}
    for kind in _SCALAR_ORDER:
        if kind not in by_kind:
            continue
        if kind is Literal:
            for choice in typing.get_args(by_kind[kind]):
                if _read_scalar(text, type(choice)) == choice:
                    return choice
        # Beside float, 1.0 stays a float; an int field alone takes it as 1.
        elif kind is not int or float not in by_kind or _INTEGER.fullmatch(text):
            value = _read_scalar(text, typing.cast(type, kind))
            if value is not None:
                return value
    choices = [c for c in typing.get_args(by_kind.get(Literal)) if isinstance(c, str)]
    hint = did_you_mean(difflib.get_close_matches(text, choices))
    _refuse_value(node, declared, key, source, f"; {hint}" if hint else "")


def _read_scalar(text: str, kind: type) -> Any:
    """The text read as a bool, int, float, str or Path; None where it is none."""
    if kind is bool:
        return _BOOLEANS.get(text)
    if kind is str:
        return text
    if kind is Path:
        return Path(text) if text else None
    if kind is int and _INTEGER.fullmatch(text):
        # Python refuses to convert thousands of digits, and so does hierbert.
        return int(text) if len(text) < 1000 else None
    number = float(text) if _NUMBER.fullmatch(text) else _INFINITIES.get(text.lower())
    if number is None or (math.isinf(number) and text.lower() not in _INFINITIES):
        return None
    if kind is float:
        return number
    # Above 2**53 a float no longer says which integer was meant.
    return int(number) if abs(number) <= 2**53 and number.is_integer() else None


class _PlainLoader(yaml.BaseLoader):
    """Composes nodes of plain YAML: scalars stay text; tags, anchors and aliases are refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        sign = "!" if getattr(event, "tag", None) is not None else ""
        sign = "&" if getattr(event, "anchor", None) is not None else sign
        sign = "*" if isinstance(event, yaml.AliasEvent) else sign
        if sign:
            kind = {"!": "tags", "&": "anchors", "*": "aliases"}[sign]
            problem = f"{kind} are not read; put text that begins with {sign} in quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        names: set[str] = set()
        for name, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            problem = "" if isinstance(name, yaml.ScalarNode) else "a key must be a single word"
            if not problem and name.value in names:
                problem = f"the key {name.value!r} is given twice"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
            names.add(name.value)
        return node


def _compose(text: str, source: str, hint: str = "") -> yaml.Node | None:
    hint = f"; {hint}" if hint else ""
    try:
        return yaml.compose(text, _PlainLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        place = f"{source}, line {line}"
        raise _error(f"{place}: character U+{int(error.character):04X} in it{hint}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise _error(f"{source}{place}: not plain YAML: {problem}{hint}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # PyYAML lets a few through: escapes beyond Unicode, lists nested a thousand deep.
        problem = " ".join(str(error).split())
        raise _error(f"{source}: not plain YAML: {problem}{hint}") from error


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        folder = path.parent
        close = difflib.get_close_matches(path.name, [found.name for found in folder.glob("*")])
        hint = did_you_mean(str(folder / name) for name in close) or f"looked from {Path.cwd()}"
        raise _error(f"config file {path} not found; {hint}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _error(f"config file {path} cannot be read: {reason}") from error
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _error(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error


def _error(message: str) -> ConfigError:
    """An error on one line, whatever stands in the keys and values that it quotes."""
    return ConfigError(" ".join(message.split()))


def _refuse_value(
    node: yaml.Node, declared: Any, key: str, source: str, hint: str = ""
) -> NoReturn:
    expected = describe_type(declared)
    raise _error(f"{_place(source, node)}: {key}: expected {expected}, got {_show(node)}{hint}")


def _entry_type(declared: Any) -> Any:
    for member in union_members(declared):
        if typing.get_origin(member) is dict:
            return typing.get_args(member)[1]
    return None


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULLS


def _place(source: str, node: yaml.Node) -> str:
    if source == _COMMAND_LINE or node.start_mark is None:
        return source
    return f"{source}, line {node.start_mark.line + 1}"


def _show(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        text = node.value if len(node.value) <= 60 else node.value[:60] + "..."
        return "null" if _is_null(node) else repr(text)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
