"""Summaries without training: a sentence is worth as much as it is central to its document.

A head that has no weights, in the place of the one that learns; everything around it is the same.
"""

from typing import Any

import torch
from torch import Tensor

from .central_words import METHODS, CentralWords, relative
from .centrality import SentenceVectors
from .configuration_hierbert import HierBertConfig
from .heads import Vectors
from .sentence_query import QueryWords, asked_about, near_of
from .summarization_head import SUMMARIZERS, SummarizationHead


class CentralityHead(SummarizationHead):
    """Sentence scores that nothing was trained for; the best one of a document has 1.

    Where something is asked of a document, a sentence has to be near to it too; see `asked_about`.
    """

    def __init__(self, config: HierBertConfig) -> None:
        super(SummarizationHead, self).__init__()
        self.listwise_loss_weight = config.listwise_loss_weight
        if QueryWords.name in (config.features or {}):
            self.reads = self.reads | {QueryWords.name}

    def forward(self, vectors: Vectors) -> Tensor:
        """Document by document, float (N,)."""
        central = self.central(vectors)
        if QueryWords.name not in vectors.features:
            return central
        lengths = vectors.structure.sentences_per_document.tolist()
        each = zip(central.split(lengths), near_of(vectors).split(lengths), strict=True)
        return torch.cat([central[:0], *(asked_about(*own) for own in each)])

    def central(self, vectors: Vectors) -> Tensor:
        """How central each sentence is, float (N,), at most 1, which the best one has."""
        raise NotImplementedError

    def shares(self, scores: Tensor) -> Tensor:
        """They are from 0 to 1 as they are; what points away from the centre has 0."""
        return scores.clamp(min=0.0)


class CentralWordsHead(CentralityHead):
    """By the words of sentences; no encoder is read."""

    reads = frozenset([CentralWords.name])

    def central(self, vectors: Vectors) -> Tensor:
        """As of the feature, float (N,)."""
        return vectors.features[CentralWords.name]


class CentralVectorsHead(CentralityHead):
    """By the sentences' vectors; a subclass names the method."""

    reads = frozenset(["sentence", "query"])
    method = ""

    def central(self, vectors: Vectors) -> Tensor:
        """Document by document, float (N,)."""
        assert vectors.sentence is not None
        each = vectors.sentence.split(vectors.structure.sentences_per_document.tolist())
        own = [relative(METHODS[self.method](SentenceVectors(one.cpu()))) for one in each]
        return torch.cat(own).to(vectors.sentence.device)


def scores_by(method: str, vectors: bool) -> dict[str, Any]:
    """Fields of a config: the scores are those of a method, of an encoder's vectors or of words."""
    features: dict[str, dict[str, Any]] = {QueryWords.name: {}}
    if vectors:
        return {"summary_scores": f"{method}_of_vectors", "features": features}
    features[CentralWords.name] = {"method": method}
    return {"summary_scores": "words", "features": features}


SUMMARIZERS["words"] = CentralWordsHead
for _name in METHODS:
    SUMMARIZERS[scores_by(_name, vectors=True)["summary_scores"]] = type(
        f"Central{_name.title()}Head", (CentralVectorsHead,), {"method": _name}
    )
