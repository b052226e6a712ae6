"""The model of a run: a pretrained encoder under a new aggregator and new heads."""

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.data.labels import LabelMap
from hierbert.encoders import check_encoder, encoder_hint, lasting_name, resolve_encoder
from hierbert.errors import ConfigError, DataError, HierBertError, ModelError, error_text
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.text_encoders import build_encoder
from hierbert.weight_sizes import bounded_building, refuse_not_finite

PROBLEM_TYPES = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
LARGEST_CLASS_WEIGHT = 10.0
# Said, lest transformers ask at the terminal whether code may run.
_NO_CODE = {"trust_remote_code": False}


def build_model(
    config: RunConfig, label_map: LabelMap | None, train: list[Example]
) -> tuple[HierBertForDocuments, HierBertProcessor]:
    """Build the model and the processor of a run.

    Args:
        config: All settings; what must travel with the model goes into its configuration.
        label_map: Of the classification head; None leaves the head out.
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
    own = _model_settings(config, label_map, train)
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
    config: RunConfig, label_map: LabelMap | None, train: list[Example]
) -> dict[str, Any]:
    training, segmentation = config.training, config.segmentation
    budget, limit = config.summary.limit
    values: dict[str, Any] = {
        "pooling": config.model.pooling,
        "aggregator_layers": config.model.aggregator_layers,
        "sentence_layers": config.model.sentence_layers,
        "sentence_reach": config.model.sentence_reach,
        "attention_heads": config.model.attention_heads,
        "dropout": config.model.dropout,
        "decision_threshold": config.model.decision_threshold,
        "classification": label_map is not None,
        "summarization": config.data.summary_column is not None,
        "classification_loss_weight": training.classification_loss_weight,
        "summarization_loss_weight": training.summarization_loss_weight,
        "listwise_loss_weight": training.listwise_loss_weight,
        "max_tokens_per_segment": segmentation.max_tokens_per_segment,
        "overlap_sentences": segmentation.overlap_sentences,
        "max_segments": segmentation.max_segments,
        "max_segments_policy": segmentation.max_segments_policy,
        "list_unit": segmentation.list_unit,
        "summary_budget": budget,
        "summary_limit": float(limit),
        "summary_order": config.summary.order,
        "summary_redundancy": config.summary.redundancy,
        "summary_min_words_per_sentence": config.summary.min_words_per_sentence,
    }
    if label_map is not None:
        values["problem_type"] = PROBLEM_TYPES[label_map.problem_type]
        names = label_map.names or ["value"]
        values["id2label"] = dict(enumerate(names))
        values["label2id"] = {name: number for number, name in enumerate(names)}
        if label_map.problem_type == "single_label":
            values["label_smoothing"] = training.label_smoothing
        if label_map.problem_type == "regression":
            values["label_mean"], values["label_scale"] = label_statistics(label_map, train)
        if training.class_weights == "balanced" and label_map.problem_type != "regression":
            values["class_weights"] = balanced_weights(label_map, train)
    return values


def label_statistics(label_map: LabelMap, examples: list[Example]) -> tuple[float, float]:
    """Where the numbers of a regression lie, so that a model learns them whatever their unit.

    Args:
        label_map: Regression.
        examples: The training documents.

    Returns:
        Mean and population standard deviation of the labels; the latter 1 where all are equal,
        and (0, 1) without any label.
    """
    encoded = [label_map.encode(example) for example in examples]
    values = [float(label) for label in encoded if isinstance(label, (int, float))]
    if not values:
        return 0.0, 1.0
    return statistics.fmean(values), statistics.pstdev(values) or 1.0


def check_numbers(
    label_map: LabelMap, splits: Mapping[str, list[Example] | None], mean: float, scale: float
) -> None:
    """Refuse numbers that a model's 32-bit arithmetic turns into infinity, before it meets them.

    Args:
        label_map: Regression.
        splits: Documents by the split's name.
        mean: Of the training documents' labels.
        scale: Their standard deviation.

    Raises:
        DataError: Names the number that is farthest from the mean.
    """
    for name, examples in splits.items():
        labelled = [(label_map.encode(example), example) for example in examples or []]
        values = [(float(v), one) for v, one in labelled if isinstance(v, (int, float))]
        if not values:
            continue
        # As the classification head learns them.
        errors = (torch.tensor([value for value, _ in values]) - mean) / scale
        if not (errors * errors).isfinite().all():
            value, example = max(values, key=lambda pair: abs(pair[0] - mean))
            raise DataError(
                f"data.{name}: {example.location}, id {example.id}: column {label_map.field!r} "
                f"holds {value:g}; the training documents have the mean {mean:g} and the spread "
                f"{scale:g}, and 32-bit numbers allow {mean:g} plus or minus at most 1e19 times "
                "that spread, which must be at least 1e-37: mend that label, or give all of them "
                "in another unit"
            )


def balanced_weights(label_map: LabelMap, examples: list[Example]) -> list[float]:
    """Loss weights that let rare labels count as much as frequent ones, within limits.

    Args:
        label_map: Single-label or multi-label.
        examples: The training documents.

    Returns:
        For each label: single-label, documents over labels times the label's documents;
        multi-label, documents without it over documents with it. From 1/10 to 10.
    """
    counts: Counter[int] = Counter()
    total = 0
    for example in examples:
        label = label_map.encode(example)
        if label is None:
            continue
        total += 1
        counts.update(label if isinstance(label, list) else [int(label)])
    weights = []
    for number in range(len(label_map.names)):
        count = max(1, counts[number])
        if label_map.problem_type == "single_label":
            weight = total / (len(label_map.names) * count)
        else:
            weight = (total - count) / count
        weights.append(min(LARGEST_CLASS_WEIGHT, max(1 / LARGEST_CLASS_WEIGHT, weight)))
    return weights


def _inner_message(error: BaseException) -> str:
    """The message of the check that failed, without the wrapping of strict dataclasses."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
