"""Scores of sentences from those of linear models and LexRank, by a few small networks.

A sentence stands beside its neighbours: how it scores among all of its document, and what the
others say of those around it. The networks differ by where their training began; their mean
is the score.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .aggregation import in_parts
from .configuration_hierbert import HierBertConfig
from .linear import StandardisedLinear
from .ragged import group_mean, group_of_unit, group_starts
from .sentence_columns import COLUMNS, standing_out
from .sentence_features import SentenceFeatures

# A mean of the scores of a sentence and of so many before and after it.
_AROUND = 3
# The beginning of a document, to which each vector is compared: a part of its sentences.
_BEGINNING = 20
_OF_VECTORS = 3
_FURTHEST = 6.0


class SentenceStack(nn.Module):
    """Small networks over the scores of linear models and what else is known of each sentence.

    Args:
        models: M linear models whose scores come first in the features of a sentence.
        columns: K further features.
        hidden_size: H, of the sentence vectors, which a linear model of their own reads; None
            reads none.
        hidden_units: U, of each network.
        networks: How many.
    """

    linear: StandardisedLinear | None
    center: Tensor
    scale: Tensor

    def __init__(
        self,
        models: int,
        columns: int,
        hidden_size: int | None = None,
        hidden_units: int = 64,
        networks: int = 3,
    ) -> None:
        super().__init__()
        self.models = models
        self.hidden_units, self.networks = hidden_units, networks
        self.linear = None if hidden_size is None else StandardisedLinear(hidden_size, 1)
        if hidden_size is not None:
            models, columns = models + 1, columns + _OF_VECTORS
        # Of each model, and of LexRank, the score, how it stands out, and three of the sentences
        # around.
        inputs = 5 * (models + 1) + columns
        self.register_buffer("center", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        for name, shape in self.shapes(inputs).items():
            self.register_buffer(name, torch.zeros(shape))

    @classmethod
    def from_config(cls, config: HierBertConfig) -> "SentenceStack":
        """The stack of a model, not fitted."""
        settings = dict(config.sentence_stack or {})
        hidden_size = config.hidden_size if settings.pop("vectors", True) else None
        features = SentenceFeatures(**(config.features or {})[SentenceFeatures.name])
        return cls(features.models, COLUMNS, hidden_size, **settings)

    def shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """Of the networks' weights, by name."""
        networks, units = self.networks, self.hidden_units
        return {
            "hidden_weights": (networks, inputs, units),
            "hidden_bias": (networks, 1, units),
            "output_weights": (networks, units, 1),
            "direct_weights": (networks, inputs, 1),
            "output_bias": (networks, 1, 1),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with beside what the model's other settings fix."""
        return {
            "vectors": self.linear is not None,
            "hidden_units": self.hidden_units,
            "networks": self.networks,
        }

    def forward(
        self, features: Tensor, central: Tensor, vectors: Tensor | None, lengths: Tensor
    ) -> Tensor:
        """A score (logit) for each sentence, float32 (N,).

        Args:
            features: Scores of the M models and then K columns, float32 (N, M + K).
            central: How central each sentence is, float32 (N,).
            vectors: Of sentences, float (N, H).
            lengths: Sentences of each document, int64 (D,), with the sum N.
        """
        if not len(features):
            return features.new_zeros(0, dtype=torch.float32)
        scores, columns = features[:, : self.models], features[:, self.models :]
        if self.linear is not None:
            if vectors is None:
                raise ValueError("sentence vectors are missing: they need sentence_index")
            scores = torch.cat([scores, in_parts(self.linear, vectors)], 1)
            columns = torch.cat([columns, closeness(vectors, lengths)], 1)
        scores = torch.cat([scores, central[:, None]], 1)
        with torch.autocast(features.device.type, enabled=False):
            return in_parts(
                lambda rows: self.mean_score(self.standardised(rows)),
                stacked(scores, columns, lengths),
            )

    def mean_score(self, inputs: Tensor) -> Tensor:
        """The mean of the networks' scores, float32 (N,), of standardised inputs (N, I)."""
        weights = {name: getattr(self, name).float() for name in self.shapes(0)}
        return self.ask(inputs, weights).mean(0)

    def standardised(self, inputs: Tensor) -> Tensor:
        """What `stacked` gives as the networks read it."""
        apart = (inputs.float() - self.center.float()) / self.scale.float()
        return apart.clamp(-_FURTHEST, _FURTHEST)

    @staticmethod
    def ask(inputs: Tensor, weights: dict[str, Tensor], dropout: Tensor | None = None) -> Tensor:
        """Scores by each network, float32 (networks, N).

        Args:
            inputs: float32 (N, I).
            weights: As `shapes` has them.
            dropout: Factors of hidden units, float32 (networks, N, U); None for 1.
        """
        hidden = F.gelu(inputs @ weights["hidden_weights"] + weights["hidden_bias"])
        if dropout is not None:
            hidden = hidden * dropout
        direct = inputs @ weights["direct_weights"] + weights["output_bias"]
        return (hidden @ weights["output_weights"] + direct).squeeze(-1)


def stacked(scores: Tensor, columns: Tensor, lengths: Tensor) -> Tensor:
    """What the networks read of each sentence, float32 (N, 5 M + K).

    Args:
        scores: Of M models, LexRank among them, float32 (N, M).
        columns: float32 (N, K).
        lengths: Sentences of each document, int64 (D,), with the sum N.
    """
    return beside_neighbours(columns, scores, standing_out(scores, lengths), lengths)


def beside_neighbours(columns: Tensor, scores: Tensor, alone: Tensor, lengths: Tensor) -> Tensor:
    """The same, of scores that stand out so: linear in all three."""
    documents = group_of_unit(lengths)
    starts = group_starts(lengths)[documents]
    places = torch.arange(len(scores), device=scores.device)
    lasts = starts + lengths[documents] - 1
    shifted = {}
    # Sums of what is near, not differences of running sums: those would depend on the batch.
    for step in range(-_AROUND, _AROUND + 1):
        other = places + step
        inside = (other >= starts) & (other <= lasts)
        other = torch.minimum(torch.maximum(other, starts), lasts)
        shifted[step] = alone[other] * inside[:, None]
    around = torch.stack(list(shifted.values())).sum(0) / len(shifted)
    return torch.cat([columns, scores, alone, shifted[-1], shifted[1], around], 1)


def closeness(vectors: Tensor, lengths: Tensor) -> Tensor:
    """Cosines of each vector to the mean of its document's and of their beginning.

    Args:
        vectors: float (N, H).
        lengths: Of each document, int64 (D,), with the sum N.

    Returns:
        float32 (N, 3): the first cosine, and how both stand out in the document.
    """
    documents = group_of_unit(lengths)
    vectors = vectors.float()
    first = (lengths // _BEGINNING).clamp(min=1).minimum(lengths)
    in_document = torch.arange(len(vectors), device=vectors.device)
    in_document = in_document - group_starts(lengths)[documents]
    centers = (
        group_mean(vectors, lengths),
        group_mean(vectors[in_document < first[documents]], first),
    )
    found = [
        in_parts(
            lambda rows, own, center=center: F.cosine_similarity(rows, center[own]),
            vectors,
            documents,
        )
        for center in centers
    ]
    cosines = torch.stack(found, 1)
    return torch.cat([cosines[:, :1], standing_out(cosines, lengths)], 1)
