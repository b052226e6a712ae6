"""How far a fit of vectors is, in a file, so that the same command goes on where it was ended."""

import hashlib
import json
import time
from pathlib import Path

import torch
from torch import Tensor

from hierbert.files import is_in_the_way, write_bytes
from hierbert.log import log

_SECONDS_BETWEEN = 30.0
_TENSORS = ("points", "exp_avg", "exp_avg_sq")


class FitCheckpoint:
    """The state of one fit.

    Args:
        path: Of the file; None keeps nothing.
        identity: All that the fit follows from. A file of another is passed over.
    """

    def __init__(self, path: Path | None, identity: list[object]) -> None:
        self.path = path
        self.identity = hashlib.sha256(repr(identity).encode("utf-8", "replace")).hexdigest()
        self._written = time.monotonic()

    def read(self) -> tuple[int, dict[str, Tensor]] | None:
        """Epochs that are done, and the state after them; None where there is nothing to go on."""
        if self.path is None or not self.path.exists() or is_in_the_way(self.path):
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads((file.metadata() or {})["hierbert"])
                state = {name: file.get_tensor(name) for name in _TENSORS}
            if about["identity"] == self.identity and _is_whole(state):
                log.info(f"going on after {about['epochs']:,} epochs of {self.path}")
                return int(about["epochs"]), state
            reason = "it is of other nodes or settings"
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = f"it is damaged ({type(error).__name__})"
        log.info(f"{self.path} is passed over: {reason}")
        return None

    def write(self, epochs: int, state: dict[str, Tensor], at_once: bool = False) -> None:
        """Keep the state after so many epochs; unless `at_once`, every half minute."""
        recent = time.monotonic() - self._written < _SECONDS_BETWEEN
        if self.path is None or (recent and not at_once):
            return
        from safetensors.torch import save

        about = json.dumps({"identity": self.identity, "epochs": epochs})
        content = save({name: state[name] for name in _TENSORS}, {"hierbert": about})
        try:
            write_bytes(self.path, content)
        except OSError as error:
            # The fit itself needs none.
            log.warning(f"{self.path} cannot be written: {error.strerror}")
        self._written = time.monotonic()


def _is_whole(state: dict[str, Tensor]) -> bool:
    shapes = {tensor.shape for tensor in state.values()}
    return len(shapes) == 1 and all(
        tensor.dtype == torch.float64 and bool(tensor.isfinite().all()) for tensor in state.values()
    )
