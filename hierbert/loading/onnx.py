"""The encoder under ONNX Runtime, on a CPU, in float32.

Its own int8 strays further from float32 than OpenVINO's and torch's, and is not offered.
"""

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hierbert.errors import needing
from hierbert.loading.converted import TokenStates, converted, example
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor

_EXTRA = "onnx"


class OnnxRuntime:
    """Token states of an encoder by ONNX Runtime; made ready when it is first asked.

    Args:
        content: Of an ONNX file.
    """

    name, dtype = "onnx", "float32"

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._session: Any = None
        self._threads = 0

    def __deepcopy__(self, _: Any) -> "OnnxRuntime":
        # A model's copy reads the same weights.
        return self

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token states, float32 (P, L, H), of tokens, int64 (P, L), and which there are, bool."""
        if self._session is None or self._threads != torch.get_num_threads():
            self._begin()
        [states] = self._session.run(None, {"ids": ids.numpy(), "mask": mask.long().numpy()})
        return torch.from_numpy(states)

    def _begin(self) -> None:
        import onnxruntime

        self._threads = torch.get_num_threads()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Threads that wait by turning take the cores from torch's.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(self._content, options, providers)


def onnx_runtime(model: HierBertForDocuments, _: HierBertProcessor, dtype: str) -> OnnxRuntime:
    """A model's encoder under ONNX Runtime, from the cache's folder or converted now.

    Raises:
        ConfigError: ONNX Runtime, or to convert what is not kept onnx or onnxscript, is missing, or
            the encoder cannot be read.
    """
    encoder = model.hierbert.segment_encoder.encoder
    with needing("backend onnx", "onnxruntime", _EXTRA):
        import onnxruntime  # noqa: F401
    settings = [dtype, torch.__version__]
    [content] = converted(encoder, "onnx", settings, ["encoder.onnx"], lambda: [_convert(encoder)])
    return OnnxRuntime(content)


def _convert(encoder: PreTrainedModel) -> bytes:
    """An encoder as an ONNX file."""
    with needing("a conversion to ONNX", "onnx", _EXTRA):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    given = example(encoder)
    sizes = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        tempfile.TemporaryDirectory(prefix="hierbert-onnx-") as scratch,
    ):
        warnings.simplefilter("ignore")
        path = Path(scratch) / "encoder.onnx"
        made = torch.onnx.export(
            TokenStates(encoder),
            (given["ids"], given["mask"]),
            input_names=["ids", "mask"],
            output_names=["states"],
            dynamic_shapes={"ids": sizes, "mask": sizes},
            dynamo=True,
            verbose=False,
        )
        assert made is not None
        made.save(str(path), external_data=False)
        return path.read_bytes()
