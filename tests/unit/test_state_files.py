"""Values of JSON as types: what fits comes back equal, whatever else is one error of one line."""

import json
import random
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from hierbert.errors import HierBertError
from hierbert.state_files import ShapeError, of_shape, with_checksum, without_checksum


@dataclass
class Inner:
    number: int
    name: str | None = None


@dataclass
class Outer:
    inner: Inner
    several: list[Inner]
    numbers: dict[str, float]
    flag: bool = False
    free: dict[str, Any] = field(default_factory=dict)
    pair: tuple[str, int] | None = None


WHOLE = Outer(Inner(1, "a"), [Inner(2), Inner(3, "b")], {"x": 0.5}, True, {"y": [1, {}]}, ("z", 4))
DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]


def test_what_was_written_comes_back() -> None:
    assert of_shape(json.loads(json.dumps(asdict(WHOLE))), Outer) == WHOLE
    least = {"inner": {"number": 1}, "several": [], "numbers": {"x": 1}}
    assert of_shape(least, Outer) == Outer(Inner(1), [], {"x": 1.0})


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "", "x", [], [1], {}, {"a": 1}, DEEP])
def test_a_value_of_another_type_is_refused_wherever_it_stands(value) -> None:
    fits = {
        "inner": (), "several": ([],), "numbers": ({}, {"a": 1}), "flag": (True,),
        "free": ({}, {"a": 1}), "pair": (None,), "inner.number": (1,),
        "inner.name": (None, "", "x"),
        "several.0": (), "several.0.number": (1,), "numbers.x": (1, 1.5), "pair.0": ("", "x"),
        "pair.1": (1,),
    }  # fmt: skip
    for place, allowed in fits.items():
        content = json.loads(json.dumps(asdict(WHOLE)))
        *way, last = (int(key) if key.isdigit() else key for key in place.split("."))
        inner = content
        for key in way:
            inner = inner[key]
        inner[last] = value
        if any(type(value) is type(one) and value == one for one in allowed):
            of_shape(content, Outer)
            continue
        with pytest.raises(ShapeError) as caught:
            of_shape(content, Outer)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200, place
        assert isinstance(caught.value, HierBertError)


def test_what_is_free_is_not_nested_deeper_than_can_be_written_again() -> None:
    content = {**asdict(WHOLE), "free": {"a": DEEP}}
    with pytest.raises(ShapeError, match="nested"):
        of_shape(json.loads(json.dumps(content)), Outer)
    with pytest.raises(ShapeError, match="lacks 'inner'"):
        of_shape({}, Outer)
    with pytest.raises(ShapeError, match="'unknown', which is not known"):
        of_shape({**asdict(WHOLE), "unknown": 1}, Outer)


def test_a_byte_that_changed_is_seen_by_the_checksum_or_by_the_shape() -> None:
    written = json.dumps(with_checksum(asdict(WHOLE))).encode()
    chance = random.Random(1)
    for _ in range(300):
        content = bytearray(written)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        try:
            found = json.loads(content)
            assert of_shape(without_checksum(found), Outer) == WHOLE
        except (ValueError, ShapeError):
            pass
    # Versions before wrote none.
    assert without_checksum({"a": 1}) == {"a": 1}
