"""The usual layout, written for the benchmark: every segment padded, every document padded.

Each segment is padded to the longest a segment may be, each document to the segments of the
longest in its batch, and the whole rectangle goes through the encoder. The segments, the
aggregator and the head are ours, so that the answers can be compared with ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hierbert.model.heads import Structure
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

_DOCUMENTS_PER_BATCH = 8


class Naive:
    """Padding in both directions, eight documents a batch."""

    name = "naive padding"
    note = "every segment to the longest allowed, every document to the longest of its batch of 8"

    def __init__(self, model: HierBertForDocuments, processor: HierBertProcessor) -> None:
        self.model = model
        self.processor = processor
        self.length = processor.max_tokens_per_segment

    def classify(self, texts: Sequence[str]) -> list[int]:
        """The number of each document's label."""
        return self.logits(texts).argmax(1).tolist()

    def logits(self, texts: Sequence[str]) -> Tensor:
        """Float32 (D, C)."""
        return self._run(texts)[1]

    def segment_vectors(self, texts: Sequence[str]) -> Tensor:
        """Of all documents one after the other, float32 (P, H)."""
        return self._run(texts)[0]

    def _run(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        vectors, logits = [], []
        for first in range(0, len(texts), _DOCUMENTS_PER_BATCH):
            one, other = self._batch(texts[first : first + _DOCUMENTS_PER_BATCH])
            vectors.append(one)
            logits.append(other)
        return torch.cat(vectors), torch.cat(logits)

    @torch.inference_mode()
    def _batch(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        documents = self.processor.segment(list(texts))
        most = max(len(document.segment_lengths) for document in documents)
        encoder = self.model.hierbert.segment_encoder
        ids = torch.full((len(documents), most, self.length), encoder.pad_token_id)
        mask = torch.zeros(len(documents), most, self.length, dtype=torch.int64)
        # A segment of padding alone has no softmax; one token of it is let through.
        mask[:, :, 0] = 1
        for row, document in enumerate(documents):
            parts = document.input_ids.long().split(document.segment_lengths.tolist())
            for column, part in enumerate(parts):
                ids[row, column, : len(part)] = part
                mask[row, column, : len(part)] = 1
        flat = mask.flatten(0, 1)
        states = encoder.encoder(input_ids=ids.flatten(0, 1), attention_mask=flat)[0]
        if self.model.config.pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = flat[..., None].to(states.dtype)
            pooled = (states * weights).sum(1) / weights.sum(1)
        pooled = pooled.view(len(documents), most, -1)
        structure = vars(Structure.of_documents(documents))
        counts = structure["segments_per_document"].tolist()
        real = torch.cat([pooled[row, :count] for row, count in enumerate(counts)])
        sentences = int(structure["sentences_per_document"].sum())
        nothing = real.new_zeros(sentences, real.shape[1])
        output = self.model(segment_vectors=real, sentence_vectors=nothing, **structure)
        return real, output.logits
