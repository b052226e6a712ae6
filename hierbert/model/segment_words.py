"""The words of each segment, and what a linear model says of them.

A word of a long document says more where it stands beside others: of a contract that mentions an
audit somewhere, a few lines on audits tell more than the whole. So segments are asked as documents
are in `words`, and a document's logit is the log of the mean of its segments' exponentials, a soft
maximum (as for bags of instances in Ramon and De Raedt 2000, *Multi Instance Neural Networks*).
"""

from torch import Tensor

from .features import LeftOut, register_feature
from .heads import Structure
from .ragged import group_log_mean_exp
from .segmentation import SegmentedDocument
from .sentences import Span
from .words import Words


@register_feature
class SegmentWords(Words):
    """Logits of labels from the words of each segment: float (D, C)."""

    name = "segment_words"

    @staticmethod
    def spans(document: SegmentedDocument) -> list[Span]:
        """Those of its segments."""
        return document.segment_spans

    @staticmethod
    def _kept(left_out: LeftOut) -> Tensor:
        return left_out.kept

    @staticmethod
    def _shares(logits: Tensor) -> Tensor:
        return logits.softmax(0)

    def forward(self, inputs: dict[str, Tensor], structure: Structure) -> Tensor:
        """One row for each document."""
        return group_log_mean_exp(self.logits(inputs), structure.segments_per_document)
