"""Models around the small encoders, with weights whose every part shows in the answers."""

from pathlib import Path

import torch
from transformers import AutoTokenizer

from hierbert import HierBertForDocuments, HierBertProcessor


def build(
    folder: Path, seed: int = 0, **settings_
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """A model and its processor, of the encoder in a folder."""
    torch.manual_seed(seed)
    model = HierBertForDocuments.from_encoder_pretrained(
        str(folder),
        **{"num_labels": 3, "summarization": True, "max_tokens_per_segment": 48, **settings_},
    )
    # Fresh weights are small and zero in places; these make every part count.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.startswith("hierbert.segment_encoder.encoder") and weight.dim() > 1:
                weight.normal_(std=0.2)
    return model, HierBertProcessor.from_config(AutoTokenizer.from_pretrained(folder), model.config)


def save_model(folder: Path, encoder: Path, **settings_) -> Path:
    """A model and its processor in a folder, as training leaves them."""
    for part in build(encoder, **settings_):
        part.save_pretrained(folder)
    return folder
