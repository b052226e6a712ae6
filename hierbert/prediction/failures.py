"""Documents that a process could not answer: why not, and when it is no longer the documents.

Invariant: a model that answers nothing stops the job, also where errors are skipped.
"""

from typing import Any

from hierbert.errors import HierBertError, RunError

# When so many documents could not be answered and none could, it is not the documents.
_HOPELESS = 20


class Failures:
    """The count of one process."""

    def __init__(self) -> None:
        self._answered = self._failed = 0

    def answered(self, documents: int = 1) -> None:
        """Documents could be answered."""
        self._answered += documents

    def failed(self, location: str, error: Exception) -> str:
        """A document, of the row at a location, could not; why not, in a line.

        Raises:
            RunError: Many could not, and none could.
        """
        self._failed += 1
        why = why_of(error)
        if not self._answered and self._failed >= _HOPELESS:
            raise RunError(
                f"none of the first {self._failed} documents could be answered; the last, "
                f"{location}: {why}"
            ) from error
        return why


def error_row(row: int, location: str, document_id: str | None, why: str) -> dict[str, Any]:
    """A row of errors.jsonl.

    Args:
        row: Of the input, from 1.
        location: Where it stands.
        document_id: Its id; None where it has none.
        why: The reason, in a line.
    """
    return {"row": row, "location": location, "id": document_id, "reason": why}


def is_error_row(values: Any) -> bool:
    """Whether something that was read is a row of errors.jsonl."""
    return isinstance(values, dict) and values.keys() == error_row(1, "", None, "").keys()


def why_of(error: Exception) -> str:
    """What happened, in a line; of an error that is not ours, its kind too."""
    text = " ".join(str(error).split())
    return text if isinstance(error, HierBertError) else f"{type(error).__name__}: {text}"
