"""Our model around a pretrained encoder, its aggregator and head at seeded random weights.

A trained head would give other labels in the same time. The weights are larger than a new model's,
so that a wrong vector shows in the answer.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer

from hierbert.loading.encoders import resolve_encoder
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

LABELS = 2
_HEAD_STANDARD_DEVIATION = 0.1


@dataclasses.dataclass(frozen=True)
class Shape:
    """How large an encoder is."""

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int

    @classmethod
    def of(cls, encoder: str) -> "Shape":
        """The shape of an encoder, by its folder or name."""
        config = AutoConfig.from_pretrained(resolve_encoder(encoder))
        return cls(
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
        )

    def flops_per_token(self, segment_tokens: int) -> int:
        """Floating-point operations of a forward pass for one token of a full segment.

        Products of matrices only, two operations for each multiplication and addition: queries,
        keys, values and output (8 H^2), feed-forward (4 H I), scores and sums (4 L H).
        """
        hidden = self.hidden_size
        layer = 8 * hidden**2 + 4 * hidden * self.intermediate_size + 4 * segment_tokens * hidden
        return self.layers * layer


def load_tokenizer(encoder: str) -> Any:
    """The encoder's tokenizer, without the truncation and padding its file may carry."""
    tokenizer = AutoTokenizer.from_pretrained(resolve_encoder(encoder))
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    # Its own limit is the encoder's; whole documents are read here.
    tokenizer.model_max_length = 10**9
    return tokenizer


def build_model(
    encoder: str, seed: int, **settings: Any
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """Our model for classification and its processor, in float32, in evaluation mode."""
    source = resolve_encoder(encoder)
    torch.manual_seed(seed)
    model = HierBertForDocuments.from_encoder_pretrained(source, num_labels=LABELS, **settings)
    assert isinstance(model, HierBertForDocuments)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            ours = not name.startswith("hierbert.segment_encoder.encoder.")
            if ours and (weight.dim() > 1 or "token" in name):
                weight.normal_(std=_HEAD_STANDARD_DEVIATION, generator=generator)
    processor = HierBertProcessor.from_config(AutoTokenizer.from_pretrained(source), model.config)
    return model, processor


def save_model(encoder: str, folder: Path, seed: int, **settings: Any) -> Path:
    """`build_model`, as a folder that `HierBertPredictor.from_pretrained` reads."""
    model, processor = build_model(encoder, seed, **settings)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
