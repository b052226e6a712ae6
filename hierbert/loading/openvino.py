"""The encoder under OpenVINO, on a CPU: in float32, or in int8 by NNCF.

In int8, weights have one scale for each output and activations one for each layer, set while tokens
pass that stand for text; what is large in every text is evened out before (SmoothQuant, Xiao et al.
2023, section 4). These tokens are drawn from the tokenizer's vocabulary, the front of it far more
often than the end, since tokenizers number tokens by how common they are: vectors are then as near
to those in float32 as with documents of a corpus, in whatever language, and do not depend on which
documents come first.

A text's vectors do not depend on the texts beside it, in either precision.
"""

import contextlib
import io
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from hierbert.errors import needing
from hierbert.loading.converted import TokenStates, converted, example
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

_FILES = ("encoder.xml", "encoder.bin")
# Alpha of SmoothQuant: vectors are nearest to those in float32 from 0.7 to 0.85.
_SMOOTHING = 0.8
_CALIBRATION_TOKENS = 5_120
_FEWEST_SEGMENTS = 10
# A token's place in the vocabulary is a uniform number to that power.
_SKEW = 3


class OpenVinoRuntime:
    """Token states of an encoder by OpenVINO; compiled when it is first asked.

    Args:
        files: Content of `_FILES`, of a converted encoder.
        dtype: What it computes in.
    """

    name = "openvino"

    def __init__(self, files: list[bytes], dtype: str) -> None:
        self.dtype = dtype
        with _untold():
            from openvino import Core
        self._core = Core()
        # The model reads its weights where they are.
        self._weights = files[1]
        self._model = self._core.read_model(files[0], self._weights)
        self._request: Any = None
        self._threads = 0
        # Of a request, which is one thread's at a time.
        self._lock = threading.Lock()

    def __deepcopy__(self, _: Any) -> "OpenVinoRuntime":
        # A model's copy reads the same weights.
        return self

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token states, float32 (P, L, H), of tokens, int64 (P, L), and which there are, bool."""
        with self._lock:
            if self._request is None or self._threads != torch.get_num_threads():
                self._compile()
            found = self._request.infer([ids.numpy(), mask.long().numpy()], share_inputs=True)
            # The next call writes where this one's numbers are.
            return torch.from_numpy(found[0].copy())

    def _compile(self) -> None:
        self._threads = torch.get_num_threads()
        settings = {
            "INFERENCE_NUM_THREADS": self._threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Else a CPU that can computes in bfloat16.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._request = self._core.compile_model(
            self._model, "CPU", settings
        ).create_infer_request()


def openvino_runtime(
    model: HierBertForDocuments, processor: HierBertProcessor, dtype: str
) -> OpenVinoRuntime:
    """A model's encoder under OpenVINO, from the cache's folder or converted now.

    Raises:
        ConfigError: OpenVINO, or NNCF for int8, is not installed or cannot read this encoder.
    """
    encoder = model.hierbert.segment_encoder.encoder
    with needing("backend openvino", "openvino or nncf", "openvino"):
        settings: list[Any] = [dtype, version("openvino")]
        if dtype == "int8":
            settings += [version("nncf"), model.config.segment_tokens]

    def convert() -> list[bytes]:
        segments = _calibration(model, processor) if dtype == "int8" else None
        return _convert(encoder, segments)

    files = converted(encoder, "openvino", settings, _FILES, convert)
    return OpenVinoRuntime(files, dtype)


def _convert(encoder: PreTrainedModel, segments: list[dict[str, Any]] | None) -> list[bytes]:
    """An encoder as content of `_FILES`; in int8 where there are segments to calibrate it on."""
    with _untold():
        import openvino
    with _quietly():
        made = openvino.convert_model(TokenStates(encoder), example_input=example(encoder))
        if segments is not None:
            made = _quantized(made, segments)
        with tempfile.TemporaryDirectory(prefix="hierbert-openvino-") as scratch:
            openvino.save_model(made, Path(scratch) / _FILES[0], compress_to_fp16=False)
            return [(Path(scratch) / name).read_bytes() for name in _FILES]


def _quantized(made: Any, segments: list[dict[str, Any]]) -> Any:
    """A converted encoder in int8."""
    with _untold():
        import nncf
    smoothing = nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
    return nncf.quantize(
        made,
        nncf.Dataset(segments),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(segments),
        advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smoothing),
    )


def _calibration(model: HierBertForDocuments, processor: HierBertProcessor) -> list[dict[str, Any]]:
    """Segments of drawn tokens, between those that stand around every segment."""
    [around] = processor.segment(["a"])
    special = set(processor.tokenizer.all_special_ids)
    usual = [n for n in range(len(processor.tokenizer)) if n not in special]
    inside = max(1, model.config.segment_tokens - 2)
    segments = max(_FEWEST_SEGMENTS, _CALIBRATION_TOKENS // (inside + 2))
    places = len(usual) * np.random.default_rng(0).random((segments, inside)) ** _SKEW
    drawn = np.array(usual)[places.astype(int)]
    found = []
    for row in drawn:
        ids = np.array([[int(around.input_ids[0]), *row, int(around.input_ids[-1])]])
        found.append({"ids": ids, "mask": np.ones_like(ids)})
    return found


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """Import what else tells its makers that it is used; a ConfigError where it is missing."""
    telemetry = "openvino_telemetry"
    was_there = telemetry in sys.modules
    if not was_there:
        # Both do without, where it cannot be imported.
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        with needing("backend openvino", "openvino", "openvino"), _quietly():
            yield
    finally:
        if not was_there:
            del sys.modules[telemetry]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the bars and warnings of converters; answers may go to standard output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
