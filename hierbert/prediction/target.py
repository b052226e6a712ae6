"""Where a job's output goes, and what it may not replace: one file, or a folder of parts.

Invariant: making a target only looks; nothing is written, and nothing that a job did not make is
ever removed.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hierbert.cache import reason
from hierbert.errors import RunError
from hierbert.locks import LOCK
from hierbert.prediction import manifest

# Of one file, rows are kept in parts too, until the file is made of them.
_ROWS_PER_PART = 10_000
ERRORS = "errors.jsonl"
UNFINISHED = ".unfinished"
# UNFINISHED comes last: by it, or by the manifest, a folder is known as a job's.
_OWN = (
    manifest.NAME,
    "part-[0-9]*.jsonl",
    "part-[0-9]*.csv",
    "part-[0-9]*.parquet",
    ERRORS,
    f".{manifest.NAME}.*",
    ".part-[0-9]*",
    f".{ERRORS}.*",
    UNFINISHED,
)


@dataclass(frozen=True)
class Target:
    """The output of a job on disk.

    Attributes:
        path: The file, or the folder of parts.
        kind: "jsonl", "csv" or "parquet".
        rows_per_shard: Rows of a part; None for one file.
    """

    path: Path
    kind: str
    rows_per_shard: int | None = None

    @property
    def rows_per_part(self) -> int:
        """Rows of the parts in which the work is kept."""
        return self.rows_per_shard or _ROWS_PER_PART

    @property
    def folder(self) -> Path:
        """Where the job's work is kept, the finished parts and the manifest among it."""
        if self.rows_per_shard is not None:
            return self.path
        return self.path.with_name(self.path.name + ".partial")

    @property
    def unfinished(self) -> Path:
        """Where logs and errors are kept until their part is whole, or all is."""
        return self.folder / UNFINISHED

    @property
    def errors(self) -> Path:
        """Where rows go that cannot be answered."""
        if self.rows_per_shard is not None:
            return self.path / ERRORS
        # Of a jsonl file the ending would be there twice.
        name = self.path.stem if self.path.suffix == ".jsonl" else self.path.name
        return self.path.with_name(f"{name}.{ERRORS}")

    @property
    def part_kind(self) -> str:
        """The format of the parts."""
        return "jsonl" if self.rows_per_shard is None else self.kind

    def part_name(self, part: int) -> str:
        """The name of a part's file."""
        return f"part-{part:05d}.{self.part_kind}"

    def kept_path(self, part: int) -> Path:
        """Rows of a part that were done before the job was resumed."""
        return self.unfinished / f"{part:05d}.kept"

    def aside(self, part: int, what: str) -> Path:
        """Lines of a part, "answers" or "errors", until they are in a file of their own."""
        return self.unfinished / f"{what}-{part:05d}.jsonl"

    @property
    def begun(self) -> bool:
        """Whether a job has left something to go on with."""
        path = self.folder / manifest.NAME
        return path.is_file() and (self.unfinished.is_dir() or manifest.is_manifest(path))

    def check(self, *, resume: bool, overwrite: bool, inputs: Iterable[Path]) -> None:
        """Refuse what exists, and what cannot be.

        Args:
            resume: Whether to go on with what is there.
            overwrite: Whether to replace what is there.
            inputs: Files that are read, so that none of them is replaced.

        Raises:
            RunError: The output exists, cannot be made there, or cannot be resumed.
        """
        try:
            if not self.path.parent.is_dir():
                raise RunError(f"--output {self.path}: there is no folder {self.path.parent}")
            sources = [source.resolve() for source in inputs]
            if self.rows_per_shard is not None:
                self._check_folder(resume, overwrite, sources)
            else:
                self._check_file(resume, overwrite, sources)
        except OSError as error:
            raise RunError(f"--output {self.path} cannot be written: {reason(error)}") from error

    def _check_file(self, resume: bool, overwrite: bool, sources: list[Path]) -> None:
        path = self.path
        if path.exists() and not path.is_file():
            raise RunError(
                f"--output {path} is no regular file; name another, or - for jsonl, or give "
                "--rows-per-shard for a folder"
            )
        for made in (path, self.errors):
            if made.resolve() in sources:
                raise RunError(f"--output {made} is one of the inputs; name another file")
        self._refuse_inputs(sources)
        if _is_there(self.folder) and (self.folder.is_symlink() or not self.folder.is_dir()):
            raise RunError(f"{self.folder} is in the way: remove it, or name another output")
        goes_on = resume and self.begun
        if path.exists() and not goes_on and resume:
            raise RunError(f"--resume: {path} is complete, there is nothing to go on with")
        for made in (path, self.errors):
            if _is_there(made) and not overwrite and not goes_on:
                raise RunError(f"--output {made} exists; name another file or --overwrite it")
        self._refuse_other_things()
        if self.begun and not goes_on and not overwrite:
            raise RunError(
                f"{self.folder} is of an interrupted job: --resume goes on with it, "
                "--overwrite starts anew"
            )

    def _check_folder(self, resume: bool, overwrite: bool, sources: list[Path]) -> None:
        if _is_there(self.path) and not self.path.is_dir():
            raise RunError(f"--output {self.path} is a file; --rows-per-shard needs a folder")
        self._refuse_inputs(sources)
        self._refuse_other_things()
        if not self.begun or overwrite:
            return
        complete = manifest.Manifest.load(self.path).complete
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

    def _refuse_other_things(self) -> None:
        """A folder that holds what no job made is left alone."""
        if not self.folder.is_dir():
            return
        other = sorted(set(self.folder.iterdir()) - set(self._own()) - {self.folder / LOCK})
        if other:
            raise RunError(
                f"--output: {self.folder} holds {other[0].name!r}, which is no output of a job; "
                "name another folder"
            )

    def _own(self) -> list[Path]:
        """What jobs made in the folder of the work."""
        if not self.begun and not self.unfinished.is_dir():
            return []
        return [path for pattern in _OWN for path in self.folder.glob(pattern)]

    def clear(self) -> None:
        """Remove what jobs made in the folder of the work.

        Raises:
            OSError: Something cannot be removed.
        """
        own = self._own()
        if not own:
            return
        self.unfinished.mkdir(exist_ok=True)
        # The manifest first: without it, nothing here counts as done.
        for path in own:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if self.unfinished.is_dir():
            self.unfinished.rmdir()


def _is_there(path: Path) -> bool:
    """Whether a name is taken, by a link that leads nowhere too."""
    return path.exists() or path.is_symlink()
