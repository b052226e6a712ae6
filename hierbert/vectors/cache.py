"""Vectors of documents from the disk, or encoded now and kept there: `VectorCache`.

Training fills the cache before its first step, with all processes; evaluation and inference ask it
for batches. Invariant: a document's vectors are the same numbers (float32: up to rounding) whether
they were found or encoded, so that damage, a limit or another process costs time at worst.
"""

import bisect
import itertools
import math
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from hierbert.data.epoch_plan import share_by_tokens
from hierbert.errors import RunError, not_allowed, setting_name
from hierbert.files import writing
from hierbert.log import Progress, log
from hierbert.model.modeling_hierbert import HierBertModel
from hierbert.model.processing_hierbert import collate
from hierbert.model.ragged import all_finite, batches_by_tokens, joined
from hierbert.model.segmentation import SegmentedDocument
from hierbert.vectors.keys import document_key, encoder_fingerprint
from hierbert.vectors.limit import GIB, default_limit_bytes, make_room, used_bytes
from hierbert.vectors.store import Entry, VectorStore

DTYPES = {"float32": torch.float32, "float16": torch.float16}
_TOKENS_PER_BATCH = 16_384
# So much is lost at most when a run is interrupted while it encodes.
_TOKENS_PER_FILE = 262_144
# Clocks of file systems tick slower than that of the process.
_TICK_SECONDS = 1.0


@dataclass(frozen=True)
class CacheOptions:
    """Where vectors are kept, and how.

    Attributes:
        folder: Where caches are; each encoder's is a folder in it.
        dtype: "float32" keeps what was computed; "float16" takes half the room and keeps each
            number to one part in 2,048 (below 6e-5: to 3e-8), also of what was encoded just now;
            a document with numbers beyond 65,504 is kept as float32.
        limit_gib: Most GiB (2^30 bytes) of the whole folder, all encoders together; None for
            half of the disk's free room. When it is reached, files that were not used for
            longest are removed, never those of the running job; what still does not fit is
            encoded each time it is asked for.

    Raises:
        ConfigError: There is no such dtype, or the limit is not above 0.
    """

    folder: str | os.PathLike[str]
    dtype: str = "float32"
    limit_gib: float | None = None

    def __post_init__(self) -> None:
        limit = 1.0 if self.limit_gib is None else self.limit_gib
        for name, value, fits, allowed in (
            ("cache_dtype", self.dtype, self.dtype in DTYPES, ", ".join(DTYPES)),
            ("cache_limit_gib", limit, 0 < limit < math.inf, "a number above 0"),
        ):
            if not fits:
                raise not_allowed(f"training.{name}", value, allowed)


