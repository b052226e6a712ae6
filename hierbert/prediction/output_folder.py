"""Where a job's output goes: one file, or a folder of shards, and what a job may replace there.

    OUTPUT.partial/ (of one file) or OUTPUT/ (of shards)
        manifest.json           what the job is, and which shards are there
        part-00000.jsonl        a shard
        .unfinished/units-ID/   the units that are done: see `job`

It knows nothing of how rows are answered. Invariant: making an `OutputFolder` and checking it only
looks, nothing is written; and nothing that a job did not make is ever removed.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import hierbert
from hierbert.errors import RunError, error_text, flag_setting, quote
from hierbert.files import LOCK, FolderLock, read_json, write_json, write_whole
from hierbert.log import log
from hierbert.pages.page_folder import PageFolder
from hierbert.prediction.units import changed_input
from hierbert.state_files import (
    ShapeError,
    file_checksum,
    of_shape,
    with_checksum,
    without_checksum,
)

ERRORS = "errors.jsonl"
MANIFEST = "manifest.json"
FORMAT = 2
COUNTS = ("answers", "errors", "shortened", "omitted_segments", "over_limit")
"""What is counted of a job's rows: fields of `Part`, and of the manifest as a sum."""

State = Literal["new", "begun", "complete"]

# What the manifests of all versions have.
_FOR_PEOPLE = ("format", "hierbert", "rows_done", *COUNTS)
_OF_ANY = {"format", "complete", "rows_done", "settings", "sources", "parts"}
_PART = re.compile(r"part-\d{5,}\.(parquet|(jsonl|csv)(\.gz)?)")
# What earlier versions were writing when a process was killed.
_TORN = (".manifest.json.*", ".part-[0-9]*", ".errors.jsonl.*")
_ERROR_FIELDS = ["row", "location", "id", "reason"]
# Of the bytes of an input that a mended line leaves.
_LEAST_LEFT = 0.9
_LONGEST_ERROR_BYTES = 1 << 24


@dataclass
class Part:
    """A shard, or the one file."""

    part: int  # From 0.
    file: str | None  # Its name; None where no row could be answered.
    bytes: int  # Of the file.
    rows: int  # Of the input.
    answers: int  # Rows that were answered.
    errors: int  # Rows that could not be.
    input: str  # Fingerprint of the rows.
    shortened: int = 0  # Documents that `max_segments` took something from.
    omitted_segments: int = 0  # How many it took from all of them.
    over_limit: int = 0  # Summaries longer than their limit.
    # Of the file; None where there is none, or a version before wrote it.
    sha256: str | None = None

    def is_there(self, folder: Path) -> bool:
        """Whether its file is what the job wrote."""
        if self.file is None:
            return True
        path = folder / self.file
        return (
            path.is_file()
            and path.stat().st_size == self.bytes
            and (self.sha256 is None or self.sha256 == file_checksum(path))
        )


