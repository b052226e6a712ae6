"""A saved model from a folder or the Hub, with every mistake answered in one line."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hierbert.data.folders import near_paths_hint
from hierbert.errors import ConfigError, ModelError, error_text
from hierbert.hub import cached_alone
from hierbert.loading.backends import TORCH, check_backend, use_backend
from hierbert.loading.checks import (
    CONFIG,
    bounded_building,
    check_files,
    of_hierbert,
    refuse_other_weights,
    strangers_files,
)
from hierbert.loading.forking import on_one_thread, threads_are_used
from hierbert.loading.int8 import quantize
from hierbert.loading.probing import FLOAT_DTYPES, probe_dtype
from hierbert.loading.tokenizer import load_tokenizer
from hierbert.log import log
from hierbert.model.documents import Document
from hierbert.model.encoding import SegmentEncoder
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.text_encoders import encoder_layers

DTYPES = (*FLOAT_DTYPES, "int8", "auto")


def load_model(
    source: str | os.PathLike[str],
    device: str = "auto",
    dtype: str = "float32",
    backend: str = TORCH,
    **hub: Any,
) -> tuple[HierBertForDocuments, HierBertProcessor, str | None]:
    """Load a model that hierbert saved, with its processor.

    Args:
        source: A folder, or a Hub id.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        dtype: One of `DTYPES`; all promises on equal answers are made for float32. "int8" is of
            the encoder's layers, on a CPU; "auto" measures which of the others is fastest.
        backend: What reads segments: "torch", one of `BACKENDS`, or "auto" for the fastest.
        **hub: `revision`, `token`, `cache_dir` and the like for a Hub id.

    Returns:
        The model in evaluation mode, its processor, and of a Hub id the commit they are of.

    Raises:
        ConfigError: There is no such device, dtype or backend, or not together.
        ModelError: There is no such model, or it is incomplete or of another kind.
    """
    place = find_device(device)
    check_backend(backend, dtype, place.type == "cpu")
    with on_one_thread():
        # Other runtimes are made of weights in float32.
        of_torch = dtype if backend == TORCH else "float32"
        model, processor, commit = _load(source, place, of_torch, hub)
    encoder = model.hierbert.segment_encoder
    if backend != TORCH:
        threads_are_used()
        use_backend(backend, model, processor, dtype)
    if dtype == "auto":
        threads_are_used()
        model = model.to(FLOAT_DTYPES[probe_dtype(encoder.encoder, model.config.segment_tokens)])
    return model, processor, commit


def _load(
    source: str | os.PathLike[str], place: torch.device, dtype: str, hub: dict[str, Any]
) -> tuple[HierBertForDocuments, HierBertProcessor, str | None]:
    """A model on its device, in its precision but for "auto", tried out."""
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is not allowed; choose from {', '.join(DTYPES)}")
    if dtype == "int8" and place.type != "cpu":
        raise ConfigError(f"dtype int8 is for CPUs, not for {place}; choose bfloat16 or float16")
    name = os.path.expanduser(source)
    # Said, lest transformers ask at the terminal whether code may run.
    hub = {"trust_remote_code": False, **hub}
    with strangers_files(f"model {name}"):
        if not _is_hub_id(name):
            check_folder(Path(name))
        if not os.path.isdir(name):
            hub["local_files_only"] = cached_alone(name, CONFIG, **hub)
        sizes, commit = check_files(name, f"model {name}", of_hierbert, **hub)
        if commit is not None:
            hub["revision"] = commit
        with bounded_building(sizes, f"model {name}"):
            model, report = HierBertForDocuments.from_pretrained(
                name,
                dtype=FLOAT_DTYPES.get(dtype, torch.float32),
                use_safetensors=True,
                output_loading_info=True,
                # They are refused below, by name.
                ignore_mismatched_sizes=True,
                **hub,
            )
        tokenizer = load_tokenizer(name, f"model {name}", **hub)
        processor = HierBertProcessor.from_config(tokenizer, model.config)
    refuse_other_weights(model, report, f"model {name}")
    _check_vocabulary(tokenizer, model, name)
    model = model.to(place).eval()
    _try_out(model, processor, name)
    if dtype == "int8":
        try:
            quantize(model.hierbert.segment_encoder, model.config.segment_tokens)
        except ValueError as error:
            raise ConfigError(f"dtype int8: {error}") from error
    return model, processor, commit


def compile_encoder(encoder: SegmentEncoder, needed: bool) -> None:
    """Compile an encoder's layers now, rather than in the middle of the work.

    Where that is not possible: a ConfigError if it is `needed`, else a line in the log.
    """
    layers: Any = []
    threads_are_used(compiled=True)
    try:
        layers = encoder_layers(encoder.encoder)
        for layer in layers:
            layer.compile(dynamic=True)
        ids = torch.full((2, 16), encoder.pad_token_id, device=next(encoder.parameters()).device)
        with torch.inference_mode():
            encoder.encoder(input_ids=ids)
    # What a compiler can fail with has no common class.
    except Exception as error:
        for layer in layers:
            layer._compiled_call_impl = None
        why = (
            f"the encoder cannot be compiled here ({error_text(error)}); on a CPU a C++ compiler "
            "such as g++ is needed"
        )
        if needed:
            raise ConfigError(f"compile: {why}") from error
        log.warning(f"{why}; it runs more slowly without")


def find_device(name: str) -> torch.device:
    """The device of a name that torch knows, or of "auto"; a ConfigError where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        # Reading the number back tells devices that compute from those that only pretend to.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r} cannot be used here: {error_text(error)}; allowed are auto, cpu, and "
            "the accelerators of this machine, such as cuda or cuda:1"
        ) from error
    return device


def _is_hub_id(name: str) -> bool:
    """Whether a name is of the form user/name and no folder of that user is here."""
    user, _, rest = name.partition("/")
    return bool(user and rest and "/" not in rest) and not os.path.isdir(user)


def check_folder(folder: Path) -> None:
    """Refuse (ModelError) what is no folder of a model, with where one may be."""
    if not folder.exists():
        raise ModelError(f"there is no model folder {folder}{near_paths_hint(str(folder))}")
    if not folder.is_dir():
        raise ModelError(f"{folder} is no model folder but a file; name the folder that holds it")
    if not (folder / CONFIG).exists():
        inside = folder / "model"
        hint = f"; did you mean {str(inside)!r}?" if (inside / CONFIG).is_file() else ""
        raise ModelError(f"{folder} is no model folder: {CONFIG} is missing{hint}")


def _check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, model: HierBertForDocuments, name: str
) -> None:
    """Refuse a tokenizer that loads without complaint and is not this model's."""
    largest = max(tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False).values())
    known = model.get_input_embeddings().weight.shape[0]
    if largest >= known:
        raise ModelError(
            f"the tokenizer of model {name} is of another model: it has a token {largest:,}, the "
            f"model knows {known:,}"
        )


def _try_out(model: HierBertForDocuments, processor: HierBertProcessor, name: str) -> None:
    """One word through the model: settings that no weight shows fail here, not in a job."""
    try:
        with torch.inference_mode():
            word = Document("a", dict.fromkeys(processor.fields))
            model(**processor(word).to(model.device))
    except Exception as error:
        raise ModelError(
            f"model {name} is loaded and cannot be used: {type(error).__name__}: "
            f"{error_text(error)}"
        ) from error
