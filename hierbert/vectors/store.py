"""The files of one encoder's vectors: immutable, found by document, read as they are asked for.

A file holds the vectors of some documents as safetensors: `segment_vectors` (P, H),
`sentence_vectors` (N, H), both float32 or float16, and for each document its `keys` (D, 16),
`counts` of segments and sentences (D, 2) and `checksums` (D,); a checksum of these three stands in
its header. It is there whole or not at all, and never changed: any number of processes may add,
read and remove files at once, without a lock.

Invariant: what `get` returns is what was added. A file that is cut short or otherwise not whole is
removed when it is opened; a document whose bytes changed on the disk is found by its checksum
whenever it is read, and then counts as missing. Files are read, not mapped into memory, where one
that another process cuts short would end this one. What is no plain file is passed over.
"""

import contextlib
import hashlib
import json
import math
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor

from hierbert.files import is_in_the_way, open_plain, write_whole
from hierbert.log import log
from hierbert.model.ragged import joined
from hierbert.vectors.keys import KEY_BYTES
from hierbert.vectors.limit import ENDING, FILE_NAME

_NAMES = ("segment_vectors", "sentence_vectors", "keys", "counts", "checksums")
_INDEX = "checksum"
_DTYPES = (torch.float32, torch.float16)
_SAFETENSORS = {
    "F32": torch.float32, "F16": torch.float16, "I64": torch.int64, "U8": torch.uint8
}  # fmt: skip
# A caller who asks for one document at a time leaves one file each; many of them are made one.
_SMALL_BYTES = 2**20
_MOST_SMALL_FILES = 64
# Another process may remove files between our listing and opening them.
_LISTINGS = 3
# Of the files that a process may have open, which are a thousand on many systems.
_MOST_OPEN_FILES = 256


@dataclass(frozen=True)
class Entry:
    """Vectors of one document, on the CPU, both float32 or both float16."""

    key: bytes  # See `document_key`.
    segment_vectors: Tensor  # (S, H).
    sentence_vectors: Tensor  # (N, H).

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk, but for the header of a file."""
        return self.segment_vectors.nbytes + self.sentence_vectors.nbytes + KEY_BYTES + 24


class _Reader:
    """An open file, which is read whatever becomes of its name; closed with its last user."""

    def __init__(self, path: Path) -> None:
        self._handle = open_plain(path)
        self.size = os.fstat(self._handle).st_size

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # When Python ends, the modules' names are gone; a file that could not be opened has none.
        if (handle := getattr(self, "_handle", None)) is not None:
            close(handle)

    def read(self, at: int, size: int) -> bytearray:
        """Bytes from a place on, all of them; a ValueError where the file ends before."""
        content = bytearray(size)
        done = 0
        while done < size:
            got = os.preadv(self._handle, [memoryview(content)[done:]], at + done)
            if not got:
                raise ValueError("it is cut short")
            done += got
        return content


@dataclass(frozen=True)
class _Array:
    """Where a tensor is in a file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    at: int

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def rows(self, reader: _Reader, first: int, after: int) -> Tensor:
        size = (after - first) * self.row_bytes
        shape = (after - first, *self.shape[1:])
        if not size:
            return torch.empty(shape, dtype=self.dtype)
        content = reader.read(self.at + first * self.row_bytes, size)
        return torch.frombuffer(content, dtype=self.dtype).view(shape)


@dataclass(eq=False)
class _File:
    """A file by its index. It is open at first; of many files those opened first are closed."""

    path: Path
    reader: _Reader | None
    size_bytes: int
    segment_vectors: _Array
    sentence_vectors: _Array
    keys: list[bytes]
    ends: npt.NDArray[np.int64]  # of segments and sentences before each row, and after the last
    checksums: list[int]
    used: bool = False

    def entry(self, row: int, reader: _Reader) -> Entry:
        """A document's vectors; a ValueError where they are not as they were written."""
        (segment, sentence), (segments, sentences) = self.ends[row : row + 2].tolist()
        entry = Entry(
            self.keys[row],
            self.segment_vectors.rows(reader, segment, segments),
            self.sentence_vectors.rows(reader, sentence, sentences),
        )
        if _checksum(entry) != self.checksums[row]:
            raise ValueError("a checksum differs")
        return entry


