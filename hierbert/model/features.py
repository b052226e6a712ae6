"""Features: numbers of a document beside its vectors, such as the words it holds.

What a feature reads of a document follows from the document alone. What it learnt from the training
documents is in its buffers, tensors of sizes that its settings fix, so that it is saved, hashed and
moved with the model's weights. Checkpoints may hold any feature that is registered here.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from .heads import Structure
from .segmentation import SegmentedDocument


class Feature(nn.Module):
    """Something computed from a document; heads read it as ``vectors.features[name]``.

    A subclass takes its settings as keyword arguments of plain values, which a checkpoint's
    config keeps under `features`, and makes buffers of the sizes that they fix.
    """

    name: ClassVar[str]

    def fit(self, documents: Iterable[SegmentedDocument]) -> None:
        """Learn from the training documents, into the buffers; by default nothing."""

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """What `forward` needs of a batch, by any names; it does not read the buffers."""
        raise NotImplementedError

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