@dataclass
class Manifest:
    """A job; its file is whole at any time."""

    settings: dict[str, Any]  # All that answers depend on, beside the model and the input's rows.
    model: str  # Fingerprint of the model.
    # Files and other sources of the input, by name, with their bytes where known.
    sources: list[dict[str, Any]]
    unit_size: int  # Where units end.
    # What the job found out for itself: the commit of the model, what it measured.
    probed: dict[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)  # The shards that are there, from the first on.
    complete: bool = False  # Whether all of the input is done.
    # A name for each time that the job was started or resumed; the first is the job's.
    sessions: list[str] = field(default_factory=list)
    # Of the file of the rows without an answer; None while there is none.
    errors_sha256: str | None = None

    def total(self, name: str) -> int:
        """The sum of a number of `Part` over all parts."""
        return sum(getattr(part, name) for part in self.parts)

    def content(self) -> dict[str, Any]:
        """What its file holds."""
        counts = {name: self.total(name) for name in COUNTS}
        return with_checksum(
            {
                "format": FORMAT,
                "hierbert": hierbert.__version__,
                "complete": self.complete,
                "rows_done": self.total("rows"),
                **counts,
                **asdict(self),
            }
        )

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read it; a RunError where it cannot be read, or is of another version's job."""
        path = folder / MANIFEST
        try:
            content = read_json(path, ShapeError)
            if content.get("format") != FORMAT and content.keys() >= _OF_ANY:
                state = "a complete" if content["complete"] else "an interrupted"
                raise RunError(
                    f"--output: {folder} holds {state} job of an older or newer hierbert (format "
                    f"{quote(content['format'])}), which this one cannot go on with; --overwrite "
                    "starts anew, or name another output"
                )
            if content.get("format") != FORMAT:
                raise ShapeError("is no manifest")
            content = without_checksum(content)
            own = {name: one for name, one in content.items() if name not in _FOR_PEOPLE}
            manifest = of_shape(own, cls, "its object")
            for number, part in enumerate(manifest.parts):
                if part.part != number or Path(part.file or "a").name != (part.file or "a"):
                    raise ShapeError(f"part file {part.file!r} is outside the folder")
            sessions = manifest.sessions
            if not sessions or not all(re.fullmatch("[0-9a-f]+", name) for name in sessions):
                raise ShapeError("sessions are missing")
            return manifest
        except ShapeError as error:
            # Some of these say so themselves.
            reason = str(error).removeprefix(f"{path} ").removeprefix("cannot be read: ")
            raise RunError(f"{path} cannot be read: {reason}; --overwrite starts anew") from error

    def refuse_other(self, now: "Manifest") -> None:
        """Refuse (RunError) to go on with a job of another model or other settings."""
        settings = json.loads(json.dumps(now.settings))
        changed = [] if self.model == now.model else ["--model is another model"]
        changed += [
            f"{flag_setting(name)} was {self.settings.get(name)!r} and is {settings.get(name)!r}"
            for name in {**self.settings, **settings}
            if settings.get(name) != self.settings.get(name)
        ]
        if changed:
            raise RunError(
                f"--resume: the job has changed: {'; '.join(changed)}; --overwrite starts anew"
            )

    def refuse_lost_input(self, now: "Manifest") -> None:
        """Refuse (RunError) to go on with input that has lost rows which were not done yet.

        Of those that were, the units know more. Rows at the end of a source may be new, but of a
        complete job.
        """
        if len(now.sources) < len(self.sources):
            raise changed_input(f"it had {len(self.sources):,} sources, now {len(now.sources):,}")
        for before, source in zip(self.sources, now.sources, strict=False):
            for name in ("rows", "bytes"):
                was, is_now = before.get(name), source.get(name)
                if isinstance(was, int) and isinstance(is_now, int):
                    break
            else:
                continue
            # Of a job without a check the bytes alone are known: a broken line that stopped it may
            # have been taken out, but not so much.
            least = was if name == "rows" else _LEAST_LEFT * was
            if is_now < least or (self.complete and is_now != was):
                raise changed_input(f"{source['name']} had {was:,} {name}, now {is_now:,}")
            if is_now < was:
                log.warning(
                    f"{source['name']} had {was:,} {name}, now {is_now:,}: what was taken out of "
                    "it is not answered"
                )
            digests = {one.get("digest") for one in (before, source)} - {None}
            if name == "rows" and is_now == was and len(digests) == 2:
                raise changed_input(f"rows of {source['name']} are not what they were")


