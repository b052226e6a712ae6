"""Examples made ready for a model: segmented, with labels as numbers and oracle sentence labels.

The last step before batches. Everything here is computed once a run, before the first step.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hierbert.cache import write_whole
from hierbert.data.corpus import Example
from hierbert.data.labels import LabelMap
from hierbert.data.oracle import oracle_labels, oracle_sentences
from hierbert.model.heads import MISSING_LABEL
from hierbert.model.processing_hierbert import HierBertProcessor, collate, collate_structure
from hierbert.model.segmentation import SegmentedDocument
from hierbert.progress import Progress

_DOCUMENTS_PER_CALL = 32
# Changes when the oracle's rules do, so that older cached labels are not taken up.
_ORACLE_VERSION = 1


@dataclass(frozen=True)
class PreparedDocument:
    """One document of a corpus as training and evaluation use it.

    Attributes:
        id: As in the corpus.
        segmented: The document's text, sentences and segments.
        label: As `LabelMap.encode` gives it; None when it has none.
        summary: The reference summary; None when it has none.
        oracle: Indices of the oracle's sentences in the order of selection; None without
            summary.
    """

    id: str
    segmented: SegmentedDocument
    label: Any = None
    summary: str | None = None
    oracle: list[int] | None = field(default=None)

    @property
    def tokens(self) -> int:
        """Tokens of all segments, special tokens included."""
        return len(self.segmented.input_ids)


def prepare_documents(
    examples: Sequence[Example],
    processor: HierBertProcessor,
    label_map: LabelMap | None,
    oracle_cache: Path | None = None,
    description: str = "segmenting",
) -> list[PreparedDocument]:
    """Segment examples, encode their labels and find their oracle sentences.

    Args:
        examples: Documents of one split.
        processor: Segments them.
        label_map: Encodes their labels; None leaves labels out.
        oracle_cache: Folder for oracle sentences; None computes none.
        description: What progress calls this.

    Returns:
        As many prepared documents, in the same order.

    Raises:
        DataError: A label is unknown.
    """
    labels = [label_map.encode(example) if label_map else None for example in examples]
    segmented: list[SegmentedDocument] = []
    with Progress(len(examples), description) as bar:
        for first in range(0, len(examples), _DOCUMENTS_PER_CALL):
            texts = [example.text for example in examples[first : first + _DOCUMENTS_PER_CALL]]
            segmented += processor.segment(texts)
            bar.advance(len(texts))
    summaries = [example.summary for example in examples]
    oracles: list[list[int] | None] = [None] * len(examples)
    if oracle_cache is not None:
        oracles = _oracles(segmented, summaries, oracle_cache, description)
    return [
        PreparedDocument(example.id, document, label, summary, oracle)
        for example, document, label, summary, oracle in zip(
            examples, segmented, labels, summaries, oracles, strict=True
        )
    ]


def _oracles(
    documents: list[SegmentedDocument],
    summaries: list[str | None],
    folder: Path,
    description: str,
) -> list[list[int] | None]:
    """Oracle sentences of every document with a summary, from the cache where they are there."""
    digest = hashlib.sha256(f"oracle {_ORACLE_VERSION}".encode())
    for document, summary in zip(documents, summaries, strict=True):
        parts = (document.text, repr(document.sentence_spans), repr(summary))
        digest.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    path = folder / f"oracle-{digest.hexdigest()[:32]}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, list) and len(found) == len(documents):
            return found
    except (OSError, ValueError):
        pass
    oracles: list[list[int] | None] = []
    with Progress(len(documents), f"oracle sentences, {description}") as bar:
        for document, summary in zip(documents, summaries, strict=True):
            found_here = None if summary is None else oracle_sentences(document.sentences, summary)
            oracles.append(found_here)
            bar.advance()
    # A cache that cannot be written costs time in the next run, and nothing else.
    with contextlib.suppress(OSError):
        write_whole(path, lambda aside: _write_json(aside, oracles))
    return oracles


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def collate_documents(
    documents: Sequence[PreparedDocument],
    label_map: LabelMap | None,
    summarize: bool,
    vectors: tuple[Tensor, Tensor] | None = None,
    hide_labels: bool = False,
) -> dict[str, Tensor]:
    """Make a model's inputs of prepared documents, with labels.

    Args:
        documents: At least one.
        label_map: Of the classification head; None without one.
        summarize: Whether to give sentence labels.
        vectors: Segment vectors (P, H) and sentence vectors (N, H) of these documents, instead
            of their tokens.
        hide_labels: Leave every label out, so that the documents weigh nothing in the loss.

    Returns:
        What `HierBertForDocuments.forward` reads; missing labels are marked as its heads want.
    """
    segmented = [document.segmented for document in documents]
    batch: dict[str, Tensor] = {}
    if vectors is None:
        batch.update(collate(segmented))
    else:
        batch.update(collate_structure(segmented))
        batch["segment_vectors"], batch["sentence_vectors"] = vectors
    if label_map is not None:
        labels = [None if hide_labels else document.label for document in documents]
        batch["labels"] = encode_labels(labels, label_map)
    if summarize:
        parts = [
            sentence_labels(len(document.segmented.sentence_spans), document.oracle)
            if not hide_labels
            else torch.full((len(document.segmented.sentence_spans),), torch.nan)
            for document in documents
        ]
        batch["sentence_labels"] = torch.cat(parts)
    return batch


def encode_labels(labels: Sequence[Any], label_map: LabelMap) -> Tensor:
    """Labels as the classification head reads them.

    Args:
        labels: As `LabelMap.encode` gives them, None where missing.
        label_map: Says what they are.

    Returns:
        int64 (D,) for single_label, float32 (D, C) for multi_label, float32 (D,) for regression.
    """
    if label_map.problem_type == "single_label":
        return torch.tensor([MISSING_LABEL if label is None else label for label in labels])
    if label_map.problem_type == "regression":
        return torch.tensor([torch.nan if label is None else float(label) for label in labels])
    targets = torch.zeros(len(labels), len(label_map.names))
    for row, label in enumerate(labels):
        if label is None:
            targets[row] = torch.nan
        elif label:
            targets[row, label] = 1.0
    return targets


def sentence_labels(sentences: int, oracle: list[int] | None) -> Tensor:
    """Sentence labels of one document, float32 (N,): the oracle's 1, others 0, all NaN without."""
    if oracle is None:
        return torch.full((sentences,), torch.nan)
    return torch.tensor(oracle_labels(sentences, oracle), dtype=torch.float32)
