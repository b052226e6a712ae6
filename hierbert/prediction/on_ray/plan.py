"""The plan of a job: each source checked once, and where it is cut into parts.

A part is some consecutive rows of one source, and one file of the output. Nothing here knows Ray.
Invariant: where a source is cut depends on its rows and the plan's limits alone, so every reading
gives the same parts, and a part that is done need not be read again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from hierbert.data.document import Source
from hierbert.errors import RunError, quote
from hierbert.prediction.batches import count_characters
from hierbert.prediction.on_ray.input import Item, Reading, stamp

_IDS_PER_PIECE = 250_000
# How much larger documents are than the file that holds them, roughly.
_TIMES_PACKED = 4
_PARTS_PER_ACTOR = 8
_LEAST_CHARACTERS_PER_PART = 250_000


@dataclass(frozen=True)
class PartLimits:
    """Where a source is cut: after the row with which a part reaches one of these.

    Attributes:
        rows: Rows of a part.
        characters: Characters of the documents of a part.
    """

    rows: int
    characters: int

    def reached(self, rows: int, characters: int) -> bool:
        """Whether a part of so much is full."""
        return rows >= self.rows or characters >= self.characters


def part_limits(reading: Reading, actors: int, rows: int, characters: int) -> PartLimits:
    """Limits that leave work for every actor when the input is small.

    Args:
        reading: What to read; only the sizes of its files are looked at.
        actors: How many share the parts.
        rows: Most rows of a part.
        characters: Most characters of a part, but for a longer document.

    Returns:
        The limits.
    """
    size = sum(stamp(source)[0] for source in reading.sources)
    share = _TIMES_PACKED * size // (_PARTS_PER_ACTOR * actors)
    least = min(characters, _LEAST_CHARACTERS_PER_PART)
    return PartLimits(rows, max(least, min(characters, share)))


@dataclass(frozen=True)
class SourcePlan:
    """What a source holds.

    Attributes:
        name: As the user gave it.
        rows: Documents and broken rows.
        characters: Of all its documents.
        parts: Into how many it is cut.
        digest: Of the ids and texts, in order.
        size: Bytes of its files.
        written_ns: When they were last written.
    """

    name: str
    rows: int
    characters: int
    parts: int
    digest: str
    size: int
    written_ns: int


@dataclass(frozen=True)
class Plan:
    """The whole input, cut into parts that are counted from 0 over all sources.

    Attributes:
        limits: Where sources are cut.
        sources: One for each source.
        repeated: Of each source, rows (from 0) whose id occurs in a source before, and where.
    """

    limits: PartLimits
    sources: list[SourcePlan]
    repeated: dict[int, dict[int, str]] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return sum(source.parts for source in self.sources)

    @property
    def characters(self) -> int:
        """Characters of all documents."""
        return sum(source.characters for source in self.sources)

    def first_parts(self) -> list[int]:
        """The number of each source's first part."""
        return list(accumulate((source.parts for source in self.sources), initial=0))[:-1]

    def first_rows(self) -> list[int]:
        """How many rows there are before each source."""
        return list(accumulate((source.rows for source in self.sources), initial=0))[:-1]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "limits": vars(self.limits),
            "sources": [vars(source) for source in self.sources],
            "repeated": {
                str(source): {str(row): reason for row, reason in rows.items()}
                for source, rows in self.repeated.items()
            },
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Plan":
        """Of what `to_json` gave.

        Raises:
            KeyError: Something is missing; as TypeError and ValueError, when it is wrong.
        """
        repeated = {
            int(source): {int(row): reason for row, reason in rows.items()}
            for source, rows in values["repeated"].items()
        }
        sources = [SourcePlan(**source) for source in values["sources"]]
        return cls(PartLimits(**values["limits"]), sources, repeated)


def check_source(
    reading: Reading, limits: PartLimits, index: int
) -> Iterator[np.ndarray | SourcePlan]:
    """Read a source once, and say what it holds.

    Args:
        reading: How to read it.
        limits: Where it will be cut.
        index: Which source.

    Yields:
        Hashes of its rows' ids (uint64, 0 for rows without one), in pieces; the plan at the end.

    Raises:
        DataError: The first thing that cannot be read.
    """
    size, written_ns = stamp(reading.sources[index])
    digest = hashlib.blake2b(digest_size=16)
    hashes: list[int] = []
    rows = characters = parts = rows_of_part = characters_of_part = 0
    for item in reading.items(index):
        rows += 1
        _feed(digest, item)
        hashes.append(0 if item.text is None or item.id is None else _hash(item.id))
        if len(hashes) == _IDS_PER_PIECE:
            yield np.array(hashes, dtype=np.uint64)
            hashes = []
        rows_of_part += 1
        characters_of_part += _characters(item)
        if limits.reached(rows_of_part, characters_of_part):
            parts += 1
            characters += characters_of_part
            rows_of_part = characters_of_part = 0
    yield np.array(hashes, dtype=np.uint64)
    yield SourcePlan(
        reading.sources[index].name,
        rows,
        characters + characters_of_part,
        parts + (rows_of_part > 0),
        digest.hexdigest(),
        size,
        written_ns,
    )


