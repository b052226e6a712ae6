"""Hashes of what numbers depend on: configurations and weights, or the files that hold them.

Invariant: whatever changes an answer changes the hash; where a model lies does not.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.state_files import file_checksum

# Of a configuration; they change no number.
_UNIMPORTANT = (
    *("_name_or_path", "transformers_version", "dtype"),
    *("architectures", "auto_map", "custom_pipelines"),
)
_MODEL_FILES = (".gguf", ".jinja", ".json", ".jsonl", ".model", ".safetensors", ".txt")


def model_fingerprint(model: HierBertForDocuments, processor: HierBertProcessor) -> str:
    """Hash of all that a model's answers depend on: 24 hexadecimal digits."""
    computes = model.hierbert.segment_encoder.computes
    digest = hashlib.sha256()
    add_settings(digest, [plain_config(model.config), computes])
    tokenizer = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    # The last call's settings, no part of the tokenizer.
    for name in ("truncation", "padding"):
        tokenizer.pop(name, None)
    add_settings(digest, tokenizer)
    add_weights(digest, model)
    return digest.hexdigest()[:24]


def folder_fingerprint(source: str | os.PathLike[str]) -> str:
    """Hash of a model's files: 32 hexadecimal digits; of anything but a folder, the name itself.

    It loads nothing. Unlike `model_fingerprint`, it differs where two files hold the same model in
    other bytes, and does not depend on how the model computes. An OSError where a file cannot be
    read.
    """
    folder = Path(os.path.expanduser(source))
    if not folder.is_dir():
        return str(source)
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.suffix in _MODEL_FILES and path.is_file():
            digest.update(f"{path.name}\0{file_checksum(path)}\n".encode())
    return digest.hexdigest()


def plain_config(config: PreTrainedConfig) -> dict[str, Any]:
    """A configuration without what changes no number."""
    return _without_unimportant(config.to_diff_dict())


def _without_unimportant(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: _without_unimportant(v) for k, v in value.items() if k not in _UNIMPORTANT}


def add_settings(digest: "hashlib._Hash", settings: Any) -> None:
    """Add plain values to a hash."""
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())


def add_weights(digest: "hashlib._Hash", module: nn.Module) -> None:
    """Add all weights and buffers to a hash; a TypeError where they are kept in an unknown form."""
    # Buffers that are not saved among them, whether compiled or not.
    values = {**module.state_dict(), **dict(module.named_buffers())}
    plain = {name.replace("_orig_mod.", ""): value for name, value in values.items()}
    for name, value in sorted(plain.items()):
        if not isinstance(value, Tensor):
            raise TypeError(f"weight {name} of the encoder is of {type(value).__name__}: no tensor")
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
