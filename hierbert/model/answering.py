"""The one way to answer: segmented documents through a model, each with its own scores.

Evaluation, the predictor, its jobs and the pipelines all answer by this. Invariant: a document's
answer does not depend on the others of its batch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .features import collate_features
from .heads import Structure
from .modeling_hierbert import HierBertForDocuments
from .processing_hierbert import collate, collate_structure
from .segmentation import SegmentedDocument


@dataclass(frozen=True)
class Answered:
    """A model's scores and vectors for one document; S segments, N sentences, H hidden.

    Attributes:
        document: As it was segmented.
        document_vector: float32 (H,) on the CPU, as all below.
        segment_vectors: float32 (S, H).
        sentence_vectors: float (N, H); None where no head read them.
        scores: Of each head that was asked, by its name: float32, one row or (N,).
        losses: Of each of these heads; None where the document has no target.
        finite: Of each, whether its scores, its loss and the sentence vectors it reads are finite.
    """

    document: SegmentedDocument
    document_vector: Tensor
    segment_vectors: Tensor
    sentence_vectors: Tensor | None = None
    scores: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, float | None] = field(default_factory=dict)
    finite: dict[str, bool] = field(default_factory=dict)

    @property
    def all_finite(self) -> bool:
        """Whether every number is finite, the document vector's too."""
        return all(self.finite.values()) and bool(self.document_vector.isfinite().all())

    def fields(self, model: HierBertForDocuments, *options: Any) -> dict[str, Any]:
        """The answers of the heads that were asked, as fields of a row.

        Args:
            model: Which gave the scores.
            *options: How to answer, such as a `SummaryRule`: each head takes that of its
                `options_class`, and for want of one does what the config says.
        """
        values: dict[str, Any] = {}
        for name, scores in self.scores.items():
            head = model.heads[name]
            kind = head.options_class
            own = next((o for o in options if kind is not None and isinstance(o, kind)), None)
            values |= head.answer(self.document, scores, self.sentence_vectors, model.config, own)
        return values


def collate_inputs(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    heads: Sequence[str] | None = None,
    vectors: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """All arguments of `HierBertForDocuments.forward` but for targets, on the CPU.

    Args:
        model: Its features are collated.
        documents: At least one.
        heads: Which heads are asked; None for all.
        vectors: Segment vectors (P, H) and sentence vectors (N, H) of these documents, instead
            of their tokens.
    """
    if vectors is None:
        inputs = collate(documents)
    else:
        inputs = collate_structure(documents)
        inputs["segment_vectors"], inputs["sentence_vectors"] = vectors
    return inputs | collate_features(model.features_of(heads), documents)


def answer_batch(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    heads: Sequence[str] | None = None,
    vectors: tuple[Tensor, Tensor] | None = None,
    targets: Mapping[str, Tensor] | None = None,
) -> list[Answered]:
    """Ask a model's heads about a batch of documents.

    Args:
        model: In evaluation mode; the caller decides on gradients and precision.
        documents: At least one.
        heads: Which heads to ask; None for all.
        vectors: See `collate_inputs`.
        targets: What to compare answers with, by the head's name, as its `losses` reads them.

    Returns:
        One for each document, in order.
    """
    inputs = collate_inputs(model, documents, heads, vectors)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    output = model(**inputs, heads=heads)
    sentences = [len(document.sentence_spans) for document in documents]
    sentence_vectors: Sequence[Tensor | None] = [None] * len(documents)
    if output.sentence_vectors is not None:
        sentence_vectors = output.sentence_vectors.cpu().split(sentences)
    segments = [len(document.segment_lengths) for document in documents]
    answered = [
        Answered(*one)
        for one in zip(
            documents,
            output.document_vectors.float().cpu(),
            output.segment_vectors.float().cpu().split(segments),
            sentence_vectors,
            strict=True,
        )
    ]
    for name, scores in output.scores.items():
        head = model.heads[name]
        losses, counted = [0.0] * len(documents), [False] * len(documents)
        if targets is not None and name in targets:
            own = head.losses(scores, targets[name].to(model.device), Structure.of(inputs))
            losses, counted = own[0].tolist(), own[1].tolist()
        whole = scores.float().cpu()
        rows = whole.split(sentences) if head.level == "sentence" else whole.unbind()
        for one, row, loss, counts in zip(answered, rows, losses, counted, strict=True):
            read = [row]
            if "sentence" in head.reads and one.sentence_vectors is not None:
                read.append(one.sentence_vectors)
            one.scores[name] = row
            one.losses[name] = loss if counts else None
            one.finite[name] = math.isfinite(loss) and all(bool(v.isfinite().all()) for v in read)
    return answered
