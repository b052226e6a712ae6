"""HierBERT: segments through a pretrained encoder, an aggregator over their vectors, and heads.

The batch contract is flat: token ids of all segments one after the other, with the length of each
segment, the segments of each document and the sentence of each token beside them. There is no
padding in a batch and no dimension that counts documents times anything. See `HierBertProcessor`,
which makes such batches from texts.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, logging

from .aggregation import Aggregator
from .classification_head import ClassificationHead
from .configuration_hierbert import HierBertConfig
from .encoding import SegmentEncoder
from .features import FEATURES, Feature, make_features
from .heads import HEADS, Head, Structure, Vectors, check_registered
from .linear import StandardisedLinear
from .processing_hierbert import HierBertProcessor
from .ragged import group_mean
from .saving import SavedWithCode
from .sentence_features import SentenceFeatures
from .sentence_stack import SentenceStack
from .text_encoders import encoder_arguments
from .words import Words

_LOG = logging.get_logger(__name__)

# Whose buffers are fitted once the steps are over.
_FITTED = (ClassificationHead, SentenceFeatures, SentenceStack, StandardisedLinear, Words)

# Other names of `forward`'s arguments, and of fields of its output, older than those by head.
# transformers' Trainer takes each argument in the signature whose name holds "label" for one that
# every batch must have, so that only `labels` stands there.
_ARGUMENTS = {
    "sentence_labels": "targets.summarization",
    "labelled_documents": "documents.classification",
    "summarized_documents": "documents.summarization",
}
_OUTPUTS = {"classification": "logits", "summarization": "sentence_scores"}


@dataclass
class HierBertModelOutput(ModelOutput):
    """Vectors at every level; D documents, P segments, N sentences, H hidden.

    Attributes:
        document_vectors: float (D, H).
        segment_vectors: Pooled by the encoder, before the aggregator, float (P, H).
        segment_states: After the aggregator, float (P, H).
        sentence_vectors: float32 (N, H); None where no `sentence_index` was given.
    """

    document_vectors: Tensor | None = None
    segment_vectors: Tensor | None = None
    segment_states: Tensor | None = None
    sentence_vectors: Tensor | None = None


@dataclass
class HierBertOutput(ModelOutput):
    """Scores, losses and vectors; D documents, P segments, N sentences, C labels, H hidden.

    Attributes:
        loss: The weighted sum of all heads' losses, a scalar; None without targets.
        logits: float (D, C), over the config's temperature; None without a classification head.
            Of a regression they are numbers of mean 0 and scale 1: see
            `classification_head.regression_values`.
        sentence_scores: Logits of all sentences one after the other, float (N,); None without
            a summarization head.
        scores: Of each head, by its name: those two, and those of other heads.
        losses: Of each head that was given targets, by its name: the mean over the documents
            that have some; a scalar.
        sentences_per_document: int64 (D,): how to cut `sentence_scores`.
        document_vectors: float (D, H).
        segment_vectors: Before the aggregator, float (P, H).
        sentence_vectors: float32 (N, H); None where no head read them.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    sentence_scores: Tensor | None = None
    scores: dict[str, Tensor] | None = None
    losses: dict[str, Tensor] | None = None
    sentences_per_document: Tensor | None = None
    document_vectors: Tensor | None = None
    segment_vectors: Tensor | None = None
    sentence_vectors: Tensor | None = None

    @property
    def classification_loss(self) -> Tensor | None:
        """`losses` of the classification head; None without labels."""
        return (self.losses or {}).get("classification")

    @property
    def summarization_loss(self) -> Tensor | None:
        """`losses` of the summarization head; None without labels of sentences."""
        return (self.losses or {}).get("summarization")


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero, so that at first it adds nothing."""


class HierBertPreTrainedModel(SavedWithCode, PreTrainedModel):
    """Loading, saving and initialization that all HierBERT models share."""

    config: HierBertConfig
    base_model_prefix = "hierbert"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _no_split_modules = ["AggregatorLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ZeroLinear):
            init.zeros_(module.weight)
            init.zeros_(module.bias)
            return
        super()._init_weights(module)
        # Buffers, where a checkpoint lacks them.
        if isinstance(module, _FITTED):
            for name, buffer in module.named_buffers(recurse=False):
                (init.ones_ if name == "scale" else init.zeros_)(buffer)
        # Parameters that no nn.Linear holds come back as garbage unless they are set here.
        if isinstance(module, Aggregator) and module.token is not None:
            init.normal_(module.token, std=self.config.initializer_range)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as transformers does, but from safetensors alone: a pickle could run code."""
        kwargs.setdefault("use_safetensors", True)
        return super().from_pretrained(*args, **kwargs)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Save the model, its code, and the processor that lies where the model was loaded from.

        Args:
            save_directory: The folder; a processor that is there already stays.
            push_to_hub: Whether to push it as well, to `repo_id`, else to the folder's name.
            **kwargs: As `PreTrainedModel.save_pretrained` takes them.

        Raises:
            ValueError: The encoder computes in int8, which is made of other weights on loading.
        """
        base = self if isinstance(self, HierBertModel) else self.hierbert
        if base.segment_encoder.is_int8:
            raise ValueError("a model in int8 is not saved: load it in float32 or bfloat16")
        super().save_pretrained(save_directory, push_to_hub, **kwargs)

    def _save_beside(self, folder: Path) -> None:
        origin = self.config._name_or_path
        if not origin or (folder / "processor_config.json").is_file():
            return
        commit = getattr(self.config, "_commit_hash", None)
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                origin, revision=commit, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            _LOG.warning(f"no processor is saved: that of {origin} cannot be loaded ({error})")
            return
        HierBertProcessor.from_config(tokenizer, self.config).save_pretrained(folder)

    @classmethod
    def from_encoder_pretrained(
        cls,
        encoder: str,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        **settings: Any,
    ) -> "HierBertPreTrainedModel":
        """Build a model around a pretrained encoder; the aggregator and the heads are new.

        Args:
            encoder: Folder or Hub id of any `AutoModel` text encoder with safetensors weights.
            revision: Branch, tag or commit on the Hub.
            local_files_only: Whether to take it from the cache alone.
            **settings: Fields of `HierBertConfig`, `num_labels`, `id2label` and the like.

        Returns:
            The model in float32, in evaluation mode.

        Raises:
            OSError: There is no such encoder, or it has no safetensors weights.
            ValueError: A setting is out of its range, the encoder lacks weights, or it needs
                code of its own repository.
        """
        # Without this, transformers asks at the terminal; such a model could not be rebuilt.
        hub: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
        hub["local_files_only"] = local_files_only
        text_config = AutoConfig.from_pretrained(encoder, **hub)
        if getattr(text_config, "is_encoder_decoder", False):
            raise ValueError(
                f"{encoder} is an encoder-decoder ({text_config.model_type}); an encoder is "
                "needed, such as BERT"
            )
        own = {"first_token_sees_all": text_config.model_type == "longformer"}
        config = cls.config_class(text_config=text_config, **own | settings)
        pretrained, report = AutoModel.from_pretrained(
            encoder,
            config=config.encoder_config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **hub,
            **encoder_arguments(text_config),
        )
        # A pooler that the checkpoint lacks is not used; any other gap would be filled at random.
        missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
        if missing:
            raise ValueError(
                f"encoder {encoder} lacks {len(missing)} weights of its configuration, such as "
                f"{missing[0]}"
            )
        model = cls(config)
        base = model if isinstance(model, HierBertModel) else model.hierbert
        base.segment_encoder.encoder = pretrained
        return model.eval()


class HierBertModel(HierBertPreTrainedModel):
    """Segment encoder and aggregator: documents to document, segment and sentence vectors."""

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        # Of a checkpoint with heads, which this class leaves out on purpose.
        left_out = [*(head.attribute for head in HEADS.values()), "features"]
        self._keys_to_ignore_on_load_unexpected = [rf"^{name}\." for name in left_out]
        self.segment_encoder = SegmentEncoder(
            config.encoder_config,
            config.pooling,
            config.tokens_per_forward,
            config.first_token_sees_all,
        )
        self.aggregator = Aggregator(
            config.hidden_size,
            config.aggregator_layers,
            config.heads,
            config.dropout,
            group_token=True,
        )
        # The document vector starts as the mean of the segment vectors.
        self.from_document_token = None
        if config.aggregator_layers:
            self.from_document_token = ZeroLinear(config.hidden_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The segment encoder's token embeddings."""
        return self.segment_encoder.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the segment encoder's token embeddings."""
        self.segment_encoder.encoder.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor | None = None,
        segment_lengths: Tensor | None = None,
        sentence_index: Tensor | None = None,
        segments_per_document: Tensor | None = None,
        sentences_per_document: Tensor | None = None,
        segment_vectors: Tensor | None = None,
        sentence_vectors: Tensor | None = None,
        segment_places: Tensor | None = None,
        **unused: Any,
    ) -> HierBertModelOutput:
        """Encode documents, or go on from vectors that were computed before.

        Args:
            input_ids: Tokens of all segments, special tokens included, int64 (T,).
            segment_lengths: Tokens of each segment, int64 (P,), with the sum T.
            sentence_index: Sentence of each token in the batch, -1 for special tokens,
                int64 (T,); None makes no sentence vectors.
            segments_per_document: At least 1 each, int64 (D,), with the sum P.
            sentences_per_document: 0 or more each, int64 (D,), with the sum N.
            segment_vectors: Instead of tokens, as this model made them before, in any
                precision, float (P, H).
            sentence_vectors: Beside those, where sentences are read, float (N, H).
            segment_places: Where each segment stands in its document, and of how many, int64
                (P, 2), where some of a document are left out; None: one after the other.
            **unused: What only the heads read.

        Raises:
            ValueError: Neither tokens nor vectors were given, or sizes do not match.
        """
        if segments_per_document is None or sentences_per_document is None:
            raise ValueError("segments_per_document and sentences_per_document are needed")
        if segment_vectors is None:
            if input_ids is None or segment_lengths is None:
                raise ValueError(
                    "give input_ids, segment_lengths and sentence_index (as HierBertProcessor "
                    "makes them), or segment_vectors and sentence_vectors"
                )
            if input_ids.dim() != 1:
                raise ValueError(
                    f"input_ids has the shape {tuple(input_ids.shape)}; a flat (T,) is needed, "
                    "all segments one after the other: see HierBertProcessor"
                )
            segment_vectors, sentence_vectors = self.segment_encoder(
                input_ids, segment_lengths, sentence_index, int(sentences_per_document.sum())
            )
        else:
            # Kept in float32, whatever the precision of the model that reads them.
            segment_vectors = segment_vectors.to(self.dtype)
            sentence_vectors = None if sentence_vectors is None else sentence_vectors.float()
        for name, vectors, counts in (
            ("segments", segment_vectors, segments_per_document),
            ("sentences", sentence_vectors, sentences_per_document),
        ):
            if vectors is not None and len(vectors) != int(counts.sum()):
                raise ValueError(
                    f"{len(vectors)} {name} do not match {name}_per_document with the sum "
                    f"{int(counts.sum())}"
                )
        states, tokens = self.aggregator(
            segment_vectors, segments_per_document, places=segment_places
        )
        document_vectors = group_mean(segment_vectors, segments_per_document)
        if self.from_document_token is not None and tokens is not None:
            document_vectors = document_vectors + self.from_document_token(tokens)
        return HierBertModelOutput(
            document_vectors=document_vectors,
            segment_vectors=segment_vectors,
            segment_states=states,
            sentence_vectors=sentence_vectors,
        )


