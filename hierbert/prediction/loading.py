"""A saved model from a folder or the Hub, with every mistake answered in one line."""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoTokenizer

from hierbert.errors import ConfigError, ModelError
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    source: str, device: str = "auto", dtype: str = "float32", **hub: Any
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """Load a model that hierbert saved, with its processor.

    Args:
        source: A folder, or a Hub id.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        dtype: One of `DTYPES`; all promises on equal answers are made for float32.
        **hub: `revision`, `token`, `cache_dir` and the like for a Hub id.

    Returns:
        The model in evaluation mode, and its processor.

    Raises:
        ConfigError: There is no such device or dtype.
        ModelError: There is no such model, or it is incomplete or of another kind.
    """
    place = find_device(device)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not allowed; choose from {', '.join(DTYPES)}")
    folder = Path(source)
    if folder.exists() or source.startswith((".", "/", "~")):
        _check_folder(folder)
    try:
        model, report = HierBertForDocuments.from_pretrained(
            source, dtype=DTYPES[dtype], use_safetensors=True, output_loading_info=True, **hub
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **hub)
        processor = HierBertProcessor.from_config(tokenizer, model.config)
    except (OSError, ValueError, SafetensorError, RuntimeError, StrictDataclassError) as error:
        first = str(error).strip().splitlines() or [repr(error)]
        raise ModelError(f"model {source} cannot be loaded: {first[0]}") from error
    lost = sorted(report["missing_keys"])
    if lost:
        raise ModelError(f"model {source} lacks {len(lost)} weights, such as {lost[0]}")
    return model.to(place).eval(), processor


def find_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: "auto", or a name that torch knows.

    Returns:
        The device; it is there.

    Raises:
        ConfigError: It is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r} cannot be used here: {str(error).splitlines()[0]}; "
            "allowed are auto, cpu, and the accelerators of this machine"
        ) from error
    return device


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}")
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"{folder} is no model folder: config.json is missing")
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        kind = values.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{config} cannot be read: {error}") from error
    if kind != "hierbert":
        raise ModelError(
            f"{config} is of a model of type {kind!r}; hierbert loads what train.py saved "
            '(model_type "hierbert")'
        )
    if not list(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds no weights: no .safetensors file is there")
