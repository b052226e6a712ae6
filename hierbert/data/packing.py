"""Packed files: how each kind is unpacked, by the ending of its name.

Invariant: they are unpacked piece by piece, and what is damaged is told in one way.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from hierbert.errors import DataError, needing


def _zstd(raw: BinaryIO) -> Any:
    with needing("what is packed by zstd", "backports.zstd", "files", DataError):
        from backports import zstd
    return zstd.ZstdFile(raw)


PACKINGS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstd,
}
"""By the ending, what opens the file for reading."""


def is_damage(error: Exception) -> bool:
    """Whether an error of reading says that the packed data is wrong, rather than the disk."""
    kinds = (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)
    # Of bz2, an OSError without a number; of zstd, an error of its own.
    own = isinstance(error, OSError) and error.errno is None
    return isinstance(error, kinds) or own or type(error).__name__ == "ZstdError"


def unpacked_name(name: str) -> tuple[str, str]:
    """A name without the ending of its packing, and that ending; "" where it is not packed."""
    for ending in PACKINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)], ending
    return name, ""
