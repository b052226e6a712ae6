"""The rows of a job's input: numbered, each with a fingerprint, and cut into parts of equal length.

Invariant: the same input gives the same rows, numbers, parts and fingerprints on every reading and
on every process, whatever of it can be answered.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hierbert.data.document import BrokenRow, Example, Text


@dataclass(frozen=True)
class InputRow:
    """One row, readable or not.

    Attributes:
        number: From 0, over all of the input.
        location: Where it lies, for messages: ``docs.jsonl, line 3``.
        id: Of the document; None where the row is so broken that it has none.
        text: The document; None of a broken row.
        broken: Why it cannot be read; None of a document.
        fingerprint: 16 hexadecimal digits that follow from the id and the text; of a broken row,
            from its place without the folder.
        size: Of the text, in UTF-8 bytes: what its tokens are estimated by, in any script.
    """

    number: int
    location: str
    id: str | None
    text: Text | None
    broken: str | None
    fingerprint: str
    size: int


@dataclass(frozen=True)
class PartEnd:
    """All rows of a part have gone by.

    Attributes:
        part: From 0.
        rows: How many rows it has.
        fingerprint: Follows from those of its rows.
    """

    part: int
    rows: int
    fingerprint: str


def number_rows(
    items: Iterable[Example | BrokenRow], rows_per_part: int
) -> Iterator[InputRow | PartEnd]:
    """Number the rows of an input, and say where its parts end.

    Args:
        items: Documents and broken rows, in order.
        rows_per_part: Rows of every part but the last.

    Returns:
        An iterator over the rows, with a `PartEnd` after the last row of each part.
    """
    digest, rows, number = PartFingerprint(), 0, -1
    for number, item in enumerate(items):
        row = _to_row(number, item)
        digest.add(row.fingerprint)
        rows += 1
        yield row
        if rows == rows_per_part:
            yield PartEnd(number // rows_per_part, rows, digest.value())
            digest, rows = PartFingerprint(), 0
    if rows:
        yield PartEnd(number // rows_per_part, rows, digest.value())


class PartFingerprint:
    """The fingerprint of a part, made of those of its rows in order."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, fingerprint: str) -> None:
        """Take in one more row."""
        self._digest.update(fingerprint.encode())

    def value(self) -> str:
        """32 hexadecimal digits."""
        return self._digest.hexdigest()


def _to_row(number: int, item: Example | BrokenRow) -> InputRow:
    if isinstance(item, BrokenRow):
        # The file's name and the line, for the folder may be another one when a job is resumed.
        place = item.location.replace("\\", "/").rpartition("/")[2]
        digest = _digest("broken", place.encode("utf-8", "surrogatepass"))
        return InputRow(number, item.location, item.id, None, item.reason, digest, 0)
    text = item.text if isinstance(item.text, str) else json.dumps(item.text)
    content = text.encode("utf-8", "surrogatepass")
    return InputRow(
        number, item.location, item.id, item.text, None, _digest(item.id, content), len(content)
    )


def _digest(name: str, content: bytes) -> str:
    digest = hashlib.blake2b(json.dumps(name).encode(), digest_size=8)
    digest.update(b"\0")
    digest.update(content)
    return digest.hexdigest()
