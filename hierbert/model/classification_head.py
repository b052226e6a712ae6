"""The head that classifies: documents to logits of labels, and logits to answers.

What the labels are (one of several, several, a number) is said by a subclass, a file for each,
which a config names as its problem type.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from .configuration_hierbert import HierBertConfig
from .evidence import Evidence
from .heads import Answered, Head, Structure, Vectors, check_registered, register_head
from .linear import StandardisedLinear
from .name_vectors import NameVectors
from .ragged import group_max, group_mean

_MOST_NAMES = 20
# Of more segments those that are strongest by an estimate are left out, to find the strongest one.
_MOST_PLACES = 8
# Settings that are whole numbers.
_COUNTS = ("top_labels", "depth")
_USUAL = "single_label_classification"


@dataclass(frozen=True)
class LabelRule:
    """How probabilities become labels.

    Attributes:
        thresholds: Of several labels, the probability from which each applies (C).
        top_labels: How many of the likeliest labels an answer names too; None: none.
        abstain_below: Of one label, the probability below which an answer names none.
        depth: Of a tree of labels, how many levels an answer has at most.
        min_probability: Of a tree, the probability that each node of an answer has at least.
        evidence: Numbers of the labels whose evidence is told beside that of the answer's own;
            None: no evidence is told.
        evidence_count: How many segments, sentences and words are told of each.
        evidence_exact: Whether segments are encoded anew without each sentence that is told.
    """

    thresholds: list[float]
    top_labels: int | None = None
    abstain_below: float | None = None
    depth: int | None = None
    min_probability: float | None = None
    evidence: list[int] | None = None
    evidence_count: int = 5
    evidence_exact: bool = False


class LinearOfVectors(StandardisedLinear):
    """Logits from the means and the maxima of a document's segment vectors, each standardised.

    Args:
        hidden_size: H, of the segment vectors.
        labels: C.
    """

    def __init__(self, hidden_size: int, labels: int) -> None:
        super().__init__(2 * hidden_size, labels)

    @property
    def labels(self) -> int:
        """C."""
        return len(self.bias)

    @staticmethod
    def pooled(segment_vectors: Tensor, segments_per_document: Tensor) -> Tensor:
        """Means and maxima, float32 (D, 2 H), of vectors float (P, H)."""
        vectors = segment_vectors.float()
        means = group_mean(vectors, segments_per_document)
        return torch.cat([means, group_max(vectors, segments_per_document)], 1)

    def of_segments(self, segment_vectors: Tensor, segments_per_document: Tensor) -> Tensor:
        """Logits, float (D, C)."""
        return self(self.pooled(segment_vectors, segments_per_document))


OF_SEGMENTS: dict[str, tuple[str, type[LinearOfVectors] | type[NameVectors]]] = {
    "vectors": ("linear", LinearOfVectors),
    "names": ("names", NameVectors),
}
"""Of members that read segment vectors: the head's attribute, and what it is."""


