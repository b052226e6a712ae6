"""What the vectors of a document depend on, as hashes: the encoder, and what it reads.

Invariant: whatever changes a vector changes a hash, so that cached vectors are never those of
another text, segmentation, encoder or way of computing. What only changes how fast it is
computed (tokens of a pass, the device) is in no hash; it changes float32 vectors by rounding alone.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hierbert.model.modeling_hierbert import HierBertModel
from hierbert.model.segmentation import SegmentedDocument

KEY_BYTES = 16
# A part of every document's key: raised when what a key stands for changes, so that older files
# find nothing.
_KEY_VERSION = "3"
# Of a configuration; they change no vector.
_UNIMPORTANT = ("_name_or_path", "transformers_version", "dtype", "architectures")


def document_key(document: SegmentedDocument) -> bytes:
    """Hash of what a segment encoder reads of a document, `KEY_BYTES` bytes."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    # Sentences without tokens are in no tensor, but each has a vector.
    digest.update(f"{_KEY_VERSION} {len(document.sentence_spans)} ".encode())
    for part in (document.input_ids, document.segment_lengths, document.sentence_index):
        digest.update(str(len(part)).encode())
        digest.update(part.numpy().data)
    return digest.digest()


def encoder_fingerprint(model: HierBertModel, computes: str = "float32") -> str:
    """Hash of a segment encoder: its weights, its configuration, the pooling and its arithmetic.

    Args:
        model: Its weights must not change while the fingerprint is in use.
        computes: How the encoder computes: a dtype, or a name such as "int8" for what the
            weights alone do not show.

    Returns:
        24 hexadecimal digits.

    Raises:
        TypeError: The encoder keeps weights in a form that cannot be read here.
    """
    # A processor's own instructions make SHA-256 the fastest of the strong hashes.
    digest = hashlib.sha256()
    config = model.config.encoder_config.to_diff_dict()
    for name in _UNIMPORTANT:
        config.pop(name, None)
    settings = [config, model.config.pooling, computes]
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, value in sorted(_state(model.segment_encoder).items()):
        for part in _plain_tensors(name, value):
            digest.update(f"\0{name} {part.dtype} {tuple(part.shape)}".encode())
            flat = part.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:24]


def _state(module: nn.Module) -> dict[str, Any]:
    """Weights and buffers, those that are not saved among them, whether compiled or not."""
    values = {**module.state_dict(), **dict(module.named_buffers())}
    return {name.replace("_orig_mod.", ""): value for name, value in values.items()}


def _plain_tensors(name: str, value: Any) -> Iterator[Tensor]:
    """The tensors that a weight is made of; a quantized one has several."""
    if hasattr(value, "__tensor_flatten__"):
        for inner in value.__tensor_flatten__()[0]:
            yield from _plain_tensors(name, getattr(value, inner))
    elif isinstance(value, Tensor) and not value.is_quantized:
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _plain_tensors(name, inner)
    else:
        raise TypeError(f"weight {name} of the encoder is of {type(value).__name__}: no tensor")
