"""The model of a run: around a pretrained encoder, or one that was trained before."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from hierbert.config import ModelConfig, RunConfig, SegmentationConfig
from hierbert.data.document import Example
from hierbert.errors import ConfigError, ModelError
from hierbert.loading.building import build_from_encoder, check_with_encoder, naming_settings
from hierbert.loading.model import load_model
from hierbert.log import log
from hierbert.model.configuration_hierbert import HierBertConfig, fields_of_heads
from hierbert.model.features import FEATURES
from hierbert.model.heads import HEADS
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.tasks.task import Task

# What a trained model's weights are made for; the rest may change when it is trained further.
_ARCHITECTURE = ("pooling", "aggregator_layers", "sentence_layers", "attention_heads")
_CHANGEABLE = ("sentence_reach", "dropout")
# What was fitted to other documents once the steps were over.
_FITTED_ANEW = ("logit_weights", "sentence_weights", "sentence_stack", "sentence_queries")
# Of all tasks together.
_JOINED = ("head_settings", "features")


def build_model(
    config: RunConfig,
    tasks: Sequence[Task],
    train: Sequence[Example],
    trained: tuple[HierBertForDocuments, HierBertProcessor] | None = None,
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """Build the model of a run, in float32 and frozen as configured, and its processor.

    It starts from the `trained` one, else from `model.start_from`, else from the encoder. What must
    travel with it goes into its config.
    """
    names = [task.name for task in tasks]
    own = fields_of_heads(names)
    read = {feature for name in names for feature in HEADS[name].reads if feature in FEATURES}
    own["features"] = {name: {} for name in sorted(read)} or None
    for task in tasks:
        asked = task.model_settings(config, train)
        own |= asked | {n: (own[n] or {}) | asked[n] for n in _JOINED if n in asked}
    settings, place = config.model, "the model that was given"
    if trained is None and settings.start_from is not None:
        place = f"model.start_from={settings.start_from}"
        try:
            trained = load_model(settings.start_from, "cpu", "float32")[:2]
        except ModelError as error:
            raise ModelError(f"{place}: {error}") from error
        if settings.encoder != ModelConfig().encoder:
            log.info(f"model.encoder={settings.encoder} is not read: {place} has its own")
    if trained is None:
        where = settings.encoder, settings.encoder_revision, f"model.encoder={settings.encoder}"
        settings_of_model = {**_document_settings(config), **own}
        with _naming_sections():
            model, processor = build_from_encoder(*where, settings_of_model)
    else:
        with _naming_sections():
            model, processor = _continue(config, tasks, own, place, *trained)
    for name in processor.needed_fields:
        if name not in config.data.fields:
            raise ConfigError(
                f"a feature of the model reads the field {name!r}; set data.columns.{name} to the "
                "column that holds it"
            )
    encoder = model.hierbert.segment_encoder
    training = config.training
    if training.freeze_encoder or training.trained_encoder_layers is not None:
        try:
            encoder.freeze(training.trained_encoder_layers or 0)
        except ValueError as error:
            raise ConfigError(f"training.trained_encoder_layers: {error}") from error
    if training.segments_per_document is not None and any(
        "sentence" in head.reads for head in model.heads.values()
    ):
        raise ConfigError(
            "is for labels alone: summaries are learnt from all sentences",
            setting="training.segments_per_document",
            value=training.segments_per_document,
        )
    if training.freeze_encoder and model.config.pooling == "attention":
        raise ConfigError(
            "model.pooling=attention is learnt and its vectors cannot be cached: with "
            "training.freeze_encoder=true choose mean, cls or max"
        )
    return model, processor


def check_model_settings(config: RunConfig) -> None:
    """Refuse what the encoder's configuration does not allow, without its weights.

    Of a model to start from nothing is said, and of tasks and features nothing.
    """
    settings = config.model
    if settings.start_from is None:
        where = settings.encoder, settings.encoder_revision, f"model.encoder={settings.encoder}"
        with _naming_sections():
            check_with_encoder(*where, _document_settings(config))


def _document_settings(config: RunConfig) -> dict[str, Any]:
    """Fields of a model's configuration that no task sets."""
    chosen = {name: getattr(config.model, name) for name in (*_ARCHITECTURE, *_CHANGEABLE)}
    return chosen | vars(config.segmentation)


@contextlib.contextmanager
def _naming_sections() -> Iterator[None]:
    """Let a model's settings be named as a run does, which has them in sections."""
    try:
        yield
    except ConfigError as error:
        name = error.message.partition("=")[0]
        for section, part in (("model", ModelConfig), ("segmentation", SegmentationConfig)):
            if name in {setting.name for setting in fields(part)}:
                error.message = f"{section}.{error.message}"
        raise


def _continue(
    config: RunConfig,
    tasks: Sequence[Task],
    own: dict[str, Any],
    place: str,
    model: HierBertForDocuments,
    processor: HierBertProcessor,
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """A trained model with the heads of these tasks; a head that fits keeps its weights."""
    before = model.config
    defaults = {
        f.name: f.default for part in (ModelConfig, SegmentationConfig) for f in fields(part)
    }
    asked = {k: v for k, v in _document_settings(config).items() if v != defaults[k]}
    for name in _ARCHITECTURE:
        if name in asked and asked[name] != getattr(before, name):
            raise ConfigError(
                f"model.{name}={asked[name]} is not that of {place}, which has "
                f"{getattr(before, name)}: its weights are made for that"
            )
    kept = {task.name: task.continued(before) for task in tasks if task.name in model.heads}
    new = dict.fromkeys(_FITTED_ANEW) | own | {"temperature": 1.0}
    values = before.to_dict() | asked | new
    for fields_kept in kept.values():
        values |= fields_kept or {}
    with naming_settings():
        made = HierBertForDocuments(HierBertConfig.from_dict(values))
    made.hierbert.load_state_dict(model.hierbert.state_dict())
    made.config.encoder_config._name_or_path = before.encoder_config._name_or_path
    for name, head in made.heads.items():
        if kept.get(name) is not None:
            own, trained_before = head.state_dict(), model.heads[name].state_dict()
            head.load_state_dict({key: trained_before[key] for key in own})
        else:
            has = "answers another question" if name in model.heads else "has none"
            log.info(f"the {name} head is new: {place} {has}")
    for name in sorted(model.heads.keys() - made.heads.keys()):
        log.info(f"the {name} head of {place} is left out: the documents have nothing for it")
    for name, chosen in _document_settings(config).items():
        if getattr(made.config, name) != chosen and chosen is not None:
            log.info(f"{name} is {getattr(made.config, name)}, as in {place}")
    settings, settings_before = made.config.features or {}, before.features or {}
    for name, feature in made.features_of().items():
        if name in model.features and settings_before.get(name) == settings.get(name):
            feature.load_state_dict(model.features[name].state_dict())
            feature.fitted = True
    made.eval()
    return made, HierBertProcessor.from_config(copy.deepcopy(processor.tokenizer), made.config)
