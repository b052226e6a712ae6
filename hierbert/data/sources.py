"""What a user names or hands in as a corpus, turned into the sources that the readers open.

Invariant: every source was named by the user, directly, by a glob, or by a folder that holds it,
and nothing is read twice. No file is opened.
"""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hierbert.data.document import Source
from hierbert.data.folders import (
    folder_labels,
    near_paths_hint,
    refuse_link,
    refuse_no_file,
    text_files,
)
from hierbert.data.in_memory import rows_given
from hierbert.data.readers import (
    READERS,
    allowed_endings,
    documents_of_folder,
    file_format,
    stdin_formats,
)
from hierbert.errors import ConfigError, DataError, error_text, quote_all, setting_name
from hierbert.log import log

Corpus = str | os.PathLike[str] | list[str] | Iterable[Mapping[str, Any]]
"""A path, glob, folder, Hub dataset or a list of them; or rows in memory: a list of dicts, a
`datasets.Dataset`, a pandas DataFrame, any iterable of dicts."""

_HUB_ID = re.compile(
    r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<config>[^#/]+))?(#(?P<split>[^/]+))?", re.ASCII
)
_SPLIT_NAME = re.compile(r"(train|valid|val|dev|test)(ation|ing)?(?![a-z])", re.IGNORECASE)


def resolve_sources(spec: Corpus, role: str, *, input_format: str = "jsonl") -> list[Source]:
    """Turn what a config holds into the sources to read, in the order they were named.

    One entry is one of: a file; a glob (its matches sorted, folders left out); a folder; a Hub
    dataset ``user/name`` where neither such a path nor a folder ``user`` exists, or
    ``hub://user/name``, each with an optional ``:config`` and ``#split``;
    ``package://aclsum/<split>``; ``-`` for standard input.

    A folder that holds ``.txt`` files at any depth is read as documents, a file each, HTML and
    Markdown among them (see `documents_of_folder`); else the data files that lie directly in it
    are read, and where there are none HTML and Markdown at any depth. Names that start with a dot
    are skipped. A symbolic link inside a folder is refused; one named in the setting or by a glob
    is followed.

    Args:
        spec: One entry, a list of them, or rows in memory.
        role: ``train``, ``validation``, ``test``, ``input`` or ``documents``: what holds `spec`. It
            is the default split of Hub datasets and packages (``input`` reads ``train``,
            ``documents`` ``test``); only ``input`` may be ``-``.
        input_format: The format of standard input, one of `stdin_formats`.

    Raises:
        ConfigError: The setting is empty, or neither names nor rows.
        DataError: A path that does not exist, an ending that is not known, a glob that matches
            nothing, a folder that holds nothing to read, one file named twice.
    """
    items: list[Any] = spec if isinstance(spec, list) else [spec]
    if not all(isinstance(item, str | os.PathLike) for item in items):
        return [rows_given(spec, role)]
    names = [os.fsdecode(item) for item in items]
    if not names or not all(name.strip() for name in names):
        raise ConfigError(
            "is empty", setting=role, allowed="a file, a folder, a glob or a Hub dataset"
        )
    sources: list[Source] = []
    for name in names:
        try:
            sources += _resolve_entry(name, role, input_format)
        except DataError as error:
            place = "" if error.place is None else f": {error.place}"
            error.place = f"{setting_name(role)}{place}"
            raise
    seen: set[str] = set()
    for source in sources:
        key = os.path.realpath(source.path) if source.path is not None else source.name
        if key in seen:
            raise DataError(f"names {source.name!r} twice", setting=role)
        seen.add(key)
    return sources


def _resolve_entry(entry: str, role: str, input_format: str) -> list[Source]:
    split = {"input": "train", "documents": "test"}.get(role, role)
    if entry == "-":
        return [_standard_input(role, input_format)]
    if entry.startswith("package://"):
        return [_package(entry, split)]
    if entry.startswith("hub://"):
        match = _HUB_ID.fullmatch(entry.removeprefix("hub://"))
        if match is None:
            raise DataError(f"{entry!r} is no Hub dataset", allowed="hub://user/name#split")
        return [_hub(match, split)]
    path = os.path.expanduser(entry)
    if os.path.isdir(path):
        return _folder(path)
    if os.path.exists(path):
        return [_file(path)]
    if glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True))
        found = [match for match in matches if not os.path.isdir(match)]
        if not found:
            folders = f", but folders do: {quote_all(matches)}; name them" if matches else ""
            raise DataError(f"no file matches {entry!r}{folders}")
        if left := sorted(set(matches) - set(found)):
            log.info(f"{entry}: {len(left):,} folders are passed over: {quote_all(left)}")
        return [_file(match) for match in found]
    match = _HUB_ID.fullmatch(entry)
    hint = ""
    if match is not None and file_format(match["name"]) is None:
        # A misspelt path must not become half a minute of asking the network for it.
        if not os.path.isdir(entry.split("/", 1)[0]):
            return [_hub(match, split)]
        hint = f"; a Hub dataset of that name would be 'hub://{entry}'"
    parts = [part.strip() for part in entry.split(",")]
    if len(parts) > 1 and all(os.path.exists(os.path.expanduser(part)) for part in parts):
        several = f"{setting_name('input')} {' '.join(parts)}"
        if role not in ("input", "documents"):
            several = f"{setting_name(role)}='[{', '.join(parts)}]'"
        hint = f"; write several as {several}"
    raise DataError(f"there is no file or folder {entry!r}{near_paths_hint(entry)}{hint}")


