"""What a question adds to a model's scores of sentences: a linear model, fitted once the rest is.

It reads what the model says of a sentence anyway and how near the sentence is to the question, and
is fitted to validation documents, of which neither is too good. Where nothing is asked, scores stay
as they are.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hierbert.log import log
from hierbert.model.answering import answer_batch
from hierbert.model.linear import StandardisedLinear
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import TOKENS_PER_BATCH
from hierbert.model.ragged import batches_by_tokens
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.sentence_query import QUERY_INPUTS, QueryWords, query_cosines, query_inputs
from hierbert.model.summarization_head import SummarizationHead
from hierbert.scoring.logistic import Floats
from hierbert.scoring.sentence_models import FEW_SENTENCES
from hierbert.tasks.members import fit_linear, gains, put_members
from hierbert.tasks.sentence_stack import Labelled
from hierbert.tasks.task import Completed, HeldOut

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource


@dataclass
class WithQueries(Completed):
    """A model's scores of sentences, and what they become where something is asked.

    Attributes:
        before: What was fitted before; None for the layers alone.
        asked: The linear model.
        results: What was found, before too.
        line: The same in words.
        held_out: Nothing: scores of sentences are not calibrated.
    """

    before: Completed | None
    asked: StandardisedLinear
    results: dict[str, Any]
    line: str
    held_out: HeldOut

    def put_into(self, model: HierBertForDocuments) -> None:
        """Let a model's summarization head be this."""
        if self.before is not None:
            self.before.put_into(model)
        name = SummarizationHead.name
        put_members(model, name, {"sentence_queries": True}, [], {"asked": self.asked})


def fit_queries(
    model: HierBertForDocuments,
    before: Completed | None,
    labelled: Labelled,
    vectors: "VectorSource | None",
) -> WithQueries | None:
    """Fit what a question adds to a model's scores.

    Args:
        model: As it was trained.
        before: What was fitted to be put into it.
        labelled: Documents that were not trained on, each with a question.
        vectors: Of a frozen encoder; None for one that was trained.

    Returns:
        None where there are too few documents, or those that were held out gain nothing.
    """
    count = len(labelled.documents)
    if not count or not labelled.can_be_held_out:
        log.warning(
            f"{count:,} validation documents have a query: too few to learn from, so that the "
            "model reads none"
        )
        return None
    whole = copy.deepcopy(model).eval()
    if before is not None:
        before.put_into(whole)
    general, inputs = _read(whole, labelled.documents, vectors)
    asked = StandardisedLinear(QUERY_INPUTS, 1)
    folds = np.repeat(labelled.folds, labelled.lengths)
    fitted = fit_linear(asked, inputs.numpy(), labelled.targets, folds, FEW_SENTENCES)
    without, found = labelled.losses(general), labelled.losses(fitted.held_out[:, 0])
    shown = {"without": -float(without.mean()), "with": -float(found.mean())}
    line = f"{shown['with']:.4f} with queries, {shown['without']:.4f} without"
    line += f", on {count:,} held-out documents"
    if not gains(without, found, 0.0):
        log.warning(f"queries say nothing of what belongs into summaries ({line}): none is read")
        return None
    results = {"sentence_queries": {"documents": count, **shown}}
    if before is not None:
        results, line = before.results | results, f"{before.line}; {line}"
    return WithQueries(before, asked, results, line, HeldOut([], []))


def _read(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    vectors: "VectorSource | None",
) -> tuple[Floats, Tensor]:
    """What a model says of sentences without a question, (N,), and inputs with one, (N, I)."""
    name, words = SummarizationHead.name, QueryWords()
    scores, inputs = [], []
    queries = [one.query for one in documents if one.query is not None]
    with torch.no_grad():
        asked = {
            id(query): _answered(model, [query], [], vectors)[0].segment_vectors.mean(0)
            for query in {id(query): query for query in queries}.values()
        }
        for batch in batches_by_tokens(documents, lambda one: one.tokens, TOKENS_PER_BATCH):
            for one in _answered(model, batch, [name], vectors):
                lengths = torch.tensor([len(one.document.sentence_spans)])
                assert one.sentence_vectors is not None
                query = asked[id(one.document.query)][None]
                near = [
                    words.collate([one.document])["scores"],
                    query_cosines(one.sentence_vectors, query, lengths),
                ]
                scores.append(one.scores[name])
                inputs.append(query_inputs(one.scores[name], torch.cat(near, 1), lengths))
    return torch.cat(scores).double().numpy(), torch.cat(inputs)


def _answered(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    heads: Sequence[str],
    vectors: "VectorSource | None",
) -> Sequence[Any]:
    kept = None if vectors is None or not heads else vectors.batch(documents)
    return answer_batch(model, documents, heads, kept)
