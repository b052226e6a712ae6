"""Corpora as examples: documents with their labels, summaries and ids, streamed.

It joins sources and lets no id occur twice; what a row's columns hold is for `columns`.
Invariant: every example has an id of its own and the place it came from, and of those gone by only
a hash of the id is kept.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, overload

from hierbert.data.broken import BrokenRow, RowError
from hierbert.data.columns import (
    Columns,
    RowParser,
    TableError,
    Text,
    check_columns,
    missing_in_all,
)
from hierbert.data.ids import SeenIds
from hierbert.data.readers import read_rows
from hierbert.data.rows import Row, broken_rest
from hierbert.data.sources import Source, file_format, resolve_sources
from hierbert.errors import Setting, config_setting, quote


@dataclass(frozen=True)
class Example:
    """One document of a corpus.

    Attributes:
        id: Unlike that of any other example of the corpus.
        text: The whole text, or its sentences or segments as the corpus cut them, or sentences
            within segments. May be empty.
        label: As the corpus holds it: a string, number, boolean or list; None when it has none.
        summary: The reference summary; None when it has none.
        location: Where it came from, for messages: ``docs.jsonl, line 3``.
    """

    id: str
    text: Text
    label: Any
    summary: str | None
    location: str


@overload
def read_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = ...,
    setting: Setting = ...,
    input_format: str = ...,
    keep_broken: Literal[False] = ...,
) -> Iterator[Example]: ...
@overload
def read_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = ...,
    setting: Setting = ...,
    input_format: str = ...,
    keep_broken: bool,
) -> Iterator[Example | BrokenRow]: ...
def read_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
    input_format: str = "jsonl",
    keep_broken: bool = False,
) -> Iterator[Example | BrokenRow]:
    """Stream the examples of one or several sources.

    Sources are found at once, rows read while iterating. Made ids are the file's name without its
    ending and the row's number, ``docs-17``; where two files would share that name, all ids of the
    corpus are made from names with their endings or, if need be, whole paths. The ids of texts in
    folders are their paths in the folder, and with the folder's name before them when there are
    several folders.

    Args:
        spec: Path, glob, folder, Hub dataset, or a list of them: see `resolve_sources`.
        columns: Which column holds what.
        field: The setting that holds `spec`, for messages: ``data.train``, ``--input``.
        role: ``train``, ``validation``, ``test`` or ``input``.
        encoding: Of text files.
        setting: How the user writes the settings that messages advise to change.
        input_format: The format of standard input.
        keep_broken: Whether a broken row becomes a `BrokenRow` and reading goes on with the next.
            A row whose id occurs twice is broken, and the first that has it is not. What costs the
            rest of a file, or all of it (see `read_rows`; also a table without the columns asked
            for, and a file without rows), is one `BrokenRow`; other files go on. The same input
            gives the same number of items in the same order on every reading.

    Returns:
        An iterator over the examples, in the sources' order.

    Raises:
        ConfigError: See `resolve_sources` and `read_rows`.
        DataError: At once for what cannot be found; while iterating for a source without rows,
            a missing column, a value of the wrong type, an id that occurs twice. With
            `keep_broken`, while iterating, only for what `read_rows` still raises.
    """
    sources = resolve_sources(spec, field, role, input_format=input_format)
    return _Corpus(sources, columns, encoding, setting, keep_broken).examples()


def load_examples(
    spec: str | list[str],
    columns: Columns,
    *,
    field: str,
    role: str,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
) -> list[Example]:
    """Read all the examples of one or several sources: a list of at least one.

    Arguments and errors are those of `read_examples`.
    """
    return list(
        read_examples(spec, columns, field=field, role=role, encoding=encoding, setting=setting)
    )


def read_one_source(
    sources: list[Source],
    index: int,
    columns: Columns,
    *,
    encoding: str = "utf-8",
    setting: Setting = config_setting,
    keep_broken: bool = False,
    seen: SeenIds | None = None,
) -> Iterator[Example | BrokenRow]:
    """Stream the examples of one of several sources, with the ids they have among all of them.

    So that several processes can share the sources, or one knows where each begins.

    Args:
        sources: What `resolve_sources` returned.
        index: Which of them to read.
        columns: Which column holds what.
        encoding: Of text files.
        setting: How the user writes the settings that messages advise to change.
        keep_broken: See `read_examples`.
        seen: Ids of the sources before, to which those of this one are added; None finds those
            alone that occur twice in this one.

    Returns:
        An iterator over its examples, in order; errors are those of `read_examples`.
    """
    corpus = _Corpus(sources, columns, encoding, setting, keep_broken)
    return corpus.one_source(index, SeenIds() if seen is None else seen)


class _Corpus:
    """Sources that are read as one."""

    def __init__(
        self,
        sources: list[Source],
        columns: Columns,
        encoding: str,
        setting: Setting,
        keep_broken: bool,
    ) -> None:
        self._sources = sources
        self._columns = columns
        self._encoding = encoding
        self._setting = setting
        self._keep_broken = keep_broken
        self._names = _names_for_ids(sources)
        self._several_folders = sum(source.format == "folder" for source in sources) > 1

    def examples(self) -> Iterator[Example | BrokenRow]:
        """Give the items of all sources, and each id once."""
        seen = SeenIds()
        for place in range(len(self._sources)):
            yield from self._source_examples(place, seen)

    def one_source(self, place: int, seen: SeenIds) -> Iterator[Example | BrokenRow]:
        """Give the items of one source, and each id once."""
        return self._source_examples(place, seen)

    def _source_examples(self, place: int, seen: SeenIds | None) -> Iterator[Example | BrokenRow]:
        source, columns, setting = self._sources[place], self._columns, self._setting
        name, keep_broken = self._names[place], self._keep_broken
        seen_columns: dict[str, None] = {}
        row: Row | BrokenRow | None = None
        for row in read_rows(source, self._encoding, setting=setting, keep_broken=keep_broken):
            if isinstance(row, BrokenRow):
                yield row
                continue
            parser = RowParser(row, source, columns, setting)
            row_id = None
            try:
                check_columns(row, source, columns, seen_columns, setting)
                row_id = parser.id(name, self._several_folders)
                text, label, summary = parser.text(), parser.label(), parser.summary()
                example = Example(row_id, text, label, summary, row.location)
                # Only a row that is whole takes its id.
                if seen is not None and not seen.add(row_id):
                    self._refuse_id(example, source)
            except TableError as error:
                if not keep_broken:
                    raise
                yield broken_rest(error, source, row.number - 1)
                return
            except RowError as error:
                if not keep_broken:
                    raise
                if row_id is None:
                    row_id = parser.id_if_any(name, self._several_folders)
                yield error.as_row(row_id)
                continue
            yield example
        missing = missing_in_all(source, row, columns, seen_columns, setting)
        if missing is not None:
            if not keep_broken:
                raise missing
            yield BrokenRow(None, source.name, missing.reason)

    def _refuse_id(self, example: Example, source: Source) -> None:
        first = "a row before it"
        # Places take memory, so they are not kept but looked for, and only where that ends the
        # reading: a file that holds every row twice would be read once for each of them.
        if not self._keep_broken and not any(source.is_stream for source in self._sources):
            place = self._first_place(example.id)
            if place == example.location:
                return  # the hash is another id's
            first = place
        twice = f"the id {quote(example.id)} occurs twice"
        advice = (
            f"ids must differ: set {self._setting('id_column')} to another column, or to an empty "
            "string to have ids made"
        )
        raise RowError(
            source.field,
            example.location,
            f": {twice}, first in {first}; {advice}",
            message=f"{source.field}: {twice}: {first}, and {example.location}; {advice}",
        )

    def _first_place(self, example_id: str) -> str:
        for place in range(len(self._sources)):
            for example in self._source_examples(place, None):
                if example.id == example_id:
                    return example.location
        return "a row before it"  # that is there no longer


def _names_for_ids(sources: list[Source]) -> list[str]:
    """Name each source for the ids made of its rows, as shortly as tells all sources apart."""
    paths = ["stdin" if source.name == "standard input" else source.name for source in sources]
    bases = [os.path.basename(path.rstrip("/")) for path in paths]
    stems = [_stem(base) if file_format(base) else base for base in bases]
    for names in (stems, bases):
        if len(set(names)) == len(names):
            return names
    return paths


def _stem(name: str) -> str:
    base, ending = os.path.splitext(name)
    return os.path.splitext(base)[0] if ending.lower() == ".gz" else base
