"""A model's answers for every document of a corpus, each exactly once, on every process.

Documents are dealt to the processes by tokens and come back by their index, so that no process
count, batch or padding can lose or double one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from hierbert.data.documents import PreparedDocument, collate_documents
from hierbert.data.epoch_plan import fill_batches, share_by_tokens
from hierbert.data.labels import LabelMap
from hierbert.log import Progress
from hierbert.model.decoding import SummaryRule, regression_values, summary_text
from hierbert.model.heads import Structure
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.segmentation import SegmentedDocument
from hierbert.scoring import metrics_of, summary_scores

_TOKENS_PER_BATCH = 16_384


class StoppedError(Exception):
    """The answers were not waited for, on any process, because one of them was asked to stop."""


class Vectors(Protocol):
    """Where the vectors of a frozen encoder come from."""

    def batch(self, documents: Sequence[SegmentedDocument]) -> tuple[Tensor, Tensor]:
        """Segment vectors (P, H) and sentence vectors (N, H) of documents."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a model says about one document, and how far off it is.

    Attributes:
        index: Of the document in the corpus.
        logits: C numbers; None without a classification head. Of a regression, the predicted
            numbers in the unit of the labels.
        selected: Sentences of the summary, in its order; None without a summarization head.
        rouge: ROUGE of the summary by type; None without a reference.
        classification_loss: None without a label.
        summarization_loss: None without a reference.
        finite: Whether every number behind it is; where a sentence's score is not, no sentence is
            selected and ROUGE is nan.
    """

    index: int
    logits: list[float] | None = None
    selected: list[int] | None = None
    rouge: dict[str, float] | None = None
    classification_loss: float | None = None
    summarization_loss: float | None = None
    finite: bool = True


def answer_documents(
    model: HierBertForDocuments,
    documents: Sequence[PreparedDocument],
    accelerator: Accelerator,
    label_map: LabelMap | None,
    rule: SummaryRule | None,
    vectors: Vectors | None = None,
    description: str = "evaluating",
    stop: Callable[[], bool] | None = None,
) -> list[Answer]:
    """Run a model over a corpus.

    Args:
        model: A bare `HierBertForDocuments`; its mode is put back afterwards.
        documents: The corpus, the same on every process.
        accelerator: The run's.
        label_map: Of the classification head; None without one.
        rule: How to summarize; None without a summarization head.
        vectors: Of a frozen encoder; None encodes tokens.
        description: What progress calls this.
        stop: Asked after each batch whether to stop.

    Returns:
        One answer per document, in order, the same on every process.

    Raises:
        StoppedError: `stop` said so on some process.
    """
    sizes = [document.tokens for document in documents]
    mine = share_by_tokens(range(len(documents)), sizes, accelerator.num_processes)
    own = mine[accelerator.process_index]
    answers: list[Answer] = []
    was_training = model.training
    model.eval()
    # Evaluation from cached vectors takes a moment: nothing to show.
    shown = None if vectors is None else False
    with torch.no_grad(), Progress(sum(sizes[i] for i in own), description, "tokens", shown) as bar:
        for places in fill_batches([sizes[index] for index in own], _TOKENS_PER_BATCH):
            indices = [own[place] for place in places]
            batch = [documents[index] for index in indices]
            answers += _answer_batch(model, indices, batch, accelerator, label_map, rule, vectors)
            bar.advance(sum(document.tokens for document in batch))
            if stop is not None and stop():
                break
        model.train(was_training)
        # Each process answers for itself; they agree here, where they meet anyway.
        if stop is not None and any(gather_object([stop()])):
            raise StoppedError
    rows = {answer.index: answer for answer in gather_object(answers)}
    return [rows[index] for index in range(len(documents))]


def _answer_batch(
    model: HierBertForDocuments,
    indices: list[int],
    documents: list[PreparedDocument],
    accelerator: Accelerator,
    label_map: LabelMap | None,
    rule: SummaryRule | None,
    vectors: Vectors | None,
) -> list[Answer]:
    cached = vectors.batch([document.segmented for document in documents]) if vectors else None
    inputs = collate_documents(documents, label_map, rule is not None, cached)
    inputs = {name: value.to(accelerator.device) for name, value in inputs.items()}
    with accelerator.autocast():
        output = model(**inputs)
    counts = inputs["sentences_per_document"].tolist()
    fields: list[dict[str, Any]] = [{"index": index} for index in indices]
    finite = [True] * len(fields)
    if model.classifier is not None and label_map is not None:
        losses, counted = model.classifier.losses(output.logits, inputs["labels"])
        said = output.logits.float()
        if label_map.problem_type == "regression":
            said = regression_values(said, model.config)
        for row, logits in enumerate(said.tolist()):
            fields[row]["logits"] = logits
            fields[row]["classification_loss"] = float(losses[row]) if counted[row] else None
            finite[row] = all(map(math.isfinite, [*logits, float(losses[row])]))
    if model.summarizer is not None and rule is not None:
        losses, counted = model.summarizer.losses(
            output.sentence_scores,
            inputs["sentence_labels"],
            Structure(inputs["segments_per_document"], inputs["sentences_per_document"]),
        )
        scores = output.sentence_scores.float().cpu().split(counts)
        sentence_vectors = output.sentence_vectors.cpu().split(counts)
        for row, document in enumerate(documents):
            selectable = all(bool(v[row].isfinite().all()) for v in (scores, sentence_vectors))
            finite[row] &= selectable and math.isfinite(losses[row])
            selected = []
            if selectable:
                selected = rule.select(
                    document.segmented, scores[row].tolist(), sentence_vectors[row]
                )
            fields[row]["selected"] = selected
            fields[row]["summarization_loss"] = float(losses[row]) if counted[row] else None
            if document.summary is not None:
                fields[row]["rouge"] = (
                    score_summary(document, selected)
                    if selectable
                    else {metric.name: math.nan for metric in metrics_of("summary")}
                )
    return [Answer(**values, finite=each) for values, each in zip(fields, finite, strict=True)]


def score_summary(document: PreparedDocument, selected: Sequence[int]) -> dict[str, float]:
    """The scores of an extract, ROUGE F1 from 0 to 1, by metric.

    Args:
        document: With a reference summary.
        selected: Its sentences in the extract.

    Returns:
        rouge1, rouge2, rougeL, rougeLsum.
    """
    assert document.summary is not None
    prediction = summary_text(document.segmented, selected)
    return {
        name: float(values[0])
        for name, values in summary_scores([prediction], [document.summary]).items()
    }
