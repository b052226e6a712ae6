"""The one way to answer: segmented documents through a model, each with the scores of its own.

Evaluation, the predictor, its jobs and the pipelines all ask here. Invariant: what a document is
given does not depend on the others of its batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .heads import Structure
from .modeling_hierbert import HierBertForDocuments
from .processing_hierbert import collate, collate_structure
from .segmentation import SegmentedDocument


@dataclass(frozen=True)
class Answered:
    """What a model found for one document; S segments, N sentences, H hidden.

    Attributes:
        document: As it was segmented.
        scores: Of each head that was asked, by its name: float32 on the CPU, one row or (N,).
        losses: Of each head whose targets were given; None where this document has none.
        finite: Of each head, whether its scores, losses and the sentence vectors that it reads are.
        document_vector: float32 (H,) on the CPU, as the next two.
        segment_vectors: float32 (S, H).
        sentence_vectors: float (N, H); None where no head read them.
    """

    document: SegmentedDocument
    scores: dict[str, Tensor]
    losses: dict[str, float | None]
    finite: dict[str, bool]
    document_vector: Tensor
    segment_vectors: Tensor
    sentence_vectors: Tensor | None = None

    @property
    def all_finite(self) -> bool:
        """Whether every number is, of the document's vector too."""
        return all(self.finite.values()) and bool(self.document_vector.isfinite().all())

    def fields(
        self, model: HierBertForDocuments, options: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What the heads that were asked say, as fields of a row.

        Args:
            model: That gave this.
            options: Of heads, by their names, such as how to summarize.
        """
        values: dict[str, Any] = {}
        for name, scores in self.scores.items():
            own = (options or {}).get(name)
            values |= model.heads[name].answer(
                self.document, scores, self.sentence_vectors, model.config, own
            )
        return values


def collate_inputs(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    heads: Sequence[str] | None = None,
    vectors: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Everything that heads read of documents, but for targets.

    Args:
        model: Its features are computed.
        documents: At least one.
        heads: Which heads are asked; None for all.
        vectors: Segment vectors (P, H) and sentence vectors (N, H) of these documents, instead
            of their tokens.

    Returns:
        Arguments of `HierBertForDocuments.forward`, on the CPU.
    """
    if vectors is None:
        inputs = collate(documents)
    else:
        inputs = collate_structure(documents)
        inputs["segment_vectors"], inputs["sentence_vectors"] = vectors
    for name, feature in model.features_of(heads).items():
        for key, value in feature.collate(documents).items():
            inputs[f"features.{name}.{key}"] = value
    return inputs


def answer_batch(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    heads: Sequence[str] | None = None,
    vectors: tuple[Tensor, Tensor] | None = None,
    targets: Mapping[str, Tensor] | None = None,
) -> list[Answered]:
    """Ask a model's heads about a batch of documents.

    Args:
        model: In evaluation mode; whether gradients and which precision is the caller's.
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
    structure = Structure(
        *(inputs[name] for name in ("segments_per_document", "sentences_per_document")),
        *(inputs[name] for name in ("sentence_segments", "sentence_tokens")),
    )
    segments = [len(document.segment_lengths) for document in documents]
    sentences = [len(document.sentence_spans) for document in documents]
    sentence_vectors: Sequence[Tensor | None] = [None] * len(documents)
    if output.sentence_vectors is not None:
        sentence_vectors = output.sentence_vectors.cpu().split(sentences)
    found: list[dict[str, dict[str, Any]]] = [
        {"scores": {}, "losses": {}, "finite": {}} for _ in documents
    ]
    for name, scores in output.scores.items():
        head = model.heads[name]
        by_sentence = head.level == "sentence"
        whole = scores.float().cpu()
        each = whole.split(sentences) if by_sentence else whole.unbind()
        for place, own in enumerate(each):
            found[place]["scores"][name] = own
            finite = bool(own.isfinite().all())
            beside = sentence_vectors[place] if "sentence" in head.reads else None
            if beside is not None:
                finite &= bool(beside.isfinite().all())
            found[place]["finite"][name] = finite
        if targets is not None and name in targets:
            own_targets = targets[name].to(model.device)
            losses, counted = head.losses(scores, own_targets, structure)
            for place, (loss, counts) in enumerate(
                zip(losses.tolist(), counted.tolist(), strict=True)
            ):
                found[place]["losses"][name] = loss if counts else None
                found[place]["finite"][name] &= loss - loss == 0
    return [
        Answered(
            document=document,
            document_vector=vector,
            segment_vectors=own_segments,
            sentence_vectors=own_sentences,
            **fields,
        )
        for document, vector, own_segments, own_sentences, fields in zip(
            documents,
            output.document_vectors.float().cpu(),
            output.segment_vectors.float().cpu().split(segments),
            sentence_vectors,
            found,
            strict=True,
        )
    ]
