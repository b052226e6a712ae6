"""What a question adds to a model's scores of sentences: a linear model, fitted once the rest is.

It reads what the model says of a sentence anyway, how near the sentence is to the question, and,
where questions come again in training documents, what another linear model has learnt of their
answers there. It is fitted to validation documents, of which none of that is too good. Where
nothing is asked, scores stay as they are.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from hierbert.log import log
from hierbert.model.answering import answer_batch
from hierbert.model.heads import Structure
from hierbert.model.linear import StandardisedLinear
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import TOKENS_PER_BATCH
from hierbert.model.query_pairs import BUCKETS, QueryPairs
from hierbert.model.ragged import batches_by_tokens, group_of_unit
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.sentence_query import QueryWords, inputs_with, query_cosines, query_inputs
from hierbert.model.summarization_head import SummarizationHead
from hierbert.scoring.logistic import Floats, fit_logistic
from hierbert.scoring.sentence_models import FEW_SENTENCES, draw_documents, in_batches
from hierbert.tasks.members import fit_linear, gains, put_members
from hierbert.tasks.sentence_stack import Labelled
from hierbert.tasks.task import Completed, HeldOut

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

# A question that so many training documents are asked has answers with much in common.
_OFTEN = 10


@dataclass
class WithQueries(Completed):
    """A model's scores of sentences, and what they become where something is asked.

    Attributes:
        before: What was fitted before; None for the layers alone.
        asked: The linear model.
        pairs: What it reads too, if anything.
        results: What was found, before too.
        line: The same in words.
        held_out: Nothing: scores of sentences are not calibrated.
    """

    before: Completed | None
    asked: StandardisedLinear
    pairs: QueryPairs | None
    results: dict[str, Any]
    line: str
    held_out: HeldOut

    def put_into(self, model: HierBertForDocuments) -> None:
        """Let a model's summarization head be this."""
        if self.before is not None:
            self.before.put_into(model)
        name, features = SummarizationHead.name, [] if self.pairs is None else [self.pairs]
        read = [QueryWords.name, *(one.name for one in features)]
        put_members(model, name, {"sentence_queries": read}, features, {"asked": self.asked})


def fit_queries(
    model: HierBertForDocuments,
    before: Completed | None,
    train: Labelled,
    labelled: Labelled,
    vectors: "VectorSource | None",
) -> WithQueries | None:
    """Fit what a question adds to a model's scores.

    Args:
        model: As it was trained.
        before: What was fitted to be put into it.
        train: Training documents, each with a question.
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
    general, near = _read(whole, labelled.documents, vectors)
    scores, lengths = torch.from_numpy(general), torch.from_numpy(labelled.lengths)
    folds = np.repeat(labelled.folds, labelled.lengths)

    def fit(pairs: Tensor | None) -> tuple[StandardisedLinear, Floats]:
        linear = StandardisedLinear(inputs_with(pairs is not None), 1)
        inputs = query_inputs(scores, near, lengths, pairs).numpy()
        fitted = fit_linear(linear, inputs, labelled.targets, folds, FEW_SENTENCES)
        return linear, labelled.losses(fitted.held_out[:, 0])

    without = labelled.losses(general)
    asked, found = fit(None)
    pairs = fit_pairs(train)
    if pairs is not None:
        other, losses = fit(_scores_of(pairs, labelled.documents))
        if gains(found, losses, 0.0):
            asked, found = other, losses
        else:
            pairs = None
    shown = {"without": -float(without.mean()), "with": -float(found.mean())}
    line = f"{shown['with']:.4f} with queries, {shown['without']:.4f} without"
    line += f", on {count:,} held-out documents"
    if not gains(without, found, 0.0):
        log.warning(f"queries say nothing of what belongs into summaries ({line}): none is read")
        return None
    results = {"sentence_queries": {"documents": count, **shown, "asked_often": pairs is not None}}
    if before is not None:
        results, line = before.results | results, f"{before.line}; {line}"
    return WithQueries(before, asked, pairs, results, line, HeldOut([], []))


def fit_pairs(train: Labelled) -> QueryPairs | None:
    """What answers to a question that many documents are asked share; None without such questions.

    Args:
        train: Training documents, each with a question.
    """
    questions = [
        " ".join(one.query.text.casefold().split()) for one in train.documents if one.query
    ]
    times = Counter(questions)
    often = [place for place, one in enumerate(questions) if times[one] >= _OFTEN]
    train = train.drawn(np.array(often, dtype=np.int64))
    train = train.drawn(draw_documents(train.lengths))
    if not len(train.documents) or not train.can_be_held_out:
        return None
    pairs = QueryPairs()
    rows = []
    for batch in in_batches(train.documents):
        inputs, structure = pairs.collate(batch), Structure.of_documents(batch)
        buckets, values = map(torch.cat, zip(*pairs.pairs(inputs, structure), strict=True))
        sentences = group_of_unit(inputs["sizes"]).repeat(len(inputs["asked"].T))
        there = values > 0
        places = (sentences[there].numpy(), buckets[there].numpy())
        shape = (len(inputs["sizes"]), BUCKETS)
        rows.append(sparse.csr_array((values[there].double().numpy(), places), shape))
    folds = np.repeat(train.folds, train.lengths)
    inputs = sparse.vstack(rows, format="csr")
    fitted = fit_logistic(inputs, train.targets, folds, few=FEW_SENTENCES, held_out=False)
    pairs.weights.copy_(torch.from_numpy(fitted.weights[:, 0]))
    return pairs


def _scores_of(pairs: QueryPairs, documents: Sequence[SegmentedDocument]) -> Tensor:
    """Of all their sentences, float32 (N, 1)."""
    batches = in_batches(documents)
    return torch.cat(
        [pairs(pairs.collate(batch), Structure.of_documents(batch)) for batch in batches]
    )


def _read(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    vectors: "VectorSource | None",
) -> tuple[Floats, Tensor]:
    """What a model says of sentences without a question, (N,), and how near they are, (N, 4)."""
    name, words = SummarizationHead.name, QueryWords()
    scores, near = [], []
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
                own = [
                    words.collate([one.document])["scores"],
                    query_cosines(one.sentence_vectors, query, lengths),
                ]
                scores.append(one.scores[name])
                near.append(torch.cat(own, 1))
    return torch.cat(scores).double().numpy(), torch.cat(near)


def _answered(
    model: HierBertForDocuments,
    documents: Sequence[SegmentedDocument],
    heads: Sequence[str],
    vectors: "VectorSource | None",
) -> Sequence[Any]:
    kept = None if vectors is None or not heads else vectors.batch(documents)
    return answer_batch(model, documents, heads, kept)
