"""What lies in folders: texts, the labels in their paths, and names spelled nearly like another.

Invariant: nothing outside a named folder is reached through a symbolic link inside it, and nothing
is named a file that could block a reader or never end.
"""

import difflib
import itertools
import os
from pathlib import Path

from hierbert.errors import DataError, error_text

_MAX_NAMES_COMPARED = 10_000


def text_files(folder: str | Path, endings: tuple[str, ...]) -> list[str]:
    """List the files of a folder with these endings, at any depth, sorted part by part.

    Paths are relative to the folder, with ``/`` between their parts; files and folders whose names
    start with a dot are left out. A DataError where it cannot be listed, or holds a symbolic link
    to a folder or a text, or a pipe, a socket or a device named like one.
    """

    def fail(error: OSError) -> None:
        raise DataError(f"cannot be listed: {error_text(error)}", place=error.filename) from error

    found: list[str] = []
    for base, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        texts = [n for n in files if n.lower().endswith(endings) and not n.startswith(".")]
        for name in folders + texts:
            refuse_link(os.path.join(base, name))
        for name in texts:
            refuse_no_file(os.path.join(base, name))
        relative = Path(os.path.relpath(base, folder))
        found += [(relative / name).as_posix() for name in texts]
    return sorted(found, key=lambda path: path.split("/"))


def folder_labels(texts: list[str]) -> list[str] | None:
    """The first sub-folder of each of `text_files`; None when any lies directly in the folder."""
    if not all("/" in path for path in texts):
        return None
    return [path.split("/", 1)[0] for path in texts]


def refuse_link(path: str) -> None:
    """Refuse (DataError) a symbolic link that lies in a folder."""
    if os.path.islink(path):
        raise DataError(
            "is a symbolic link inside a folder, and those are not followed; name its target as "
            "an entry of its own, or take it out of the folder",
            place=path,
        )


def refuse_no_file(path: str) -> None:
    """Refuse (DataError) what is no plain file: a pipe would block, a device never ends."""
    if os.path.isfile(path):
        return
    if not os.path.lexists(path):
        raise DataError("has just vanished", place=path)
    what = "a pipe, a socket or a device" if os.path.exists(path) else "a link to nothing"
    raise DataError(
        f"is no file but {what}; standard input, named '-', may be a stream", place=path
    )


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
