"""The words of each segment, and what a linear model says of them.

A word of a long document says more where it stands beside others: of a contract that mentions an
audit somewhere, a few lines on audits tell more than the whole. So segments are asked as documents
are in `words`, and a document's logit is the log of the mean of its segments' exponentials, a soft
maximum (as for bags of instances in Ramon and De Raedt 2000, *Multi Instance Neural Networks*).
"""

from torch import Tensor

from .features import register_feature
from .heads import Structure
from .ragged import group_log_mean_exp
from .segmentation import SegmentedDocument
from .words import Words


@register_feature
class SegmentWords(Words):
    """Logits of labels from the words of each segment: float (D, C)."""

    name = "segment_words"

    @staticmethod
    def texts(document: SegmentedDocument) -> list[str]:
        """Of a document's segments."""
        return [document.text[start:end] for start, end in document.segment_spans]

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each document."""
        logits = super().forward(inputs, structure)
        return group_log_mean_exp(logits, structure.segments_per_document)
