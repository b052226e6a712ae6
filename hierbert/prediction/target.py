"""Where a job's output goes: one file, or a folder of parts.

Of one file, the work is kept in a folder beside it. Invariant: that of `output_folder`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from hierbert.errors import RunError
from hierbert.prediction.failures import is_error_row
from hierbert.prediction.manifest import FORMAT, UNREADABLE, Manifest
from hierbert.prediction.output_folder import ERRORS, OutputFolder, is_there

# Of one file, rows are kept in parts too, until the file is made of them.
_ROWS_PER_PART = 10_000
_LONGEST_ERROR_BYTES = 1 << 24


@dataclass(frozen=True)
class Target(OutputFolder):
    """The output of a job on disk.

    Attributes:
        path: The file, or the folder of parts.
        kind: "jsonl", "csv" or "parquet".
        rows_per_shard: Rows of a part; None for one file.
    """

    rows_per_shard: int | None = None
    format = FORMAT

    @property
    def rows_per_part(self) -> int:
        """Rows of the parts in which the work is kept."""
        return self.rows_per_shard or _ROWS_PER_PART

    @property
    def folder(self) -> Path:
        """Where the job's work is kept, the finished parts and the manifest among it."""
        if self.rows_per_shard is not None:
            return super().folder
        return self.path.with_name(self.path.name + ".partial")

    @property
    def errors(self) -> Path:
        """Where rows go that cannot be answered."""
        if self.rows_per_shard is not None:
            return super().errors
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

    def _is_complete(self) -> bool:
        return Manifest.load(self.folder).complete

    def _check(self, resume: bool, overwrite: bool, sources: list[Path]) -> None:
        if self.rows_per_shard is not None:
            super()._check(resume, overwrite, sources)
        else:
            self._check_file(resume, overwrite, sources)

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
        if is_there(self.folder) and (self.folder.is_symlink() or not self.folder.is_dir()):
            raise RunError(f"{self.folder} is in the way: remove it, or name another output")
        goes_on = resume and self.begun
        if path.exists() and not goes_on and resume:
            raise RunError(f"--resume: {path} is complete, there is nothing to go on with")
        for made in (path, self.errors):
            if is_there(made) and not overwrite and not goes_on:
                raise RunError(f"--output {made} exists; name another file or --overwrite it")
        if self.errors.is_file() and not self.errors.is_symlink() and not _of_errors(self.errors):
            raise RunError(f"--output: {self.errors} holds no errors of a job; move it away")
        self._refuse_other_things(resume=False)
        if self.begun and not goes_on and not overwrite:
            raise RunError(
                f"{self.folder} is of an interrupted job: --resume goes on with it, "
                "--overwrite starts anew"
            )


def _of_errors(path: Path) -> bool:
    """Whether a file is what a job keeps its errors in, by its first line."""
    with path.open("rb") as file:
        first = file.readline(_LONGEST_ERROR_BYTES)
    try:
        return is_error_row(json.loads(first))
    except UNREADABLE:
        return not first
