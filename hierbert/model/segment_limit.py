"""A limit on the segments of a document: which of them stay, and what is left out by it.

Nothing is left out without a count: `Omission` holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .sentences import Span


@dataclass(frozen=True)
class Omission:
    """What `max_segments` left out of a document.

    Attributes:
        segments: Segments that are not read.
        sentences: Sentences that are not wholly read: those left out, and those longer than a
            segment of which a part is left out.
        tokens: Tokens in no segment that is read.
        characters: Characters of the sentences, or their parts, left out.
    """

    segments: int = 0
    sentences: int = 0
    tokens: int = 0
    characters: int = 0


@dataclass(frozen=True)
class Unit:
    """A sentence, or a piece of one that is longer than a segment: tokens [first, last).

    An empty segment of the caller is a unit without tokens of the sentence -1.
    """

    sentence: int
    first: int
    last: int
    span: Span


def choose_segments(count: int, limit: int, policy: str) -> list[int]:
    """Indices of the segments that stay, ascending."""
    if policy == "head":
        return list(range(limit))
    if policy == "tail":
        return list(range(count - limit, count))
    if policy == "head_tail":
        head = (limit + 1) // 2
        return [*range(head), *range(count - (limit - head), count)]
    if limit == 1:
        return [count // 2]
    return [round(index * (count - 1) / (limit - 1)) for index in range(limit)]


def measure_omission(
    total: int, chosen: Sequence[Sequence[Unit]], units: Sequence[Unit]
) -> Omission:
    """What is in none of the chosen segments."""
    kept = {id(unit) for segment in chosen for unit in segment}
    lost = [unit for unit in units if id(unit) not in kept]
    return Omission(
        segments=total - len(chosen),
        sentences=len({unit.sentence for unit in lost}),
        tokens=sum(unit.last - unit.first for unit in lost),
        characters=sum(unit.span[1] - unit.span[0] for unit in lost),
    )
