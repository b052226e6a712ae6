"""The folder of a job's pages: one for each document, and lists of them.

Every process of a job writes the pages of the rows that it answers, before these count as done; the
lists are made in the end. Invariants: a page is there whole or not at all; its name follows from
the row alone, so that done again it is the same file; nothing that is no page is ever removed.
"""

import contextlib
import html
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierbert.errors import RunError
from hierbert.files import write_text, writing
from hierbert.log import log
from hierbert.pages.document import ENTRY, document_page
from hierbert.pages.index import INDEX, write_index
from hierbert.pages.shell import GENERATOR

DEFAULT_LIMIT = 1_000
_LONGEST_SLUG = 60
_FINGERPRINT = 12
_PAGE = re.compile(rf"(index(-\d+)?|[a-z0-9-]+-[0-9a-f]{{{_FINGERPRINT}}})\.html")
# What was being written when a process was killed, see `files.write_whole`.
_TORN = re.compile(rf"\.{_PAGE.pattern}\.[0-9a-f]{{8}}")
_HEAD_BYTES = 16_384
_ENTRY = re.compile(rf'<meta name="{ENTRY}" content="([^"]*)">')


def page_name(document_id: str, fingerprint: str) -> str:
    """The file of a page: letters of the id for people, and what no other row has.

    Of ASCII letters, digits and hyphens, so that every system and every address can hold it.
    """
    plain = unicodedata.normalize("NFKD", document_id[:1_000]).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower())[:_LONGEST_SLUG].strip("-")
    return f"{slug or 'document'}-{fingerprint[:_FINGERPRINT]}.html"


@dataclass(frozen=True)
class PageFolder:
    """Where pages go; what cannot be written is a RunError of one line.

    Attributes:
        path: The folder.
        limit: Documents of the input, from the first on, that get a page.
    """

    path: Path
    limit: int = DEFAULT_LIMIT

    def check(self, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that cannot be it, or holds what pages would lie among."""
        with self._writing():
            if not self.path.parent.is_dir():
                raise RunError(f"--html {self.path}: there is no folder {self.path.parent}")
            if not self.path.exists() and not self.path.is_symlink():
                return
            if not self.path.is_dir():
                raise RunError(f"--html {self.path} is no folder; name one for the pages")
            for path in sorted(self.path.iterdir()):
                if not _is_ours(path):
                    raise RunError(
                        f"--html: {self.path} holds {path.name!r}, which is no page of a job; "
                        "name another folder"
                    )
                if not (resume or overwrite):
                    raise RunError(
                        f"--html: {self.path} holds pages of another job; --overwrite replaces "
                        "them, or name another folder"
                    )

    def start(self, keep: bool) -> None:
        """Make the folder; without `keep`, remove the pages of another job that are there."""
        with self._writing():
            self.path.mkdir(exist_ok=True)
            for path in self.path.iterdir():
                if _is_ours(path) and not (keep and _PAGE.fullmatch(path.name)):
                    path.unlink(missing_ok=True)

    def write(self, number: int, fingerprint: str, text: str, answer: Mapping[str, Any]) -> None:
        """Write the page of a row, which has a number over all the input, from 0."""
        if number < self.limit:
            page = document_page(text, answer, index=INDEX)
            self._put(page_name(str(answer["id"]), fingerprint), page)

    def finish(self, rows: Iterable[tuple[str, str]], count: int) -> None:
        """Write the lists of the pages.

        Args:
            rows: Id and fingerprint of each row that was answered, in order.
            count: Rows of the input.
        """
        note = ""
        if count > self.limit:
            note = f"Pages of the first {self.limit:,} of {count:,} rows (--html-limit)"
        names = (page_name(document_id, fingerprint) for document_id, fingerprint in rows)
        with self._writing():
            listed = write_index(self._entries(names), self._put, note=note)
        log.info(f"--html: {listed:,} pages -> {self.path / INDEX}{note and f'; {note}'}")

    def _entries(self, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Those of them that have pages, and what these tell of themselves."""
        for name in names:
            with contextlib.suppress(OSError, ValueError, RecursionError):
                with (self.path / name).open("rb") as file:
                    head = file.read(_HEAD_BYTES).decode("utf-8", "replace")
                if found := _ENTRY.search(head):
                    yield name, json.loads(html.unescape(found[1]))

    def _put(self, name: str, page: str) -> None:
        with self._writing():
            write_text(self.path / name, page)

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(f"--html {self.path}")


def _is_ours(path: Path) -> bool:
    """Whether a file is a page, or what was left of writing one."""
    if path.is_symlink() or not path.is_file():
        return False
    if _TORN.fullmatch(path.name):
        return True
    if not _PAGE.fullmatch(path.name):
        return False
    with path.open("rb") as file:
        return f'name="generator" content="{GENERATOR}"'.encode() in file.read(_HEAD_BYTES)


def make_page_folder(folder: str, limit: int | None) -> PageFolder:
    """The folder that is asked for; absolute, so that all processes write into the same."""
    path = Path(os.path.abspath(os.path.expanduser(folder)))
    return PageFolder(path, DEFAULT_LIMIT if limit is None else limit)
