"""The input of a job of several processes, of which each reads a source, row by row.

Reading is `hierbert.data`'s, so ids, checks and messages are those of the local job. Invariant:
every reading gives the same rows in the same order, and a row that cannot be read is one of them
where that is asked for.
"""

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hierbert.data.corpus import Columns, read_one_source
from hierbert.data.document import Example, Source, Text
from hierbert.data.folders import text_files
from hierbert.data.sources import resolve_sources
from hierbert.errors import DataError


@dataclass(frozen=True)
class Item:
    """One row of a source: a document, or why there is none.

    Attributes:
        id: The document's; of a broken row it may be None.
        location: ``docs.jsonl, line 3``.
        text: The document; None when the row is broken.
        reason: Why the row is broken; None when it is not.
    """

    id: str | None
    location: str
    text: Text | None
    reason: str | None = None


@dataclass(frozen=True)
class Reading:
    """How the input is read.

    Attributes:
        sources: What `resolve_sources` found; each lies under the same path on every machine.
        columns: Which column holds what.
        encoding: Of text files.
        keep_broken: Go on after a row that cannot be read.
    """

    sources: list[Source]
    columns: Columns
    encoding: str = "utf-8"
    keep_broken: bool = False

    @classmethod
    def of(
        cls, spec: list[str], columns: Columns, encoding: str = "utf-8", keep_broken: bool = False
    ) -> "Reading":
        """Find the sources.

        Args:
            spec: Paths, globs, folders or Hub ids.
            columns: Which column holds what.
            encoding: Of text files.
            keep_broken: Go on after a row that cannot be read.

        Returns:
            How to read them; the paths are absolute.

        Raises:
            DataError: A source cannot be found, or can be read only once.
        """
        sources = []
        for source in resolve_sources(spec, "input"):
            path = source.path
            if source.is_stream:
                raise DataError(
                    f"--input {source.name}: it can be read only once, and --engine ray reads it "
                    "more often; write it into a file first"
                )
            # Other processes have other working folders; messages keep the name as given.
            sources.append(source if path is None else replace(source, path=path.absolute()))
        return cls(sources, columns, encoding, keep_broken)

    def items(self, index: int) -> Iterator[Item]:
        """Stream the rows of a source; the same at every reading.

        Raises:
            DataError: The source, or without `keep_broken` a row, cannot be read.
        """
        read = read_one_source(
            self.sources,
            index,
            self.columns,
            encoding=self.encoding,
            keep_broken=self.keep_broken,
        )
        for found in read:
            if isinstance(found, Example):
                yield Item(found.id, found.location, found.text)
            else:
                yield Item(found.id, found.location, None, found.reason)


def stamp(source: Source) -> tuple[int, int]:
    """Bytes of a source and when it was last written, in nanoseconds; zeros where unknown.

    Raises:
        DataError: It is not there any more.
    """
    if source.path is None:
        return 0, 0
    paths = [source.path]
    if source.format == "folder":
        paths = [source.path / name for name in text_files(source.path)]
    try:
        states = [path.stat() for path in paths]
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", place=source.name) from error
    states = [state for state in states if not stat.S_ISDIR(state.st_mode)]
    sizes = sum(state.st_size for state in states)
    return sizes, max((state.st_mtime_ns for state in states), default=0)


def pack(first_row: int, items: list[Item]) -> bytes:
    """A part's rows as bytes: JSON, for columns of text hold no halves of surrogate pairs.

    Args:
        first_row: The number of its first row over all sources, from 1.
        items: The rows.
    """
    rows = [[item.id, item.location, item.text, item.reason] for item in items]
    return json.dumps([first_row, rows], ensure_ascii=False).encode("utf-8", "surrogatepass")


def unpack(data: bytes) -> tuple[int, list[Item]]:
    """What `pack` was given."""
    first_row, rows = json.loads(data.decode("utf-8", "surrogatepass"))
    return first_row, [Item(*row) for row in rows]
