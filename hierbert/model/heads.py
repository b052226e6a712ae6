"""Heads: each reads a bundle of vectors, gives scores and losses, and turns scores into answers.

A document without targets has a loss of exactly 0 and no gradient, whatever its scores. Checkpoints
may hold any head that is registered here; `HierBertForDocuments` names none of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from .configuration_hierbert import HierBertConfig
from .segmentation import SegmentedDocument


@dataclass
class Structure:
    """Which units belong together in a flat batch; D documents, P segments, N sentences.

    Attributes:
        segments_per_document: int64 (D,), with the sum P.
        sentences_per_document: int64 (D,), with the sum N.
        sentence_segments: Segment in which each sentence begins, counted through the batch,
            ascending, int64 (N,); None where no head reads sentences, as the next.
        sentence_tokens: Tokens of each sentence, int64 (N,).
    """

    segments_per_document: Tensor
    sentences_per_document: Tensor
    sentence_segments: Tensor | None = None
    sentence_tokens: Tensor | None = None

    @classmethod
    def of_documents(cls, documents: Sequence[SegmentedDocument]) -> "Structure":
        """That of some documents, at least one, laid out flat."""
        segments, before = [], 0
        for document in documents:
            segments.append(document.sentence_segments + before)
            before += len(document.segment_lengths)
        return cls(
            torch.tensor([len(document.segment_lengths) for document in documents]),
            torch.tensor([len(document.sentence_spans) for document in documents]),
            torch.cat(segments),
            torch.cat([document.sentence_tokens for document in documents]),
        )

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> "Structure":
        """Those of a model's inputs that have these names."""
        values: dict[str, Any] = {each.name: inputs.get(each.name) for each in fields(cls)}
        return cls(**values)


@dataclass
class Vectors:
    """What heads read of a batch; D documents, P segments, N sentences, H hidden.

    Attributes:
        document: float (D, H).
        segment: As the encoder pools them, before the aggregator, float (P, H).
        segment_states: After the aggregator, float (P, H).
        structure: Which of them belong together.
        sentence: float32 (N, H); None where no head reads them.
        query: Of what is asked about each document, float (D, H), 0 where nothing is; None where no
            head reads them.
        features: The output of each `Feature` that a head reads, by its name.
    """

    document: Tensor
    segment: Tensor
    segment_states: Tensor
    structure: Structure
    sentence: Tensor | None = None
    query: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """A model's scores and vectors for one document; S segments, N sentences, H hidden.

    Attributes:
        document: As it was segmented.
        document_vector: float32 (H,) on the CPU, as all below.
        segment_vectors: float32 (S, H).
        sentence_vectors: float (N, H); None where no head read them.
        scores: Of each head that was asked, by its name: float32, one row or (N,).
        losses: Of each of these heads; None where the document has no target.
        finite: Of each, whether its scores, its loss and the sentence vectors it reads are finite.
    """

    document: SegmentedDocument
    document_vector: Tensor
    segment_vectors: Tensor
    sentence_vectors: Tensor | None = None
    scores: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, float | None] = field(default_factory=dict)
    finite: dict[str, bool] = field(default_factory=dict)


class Head(nn.Module):
    """One question that a model answers from its vectors; made from the model's config.

    Attributes:
        name: Of the head and of its task, such as "classification". Its targets are the argument
            ``targets.NAME`` of `HierBertForDocuments.forward`.
        verb: What users ask a model for: "classify".
        attribute: The name of the head's module in a model, and so the prefix of its weights.
        reads: Of "document", "segment", "segment_states", "sentence", "query" and the names of
            features; vectors of sentences and queries, and features, are only made for a head that
            reads them. An instance may read more, as its config says.
        level: Whether there is one row of scores for each document, or one for each sentence.
        settings: Names of what a question may set, such as "max_words": in the rule of
            `HierBert.predict`, and in the head's pipeline.
    """

    name: ClassVar[str]
    verb: ClassVar[str]
    attribute: ClassVar[str]
    reads: frozenset[str]
    level: ClassVar[Literal["document", "sentence"]] = "document"
    settings: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls, config: HierBertConfig) -> "Head":
        """The head of a model; a config may say that it is of another class than the usual one.

        Raises:
            ValueError: It says one that is not known here.
        """
        return cls(config)

    def forward(self, vectors: Vectors) -> Tensor:
        """Scores, float with a row for each document, or for each sentence."""
        raise NotImplementedError

    def losses(
        self, scores: Tensor, targets: Tensor, structure: Structure
    ) -> tuple[Tensor, Tensor]:
        """The loss of each document, float32 (D,), and which documents count, bool (D,).

        A document that does not count has a loss of exactly 0. `targets` are what the task's
        `collate` makes.
        """
        raise NotImplementedError

    def loss_weight(self, config: HierBertConfig) -> float:
        """The factor of its loss in the sum."""
        return float(getattr(config, f"{self.name}_loss_weight", 1.0))

    def calibrated(self, scores: Tensor, config: HierBertConfig) -> Tensor:
        """The scores to answer with; losses read those before."""
        return scores

    @classmethod
    def options(cls, config: HierBertConfig, given: Mapping[str, Any]) -> Any:
        """How to answer: as the config says, but for what is given.

        Args:
            config: The model's.
            given: Values by the names of `settings`; None counts as not given.

        Returns:
            What `answer` takes.

        Raises:
            ValueError: A value is not allowed.
        """
        return None

    def answer(self, answered: Answered, config: HierBertConfig, options: Any) -> dict[str, Any]:
        """The fields of a row for one document.

        Args:
            answered: The document, its vectors, and its scores under the head's name.
            config: The model's.
            options: As `options` makes them.
        """
        raise NotImplementedError

    def reads_for(self, options: Any) -> frozenset[str]:
        """What it reads to answer so; what `evidence` needs may be more than `reads`."""
        return self.reads

    def evidence(self, model: Any, answered: Answered, options: Any) -> dict[str, Any]:
        """Fields of a row that tell where in the document the answer comes from.

        Args:
            model: The `HierBertForDocuments` that this is a head of.
            answered: As for `answer`.
            options: As `options` makes them.
        """
        return {}

    def places(self, model: Any, answered: Answered) -> list[float]:
        """Where in the document, 0 to 1, lies what the answer rests on; empty: it is not known."""
        return []


HEADS: dict[str, type[Head]] = {}

_Kind = TypeVar("_Kind", bound=type[Head])


def register_head(head: _Kind) -> _Kind:
    """Register a kind of head, as a class decorator."""
    HEADS[head.name] = head
    return head


def check_registered(kind: str, names: Iterable[str], registry: Mapping[str, Any]) -> None:
    """Refuse a head or a feature that is not registered, by its name."""
    for name in names:
        if name not in registry:
            raise ValueError(
                f"this model has a {kind} called {name!r}; those known here are "
                f"{', '.join(registry) or 'none'}; import the module that registers it first"
            )
