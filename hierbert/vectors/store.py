"""The files of one encoder's vectors: immutable, mapped into memory, found by document.

A file holds the vectors of some documents as safetensors: `segment_vectors` (P, H),
`sentence_vectors` (N, H), both float32 or float16, and for each document its `keys` (D, 16),
`counts` of segments and sentences (D, 2) and `checksums` (D,). It is there whole or not at all, and
never changed: any number of processes may add, read and remove files at once, without a lock.

Invariant: what `get` returns is what was added. A file that is cut short or otherwise not whole is
removed when it is opened; a document whose bytes changed on the disk is found by its checksum when
it is first read, and then counts as missing.
"""

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hierbert.files import write_whole
from hierbert.log import log
from hierbert.vectors.keys import KEY_BYTES
from hierbert.vectors.limit import ENDING

_NAMES = ("segment_vectors", "sentence_vectors", "keys", "counts", "checksums")
_DTYPES = (torch.float32, torch.float16)
# A caller who asks for one document at a time leaves one file each; many of them are made one.
_SMALL_BYTES = 2**20
_MOST_SMALL_FILES = 64
# Another process may remove files between our listing and opening them.
_LISTINGS = 3


@dataclass(frozen=True)
class Entry:
    """Vectors of one document, on the CPU, both float32 or both float16.

    Attributes:
        key: See `document_key`.
        segment_vectors: (S, H).
        sentence_vectors: (N, H).
    """

    key: bytes
    segment_vectors: Tensor
    sentence_vectors: Tensor

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk, but for the header of a file."""
        return self.segment_vectors.nbytes + self.sentence_vectors.nbytes + KEY_BYTES + 24


@dataclass
class _File:
    """An open file; the tensors are mapped, and stay readable when it is removed."""

    path: Path
    size_bytes: int
    segment_vectors: Tensor
    sentence_vectors: Tensor
    keys: list[bytes]
    ends: npt.NDArray[np.int64]  # of segments and sentences before each row, and after the last
    checksums: list[int]
    checked: bytearray
    used: bool = False

    def entry(self, row: int) -> Entry:
        starts, ends = self.ends[row : row + 2].tolist()
        segments, sentences = map(slice, starts, ends)
        return Entry(
            self.keys[row], self.segment_vectors[segments], self.sentence_vectors[sentences]
        )


class VectorStore:
    """Vectors of one encoder by document; the folder is made when something is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[bytes, tuple[_File, int]] = {}
        self._files: dict[str, _File] = {}

    def refresh(self) -> None:
        """Open the files that were added since, by this process or another."""
        for _ in range(_LISTINGS):
            gone = False
            for path in sorted(self.folder.glob(f"*{ENDING}")):
                try:
                    self.open(path)
                except FileNotFoundError:
                    # Maybe merged into another file, which a new listing shows.
                    gone = True
            if not gone:
                return

    def open(self, path: Path) -> None:
        """Open a file of the folder; a damaged one is removed.

        Raises:
            FileNotFoundError: It is not there.
        """
        if path.name in self._files:
            return
        try:
            file = _read(path)
        except FileNotFoundError:
            raise
        except (SafetensorError, ValueError) as error:
            _remove_damaged(path, str(error))
        except (OSError, RuntimeError) as error:
            # It may be whole: what fails is the storage, or mapping it into memory.
            log.warning(f"vectors: {path} cannot be read and is passed over ({error})")
        else:
            self._files[path.name] = file
            self._places.update((key, (file, row)) for row, key in enumerate(file.keys))

    def find(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those of some documents that are here; their files count as used now."""
        found = {key for key in keys if key in self._places}
        for key in found:
            _use(self._places[key][0])
        return found

    def get(self, key: bytes) -> Entry:
        """The vectors of a document, mapped: they are not to be written to.

        Raises:
            KeyError: They are not here, or damaged.
        """
        file, row = self._places[key]
        entry = file.entry(row)
        if not file.checked[row]:
            if _checksum(entry) != file.checksums[row]:
                del self._places[key]
                if self._files.pop(file.path.name, None) is not None:
                    _remove_damaged(file.path, "a checksum differs")
                raise KeyError(key)
            file.checked[row] = 1
        _use(file)
        return entry

    def add(self, entries: Sequence[Entry]) -> list[Path]:
        """Write the vectors of some documents, each dtype's to a file of its own: their paths.

        Raises:
            OSError, SafetensorError: They cannot be written.
        """
        written = []
        for dtype in _DTYPES:
            alike = [entry for entry in entries if entry.segment_vectors.dtype == dtype]
            if alike:
                written.append(self._write(alike, dtype))
        return written

    def merge_small_files(self) -> None:
        """Make one file of many small ones; processes that read those go on reading them.

        Raises:
            OSError, SafetensorError: It cannot be written; nothing is lost.
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

    def _write(self, entries: list[Entry], dtype: torch.dtype) -> Path:
        keys = b"".join(entry.key for entry in entries)
        counts = [(len(entry.segment_vectors), len(entry.sentence_vectors)) for entry in entries]
        tensors = {
            "segment_vectors": torch.cat([entry.segment_vectors for entry in entries]),
            "sentence_vectors": torch.cat([entry.sentence_vectors for entry in entries]),
            "keys": torch.frombuffer(bytearray(keys), dtype=torch.uint8).view(-1, KEY_BYTES),
            "counts": torch.tensor(counts, dtype=torch.int64),
            "checksums": torch.tensor([_checksum(entry) for entry in entries], dtype=torch.int64),
        }
        # The same documents have the same name: two runs that fill a cache at once share files.
        name = hashlib.sha256(f"{dtype}".encode() + keys).hexdigest()[:24]
        path = self.folder / f"{name}{ENDING}"
        write_whole(path, lambda aside: save_file(tensors, aside))
        try:
            self._files.pop(path.name, None)
            self.open(path)
        except FileNotFoundError:
            # Another process had to make room at once; what is missing is encoded again.
            log.info(f"vectors: {path} was removed by another process")
        return path


def _read(path: Path) -> _File:
    with safe_open(path, "pt") as file:
        segments, sentences, keys, counts, checksums = (file.get_tensor(name) for name in _NAMES)
    if (
        segments.dtype not in _DTYPES
        or sentences.dtype != segments.dtype
        or (keys.dtype, keys.shape[1:]) != (torch.uint8, (KEY_BYTES,))
        or (counts.dtype, counts.shape) != (torch.int64, (len(keys), 2))
        or (checksums.dtype, checksums.shape) != (torch.int64, (len(keys),))
        or counts.sum(0).tolist() != [len(segments), len(sentences)]
        or bool((counts < 0).any())
    ):
        raise ValueError("its parts do not fit each other")
    whole = keys.numpy().tobytes()
    return _File(
        path=path,
        size_bytes=path.stat().st_size,
        segment_vectors=segments,
        sentence_vectors=sentences,
        keys=[whole[at : at + KEY_BYTES] for at in range(0, len(whole), KEY_BYTES)],
        ends=np.cumsum(np.pad(counts.numpy(), ((1, 0), (0, 0))), axis=0),
        checksums=checksums.tolist(),
        checked=bytearray(len(keys)),
    )


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
