"""Vectors of a frozen encoder, computed once and kept on disk.

One file holds the vectors of some documents and is never changed after it was written whole.
Documents are found by a hash of their tokens and sentences, in a folder named by a hash of the
encoder's weights and pooling: a changed text, encoder or segmentation finds nothing and is
encoded anew. The files are safetensors and mapped into memory.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hierbert.cache import reason, write_whole
from hierbert.data.documents import PreparedDocument, collate_documents
from hierbert.data.plan import deal_all, fill_batches
from hierbert.errors import RunError
from hierbert.model.modeling_hierbert import HierBertModel
from hierbert.model.segmentation import SegmentedDocument
from hierbert.progress import Progress, say

_TOKENS_PER_BATCH = 16_384
# So much is lost at most when a run is interrupted while it encodes.
_TOKENS_PER_FILE = 262_144
# A part of every document's key: raised when what a key stands for changes, so that older files
# find nothing.
_KEY_VERSION = "2"


class VectorCache:
    """The vectors of documents under one encoder.

    Args:
        folder: Where caches are; this encoder's is a folder in it.
        model: The model whose frozen encoder and pooling make the vectors.
    """

    def __init__(self, folder: Path, model: HierBertModel) -> None:
        self.folder = folder / f"vectors-{encoder_fingerprint(model)}"
        self._places: dict[str, tuple[Any, tuple[int, int], tuple[int, int]]] = {}
        self._read: set[Path] = set()

    def get(self, document: SegmentedDocument) -> tuple[Tensor, Tensor]:
        """Segment vectors, float32 (S, H), and sentence vectors, float32 (N, H), of a document.

        Raises:
            KeyError: It was not encoded; see `fill`.
        """
        file, segments, sentences = self._places[document_key(document)]
        return (
            file.get_slice("segment_vectors")[segments[0] : segments[1]],
            file.get_slice("sentence_vectors")[sentences[0] : sentences[1]],
        )

    def batch(self, documents: Sequence[SegmentedDocument]) -> tuple[Tensor, Tensor]:
        """The vectors of several documents one after the other, (P, H) and (N, H)."""
        parts = [self.get(document) for document in documents]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def fill(
        self, documents: Sequence[PreparedDocument], model: HierBertModel, accelerator: Accelerator
    ) -> int:
        """Encode what is not in the cache; each process takes a share and waits for the others.

        Args:
            documents: All documents that will be asked for.
            model: On its device.
            accelerator: The run's.

        Returns:
            Tokens that were encoded here.

        Raises:
            RunError: The cache cannot be written, or is not shared by all processes.
        """
        self._open_files()
        # Every process must see the same gaps before any of them is filled.
        accelerator.wait_for_everyone()
        missing = {
            document_key(document.segmented): document
            for document in documents
            if document_key(document.segmented) not in self._places
        }
        todo = list(missing.values())
        sizes = [document.tokens for document in todo]
        shares = deal_all(range(len(todo)), sizes, accelerator.num_processes)
        mine = [todo[index] for index in shares[accelerator.process_index]]
        found = len({document_key(document.segmented) for document in documents}) - len(todo)
        if found:
            say(f"vectors: {found:,} documents from {self.folder}, {len(todo):,} to encode")
        problem = None
        try:
            self._encode(mine, model, accelerator.device)
        except RunError as error:
            problem = str(error)
        # What goes wrong on one process stops all, and the first one says so.
        problems = [text for text in gather_object([problem]) if text]
        if problems:
            raise RunError(problems[0])
        self._open_files()
        lost = sum(key not in self._places for key in missing)
        if sum(gather_object([lost])):
            raise RunError(
                f"the vector cache {self.folder} lacks vectors that were written just now: "
                "training.cache_dir must be on storage that all machines of the run share, and "
                "nothing may remove its files"
            )
        return sum(document.tokens for document in mine)

    def size_bytes(self) -> int:
        """Bytes of this encoder's files."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    def _encode(
        self, documents: list[PreparedDocument], model: HierBertModel, device: torch.device
    ) -> None:
        if not documents:
            return
        waiting: list[tuple[str, Tensor, Tensor]] = []
        tokens = 0
        was_training = model.training
        model.eval()
        # Longest last: the time left is estimated from tokens, and batches fill better.
        sizes = [document.tokens for document in documents]
        with Progress(sum(sizes), "encoding", unit="tokens") as bar, torch.no_grad():
            for indices in fill_batches(sizes, _TOKENS_PER_BATCH):
                batch = [documents[index] for index in indices]
                inputs = collate_documents(batch, None, summarize=False)
                segment_vectors, sentence_vectors = model.segment_encoder(
                    inputs["input_ids"].to(device),
                    inputs["segment_lengths"].to(device),
                    inputs["sentence_index"].to(device),
                    int(inputs["sentences_per_document"].sum()),
                )
                segments = (
                    segment_vectors.float().cpu().split(inputs["segments_per_document"].tolist())
                )
                sentences = (
                    sentence_vectors.float().cpu().split(inputs["sentences_per_document"].tolist())
                )
                for document, one, other in zip(batch, segments, sentences, strict=True):
                    waiting.append((document_key(document.segmented), one, other))
                done = sum(document.tokens for document in batch)
                tokens += done
                bar.advance(done)
                if tokens >= _TOKENS_PER_FILE:
                    self._write(waiting)
                    waiting, tokens = [], 0
        self._write(waiting)
        model.train(was_training)

    def _write(self, entries: list[tuple[str, Tensor, Tensor]]) -> None:
        if not entries:
            return
        keys = [key for key, _, _ in entries]
        counts = [(len(segments), len(sentences)) for _, segments, sentences in entries]
        tensors = {
            "segment_vectors": torch.cat([segments for _, segments, _ in entries]),
            "sentence_vectors": torch.cat([sentences for _, _, sentences in entries]),
        }
        metadata = {"keys": json.dumps(keys), "counts": json.dumps(counts)}
        name = hashlib.sha256("".join(keys).encode()).hexdigest()[:24]
        try:
            write_whole(
                self.folder / f"{name}.safetensors",
                lambda aside: save_file(tensors, aside, metadata=metadata),
            )
        except (OSError, SafetensorError) as error:
            raise _not_writable(self.folder, error) from error

    def _open_files(self) -> None:
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in self._read:
                continue
            try:
                file = safe_open(path, "pt")
                metadata = file.metadata() or {}
                keys, counts = json.loads(metadata["keys"]), json.loads(metadata["counts"])
            except (SafetensorError, OSError, KeyError, ValueError) as error:
                # Not marked as read: its documents are encoded anew, maybe under the same name.
                say(f"vectors: {path} is damaged and passed over ({error})")
                continue
            segments = sentences = 0
            for key, (more_segments, more_sentences) in zip(keys, counts, strict=True):
                self._places[key] = (
                    file,
                    (segments, segments + more_segments),
                    (sentences, sentences + more_sentences),
                )
                segments += more_segments
                sentences += more_sentences
            self._read.add(path)


