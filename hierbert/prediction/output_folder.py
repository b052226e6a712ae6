"""The folder that a job of any engine fills: what is the job's in it, and what it may not replace.

It knows nothing of rows. Invariant: making one and checking it only looks, nothing is written; and
nothing that a job did not make is ever removed.
"""

import contextlib
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hierbert.errors import RunError, error_text
from hierbert.files import LOCK
from hierbert.prediction import manifest

ERRORS = "errors.jsonl"
UNFINISHED = ".unfinished"
# What was being written when a process was killed.
_TORN = (f".{manifest.NAME}.*", ".part-[0-9]*", f".{ERRORS}.*")
_PART = re.compile(r"part-\d{5,}\.(jsonl|csv|parquet)")


@dataclass(frozen=True)
class OutputFolder(ABC):
    """An output on disk, here a folder of parts.

    Attributes:
        path: The output.
        kind: "jsonl", "csv" or "parquet".
    """

    path: Path
    kind: str
    format: ClassVar[Any]
    """Of the manifests that it can go on with."""

    @property
    def folder(self) -> Path:
        """Where the job's work is kept, the finished parts and the manifest among it."""
        return self.path

    @property
    def unfinished(self) -> Path:
        """Where what is needed until the job is finished is kept."""
        return self.folder / UNFINISHED

    @property
    def errors(self) -> Path:
        """Where rows go that cannot be answered."""
        return self.path / ERRORS

    @property
    def begun(self) -> bool:
        """Whether a job has left something to go on with, or is complete."""
        path = self.folder / manifest.NAME
        return path.is_file() and (self.unfinished.is_dir() or manifest.read_any(path) is not None)

    @abstractmethod
    def _is_complete(self) -> bool:
        """What the manifest says; a RunError where it cannot be read, or is another engine's."""

    def check(self, resume: bool, overwrite: bool, inputs: Iterable[Path] = ()) -> bool:
        """Refuse what exists, and what cannot be.

        Args:
            resume: Whether to go on with what is there.
            overwrite: Whether to replace what is there.
            inputs: What is read, so that none of it is replaced.

        Returns:
            Whether there is a job to go on with.

        Raises:
            RunError: The output exists, cannot be made there, or cannot be resumed.
        """
        with self.writing():
            if not self.path.parent.is_dir():
                raise RunError(f"--output {self.path}: there is no folder {self.path.parent}")
            sources = [source.resolve() for source in inputs]
            self._check(resume, overwrite and not resume, sources)
            return resume and self.begun

    def _check(self, resume: bool, overwrite: bool, sources: list[Path]) -> None:
        if is_there(self.path) and not self.path.is_dir():
            raise RunError(f"--output {self.path} is no folder; name one for the parts")
        self._refuse_inputs(sources)
        self._refuse_other_things(resume)
        if not self.begun or overwrite:
            return
        found = manifest.read_any(self.folder / manifest.NAME)
        if found is not None and found["format"] != self.format:
            state = "a complete" if found["complete"] else "an interrupted"
            raise RunError(
                f"--output {self.path} holds {state} job of another engine or version of hierbert; "
                "--overwrite starts anew, or name another folder"
            )
        complete = self._is_complete()
        if resume and complete:
            raise RunError(f"--resume: {self.path} is complete, there is nothing to go on with")
        if not resume:
            state = "exists" if complete else "is of an interrupted job: --resume goes on with it"
            raise RunError(
                f"--output {self.path} {state}; --overwrite starts anew, or name another folder"
            )

    def _refuse_inputs(self, sources: list[Path]) -> None:
        """What is read must not lie where work is kept and removed."""
        here = self.folder.resolve()
        for source in sources:
            if source == here or here in source.parents:
                raise RunError(
                    f"--output {self.path}: {self.folder} holds the input {source}; name another "
                    "output"
                )

    def _refuse_other_things(self, resume: bool) -> None:
        """A folder that holds what no job made is left alone; to go on, nothing is in the way."""
        if self.unfinished.is_symlink():
            raise RunError(f"--output: {self.unfinished} is a link; remove it")
        if not self.folder.is_dir() or (resume and self.begun):
            return
        other = sorted(set(self.folder.iterdir()) - set(self._own()) - {self.folder / LOCK})
        if other:
            raise RunError(
                f"--output: {self.folder} holds {other[0].name!r}, which is no output of a job; "
                "move it away, or name another folder"
            )

    def _own(self) -> list[Path]:
        """What jobs made in the folder of the work."""
        if not self.begun and not self.unfinished.is_dir():
            return []
        torn = [path for pattern in _TORN for path in self.folder.glob(pattern)]
        parts = [path for path in self.folder.glob("part-*") if _PART.fullmatch(path.name)]
        files = [self.folder / manifest.NAME, *parts, self.folder / ERRORS, *torn]
        found = [path for path in files if path.is_file() or path.is_symlink()]
        # It comes last: by it, or by the manifest, a folder is known as a job's.
        return [*found, self.unfinished] if self.unfinished.is_dir() else found

    def clear(self) -> None:
        """Remove what jobs made in the folder of the work.

        Raises:
            OSError: Something cannot be removed.
        """
        if not self._own():
            return
        self.unfinished.mkdir(exist_ok=True)
        # The manifest first: without it, nothing here counts as done.
        for path in self._own():
            if path == self.unfinished:
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def make_empty(self) -> None:
        """Make the folder of the work for a new job, which is begun once its manifest is there.

        Raises:
            OSError: Something cannot be removed or made.
        """
        self.folder.mkdir(exist_ok=True)
        self.clear()
        # Documents' texts are in there, and nothing of it is for others yet.
        self.unfinished.mkdir(mode=0o700)

    def remove_torn(self) -> None:
        """Remove what was being written when a process of the job was killed.

        Raises:
            OSError: Something cannot be removed.
        """
        for pattern in (*_TORN, f"{UNFINISHED}/.*.*", f"{UNFINISHED}/new-*"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Let what cannot be written in a context be told in one line.

        Raises:
            RunError: Where the context raises an OSError.
        """
        try:
            yield
        except OSError as error:
            raise RunError(
                f"--output {self.path} cannot be written: {error_text(error)}"
            ) from error


def is_there(path: Path) -> bool:
    """Whether a name is taken, by a link that leads nowhere too."""
    return path.exists() or path.is_symlink()
