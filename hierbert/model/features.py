"""Features: numbers of a document beside its vectors, such as the words it holds.

What a feature reads of a document follows from the document alone. What it learnt from the training
documents is in its buffers, tensors of sizes that its settings fix, so that it is saved, hashed and
moved with the model's weights. Checkpoints may hold any feature that is registered here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from .heads import Structure, check_registered
from .segmentation import SegmentedDocument
from .sentence_kinds import KINDS
from .sentences import Span


@dataclass(frozen=True)
class LeftOut:
    """Parts of a document, each left out once: R of them; S segments.

    Attributes:
        spans: What is left out of the text, R of them.
        kept: Segments that are still read, bool (R, S).
    """

    spans: Sequence[Span]
    kept: Tensor


class Feature(nn.Module):
    """Something computed from a document; heads read it as ``vectors.features[name]``.

    A subclass takes its settings as keyword arguments of plain values, which a checkpoint's
    config keeps under `features`, and makes buffers of the sizes that they fix.

    Attributes:
        name: By which heads and configs know it.
        fields: Names of what it reads of a document beside the text, such as "query": columns in
            corpora and jobs, `Document.fields` in Python; ``document.fields[name]`` in
            `collate`, which is None where the document has none.
        may_lack: Those of them that a document in Python may be without, and a run or a job
            without a column for.
        fitted: Whether the buffers are those of a trained model, whose heads read them so; they
            are not fitted anew then.
    """

    name: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ()
    may_lack: ClassVar[tuple[str, ...]] = ()
    fitted = False

    def fit(
        self, documents: Sequence[SegmentedDocument], targets: Mapping[str, Sequence[Any]]
    ) -> None:
        """Learn from the training documents, into the buffers; by default nothing.

        Args:
            documents: Of the training split.
            targets: What each task learns of them, by the task's name; None where it has nothing.
        """

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """What `forward` needs of a batch, by any names; it does not read the buffers."""
        raise NotImplementedError

    def leaving_out(self, document: SegmentedDocument) -> Callable[[LeftOut], dict[str, Tensor]]:
        """What collates a document R times, each time without a part, for evidence.

        A feature that does not say otherwise stays what it is of the whole document.
        """
        return lambda left_out: self.collate([document] * len(left_out.spans))

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """The feature of a batch, such as float (D, F).

        Args:
            inputs: As `collate` made them, on the model's device.
            structure: Of the batch.
        """
        raise NotImplementedError


FEATURES: dict[str, type[Feature]] = {}

_Kind = TypeVar("_Kind", bound=type[Feature])


def register_feature(feature: _Kind) -> _Kind:
    """Register a kind of feature, as a class decorator."""
    FEATURES[feature.name] = feature
    return feature


@register_feature
class SentenceKinds(Feature):
    """The kind of each sentence, such as prose or code: float (N, K), 1 for the one it is of.

    The K kinds are those of `sentence_kinds.KINDS`, in that order.
    """

    name = "sentence_kinds"

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """The numbers of the kinds."""
        kinds = [KINDS.index(kind) for each in documents for kind in each.sentence_kinds]
        return {"kinds": torch.tensor(kinds, dtype=torch.int64)}

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each sentence of the batch."""
        return nn.functional.one_hot(inputs["kinds"], len(KINDS)).float()


def make_features(settings: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Feature]:
    """The features of these settings, by name, not fitted.

    Raises:
        ValueError: A feature is not registered.
    """
    check_registered("feature", settings or {}, FEATURES)
    return {name: FEATURES[name](**own) for name, own in (settings or {}).items()}


def collate_features(
    features: Mapping[str, Feature], documents: Sequence[SegmentedDocument]
) -> dict[str, Tensor]:
    """What features need of a batch, as arguments of `HierBertForDocuments.forward`."""
    return {
        f"features.{name}.{key}": value
        for name, feature in features.items()
        for key, value in feature.collate(documents).items()
    }
