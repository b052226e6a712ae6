"""The model of a run: a pretrained encoder under a new aggregator and new heads."""

from collections.abc import Sequence
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.encoders import check_encoder, encoder_hint, lasting_name, resolve_encoder
from hierbert.errors import ConfigError, HierBertError, ModelError, error_text
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.text_encoders import build_encoder
from hierbert.tasks.task import Task
from hierbert.weight_sizes import bounded_building, refuse_not_finite

# Said, lest transformers ask at the terminal whether code may run.
_NO_CODE = {"trust_remote_code": False}


def build_model(
    config: RunConfig, tasks: Sequence[Task], train: Sequence[Example]
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """Build the model and the processor of a run.

    Args:
        config: All settings; what must travel with the model goes into its configuration.
        tasks: Of the run; each has its head.
        train: For the frequency of labels.

    Returns:
        The model in float32, frozen as configured, and its processor.

    Raises:
        ConfigError: Settings do not go with the encoder.
        ModelError: There is no such encoder, or it is not whole.
    """
    settings = config.model
    asked = settings.encoder_revision
    source = resolve_encoder(settings.encoder, asked)
    place = f"model.encoder={settings.encoder}"
    own = _model_settings(config, tasks, train)
    try:
        checked = check_encoder(source, settings.encoder, asked)
        revision = checked.revision or asked
        if checked.sizes is not None:
            # Without memory first: settings may say more than any machine has.
            with torch.device("meta"), bounded_building(checked.sizes, place):
                build_encoder(AutoConfig.from_pretrained(source, revision=revision, **_NO_CODE))
        model = HierBertForDocuments.from_encoder_pretrained(source, revision=revision, **own)
        refuse_not_finite(model, place)
    except HierBertError:
        raise
    except OSError as error:
        raise ModelError(
            f"{place} cannot be loaded: {error_text(error)}; "
            f"{encoder_hint(settings.encoder, asked)}"
        ) from error
    except (RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{place} cannot be loaded: its weights are damaged or do "
            f"not fit its config.json ({error_text(error)})"
        ) from error
    except (ValueError, StrictDataclassError) as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{place} needs code of its own repository, which is not "
                "run; choose an encoder that transformers knows by itself"
            ) from error
        raise ConfigError(_inner_message(error)) from error
    # The settings of a stranger fail anywhere in transformers, with anything.
    except Exception as error:
        raise ModelError(
            f"{place} cannot be loaded: its files are damaged or do not go together "
            f"({type(error).__name__}: {error_text(error)})"
        ) from error
    tokenizer = _load_tokenizer(source, settings.encoder, revision)
    encoder = model.hierbert.segment_encoder
    if config.training.freeze_encoder or config.training.trained_encoder_layers is not None:
        try:
            encoder.freeze(config.training.trained_encoder_layers or 0)
        except ValueError as error:
            raise ConfigError(f"training.trained_encoder_layers: {error}") from error
    if config.training.freeze_encoder and settings.pooling == "attention":
        raise ConfigError(
            "model.pooling=attention is learnt and its vectors cannot be cached: with "
            "training.freeze_encoder=true choose mean, cls or max"
        )
    _forget_code(tokenizer, model.config.encoder_config)
    # Where these weights came from is a path of this machine; the name is what others know.
    model.config.encoder_config._name_or_path = lasting_name(settings.encoder)
    return model, HierBertProcessor.from_config(tokenizer, model.config)


def _load_tokenizer(source: str, name: str, revision: str | None) -> Any:
    """The encoder's tokenizer; what loads without complaint and then reads nothing is refused."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, **_NO_CODE)
    # A damaged tokenizer.json brings KeyErrors, and the Rust library's bare Exceptions.
    except Exception as error:
        raise ModelError(
            f"the tokenizer of model.encoder={name} cannot be loaded: {error_text(error)}"
        ) from error
    # Without its files a tokenizer is made of nothing but special tokens.
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"model.encoder={name} has no vocabulary: its tokenizer files (tokenizer.json) are "
            "missing"
        )
    return tokenizer


def _forget_code(tokenizer: Any, text_config: Any) -> None:
    """Take the names of a stranger's code out of what this model will be saved with."""
    tokenizer.init_kwargs.pop("auto_map", None)
    if hasattr(text_config, "auto_map"):
        del text_config.auto_map


def _model_settings(
    config: RunConfig, tasks: Sequence[Task], train: Sequence[Example]
) -> dict[str, Any]:
    segmentation = config.segmentation
    values: dict[str, Any] = {
        "pooling": config.model.pooling,
        "aggregator_layers": config.model.aggregator_layers,
        "sentence_layers": config.model.sentence_layers,
        "sentence_reach": config.model.sentence_reach,
        "attention_heads": config.model.attention_heads,
        "dropout": config.model.dropout,
        "classification": False,
        "max_tokens_per_segment": segmentation.max_tokens_per_segment,
        "overlap_sentences": segmentation.overlap_sentences,
        "max_segments": segmentation.max_segments,
        "max_segments_policy": segmentation.max_segments_policy,
        "list_unit": segmentation.list_unit,
    }
    for task in tasks:
        values |= task.model_settings(config, train)
    return values


def _inner_message(error: BaseException) -> str:
    """The message of the check that failed, without the wrapping of strict dataclasses."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