class VectorCache:
    """The vectors of documents under one encoder, which must not change meanwhile.

    Its folder is made.

    Args:
        options: Where and how to keep them; a path stands for all defaults.
        model: Makes vectors, on its device, and names them by its weights.

    Attributes:
        found: Documents that were asked for and were there.
        encoded: Documents that were asked for and were not.

    Raises:
        RunError: The folder cannot be written.
    """

    def __init__(
        self,
        options: str | os.PathLike[str] | CacheOptions,
        model: HierBertModel,
    ) -> None:
        if not isinstance(options, CacheOptions):
            options = CacheOptions(options)
        self.options = options
        self.model = model
        self.root = Path(os.path.expanduser(options.folder))
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        self.limit = default_limit_bytes(self.root)
        if options.limit_gib is not None:
            self.limit = int(options.limit_gib * GIB)
        # What is kept as float16 is not what a run with float32 is to find.
        name = f"vectors-{encoder_fingerprint(model)}-{options.dtype}"
        self.folder = self.root / name
        self.store = VectorStore(self.folder)
        self.found = self.encoded = 0
        self._started = time.time() - _TICK_SECONDS
        self._keeps = not self.store.is_in_the_way
        if not self._keeps:
            log.warning(
                f"vectors: {self.folder} is no folder, but a link or a file, and is passed over; "
                "nothing is kept"
            )
        self._waiting: dict[bytes, Entry] = {}
        self._waiting_tokens = 0

    def refresh(self) -> None:
        """Open what other processes have added since."""
        self.store.refresh()

    def batch(self, documents: Sequence[SegmentedDocument]) -> tuple[Tensor, Tensor]:
        """Segment vectors, float32 (P, H), and sentence vectors, float32 (N, H), on the CPU.

        Of documents, at least one; what is not there is encoded in one pass and kept.
        """
        keys = [document_key(document) for document in documents]
        entries: dict[bytes, Entry] = {}
        missing: dict[bytes, SegmentedDocument] = {}
        for key, document in dict(zip(keys, documents, strict=True)).items():
            try:
                entries[key] = self._waiting.get(key) or self.store.get(key)
            except KeyError:
                missing[key] = document
        self.found += len(entries)
        self.encoded += len(missing)
        if missing:
            new = self._encode(missing)
            entries.update((entry.key, entry) for entry in new)
            self._wait_for_more(new, missing.values())
            if self._waiting_tokens >= _TOKENS_PER_FILE:
                self.flush()
        parts = [entries[key] for key in keys]
        return (
            joined([part.segment_vectors.float() for part in parts]),
            joined([part.sentence_vectors.float() for part in parts]),
        )

    def flush(self) -> None:
        """Write what `batch` has encoded; a disk that takes no more ends keeping, not the job."""
        try:
            self._write()
        except RunError as error:
            log.warning(f"vectors: {error}; further vectors are not kept")
            self._keeps = False

    def fill(self, documents: Sequence[SegmentedDocument], accelerator: Accelerator) -> int:
        """Encode what is not in the cache; each process takes a share and waits for the others.

        What is there is read once, so that damage is found before the first step. By rounding,
        vectors depend on what is encoded beside them: batches follow from `documents`
        alone, which are the same on every process, so that after a kill the same are encoded
        together, to the same bits. Gives the tokens that all processes encoded; a RunError where
        the cache is not shared by all of them.
        """
        self.store.refresh()
        wanted = {document_key(document): document for document in documents}
        self.store.check(sorted(wanted)[accelerator.process_index :: accelerator.num_processes])
        # Another run may fill the cache just now: the processes agree on what is missing.
        gaps = set(gather_object(sorted(wanted.keys() - self.store.find(wanted))))
        if len(gaps) < len(wanted):
            log.info(
                f"vectors: {len(wanted) - len(gaps):,} documents from {self.folder}, "
                f"{len(gaps):,} to encode"
            )
        batches = _batches_with_gaps(wanted, gaps)
        sizes = [_tokens(batch.values()) for batch in batches]
        own = share_by_tokens(range(len(batches)), sizes, accelerator.num_processes)
        written: list[Path] = []
        tokens, problem = 0, None
        try:
            written, tokens = self._fill([batches[i] for i in own[accelerator.process_index]])
        except RunError as error:
            problem = str(error)
        # What goes wrong on one process stops all, and the first one says so.
        outcomes = gather_object([(tokens, problem)])
        for _, problem in outcomes:
            if problem:
                raise RunError(problem)
        self._check_shared(written)
        lacking = len(wanted) - len(self.store.find(wanted))
        if lacking:
            log.info(
                f"vectors: {lacking:,} of {len(wanted):,} documents are not kept and are encoded "
                "in every epoch"
            )
        return sum(tokens for tokens, _ in outcomes)

    def report(self) -> str:
        """How much room this encoder's vectors and the whole cache take."""
        own, whole = used_bytes(self.root, self.folder.name), used_bytes(self.root)
        return (
            f"{_size(own)} in {self.folder}; the whole cache takes {_size(whole)} of at most "
            f"{_size(self.limit)}"
        )

    def _fill(self, batches: list[dict[bytes, SegmentedDocument]]) -> tuple[list[Path], int]:
        """Encode batches and write them: the files, and the tokens encoded."""
        if not batches:
            return [], 0
        written: list[Path] = []
        total = sum(_tokens(batch.values()) for batch in batches)
        with Progress(total, "encoding", unit="tokens") as bar:
            for batch in batches:
                self._wait_for_more(self._encode(batch), batch.values())
                bar.advance(_tokens(batch.values()))
                if self._waiting_tokens >= _TOKENS_PER_FILE:
                    written += self._write()
                if not self._keeps:
                    # What cannot be kept need not be encoded before it is asked for.
                    break
        return written + self._write(), bar.done

    def _check_shared(self, written: list[Path]) -> None:
        """Open what the other processes wrote; refuse storage where it cannot be seen."""
        # A file may be gone already, when another run found it damaged or made room.
        names = gather_object([path.name for path in written if path.exists()])
        unseen = 0
        for name in {*names} - {path.name for path in written}:
            try:
                self.store.open(self.folder / name)
            except FileNotFoundError:
                unseen += 1
        if sum(gather_object([unseen])):
            raise RunError(
                f"the vector cache {self.folder} lacks files that another process wrote just now: "
                f"{setting_name('training.cache_dir')} must be on storage that all machines of the "
                "run share"
            )

    def _encode(self, documents: dict[bytes, SegmentedDocument]) -> list[Entry]:
        encoder, device = self.model.segment_encoder, self.model.device
        inputs = collate(list(documents.values()))
        was_training = encoder.training
        encoder.eval()
        try:
            with torch.no_grad():
                segment_vectors, sentence_vectors = encoder(
                    inputs["input_ids"].to(device),
                    inputs["segment_lengths"].to(device),
                    inputs["sentence_index"].to(device),
                    int(inputs["sentences_per_document"].sum()),
                )
        finally:
            encoder.train(was_training)
        segments = segment_vectors.float().cpu().split(inputs["segments_per_document"].tolist())
        sentences = sentence_vectors.float().cpu().split(inputs["sentences_per_document"].tolist())
        dtype = DTYPES[self.options.dtype]
        return [
            _rounded(Entry(key, one, other), dtype)
            for key, one, other in zip(documents, segments, sentences, strict=True)
        ]

    def _wait_for_more(
        self, entries: Sequence[Entry], documents: Iterable[SegmentedDocument]
    ) -> None:
        if not self._keeps:
            return
        # Numbers that are not finite are a failure of the moment or of the model: never kept.
        self._waiting.update((entry.key, entry) for entry in entries if _is_finite(entry))
        self._waiting_tokens += _tokens(documents)

    def _write(self) -> list[Path]:
        """Write what the limit leaves room for: the files."""
        entries, self._waiting, self._waiting_tokens = list(self._waiting.values()), {}, 0
        if not entries:
            return []
        sizes = list(itertools.accumulate(entry.size_bytes for entry in entries))
        room = make_room(self.root, sizes[-1], self.limit, self._started)
        fitting = entries[: bisect.bisect_right(sizes, room)]
        if len(fitting) < len(entries):
            self._keeps = False
            log.info(
                f"vectors: the cache has reached its limit, cache_limit_gib="
                f"{self.limit / GIB:.4g}, and what is left in it is in use; further vectors are "
                "not kept"
            )
        with self._writing():
            written = self.store.add(fitting)
            self.store.merge_small_files()
        return written

    def _writing(self) -> AbstractContextManager[None]:
        setting = setting_name("training.cache_dir")
        then = f"; free some room there, or name another folder as {setting}"
        return writing(f"the vector cache {self.root}", then)


