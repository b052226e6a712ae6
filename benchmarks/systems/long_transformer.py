"""transformers' Longformer, ModernBERT and BERT of the encoder's size, at random weights.

They read a document in one piece, one at a time. There are no pretrained weights of this size, and
time does not depend on them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LongformerConfig,
    LongformerForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
)

from benchmarks.common.models import LABELS, Shape

NAMES = {"longformer": "Longformer", "modernbert": "ModernBERT", "bert": "BERT, full attention"}
_LOCAL_TOKENS = 512


class LongTransformer:
    """A model of transformers that reads a document in one piece."""

    def __init__(self, kind: str, tokenizer: Any, shape: Shape, max_tokens: int, seed: int) -> None:
        self.name = NAMES[kind]
        self.tokenizer = tokenizer
        torch.manual_seed(seed)
        self.model = _build(kind, tokenizer, shape, max_tokens).eval()
        size = sum(weight.numel() for weight in self.model.parameters()) / 1e6
        extra = f", attention over {_LOCAL_TOKENS} tokens" if kind == "longformer" else ""
        self.note = f"random weights, {size:.0f} million{extra}; one document at a time"

    @torch.inference_mode()
    def classify(self, texts: Sequence[str]) -> list[int]:
        """The number of each document's label."""
        answers = []
        for text in texts:
            tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            tokens = [self.tokenizer.cls_token_id, *tokens, self.tokenizer.sep_token_id]
            ids = torch.tensor([tokens])
            logits = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            answers.append(int(logits.argmax()))
        return answers


def _build(kind: str, tokenizer: Any, shape: Shape, max_tokens: int) -> PreTrainedModel:
    common = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate_size,
        "num_labels": LABELS,
    }
    if kind == "bert":
        return BertForSequenceClassification(
            BertConfig(**common, max_position_embeddings=max_tokens)
        )
    if kind == "longformer":
        # Its positions start after the padding id, and it pads to whole multiples of its reach.
        positions = max_tokens + _LOCAL_TOKENS + tokenizer.pad_token_id + 2
        return LongformerForSequenceClassification(
            LongformerConfig(
                **common,
                attention_window=[_LOCAL_TOKENS] * shape.layers,
                max_position_embeddings=positions,
            )
        )
    # Its feed-forward layers are gated, with three matrices where BERT has two.
    common["intermediate_size"] = max(8, shape.intermediate_size * 2 // 3)
    return ModernBertForSequenceClassification(
        ModernBertConfig(
            **common, cls_token_id=tokenizer.cls_token_id, max_position_embeddings=max_tokens
        )
    )
