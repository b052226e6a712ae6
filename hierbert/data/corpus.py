"""Corpora as examples: documents with their labels, summaries and ids, streamed.

Invariant: every example has an id of its own, and of those gone by only a hash of it is kept.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from hierbert.data.columns import Columns, SourceColumns, check_columns
from hierbert.data.document import BrokenRow, Example, Row, RowError, Source, rest_of_source
from hierbert.data.packing import unpacked_name
from hierbert.data.readers import READERS, file_format
from hierbert.data.seen_ids import SeenIds
from hierbert.data.sources import Corpus, resolve_sources
from hierbert.data.streams import check_encoding, plain_delimiter
from hierbert.errors import DataError, Setting, flag_setting, quote, setting_name


def find_corpora(
    corpora: Mapping[str, Corpus], columns: Columns, *, input_format: str = "jsonl"
) -> dict[str, list[Source]]:
    """The sources of all that is read in the same columns, by its role: see `resolve_sources`.

    A ConfigError too where a column is that of a file which is in none of them.
    """
    found = {
        role: resolve_sources(corpus, role, input_format=input_format)
        for role, corpus in corpora.items()
    }
    columns.refuse_other_files(source for sources in found.values() for source in sources)
    return found


def load_examples(
    sources: list[Source], columns: Columns, encoding: str = "utf-8"
) -> list[Example]:
    """The examples of a corpus, at least one; errors are those of `read_documents`."""
    return cast(list[Example], list(CorpusReader(sources, columns, encoding).examples()))


def read_documents(
    corpus: Corpus,
    *,
    text_column: str = "text",
    label_column: str | Sequence[str] | None = None,
    summary_column: str | None = None,
    id_column: str | None = None,
    encoding: str = "utf-8",
    input_format: str = "jsonl",
    delimiter: str | None = None,
    columns: Mapping[str, str] | None = None,
    keep_broken: bool = False,
) -> Iterator[Example | BrokenRow]:
    """Stream the documents of a corpus as training and inference read them, to check it before.

    Sources are found at once, rows read while iterating. Made ids are the file's name without its
    ending and the row's number, ``docs-17``; where two files would share that name, all ids of the
    corpus are made from names with their endings or, if need be, whole paths. The ids of texts in
    folders are their paths in the folder, and with the folder's name before them when there are
    several folders. Rows in memory have ids made of what they are given for, ``input-17``.

    The same input gives the same number of items in the same order on every reading.

    Args:
        corpus: A path, a glob, a folder, a Hub dataset, a list of them, ``-`` for standard input,
            or rows in memory.
        text_column: Of the documents.
        label_column: Of their labels, or several, which make a mapping; None reads none.
        summary_column: Of their reference summaries; None reads none.
        id_column: Of their ids; None takes a column ``id``, else makes ids; "" makes them always.
        encoding: Of text files.
        input_format: Of standard input: csv, tsv, json or jsonl.
        delimiter: Between the fields of csv; None where the header tells: a comma, else a
            semicolon, a tab or a bar.
        columns: Of other fields, by the field's name.
        keep_broken: Whether a row that cannot be read becomes a `BrokenRow`, which says why, and
            reading goes on with the next. One whose id occurs twice is broken, the first that has
            it is not. What costs the rest of a file, or all of it (damaged gzip or parquet, a quote
            that is never closed, a header that is none, a table without the columns asked for, a
            file without rows), is one `BrokenRow`; other files go on.

    Yields:
        One `Example` for each document, in order.

    Raises:
        ConfigError: The encoding or the format is unknown, there is neither a name nor rows,
            `columns` are none, or `text_column` is that of a file which is not read.
        DataError: At once for what cannot be found. While iterating, for the first row that cannot
            be read; with `keep_broken` only where the Hub or an iterable fails.
    """
    own = {"label": label_column, "summary": summary_column}
    fields = {name: column for name, column in own.items() if column is not None}
    fields |= check_columns({} if columns is None else columns)
    read = Columns(text_column, id_column, fields, delimiter)
    sources = find_corpora({"input": corpus}, read, input_format=input_format)["input"]
    return CorpusReader(sources, read, encoding, keep_broken).examples()


class CorpusReader:
    """Several sources that are read as one corpus: see `read_documents`."""

    def __init__(
        self,
        sources: list[Source],
        columns: Columns,
        encoding: str,
        keep_broken: bool = False,
        name_of: Setting = flag_setting,
    ) -> None:
        check_encoding(encoding)
        delimiter = plain_delimiter(columns.delimiter)
        self._sources = [replace(source, delimiter=delimiter) for source in sources]
        self._columns = columns
        self._encoding = encoding
        self._keep_broken = keep_broken
        self._name_of = name_of  # settings, in the reasons of broken rows
        self._names = _names_for_ids(sources)
        self._several_folders = sum(source.format == "folder" for source in sources) > 1

    def examples(self) -> Iterator[Example | BrokenRow]:
        """Of all sources, each id once."""
        seen = SeenIds()
        for place in range(len(self._sources)):
            yield from self.one_source(place, seen)

    def one_source(self, place: int, seen: SeenIds | None) -> Iterator[Example | BrokenRow]:
        """Of one source, with the ids they have among all of them, which are added to `seen`.

        With None they are not compared with those before.
        """
        source = self._sources[place]
        is_file = source.given is None and not source.dataset
        last = ""
        try:
            for item in self._items(place, seen):
                if isinstance(item, Example):
                    last = item.location
                    yield item
                elif not self._keep_broken:
                    raise item
                elif isinstance(item, RowError):
                    last = item.place or ""
                    yield item.as_row(self._name_of)
                else:
                    yield rest_of_source(item, source, last, self._rows_of(source), self._name_of)
        except DataError as error:
            if not (self._keep_broken and is_file):
                raise
            yield rest_of_source(error, source, last, name_of=self._name_of)

    def _rows_of(self, source: Source) -> int:
        """How many rows a table has, as far as it can be read; 0 where it is read only once."""
        if source.is_stream:
            return 0
        count = 0
        with contextlib.suppress(DataError):
            for _ in READERS[source.format].read(source, self._encoding):
                count += 1
        return count

    def _items(self, place: int, seen: SeenIds | None) -> Iterator[Example | DataError]:
        """The examples of a source, and what is wrong with rows among them.

        What is wrong with all of its rows is the last item; what cannot be read further is raised.
        """
        source, name = self._sources[place], self._names[place]
        prefix = f"{name}/" if source.format == "folder" and self._several_folders else ""
        columns = SourceColumns(source, self._columns, name, prefix)
        is_empty = True
        for row in READERS[source.format].read(source, self._encoding):
            is_empty = False
            if isinstance(row, RowError):
                yield row
                continue
            try:
                columns.check(row)
                example = columns.example(row)
                # Only a row that is whole takes its id.
                if seen is not None and not seen.add(example.id):
                    self._refuse_id(example)
            except RowError as error:
                error.row_id = _id_if_any(columns, row)
                yield error
            except DataError as error:
                yield error
                return
            else:
                yield example
        if is_empty:
            yield RowError("holds no rows", place=source.name)
        elif missing := columns.missing():
            yield missing

    def _refuse_id(self, example: Example) -> None:
        first = "a row before it"
        # Places take memory, so they are not kept but looked for, and only where that ends the
        # reading: a file that holds every row twice would be read once for each of them.
        if not self._keep_broken and not any(source.is_stream for source in self._sources):
            first = self._first_place(example.id)
            if first == example.location:
                return  # the hash is another id's
        raise repeated_id(example.id, example.location, first)

    def _first_place(self, example_id: str) -> str:
        for place in range(len(self._sources)):
            for example in self.one_source(place, None):
                if example.id == example_id:
                    return example.location
        return "a row before it"  # that is there no longer


def repeated_id(row_id: str, place: str, first: str) -> RowError:
    """The mistake that the row at `place` has an id of a row before it, at `first`."""
    return RowError(
        f"the id {quote(row_id)} occurs twice, first in {first}; ids must differ: set "
        f"{setting_name('id_column')} to another column, or to an empty string to have ids made",
        place=place,
    )


def _id_if_any(columns: SourceColumns, row: Row) -> str | None:
    try:
        return columns.row_id(row)
    except RowError:
        return None


def _names_for_ids(sources: list[Source]) -> list[str]:
    """Of each source, as short as tells all sources apart."""
    paths = [source.stem or source.name for source in sources]
    bases = [os.path.basename(path.rstrip("/")) for path in paths]
    stems = [_stem(base) if file_format(base) else base for base in bases]
    for names in (stems, bases):
        if len(set(names)) == len(names):
            return names
    return paths


def _stem(name: str) -> str:
    return os.path.splitext(unpacked_name(name)[0])[0]
