"""Encoders converted for other runtimes, kept in the cache's folder.

An encoder is found by its weights, its configuration and whatever else its conversion depends on.
Invariant: what is found is as it was written, and a folder that cannot be used costs time alone.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hierbert.errors import ConfigError, HierBertError, error_text
from hierbert.files import cache_folder, read_checked_json, write_bytes, write_checked_json
from hierbert.loading.fingerprints import add_settings, add_weights, plain_config
from hierbert.log import log

# Part of what a converted encoder is known by: raised when it is made otherwise.
_VERSION = "1"
_CHECKSUMS = "checksums.json"
# Loggers of converters, and that above all, which some change where they fail.
_LOGGERS = ("", "nncf", "torch.onnx")


class TokenStates(nn.Module):
    """An encoder as converters take it: tokens and mask, int64 (P, L), to the last layer's states.

    Args:
        encoder: Whose weights are used.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """float32 (P, L, H)."""
        states: Tensor = self.encoder(input_ids=ids, attention_mask=mask)[0]
        return states


def example(encoder: PreTrainedModel) -> dict[str, Tensor]:
    """Tokens and mask, int64 (2, 16), to convert it by, with padding: else it would allow none."""
    ids = torch.arange(2 * 16).view(2, 16) % encoder.config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    return {"ids": ids, "mask": mask}


def converted(
    encoder: PreTrainedModel,
    runtime: str,
    settings: Sequence[Any],
    files: Sequence[str],
    convert: Callable[[], list[bytes]],
) -> list[bytes]:
    """Content of the files of a converted encoder, from the cache's folder or made now.

    Args:
        encoder: What is converted.
        runtime: For which library, a part of the folder's name.
        settings: What the conversion depends on besides, plain values; the first is its precision.
        files: Their names.
        convert: Makes their contents.

    Raises:
        ConfigError: The encoder cannot be converted.
    """
    digest = hashlib.sha256()
    add_settings(digest, [_VERSION, runtime, *settings, plain_config(encoder.config)])
    add_weights(digest, encoder)
    folder = cache_folder() / f"{runtime}-{digest.hexdigest()[:24]}"
    if (kept := _kept(folder, files)) is not None:
        return kept
    began = time.monotonic()
    log.info(f"encoder: is converted for {runtime} in {settings[0]}, once")
    try:
        with _unheard():
            made = convert()
    except HierBertError:
        raise
    except Exception as error:  # Converters fail with errors of all kinds.
        raise ConfigError(
            f"backend {runtime} cannot read an encoder of type {encoder.config.model_type} "
            f"({error_text(error)}); use torch"
        ) from error
    seconds = f"{time.monotonic() - began:.0f} s"
    try:
        _keep(dict(zip(files, made, strict=True)), folder)
    except OSError as error:
        log.warning(
            f"encoder: converted in {seconds}, and cannot be kept in {folder} "
            f"({error_text(error)}): it will be converted again the next time"
        )
    else:
        log.info(f"encoder: converted in {seconds} and kept in {folder}")
    return made


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Let converters say nothing but mistakes, and leave loggers as they were."""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS[1:]:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _kept(folder: Path, files: Sequence[str]) -> list[bytes] | None:
    """Contents of files that are as they were written; said where they are not."""
    try:
        checksums = read_checked_json(folder / _CHECKSUMS)
        found = [(folder / name).read_bytes() for name in files]
        if checksums == [hashlib.sha256(one).hexdigest() for one in found]:
            return found
        reason = "its sha256 differs"
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = error_text(error)
    log.warning(f"{folder} is damaged ({reason}); the encoder is converted again")
    return None


def _keep(files: dict[str, bytes], folder: Path) -> None:
    """Put files where they are found again, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".converted-", dir=folder.parent) as aside:
        whole = Path(aside) / "whole"
        whole.mkdir()
        for name, content in files.items():
            write_bytes(whole / name, content)
        checksums = [hashlib.sha256(one).hexdigest() for one in files.values()]
        write_checked_json(whole / _CHECKSUMS, checksums)
        if folder.exists():
            # Damaged, or of another process that was sooner.
            os.replace(folder, Path(aside) / "before")
        os.replace(whole, folder)
