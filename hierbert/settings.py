"""Settings from a YAML file and ``key=value`` overrides, which Python's become too.

The schema says what each value is: scalars are kept as written until the declared type reads
them, so ``1e-5`` is a float, ``no`` and ``12:30`` stay text. Knows nothing of any one schema, and
reads plain YAML only: no tags, anchors or aliases, so no object is ever built from a file.
Invariant: any text either loads or raises a one-line `ConfigError` that names the place.

An empty value is null, in the file (``key:``) and on the command line (``key=``); the empty text is
``""`` in YAML's quotes. On the command line a value that begins with ``[ { " '`` is YAML, anything
else is taken as written (``data.train=*.csv``). Of a setting that is a mapping, ``key={...}`` gives
all and ``key.name=value`` one entry more.
"""

import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar

import yaml

from hierbert.errors import ConfigError, error_text, nearest, not_allowed, quote
from hierbert.log import log
from hierbert.settings_text import (
    TEXT_BY_NAME,
    describe_type,
    dump_config,
    nearest_keys,
    setting,
    settings_of,
    union_members,
    walk,
    write_value,
)

__all__ = [
    "CommandLine",
    "dump_config",
    "load_config",
    "parse_command_line",
    "setting",
]

S = TypeVar("S")

_COMMAND_LINE = "command line"
_ON_COMMAND_LINE = yaml.Mark(_COMMAND_LINE, 0, 0, 0, "", 0)
_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True}
_BOOLEANS |= {"false": False, "False": False, "FALSE": False}
# A leading zero is octal to YAML 1.1 and decimal to YAML 1.2; here it is no number.
_WHOLE = "(0|[1-9][0-9]*(_[0-9]+)*)"
_INTEGER = re.compile(rf"[+-]?{_WHOLE}")
_NUMBER = re.compile(rf"[+-]?({_WHOLE}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Which member of a union reads a scalar first; quoted text is text wherever text is allowed.
_SCALAR_ORDER = (bool, int, float, str)


def load_config(schema: type[S], path: Path | None, overrides: Sequence[str] = ()) -> S:
    """Read a configuration: the schema's defaults, then the YAML file, then the overrides.

    These are ``key=value`` with dotted keys; later ones win. Of the dataclass that is given ranges
    are kept and sections' `check()` passed: a ConfigError where a value is not allowed, a key is
    unknown or missing, or the file cannot be read or is not plain YAML.
    """
    values = _Values(schema)
    if path is not None and (root := _compose(_read_text(path), str(path))) is not None:
        values.add_mapping("", root)
    for override in overrides:
        values.add_override(override.removeprefix("--"))
    missing: list[str] = []
    config = values.build(schema, "", missing)
    if missing:
        what = "a required setting is" if len(missing) == 1 else "required settings are"
        raise ConfigError(
            f"{what} missing: {', '.join(missing)}; add it to the config file or as key=value on "
            "the command line",
            place=str(path) if path else None,
        )
    try:
        _check(config)
    except ConfigError as error:
        key = (error.setting or "").removeprefix(".")
        if key in values.given:
            error.place = _place(values.given[key])
        raise
    return typing.cast(S, config)


def _check(config: Any, prefix: str = "") -> None:
    """Check each number's range, and by each section's `check()` what goes together."""
    schema: type = type(config)
    for item in settings_of(schema):
        key, value = prefix + item.name, getattr(config, item.name)
        if item.section is not None:
            _check(value, f"{key}.")
        elif not _is_inside(value, item.bounds):
            # The dot says that the key is whole, also of a setting in no section.
            name = key if prefix else f".{key}"
            raise not_allowed(name, value, item.allowed())
    if hasattr(config, "check"):
        config.check()


def _is_inside(value: Any, bounds: Mapping[str, float]) -> bool:
    # NaN is in no range, and the infinities are in none of the second kind.
    return type(value) not in (int, float) or (
        bounds.get("at_least", -math.inf) <= value <= bounds.get("at_most", math.inf)
        and bounds.get("above", -math.inf) < value < bounds.get("below", math.inf)
    )


class _Values:
    """What was given so far, by dotted key, and the configuration made of it."""

    def __init__(self, schema: type) -> None:
        self.known = dict(walk(schema))
        self.given: dict[str, yaml.Node] = {}

    def add_mapping(self, section: str, node: yaml.Node) -> None:
        if not isinstance(node, yaml.MappingNode):
            what = f"{section} is a section" if section else "a config is a list of key: value"
            names = ", ".join(self._inside(section))
            raise ConfigError(f"{_place(node)}: {what}, got {_show(node)}; it takes: {names}")
        for name, value in node.value:
            key = f"{section}.{name.value}" if section else name.value
            if key not in self.known or "." in name.value:
                self._refuse_key(key, _place(name))
            self._add(key, value)

    def add_override(self, override: str) -> None:
        key, equals, raw = override.partition("=")
        key, text = key.strip(), raw.strip()
        if not equals or not key:
            raise ConfigError(f"{_COMMAND_LINE}: {override!r} is not of the form key=value")
        # The name of a column may begin or end in a space; for all else they are a slip.
        is_text = text not in _NULLS and str in self._types_of(key)
        value = raw if is_text else text
        node: yaml.Node | None = yaml.ScalarNode("", value, _ON_COMMAND_LINE)
        if text[:1] in ("[", "{", '"', "'"):
            hint = f"; if all of it is text, write {key}='{write_value(text)}'"
            node = _compose(text, _COMMAND_LINE, f"{key}: ", hint)
        node = typing.cast(yaml.Node, node)
        mappings = [k for k, item in self.known.items() if TEXT_BY_NAME in union_members(item.type)]
        if key not in self.known:
            for mapping in mappings:
                if (name := key.removeprefix(f"{mapping}.")) not in ("", key):
                    self._add_entry(mapping, name, node)
                    return
            self._refuse_key(key, _COMMAND_LINE)
        self._add(key, node)

    def _add_entry(self, mapping: str, name: str, node: yaml.Node) -> None:
        before = self.given.get(mapping)
        entries = before.value if isinstance(before, yaml.MappingNode) else []
        for other, value in entries:
            if other.value == name:
                self._say_if_given(f"{mapping}.{name}", value, node)
        entries = [*entries, (yaml.ScalarNode("", name), node)]
        self.given[mapping] = yaml.MappingNode("", entries, _ON_COMMAND_LINE)

    def _say_if_given(self, key: str, before: yaml.Node, node: yaml.Node) -> None:
        """Refuse a list that the command line gives in pieces; warn of another value than before.

        Programs that try settings append theirs to a command line, so that the last one counts.
        """
        # What takes a value back, or comes after that, is no other value.
        if _place(before) != _COMMAND_LINE or _place(node) != _COMMAND_LINE or _is_null(before):
            return
        if self._is_list(key) and not _is_null(node):
            raise ConfigError(
                f"{_COMMAND_LINE}: {key} is given twice; several are a list: {key}='[ONE, OTHER]'"
            )
        if _plain(before) != _plain(node):
            log.warning(
                f"{_COMMAND_LINE}: {key} is given twice, {_show(before)} and {_show(node)}; the "
                "last one counts"
            )

    def _types_of(self, key: str) -> tuple[Any, ...]:
        """What a setting or an entry of a mapping may be."""
        if key in self.known:
            return union_members(self.known[key].type)
        inside = key.rpartition(".")[0] in self.known
        return (str,) if inside else ()

    def _is_list(self, key: str) -> bool:
        return any(typing.get_origin(member) is list for member in self._types_of(key))

    def build(self, schema: type, prefix: str, missing: list[str]) -> Any:
        built: dict[str, Any] = {}
        for item in settings_of(schema):
            key = prefix + item.name
            if item.section is not None:
                value = self.build(item.section, f"{key}.", missing)
            elif key in self.given:
                value = _read(self.given[key], item.type, key)
            elif (value := item.default()) is MISSING:
                first_sentence = item.help.partition(". ")[0].rstrip(".")
                missing.append(f"{key} ({item.allowed()}: {first_sentence})")
            built[item.name] = value
        return None if missing else schema(**built)

    def _add(self, key: str, node: yaml.Node) -> None:
        is_empty = _is_null(node) and node.value == ""
        if self.known[key].section is None:
            if before := self.given.get(key):
                self._say_if_given(key, before, node)
            self.given[key] = node
        # In a file, a section whose settings are all commented out is empty.
        elif not is_empty or node.start_mark is _ON_COMMAND_LINE:
            self.add_mapping(key, node)

    def _inside(self, section: str) -> list[str]:
        return [key for key in self.known if key.rpartition(".")[0] == section]

    def _refuse_key(self, key: str, place: str) -> NoReturn:
        section, _, name = key.rpartition(".")
        if key in self.known:
            raise ConfigError(f"{place}: {key}: write {name} inside the section {section}")
        names = self._inside(section) or self._inside("")
        hint = _meant(nearest_keys(key, self.known))
        hint = hint or f"known here: {', '.join(names)} (--help explains them)"
        raise ConfigError(f"{place}: unknown setting {key}; {hint}")


def _read(node: yaml.Node, declared: Any, key: str) -> Any:
    """The value of a node by the type that the schema declares for it."""
    members = union_members(declared)
    hint = ""
    if _is_null(node):
        if types.NoneType in members:
            return None
        hint = ' (in quotes, "null", it is text)' if str in members else ""
    elif isinstance(node, yaml.ScalarNode):
        choices = [
            c for m in members if typing.get_origin(m) is Literal for c in typing.get_args(m)
        ]
        if node.value in choices or (node.style is not None and str in members):
            return node.value
        for kind in _SCALAR_ORDER:
            if kind in members and (value := _read_scalar(node.value, kind)) is not None:
                return value
        near = _meant(nearest(node.value, choices))
        hint = f"; {near}" if near else ""
    elif isinstance(node, yaml.SequenceNode):
        for kind in (typing.get_args(m)[0] for m in members if typing.get_origin(m) is list):
            return [_read(item, kind, f"{key}[{i}]") for i, item in enumerate(node.value)]
    elif TEXT_BY_NAME in members:
        return {name.value: _read_entry(value, f"{key}.{name.value}") for name, value in node.value}
    _refuse_value(node, declared, key, hint)


def _read_entry(node: yaml.Node, key: str) -> str:
    """The text of an entry of a mapping; a number there is more likely a mistake than a name."""
    text: str = _read(node, str, key)
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if is_plain and _read_scalar(text, float) is not None:
        _refuse_value(node, str, key, f' (in quotes, "{text}", it is text)')
    return text


def _refuse_value(node: yaml.Node, declared: Any, key: str, hint: str) -> NoReturn:
    expected = f"expected {describe_type(declared)}, got {_show(node)}{hint}"
    raise ConfigError(f"{_place(node)}: {key}: {expected}")


def _read_scalar(text: str, kind: type) -> Any:
    """The text read as a bool, int, float or str; None where it is none."""
    if kind is bool:
        return _BOOLEANS.get(text)
    if kind is str:
        return text
    if kind is int and _INTEGER.fullmatch(text):
        # Python refuses to convert thousands of digits, and so does hierbert.
        return int(text) if len(text) < 1000 else None
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if kind is float:
        return number if math.isfinite(number) else None
    # Above 2**53 a float no longer says which integer was meant.
    return int(number) if abs(number) <= 2**53 and number.is_integer() else None


class _PlainLoader(yaml.BaseLoader):
    """Composes nodes of plain YAML: scalars stay text; tags, anchors and aliases are refused."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        for sign, kind, is_there in (
            ("*", "aliases", isinstance(event, yaml.AliasEvent)),
            ("&", "anchors", getattr(event, "anchor", None) is not None),
            ("!", "tags", getattr(event, "tag", None) is not None),
        ):
            if is_there:
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


def _compose(text: str, source: str, key: str = "", hint: str = "") -> yaml.Node | None:
    """The root of a text of YAML, of which each node knows its source and line."""
    try:
        loader = _PlainLoader(text)
        loader.name = source
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"character U+{int(error.character):04X} in it"
        raise ConfigError(f"{source}, line {line}: {key}{character}{hint}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = error.problem or error.context
        raise ConfigError(f"{source}{place}: {key}not plain YAML: {problem}{hint}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # PyYAML lets a few through: escapes beyond Unicode, lists nested a thousand deep.
        raise ConfigError(f"{source}: {key}not plain YAML: {error}{hint}") from error


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8")
    except FileNotFoundError as error:
        close = nearest(path.name, [found.name for found in path.parent.glob("*")])
        hint = _meant(str(path.parent / name) for name in close) or f"looked from {Path.cwd()}"
        raise ConfigError(f"config file {path} not found; {hint}") from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"config file {path} cannot be read: {error_text(error)}") from error


class CommandLine(NamedTuple):
    """What was asked for: the file, ``key=value`` without leading dashes, and the flags."""

    config: Path | None
    overrides: tuple[str, ...]
    flags: frozenset[str]


def parse_command_line(argv: Sequence[str], schema: type, flags: Iterable[str]) -> CommandLine:
    """Split ``--config FILE key=value ...``; no file is opened and no value checked.

    `flags` are those beside ``--config``; one that takes a value, which is told with it (``--level
    LEVEL``), is only offered. A ConfigError where an argument is none of these says what to write
    instead.
    """
    config: Path | None = None
    overrides: list[str] = []
    seen: set[str] = set()
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name == "--config":
            value = value if equals else next(arguments, "")
            if not value or value.startswith("-"):
                raise ConfigError("--config needs a file: --config FILE")
            if config is not None:
                raise ConfigError(f"--config is given twice: {config} and {value}; one is read")
            config = Path(value).expanduser()
        elif name in flags:
            if equals:
                raise ConfigError(f"{name} takes no value; write {name}, not {argument}")
            seen.add(name)
        elif equals and re.fullmatch(r"(--)?[^-=].*", name, re.DOTALL):
            overrides.append(argument.removeprefix("--"))
        else:
            _refuse_argument(argument, schema, flags)
    return CommandLine(config, tuple(overrides), frozenset(seen))


def _refuse_argument(argument: str, schema: type, flags: Iterable[str]) -> NoReturn:
    if not argument.startswith("-"):
        hint = f"a config file is given as --config {argument}, a setting as key=value"
        raise ConfigError(f"{_COMMAND_LINE}: unexpected argument {argument!r}; {hint}")
    options = ["--config", *(flag.partition(" ")[0] for flag in flags)]
    near = difflib.get_close_matches(argument, options, n=1, cutoff=0.75)
    if not near:
        settings = [key for key, item in walk(schema) if item.section is None]
        name = argument.partition("=")[0].lstrip("-").replace("-", "_")
        near = [f"{key}=value" for key in nearest_keys(name, settings)]
    hint = _meant(near) or f"options are {', '.join(options)}; settings are written key=value"
    raise ConfigError(f"{_COMMAND_LINE}: unknown option {argument}; {hint}")


def _meant(near: Iterable[str]) -> str:
    names = " or ".join(near)
    return f"did you mean {names}?" if names else ""


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULLS


def _place(node: yaml.Node) -> str:
    source = node.start_mark.name
    return source if source == _COMMAND_LINE else f"{source}, line {node.start_mark.line + 1}"


def _plain(node: yaml.Node) -> Any:
    """What was written, to compare."""
    if isinstance(node, yaml.ScalarNode):
        return None if _is_null(node) else node.value
    if isinstance(node, yaml.MappingNode):
        return {name.value: _plain(value) for name, value in node.value}
    return [_plain(one) for one in node.value]


def _show(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "null" if _is_null(node) else quote(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
