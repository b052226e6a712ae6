"""Members of a sum of scores: what each weighs, and how a head becomes the sum.

Which members there are, and how they are fitted, is for the tasks: see `stacking` and
`sentence_stack`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hierbert.model.central_words import CentralWords
from hierbert.model.linear import StandardisedLinear
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.query_pairs import QueryPairs
from hierbert.model.sentence_features import SentenceFeatures
from hierbert.model.words import Words
from hierbert.scoring.logistic import (
    FEW_DOCUMENTS,
    Fitted,
    Floats,
    Targets,
    minimize,
    standardising,
)


def fit_linear(
    linear: StandardisedLinear,
    inputs: npt.NDArray[np.float32],
    targets: Targets,
    folds: npt.NDArray[np.int64],
    few: int = FEW_DOCUMENTS,
) -> Fitted:
    """Fit a linear model of inputs, (D, F), and how they are standardised, by `fit_logistic`."""
    center, scale = standardising(inputs)
    linear.center.copy_(torch.from_numpy(center))
    linear.scale.copy_(torch.from_numpy(scale))
    standardised = linear.standardised(torch.from_numpy(inputs)).double().numpy()
    fitted = targets.fit(standardised, folds, few=few)
    linear.weights.copy_(torch.from_numpy(fitted.weights))
    linear.bias.copy_(torch.from_numpy(fitted.bias))
    return fitted


def put_members(
    model: HierBertForDocuments,
    name: str,
    fields: Mapping[str, Any],
    features: Sequence[Words | SentenceFeatures | CentralWords | QueryPairs],
    members: Mapping[str, nn.Module | Tensor],
) -> None:
    """Let a head be a sum in which its layers, as they are, are one member.

    Args:
        model: Whose config and features change too.
        name: Of the head.
        fields: Of the model's config.
        features: That the sum reads, with `settings`.
        members: Modules and buffers of the head, by their attributes.
    """
    settings: dict[str, Any] = dict(model.config.features or {})
    for feature in features:
        settings[feature.name] = feature.settings
        model.features[feature.name] = copy.deepcopy(feature)
    model.config.update({**fields, "features": settings or None})
    before = model.heads[name]
    head = type(before)(model.config)
    head.load_state_dict(before.state_dict(), strict=False)
    for attribute, member in members.items():
        setattr(head, attribute, copy.deepcopy(member))
    setattr(model, head.attribute, head)
    model.to(model.device).train(model.training)


def sum_of(scores: Sequence[Floats] | Floats, weights: Floats, bias: Floats | float) -> Floats:
    """The weighted sum of members' scores, and a bias; weights are of members, or of each label."""
    if weights.ndim == 2:
        total: Floats = sum(own * each for own, each in zip(weights, scores, strict=True)) + bias
        return total
    total = np.tensordot(weights, np.asarray(scores), 1) + bias
    return total


def weigh(
    scores: Sequence[Floats], near: Floats, targets: Targets, biased: bool = True
) -> tuple[Floats, Floats]:
    """Weights of members, none below 0, and a bias for each label: the likeliest.

    They are held near some weights, and biases near 0, by a squared distance, which counts as one
    document. Without being `biased` they are 0.
    """
    stacked, count = np.stack(scores), len(scores)
    start = np.concatenate([near, np.zeros(targets.labels.shape[1] if biased else 0)])

    def loss(values: Floats) -> tuple[float, Floats]:
        weights, bias = values[:count], values[count:] if biased else 0.0
        total, errors = targets.loss_and_errors(sum_of(stacked, weights, bias))
        slopes = np.tensordot(stacked, errors, 2)
        if biased:
            slopes = np.concatenate([slopes, errors.sum(0)])
        apart = values - start
        return total + 0.5 * float(apart @ apart), slopes + apart

    bounds = [(0.0, None)] * count + [(None, None)] * (len(start) - count)
    found = minimize(loss, start, bounds)
    return found[:count], found[count:]


def share_of_layers(
    targets: Targets,
    folds: npt.NDArray[np.int64],
    others: Floats,
    layers: Floats,
    margin: float,
    losses: Callable[[Floats], Floats],
) -> tuple[float, float] | None:
    """Weights of the other members' sum and of the layers; None where layers add too little.

    Judged by documents that the weights were not fitted to, in folds: the gain has to be above so
    many of its standard errors.

    Args:
        targets: Of validation documents.
        folds: Of the same rows.
        others: Scores of the other members, float64, a row for each target.
        layers: Those of the layers.
        margin: How many standard errors.
        losses: Of each document, float64 (D,), by the scores of all rows.
    """
    if not len(targets):
        return None

    def fit(rows: npt.NDArray[np.bool_]) -> Floats:
        both, near = [others[rows], layers[rows]], np.array([1.0, 0.0])
        return weigh(both, near, targets[rows], biased=False)[0]

    both = np.zeros_like(others)
    for fold in np.unique(folds):
        out = folds == fold
        both[out] = sum_of([others[out], layers[out]], fit(~out), 0.0)
    share, own = fit(np.ones(len(targets), dtype=bool))
    earned = own > 0 and gains(losses(others), losses(both), margin)
    return (float(share), float(own)) if earned else None


def gains(before: Floats, after: Floats, margin: float = 1.0) -> bool:
    """Whether losses of documents fall by more than so many standard errors."""
    gained = before - after
    return bool(gained.mean() > margin * gained.std() / len(gained) ** 0.5)
