"""A complete job of which shards changed or are gone: their rows alone are answered again.

Until their files are there the manifest stays as it is: what a kill leaves is the same job with the
same shards to do. Units go into a folder of these shards, and count as in any job; but that all of
their rows are there, and are what they were, is told by the fingerprints that the manifest has.
"""

import hashlib
import heapq
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from hierbert.errors import RunError
from hierbert.log import log
from hierbert.prediction.job import Footer, Job, done_units, whole_units
from hierbert.prediction.output_folder import Manifest, OutputFolder
from hierbert.prediction.units import Unit, UnitName, changed_input
from hierbert.state_files import file_checksum


def changed_shards(target: OutputFolder, manifest: Manifest) -> tuple[list[int], list[str]]:
    """The shards of a complete job whose rows must be answered again, and the files for which."""
    parts, errors = manifest.parts, target.errors
    shards = {part.part for part in parts if not part.is_there(target.folder)}
    names = [parts[shard].file or "" for shard in sorted(shards)]
    # Of what no checksum is known, as of versions before, nothing goes into a new file.
    checked = shards or manifest.errors_sha256 is not None
    if checked and not (errors.is_file() and file_checksum(errors) == manifest.errors_sha256):
        with_errors = {part.part for part in parts if part.errors}
        names += [errors.name] if with_errors else []
        shards |= with_errors
    return sorted(shards), names


def begin_again(
    target: OutputFolder, manifest: Manifest, shards: Sequence[int]
) -> dict[UnitName, Footer]:
    """Make ready to answer the rows of shards; what is done of them."""
    target.unfinished.mkdir(mode=0o700, exist_ok=True)
    folder = _units_folder(target, manifest, shards)
    folder.mkdir(exist_ok=True)
    return whole_units(folder)


def _units_folder(target: OutputFolder, manifest: Manifest, shards: Sequence[int]) -> Path:
    folder = target.units_folder(manifest)
    return folder.with_name(f"{folder.name}-{zlib.crc32(repr(shards).encode()):08x}")


class JobAgain(Job):
    """Of a complete job the shards that are done again; else as `Job`."""

    def __init__(
        self,
        target: OutputFolder,
        manifest: Manifest,
        sources: int,
        done: Mapping[UnitName, Footer],
        shards: Sequence[int],
    ) -> None:
        super().__init__(target, manifest, sources, done)
        self.units = _units_folder(target, manifest, shards)
        self.cuts = self.cuts._replace(shards=frozenset(shards))
        self._again = [manifest.parts[shard] for shard in shards]
        self.rows_before += manifest.total("rows") - sum(part.rows for part in self._again)
        self.rows = self.rows_before
        self._lines = self._lines_after(0)
        # Of all input, and of the shard that is being read.
        self._rows_read = self._shard = self._rows_of_shard = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def read(self, unit: Unit) -> None:
        """Also see that the rows of each shard, done again or not, are what they were."""
        super().read(unit)
        if unit.shard != self._shard:
            self._shard, self._rows_of_shard = unit.shard, 0
            self._digest = hashlib.blake2b(digest_size=16)
        self._digest.update("".join(row.fingerprint for row in unit.rows).encode())
        self._rows_read += len(unit.rows)
        self._rows_of_shard += len(unit.rows)
        part = self.manifest.parts[unit.shard] if unit.shard < len(self.manifest.parts) else None
        if part is None or self._rows_of_shard > part.rows:
            raise changed_input("it has more rows now")
        if self._rows_of_shard == part.rows and self._digest.hexdigest() != part.input:
            raise changed_input(f"rows of part {unit.shard} are not what they were")

    def publish_shards(self) -> None:
        """Nothing: all are made in the end, when all rows are known to be what they were."""

    def finish(self) -> Manifest:
        """As of `Job`; a RunError also where the input has changed."""
        if 0 < self._rows_read < self.manifest.total("rows"):
            raise changed_input("it has fewer rows now")
        self._found = sorted(done_units(self.units).items())
        wanted = sum(part.rows for part in self._again)
        if sum(footer.rows for _, footer in self._found) < wanted:
            raise RunError(
                f"{self.target.folder} lacks rows; the same command with --resume answers them"
            )
        self._refuse_two_readings()
        first = self.target.rows_per_shard or 0
        numbers = (range(1 + p.part * first, 1 + p.part * first + p.rows) for p in self._again)
        with self.target.writing():
            for part in self._again:
                path = self.target.part_path(part.part)
                made = self._publish_rows(part.part, path, part.rows, expected=part.input)
                self.manifest.parts[part.part] = made
            errors = self._errors(chain.from_iterable(numbers))
            self._put_errors(heapq.merge(self._errors_of_others(), errors, key=_row))
            self.target.complete(self.manifest)
        return self.manifest

    def _errors_of_others(self) -> Iterator[bytes]:
        """The lines of errors.jsonl whose rows are of no shard that is done again."""
        again = {part.part for part in self._again}
        if any(part.errors for part in self.manifest.parts if part.part not in again):
            with self.target.errors.open("rb") as lines:
                for line in lines:
                    if (_row(line) - 1) // (self.target.rows_per_shard or 1) not in again:
                        yield line

    def abandon(self, alone: bool, interrupted: bool) -> None:
        """Stop in the middle: nothing is removed, but after a mistake what was done again."""
        if not interrupted:
            # They may be of other input than what is answered the next time.
            shutil.rmtree(self.target.unfinished, ignore_errors=True)
        log.info(
            f"{self.target.folder} still lacks what changed; the same command with --resume "
            "answers its rows"
        )


def _row(line: bytes) -> int:
    number: int = json.loads(line)["row"]
    return number
