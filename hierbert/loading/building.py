"""A model around a pretrained encoder, built after all that can be checked without it."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from hierbert.errors import ConfigError, HierBertError, ModelError, error_text
from hierbert.hub import cached_alone
from hierbert.loading.checks import (
    CONFIG,
    bounded_building,
    check_files,
    of_encoder,
    refuse_not_finite,
)
from hierbert.loading.encoders import encoder_hint, resolve_encoder
from hierbert.loading.forking import on_one_thread
from hierbert.loading.tokenizer import load_tokenizer
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.saving import public_name


def build_from_encoder(
    name: str, asked: str | None, place: str, settings: dict[str, Any]
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """Build a model around an encoder, in float32 and evaluation mode, and its processor.

    The aggregator and the heads are new. `asked` is a branch, tag or commit on the Hub, `place`
    what messages call the encoder. A ConfigError where settings do not go with it, a ModelError
    where there is no such encoder, or it is not whole.
    """
    source = resolve_encoder(name, asked)
    hub: dict[str, Any] = {"revision": asked}
    with _naming_failures(name, asked, place):
        if not os.path.isdir(source):
            hub["local_files_only"] = cached_alone(source, CONFIG, **hub)
        sizes, commit = check_files(source, place, of_encoder, **hub)
        hub["revision"] = commit or asked
        with on_one_thread(), bounded_building(sizes, place):
            model = HierBertForDocuments.from_encoder_pretrained(source, **hub, **settings)
            refuse_not_finite(model, place)
    tokenizer = load_tokenizer(source, place, **hub)
    # The names of a stranger's code are not saved with this model.
    tokenizer.init_kwargs.pop("auto_map", None)
    vars(model.config.encoder_config).pop("auto_map", None)
    # Where these weights came from is a path of this machine; the name is what others know.
    model.config.encoder_config._name_or_path = public_name(name)
    try:
        return model, HierBertProcessor.from_config(tokenizer, model.config)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error


def check_with_encoder(name: str, asked: str | None, place: str, settings: dict[str, Any]) -> None:
    """Refuse settings that do not go with an encoder, by its configuration: no weights are read.

    Arguments and errors are those of `build_from_encoder`.
    """
    source = resolve_encoder(name, asked)
    hub: dict[str, Any] = {"revision": asked}
    with _naming_failures(name, asked, place):
        if os.path.isdir(source):
            check_files(source, place, of_encoder)
        else:
            hub["local_files_only"] = cached_alone(source, CONFIG, **hub)
        text_config = AutoConfig.from_pretrained(source, trust_remote_code=False, **hub)
        HierBertConfig(text_config=text_config, **settings)


@contextlib.contextmanager
def _naming_failures(name: str, asked: str | None, place: str) -> Iterator[None]:
    """Around what reads an encoder's files: what fails is an error of ours, in one line."""
    try:
        with naming_settings():
            yield
    except HierBertError:
        raise
    except OSError as error:
        raise ModelError(
            f"{place} cannot be loaded: {error_text(error)}; {encoder_hint(name, asked)}"
        ) from error
    # The settings of a stranger fail anywhere in transformers, with anything.
    except Exception as error:
        raise ModelError(
            f"{place} cannot be loaded: its files are damaged or do not go together "
            f"({type(error).__name__}: {error_text(error)})"
        ) from error


@contextlib.contextmanager
def naming_settings() -> Iterator[None]:
    """Around a model's building: a setting that is not allowed is a ConfigError."""
    try:
        yield
    except (ValueError, StrictDataclassError) as error:
        inner: BaseException = error
        # Strict dataclasses wrap the check that failed.
        while inner.__cause__ is not None:
            inner = inner.__cause__
        raise ConfigError(str(inner)) from error
