"""HierBERT: segments through a pretrained encoder, an aggregator over their vectors, and heads.

The batch contract is flat: token ids of all segments one after the other, with the length of each
segment, the segments of each document and the sentence of each token beside them. There is no
padding in a batch and no dimension that counts documents times anything. See `HierBertProcessor`,
which makes such batches from texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .aggregation import Aggregator
from .configuration_hierbert import HierBertConfig
from .encoding import SegmentEncoder
from .heads import ClassificationHead, SummarizationHead
from .ragged import group_mean
from .text_encoders import encoder_arguments

HEADS = ("classification", "summarization")


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
    """Answers for each document, and what training needs; D documents, N sentences, C labels.

    Attributes:
        loss: The weighted sum of both heads' losses, a scalar; None without labels.
        classification_loss: Sum over labelled documents divided by their number; a scalar.
        summarization_loss: The same over documents with sentence labels.
        logits: float (D, C), over the config's temperature; None without a classification head.
            Of a regression they are
            numbers of mean 0 and scale 1: see `decoding.regression_values`.
        sentence_scores: Logits of all sentences one after the other, float (N,); None without
            a summarization head.
        sentences_per_document: int64 (D,): how to cut `sentence_scores`.
        document_vectors: float (D, H).
        segment_vectors: Before the aggregator, float (P, H).
        sentence_vectors: float32 (N, H); None where no head read them.
    """

    loss: Tensor | None = None
    classification_loss: Tensor | None = None
    summarization_loss: Tensor | None = None
    logits: Tensor | None = None
    sentence_scores: Tensor | None = None
    sentences_per_document: Tensor | None = None
    document_vectors: Tensor | None = None
    segment_vectors: Tensor | None = None
    sentence_vectors: Tensor | None = None


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero, so that what it adds is learnt from nothing."""


