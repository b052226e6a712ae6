"""What reads segments in the place of torch, by name: `--backend`.

A backend makes a `Runtime` of an encoder. The torch weights stay where they are: they are what is
saved, what has gradients, and what names vectors. In float32 a runtime gives the same numbers up to
rounding, so that cached vectors and jobs are shared with torch.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from hierbert.errors import ConfigError
from hierbert.loading.onnx import onnx_runtime
from hierbert.loading.openvino import openvino_runtime
from hierbert.loading.probing import LEAST_GAIN, probe_runtime
from hierbert.log import log
from hierbert.model.encoding import Runtime
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

TORCH, AUTO = "torch", "auto"


@dataclass(frozen=True)
class Backend:
    """A runtime that may be installed.

    Attributes:
        make: Of a model, its processor and one of `dtypes`; a ConfigError where it cannot read
            that model's encoder.
        package: What must be importable.
        extra: The extra of hierbert that installs it.
        dtypes: What it computes in.
    """

    make: Callable[[HierBertForDocuments, HierBertProcessor, str], Runtime]
    package: str
    extra: str
    dtypes: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Whether its package is here."""
        return importlib.util.find_spec(self.package) is not None


BACKENDS = {
    "openvino": Backend(openvino_runtime, "openvino", "openvino", ("float32", "int8")),
    "onnx": Backend(onnx_runtime, "onnxruntime", "onnx", ("float32",)),
}
"""Those beside torch; to have another, add an entry."""


def check_backend(name: str, dtype: str, on_cpu: bool) -> None:
    """Refuse (ConfigError) a backend that there is not, or that does not compute so, or there."""
    if name in (TORCH, AUTO):
        if name == AUTO and dtype != "float32":
            raise ConfigError(f"backend auto is for dtype float32, not {dtype}; name a backend")
        return
    if name not in BACKENDS:
        every = ", ".join((TORCH, *BACKENDS, AUTO))
        raise ConfigError(f"backend {name!r} is not allowed; choose from {every}")
    backend = BACKENDS[name]
    if dtype not in backend.dtypes:
        raise ConfigError(
            f"backend {name} does not compute in {dtype}; choose from {', '.join(backend.dtypes)}"
        )
    if not on_cpu:
        raise ConfigError(f"backend {name} is for CPUs; name the device too: cpu")
    if not backend.installed:
        raise ConfigError(
            f"backend {name} needs {backend.package}, which is missing: "
            f"pip install 'hierbert[{backend.extra}]'"
        )


def use_backend(
    name: str, model: HierBertForDocuments, processor: HierBertProcessor, dtype: str
) -> None:
    """Let a backend read a model's segments.

    "auto" takes the fastest in float32 that is installed, if it takes at least 1.1 times less time
    than torch here.

    Raises:
        ConfigError: A backend that is named cannot read this encoder.
    """
    encoder = model.hierbert.segment_encoder
    if name == AUTO:
        encoder.runtime = _fastest(model, processor)
    elif name != TORCH:
        encoder.runtime = _made(name, model, processor, dtype)


def _made(
    name: str, model: HierBertForDocuments, processor: HierBertProcessor, dtype: str
) -> Runtime:
    if model.hierbert.segment_encoder.first_token_sees_all:
        raise ConfigError(
            f"backend {name} cannot read an encoder whose first tokens see all others (a "
            "Longformer's); use torch"
        )
    return BACKENDS[name].make(model, processor, dtype)


def _fastest(model: HierBertForDocuments, processor: HierBertProcessor) -> Runtime | None:
    made: dict[str, Runtime] = {}
    for name, backend in BACKENDS.items():
        if model.device.type != "cpu" or not backend.installed:
            continue
        try:
            made[name] = _made(name, model, processor, "float32")
        except ConfigError as error:
            log.warning(f"{error}; it is left out")
    if not made:
        return None
    seconds = probe_runtime(model.hierbert.segment_encoder, made, model.config.segment_tokens)
    best = min(made, key=lambda name: seconds[name])
    return made[best] if seconds[TORCH] >= LEAST_GAIN * seconds[best] else None
