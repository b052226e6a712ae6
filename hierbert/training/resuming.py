"""Going on from the newest whole checkpoint of a run, when the run is the same.

Invariant: a run goes on with the settings, documents and encoder that it began with, so that what
comes after is bit-equal to a run that was never interrupted; or it is refused with what differs.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from hierbert.errors import RunError, quote_all
from hierbert.files import write_text
from hierbert.loading.fingerprints import add_settings
from hierbert.log import log
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.state_files import ShapeError, of_shape
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.task import Task
from hierbert.training.checkpoints import Checkpoints
from hierbert.training.processes import on_first_process
from hierbert.training.run_folder import DOCUMENTS, other_ways, writing
from hierbert.training.state import TrainerState
from hierbert.vectors.keys import encoder_fingerprint


@dataclass(frozen=True)
class RunIdentity:
    """What the numbers of a run follow from beside its settings, wherever it lies."""

    # Id and SHA-256 (of text, label and summary) of each document, by split; and of what tasks
    # define, such as nodes of a "taxonomy".
    documents: dict[str, list[tuple[str, str]]]
    # SHA-256 of the documents of each split in their order ("train"), of what the tokenizer and the
    # segmentation make of them ("train.read"), and of the pretrained encoder ("encoder").
    hashes: dict[str, str]

    def save(self, folder: Path) -> None:
        """Keep the documents' hashes in the run folder, so that a resume can say which differ.

        A RunError where they cannot be written.
        """
        lines = [
            json.dumps([split, identity, known]) + "\n"
            for split, documents in self.documents.items()
            for identity, known in documents
        ]
        with writing(folder / DOCUMENTS):
            write_text(folder / DOCUMENTS, "".join(lines))


def run_identity(
    splits: Mapping[str, Sequence[PreparedDocument]],
    tasks: Sequence[Task],
    model: HierBertForDocuments,
) -> RunIdentity:
    """Hash what a run's numbers follow from; `model` has the weights that it begins with."""
    documents: dict[str, list[tuple[str, str]]] = {}
    hashes = {}
    for split, prepared in splits.items():
        documents[split], read = [], hashlib.sha256()
        for document in prepared:
            segmented, targets = document.segmented, document.targets
            plain = {task.name: task.plain(targets[task.name]) for task in tasks}
            content = [segmented.text, plain]
            if segmented.fields:  # which documents had not in 0.1.0
                content.append(segmented.fields)
            documents[split].append((document.id, _sha256(content)))
            spans = [segmented.sentence_spans, segmented.segment_spans]
            learned = [
                asdict(target) if is_dataclass(target) and not isinstance(target, type) else target
                for target in targets.values()
            ]
            add_settings(read, [spans, learned])
            for name in ("input_ids", "segment_lengths", "sentence_index"):
                read.update(getattr(segmented, name).numpy().tobytes())
        hashes[split], hashes[f"{split}.read"] = _sha256(documents[split]), read.hexdigest()
    for task in tasks:
        for name, items in task.definitions().items():
            documents[name] = [(item, _sha256(content)) for item, content in items.items()]
            hashes[name] = _sha256(documents[name])
    return RunIdentity(documents, {**hashes, "encoder": encoder_fingerprint(model.hierbert)})


def resume_run(folder: Path, checkpoints: Checkpoints, now: RunIdentity) -> TrainerState | None:
    """Go back to the newest whole checkpoint, if there is any: where the run was.

    A RunError where none is whole, or where the documents or the encoder are others.
    """

    def find() -> Path | None:
        found = checkpoints.newest_whole()
        documents = _read_documents(folder)
        # Before the first checkpoint, hashes of the documents alone are known.
        before = {split: _sha256(ones) for split, ones in documents.items()}
        if found is not None:
            before = found[1].identity
            if not before:
                log.warning(
                    f"{found[0]} is of an earlier version: whether its documents are the same is "
                    "open"
                )
        if before and (differences := _differences(before, documents, now)):
            raise RunError(
                f"--resume: {found[0] if found else folder} was trained with other documents, "
                f"another taxonomy or another encoder: {'; '.join(differences)}; "
                f"{other_ways(folder)}"
            )
        return found[0] if found else None

    path = on_first_process(checkpoints.accelerator, find)
    if path is None:
        log.info(f"no checkpoint in {folder}: starting from the beginning")
        return None
    state = checkpoints.load(path)
    state.identity = now.hashes
    log.info(f"resuming from {path} (epoch {state.epoch}, step {state.step})")
    return state


def _read_documents(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """What `RunIdentity.save` kept; nothing where it is missing, damaged or of other hashes."""
    splits: dict[str, list[tuple[str, str]]] = {}
    with contextlib.suppress(OSError, ValueError, RecursionError, ShapeError):
        for line in (folder / DOCUMENTS).read_text(encoding="utf-8").splitlines():
            split, identity, known = of_shape(json.loads(line), tuple[str, str, str])
            if len(known) != 64:
                return {}
            splits.setdefault(split, []).append((identity, known))
        return splits
    return {}


def _differences(
    before: Mapping[str, str], documents: Mapping[str, list[tuple[str, str]]], now: RunIdentity
) -> list[str]:
    """What is different about a run, by its settings; `documents` are as they were, if known."""
    lines = []
    same_tree = before.get("taxonomy") == now.hashes.get("taxonomy")
    for split in ("train", "validation", "test", "taxonomy"):
        read = f"{split}.read"
        if before.get(split) != now.hashes.get(split):
            known = documents.get(split, [])
            kind = "nodes" if split == "taxonomy" else "documents"
            what = f"other {kind} (which ones is not known any more)"
            if split not in before or _sha256(known) == before[split]:
                what = _compare(dict(known), dict(now.documents.get(split, [])), kind)
            lines.append(f"data.{split}: {what}")
        # Another tree numbers the nodes of documents anew.
        elif same_tree and before.get(read) not in (None, now.hashes.get(read)):
            lines.append(
                f"data.{split}: the same documents, read as other tokens or sentences (another "
                "tokenizer, segmentation or version)"
            )
    if before.get("encoder") not in (None, now.hashes["encoder"]):
        lines.append("model.encoder: its weights or its settings are others")
    return lines


def _compare(before: Mapping[str, str], now: Mapping[str, str], kind: str) -> str:
    groups = {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "changed": [name for name in now if name in before and before[name] != now[name]],
    }
    parts = [f"{len(ids):,} {what} ({quote_all(ids)})" for what, ids in groups.items() if ids]
    return ", ".join(parts) or f"the same {kind} in another order"


def _sha256(value: Any) -> str:
    digest = hashlib.sha256()
    add_settings(digest, value)
    return digest.hexdigest()
