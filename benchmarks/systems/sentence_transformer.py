"""sentence-transformers' own `encode` over the segments of documents, with mean pooling."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.common.models import LABELS
from benchmarks.systems.base import Unavailable, linear_head


class SentenceTransformersEncode:
    """`SentenceTransformer.encode` over all segments, their mean, a linear head.

    It gets the segments' texts ready-made: cutting the documents is not in its time.
    """

    name = "sentence-transformers encode"

    def __init__(
        self,
        folder: str,
        max_tokens: int,
        segments: dict[str, list[str]],
        batch_size: int,
        seed: int,
    ) -> None:
        try:
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        except ImportError as error:
            raise Unavailable(f"not installed: {error}") from error
        transformer = Transformer(folder, max_seq_length=max_tokens)
        width = transformer.get_embedding_dimension()
        self.model = SentenceTransformer(
            modules=[transformer, Pooling(width, "mean")], device="cpu"
        )
        self.segments = segments
        self.batch_size = batch_size
        self.head = linear_head(width, LABELS, seed)
        self.note = (
            f"batch_size={batch_size}; gets our segments ready-made; linear head on the mean of "
            "their vectors"
        )

    def classify(self, texts: Sequence[str]) -> list[int]:
        """The number of each document's label."""
        counts = [len(self.segments[text]) for text in texts]
        parts = self.segment_vectors(texts).split(counts)
        with torch.inference_mode():
            return self.head(torch.stack([part.mean(0) for part in parts])).argmax(1).tolist()

    def segment_vectors(self, texts: Sequence[str]) -> Tensor:
        """Of all documents one after the other, float32 (P, H)."""
        flat = [segment for text in texts for segment in self.segments[text]]
        return self.model.encode(
            flat, batch_size=self.batch_size, convert_to_tensor=True, show_progress_bar=False
        ).cpu()
