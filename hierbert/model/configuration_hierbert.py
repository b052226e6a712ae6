"""Everything a HierBERT checkpoint needs to give the same answers anywhere.

The nested `text_config` describes the segment encoder, so that loading never needs the original
backbone; the segmentation settings, the labels, the threshold and the summary defaults are here
for the same reason. What only concerns a run (batch sizes, learning rates) is not.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from .saving import SavedWithCode
from .selection import SUMMARY_BUDGETS
from .selection_options import OPTIONS, SavedOptions, check_option

POOLING_MODES = ("mean", "cls", "max", "attention")
MAX_SEGMENTS_POLICIES = ("head", "tail", "head_tail", "spread")
LIST_UNITS = ("sentences", "segments")
DEFAULT_SEGMENT_TOKENS = 512
SENTENCE_REACH = 2048
# Fields that say which of the first two heads a model has; those of further heads, `head_settings`.
_HEAD_FLAGS = ("classification", "summarization")
_OF_ONE_LABEL = (None, "single_label_classification")
# Tasks that transformers has pipelines for, in place of which a hierbert model has its own.
STANDARD_TASKS = ("text-classification",)

# Features that are logits of labels.
_WORD_MEMBERS = ("words", "segment_words")
# Whose logits `logit_weights` sums, and whose scores `sentence_weights` does.
_MEMBERS = ("deep", *_WORD_MEMBERS, "vectors", "names")
_SENTENCE_MEMBERS = ("deep", "stack", "central_words")
# What each of them reads.
_SENTENCE_FEATURES = {
    "stack": ("sentence_features", "central_words"),
    "central_words": ("central_words",),
}
_SENTENCE_QUERIES = (["query_words"], ["query_words", "query_pairs"])
_LARGEST_STACK = 1024

_CHOICES = {
    "max_segments_policy": MAX_SEGMENTS_POLICIES,
    "list_unit": LIST_UNITS,
    "pooling": POOLING_MODES,
    "summary_budget": SUMMARY_BUDGETS,
}
# What is allowed, in words; whether a number is; the fields, of which None has no range.
_RANGES: list[tuple[str, Callable[[Any], bool], str]] = [
    ("at least 0", lambda n: n >= 0, "overlap_sentences aggregator_layers sentence_layers"),
    ("at least 1", lambda n: n >= 1, "max_segments tokens_per_forward"),
    ("at least 1", lambda n: n >= 1, "sentence_reach attention_heads"),
    ("at least 0 and below 1", lambda n: 0 <= n < 1, "dropout label_smoothing"),
    ("0 to 1", lambda n: 0 <= n <= 1, "decision_threshold abstain_below"),
    ("a finite number", math.isfinite, "label_mean"),
    ("finite and above 0", lambda n: 0 < n < math.inf, "label_scale temperature summary_limit"),
]
# These encoders number positions from padding_idx + 1, so that many fewer can be used.
_OFFSET_POSITIONS = (
    "roberta xlm-roberta xlm-roberta-xl camembert mpnet roberta-prelayernorm longformer xmod "
    "data2vec-text ibert esm luke"
)


def fields_of_heads(names: Sequence[str]) -> dict[str, Any]:
    """The fields of a config that say which heads a model has, each without settings of its own."""
    further: dict[str, dict] = {name: {} for name in names if name not in _HEAD_FLAGS}
    return {**{name: name in names for name in _HEAD_FLAGS}, "head_settings": further or None}


def usable_positions(text_config: PreTrainedConfig) -> int | None:
    """Longest input of a text encoder in tokens, special tokens included.

    Returns:
        `max_position_embeddings`, less the padding offset where positions start after it
        (RoBERTa and its kin); None when the encoder names no limit.
    """
    limit = getattr(text_config, "max_position_embeddings", None)
    if limit is None or limit <= 0:
        return None
    if text_config.model_type in _OFFSET_POSITIONS.split():
        return int(limit) - int(text_config.pad_token_id or 0) - 1
    return int(limit)


@strict
class HierBertConfig(SavedWithCode, SavedOptions, PreTrainedConfig):
    """Configuration of a HierBERT model: segment encoder, segmentation, aggregator and heads.

    Args:
        text_config: Configuration of the segment encoder (any `AutoModel` text encoder); a dict
            with `model_type`, or None for a BERT of default size.
        pooling: Tokens to segment vector: "mean", "cls", "max" or "attention" (learnt).
        aggregator_layers: Pre-LN transformer layers over the segment vectors; 0 leaves the mean.
        sentence_layers: Attention layers over all sentences of a document before scoring them.
        sentence_reach: In those layers a sentence sees the sentences at most this many places
            before and after it, so that their time is linear in the sentences. Documents of at
            most one sentence more are seen whole. None: all sentences of any document see each
            other, in quadratic time; a checkpoint without this field, which was made before
            there was one, is read so.
        attention_heads: Heads of both kinds of layers; None takes one head for 64 dimensions.
        dropout: Probability, of the aggregator and the heads (the encoder keeps its own).
        classification: Whether the model has a classification head (labels are in `id2label`).
        summarization: Whether the model has a head that scores sentences for a summary.
        head_settings: Settings of further heads by name, each a dict; the model has all of them.
        features: Settings of the features that heads read beside vectors, by name, each a dict.
        class_weights: Loss weight of each label, in label order; None weighs all the same.
            For multi-label, the weight of the positive answers.
        label_smoothing: Probability mass spread over all labels, in [0, 1); single-label only.
        label_mean: Regression learns (label - label_mean) / label_scale, and answers are turned
            back: the mean of the training labels; regression only.
        label_scale: Standard deviation of the training labels, above 0; regression only.
        classification_loss_weight: Factor of the classification loss in the sum.
        summarization_loss_weight: Factor of the summarization loss in the sum.
        listwise_loss_weight: Weight of the listwise term beside binary cross-entropy.
        max_tokens_per_segment: Longest segment in tokens, special tokens included; at most the
            encoder's usable positions (512 where it names no limit). None takes 512, or that limit
            where it is lower.
        first_token_sees_all: Whether the first token of a segment attends to all others and they to
            it, where all see only those near them otherwise: of Longformer alone. A checkpoint
            without this field, which was made before there was one, is read without.
        overlap_sentences: Sentences repeated at the start of the next segment.
        max_segments: Most segments of a document; None for no limit.
        max_segments_policy: Which segments stay under the limit: "head", "tail", "head_tail"
            or "spread".
        list_unit: What the items of a document given as a list of strings are: "sentences" or
            "segments".
        tokens_per_forward: Tokens of one pass through the encoder, padding included; None picks
            by the device.
        temperature: Logits of labels are divided by it, so that probabilities are what they say:
            above 0; 1 leaves them as they were learnt. Not of regressions.
        decision_threshold: Probability from which a label applies; multi-label only.
        decision_thresholds: The same for each label, in label order; None takes
            `decision_threshold` for all.
        abstain_below: Probability of the likeliest label below which an answer names none;
            single-label only. None: every answer names one.
        logit_weights: Logits of labels are this weighted sum of those of the members named:
            "deep" (the layers that training steps learn), "words", "segment_words" and "vectors"
            (linear models fitted beside them), and "names" (how near the document's vector is to
            those of the labels' names), at least one; None for "deep" alone. Not of regressions.
        label_tree: Of labels that have parents; see `tree.TreeSettings`. None: they have none.
        sentence_weights: Scores of sentences are this weighted sum of those of the members named:
            "deep" (the layers that training steps learn), "stack" (what was fitted beside them)
            and "central_words" (LexRank, that nothing was learnt for), at least one; None for
            "deep" alone.
        sentence_stack: Settings of that stack: "vectors" (whether it reads sentence vectors),
            "hidden_units" and "networks"; None where there is none.
        sentence_queries: Features by which what is asked about a document has a part in the scores
            of its sentences, "query_words" and "query_pairs" or the former alone; None for no part.
        summary_scores: What scores sentences: "learnt" is the head that training makes; else one of
            `summarization_head.SUMMARIZERS`, such as "words".
        summary_budget: Kind of the default summary budget, one of `SUMMARY_BUDGETS`.
        summary_limit: Amount of the default summary budget.
        **summary options: How sentences are selected, `summary_` and a name of
            `selection_options.OPTIONS`: `summary_order`, `summary_redundancy` and so on.
        initializer_range: Standard deviation of new weights.

    Raises:
        StrictDataclassClassValidationError: A value is out of its range; the message names it
            and what is allowed.
    """

    model_type = "hierbert"
    # Of predictions, transformers' Trainer keeps what the heads answer.
    keys_to_ignore_at_inference = [  # noqa: RUF012
        "scores",
        "losses",
        "sentences_per_document",
        "document_vectors",
        "segment_vectors",
        "sentence_vectors",
    ]
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 (the name and kind transformers reads)

    text_config: dict | PreTrainedConfig | None = None
    pooling: str = "mean"
    aggregator_layers: int = 2
    sentence_layers: int = 1
    sentence_reach: int | None = SENTENCE_REACH
    attention_heads: int | None = None
    dropout: float = 0.1
    classification: bool = True
    summarization: bool = False
    head_settings: dict[str, dict] | None = None
    features: dict[str, dict] | None = None
    class_weights: list[float] | None = None
    label_smoothing: float = 0.0
    label_mean: float = 0.0
    label_scale: float = 1.0
    classification_loss_weight: float = 1.0
    summarization_loss_weight: float = 1.0
    listwise_loss_weight: float = 1.0
    max_tokens_per_segment: int | None = None
    first_token_sees_all: bool = False
    overlap_sentences: int = 0
    max_segments: int | None = None
    max_segments_policy: str = "head"
    list_unit: str = "sentences"
    tokens_per_forward: int | None = None
    temperature: float = 1.0
    decision_threshold: float = 0.5
    decision_thresholds: list[float] | None = None
    abstain_below: float | None = None
    logit_weights: dict[str, float] | None = None
    label_tree: dict | None = None
    sentence_weights: dict[str, float] | None = None
    sentence_stack: dict | None = None
    sentence_queries: list[str] | None = None
    summary_scores: str = "learnt"
    summary_budget: str = "max_words"
    summary_limit: float = 100.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        """Turn a nested dict into a configuration and settle what depends on the encoder."""
        if self.text_config is None:
            self.text_config = AutoConfig.for_model("bert")
        elif isinstance(self.text_config, dict):
            values = dict(self.text_config)
            self.text_config = AutoConfig.for_model(values.pop("model_type", "bert"), **values)
        if getattr(self.encoder_config, "attention_type", None) == "block_sparse":
            # After one short input BigBird attends in full to all that follow: a document's answer
            # would depend on those before it. In full from the start, it does not.
            self.encoder_config.update({"attention_type": "original_full"})
        if self.max_tokens_per_segment is None:
            self.max_tokens_per_segment = min(DEFAULT_SEGMENT_TOKENS, self.longest_segment)
        super().__post_init__(**kwargs)
        if self.problem_type == "regression" and getattr(self, "id2label", {}) == {0: "LABEL_0"}:
            # As train.py calls it: a number has no label's name.
            self.id2label, self.label2id = {0: "value"}, {"value": 0}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Read a checkpoint's fields; those it lacks get the meaning they had when it was made."""
        values = {"sentence_reach": None, **config_dict}
        if not cls.is_remote_code():
            # hierbert's own pipelines are registered, and need no code of a model's folder; those
            # of transformers' own names are ours for such a model alone.
            pipelines = values.pop("custom_pipelines", None) or {}
            if kept := {name: pipelines[name] for name in STANDARD_TASKS if name in pipelines}:
                values["custom_pipelines"] = kept
        return super().from_dict(values, **kwargs)

    @property
    def encoder_config(self) -> PreTrainedConfig:
        """The segment encoder's configuration."""
        assert isinstance(self.text_config, PreTrainedConfig)  # __post_init__ has seen to it
        return self.text_config

    @property
    def head_names(self) -> list[str]:
        """The names of the heads that the model has."""
        flagged = [name for name in _HEAD_FLAGS if getattr(self, name)]
        return flagged + list(self.head_settings or {})

    @property
    def heads(self) -> int:
        """Attention heads of the layers over segments and sentences."""
        return self.attention_heads or _heads_for(self.hidden_size)

    @property
    def label_thresholds(self) -> list[float]:
        """Of each label, in label order: the probability from which it applies."""
        return self.decision_thresholds or [self.decision_threshold] * self.num_labels

    @property
    def segment_tokens(self) -> int:
        """Most tokens of a segment, special tokens included."""
        return self.max_tokens_per_segment or min(DEFAULT_SEGMENT_TOKENS, self.longest_segment)

    @property
    def hidden_size(self) -> int:
        """Width of every vector of the model: tokens, sentences, segments, documents."""
        return int(self.encoder_config.hidden_size)

    @property
    def longest_segment(self) -> int:
        """Most tokens of a segment that this encoder allows, special tokens included."""
        return usable_positions(self.encoder_config) or DEFAULT_SEGMENT_TOKENS

    def validate_ranges(self) -> None:
        """Refuse single values that make no sense."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not allowed; choose from "
                    f"{', '.join(allowed)}"
                )
        for allowed_range, is_allowed, names in _RANGES:
            for name in names.split():
                value = getattr(self, name)
                if value is not None and not is_allowed(value):
                    raise ValueError(f"{name}={value} is not allowed: {allowed_range}")
        for name, option in OPTIONS.items():
            check_option(option, getattr(self, f"summary_{name}"), f"summary_{name}")

    def validate_sizes(self) -> None:
        """Refuse what does not go with the encoder or the labels."""
        if not 8 <= self.segment_tokens <= self.longest_segment:
            raise ValueError(
                f"max_tokens_per_segment={self.max_tokens_per_segment} is not allowed: this "
                f"encoder ({self.encoder_config.model_type}) takes 8 to {self.longest_segment} "
                "tokens a segment, special tokens included"
            )
        if self.hidden_size % self.heads:
            raise ValueError(
                f"attention_heads={self.attention_heads} does not divide the hidden size "
                f"{self.hidden_size}"
            )
        if self.temperature != 1 and self.problem_type == "regression":
            raise ValueError(f"temperature={self.temperature} is for labels, not for regressions")
        if self.abstain_below is not None and self.problem_type not in _OF_ONE_LABEL:
            raise ValueError(f"abstain_below={self.abstain_below} is for one label a document")
        self._validate_members()
        thresholds = self.decision_thresholds
        if thresholds is not None:
            if len(thresholds) != self.num_labels:
                count = f"{len(thresholds)} numbers for {self.num_labels} labels"
                raise ValueError(f"decision_thresholds has {count}")
            for value in thresholds:
                if not 0 <= value <= 1:
                    raise ValueError(f"decision_thresholds: {value} is not allowed: 0 to 1")
        if self.class_weights is not None and len(self.class_weights) != self.num_labels:
            raise ValueError(
                f"class_weights has {len(self.class_weights)} numbers for {self.num_labels} labels"
            )

    def _validate_members(self) -> None:
        allowed = f"{', '.join(_MEMBERS)}, of a model that is no regression"
        _check_members("logit_weights", self.logit_weights, _MEMBERS, allowed)
        if self.logit_weights is not None and self.problem_type == "regression":
            raise ValueError(f"logit_weights={self.logit_weights!r} is not for a regression")
        for name in set(self.logit_weights or ()) & set(_WORD_MEMBERS):
            words = (self.features or {}).get(name)
            if words is None:
                raise ValueError(f'logit_weights has "{name}", but features has none')
            if words.get("labels") != self.num_labels:
                raise ValueError(
                    f"features.{name} is of {words.get('labels')} labels, but the model has "
                    f"{self.num_labels} labels"
                )
        if self.sentence_queries is not None:
            if self.sentence_queries not in _SENTENCE_QUERIES:
                raise ValueError(
                    f"sentence_queries={self.sentence_queries!r} is not allowed; choose from "
                    f"{', '.join(map(str, _SENTENCE_QUERIES))}"
                )
            for feature in set(self.sentence_queries) - set(self.features or ()):
                raise ValueError(f"sentence_queries is set, but features has no {feature}")
        allowed = ", ".join(_SENTENCE_MEMBERS)
        _check_members("sentence_weights", self.sentence_weights, _SENTENCE_MEMBERS, allowed)
        for member in self.sentence_weights or ():
            for feature in _SENTENCE_FEATURES.get(member, ()):
                if feature not in (self.features or {}):
                    raise ValueError(f'sentence_weights has "{member}", but features no {feature}')
        if "stack" in (self.sentence_weights or {}):
            stack = self.sentence_stack
            sizes = {name: (stack or {}).get(name) for name in ("hidden_units", "networks")}
            if stack is None or not all(
                isinstance(n, int) and 1 <= n <= _LARGEST_STACK for n in sizes.values()
            ):
                raise ValueError(
                    f"sentence_stack={stack!r} is not allowed: hidden_units and networks, 1 to "
                    f'{_LARGEST_STACK:,}, where sentence_weights has "stack"'
                )


def _check_members(
    name: str, members: dict[str, float] | None, known: Sequence[str], allowed: str
) -> None:
    if members is None:
        return
    if not members or not set(members) <= set(known):
        raise ValueError(f"{name}={members!r} is not allowed: numbers by one or more of {allowed}")
    if not all(math.isfinite(weight) for weight in members.values()):
        raise ValueError(f"{name}={members!r} is not allowed: finite numbers")


def _heads_for(hidden_size: int) -> int:
    """Heads of 64 dimensions, or the nearest number that divides the hidden size."""
    heads = max(1, hidden_size // 64)
    while hidden_size % heads:
        heads -= 1
    return heads