def check_cache(folder: Path) -> None:
    """Refuse a cache that cannot be written, before anything costs time.

    Args:
        folder: Where caches are; it is made.

    Raises:
        RunError: Nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: Exception) -> RunError:
    return RunError(
        f"the vector cache {folder} cannot be written: {reason(error)}; free some room there, or "
        "set training.cache_dir or HIERBERT_CACHE to another folder"
    )


def document_key(document: SegmentedDocument) -> str:
    """Hash of what a segment encoder reads of a document."""
    digest = hashlib.blake2b(digest_size=16)
    # Sentences without tokens are in no tensor, but each has a vector.
    digest.update(f"{_KEY_VERSION} {len(document.sentence_spans)} ".encode())
    for part in (document.input_ids, document.segment_lengths, document.sentence_index):
        digest.update(str(len(part)).encode())
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()


def encoder_fingerprint(model: HierBertModel) -> str:
    """Hash of a segment encoder: its weights, its configuration and the pooling."""
    digest = hashlib.blake2b(digest_size=12)
    config = model.config.encoder_config.to_diff_dict()
    for unimportant in ("_name_or_path", "transformers_version", "dtype"):
        config.pop(unimportant, None)
    digest.update(json.dumps([config, model.config.pooling], sort_keys=True, default=str).encode())
    for name, weight in sorted(model.segment_encoder.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