def _batches_with_gaps(
    wanted: dict[bytes, SegmentedDocument], gaps: set[bytes]
) -> list[dict[bytes, SegmentedDocument]]:
    """The missing documents of each batch that all of them would make."""
    batches = [
        {key: wanted[key] for key in keys if key in gaps}
        for keys in batches_by_tokens(wanted, lambda key: wanted[key].tokens, _TOKENS_PER_BATCH)
    ]
    return [batch for batch in batches if batch]


def _tokens(documents: Iterable[SegmentedDocument]) -> int:
    return sum(document.tokens for document in documents)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / GIB:,.1f} GiB" if size_bytes >= GIB else f"{size_bytes / 2**20:,.1f} MiB"


def _rounded(entry: Entry, dtype: torch.dtype) -> Entry:
    """Vectors as they are kept: what is found later is what was used at first."""
    if dtype == torch.float32:
        # A part of a larger batch would hold all of it in memory while it waits.
        return Entry(entry.key, entry.segment_vectors.clone(), entry.sentence_vectors.clone())
    half = Entry(entry.key, entry.segment_vectors.to(dtype), entry.sentence_vectors.to(dtype))
    return half if _is_finite(half) else entry


def _is_finite(entry: Entry) -> bool:
    return all_finite(entry.segment_vectors) and all_finite(entry.sentence_vectors)
