"""What the files of a model say of themselves, checked before and while a model is built of them.

A stranger's settings can name files elsewhere, code on the Hub, or sizes that no machine has.
Invariant: what passes reads plain safetensors files of its own folder, runs no code of its own, and
builds a model about as large as those files.
"""

import contextlib
import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from hierbert.errors import HierBertError, ModelError, error_text, quote
from hierbert.files import read_json
from hierbert.model.configuration_hierbert import HierBertConfig

CONFIG = "config.json"
Kind = Callable[[dict[str, Any], str], dict[str, Any]]
"""Refuses the content of a config.json that is of another kind of model than is wanted, at a place
that messages begin with; gives the values of it that are sizes."""
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_ADAPTER = "adapter_config.json"
_PICKLES = (".bin", ".pt", ".pkl")
_HUB_ARGUMENTS = (
    "revision", "token", "cache_dir", "force_download", "local_files_only", "subfolder",
)  # fmt: skip
# Of this package's own choosing: above any text encoder's, and cheap to count up to.
_MOST_LAYERS = 1000
_LARGEST_SIZE = 1 << 21
# Keys by which a configuration makes transformers read other files or fetch code.
_FOREIGN = {
    "transformers_weights": "names the file of its weights",
    "quantization_config": "is of quantized weights",
    "kernel_config": "names code on the Hub",
    "use_kernels": "asks for code from the Hub",
    "chunk_size_feed_forward": "asks for segments of certain lengths alone",
    "distributed_config": "asks for several processes",
    "_attn_implementation_internal": "sets what is not to be set",
    "_experts_implementation_internal": "sets what is not to be set",
}
_ATTENTION = re.compile(r"_?(attn|experts)_implementation")
_BUILT_IN_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
# Whole numbers that are no sizes.
_NO_SIZE = re.compile(r"theta|base|seed|token|_id$|^id$|factor|version|step")
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")


@dataclass(frozen=True)
class WeightSizes:
    """How large the weights of a model are, by their files' headers."""

    tensors: int
    numbers: int
    largest_dimension: int

    @classmethod
    def of(cls, shapes: Sequence[Sequence[int]]) -> "WeightSizes":
        """Those of all tensors, from their shapes."""
        return cls(
            tensors=len(shapes),
            numbers=sum(math.prod(shape) for shape in shapes),
            largest_dimension=max((max(shape, default=1) for shape in shapes), default=0),
        )


def check_files(
    source: str, place: str, kind: Kind, **hub: Any
) -> tuple[WeightSizes | None, str | None]:
    """Check the files of a model or an encoder before it is built.

    Args:
        source: A folder, or a Hub id.
        place: What the messages begin with.
        kind: What is wanted: `of_hierbert`, `of_encoder` or `of_generator`.
        **hub: `revision`, `token` and the like for a Hub id.

    Returns:
        How large its weights are, None where they are sharded on the Hub; and of the Hub the commit
        that was checked, so that the same is loaded although its branch may have moved on.

    Raises:
        ModelError: A file is missing, damaged, no plain file or too large; or the configuration
            asks for other files, for code, or for a model that these weights are not of.
        OSError: The Hub has no such repository, or cannot be reached.
    """
    folder, commit = Path(source), None
    is_local = folder.is_dir()
    if not is_local:
        folder, commit = _fetch(source, place, kind, **hub)
    if (folder / _ADAPTER).exists():
        raise ModelError(
            f"{place}: {_ADAPTER} says that it is an adapter, which is not read; merge it into "
            "the model it was trained for"
        )
    # transformers takes these for the model's, whatever lies beside them.
    for path in sorted(folder.iterdir()):
        if _DISTRIBUTED.fullmatch(path.name):
            raise ModelError(
                f"{place}: {path.name} is of a distributed checkpoint, which is not read; save "
                f"the model as {_WEIGHTS}"
            )
    names, index, sizes = [_WEIGHTS], folder / _INDEX, None
    if not (folder / _WEIGHTS).exists():
        if not index.exists():
            pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
            other = "".join(f"; {name} is not read" for name in pickles)
            raise ModelError(f"{place} holds no weights: {_WEIGHTS} is missing{other}")
        names = _check_index(read_json(index, ModelError, place), place)
    if is_local or names == [_WEIGHTS]:
        sizes = _read_sizes([folder / name for name in names], place)
    _check_config(read_json(folder / CONFIG, ModelError, place), place, kind, sizes)
    return sizes, commit