class HierBertForDocuments(HierBertPreTrainedModel):
    """HierBERT with heads on one encoder: classification, summarization, or what is registered.

    Attributes:
        heads: By name; each also stands under its own attribute (`classifier`, `summarizer`),
            which is None where the model has no such head.
        features: What is computed from documents beside their vectors, by name.
    """

    # The loss divides by documents itself: see `documents.NAME` of `forward`.
    accepts_loss_kwargs = False

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        self.hierbert = HierBertModel(config)
        check_registered("head", config.head_names, HEADS)
        for head in HEADS.values():
            setattr(self, head.attribute, None)
        for name in config.head_names:
            setattr(self, HEADS[name].attribute, HEADS[name].of(config))
        self.features = nn.ModuleDict(make_features(config.features))
        self.post_init()

    @property
    def heads(self) -> dict[str, Head]:
        """The model's heads by name."""
        return {name: getattr(self, HEADS[name].attribute) for name in self.config.head_names}

    def features_of(self, heads: Sequence[str] | None = None) -> dict[str, Feature]:
        """The features that some heads read, by name; `heads` of None are all."""
        asked = self.heads if heads is None else heads
        read = frozenset().union(*(self.heads[name].reads for name in asked))
        return {n: cast(Feature, own) for n, own in self.features.items() if n in read}

    def forward(
        self,
        input_ids: Tensor | None = None,
        segment_lengths: Tensor | None = None,
        sentence_index: Tensor | None = None,
        segments_per_document: Tensor | None = None,
        sentences_per_document: Tensor | None = None,
        sentence_segments: Tensor | None = None,
        sentence_tokens: Tensor | None = None,
        segment_vectors: Tensor | None = None,
        sentence_vectors: Tensor | None = None,
        segment_places: Tensor | None = None,
        labels: Tensor | None = None,
        heads: Sequence[str] | None = None,
        with_sentences: bool = False,
        **others: Any,
    ) -> HierBertOutput:
        """Ask the heads about documents.

        Args:
            input_ids: As `HierBertModel.forward` reads it, and so the other arguments of its.
            segment_lengths: int64 (P,).
            sentence_index: int64 (T,).
            segments_per_document: int64 (D,).
            sentences_per_document: int64 (D,).
            sentence_segments: Segment in which each sentence begins, counted through the
                batch, int64 (N,); for heads that read sentences, as the next.
            sentence_tokens: Tokens of each sentence, int64 (N,).
            segment_vectors: float (P, H).
            sentence_vectors: float (N, H).
            segment_places: int64 (P, 2).
            labels: Another name of ``targets.classification``.
            heads: Names of the heads to run; None runs all that the model has. Sentence vectors
                and features are only made for a head that reads them.
            with_sentences: Whether sentence vectors are made all the same.
            **others: ``targets.NAME``: what `Head.losses` of that head reads (`sentence_labels`
                is another name of ``targets.summarization``). ``documents.NAME``: what to divide
                the sum of its losses by, when a step has more batches or processes than this
                one; without it, the documents of this batch that have targets.
                ``features.NAME.KEY``: what `Feature.collate` made. ``query.KEY``: what
                `collate_queries` made.

        Raises:
            ValueError: An input that a head needs is missing, sizes do not match, or there is
                no such head.
            TypeError: There is no such argument.
        """
        if unknown := sorted(set(heads or ()) - set(HEADS)):
            raise ValueError(f"heads={unknown[0]!r} is not allowed; choose from {', '.join(HEADS)}")
        inputs = {_ARGUMENTS.get(name, name): value for name, value in others.items()}
        if labels is not None:
            inputs["targets.classification"] = labels
        known = {"targets": [*HEADS], "documents": [*HEADS], "features": [*FEATURES]}
        known["query"] = ["input_ids", "segment_lengths", "segments_per_document"]
        for name in inputs:
            kind, _, rest = name.partition(".")
            if rest.partition(".")[0] not in known.get(kind, []):
                raise TypeError(f"{name!r} is no argument of HierBertForDocuments.forward")
        asked = {name: head for name, head in self.heads.items() if heads is None or name in heads}
        reads_sentences = with_sentences or any("sentence" in h.reads for h in asked.values())
        found = self.hierbert(
            input_ids=input_ids,
            segment_lengths=segment_lengths,
            sentence_index=sentence_index if reads_sentences else None,
            segments_per_document=segments_per_document,
            sentences_per_document=sentences_per_document,
            segment_vectors=segment_vectors,
            sentence_vectors=sentence_vectors,
            segment_places=segment_places,
        )
        assert segments_per_document is not None and sentences_per_document is not None
        vectors = Vectors(
            document=found.document_vectors,
            segment=found.segment_vectors,
            segment_states=found.segment_states,
            structure=Structure(
                segments_per_document, sentences_per_document, sentence_segments, sentence_tokens
            ),
            sentence=found.sentence_vectors,
        )
        if any("query" in head.reads for head in asked.values()):
            vectors.query = self._query_vectors(inputs, vectors.document)
        for name, feature in self.features_of(list(asked)).items():
            start = f"features.{name}."
            own = {key.removeprefix(start): v for key, v in inputs.items() if key.startswith(start)}
            vectors.features[name] = feature(own, vectors.structure)
        answers: dict[str, Tensor] = {}
        losses: dict[str, Tensor] = {}
        for name, head in asked.items():
            scores = head(vectors)
            answers[name] = head.calibrated(scores, self.config)
            targets = inputs.get(f"targets.{name}")
            if targets is not None:
                each, counted = head.losses(scores, targets, vectors.structure)
                total = inputs.get(f"documents.{name}")
                total = counted.sum() if total is None else total
                losses[name] = each.sum() / max(1.0, float(total))
        weighted = [asked[name].loss_weight(self.config) * loss for name, loss in losses.items()]
        return HierBertOutput(
            loss=torch.stack(weighted).sum() if weighted else None,
            **{field: answers[name] for name, field in _OUTPUTS.items() if name in answers},
            scores=answers,
            losses=losses or None,
            sentences_per_document=sentences_per_document,
            document_vectors=vectors.document,
            segment_vectors=vectors.segment,
            sentence_vectors=vectors.sentence,
        )

    def _query_vectors(self, inputs: Mapping[str, Any], documents: Tensor) -> Tensor:
        """A vector for what is asked about each document, float (D, H); 0 where nothing is."""
        if "query.segments_per_document" not in inputs:
            raise ValueError("query.* are missing: HierBertProcessor makes them")
        lengths = inputs["query.segment_lengths"]
        if not len(lengths):
            return torch.zeros_like(documents)
        segments, _ = self.hierbert.segment_encoder(inputs["query.input_ids"], lengths)
        return group_mean(segments, inputs["query.segments_per_document"])
