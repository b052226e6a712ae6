"""What a config names as a corpus, turned into the sources that the readers open.

It looks at names and folders only and opens no file. Invariant: every source it returns was named
by the user, directly, by a glob, or by a folder that holds it; nothing is read twice, and nothing
outside a named folder is reached through a symbolic link inside it.
"""

import difflib
import glob
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from hierbert.errors import ConfigError, DataError, quote, quote_all

Format = Literal["csv", "tsv", "json", "jsonl", "parquet", "txt", "folder", "hub", "package"]

_FORMAT_OF_ENDING: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "txt",
}
_GZIPPED_FORMATS = ("csv", "tsv", "json", "jsonl")
_STDIN_FORMATS = ("jsonl", "json", "csv", "tsv", "txt")
ALLOWED_ENDINGS = (
    ".csv, .tsv, .json, .jsonl, .ndjson (each also with .gz), .parquet, .txt, or a folder of these"
)
_ROLES = ("train", "validation", "test", "input")
_PACKAGES = ("aclsum",)
_HUB_ID = re.compile(
    r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(:(?P<config>[^#/]+))?(#(?P<split>[^/]+))?", re.ASCII
)
_SPLIT_NAME = re.compile(r"(train|valid|val|dev|test)(ation|ing)?(?![a-z])", re.IGNORECASE)
_MAX_NAMES_COMPARED = 10_000


@dataclass(frozen=True)
class Source:
    """One thing to read rows from.

    Attributes:
        name: What messages call it: the path as given, ``standard input``, ``hub://user/name#split``
            or ``package://name/split``.
        format: How its rows are written.
        field: The setting that named it, for messages: ``data.train``, ``--input``.
        path: The file or folder; None for standard input, the Hub and packages.
        gzipped: Whether the file's bytes are gzip.
        dataset: The Hub dataset's or the package's name.
        config: The Hub dataset's configuration, when one was named.
        split: The split of a Hub dataset or package.
    """

    name: str
    format: Format
    field: str
    path: Path | None = None
    gzipped: bool = False
    dataset: str = ""
    config: str | None = None
    split: str = ""

    @property
    def is_stream(self) -> bool:
        """Whether it is standard input, which can be read only once."""
        return self.path is None and not self.dataset


def file_format(name: str) -> tuple[Format, bool] | None:
    """Tell a file's format from its ending.

    Args:
        name: A file name or path.

    Returns:
        The format and whether the file is gzipped, or None when the ending is not a known one.
    """
    lower = name.lower()
    gzipped = lower.endswith(".gz")
    ending = os.path.splitext(lower.removesuffix(".gz"))[1]
    found = _FORMAT_OF_ENDING.get(ending)
    if found is None or (gzipped and found not in _GZIPPED_FORMATS):
        return None
    return found, gzipped


def resolve_sources(
    spec: str | list[str], field: str, role: str, *, input_format: str = "jsonl"
) -> list[Source]:
    """Turn what a config holds into the sources to read, in the order they were named.

    One entry is one of: a file; a glob (its matches sorted, folders left out); a folder; a Hub
    dataset ``user/name`` where neither such a path nor a folder ``user`` exists, or
    ``hub://user/name``, each with an optional ``:config`` and ``#split``;
    ``package://aclsum/<split>``; ``-`` for standard input.

    A folder is read as a text folder when it holds ``.txt`` files at any depth (see `text_files`),
    else as the data files that lie directly in it. Names that start with a dot are skipped. A
    symbolic link inside a folder is refused, never followed; a link named in the setting itself,
    or matched by a glob, is read as what it points to.

    Args:
        spec: One entry or a list of them.
        field: The setting that holds it, for messages.
        role: ``train``, ``validation``, ``test`` or ``input``. It is the default split of Hub
            datasets and packages (``input`` reads ``train``); only ``input`` may be ``-``.
        input_format: The format of standard input: jsonl, json, csv, tsv or txt.

    Returns:
        At least one source.

    Raises:
        ConfigError: The setting is empty or not a string or list of strings.
        DataError: A path that does not exist, an ending that is not known, a glob that matches
            nothing, a folder that holds nothing to read, one file named twice.
    """
    if role not in _ROLES:
        raise ValueError(f"role {role!r} is none of {_ROLES}")
    items = [spec] if isinstance(spec, str) else spec
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ConfigError(f"{field}: {quote(spec)} is not a path, a glob, or a list of those")
    if not items or not all(item.strip() for item in items):
        raise ConfigError(f"{field} is empty: name a file, a folder, a glob or a Hub dataset")
    sources: list[Source] = []
    for item in items:
        sources += _resolve_entry(item, field, role, input_format)
    _refuse_named_twice(sources)
    return sources


def _resolve_entry(entry: str, field: str, role: str, input_format: str) -> list[Source]:
    split = "train" if role == "input" else role
    if entry == "-":
        return [_standard_input(field, role, input_format)]
    if entry.startswith("package://"):
        return [_package(entry, field, split)]
    if entry.startswith("hub://"):
        match = _HUB_ID.fullmatch(entry.removeprefix("hub://"))
        if match is None:
            raise DataError(f"{field}: {entry!r} is not of the form hub://user/name#split")
        return [_hub(match, field, split)]
    path = os.path.expanduser(entry)
    if os.path.isdir(path):
        return _folder(path, field)
    if os.path.exists(path):
        return [_file(path, field)]
    if glob.has_magic(path):
        found = sorted(
            match for match in glob.glob(path, recursive=True) if not os.path.isdir(match)
        )
        if not found:
            raise DataError(f"{field}: no file matches {entry!r}")
        return [_file(match, field) for match in found]
    match = _HUB_ID.fullmatch(entry)
    hint = ""
    if match is not None and file_format(match["name"]) is None:
        # A misspelt path must not become half a minute of asking the network for it.
        if not os.path.isdir(entry.split("/", 1)[0]):
            return [_hub(match, field, split)]
        hint = f"; a Hub dataset of that name would be 'hub://{entry}'"
    raise DataError(f"{field}: there is no file or folder {entry!r}{near_paths_hint(entry)}{hint}")


def _standard_input(field: str, role: str, input_format: str) -> Source:
    if role != "input":
        raise DataError(f"{field}: standard input ('-') can only be the input of infer.py")
    if input_format not in _STDIN_FORMATS:
        raise ConfigError(
            f"{field}: standard input cannot be read as {input_format!r}; "
            f"allowed are {', '.join(_STDIN_FORMATS)}"
        )
    return Source("standard input", cast(Format, input_format), field)


def _package(entry: str, field: str, split: str) -> Source:
    name, _, given = entry.removeprefix("package://").partition("/")
    split = given or split
    if name not in _PACKAGES or split not in ("train", "validation", "test"):
        raise DataError(
            f"{field}: there is no packaged corpus {entry!r}; allowed are "
            "package://aclsum/train, package://aclsum/validation and package://aclsum/test"
        )
    return Source(f"package://{name}/{split}", "package", field, dataset=name, split=split)


def _hub(match: re.Match[str], field: str, split: str) -> Source:
    name, config, split = match["name"], match["config"], match["split"] or split
    shown_name = f"hub://{name}{':' + config if config else ''}#{split}"
    return Source(shown_name, "hub", field, dataset=name, config=config, split=split)


def _file(path: str, field: str) -> Source:
    _refuse_no_file(path, field)
    found = file_format(path)
    if found is None:
        raise DataError(
            f"{field}: {path!r} has no known ending; allowed endings are {ALLOWED_ENDINGS}"
        )
    return Source(path, found[0], field, Path(path), gzipped=found[1])


def _folder(path: str, field: str) -> list[Source]:
    texts = text_files(path, field)
    data_files = _data_files(path, field)
    labels = folder_labels(texts)
    if texts and data_files and labels is None:
        raise DataError(
            f"{field}: folder {path!r} holds both .txt files ({texts[0]!r}) and data files "
            f"({data_files[0]!r}); name one kind by a glob such as {os.path.join(path, '*.txt')!r}"
        )
    if texts:
        _refuse_several_splits(path, field, labels or [])
        return [Source(path, "folder", field, Path(path))]
    if not data_files:
        raise DataError(
            f"{field}: folder {path!r} holds no .txt file and, directly in it, no data file; "
            f"allowed endings are {ALLOWED_ENDINGS}"
        )
    _refuse_several_splits(path, field, data_files)
    return [_file(os.path.join(path, name), field) for name in data_files]


def text_files(folder: str | Path, field: str) -> list[str]:
    """List the ``.txt`` files of a folder, at any depth.

    Args:
        folder: The folder.
        field: The setting that named it, for messages.

    Returns:
        Paths relative to the folder, with ``/`` between their parts, sorted part by part. Files
        and folders whose names start with a dot are left out.

    Raises:
        DataError: The folder cannot be listed, or holds a symbolic link to a folder or a text, or
            a pipe, a socket or a device named like one.
    """

    def fail(error: OSError) -> None:
        raise DataError(f"{field}: cannot list {error.filename!r}: {error.strerror}") from error

    found: list[str] = []
    for base, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        texts = [name for name in files if _is_text(name)]
        for name in itertools.chain(folders, texts):
            _refuse_link(os.path.join(base, name), field)
        for name in texts:
            _refuse_no_file(os.path.join(base, name), field)
        relative = Path(os.path.relpath(base, folder))
        found += [(relative / name).as_posix() for name in texts]
    return sorted(found, key=lambda path: path.split("/"))


def folder_labels(texts: list[str]) -> list[str] | None:
    """Read the labels off the paths of a text folder, as ``label/….txt``.

    Args:
        texts: What `text_files` returned.

    Returns:
        The first sub-folder of each text, or None when any text lies directly in the folder.
    """
    if not all("/" in path for path in texts):
        return None
    return [path.split("/", 1)[0] for path in texts]


def near_paths_hint(path: str) -> str:
    """Give ``; did you mean 'x'?`` for paths that exist and are spelled nearly so, or nothing."""
    near = _near_paths(os.path.normpath(os.path.expanduser(path)))
    return f"; did you mean {' or '.join(repr(match) for match in near)}?" if near else ""


def _near_paths(path: str) -> list[str]:
    parent, name = os.path.split(path)
    if parent and not os.path.isdir(parent):
        parents = _near_paths(parent)
        inside = [os.path.join(near, name) for near in parents]
        return [near for near in inside if os.path.exists(near)] or parents
    try:
        with os.scandir(parent or ".") as entries:
            names = sorted(e.name for e in itertools.islice(entries, _MAX_NAMES_COMPARED))
    except OSError:
        return []
    return [os.path.join(parent, near) for near in difflib.get_close_matches(name, names)]


def _is_text(name: str) -> bool:
    return not name.startswith(".") and file_format(name) == ("txt", False)


def _data_files(path: str, field: str) -> list[str]:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise DataError(f"{field}: cannot list {path!r}: {error.strerror}") from error
    kept = [
        name
        for name in names
        if not name.startswith(".")
        and file_format(name) not in (None, ("txt", False))
        and not os.path.isdir(os.path.join(path, name))
    ]
    for name in kept:
        _refuse_link(os.path.join(path, name), field)
        _refuse_no_file(os.path.join(path, name), field)
    return kept


def _refuse_link(path: str, field: str) -> None:
    if os.path.islink(path):
        raise DataError(
            f"{field}: {path!r} is a symbolic link inside a folder, and those are not followed; "
            "name its target as an entry of its own, or take it out of the folder"
        )


def _refuse_no_file(path: str, field: str) -> None:
    # Opening a pipe waits for its writer, and a device may never end.
    if not os.path.isfile(path):
        what = "a pipe, a socket or a device" if os.path.exists(path) else "a link to nothing"
        if not os.path.lexists(path):
            raise DataError(f"{field}: {path!r} has just vanished")
        raise DataError(
            f"{field}: {path!r} is no file but {what}; standard input, named '-', may be a stream"
        )


def _refuse_several_splits(path: str, field: str, names: list[str]) -> None:
    """Refuse a folder that would mix its train, validation and test files into one corpus."""
    splits = {match[1].lower() for name in names if (match := _SPLIT_NAME.match(name))}
    if len(splits) > 1:
        raise DataError(
            f"{field}: folder {path!r} holds several splits ({quote_all(sorted(set(names)))}); "
            "name the one that is meant"
        )


def _refuse_named_twice(sources: list[Source]) -> None:
    seen: set[str] = set()
    for source in sources:
        key = os.path.realpath(source.path) if source.path is not None else source.name
        if key in seen:
            raise DataError(f"{source.field} names {source.name!r} twice")
        seen.add(key)