class VectorStore:
    """Vectors of one encoder by document; the folder is made when something is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[bytes, tuple[_File, int]] = {}
        self._files: dict[str, _File] = {}
        self._open: deque[_File] = deque()

    @property
    def is_in_the_way(self) -> bool:
        """Whether its folder's name is that of a link or a file, so that nothing is kept."""
        return is_in_the_way(self.folder, folder=True)

    def refresh(self) -> None:
        """Open the files that were added since, by this process or another."""
        if self.is_in_the_way:
            return
        for _ in range(_LISTINGS):
            gone = False
            for path in sorted(self.folder.glob(f"*{ENDING}")):
                if not FILE_NAME.fullmatch(path.name):
                    continue
                try:
                    self.open(path)
                except FileNotFoundError:
                    # Maybe merged into another file, which a new listing shows.
                    gone = True
            if not gone:
                return

    def open(self, path: Path) -> None:
        """Open a file of the folder, or a FileNotFoundError; a damaged one is removed."""
        if path.name in self._files:
            return
        try:
            file = _opened(path)
        except FileNotFoundError:
            raise
        except ValueError as error:
            _remove_damaged(path, str(error))
        except OSError as error:
            # It may be whole, where the storage fails, or not ours.
            log.warning(f"vectors: {path} cannot be read and is passed over ({error})")
        else:
            self._keep_open(file)
            self._files[path.name] = file
            self._places.update((key, (file, row)) for row, key in enumerate(file.keys))

    def find(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those of some documents that are here; their files count as used now."""
        found = {key for key in keys if key in self._places}
        for key in found:
            _use(self._places[key][0])
        return found

    def check(self, keys: Iterable[bytes]) -> None:
        """Read those of some documents that are here; of a file that is damaged nothing is left.

        What was encoded and written together is so missing together, and encoded to the same bits.
        """
        for key in keys:
            if key in self._places:
                file, _ = self._places[key]
                try:
                    self.get(key)
                except KeyError:
                    for other in file.keys:
                        if self._places.get(other, (None, 0))[0] is file:
                            del self._places[other]

    def get(self, key: bytes) -> Entry:
        """The vectors of a document; a KeyError where they are not here, or damaged."""
        file, row = self._places[key]
        try:
            reader = file.reader or self._reopened(file)
            entry = file.entry(row, reader)
        except FileNotFoundError:
            # Removed to make room, or merged into another file.
            self._forget(key, file)
            self.refresh()
            return self.get(key)
        except ValueError as error:
            if self._forget(key, file):
                _remove_damaged(file.path, str(error))
            raise KeyError(key) from error
        except OSError as error:
            self._forget(key, file)
            log.warning(f"vectors: {file.path} cannot be read ({error})")
            raise KeyError(key) from error
        _use(file)
        return entry

    def _forget(self, key: bytes, file: _File) -> bool:
        """Look for a document there no more; whether the file was still listed."""
        self._places.pop(key, None)
        return self._files.pop(file.path.name, None) is not None

    def _keep_open(self, file: _File) -> None:
        self._open.append(file)
        if len(self._open) > _MOST_OPEN_FILES:
            self._open.popleft().reader = None

    def _reopened(self, file: _File) -> _Reader:
        file.reader = reader = _Reader(file.path)
        self._keep_open(file)
        return reader

    def add(self, entries: Sequence[Entry]) -> list[Path]:
        """Write the vectors of some documents, each dtype's to a file of its own: their paths.

        An OSError or SafetensorError where they cannot be written, as of the next.
        """
        written = []
        for dtype in _DTYPES:
            alike = [entry for entry in entries if entry.segment_vectors.dtype == dtype]
            if alike and (path := self._write(alike, dtype)) is not None:
                written.append(path)
        return written

    def merge_small_files(self) -> None:
        """Make one file of many small ones, of which nothing is lost where that cannot be written.

        Processes that read those go on reading them.
        """
        small = [file for file in self._files.values() if file.size_bytes < _SMALL_BYTES]
        if len(small) < _MOST_SMALL_FILES:
            return
        # In the order of keys, so that two processes that merge the same files write the same.
        entries = []
        for key in sorted({key for file in small for key in file.keys}):
            with contextlib.suppress(KeyError):
                entries.append(self.get(key))
        merged = {path.name for path in self.add(entries)}
        for file in small:
            if file.path.name not in merged:
                self._files.pop(file.path.name, None)
                _unlink(file.path)

    def _write(self, entries: list[Entry], dtype: torch.dtype) -> Path | None:
        keys = b"".join(entry.key for entry in entries)
        counts = [(len(entry.segment_vectors), len(entry.sentence_vectors)) for entry in entries]
        tensors = {
            "segment_vectors": joined([entry.segment_vectors for entry in entries]),
            "sentence_vectors": joined([entry.sentence_vectors for entry in entries]),
            "keys": torch.frombuffer(bytearray(keys), dtype=torch.uint8).view(-1, KEY_BYTES),
            "counts": torch.tensor(counts, dtype=torch.int64),
            "checksums": torch.tensor([_checksum(entry) for entry in entries], dtype=torch.int64),
        }
        # The same documents have the same name: two runs that fill a cache at once share files.
        name = hashlib.sha256(f"{dtype}".encode() + keys).hexdigest()[:24]
        path = self.folder / f"{name}{ENDING}"
        if is_in_the_way(path):
            log.warning(f"vectors: {path} is no plain file and is passed over")
            return None
        header = {_INDEX: _index_checksum([tensors[name] for name in _NAMES[2:]])}
        write_whole(path, lambda aside: save_file(tensors, aside, metadata=header))
        try:
            self._files.pop(path.name, None)
            self.open(path)
        except FileNotFoundError:
            # Another process had to make room at once; what is missing is encoded again.
            log.info(f"vectors: {path} was removed by another process")
        return path


def _opened(path: Path) -> _File:
    """Open a file and read its index; a ValueError where it is damaged, or no file of vectors."""
    reader = _Reader(path)
    arrays, checksum = _header(reader)
    segments, sentences = arrays["segment_vectors"], arrays["sentence_vectors"]
    keys, counts, checksums = (
        arrays[name].rows(reader, 0, arrays[name].shape[0]) for name in _NAMES[2:]
    )
    if (
        segments.dtype not in _DTYPES
        or sentences.dtype != segments.dtype
        or (keys.dtype, keys.shape[1:]) != (torch.uint8, (KEY_BYTES,))
        or (counts.dtype, counts.shape) != (torch.int64, (len(keys), 2))
        or (checksums.dtype, checksums.shape) != (torch.int64, (len(keys),))
        or counts.sum(0).tolist() != [segments.shape[0], sentences.shape[0]]
        or bool((counts < 0).any())
    ):
        raise ValueError("its parts do not fit each other")
    if checksum not in (None, _index_checksum([keys, counts, checksums])):
        raise ValueError("a checksum differs")
    whole = keys.numpy().tobytes()
    return _File(
        path=path,
        reader=reader,
        size_bytes=reader.size,
        segment_vectors=segments,
        sentence_vectors=sentences,
        keys=[whole[at : at + KEY_BYTES] for at in range(0, len(whole), KEY_BYTES)],
        ends=np.cumsum(np.pad(counts.numpy(), ((1, 0), (0, 0))), axis=0),
        checksums=checksums.tolist(),
    )


def _header(reader: _Reader) -> tuple[dict[str, _Array], str | None]:
    """The tensors of a file, which all lie within it, and the checksum of its index, if any."""
    (length,) = struct.unpack("<Q", reader.read(0, 8))
    start = 8 + length
    if start > reader.size:
        raise ValueError("it is cut short")
    try:
        header = json.loads(reader.read(8, length))
        arrays = {}
        for name in _NAMES:
            begin, end = map(int, header[name]["data_offsets"])
            dtype = _SAFETENSORS[header[name]["dtype"]]
            array = _Array(dtype, tuple(map(int, header[name]["shape"])), start + begin)
            if (
                not array.shape
                or min(begin, *array.shape) < 0
                or end - begin != math.prod(array.shape) * dtype.itemsize
            ):
                raise ValueError("its parts do not fit each other")
            if start + end > reader.size:
                raise ValueError("it is cut short")
            arrays[name] = array
        checksum = header.get("__metadata__", {}).get(_INDEX)
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"its header is none of vectors: {error}") from error
    return arrays, checksum


def _index_checksum(tensors: Sequence[Tensor]) -> str:
    total = 0
    for tensor in tensors:
        total = zlib.crc32(tensor.numpy().tobytes(), total)
    return f"{total:08x}"


def _checksum(entry: Entry) -> int:
    # Of everything that `get` returns of a document.
    counts = f"{len(entry.segment_vectors)} {entry.segment_vectors.dtype} ".encode()
    total = zlib.crc32(counts, zlib.crc32(entry.key))
    for vectors in (entry.segment_vectors, entry.sentence_vectors):
        flat = vectors.contiguous().reshape(-1).view(torch.uint8)
        total = zlib.crc32(flat.numpy().data, total)
    return total


def _use(file: _File) -> None:
    if not file.used:
        file.used = True
        # A cache that may only be read stays as it is.
        with contextlib.suppress(OSError):
            os.utime(file.path)


def _remove_damaged(path: Path, why: str) -> None:
    log.warning(
        f"vectors: {path} is damaged ({why}); it is removed and its documents encoded again"
    )
    _unlink(path)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning(f"vectors: {path} cannot be removed ({error})")