class HierBertPreTrainedModel(PreTrainedModel):
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
        # Parameters that no nn.Linear holds come back as garbage unless they are set here.
        if isinstance(module, Aggregator) and module.token is not None:
            init.normal_(module.token, std=self.config.initializer_range)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """`PreTrainedModel.from_pretrained`, which reads safetensors only unless told otherwise.

        Raises:
            OSError: There are no safetensors weights; a pickle could run code.
        """
        kwargs.setdefault("use_safetensors", True)
        return super().from_pretrained(*args, **kwargs)

    @classmethod
    def from_encoder_pretrained(
        cls,
        encoder: str,
        *,
        revision: str | None = None,
        **settings: Any,
    ) -> "HierBertPreTrainedModel":
        """Build a model around a pretrained encoder; the aggregator and the heads are new.

        Args:
            encoder: Folder or Hub id of any `AutoModel` text encoder with safetensors weights.
            revision: Branch, tag or commit on the Hub.
            **settings: Fields of `HierBertConfig`, `num_labels`, `id2label` and the like.

        Returns:
            The model in float32, in evaluation mode.

        Raises:
            OSError: There is no such encoder, or it has no safetensors weights.
            ValueError: A setting is out of its range, the encoder lacks weights, or it needs
                code of its own repository.
        """
        # Said, lest transformers ask at the terminal: such a model could not be rebuilt.
        hub = {"revision": revision, "trust_remote_code": False}
        text_config = AutoConfig.from_pretrained(encoder, **hub)
        if getattr(text_config, "is_encoder_decoder", False):
            raise ValueError(
                f"{encoder} is an encoder-decoder ({text_config.model_type}); an encoder is "
                "needed, such as BERT"
            )
        model = cls(cls.config_class(text_config=text_config, **settings))
        base = model if isinstance(model, HierBertModel) else model.hierbert
        pretrained, report = AutoModel.from_pretrained(
            encoder,
            config=base.config.encoder_config,
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
        base.segment_encoder.encoder = pretrained
        return model.eval()


class HierBertModel(HierBertPreTrainedModel):
    """Segment encoder and aggregator: documents to document, segment and sentence vectors."""

    # Of a checkpoint with heads, which this class leaves out on purpose.
    _keys_to_ignore_on_load_unexpected = [r"^classifier\.", r"^summarizer\."]  # noqa: RUF012

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        self.segment_encoder = SegmentEncoder(
            config.encoder_config, config.pooling, config.tokens_per_forward
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
        **unused: Any,
    ) -> HierBertModelOutput:
        """Encode documents, or take up vectors that were computed before.

        Args:
            input_ids: Tokens of all segments, special tokens included, int64 (T,).
            segment_lengths: Tokens of each segment, int64 (P,), with the sum T.
            sentence_index: Sentence of each token in the batch, -1 for special tokens,
                int64 (T,); None makes no sentence vectors.
            segments_per_document: At least 1 each, int64 (D,), with the sum P.
            sentences_per_document: 0 or more each, int64 (D,), with the sum N.
            segment_vectors: float (P, H): instead of tokens, as this model gave them before,
                in any precision.
            sentence_vectors: float (N, H), beside those, where sentences are read.
            **unused: What only the heads read.

        Returns:
            `HierBertModelOutput`.

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
        if len(segment_vectors) != int(segments_per_document.sum()):
            raise ValueError(
                f"{len(segment_vectors)} segments do not match segments_per_document with the "
                f"sum {int(segments_per_document.sum())}"
            )
        if sentence_vectors is not None and len(sentence_vectors) != int(
            sentences_per_document.sum()
        ):
            raise ValueError(
                f"{len(sentence_vectors)} sentences do not match sentences_per_document with the "
                f"sum {int(sentences_per_document.sum())}"
            )
        states, tokens = self.aggregator(segment_vectors, segments_per_document)
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
    """HierBERT with a classification head, a summarization head, or both on one encoder."""

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__(config)
        self.hierbert = HierBertModel(config)
        self.classifier = ClassificationHead(config) if config.classification else None
        self.summarizer = SummarizationHead(config) if config.summarization else None
        self.post_init()

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
        labels: Tensor | None = None,
        sentence_labels: Tensor | None = None,
        labelled_documents: float | Tensor | None = None,
        summarized_documents: float | Tensor | None = None,
        heads: Sequence[str] | None = None,
    ) -> HierBertOutput:
        """Classify documents and score their sentences.

        Args:
            input_ids: See `HierBertModel.forward`, as the next four.
            segment_lengths: int64 (P,).
            sentence_index: int64 (T,).
            segments_per_document: int64 (D,).
            sentences_per_document: int64 (D,).
            sentence_segments: Segment in which each sentence begins, counted through the
                batch, int64 (N,); needed by the summarization head, as the next.
            sentence_tokens: Tokens of each sentence, int64 (N,).
            segment_vectors: float (P, H), instead of tokens.
            sentence_vectors: float (N, H), instead of tokens.
            labels: See `ClassificationHead.losses`.
            sentence_labels: See `SummarizationHead.losses`.
            labelled_documents: What to divide the sum of classification losses by; None
                counts the labelled documents of this batch. Training across batches and
                processes gives the number of the whole step.
            summarized_documents: The same for the summarization loss.
            heads: Which heads to run, of "classification" and "summarization"; None runs all
                that the model has. Sentence vectors are only made for a head that reads them.

        Returns:
            `HierBertOutput`.

        Raises:
            ValueError: An input that a head needs is missing, sizes do not match, or there is
                no such head.
        """
        if unknown := sorted(set(heads or ()) - set(HEADS)):
            raise ValueError(f"heads={unknown[0]!r} is not allowed; choose from {', '.join(HEADS)}")
        classifier = self.classifier if heads is None or "classification" in heads else None
        summarizer = self.summarizer if heads is None or "summarization" in heads else None
        vectors = self.hierbert(
            input_ids=input_ids,
            segment_lengths=segment_lengths,
            sentence_index=None if summarizer is None else sentence_index,
            segments_per_document=segments_per_document,
            sentences_per_document=sentences_per_document,
            segment_vectors=segment_vectors,
            sentence_vectors=sentence_vectors,
        )
        output = HierBertOutput(
            sentences_per_document=sentences_per_document,
            document_vectors=vectors.document_vectors,
            segment_vectors=vectors.segment_vectors,
            sentence_vectors=vectors.sentence_vectors,
        )
        losses = []
        if classifier is not None:
            logits = classifier(vectors.document_vectors)
            output.logits = logits / self.config.temperature
            if labels is not None:
                # What is learnt are the logits before they are calibrated.
                each, counted = classifier.losses(logits, labels)
                output.classification_loss = _mean_loss(each, counted, labelled_documents)
                losses.append(self.config.classification_loss_weight * output.classification_loss)
        if summarizer is not None:
            if (
                sentence_segments is None
                or sentence_tokens is None
                or sentences_per_document is None
                or vectors.sentence_vectors is None
            ):
                raise ValueError(
                    "a model that summarizes needs sentence_index, sentence_segments and "
                    "sentence_tokens, as HierBertProcessor makes them"
                )
            output.sentence_scores = summarizer(
                vectors.sentence_vectors,
                vectors.segment_states,
                vectors.document_vectors,
                sentences_per_document,
                sentence_segments,
                sentence_tokens,
            )
            if sentence_labels is not None:
                each, counted = summarizer.losses(
                    output.sentence_scores, sentence_labels, sentences_per_document
                )
                output.summarization_loss = _mean_loss(each, counted, summarized_documents)
                losses.append(self.config.summarization_loss_weight * output.summarization_loss)
        if losses:
            output.loss = torch.stack(losses).sum()
        return output


def _mean_loss(each: Tensor, counted: Tensor, documents: float | Tensor | None) -> Tensor:
    """Sum of the losses over the documents that count, here or in the whole step."""
    total = counted.sum() if documents is None else documents
    return each.sum() / max(1.0, float(total))
