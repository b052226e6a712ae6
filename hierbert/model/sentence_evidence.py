"""What the score of a sentence is made of: its words, vector, place, form, and how central it is.

Each is compared with what other sentences of the document have in its place. What a kind of input
is worth is the mean of what it adds to the score, over those and over all orders in which the kinds
may come (Shapley 1953; of inputs of a model, Lundberg and Lee 2017, section 4), so that the kinds
add up to the score less the mean of the others'.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Any

import torch
from torch import Tensor

from .central_words import CentralWords
from .features import collate_features
from .heads import Answered, Structure
from .sentence_columns import COLUMN_KINDS, around_mean
from .sentence_features import SentenceFeatures
from .sentence_stack import SentenceStack, beside_neighbours, closeness, stacked

WORDS, VECTORS, CENTRALITY = "words", "vectors", "centrality"
LAYERS, QUERY = "layers", "query"
# A sentence is compared with so many, from the first to the last; so many sentences at a time.
_MOST_OTHERS, _AT_ONCE = 128, 64


@torch.no_grad()
def sentence_evidence(
    model: Any,
    head: Any,
    answered: Answered,
    sentences: Sequence[int],
    candidates: Sequence[int],
) -> list[dict[str, float]]:
    """What the scores of some sentences of a document are made of, in logits.

    Args:
        model: The `HierBertForDocuments` that gave the answer.
        head: Its head that summarizes.
        answered: Its answer.
        sentences: Their indexes.
        candidates: Of those that they are compared with; of many, some from the first to the last.

    Returns:
        For each the `logit` of its score, the `average` of those that it is compared with, and what
        each kind of input adds to the latter.
    """
    if not sentences:
        return []
    logits, rows = answered.scores[head.name], torch.tensor(sentences)
    some = torch.linspace(0, len(candidates) - 1, min(len(candidates), _MOST_OTHERS)).long()
    others = torch.tensor(candidates)[some]
    rest, average = logits, torch.zeros(())
    found: dict[str, Tensor] = {}
    if head.asked is not None and answered.document.query is not None:
        rest = _without_query(model, head.name, answered)
        found[QUERY] = (logits - rest)[rows]
    weights = head.sentence_weights or {"deep": 1.0}
    features = _features(model, head.name, answered)
    if weight := weights.get("stack"):
        stack = copy.deepcopy(head.stack).cpu().float()
        inputs, by_kind = _inputs(stack, model, features, answered.sentence_vectors)
        scores = stack.mean_score(stack.standardised(inputs))
        parts = [_shapley(stack, inputs, by_kind, own, others) for own in rows.split(_AT_ONCE)]
        found |= {kind: weight * torch.cat([own[kind] for own in parts]) for kind in by_kind}
        average, rest = average + weight * scores[others].mean(), rest - weight * scores
    if weight := weights.get(CentralWords.name):
        scores = weight * features[CentralWords.name]
        found[CENTRALITY] = found.get(CENTRALITY, 0) + (scores - scores[others].mean())[rows]
        average, rest = average + scores[others].mean(), rest - scores
    if weights.get("deep"):
        found[LAYERS] = (rest - rest[others].mean())[rows]
        average = average + rest[others].mean()
    told = {"logit": logits[rows], "average": average.expand(len(rows)), **found}
    numbers = (values.tolist() for values in told.values())
    return [dict(zip(told, row, strict=True)) for row in zip(*numbers, strict=True)]


def _features(model: Any, head: str, answered: Answered) -> dict[str, Tensor]:
    """Features of a document's sentences, by name, float32 with N rows."""
    structure, found = Structure.of_documents([answered.document]), {}
    for name, feature in model.features_of([head]).items():
        if name in (SentenceFeatures.name, CentralWords.name):
            own = copy.deepcopy(feature).cpu()
            found[name] = own(own.collate([answered.document]), structure).float()
    return found


def _without_query(model: Any, head: str, answered: Answered) -> Tensor:
    """The scores where nothing is asked, float32 (N,)."""
    document = replace(answered.document, query=None)
    assert answered.sentence_vectors is not None
    inputs = {
        **vars(Structure.of_documents([document])),
        "segment_vectors": answered.segment_vectors,
        "sentence_vectors": answered.sentence_vectors,
        "query.input_ids": torch.zeros(0, dtype=torch.int64),
        "query.segment_lengths": torch.zeros(0, dtype=torch.int64),
        "query.segments_per_document": torch.zeros(1, dtype=torch.int64),
        **collate_features(model.features_of([head]), [document]),
    }
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    found: Tensor = model(**inputs, heads=[head]).scores[head].float().cpu()
    return found


def _inputs(
    stack: SentenceStack, model: Any, features: dict[str, Tensor], vectors: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """What a stack reads of N sentences, float32 (N, I), and what of it is each kind's.

    The latter are less the means of the document, so that of the mean sentence nothing is left.
    """
    told, central = features[SentenceFeatures.name], features[CentralWords.name]
    lengths = torch.tensor([len(told)])
    columns, kinds = told[:, stack.models :], list(COLUMN_KINDS)
    of_features: SentenceFeatures = model.features[SentenceFeatures.name]
    count = stack.models + (stack.linear is not None) + 1
    scores = {kind: torch.zeros(len(told), count) for kind in (WORDS, VECTORS, *kinds)}
    # A model that reads columns beside the words is a sum.
    weights = of_features.column_weights.float().cpu()
    for kind, column, own in zip(kinds, columns.T, weights, strict=True):
        scores[kind][:, : stack.models] += column[:, None] * own
    scores[WORDS][:, : stack.models] = told[:, : stack.models] - columns @ weights
    scores[CENTRALITY][:, -1] = central
    if stack.linear is not None:
        assert vectors is not None
        near = closeness(vectors, lengths)
        columns, kinds = torch.cat([columns, near], 1), [*kinds, *[VECTORS] * near.shape[1]]
        scores[VECTORS][:, -2] = stack.linear(vectors).squeeze(1)
    whole = torch.stack(list(scores.values())).sum(0)
    _, spread = around_mean(whole, lengths)
    by_kind = {}
    for kind, own in scores.items():
        mine = columns * torch.tensor([each == kind for each in kinds])
        apart, _ = around_mean(own, lengths)
        made = beside_neighbours(mine - mine.mean(0), apart, apart / spread, lengths)
        if made.any():
            by_kind[kind] = made
    return stacked(whole, columns, lengths), by_kind


def _shapley(
    stack: SentenceStack, inputs: Tensor, by_kind: dict[str, Tensor], rows: Tensor, others: Tensor
) -> dict[str, Tensor]:
    """What each kind adds to the scores of some rows of the inputs, float32 (R,)."""
    same = inputs[rows[0]] - sum(own[rows[0]] for own in by_kind.values())
    worth = {}
    for size in range(len(by_kind) + 1):
        for kinds in combinations(by_kind, size):
            read = same.expand(len(rows), len(others), -1)
            for kind, own in by_kind.items():
                read = read + (own[rows][:, None] if kind in kinds else own[others])
            scores = stack.mean_score(stack.standardised(read.flatten(0, 1)))
            worth[frozenset(kinds)] = scores.view(len(rows), -1).mean(1)
    found = {}
    for kind in by_kind:
        found[kind] = torch.zeros(len(rows))
        for some, scores in worth.items():
            if kind not in some:
                gained = worth[some | {kind}] - scores
                found[kind] += gained / (len(by_kind) * comb(len(by_kind) - 1, len(some)))
    return found
