"""The encoder under OpenVINO, on a CPU: in float32, or in int8 by NNCF.

An encoder is converted once and kept in the cache's folder, by its weights and the libraries'
versions. In int8, weights have one scale for each output and activations one for each layer, set
while tokens pass that stand for text; what is large in every text is evened out before
(SmoothQuant, Xiao et al. 2023, section 4). These tokens are drawn from the tokenizer's vocabulary,
the front of it far more often than the end, since tokenizers number tokens by how common they are:
vectors are then as near to those in float32 as with documents of a corpus, in whatever language,
and do not depend on which documents come first.

A text's vectors do not depend on the texts beside it, in either precision.
"""

import contextlib
import hashlib
import importlib
import io
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hierbert.errors import ConfigError, error_text, needing
from hierbert.files import cache_folder, read_checked_json, write_bytes, write_checked_json
from hierbert.loading.fingerprints import add_settings, add_weights, plain_config
from hierbert.log import log
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

# Part of what a converted encoder is known by: raised when it is made otherwise.
_VERSION = "1"
_FILES = ("encoder.xml", "encoder.bin")
_CHECKSUMS = "checksums.json"
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
        with _imported("openvino") as openvino:
            self._core = openvino.Core()
        # The model reads its weights where they are.
        self._weights = files[1]
        self._model = self._core.read_model(files[0], self._weights)
        self._request: Any = None
        self._threads = 0

    def __deepcopy__(self, _: Any) -> "OpenVinoRuntime":
        # A model's copy reads the same weights.
        return self

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token states, float32 (P, L, H), of tokens, int64 (P, L), and which there are, bool."""
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
    encoder = model.hierbert.segment_encoder
    if encoder.first_token_sees_all:
        raise ConfigError(
            "backend openvino cannot read an encoder whose first tokens see all others (a "
            "Longformer's); use torch"
        )
    folder = cache_folder() / f"openvino-{_key(encoder.encoder, model, dtype)}"
    files = _kept(folder)
    if files is None:
        began = time.monotonic()
        log.info(f"encoder: is converted for OpenVINO in {dtype}, once")
        files = _convert(encoder.encoder, dtype, model, processor)
        seconds = f"{time.monotonic() - began:.0f} s"
        try:
            _keep(files, folder)
        except OSError as error:
            log.warning(
                f"encoder: converted in {seconds}, and cannot be kept in {folder} "
                f"({error_text(error)}): it will be converted again the next time"
            )
        else:
            log.info(f"encoder: converted in {seconds} and kept in {folder}")
    return OpenVinoRuntime(files, dtype)


def _key(encoder: PreTrainedModel, model: HierBertForDocuments, dtype: str) -> str:
    """Hash of all that a converted encoder depends on."""
    digest = hashlib.sha256()
    with _imported("openvino") as openvino:
        settings = [_VERSION, dtype, openvino.__version__, plain_config(encoder.config)]
    if dtype == "int8":
        with _imported("nncf") as nncf:
            settings += [nncf.__version__, model.config.segment_tokens]
    add_settings(digest, settings)
    add_weights(digest, encoder)
    return digest.hexdigest()[:24]


def _kept(folder: Path) -> list[bytes] | None:
    """Content of `_FILES` where a converted encoder is as it was written; said where it is not."""
    try:
        checksums = read_checked_json(folder / _CHECKSUMS)
        files = [(folder / name).read_bytes() for name in _FILES]
        if checksums == [hashlib.sha256(one).hexdigest() for one in files]:
            return files
        reason = "its sha256 differs"
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error_text(error)
    log.warning(f"{folder} is damaged ({reason}); the encoder is converted again")
    return None


def _keep(files: list[bytes], folder: Path) -> None:
    """Put a converted encoder where it is found again, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".openvino-", dir=folder.parent) as aside:
        whole = Path(aside) / "whole"
        whole.mkdir()
        for name, content in zip(_FILES, files, strict=True):
            write_bytes(whole / name, content)
        checksums = [hashlib.sha256(one).hexdigest() for one in files]
        write_checked_json(whole / _CHECKSUMS, checksums)
        if folder.exists():
            # Damaged, or of another process that was sooner.
            os.replace(folder, Path(aside) / "before")
        os.replace(whole, folder)


def _convert(
    encoder: PreTrainedModel,
    dtype: str,
    model: HierBertForDocuments,
    processor: HierBertProcessor,
) -> list[bytes]:
    """An encoder as content of `_FILES`."""
    tokens = torch.arange(2 * 16).view(2, 16) % encoder.config.vocab_size
    mask = torch.ones_like(tokens)
    # An example without padding would be traced as one that can have none.
    mask[1, 9:] = 0
    with _imported("openvino") as openvino, _quietly():
        try:
            made = openvino.convert_model(
                _TokenStates(encoder), example_input={"ids": tokens, "mask": mask}
            )
        except Exception as error:  # Converters fail with errors of all kinds.
            raise ConfigError(
                f"backend openvino cannot read an encoder of type {encoder.config.model_type} "
                f"({error_text(error)}); use torch"
            ) from error
        if dtype == "int8":
            made = _quantized(made, _calibration(model, processor))
        with tempfile.TemporaryDirectory(prefix="hierbert-openvino-") as scratch:
            openvino.save_model(made, Path(scratch) / _FILES[0], compress_to_fp16=False)
            return [(Path(scratch) / name).read_bytes() for name in _FILES]


class _TokenStates(nn.Module):
    """An encoder whose one output is the last layer's states."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self.encoder(input_ids=ids, attention_mask=mask)[0]
        return states


def _quantized(made: Any, segments: list[dict[str, Any]]) -> Any:
    """A converted encoder in int8."""
    with _imported("nncf") as nncf:
        nncf.set_log_level(logging.ERROR)
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
def _imported(name: str) -> Iterator[Any]:
    """A package of OpenVINO, which else tells its makers that it is used."""
    telemetry = "openvino_telemetry"
    was_there = telemetry in sys.modules
    with needing(f"backend openvino with {name}", name, "openvino"):
        if not was_there:
            # Both do without, where it cannot be imported.
            sys.modules[telemetry] = None  # type: ignore[assignment]
        try:
            with _quietly():
                module = importlib.import_module(name)
        finally:
            if not was_there:
                del sys.modules[telemetry]
    yield module


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the bars and warnings of converters; answers may go to standard output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
