"""A transformer over the vectors of groups: segments of a document, sentences of a document.

It knows nothing of text: a further level (documents of a user) is the same module one level up.
A group's result does not depend on which other groups are computed beside it.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .ragged import group_starts, padded_positions, plan_micro_batches

_FREQUENCIES = 16
_RELATIVE_FREQUENCIES = 4
POSITION_FEATURES = 4 * _FREQUENCIES + 2 * _RELATIVE_FREQUENCIES


def position_features(index: Tensor, length: Tensor) -> Tensor:
    """Describe places by the distance from the start, from the end, and relative to the length.

    Computed, never tabled, so that no length is too long (sinusoids as in Vaswani et al. 2017,
    section 3.5; both ends as in HipoRank, Dong et al. 2021).

    Args:
        index: Place of each unit in its group, from 0, int64 (M,).
        length: Units of its group, int64 (M,).

    Returns:
        Features in [-1, 1], float32 (M, POSITION_FEATURES).
    """
    steps = torch.arange(_FREQUENCIES, device=index.device, dtype=torch.float32)
    frequencies = torch.exp(-math.log(10_000.0) * steps / _FREQUENCIES)
    from_start = index.float()[:, None] * frequencies
    from_end = (length - 1 - index).float()[:, None] * frequencies
    ratio = index.float() / (length - 1).clamp(min=1).float()
    halves = torch.arange(1, _RELATIVE_FREQUENCIES + 1, device=index.device) * math.pi
    relative = ratio[:, None] * halves
    angles = (from_start, from_end, relative)
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)


class AggregatorLayer(GradientCheckpointingLayer):
    """One pre-LN transformer layer (Xiong et al. 2020) with bidirectional attention."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.attention_output = nn.Linear(hidden_size, hidden_size)
        self.feed_forward_norm = nn.LayerNorm(hidden_size)
        self.feed_forward_input = nn.Linear(hidden_size, 4 * hidden_size)
        self.feed_forward_output = nn.Linear(4 * hidden_size, hidden_size)

    def forward(self, states: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Let the units of each group see each other.

        Args:
            states: float (G, L, H).
            key_mask: bool (G, 1, 1, L), True where a unit is real; None when all are.

        Returns:
            float (G, L, H).
        """
        groups, length, hidden = states.shape
        packed = self.query_key_value(self.attention_norm(states))
        packed = packed.view(groups, length, 3, self.heads, hidden // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        # No dropout of attention weights: with it there is no kernel on a CPU whose memory is
        # linear in the length, and a document may have tens of thousands of sentences.
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask)
        context = context.transpose(1, 2).reshape(groups, length, hidden)
        states = states + F.dropout(self.attention_output(context), self.dropout, self.training)
        inner = F.gelu(self.feed_forward_input(self.feed_forward_norm(states)))
        return states + F.dropout(self.feed_forward_output(inner), self.dropout, self.training)


class Aggregator(nn.Module):
    """Pre-LN transformer over the vectors of each group, with computed positions.

    Args:
        hidden_size: Width of the vectors.
        layers: Number of layers; with 0 the vectors pass unchanged.
        heads: Attention heads.
        dropout: Probability.
        group_token: Whether each group gets a learnt vector of its own in front, whose final
            state is returned too.
        units_per_forward: Most vectors of one pass, padding included.
    """

    def __init__(
        self,
        hidden_size: int,
        layers: int,
        heads: int,
        dropout: float,
        group_token: bool,
        units_per_forward: int = 16_384,
    ) -> None:
        super().__init__()
        self.units_per_forward = units_per_forward
        self.token = nn.Parameter(torch.zeros(hidden_size)) if group_token and layers else None
        self.positions = nn.Linear(POSITION_FEATURES, hidden_size) if layers else None
        self.layers = nn.ModuleList(
            AggregatorLayer(hidden_size, heads, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden_size) if layers else None

    def forward(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Contextualize the vectors of each group.

        Args:
            vectors: All groups' vectors one after the other, float (M, H).
            lengths: Vectors of each group, at least 1, int64 (G,), with the sum M.

        Returns:
            The states of the vectors, float (M, H), and of the group tokens, float (G, H), or
            None without a group token.
        """
        if self.positions is None or self.norm is None:
            return vectors, None
        starts = group_starts(lengths)
        extra = 0 if self.token is None else 1
        sizes = [length + extra for length in lengths.tolist()]
        states, tokens, places, order = [], [], [], []
        for batch in plan_micro_batches(sizes, self.units_per_forward):
            groups = torch.tensor(batch, device=vectors.device)
            order.append(groups)
            positions, mask = padded_positions(starts[groups], lengths[groups])
            state = self._run(vectors[positions], lengths[groups], mask)
            if self.token is not None:
                tokens.append(state[:, 0])
                state = state[:, 1:]
            states.append(state[mask])
            places.append(positions[mask])
        flat = torch.cat(states)[torch.argsort(torch.cat(places))]
        if self.token is None:
            return flat, None
        return flat, torch.cat(tokens)[torch.argsort(torch.cat(order))]

    def _run(self, vectors: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """One rectangle of groups, float (G, L, H), through all layers."""
        assert self.positions is not None and self.norm is not None
        groups, length, hidden = vectors.shape
        index = torch.arange(length, device=vectors.device).expand(groups, length)
        features = position_features(
            torch.minimum(index, lengths[:, None] - 1).reshape(-1),
            lengths[:, None].expand(groups, length).reshape(-1),
        )
        states = vectors + self.positions(features.to(vectors.dtype)).view(groups, length, hidden)
        if self.token is not None:
            states = torch.cat([self.token.expand(groups, 1, hidden).to(states.dtype), states], 1)
            mask = F.pad(mask, (1, 0), value=True)
        key_mask = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in self.layers:
            states = layer(states, key_mask)
        return self.norm(states)
