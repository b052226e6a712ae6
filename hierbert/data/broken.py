"""What is said of a row that cannot be read.

It decides nothing: whether such a row ends the reading or is passed over is for the caller of
`read_examples` to say. Invariant: the error and the item say the same, in one line.
"""

from dataclasses import dataclass

from hierbert.errors import DataError


@dataclass(frozen=True)
class BrokenRow:
    """A row that was passed over, or the rest of a file that cannot be read.

    Attributes:
        id: The row's id where it could be read or made; None where not.
        location: Where it lies: ``docs.jsonl, line 3``, or the file alone when its rest is broken.
        reason: What is wrong with it and what is allowed, in one line.
    """

    id: str | None
    location: str
    reason: str


class RowError(DataError):
    """One row that cannot be read; those after it can.

    Args:
        field: The setting that named its source.
        location: Where the row lies.
        detail: What is wrong with it, in words that follow its place.
        message: The whole message, where it is more than these in a line.

    Attributes:
        location: Where the row lies.
        reason: What is wrong with it, without its place.
    """

    def __init__(self, field: str, location: str, detail: str, *, message: str = "") -> None:
        super().__init__(message or f"{field}: {location}{detail}")
        self.location = location
        self.reason = detail.lstrip(" ,:")

    def as_row(self, row_id: str | None = None) -> BrokenRow:
        """Give the same as an item among the rows."""
        return BrokenRow(row_id, self.location, self.reason)
