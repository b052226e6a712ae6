"""Examples made ready for a model: segmented, with labels as numbers and labelled sentences.

The last step before batches. Everything here is computed once a run, before the first step.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hierbert.data.document import Example
from hierbert.data.labels import LabelMap
from hierbert.data.oracle import graded_labels, oracle_labels, oracle_sentences
from hierbert.files import write_json
from hierbert.log import Progress
from hierbert.model.heads import MISSING_LABEL
from hierbert.model.processing_hierbert import HierBertProcessor, collate, collate_structure
from hierbert.model.segmentation import SegmentedDocument

_DOCUMENTS_PER_CALL = 32
# Changes when the rules do, so that older cached labels are not taken up.
_LABELS_VERSION = 1


@dataclass(frozen=True)
class PreparedDocument:
    """One document of a corpus as training and evaluation use it.

    Attributes:
        id: As in the corpus.
        segmented: The document's text, sentences and segments.
        label: As `LabelMap.encode` gives it; None when it has none.
        summary: The reference summary; None when it has none.
        sentence_labels: How much each sentence belongs into the summary, N numbers from 0 to
            1; None without summary.
    """

    id: str
    segmented: SegmentedDocument
    label: Any = None
    summary: str | None = None
    sentence_labels: list[float] | None = None

    @property
    def tokens(self) -> int:
        """Tokens of all segments, special tokens included."""
        return len(self.segmented.input_ids)


def prepare_documents(
    examples: Sequence[Example],
    processor: HierBertProcessor,
    label_map: LabelMap | None,
    sentence_labels: str | None = None,
    cache: Path | None = None,
    description: str = "segmenting",
) -> list[PreparedDocument]:
    """Segment examples, encode their labels and label their sentences.

    Args:
        examples: Documents of one split.
        processor: Segments them.
        label_map: Encodes their labels; None leaves labels out.
        sentence_labels: "graded" or "oracle"; None labels no sentences.
        cache: Folder that keeps sentence labels between runs; None keeps none.
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
    graded: list[list[float] | None] = [None] * len(examples)
    if sentence_labels is not None:
        graded = _label_sentences(segmented, summaries, sentence_labels, cache, description)
    return [
        PreparedDocument(example.id, document, label, summary, own)
        for example, document, label, summary, own in zip(
            examples, segmented, labels, summaries, graded, strict=True
        )
    ]


def _label_sentences(
    documents: list[SegmentedDocument],
    summaries: list[str | None],
    kind: str,
    folder: Path | None,
    description: str,
) -> list[list[float] | None]:
    """Sentence labels of every document with a summary, from the cache where they are there."""
    digest = hashlib.sha256(f"{kind} {_LABELS_VERSION}".encode())
    for document, summary in zip(documents, summaries, strict=True):
        parts = (document.text, repr(document.sentence_spans), repr(summary))
        digest.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    path = folder / f"sentence-labels-{digest.hexdigest()[:32]}.json" if folder else None
    if path is not None:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, list) and len(found) == len(documents):
                return found
    labels: list[list[float] | None] = []
    with Progress(len(documents), f"labelling sentences, {description}") as bar:
        for document, summary in zip(documents, summaries, strict=True):
            labels.append(None if summary is None else _labels_of(document, summary, kind))
            bar.advance()
    if path is not None:
        # A cache that cannot be written costs time in the next run, and nothing else.
        with contextlib.suppress(OSError):
            write_json(path, labels, indent=None)
    return labels


def _labels_of(document: SegmentedDocument, summary: str, kind: str) -> list[float]:
    sentences = document.sentences
    selected = oracle_sentences(sentences, summary)
    if kind == "oracle":
        return oracle_labels(len(sentences), selected)
    return graded_labels(sentences, summary, selected)


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
        parts: list[float] = []
        for document in documents:
            known = None if hide_labels else document.sentence_labels
            parts += known or [torch.nan] * len(document.segmented.sentence_spans)
        batch["sentence_labels"] = torch.tensor(parts, dtype=torch.float32)
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