@register_head
class ClassificationHead(Head):
    """Document vectors to logits.

    Args:
        config: `problem_type` (single-label when None), `num_labels`, `dropout`, `logit_weights`
            and what the kind of labels needs are read.

    Attributes:
        title: Of the kind of labels, for messages.
        own_settings: Names of what only models of this kind can be asked.
    """

    name = "classification"
    verb = "classify"
    attribute = "classifier"
    reads = frozenset(["document"])
    settings = (
        *("threshold", "top_labels", "abstain_below", "depth", "min_probability"),
        *("evidence", "evidence_labels", "evidence_count", "evidence_exact"),
    )
    title: ClassVar[str]
    own_settings: ClassVar[frozenset[str]] = frozenset()
    bias: Tensor

    @classmethod
    def kind(cls, config: HierBertConfig) -> "type[ClassificationHead]":
        """The class of a model's labels; a ValueError where it is not registered."""
        name = config.problem_type or _USUAL
        if config.label_tree is not None:
            name = "tree_of_paths" if config.label_tree.get("several") else "tree"
        check_registered("kind of labels", [name], LABEL_HEADS)
        return LABEL_HEADS[name]

    @classmethod
    def of(cls, config: HierBertConfig) -> "ClassificationHead":
        """The head of the labels that the config has."""
        return cls.kind(config)(config)

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_size, config.num_labels)
        self.logit_weights = config.logit_weights
        # Then a segment's vector is known without one of its sentences.
        self.sentences_add_up = config.pooling == "mean"
        if self.logit_weights is not None:
            self.register_buffer("bias", torch.zeros(config.num_labels))
            self.reads = self.reads | (set(self.logit_weights) - {"deep", *OF_SEGMENTS})
            for member, (attribute, kind) in OF_SEGMENTS.items():
                if member in self.logit_weights:
                    setattr(self, attribute, kind(config.hidden_size, config.num_labels))

    def forward(self, vectors: Vectors) -> Tensor:
        """Logits, float (D, C): the weighted sum of its members, or the layers' alone.

        Training steps learn the layers alone, whatever their part in the sum is.
        """
        if self.logit_weights is None or self.training:
            return self._deep(vectors)
        logits = self.bias.float()
        for member in self.logit_weights:
            if member == "deep":
                own = self._deep(vectors).float()
            elif member in OF_SEGMENTS:
                own = getattr(self, OF_SEGMENTS[member][0]).of_segments(
                    vectors.segment, vectors.structure.segments_per_document
                )
            else:
                own = vectors.features[member]
            logits = logits + self.weight_of(member) * own
        return logits

    def weight_of(self, member: str) -> float | Tensor:
        """What a member's logits are multiplied by in the sum: a number, or float (C,)."""
        return (self.logit_weights or {})[member]

    def _deep(self, vectors: Vectors) -> Tensor:
        return self.output(self.dropout(self.norm(vectors.document)))

    def calibrated(self, scores: Tensor, config: HierBertConfig) -> Tensor:
        """Logits over the config's temperature."""
        return scores / self.temperatures(config).to(scores)

    @classmethod
    def temperatures(cls, config: HierBertConfig) -> Tensor:
        """What logits are divided by, float64 (C,) or (1,)."""
        return torch.tensor([config.temperature], dtype=torch.float64)

    @classmethod
    def options(cls, config: HierBertConfig, given: Mapping[str, Any]) -> LabelRule:
        """The model's own rule, but for what is given."""
        values = {name: value for name, value in given.items() if value is not None}
        asked, labels = values.pop("evidence", False), values.pop("evidence_labels", None)
        evidence = _evidence(config, "evidence", asked)
        if labels is not None:
            evidence = [*(evidence or ()), *(_evidence(config, "evidence_labels", labels) or ())]
        count, exact = values.pop("evidence_count", None), values.pop("evidence_exact", False)
        for name, value in (("evidence_count", count), ("evidence_exact", exact or None)):
            if value is not None and evidence is None:
                raise ValueError(f"{name}={value!r} is not allowed without evidence")
        if not isinstance(exact, bool):
            raise ValueError(f"evidence_exact={exact!r} is not allowed: true or false")
        if count is not None and (type(count) is not int or count < 1):
            raise ValueError(f"evidence_count={count!r} is not allowed: a whole number, at least 1")
        for name, value in values.items():
            own_kind = cls.kind(config)
            if name not in own_kind.own_settings:
                able = [one.title for one in LABEL_HEADS.values() if name in one.own_settings]
                raise ValueError(
                    f"{name} is for a model of {' or '.join(able)}, and this one is of "
                    f"{own_kind.title}"
                )
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if name not in _COUNTS and not (is_number and 0 <= value <= 1):
                raise ValueError(f"{name}={value!r} is not allowed: 0 to 1")
            if name in _COUNTS and not (is_number and isinstance(value, int) and value >= 1):
                raise ValueError(f"{name}={value!r} is not allowed: a whole number, at least 1")
        thresholds = config.label_thresholds
        if "threshold" in values:
            thresholds = [values["threshold"]] * len(thresholds)
        # Below 0 there is nothing.
        least = values.get("abstain_below", config.abstain_below) or None
        rule = LabelRule(
            thresholds,
            values.get("top_labels"),
            least,
            values.get("depth"),
            values.get("min_probability"),
            evidence,
            evidence_exact=exact,
        )
        return rule if count is None else replace(rule, evidence_count=count)

    def answer(
        self, answered: Answered, config: HierBertConfig, options: LabelRule
    ) -> dict[str, Any]:
        """What the document's logits, float (C,), say.

        Returns:
            `label` or `labels`, as the kind of labels has it, and `probabilities`. Where asked for,
            `top_labels`, the likeliest first, each with `label` and `probability`.
        """
        logits = answered.scores[self.name]
        names = [config.id2label[number] for number in range(config.num_labels)]
        probabilities = dict(zip(names, self.probabilities(logits).tolist(), strict=True))
        answer = self.decide(probabilities, options) | {"probabilities": probabilities}
        if options.top_labels is not None:
            likeliest = sorted(names, key=lambda name: -probabilities[name])[: options.top_labels]
            answer["top_labels"] = [
                {"label": name, "probability": probabilities[name]} for name in likeliest
            ]
        return answer

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each label, of logits float (..., C)."""
        raise NotImplementedError

    def decide(self, probabilities: dict[str, float], options: LabelRule) -> dict[str, Any]:
        """The labels of an answer, by those of all labels in their order."""
        raise NotImplementedError

    def reads_for(self, options: LabelRule) -> frozenset[str]:
        """Sentences too, where they are evidence."""
        known = self.sentences_add_up or options.evidence_exact
        wanted = options.evidence is not None and known
        return self.reads | {"sentence"} if wanted else self.reads

    def evidence(self, model: Any, answered: Answered, options: LabelRule) -> dict[str, Any]:
        """`evidence` of the answer's labels, likeliest first, and of those that were asked for.

        What is explained is a label's logit, the log of p / (1 - p), and of a regression the
        number.
        """
        if options.evidence is None:
            return {}
        labels = self.labels_explained(answered, model.config, options)
        if not labels:
            return {"evidence": []}
        # Gradients are needed, whatever the caller does without.
        with torch.inference_mode(False):
            found = self.explain(model, answered, labels)
            told = found.strongest(
                options.evidence_count, self.sentences_add_up, options.evidence_exact
            )
        evidence: list[dict[str, Any]] = []
        for number, value, parts in zip(labels, found.whole.tolist(), told, strict=True):
            label = {"label": model.config.id2label[number]}
            evidence.append(label | self.explained_value(value) | parts)
        return {"evidence": evidence}

    def explained_value(self, value: float) -> dict[str, float]:
        """What an entry of evidence calls the value that is explained."""
        return {"logit": value}

    def places(self, model: Any, answered: Answered) -> list[float]:
        """Where in the document lie the segments that speak most for the answer's labels, 0 to 1.

        Empty for one segment.
        """
        labels = self.labels_explained(answered, model.config, self.options(model.config, {}))
        if not labels or len(answered.segment_vectors) < 2:
            return []
        with torch.inference_mode(False):
            spans, found = self.explain(model, answered, labels).segments(_MOST_PLACES)
        most, numbers = self.strength(found).max(0)
        middles = [sum(spans[number]) / 2 for number in numbers[most > 0].tolist()]
        return [middle / len(answered.document.text) for middle in middles]

    def strength(self, contributions: Tensor) -> Tensor:
        """How much parts speak for an answer, by their contributions to its labels."""
        return contributions

    def labels_explained(
        self, answered: Answered, config: HierBertConfig, options: LabelRule
    ) -> list[int]:
        """Numbers of the answer's labels, likeliest first, and of those that were asked for."""
        labels = self.answered_labels(answered.scores[self.name], options)
        return list(dict.fromkeys([*labels, *(options.evidence or ())]))

    def answered_labels(self, logits: Tensor, options: LabelRule) -> list[int]:
        """Numbers of the labels that an answer has, likeliest first, of logits float (C,)."""
        raise NotImplementedError

    def explain(self, model: Any, answered: Answered, labels: list[int]) -> Evidence:
        """What the logits of some labels, by number, lose without parts of the document."""
        config = model.config
        divisors = self.temperatures(config)
        weights = {}
        for name in self.logit_weights or ():
            own = torch.as_tensor(self.weight_of(name), dtype=torch.float64).cpu()
            weights[name] = (own / divisors).float()[:, None]
        return Evidence(
            model, self.name, answered, lambda z: self.explained(z, labels, config), weights
        )

    def explained(self, logits: Tensor, labels: list[int], config: HierBertConfig) -> Tensor:
        """The logit of the probability of each of L labels, float (R, L), of logits (R, C)."""
        raise NotImplementedError

    def losses(
        self, logits: Tensor, labels: Tensor, structure: Structure | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss of each document, float32 (D,), and which documents have labels, bool (D,).

        Args:
            logits: float (D, C).
            labels: As the kind has them.
            structure: Not read.
        """
        raise NotImplementedError


_Kind = TypeVar("_Kind", bound=type[ClassificationHead])
LABEL_HEADS: dict[str, type[ClassificationHead]] = {}
"""Kinds of labels by the config's problem type."""


def register_labels(problem_type: str) -> Callable[[_Kind], _Kind]:
    """Register a kind of labels, as a class decorator."""

    def register(kind: _Kind) -> _Kind:
        LABEL_HEADS[problem_type] = kind
        return kind

    return register


def loss_weights(weights: Sequence[float] | None, logits: Tensor) -> Tensor | None:
    """What each of C labels counts in the loss, float32 (C,), where some count more."""
    return None if weights is None else torch.tensor(weights, device=logits.device)


def _evidence(config: HierBertConfig, setting: str, asked: Any) -> list[int] | None:
    """Numbers of the labels that are asked for by name; None where no evidence is asked for."""
    if isinstance(asked, bool):
        return [] if asked else None
    names = [config.id2label[number] for number in range(config.num_labels)]
    if isinstance(asked, str) or not isinstance(asked, Sequence):
        raise ValueError(f"{setting}={asked!r} is not allowed: True, or a list of labels")
    for name in asked:
        if name not in names:
            known = ", ".join(map(repr, names[:_MOST_NAMES]))
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            raise ValueError(f"{setting}={name!r} is not allowed: the model has {known}{more}")
    return [names.index(name) for name in asked]
