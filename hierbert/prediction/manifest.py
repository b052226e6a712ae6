"""What a job has done, in a file that is whole at any time: `manifest.json`.

It knows nothing of how rows are answered. Invariant: a part is in the manifest if and only if its
file is whole and under its final name.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hierbert
from hierbert.errors import RunError
from hierbert.files import write_json

NAME = "manifest.json"
FORMAT = 1
# What the manifests of all engines and versions have.
_OF_ANY = {"format", "complete", "rows_done", "settings", "sources", "parts"}
UNREADABLE = (OSError, ValueError, RecursionError)
"""What reading JSON raises; it may be nested deeper than its reader goes."""


@dataclass(frozen=True)
class Part:
    """Rows that are done, and the file that holds their answers.

    Attributes:
        part: From 0.
        file: In the job's folder; None where no row could be answered.
        bytes: Of the file.
        rows: Of the input.
        answers: Rows that were answered.
        errors: Rows that could not be.
        input: Fingerprint of the rows.
        shortened: Documents that `max_segments` took something from.
        omitted_segments: How many it took from all of them.
    """

    part: int
    file: str | None
    bytes: int
    rows: int
    answers: int
    errors: int
    input: str
    shortened: int = 0
    omitted_segments: int = 0


@dataclass
class Manifest:
    """A job.

    Attributes:
        settings: All that answers depend on, beside the model and the input's rows.
        model: Fingerprint of the model.
        sources: Files and other sources of the input, by name, with their bytes where known.
        probed: What the job measured for itself.
        parts: What is done, by number.
        complete: Whether all of the input is done.
        sessions: A name for each time that the job was started or resumed, the last one now: logs
            of no other are taken for its own.
    """

    settings: dict[str, Any]
    model: str
    sources: list[dict[str, Any]]
    probed: dict[str, Any] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)
    complete: bool = False
    sessions: list[str] = field(default_factory=list)

    @property
    def session(self) -> str:
        """The name of this start."""
        return self.sessions[-1]

    def total(self, name: str) -> int:
        """The sum of a number of `Part` over all parts."""
        return sum(getattr(part, name) for part in self.parts.values())

    def save(self, folder: Path) -> None:
        """Write it whole.

        Raises:
            OSError: It cannot be written; the one before stays.
        """
        content = {
            "format": FORMAT,
            "hierbert": hierbert.__version__,
            "complete": self.complete,
            "rows_done": self.total("rows"),
            "answers": self.total("answers"),
            "errors": self.total("errors"),
            "model": self.model,
            "settings": self.settings,
            "probed": self.probed,
            "sources": self.sources,
            "sessions": self.sessions,
            "parts": [asdict(self.parts[number]) for number in sorted(self.parts)],
        }
        write_json(folder / NAME, content)

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read it.

        Raises:
            RunError: It cannot be read.
        """
        path = folder / NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r} is of another hierbert")
            parts = [Part(**values) for values in content["parts"]]
            for part in parts:
                if part.file is not None and Path(part.file).name != part.file:
                    raise ValueError(f"part file {part.file!r} is outside the folder")
            return cls(
                settings=dict(content["settings"]),
                model=str(content["model"]),
                sources=list(content["sources"]),
                probed=dict(content["probed"]),
                parts={part.part: part for part in parts},
                complete=bool(content["complete"]),
                sessions=[str(name) for name in content["sessions"]],
            )
        except (*UNREADABLE, TypeError, KeyError, AttributeError) as error:
            raise RunError(
                f"{path} cannot be read ({type(error).__name__}: {error}); --overwrite starts anew"
            ) from error


def read_any(path: Path) -> dict[str, Any] | None:
    """A job's manifest, of this version or another, on any engine; None of any other file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except UNREADABLE:
        return None
    return content if isinstance(content, dict) and content.keys() >= _OF_ANY else None
