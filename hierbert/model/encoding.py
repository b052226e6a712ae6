"""Segments of tokens to segment vectors and sentence vectors, in micro-batches by token budget.

Padding exists only inside a micro-batch of segments of similar length. A segment's vectors do not
depend on the segments beside it, and peak memory is set by the token budget, not by the document.
"""

import inspect

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from .ragged import group_starts, padded_positions, plan_micro_batches

# Small passes stay in the cache of a CPU; a GPU wants large ones.
CPU_TOKENS_PER_FORWARD = 2_048
ACCELERATOR_TOKENS_PER_FORWARD = 32_768


def build_encoder(text_config: PreTrainedConfig) -> PreTrainedModel:
    """A segment encoder with new weights, without the pooler that is trained for other things.

    Args:
        text_config: Configuration of any `AutoModel` text encoder.

    Returns:
        The encoder, on the default device.
    """
    return AutoModel.from_config(text_config, **encoder_arguments(text_config))


def encoder_arguments(text_config: PreTrainedConfig) -> dict[str, bool]:
    """`add_pooling_layer=False` for the encoder classes that have such an argument."""
    encoder_class = AutoModel._model_mapping[type(text_config)]
    if isinstance(encoder_class, tuple):
        encoder_class = encoder_class[0]
    if "add_pooling_layer" in inspect.signature(encoder_class.__init__).parameters:
        return {"add_pooling_layer": False}
    return {}


class SegmentEncoder(nn.Module):
    """A pretrained encoder, read in micro-batches, with its pooling.

    Args:
        text_config: Configuration of the encoder.
        pooling: "mean", "cls", "max" or "attention".
        tokens_per_forward: Most tokens of a micro-batch, padding included; None picks by device.
    """

    def __init__(
        self, text_config: PreTrainedConfig, pooling: str, tokens_per_forward: int | None
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(text_config)
        self.pooling = pooling
        self.tokens_per_forward = tokens_per_forward
        self.pad_token_id = int(text_config.pad_token_id or 0)
        self.attention = nn.Linear(text_config.hidden_size, 1) if pooling == "attention" else None
        # Set by training: padded tokens of one forward whose graphs may be kept for backward; what
        # is beyond is computed again there, micro-batch by micro-batch. None keeps all.
        self.kept_tokens: int | None = None

    def freeze(self, trained_layers: int = 0) -> None:
        """Leave the encoder out of training, but for its last layers.

        Args:
            trained_layers: Last layers that stay trainable; 0 freezes the whole encoder.

        Raises:
            ValueError: The encoder has fewer layers, or keeps them where none are found.
        """
        self.encoder.requires_grad_(False)
        if not trained_layers:
            return
        layers = _layer_list(self.encoder)
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

    def forward(
        self, input_ids: Tensor, segment_lengths: Tensor, sentence_index: Tensor, sentences: int
    ) -> tuple[Tensor, Tensor]:
        """Encode all segments of a batch.

        Args:
            input_ids: Tokens of all segments one after the other, int64 (T,).
            segment_lengths: Tokens of each segment, int64 (P,), with the sum T.
            sentence_index: Sentence of each token, -1 for special tokens, int64 (T,).
            sentences: Number of sentences N.

        Returns:
            Segment vectors, float (P, H), and sentence vectors, float32 (N, H): the mean of
            the sentence's token states, wherever they are; 0 for a sentence without tokens.
        """
        lengths = segment_lengths.tolist()
        starts = group_starts(segment_lengths)
        segment_parts, order, sums, owners_of_sums = [], [], [], []
        has_graph = torch.is_grad_enabled() and not self.frozen
        left = self.kept_tokens if has_graph else None
        for batch in plan_micro_batches(lengths, self._tokens_per_forward(input_ids.device)):
            segments = torch.tensor(batch, device=input_ids.device)
            positions, mask = padded_positions(starts[segments], segment_lengths[segments])
            ids = input_ids[positions].masked_fill(~mask, self.pad_token_id)
            owners = sentence_index[positions].masked_fill(~mask, -1)
            present, local = owners.unique(return_inverse=True)
            arguments = (ids, mask, local, len(present))
            if left is not None and ids.numel() > left:
                vectors, totals = checkpoint(self._encode, *arguments, use_reentrant=False)
            else:
                left = None if left is None else left - ids.numel()
                vectors, totals = self._encode(*arguments)
            segment_parts.append(vectors)
            order.append(segments)
            # The first owner is -1, for special tokens and padding, where there are any.
            real = int(present[0] < 0)
            sums.append(totals[real:])
            owners_of_sums.append(present[real:])
        counts = torch.bincount(sentence_index[sentence_index >= 0], minlength=sentences)
        # Once for all micro-batches: one at a time would cost their number times N.
        parts = torch.cat(sums)
        sentence_sums = parts.new_zeros(sentences, parts.shape[1])
        sentence_sums = sentence_sums.index_add(0, torch.cat(owners_of_sums), parts)
        vectors = torch.cat(segment_parts)[torch.argsort(torch.cat(order))]
        return vectors, sentence_sums / counts.clamp(min=1)[:, None]

    def _tokens_per_forward(self, device: torch.device) -> int:
        if self.tokens_per_forward is not None:
            return self.tokens_per_forward
        return CPU_TOKENS_PER_FORWARD if device.type == "cpu" else ACCELERATOR_TOKENS_PER_FORWARD

    def _encode(
        self, ids: Tensor, mask: Tensor, owners: Tensor, owner_count: int
    ) -> tuple[Tensor, Tensor]:
        """One rectangle of tokens (P, L) to segment vectors and sums of states by owner."""
        # Without padding there is nothing to mask, and attention is faster.
        attention_mask = None if bool(mask.all()) else mask.long()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.encoder(input_ids=ids, attention_mask=attention_mask)[0]
        vectors = self._pool(states, mask)
        totals = torch.zeros(owner_count, states.shape[-1], device=states.device)
        totals = totals.index_add(0, owners.reshape(-1), states.float().flatten(0, 1))
        return vectors, totals

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


def _layer_list(encoder: PreTrainedModel) -> nn.ModuleList:
    """The encoder's transformer layers: its longest list of modules."""
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"no list of layers found in {type(encoder).__name__}")
    return max(lists, key=len)