def _characters(item: Item) -> int:
    return 0 if item.text is None else count_characters(item.text)


def _hash(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    # 0 stands for no id.
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1


def _feed(digest: Any, item: Item) -> None:
    """Add a row to a digest so that no two different rows add the same bytes."""
    text = item.text if isinstance(item.text, str) else json.dumps(item.text)
    kind = "s" if isinstance(item.text, str) else "j"
    for value in (item.id or "", text, item.reason or ""):
        data = value.encode("utf-8", "surrogatepass")
        digest.update(f"{kind}{len(data)}:".encode())
        digest.update(data)


def repeated_hashes(hashes: list[np.ndarray]) -> np.ndarray:
    """The hashes that occur more than once among those of all sources (uint64, sorted).

    Within a source, reading itself finds ids that occur twice; over all of them this holds two
    times 8 bytes for each row.
    """
    if len(hashes) < 2:
        return np.array([], dtype=np.uint64)
    every = np.concatenate(hashes)
    every.sort()
    same = every[1:][every[1:] == every[:-1]]
    return np.unique(same[same != 0])


def find_rows(reading: Reading, index: int, wanted: np.ndarray) -> Iterator[tuple[int, str, str]]:
    """Read a source for the rows whose ids have certain hashes.

    Args:
        reading: How to read it.
        index: Which source.
        wanted: The hashes.

    Yields:
        Number of the row, from 0; its id; its location.
    """
    hashes = set(wanted.tolist())
    for number, item in enumerate(reading.items(index)):
        if item.text is not None and item.id is not None and _hash(item.id) in hashes:
            yield number, item.id, item.location


def repeated_ids(
    rows: Mapping[int, list[tuple[int, str, str]]], keep_broken: bool
) -> dict[int, dict[int, str]]:
    """Which rows have an id that a row before has.

    Args:
        rows: Of each source what `find_rows` gave.
        keep_broken: Whether these will be errors with a place of their own.

    Returns:
        Of each source the rows to leave out, each with the reason.
    """
    first: dict[str, str] = {}
    repeated: dict[int, dict[int, str]] = {}
    for index in sorted(rows):
        for number, document_id, location in rows[index]:
            if document_id not in first:
                first[document_id] = location
                continue
            before = first[document_id]
            places = f", first in {before}" if keep_broken else f": {before}, and {location}"
            repeated.setdefault(index, {})[number] = (
                f"the id {quote(document_id)} occurs twice{places}; ids must differ: set "
                "--id-column to another column, or to an empty string to have ids made"
            )
    return repeated


def read_parts(
    reading: Reading, plan: Plan, index: int, is_done: Callable[[int], bool]
) -> Iterator[tuple[int, int, list[Item]]]:
    """Read the parts of a source that are not done yet.

    Args:
        reading: How to read it.
        plan: What the check found.
        index: Which source.
        is_done: Whether a part of this number (from 0 within the source) is done.

    Yields:
        The part's number within the source, the number of its first row there, from 0, and its
        rows.

    Raises:
        DataError: The source cannot be read.
        RunError: It is not what it was when it was checked.
    """
    source, planned = reading.sources[index], plan.sources[index]
    todo = [number for number in range(planned.parts) if not is_done(number)]
    if not todo:
        return
    _refuse_changed(source, planned)
    repeated = plan.repeated.get(index, {})
    part: list[Item] = []
    number = first_row = rows_of_part = characters = 0
    wanted = set(todo)
    for row, item in enumerate(reading.items(index)):
        rows_of_part += 1
        characters += _characters(item)
        if number in wanted:
            if row in repeated:
                item = Item(item.id, item.location, None, repeated[row])
            part.append(item)
        if plan.limits.reached(rows_of_part, characters):
            if number in wanted:
                yield number, first_row, part
            number, part, rows_of_part, characters = number + 1, [], 0, 0
            first_row = row + 1
            if number > todo[-1]:
                break
    if part:
        yield number, first_row, part
    _refuse_changed(source, planned)


def _refuse_changed(source: Source, planned: SourcePlan) -> None:
    if stamp(source) != (planned.size, planned.written_ns):
        raise RunError(
            f"--input {source.name} has changed since it was checked; leave the input alone while "
            "a job runs"
        )
