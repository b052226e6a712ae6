"""What the predictor answers about one document; plain data."""

from dataclasses import dataclass

from hierbert.model.decoding import SummarySentence
from hierbert.model.segment_limit import Omission


@dataclass(frozen=True)
class Prediction:
    """All that was asked about one document; what was not asked is None.

    Attributes:
        label: The likeliest label; for regression the number.
        labels: Multi-label: those that reach the model's threshold, likeliest first.
        probabilities: Of every label; None for regression.
        summary: The sentences joined by newlines, each on one line.
        sentences: The summary's sentences, in its order.
        document_vector: H numbers.
        segment_vectors: S lists of H numbers, after the encoder and before the aggregator.
        segment_spans: Start and end of each segment in characters.
        omission: What `max_segments` left out of the document; None when nothing was.
    """

    label: str | float | None = None
    labels: list[str] | None = None
    probabilities: dict[str, float] | None = None
    summary: str | None = None
    sentences: list[SummarySentence] | None = None
    document_vector: list[float] | None = None
    segment_vectors: list[list[float]] | None = None
    segment_spans: list[tuple[int, int]] | None = None
    omission: Omission | None = None
