"""Features: numbers of a document beside its vectors, such as the words it holds.

What a feature reads of a document follows from the document alone. What it has learnt of the
training documents is in its buffers, tensors of a size that its settings fix, so that it is saved,
hashed and moved with the model's weights. A feature that is registered here is one that checkpoints
may hold.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from .segmentation import SegmentedDocument


class Feature(nn.Module):
    """Something computed of a document; heads read it as ``vectors.features[name]``.

    A subclass takes its settings as keyword arguments of plain values, which a checkpoint's
    config keeps, and makes buffers of the sizes that they say.

    Attributes:
        name: Of the feature.
    """

    name: ClassVar[str]

    def fit(self, documents: Iterable[SegmentedDocument]) -> None:
        """Learn from the training documents, into the buffers; by default there is nothing."""

    def collate(self, documents: Sequence[SegmentedDocument]) -> dict[str, Tensor]:
        """What `forward` needs of a batch, by any names; nothing of the buffers is read."""
        raise NotImplementedError

    def forward(self, inputs: dict[str, Tensor], structure: object) -> Tensor:
        """The feature of a batch, such as float (D, F).

        Args:
            inputs: As `collate` gives them, on the model's device.
            structure: `heads.Structure` of the batch.
        """
        raise NotImplementedError


FEATURES: dict[str, type[Feature]] = {}

_Kind = TypeVar("_Kind", bound=type[Feature])


def register_feature(feature: _Kind) -> _Kind:
    """Make a feature known, as a class decorator."""
    FEATURES[feature.name] = feature
    return feature
