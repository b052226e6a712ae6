"""What labels are called, read by the encoder: scores of a document by how near it is to them."""

import torch
from torch import Tensor, nn

from .ragged import group_mean

# Cosines lie near each other; what a score weighs is fitted.
_SHARPNESS = 10.0


class NameVectors(nn.Module):
    """Cosines of the mean of a document's segment vectors and the vector of each label's name.

    Args:
        hidden_size: H.
        labels: C.
    """

    vectors: Tensor

    def __init__(self, hidden_size: int, labels: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(labels, hidden_size))

    @property
    def labels(self) -> int:
        """C."""
        return len(self.vectors)

    def of_segments(self, segment_vectors: Tensor, segments_per_document: Tensor) -> Tensor:
        """Ten times the cosine, float32 (D, C), of vectors float (P, H)."""
        with torch.autocast(segment_vectors.device.type, enabled=False):
            means = group_mean(segment_vectors.float(), segments_per_document)
            nearness: Tensor = _unit(means) @ _unit(self.vectors.float()).T
            return _SHARPNESS * nearness


def _unit(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors, dim=-1)
