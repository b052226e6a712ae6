"""What a run's numbers follow from, as short hashes: its documents, its plan, its frozen weights.

The documents' hashes are also kept one by one in the run folder (documents.jsonl), so that a resume
with another corpus can say which documents differ. It refuses nothing itself.

Invariant: equal hashes mean equal numbers, on the same machine and library versions.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hierbert.cache import write_whole
from hierbert.config import RunConfig
from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.errors import RunError, error_text
from hierbert.fingerprints import add_settings, add_weights, plain_config
from hierbert.model.modeling_hierbert import HierBertForDocuments

DOCUMENTS = "documents.jsonl"
_NAMED = 5
_CHARACTERS_OF_ID = 60


@dataclass(frozen=True)
class CorpusPrint:
    """One split.

    Attributes:
        documents: Id and hash of each document: of its text, label and summary.
        read: Hash of what the tokenizer and the segmentation make of all of them.
    """

    documents: list[tuple[str, str]]
    read: str

    @property
    def whole(self) -> str:
        """Hash of the documents in their order."""
        return _whole(self.documents)


def corpus_print(documents: Sequence[PreparedDocument], label_map: LabelMap | None) -> CorpusPrint:
    """Hash a split.

    Args:
        documents: Of the split, in order.
        label_map: Names the labels; None without labels.

    Returns:
        The hashes.
    """
    names = label_map.names if label_map is not None else []
    found, read = [], hashlib.blake2b(digest_size=16)
    for document in documents:
        label = document.label
        if names and label is not None:
            label = [names[i] for i in label] if isinstance(label, list) else names[label]
        segmented = document.segmented
        found.append((document.id, _hash([segmented.text, label, document.summary])))
        spans = [segmented.sentence_spans, segmented.segment_spans]
        read.update(json.dumps([spans, document.sentence_labels]).encode())
        for values in (segmented.input_ids, segmented.segment_lengths, segmented.sentence_index):
            read.update(values.numpy().tobytes())
    return CorpusPrint(found, read.hexdigest())


def known_by_state(prints: Mapping[str, CorpusPrint]) -> dict[str, str]:
    """The hashes of splits as a checkpoint keeps them."""
    known = {}
    for name, split in prints.items():
        known[name] = split.whole
        known[f"{name}.read"] = split.read
    return known


def plan_print(config: RunConfig, sizes: Sequence[int]) -> str:
    """Hash of what the order of documents follows from, but for the epoch.

    Args:
        config: Of the run.
        sizes: Tokens of each training document.
    """
    settings = config.training
    return _hash([config.seed, settings.documents_per_batch, settings.group_by_length, list(sizes)])


def judge_print(
    config: RunConfig, model: HierBertForDocuments, validation: CorpusPrint, frozen: str
) -> str:
    """Hash of what the best weights are chosen by: all that an evaluation reads but for them.

    Args:
        config: Of the run.
        model: Its configuration decides how answers and losses are made of weights.
        validation: The documents.
        frozen: As `frozen_print` gives it.
    """
    settings = config.training
    made = plain_config(model.config)
    # Dropout is off in an evaluation, and the labels' unit is the checkpoint's.
    for name in ("dropout", "label_mean", "label_scale"):
        made.pop(name, None)
    how = [settings.metric, settings.mixed_precision, made, frozen]
    if settings.freeze_encoder:
        how.append(settings.cache_dtype)
    return _hash([how, validation.whole, validation.read])


def frozen_print(model: nn.Module) -> str:
    """Hash of the weights that training does not change and no checkpoint holds."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in model.named_parameters():
        if not value.requires_grad:
            digest.update(name.encode())
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def encoder_print(model: HierBertForDocuments) -> str:
    """Hash of a pretrained encoder, wherever it lies: its settings and all its weights.

    Args:
        model: Just built, before any step.
    """
    digest = hashlib.blake2b(digest_size=16)
    add_settings(digest, plain_config(model.config.encoder_config))
    add_weights(digest, model.hierbert.segment_encoder)
    return digest.hexdigest()


def save_documents(folder: Path, prints: Mapping[str, CorpusPrint]) -> None:
    """Keep the hashes of all documents in the run folder; on one process only.

    Args:
        folder: The run's.
        prints: By split.

    Raises:
        RunError: The file cannot be written.
    """

    def write(aside: Path) -> None:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            for name, split in prints.items():
                for identity, known in split.documents:
                    file.write(json.dumps([name, identity, known]) + "\n")

    path = folder / DOCUMENTS
    try:
        write_whole(path, write)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error_text(error)}; mend that and go on with --resume"
        ) from error


def read_documents(folder: Path) -> dict[str, list[tuple[str, str]]] | None:
    """What `save_documents` kept, by split; None where it is missing or damaged."""
    splits: dict[str, list[tuple[str, str]]] = {}
    try:
        with (folder / DOCUMENTS).open(encoding="utf-8") as file:
            for line in file:
                name, identity, known = json.loads(line)
                splits.setdefault(name, []).append((identity, known))
    except (OSError, ValueError, TypeError):
        return None
    return splits


def corpus_differences(
    before: Mapping[str, str],
    kept: Mapping[str, list[tuple[str, str]]] | None,
    now: Mapping[str, CorpusPrint],
) -> list[str]:
    """What is different about the documents of a run, in words.

    Args:
        before: As `known_by_state` gave it; empty takes `kept` for what was before.
        kept: The documents one by one; None where they are not known any more.
        now: The documents as they are.

    Returns:
        One line for each split that differs, beginning with its setting.
    """
    if not before:
        before = {name: _whole(documents) for name, documents in (kept or {}).items()}
        if not before:
            return []
    differences = []
    for name in ("train", "validation", "test"):
        if name not in before and name not in now:
            continue
        split, there = now.get(name), (kept or {}).get(name, [])
        if split is None or before.get(name) != split.whole:
            if kept is not None and _whole(there) == before.get(name, _whole([])):
                what = _compare(there, split.documents if split else [])
            else:
                what = "other documents (which ones is not known any more)"
            differences.append(f"data.{name}: {what}")
        elif before.get(f"{name}.read", split.read) != split.read:
            differences.append(
                f"data.{name}: the same documents, read as other tokens or sentences (another "
                "tokenizer, segmentation or version)"
            )
    return differences


def _compare(before: list[tuple[str, str]], now: list[tuple[str, str]]) -> str:
    old, new = dict(before), dict(now)
    groups = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and old[name] != new[name]],
    }
    parts = [f"{len(ids):,} {what} ({_named(ids)})" for what, ids in groups.items() if ids]
    return ", ".join(parts) or "the same documents in another order"


def _named(ids: list[str]) -> str:
    shown = [
        name if len(name) <= _CHARACTERS_OF_ID else f"{name[:_CHARACTERS_OF_ID]}..."
        for name in ids[:_NAMED]
    ]
    return ", ".join(shown) + (", ..." if len(ids) > _NAMED else "")


def _whole(documents: list[tuple[str, str]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for identity, known in documents:
        digest.update(json.dumps([identity, known]).encode())
    return digest.hexdigest()


def _hash(value: Any) -> str:
    # ASCII escapes, so that lone surrogates of a text do no harm.
    return hashlib.blake2b(
        json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16
    ).hexdigest()
