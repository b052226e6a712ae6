"""How large the weights of a model are, by the headers of their files, and what follows from it.

Of a file only the header is read, and it is checked against the file's length. Invariant: within
`bounded_building` no model is built that is much larger than its files, whatever its settings say.
"""

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from hierbert.errors import ModelError, error_text

# The format's own limit on its header.
_LARGEST_HEADER_BYTES = 100_000_000
# Bits of a number of each type that the format has; others are left to what reads them.
_TYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
    "C64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class WeightSizes:
    """How large the weights of a model are, by their files' headers.

    Attributes:
        tensors: How many there are.
        numbers: Of all of them together.
        largest_dimension: Of any.
    """

    tensors: int
    numbers: int
    largest_dimension: int


def read_sizes(paths: list[Path], place: str) -> WeightSizes:
    """The sizes of weights by the headers of their files, of which nothing else is read.

    Args:
        paths: safetensors files.
        place: What the messages begin with.

    Returns:
        The sizes of all of them together.

    Raises:
        ModelError: A file is missing, truncated, or says what cannot be.
    """
    shapes = [shape for path in paths for shape in _shapes(path, place)]
    return WeightSizes(
        tensors=len(shapes),
        numbers=sum(math.prod(shape) for shape in shapes),
        largest_dimension=max((max(shape, default=1) for shape in shapes), default=0),
    )


def _shapes(path: Path, place: str) -> Iterator[list[int]]:
    """The shape of each tensor of a file, after all that can be wrong with it."""
    if not path.is_file():
        what = "is no plain file" if path.exists() else "is missing"
        raise ModelError(f"{place}: its weights cannot be loaded: {path.name} {what}")
    damaged = f"{place}: its weights cannot be loaded: {path.name} is damaged or not whole"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LARGEST_HEADER_BYTES):
                raise ModelError(f"{damaged} ({size:,} bytes, of which {length:,} of header)")
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{damaged} ({error_text(error)})") from error
    there = size - 8 - length
    end = 0
    for name, entry in header.items() if isinstance(header, dict) else [("", None)]:
        if name == "__metadata__":
            continue
        shape, begin, stop = _entry(entry)
        bits = _TYPE_BITS.get(str(entry.get("dtype")), 0) if isinstance(entry, dict) else 0
        if shape is None or (bits and 8 * (stop - begin) != bits * math.prod(shape)):
            raise ModelError(f"{damaged} (its header's entry {name[:100]!r})")
        end = max(end, stop)
        yield shape
    if end != there:
        raise ModelError(f"{damaged} ({there:,} bytes of weights, its header says {end:,})")


def _entry(entry: Any) -> tuple[list[int] | None, int, int]:
    """Shape and place of a tensor as a header's entry gives them; no shape where it is none."""
    if not isinstance(entry, dict):
        return None, 0, 0
    shape, place = _whole_numbers(entry.get("shape")), _whole_numbers(entry.get("data_offsets"))
    if place is None or len(place) != 2 or place[0] > place[1]:
        return None, 0, 0
    return shape, place[0], place[1]


def _whole_numbers(values: Any) -> list[int] | None:
    is_list = isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)
    return values if is_list else None


@contextlib.contextmanager
def bounded_building(sizes: WeightSizes | None, place: str) -> Iterator[None]:
    """Stop the laying out of a model, on the device "meta", that grows far beyond its files.

    Args:
        sizes: Of the weights that it is built for; None sets no bound.
        place: What the message begins with.

    Yields:
        Nothing.

    Raises:
        ModelError: Within the context, by the module that is one too many.
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


def refuse_not_finite(model: nn.Module, place: str) -> None:
    """Refuse weights that are no numbers: every answer would be none.

    Args:
        model: With its weights.
        place: What the message begins with.

    Raises:
        ModelError: A weight holds NaN or infinity.
    """
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            wrong = int((~torch.isfinite(weight)).sum())
            raise ModelError(
                f"{place}: {wrong:,} of the {weight.numel():,} numbers of {name} are not finite "
                "(NaN or infinity), so that its answers would be none"
            )