def _fetch(name: str, place: str, kind: Kind, **hub: Any) -> tuple[Path, str | None]:
    """What there is to check of a repository of the Hub: its folder in the cache, its commit."""
    # What `cached_file` does not know is passed over.
    given = {key: hub[key] for key in _HUB_ARGUMENTS if key in hub}
    config = cached_file(name, CONFIG, **given)
    commit = extract_commit_hash(config, None)
    if commit is not None:
        given["revision"] = commit
    folder = Path(str(config)).parent
    # Before the weights come, which take longer.
    _check_config(read_json(folder / CONFIG, ModelError, place), place, kind)
    given["_raise_exceptions_for_missing_entries"] = False
    cached_file(name, _ADAPTER, **given)
    if cached_file(name, _WEIGHTS, **given) is None:
        cached_file(name, _INDEX, **given)
    return folder, commit


def _check_index(index: dict[str, Any], place: str) -> list[str]:
    """The shards that the content of an index names, sorted."""
    shards = index.get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else []
    for name in names or [None]:
        # transformers would unpickle any other.
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise ModelError(
                f"{place}: {_INDEX} names {name!r} for a file of weights; allowed are "
                ".safetensors files of the same folder"
            )
    return sorted(set(names))


def _read_sizes(paths: list[Path], place: str) -> WeightSizes:
    """The sizes of all weights in safetensors files, of which only the headers are read."""
    shapes: list[list[int]] = []
    for path in paths:
        what = f"{place}: its weights cannot be loaded: {path.name}"
        if not path.is_file():
            raise ModelError(f"{what} {'is no plain file' if path.exists() else 'is missing'}")
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()
                shapes += [file.get_slice(name).get_shape() for name in names]
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{what} is damaged or not whole ({error_text(error)})") from error
    return WeightSizes.of(shapes)


def _check_config(
    values: dict[str, Any], place: str, kind: Kind, sizes: WeightSizes | None = None
) -> None:
    """Check the content of a config.json against the sizes of its weights, where they are known."""
    sized = kind(values, place)
    encoder = values.get("text_config")
    for part in (values, encoder if isinstance(encoder, dict) else {}):
        for key in part:
            if callable(getattr(HierBertConfig, key, None)):
                raise ModelError(
                    f"{place}: {CONFIG}: {quote(key)} is no setting, but a method of configurations"
                )
    for path, value in _walk(values):
        key = path.rpartition(".")[2]
        if key in _FOREIGN and value:
            raise ModelError(
                f"{place}: {CONFIG}: {path} {_FOREIGN[key]}, which is not allowed; save the model "
                "without it"
            )
        if _ATTENTION.fullmatch(key) and value is not None and value not in _BUILT_IN_ATTENTION:
            raise ModelError(
                f"{place}: {CONFIG}: {path}={quote(value)} is not allowed; choose from "
                f"{', '.join(_BUILT_IN_ATTENTION)}"
            )
    check_sizes(sized, place, sizes)


def of_hierbert(values: dict[str, Any], place: str) -> dict[str, Any]:
    """The `Kind` of one of hierbert's models."""
    if values.get("model_type") != "hierbert":
        raise ModelError(
            f"{place}: {CONFIG} is of a model of type {quote(values.get('model_type'))}; hierbert "
            'loads what train.py saved (model_type "hierbert")'
        )
    encoder = {} if values.get("text_config") is None else values["text_config"]
    if not isinstance(encoder, dict):
        raise ModelError(f"{place}: {CONFIG}: text_config must be an object")
    _check_encoder(encoder.get("model_type", "bert"), place)
    own = ("num_labels", "aggregator_layers", "sentence_layers", "attention_heads")
    return {name: values[name] for name in own if name in values} | {"text_config": encoder}


def of_encoder(values: dict[str, Any], place: str) -> dict[str, Any]:
    """The `Kind` of an encoder."""
    if values.get("model_type") == "hierbert":
        raise ModelError(
            f"{place} is a hierbert model; to train it further, give it as model.start_from"
        )
    _check_encoder(values.get("model_type"), place)
    return values


def of_generator(values: dict[str, Any], place: str) -> dict[str, Any]:
    """The `Kind` of a model that writes text: a causal one or an encoder-decoder."""
    kind = values.get("model_type")
    what = f"{place}: {CONFIG}: its model_type {quote(kind)} is"
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ModelError(
            f"{what} none that transformers knows by itself; code of its own repository is not run"
        )
    # What fills gaps in a text is in the list of causal models too.
    is_masked = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    is_causal = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    is_causal &= not is_masked or bool(values.get("is_decoder"))
    if kind not in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and not is_causal:
        raise ModelError(
            f"{what} of no model that writes text; a causal one (such as llama) or an "
            "encoder-decoder (such as t5) is needed"
        )
    return values


