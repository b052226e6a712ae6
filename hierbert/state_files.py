"""State files: JSON that hierbert wrote, to read again in another process, perhaps years later.

Invariant: whatever bytes such a file holds, what is read of it has the types that were asked for,
or there is one error of one line. Where it has a checksum, it is as it was written.
"""

import hashlib
import json
import types
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hierbert.errors import HierBertError, quote, type_name

T = TypeVar("T")

CHECKSUM = "sha256"
"""The key of an object's own checksum, and of a file's."""

_DEEPEST = 50
_WORDS: dict[Any, str] = {
    **{str: "a string", int: "a whole number", float: "a number", bool: "true or false"},
    **{list: "a list", tuple: "a list of its length", types.NoneType: "null"},
}


class ShapeError(HierBertError):
    """What a state file cannot hold, or was not written; the message says where in it that is."""


def of_shape(value: Any, shape: type[T], where: str = "it") -> T:
    """A value of JSON as a type that it was written from; `where` is what messages call it.

    The type is a dataclass (out of an object of its fields, those with defaults optional), str,
    int, float, bool, None, Any, and lists, dicts, tuples and unions of these. A ShapeError where it
    is of another, lacks a field, has one too many, or is nested deeper than any state is.
    """
    return cast(T, _of_shape(value, shape, where, 0))


def _of_shape(value: Any, shape: Any, where: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ShapeError(f"it is nested more than {_DEEPEST} deep")
    if shape is Any:
        # Nothing is asked of it but that it can be compared, shown and written again.
        inner = value.values() if isinstance(value, dict) else value
        for one in inner if isinstance(value, list | dict) else ():
            _of_shape(one, Any, where, depth + 1)
        return value
    if is_dataclass(shape):
        return _of_fields(value, shape, where, depth)
    kind, inner_shapes = get_origin(shape) or shape, get_args(shape)
    if kind in (Union, types.UnionType):
        return _of_any(value, inner_shapes, where, depth)
    if kind in (list, tuple) and isinstance(value, list):
        if kind is list:
            inner_shapes = inner_shapes * len(value)
        if len(inner_shapes) == len(value):
            each = enumerate(zip(value, inner_shapes, strict=True))
            return kind([_of_shape(one, own, f"{where}[{n}]", depth + 1) for n, (one, own) in each])
    elif kind is dict and isinstance(value, dict):
        return {
            name: _of_shape(one, inner_shapes[1], f"{where}[{quote(name)}]", depth + 1)
            for name, one in value.items()
        }
    elif type(value) is kind or (value is None and kind is types.NoneType):
        return value
    elif kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    shown = "" if isinstance(value, list | dict) or value is None else f" {quote(value)}"
    wanted = _WORDS.get(kind, "an object")
    raise ShapeError(f"{where} is {type_name(value)}{shown}, and {wanted} was written")


def _of_fields(value: Any, shape: Any, where: str, depth: int) -> Any:
    values = _of_shape(value, dict[str, Any], where, depth)
    kinds, known = get_type_hints(shape), {field.name: field for field in fields(shape)}
    for name in values:
        if name not in known:
            raise ShapeError(f"{where} has {quote(name)}, which is not known")
    for name, field in known.items():
        if name not in values and field.default is field.default_factory is MISSING:
            raise ShapeError(f"{where} lacks {quote(name)}")
    return shape(
        **{
            name: _of_shape(one, kinds[name], f"{where}[{quote(name)}]", depth + 1)
            for name, one in values.items()
        }
    )


def _of_any(value: Any, shapes: tuple[Any, ...], where: str, depth: int) -> Any:
    for number, shape in enumerate(shapes, 1):
        try:
            return _of_shape(value, shape, where, depth)
        except ShapeError:
            if number == len(shapes):
                raise
    raise ShapeError(f"{where} cannot be anything")


def with_checksum(content: dict[str, Any]) -> dict[str, Any]:
    """An object with its own checksum, which `without_checksum` holds it against."""
    return {**content, CHECKSUM: _checksum(content)}


def without_checksum(content: dict[str, Any]) -> dict[str, Any]:
    """An object that is as it was written, without its checksum, which versions before had not.

    A ShapeError where it differs.
    """
    rest = {name: value for name, value in content.items() if name != CHECKSUM}
    if CHECKSUM in content and content[CHECKSUM] != _checksum(rest):
        raise ShapeError("it is not as it was written (its sha256 differs)")
    return rest


def file_checksum(path: Path) -> str:
    """SHA-256 of a file; raises OSErrors."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
