"""belt-nlp (BELT, MIT licence): pieces of 510 tokens, each padded to 512, means of their logits.

Its classifier is used as published, with a network for another width than its 768: the CLS state
of the same encoder and a linear layer.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.common.models import LABELS
from benchmarks.systems.base import Unavailable, linear_head

_PIECE_TOKENS = 510


class ClsNetwork(torch.nn.Module):
    """What belt-nlp's own `BertNN` does, for any width."""

    def __init__(self, encoder: torch.nn.Module, head: torch.nn.Linear) -> None:
        super().__init__()
        self.model = encoder
        self.linear = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits, float (P, C), of rectangles of tokens (P, L)."""
        return self.linear(self.model(input_ids, attention_mask)[0][:, 0, :])


class Belt:
    """`BertClassifierWithPooling`, without overlap, nothing dropped.

    Unavailable where the package is not installed, or the tokenizer does not number [PAD], [CLS]
    and [SEP] as BERT does.
    """

    name = "belt-nlp"

    def __init__(
        self,
        encoder: torch.nn.Module,
        tokenizer: Any,
        hidden_size: int,
        batch_size: int,
        seed: int,
    ) -> None:
        try:
            published = import_module("belt_nlp.bert_classifier_with_pooling")
        except ImportError as error:
            raise Unavailable(f"not installed: {error}") from error
        numbers = (tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
        if numbers != (0, 101, 102):
            raise Unavailable(
                f"belt-nlp writes BERT's 0, 101 and 102; this tokenizer has {numbers}"
            )
        self.head = linear_head(hidden_size, LABELS, seed)
        self.classifier = published.BertClassifierWithPooling(
            num_labels=LABELS,
            batch_size=batch_size,
            learning_rate=1e-5,
            epochs=1,
            chunk_size=_PIECE_TOKENS,
            stride=_PIECE_TOKENS,
            minimal_chunk_length=1,
            pooling_strategy="mean",
            tokenizer=tokenizer,
            neural_network=ClsNetwork(encoder, self.head),
            device="cpu",
        )
        self.note = (
            f"batch_size={batch_size} documents; pieces of {_PIECE_TOKENS} tokens without overlap; "
            "mean of the pieces' logits"
        )

    def classify(self, texts: Sequence[str]) -> list[int]:
        """The number of each document's label."""
        return self.classifier.predict(list(texts)).tolist()

    def logits(self, texts: Sequence[str]) -> Tensor:
        """Its own, float32 (D, C)."""
        return self.classifier._predict_logits(list(texts))

    def pieces(self, texts: Sequence[str]) -> list[list[Tensor]]:
        """The tokens of each piece of each document as it cuts them, without padding."""
        tokens = self.classifier._tokenize(list(texts))
        return [
            [row[keep.bool()] for row, keep in zip(ids, mask, strict=True)]
            for ids, mask in zip(tokens["input_ids"], tokens["attention_mask"], strict=True)
        ]
