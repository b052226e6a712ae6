"""The one way to answer: segmented documents through a model, each with its own scores.

Evaluation, the predictor, its jobs and the pipelines all answer by this. Invariant: a document's
answer does not depend on the others of its batch.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .features import collate_features
from .heads import Answered, Structure
from .modeling_hierbert import HierBertForDocuments
from .processing_hierbert import collate
from .ragged import all_finite
from .segmentation import SegmentedDocument
from .sentence_query import collate_queries


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
        inputs = {**vars(Structure.of_documents(documents))}
        inputs["segment_vectors"], inputs["sentence_vectors"] = vectors
    asked = model.heads if heads is None else heads
    if any("query" in model.heads[name].reads for name in asked):
        inputs |= collate_queries(documents)
    return inputs | collate_features(model.features_of(heads), documents)


def answer_batch(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    heads: Sequence[str] | None = None,
    vectors: tuple[Tensor, Tensor] | None = None,
    targets: Mapping[str, Tensor] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Answered]:
    """Ask a model's heads about a batch of documents.

    Args:
        model: In evaluation mode; the caller decides on gradients and precision.
        documents: At least one.
        heads: Which heads to ask; None for all.
        vectors: See `collate_inputs`.
        targets: What to compare answers with, by the head's name, as its `losses` reads them.
        options: As for `answer_fields`, where they are known.

    Returns:
        One for each document, in order.
    """
    inputs = collate_inputs(model, documents, heads, vectors)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    asked = (model.heads[name].reads_for(own) for name, own in (options or {}).items())
    with_sentences = any("sentence" in read for read in asked)
    output = model(**inputs, heads=heads, with_sentences=with_sentences)
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
            one.finite[name] = math.isfinite(loss) and all(map(all_finite, read))
    return answered


def not_finite(model: HierBertForDocuments, answered: Sequence[Answered]) -> str | None:
    """What to say where any number of some answers is not finite; None where all are."""
    if all(all(one.finite.values()) and one.document_vector.isfinite().all() for one in answered):
        return None
    return (
        f"this model does not give finite numbers in {model.dtype}; its weights are broken, or "
        "it needs dtype float32"
    )


def answer_fields(
    model: HierBertForDocuments, answered: Answered, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The answers of the heads that were asked, as fields of a row.

    Args:
        model: Which gave the scores.
        answered: Of one document.
        options: Of each of these heads by name, as `Head.options` makes them.
    """
    values: dict[str, Any] = {}
    for name in answered.scores:
        head, own = model.heads[name], options[name]
        values |= head.answer(answered, model.config, own)
        values |= head.evidence(model, answered, own)
    return values
