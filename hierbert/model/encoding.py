"""Segments of tokens to segment vectors and sentence vectors, in micro-batches by token budget.

Padding exists only inside a micro-batch of segments of similar length. A segment's vectors do not
depend on the segments beside it, and peak memory is set by the token budget, not by the document.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig

from .first_token import first_token_encoder
from .ragged import group_starts, padded_positions, plan_micro_batches
from .text_encoders import build_encoder, encoder_layers

# Small passes stay in the cache of a CPU; a GPU wants large ones.
CPU_TOKENS_PER_FORWARD = 2_048
ACCELERATOR_TOKENS_PER_FORWARD = 32_768
# A micro-batch ends rather than grow by segments so short that more of it would be padding.
_MOST_PADDING = 0.05


class Runtime(Protocol):
    """What reads segments in the place of torch's encoder, where no gradients are kept.

    Attributes:
        name: Of the library.
        dtype: What it computes in: "float32" up to rounding, or "int8".
    """

    name: str
    dtype: str

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token states, float32 (P, L, H), of tokens, int64 (P, L), and which there are, bool."""


class SegmentEncoder(nn.Module):
    """A pretrained encoder, read in micro-batches, with its pooling.

    Args:
        text_config: Configuration of the encoder.
        pooling: "mean", "cls", "max" or "attention".
        tokens_per_forward: Most tokens of a micro-batch, padding included; None picks by device.
        first_token_sees_all: Whether to ask a Longformer for global attention of first tokens.
    """

    def __init__(
        self,
        text_config: PreTrainedConfig,
        pooling: str,
        tokens_per_forward: int | None,
        first_token_sees_all: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(text_config)
        self.pooling = pooling
        self.tokens_per_forward = tokens_per_forward
        self.first_token_sees_all = first_token_sees_all
        self.pad_token_id = int(text_config.pad_token_id or 0)
        self.attention = nn.Linear(text_config.hidden_size, 1) if pooling == "attention" else None
        # Set by training: padded tokens of one forward whose graphs may be kept for backward; what
        # is beyond is computed again there, micro-batch by micro-batch. None keeps all.
        self.kept_tokens: int | None = None
        # Set where its linear layers were replaced by layers in int8.
        self.is_int8 = False
        self.runtime: Runtime | None = None

    def freeze(self, trained_layers: int = 0) -> None:
        """Leave the encoder out of training, but for this many of its last layers.

        Raises:
            ValueError: The encoder has fewer layers, or keeps them where none are found.
        """
        self.encoder.requires_grad_(False)
        if not trained_layers:
            return
        layers = encoder_layers(self.encoder)
        if trained_layers > len(layers):
            raise ValueError(
                f"the encoder has {len(layers)} layers, {trained_layers} cannot be trained"
            )
        for layer in layers[-trained_layers:]:
            layer.requires_grad_(True)
        # What follows the last layer (a final norm) is trained with it.
        for name, module in self.encoder.named_children():
            if "final" in name or name == "norm":
                module.requires_grad_(True)

    @property
    def frozen(self) -> bool:
        """Whether no weight of the encoder is trained."""
        return not any(weight.requires_grad for weight in self.encoder.parameters())

    def train(self, mode: bool = True) -> "SegmentEncoder":
        """Like `nn.Module.train`, but a frozen encoder has no dropout."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    @property
    def precision(self) -> str:
        """What the encoder computes in: "float32", "bfloat16", "float16" or "int8"."""
        if self.runtime is not None:
            return self.runtime.dtype
        return "int8" if self.is_int8 else str(self.encoder.dtype).removeprefix("torch.")

    @property
    def computes(self) -> str:
        """What vectors depend on beside weights: the precision, and whose int8 it is."""
        if self.runtime is None or self.runtime.dtype == "float32":
            return self.precision
        return f"{self.runtime.dtype} by {self.runtime.name}"

    def forward(
        self,
        input_ids: Tensor,
        segment_lengths: Tensor,
        sentence_index: Tensor | None = None,
        sentences: int = 0,
    ) -> tuple[Tensor, Tensor | None]:
        """Encode all segments of a batch.

        Args:
            input_ids: Tokens of all segments one after the other, int64 (T,).
            segment_lengths: Tokens of each segment, int64 (P,), with the sum T.
            sentence_index: Sentence of each token, -1 for special tokens, int64 (T,); None
                makes no sentence vectors, which with the pooling "cls" saves most of the
                encoder's last layer.
            sentences: Number of sentences N.

        Returns:
            Segment vectors, float (P, H), and sentence vectors, float32 (N, H), or None: the
            mean of the sentence's token states, wherever they are; 0 for a sentence without
            tokens.
        """
        starts = group_starts(segment_lengths)
        has_graph = torch.is_grad_enabled() and not self.frozen
        left = self.kept_tokens if has_graph else None
        segment_parts, order = [], []
        # Of token states by sentence; the first row is of tokens that are of no sentence.
        sums = torch.zeros(
            0 if sentence_index is None else 1 + sentences,
            self.encoder.config.hidden_size,
            device=input_ids.device,
        )
        for batch in self.plan(segment_lengths.tolist(), input_ids.device):
            segments = torch.tensor(batch, device=input_ids.device)
            positions, mask = padded_positions(starts[segments], segment_lengths[segments])
            ids = input_ids[positions].masked_fill(~mask, self.pad_token_id)
            owners = rows = None
            if sentence_index is not None:
                rows = (sentence_index[positions] + 1).masked_fill(~mask, 0)
                owners, rows = rows.unique(return_inverse=True)
            arguments = (ids, mask, rows, 0 if owners is None else len(owners))
            if left is not None and ids.numel() > left:
                vectors, totals = checkpoint(self._encode, *arguments, use_reentrant=False)
            else:
                left = None if left is None else left - ids.numel()
                vectors, totals = self._encode(*arguments)
            segment_parts.append(vectors)
            order.append(segments)
            if owners is not None:
                # In place: a copy for each micro-batch would cost their number times N.
                sums.index_add_(0, owners, totals)
        vectors = torch.cat(segment_parts)[torch.argsort(torch.cat(order))]
        if sentence_index is None:
            return vectors, None
        counts = torch.bincount(sentence_index + 1, minlength=1 + sentences)
        counts = counts[1:].clamp(min=1)[:, None]
        # Without a copy, where no gradients are kept.
        means = sums[1:] / counts if torch.is_grad_enabled() else sums[1:].div_(counts)
        return vectors, means

    def plan(self, lengths: list[int], device: torch.device) -> list[list[int]]:
        """The micro-batches of segments of these lengths: indices into them, each once."""
        return plan_micro_batches(lengths, self.tokens_of_a_pass(device), _MOST_PADDING)

    def tokens_of_a_pass(self, device: torch.device) -> int:
        """Most tokens of a micro-batch on a device: `tokens_per_forward`, or the usual there."""
        if self.tokens_per_forward is not None:
            return self.tokens_per_forward
        return CPU_TOKENS_PER_FORWARD if device.type == "cpu" else ACCELERATOR_TOKENS_PER_FORWARD

    def _encode(
        self, ids: Tensor, mask: Tensor, rows: Tensor | None, row_count: int
    ) -> tuple[Tensor, Tensor | None]:
        """One rectangle of tokens (P, L) to segment vectors and sums of states by `rows` (P, L)."""
        states = self._states(ids, mask, rows is None and self.pooling == "cls")
        vectors = self._pool(states, mask)
        if rows is None:
            return vectors, None
        totals = torch.zeros(row_count, states.shape[-1], device=states.device)
        return vectors, totals.index_add(0, rows.reshape(-1), states.float().flatten(0, 1))

    def _states(self, ids: Tensor, mask: Tensor, first_alone: bool = False) -> Tensor:
        """Token states, float (P, L, H); of the first tokens alone where that is enough."""
        if self.runtime is not None and not torch.is_grad_enabled():
            return self.runtime(ids, mask)
        # Without padding there is nothing to mask, and attention is faster.
        attention_mask = None if bool(mask.all()) else mask.long()
        encoder = self.encoder
        if first_alone:
            encoder = first_token_encoder(encoder) or encoder
        more = {}
        if self.first_token_sees_all:
            more["global_attention_mask"] = torch.zeros_like(ids)
            more["global_attention_mask"][:, 0] = 1
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states: Tensor = encoder(input_ids=ids, attention_mask=attention_mask, **more)[0]
            return states

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Token states, float (P, L, H), to segment vectors, float (P, H)."""
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "max":
            return states.masked_fill(~mask[..., None], -torch.inf).amax(1)
        if self.attention is not None:
            scores = self.attention(states).squeeze(-1).masked_fill(~mask, -torch.inf)
            weights = scores.softmax(1)
        else:
            weights = mask / mask.sum(1, keepdim=True)
        return torch.einsum("pl,plh->ph", weights.to(states.dtype), states)