def _standard_input(role: str, input_format: str) -> Source:
    if role != "input":
        raise DataError("standard input ('-') can only be the input of infer.py")
    if input_format not in stdin_formats():
        raise ConfigError(
            "is no format of standard input",
            setting="input_format",
            value=input_format,
            allowed=", ".join(stdin_formats()),
        )
    if getattr(sys.stdin, "buffer", None) is None:
        raise DataError("standard input is closed")
    return Source("standard input", input_format, stem="stdin")


def _package(entry: str, split: str) -> Source:
    name, _, given = entry.removeprefix("package://").partition("/")
    split = given or split
    if name != "aclsum" or split not in ("train", "validation", "test"):
        raise DataError(
            f"there is no packaged corpus {entry!r}",
            allowed="package://aclsum/train, package://aclsum/validation, package://aclsum/test",
        )
    return Source(f"package://{name}/{split}", "package", dataset=name, split=split)


def _hub(match: re.Match[str], split: str) -> Source:
    name, config, split = match["name"], match["config"], match["split"] or split
    shown_name = f"hub://{name}{':' + config if config else ''}#{split}"
    return Source(shown_name, "hub", dataset=name, config=config, split=split)


def _file(path: str) -> Source:
    refuse_no_file(path)
    found = file_format(path)
    if found is None:
        raise DataError("has no known ending", place=path, allowed=allowed_endings())
    return Source(path, found[0], Path(path), packing=found[1])


def _folder(path: str) -> list[Source]:
    texts, data_files = text_files(path, READERS["txt"].endings), _data_files(path)
    if texts or not data_files:
        texts = documents_of_folder(path)
    if texts and data_files and folder_labels(texts) is None:
        raise DataError(
            f"the folder holds both texts ({texts[0]!r}) and data files ({data_files[0]!r}); "
            f"name one kind by a glob such as {os.path.join(path, '*.txt')!r}",
            place=path,
        )
    if not texts and not data_files:
        raise DataError(
            "the folder holds no text, HTML or Markdown and, directly in it, no data file",
            place=path,
            allowed=allowed_endings(),
        )
    # Train, validation and test files must not be mixed into one corpus.
    names = (folder_labels(texts) or []) if texts else data_files
    splits = {match[1].lower() for name in names if (match := _SPLIT_NAME.match(name))}
    if len(splits) > 1:
        raise DataError(
            f"the folder holds several splits ({quote_all(sorted(set(names)))}); "
            "name the one that is meant",
            place=path,
        )
    _say_other_files(path, texts or data_files)
    if texts:
        endings = Counter(os.path.splitext(name)[1].lower() for name in texts)
        if len(endings) > 1:
            log.info(f"{path}: {', '.join(f'{n:,} {name}' for name, n in endings.items())}")
        return [Source(path, "folder", Path(path))]
    return [_file(os.path.join(path, name)) for name in data_files]


def _say_other_files(path: str, read: list[str]) -> None:
    """Say which files of a folder are not read; those whose names start with a dot are hidden."""
    found = []
    for base, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(base, path)
        found += [os.path.normpath(os.path.join(inside, n)) for n in files if not n.startswith(".")]
    if other := sorted(set(found) - set(read)):
        log.info(f"{path}: {len(other):,} other files are passed over: {quote_all(other)}")


def _data_files(path: str) -> list[str]:
    """The files directly in a folder whose rows are documents."""
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise DataError(f"cannot be listed: {error_text(error)}", place=path) from error
    kept = [
        name
        for name in names
        if not name.startswith(".")
        and (found := file_format(name)) is not None
        and not READERS[found[0]].is_document
        and not os.path.isdir(os.path.join(path, name))
    ]
    for name in kept:
        refuse_link(os.path.join(path, name))
        refuse_no_file(os.path.join(path, name))
    return kept
