"""What a job reads: files, folders, the Hub or standard input, all checked beforehand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierbert.data.corpus import Columns, read_examples
from hierbert.data.document import BrokenRow, Example
from hierbert.data.sources import resolve_sources
from hierbert.log import Progress, log
from hierbert.prediction.rows import InputRow, PartEnd, number_rows


@dataclass(frozen=True)
class Inputs:
    """What to read.

    Attributes:
        sources: Paths, globs, folders or Hub ids; ["-"] for standard input.
        columns: Which column holds what.
        encoding: Of text files.
        format: Of standard input.
        keep_broken: Whether a row that cannot be read is a row all the same, rather than an error.
    """

    sources: list[str]
    columns: Columns
    encoding: str = "utf-8"
    format: str = "jsonl"
    keep_broken: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once."""
        return "-" in self.sources

    def paths(self) -> list[Path]:
        """The files and folders that will be read.

        Raises:
            DataError: A source cannot be found.
        """
        sources = resolve_sources(self.sources, "input", input_format=self.format)
        return [source.path for source in sources if source.path is not None]

    def describe(self) -> list[dict[str, Any]]:
        """The sources by name, with the bytes of files, for people to read."""
        sources = resolve_sources(self.sources, "input", input_format=self.format)
        return [
            {"name": source.name}
            | (
                {"bytes": source.path.stat().st_size}
                if source.path and source.path.is_file()
                else {}
            )
            for source in sources
        ]

    def rows(self, rows_per_part: int) -> Iterator[InputRow | PartEnd]:
        """The rows, streamed, with the ends of parts.

        Args:
            rows_per_part: Rows of every part but the last.

        Raises:
            DataError: A source cannot be read, or a row, unless broken rows are kept.
        """
        return number_rows(self._items(), rows_per_part)

    def _items(self) -> Iterator[Example | BrokenRow]:
        return read_examples(
            self.sources,
            self.columns,
            role="input",
            encoding=self.encoding,
            input_format=self.format,
            keep_broken=self.keep_broken,
        )


def check_inputs(inputs: Inputs) -> int | None:
    """Read all input once, say what is broken, and how much it is.

    Args:
        inputs: What to read.

    Returns:
        The size of its texts in UTF-8 bytes; None when it can be read only once and so was not
        read.

    Raises:
        DataError: The first row that cannot be read, unless broken rows are kept.
    """
    if inputs.is_stream:
        return None
    size = broken = 0
    with Progress(None, "checking the input", unit="rows") as bar:
        for row in inputs.rows(1_000_000_000):
            if isinstance(row, InputRow):
                size += row.size
                broken += row.broken is not None
                bar.advance()
    if broken:
        log.info(f"the input holds {broken:,} rows that cannot be read")
    return size
