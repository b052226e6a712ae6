"""A layout like LexGLUE's hierarchical BERT, written for the benchmark.

64 segments of 128 tokens for every document, whatever its length; the same pretrained encoder; two
transformer layers over the segments' CLS states; the greatest of each dimension; a linear head.
What lies beyond 64 segments is not read. Source: Chalkidis et al., "LexGLUE", ACL 2022, section 4.
"""

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.common.models import LABELS, Shape
from benchmarks.systems.base import linear_head

_SEGMENTS = 64
_SEGMENT_TOKENS = 128


class LexGlueLayout:
    """A fixed rectangle of 8,192 tokens for each document, one document at a time."""

    name = "LexGLUE-like layout"
    note = (
        f"{_SEGMENTS} segments of {_SEGMENT_TOKENS} tokens for every document; reads at most "
        f"{_SEGMENTS * (_SEGMENT_TOKENS - 2):,} tokens of it"
    )

    def __init__(self, encoder: torch.nn.Module, tokenizer: Any, shape: Shape, seed: int) -> None:
        self.encoder = encoder
        self.tokenizer = tokenizer
        torch.manual_seed(seed)
        layer = torch.nn.TransformerEncoderLayer(
            shape.hidden_size,
            shape.heads,
            shape.intermediate_size,
            activation="gelu",
            batch_first=True,
        )
        self.upper = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
        self.positions = torch.nn.Embedding(_SEGMENTS, shape.hidden_size)
        self.head = linear_head(shape.hidden_size, LABELS, seed)

    @torch.inference_mode()
    def classify(self, texts: Sequence[str]) -> list[int]:
        """The number of each document's label."""
        return [int(self._logits(text).argmax()) for text in texts]

    def _logits(self, text: str) -> torch.Tensor:
        inside = _SEGMENT_TOKENS - 2
        tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"][: _SEGMENTS * inside]
        ids = torch.full((_SEGMENTS, _SEGMENT_TOKENS), self.tokenizer.pad_token_id)
        mask = torch.zeros(_SEGMENTS, _SEGMENT_TOKENS, dtype=torch.int64)
        mask[:, 0] = 1
        count = max(1, -(-len(tokens) // inside))
        for row in range(count):
            part = tokens[row * inside : (row + 1) * inside]
            part = [self.tokenizer.cls_token_id, *part, self.tokenizer.sep_token_id]
            ids[row, : len(part)] = torch.tensor(part)
            mask[row, : len(part)] = 1
        states = self.encoder(input_ids=ids, attention_mask=mask)[0][:, 0]
        # Which segments are real, as True where the attention must not look.
        hidden = (torch.arange(_SEGMENTS) >= count)[None]
        states = self.upper((states + self.positions.weight)[None], src_key_padding_mask=hidden)
        return self.head(states[0, :count].amax(0))