@dataclass(frozen=True)
class OutputFolder:
    """The output of a job on disk. What writes raises OSErrors, see `writing`."""

    path: Path  # The file, or the folder of shards.
    kind: str  # One of `answer_files.FORMATS`.
    rows_per_shard: int | None = None  # Rows of a shard; None for one file.
    csv_safe: bool = False  # Whether no cell of a csv may be a formula to a spreadsheet.
    pages: PageFolder | None = None  # Where pages of the documents go; None: there are none.

    @property
    def folder(self) -> Path:
        """Where the job's work is kept, shards and the manifest among it."""
        if self.rows_per_shard is not None:
            return self.path
        return self.path.with_name(self.path.name + ".partial")

    @property
    def unfinished(self) -> Path:
        """Where what is needed until the job is finished is kept."""
        return self.folder / ".unfinished"

    def units_folder(self, manifest: Manifest) -> Path:
        """Where the units of a job are, and of no other job."""
        return self.unfinished / f"units-{manifest.sessions[0]}"

    @property
    def errors(self) -> Path:
        """Where rows go that cannot be answered."""
        if self.rows_per_shard is not None:
            return self.path / ERRORS
        # Of a jsonl file the ending would be there twice.
        name = self.path.stem if self.path.suffix == ".jsonl" else self.path.name
        return self.path.with_name(f"{name}.{ERRORS}")

    def part_path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"part-{number:05d}.{self.kind}"

    @property
    def begun(self) -> bool:
        """Whether a job has left something to go on with, or is a complete one of shards."""
        path = self.folder / MANIFEST
        return path.is_file() and (self.unfinished.is_dir() or _is_manifest(path))

    def check(self, resume: bool, overwrite: bool, inputs: Iterable[Path] = ()) -> State:
        """Refuse (RunError) what exists, and what cannot be; none of the inputs may be replaced.

        Gives whether there is a job to go on with, or nothing more to do.
        """
        with self.writing():
            self._refuse_place([source.resolve() for source in inputs])
            begun = self.begun
            if not (resume and begun):
                self._refuse_other_things()
            if overwrite:
                return "new"
            if begun:
                complete = Manifest.load(self.folder).complete
                if resume:
                    return "complete" if complete else "begun"
                how = "exists" if complete else "is of an interrupted job: --resume goes on with it"
                raise RunError(
                    f"--output: {self.folder} {how}; --overwrite starts anew, or name another"
                )
            if self.rows_per_shard is None:
                if resume and self.path.exists():
                    return "complete"
                for made in (self.path, self.errors):
                    if _is_there(made):
                        raise RunError(
                            f"--output {made} exists; name another file or --overwrite it"
                        )
            return "new"

    def _refuse_place(self, sources: list[Path]) -> None:
        """No output can be here, or what is read would be replaced or removed by it."""
        path, folder = self.path, self.folder
        if not path.parent.is_dir():
            raise RunError(f"--output {path}: there is no folder {path.parent}")
        if self.rows_per_shard is None:
            self._refuse_for_file(sources)
        elif _is_there(path) and not path.is_dir():
            raise RunError(f"--output {path} is no folder; name one for the shards")
        for source in sources:
            if folder.resolve() in (source, *source.parents):
                raise RunError(
                    f"--output {path}: {folder} holds the input {source}; name another output"
                )
        if self.unfinished.is_symlink():
            raise RunError(f"--output: {self.unfinished} is a link; remove it")

    def _refuse_for_file(self, sources: list[Path]) -> None:
        path = self.path
        if path.exists() and not path.is_file():
            raise RunError(
                f"--output {path} is no regular file; name another, or - for jsonl, or give "
                "--rows-per-shard for a folder"
            )
        for made in (path, self.errors):
            if made.resolve() in sources:
                raise RunError(f"--output {made} is one of the inputs; name another file")
        if _is_there(self.folder) and (self.folder.is_symlink() or not self.folder.is_dir()):
            raise RunError(f"{self.folder} is in the way: remove it, or name another output")
        if self.errors.is_file() and not self.errors.is_symlink() and not _of_errors(self.errors):
            raise RunError(f"--output: {self.errors} holds no errors of a job; move it away")

    def _refuse_other_things(self) -> None:
        """A folder that holds what no job made is left alone."""
        if not self.folder.is_dir():
            return
        other = sorted(set(self.folder.iterdir()) - set(self._own()) - {self.folder / LOCK})
        if self.folder / MANIFEST in other and any(_PART.fullmatch(path.name) for path in other):
            raise RunError(
                f"--output: {self.folder / MANIFEST} is damaged, or of no job: what lies beside it "
                "is left alone; move it away, or name another folder"
            )
        if other:
            raise RunError(
                f"--output: {self.folder} holds {other[0].name!r}, which is no output of a job; "
                "move it away, or name another folder"
            )

    def _own(self) -> list[Path]:
        """What jobs made in the folder of the work."""
        if not self.begun and not self.unfinished.is_dir():
            return []
        parts = [path for path in self.folder.glob("part-*") if _PART.fullmatch(path.name)]
        torn = [path for pattern in _TORN for path in self.folder.glob(pattern)]
        files = [self.folder / MANIFEST, *parts, self.folder / ERRORS, *torn]
        found = [path for path in files if path.is_file() or path.is_symlink()]
        # It comes last: by it, or by the manifest, a folder is known as a job's.
        return [*found, self.unfinished] if self.unfinished.is_dir() else found

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other jobs out while the context lasts; an empty folder does not stay behind.

        A RunError where another job is at work in the folder, or it cannot be made.
        """
        there = self.folder.exists()
        with self.writing():
            self.folder.mkdir(exist_ok=True)
        try:
            with FolderLock(self.folder, f"--output {self.path}"):
                yield
        finally:
            if not there or self.rows_per_shard is None:
                # Only an empty folder can be removed so.
                with contextlib.suppress(OSError):
                    self.folder.rmdir()

    def start(self, manifest: Manifest) -> None:
        """Begin a new job; what another job made here is removed."""
        self.folder.mkdir(exist_ok=True)
        self.clear()
        # Documents' texts are in there, and nothing of it is for others yet.
        self.unfinished.mkdir(mode=0o700)
        self.units_folder(manifest).mkdir()
        self.save(manifest)

    def go_on(self, session: str) -> Manifest:
        """The job that is there, made ready to go on with; the session is a name for this start.

        It has those shards that are whole, up to the first that is not.
        """
        manifest = Manifest.load(self.folder)
        # What was being written when a process was killed.
        new = ((self.unfinished, pattern) for pattern in (".new-*", "new-*", "*/new-*"))
        for folder, pattern in (*new, *((self.folder, pattern) for pattern in _TORN)):
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
        self.units_folder(manifest).mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(manifest.parts):
            whole = part.is_there(self.folder)
            if not whole:
                log.info(f"part {number} is not what the job wrote: it is made again")
            # The last shard has fewer rows, and is made when all is done.
            if not whole or part.rows != self.rows_per_shard:
                del manifest.parts[number:]
                break
        manifest.complete = False
        manifest.sessions.append(session)
        self.save(manifest)
        return manifest

    def put(self, path: Path, write: Callable[[Path], None]) -> None:
        """Let a file be written whole, where nothing is left behind by a kill."""
        write_whole(path, write, self.unfinished)

    def save(self, manifest: Manifest) -> None:
        """Write the manifest."""
        self.put(self.folder / MANIFEST, partial(write_json, value=manifest.content()))

    def complete(self, manifest: Manifest) -> None:
        """Let nothing of the work stay: all of the output is there."""
        if self.rows_per_shard is None:
            self.clear()
            return
        manifest.complete = True
        self.save(manifest)
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def clear(self) -> None:
        """Remove what jobs made in the folder of the work."""
        if not self._own():
            return
        self.unfinished.mkdir(exist_ok=True)
        # The manifest first: without it, nothing here counts as done.
        for path in self._own():
            if path == self.unfinished:
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Let what cannot be written in a context, an OSError, be told in one line, a RunError."""
        try:
            yield
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise RunError(
                f"--output {self.path} cannot be written: {error_text(error)}{where}"
            ) from error


def _is_there(path: Path) -> bool:
    """Whether a name is taken, by a link that leads nowhere too."""
    return path.exists() or path.is_symlink()


def _is_manifest(path: Path) -> bool:
    """Whether a file is a job's manifest, of this version or another."""
    try:
        return read_json(path, ShapeError).keys() >= _OF_ANY
    except ShapeError:
        return False


def _of_errors(path: Path) -> bool:
    """Whether a file holds errors of a job, by its first line."""
    with path.open("rb") as file:
        first = file.readline(_LONGEST_ERROR_BYTES)
    try:
        values = json.loads(first)
        return isinstance(values, dict) and list(values) == _ERROR_FIELDS
    except (ValueError, RecursionError):
        return not first
