"""Which process answers which row: by size, so that one long document leaves no other idle.

Every process reads the whole input, which costs little beside the encoder, and takes its share by
the same rule; none has to hear of the others. Invariant: every row that is not done yet is in
exactly one share, and each share is in the order of the input.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hierbert.prediction.rows import InputRow, PartEnd

# Rows are dealt by pools, the longest of a pool first. A pool is held in memory.
_ROWS_PER_POOL = 512
_BYTES_PER_POOL = 8_000_000


@dataclass(frozen=True)
class Passed:
    """Rows that have gone by, whoever answers them.

    Attributes:
        rows: How many.
        size: Of their texts, in UTF-8 bytes.
        size_before: What of it was done before this job began or was resumed.
    """

    rows: int
    size: int
    size_before: int


def own_share(
    items: Iterable[InputRow | PartEnd],
    is_done: Callable[[InputRow], bool],
    processes: int,
    index: int,
) -> Iterator[InputRow | PartEnd | Passed]:
    """The rows that one process answers.

    Args:
        items: All rows, from `number_rows`.
        is_done: Whether a row was answered before; the same on every process.
        processes: How many share the rows.
        index: This one, from 0.

    Returns:
        An iterator over the process's rows, every `PartEnd`, and a `Passed` after each pool.
    """
    totals = [0] * processes
    # Alone, a process answers a row as soon as it comes.
    most = _ROWS_PER_POOL if processes > 1 else 1
    pool: list[InputRow] = []
    rows = size = before = 0

    def dealt() -> Iterator[InputRow | Passed]:
        nonlocal rows, size, before
        share = set()
        for place in sorted(range(len(pool)), key=lambda i: (-pool[i].size, i)):
            process = min(range(processes), key=lambda p: (totals[p], p))
            totals[process] += pool[place].size
            if process == index:
                share.add(place)
        yield from [row for place, row in enumerate(pool) if place in share]
        yield Passed(rows, size, before)
        pool.clear()
        rows = size = before = 0

    for item in items:
        if isinstance(item, PartEnd):
            yield from dealt()
            yield item
            continue
        rows += 1
        size += item.size
        if is_done(item):
            before += item.size
        else:
            pool.append(item)
        if len(pool) >= most or size >= _BYTES_PER_POOL:
            yield from dealt()