def _check_encoder(kind: Any, place: str) -> None:
    what = f"{place}: {CONFIG}: its encoder's model_type {quote(kind)} is"
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise ModelError(
            f"{what} none that transformers knows by itself; code of its own repository is not run"
        )
    of_several = "made of several models" if CONFIG_MAPPING[kind].sub_configs else None
    if getattr(CONFIG_MAPPING[kind], "is_encoder_decoder", False):
        of_several = "an encoder-decoder"
    if of_several is not None:
        raise ModelError(f"{what} {of_several}; a text encoder such as bert is needed")


def check_sizes(values: dict[str, Any], place: str, sizes: WeightSizes | None) -> None:
    """Refuse numbers that would have to be counted up to before any weight is asked for."""
    tensors = sizes.tensors if sizes else 0
    dimension = sizes.largest_dimension if sizes else 0
    for path, value in _walk(values):
        key = path.rpartition(".")[2].lower()
        if type(value) not in (int, float) or _NO_SIZE.search(key):
            continue
        most = max(_LARGEST_SIZE, dimension)
        if "layer" in key and not key.endswith(("eps", "epsilon", "drop")):
            most = max(_MOST_LAYERS, tensors)
        elif key == "num_labels":
            most = max(_LARGEST_SIZE // 2, dimension)
        if value > most and value != math.inf:
            raise ModelError(
                f"{place}: {CONFIG}: {path}={quote(value)} is more than a model of these weights "
                f"can have; at most {most:,}"
            )


def _walk(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every entry of nested objects and lists with its dotted path, however deep they are."""
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        prefix, inner = waiting.pop()
        for name, value in inner.items() if isinstance(inner, dict) else enumerate(inner):
            yield f"{prefix}{name}", value
            # The names of labels are no settings.
            if isinstance(value, (dict, list)) and name not in ("id2label", "label2id"):
                waiting.append((f"{prefix}{name}.", value))


@contextlib.contextmanager
def strangers_files(place: str) -> Iterator[None]:
    """Around what reads them: it fails anywhere in transformers, with anything, and is one line."""
    try:
        yield
    except HierBertError:
        raise
    except Exception as error:
        raise ModelError(f"{place} cannot be loaded: {error_text(error)}") from error


@contextlib.contextmanager
def bounded_building(sizes: WeightSizes | None, place: str) -> Iterator[None]:
    """Stop (ModelError) the laying out of a model, on "meta", that grows far beyond its weights.

    Where their sizes are not known there is no bound.
    """
    if sizes is None:
        yield
        return
    thread = threading.get_ident()
    # A model may be built twice, and its weights tied; more than that is another model.
    most_tensors = 4 * sizes.tensors + 10_000
    most_numbers = 4 * sizes.numbers + 1_000_000
    built = [0, 0]

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        # Models are laid out without memory; what is read from the files has their size.
        if tensor is None or tensor.device.type != "meta" or threading.get_ident() != thread:
            return
        built[0] += 1
        built[1] += tensor.numel()
        if built[0] > most_tensors or built[1] > most_numbers:
            raise ModelError(
                f"{place}: config.json is of a larger model than its weights: they hold "
                f"{sizes.numbers:,} numbers in {sizes.tensors:,} tensors"
            )

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def refuse_other_weights(model: nn.Module, report: dict[str, Any], place: str) -> None:
    """Refuse (ModelError) what did not load as a config.json says, by the report of loading it."""
    if lost := sorted(report["missing_keys"]):
        raise ModelError(f"{place} lacks {len(lost)} weights, such as {lost[0]}")
    if wrong := sorted(report["mismatched_keys"]):
        weight, there, wanted = wrong[0]
        raise ModelError(
            f"{place} holds {len(wrong)} weights of another shape than its config.json says, such "
            f"as {weight}: {tuple(there)}, where {tuple(wanted)} is needed"
        )
    refuse_not_finite(model, place)


def refuse_not_finite(model: nn.Module, place: str) -> None:
    """Refuse (ModelError) a model whose weights hold NaN or infinity."""
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            wrong = int((~torch.isfinite(weight)).sum())
            raise ModelError(
                f"{place}: {wrong:,} of the {weight.numel():,} numbers of {name} are not finite "
                "(NaN or infinity), so that its answers would be none"
            )
