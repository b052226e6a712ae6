"""A transformer over the vectors of groups: segments of a document, sentences of a document.

It knows nothing of text: a further level (documents of a user) is the same module one level up.
A group's result does not depend on which other groups are computed beside it. With a reach, time
and memory are linear in the units of a group; nothing of the size units times units exists.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from .ragged import group_of_unit, group_starts, padded_positions, plan_micro_batches

_FREQUENCIES = 16
_RELATIVE_FREQUENCIES = 4
POSITION_FEATURES = 4 * _FREQUENCIES + 2 * _RELATIVE_FREQUENCIES
# So many rows have their four times wider inner states at a time; with gradients the inner
# states of longer groups are computed again in the backward pass.
_ROWS_AT_ONCE = 4096


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


def attend_within(query: Tensor, key: Tensor, value: Tensor, reach: int, first: int = 0) -> Tensor:
    """Attention in which each unit of one group sees the units at most `reach` places away.

    Equal to `scaled_dot_product_attention` with a mask that is True where
    ``abs(i - j) <= reach`` (sliding attention, Beltagy et al. 2020, section 3.1), in time and
    memory linear in L: bands of ``reach / 2`` queries read the keys around them, where they lie,
    under one mask of ``reach / 2`` times ``2.5 * reach`` numbers.

    Args:
        query: float (heads, Q, d), as the result.
        key: float (heads, L, d), as the next, of the same units and those around them.
        value: Of the same units as `key`.
        reach: At least 1.
        first: Which of the L units is the first of the Q.
    """
    length, total = query.shape[1], key.shape[1]
    if total <= reach + 1:
        return F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
    # A band twice as wide costs a fifth more time; one half as wide has, for a moment of the
    # backward pass, almost twice as many gradients of keys.
    width = max(1, reach // 2)
    keys = width + 2 * reach
    # One mask serves all bands, those at the ends by a part of it: row i stands for the query
    # at `start + i`, column j for the key at `start - reach + j`. Made of numbers, since each
    # call would make its own numbers of truth values and keep them for the backward pass.
    near = torch.ones(width, keys, dtype=torch.bool, device=query.device)
    near = near.triu_().tril_(2 * reach)
    mask = query.new_zeros(width, keys).masked_fill_(near.logical_not_(), -torch.inf)

    def band(start: int, end: int) -> Tensor:
        before = first + start - reach
        low, high = max(0, before), min(total, first + end + reach)
        return F.scaled_dot_product_attention(
            query[None, :, start:end],
            key[None, :, low:high],
            value[None, :, low:high],
            attn_mask=mask[: end - start, low - before : high - before],
        )[0]

    # From here on no key is missing on the left, and up to `inner_end` none on the right.
    left = min(length, max(0, reach - first))
    parts = [band(start, min(start + width, left)) for start in range(0, left, width)]
    inner = max(0, (min(length, total - reach - first) - left) // width)
    inner_end = left + inner * width
    if inner:
        # Heads stand where SDPA has its batch, and bands where it has its heads.
        seen = slice(first + left - reach, first + inner_end + reach)
        context = F.scaled_dot_product_attention(
            query[:, left:inner_end].unflatten(1, (inner, width)),
            key[:, seen].unfold(1, keys, width).transpose(2, 3),
            value[:, seen].unfold(1, keys, width).transpose(2, 3),
            attn_mask=mask,
        )
        parts.append(context.flatten(1, 2))
    parts += [band(start, min(start + width, length)) for start in range(inner_end, length, width)]
    return torch.cat(parts, dim=1)


def in_parts(function: Callable[..., Tensor], *rows: Tensor, into: Tensor | None = None) -> Tensor:
    """A function of rows, of some thousand at a time where no gradients are kept.

    What it makes on the way is then as large as a part of them, however long a document is. With
    `into`, which may be one of the `rows`, what it makes is written there.
    """
    count = len(rows[0])
    if torch.is_grad_enabled() or count <= _ROWS_AT_ONCE:
        return function(*rows)
    made = into
    for start in range(0, count, _ROWS_AT_ONCE):
        part = function(*(each[start : start + _ROWS_AT_ONCE] for each in rows))
        if made is None:
            made = part.new_empty(count, *part.shape[1:])
        made[start : start + len(part)] = part
    assert made is not None
    return made


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

    def forward(
        self, states: Tensor, key_mask: Tensor | None = None, reach: int | None = None
    ) -> Tensor:
        """Let the units of each group see each other.

        Args:
            states: float (G, L, H), as the result.
            key_mask: bool (G, 1, 1, L), True where a unit is real; None when all are.
            reach: Units further apart do not see each other; for one group alone. None: all do.
                Where no gradients are kept, a long group's `states` are written over.
        """
        length = states.shape[1]
        if reach is None or torch.is_grad_enabled() or length <= _ROWS_AT_ONCE:
            return self._together(states, key_mask, reach)
        before = states[:, :0]  # those in reach before a part, as they were
        for start in range(0, length, _ROWS_AT_ONCE):
            end = min(length, start + _ROWS_AT_ONCE)
            around = torch.cat([before, states[:, start : end + reach]], dim=1)
            first = start - before.shape[1]
            own = slice(start - first, end - first)
            before = around[:, max(0, end - reach - first) : end - first]
            states[:, start:end] = self._together(around, None, reach, own)
        return states

    def _together(
        self,
        states: Tensor,
        key_mask: Tensor | None,
        reach: int | None,
        own: slice = slice(0, None),
    ) -> Tensor:
        """The new states of some of these units, those of `own`."""
        groups, length, hidden = states.shape
        packed = self.query_key_value(self.attention_norm(states))
        packed = packed.view(groups, length, 3, self.heads, hidden // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        query = query[:, :, own]
        # No dropout of attention weights: with it there is no kernel on a CPU whose memory is
        # linear in the length, and a document may have tens of thousands of sentences.
        if reach is None:
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask)
        else:
            context = attend_within(query[0], key[0], value[0], reach, own.start)[None]
        context = self.attention_output(context.transpose(1, 2).flatten(2))
        states = states[:, own] + F.dropout(context, self.dropout, self.training)
        del packed, query, key, value, context
        if states.shape[1] <= _ROWS_AT_ONCE:
            return states + self._feed_forward(states)
        parts = states.split(_ROWS_AT_ONCE, dim=1)
        if torch.is_grad_enabled():
            added = [checkpoint(self._feed_forward, part, use_reentrant=False) for part in parts]
        else:
            added = [self._feed_forward(part) for part in parts]
        return states + torch.cat(added, dim=1)

    def _feed_forward(self, states: Tensor) -> Tensor:
        inner = F.gelu(self.feed_forward_input(self.feed_forward_norm(states)))
        return F.dropout(self.feed_forward_output(inner), self.dropout, self.training)


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
        reach: A unit sees those at most this many places away; None: all of its group. The
            rule is the same for every group: one with at most ``reach + 1`` units sees all of
            itself, by the same computation as without a reach, and there is no size at which
            the result jumps (in a group of ``reach + 2`` its two ends stop seeing each other).
            At least 1, and not beside a group token, which sees all.
    """

    def __init__(
        self,
        hidden_size: int,
        layers: int,
        heads: int,
        dropout: float,
        group_token: bool,
        units_per_forward: int = 16_384,
        reach: int | None = None,
    ) -> None:
        super().__init__()
        assert reach is None or (reach >= 1 and not group_token)
        self.reach = reach
        self.units_per_forward = units_per_forward
        self.token = nn.Parameter(torch.zeros(hidden_size)) if group_token and layers else None
        self.positions = nn.Linear(POSITION_FEATURES, hidden_size) if layers else None
        self.layers = nn.ModuleList(
            AggregatorLayer(hidden_size, heads, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden_size) if layers else None

    def forward(
        self,
        vectors: Tensor,
        lengths: Tensor,
        in_place: bool = False,
        places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Contextualize the vectors of each group.

        Args:
            vectors: All groups' vectors one after the other, float (M, H).
            lengths: Vectors of each group, at least 1, int64 (G,), with the sum M.
            in_place: Whether the vectors may be written over, where no gradients are kept, so
                that those of a long group are not there twice.
            places: Where each vector stands in its group, and of how many, int64 (M, 2), where
                some of a group are left out; None: they stand one after the other.

        Returns:
            The states of the vectors, float (M, H), and of the group tokens, float (G, H), or
            None without a group token.
        """
        if self.positions is None or self.norm is None:
            return vectors, None
        starts = group_starts(lengths)
        if places is None:
            index = torch.arange(len(vectors), device=vectors.device)
            owners = group_of_unit(lengths)
            places = torch.stack([index - starts[owners], lengths[owners]], 1)
        extra = 0 if self.token is None else 1
        sizes = [length + extra for length in lengths.tolist()]
        if len(sizes) == 1:
            # As it is: the states of a long document are not copied.
            mask = torch.ones(1, len(vectors), dtype=torch.bool, device=vectors.device)
            state = self._run(vectors[None], places[None], mask, in_place)[0]
            return (state, None) if self.token is None else (state[1:], state[:1])
        states, tokens, taken, order = [], [], [], []
        for batch in self._plan(sizes):
            groups = torch.tensor(batch, device=vectors.device)
            order.append(groups)
            positions, mask = padded_positions(starts[groups], lengths[groups])
            if len(batch) == 1:
                # As it lies there: the vectors of a long document are not copied.
                start = int(starts[batch[0]])
                rectangle = vectors[None, start : start + mask.shape[1]]
            else:
                rectangle = vectors[positions]
            state = self._run(rectangle, places[positions], mask, in_place)
            if self.token is not None:
                tokens.append(state[:, 0])
                state = state[:, 1:]
            states.append(state[mask])
            taken.append(positions[mask])
        flat = torch.cat(states)[torch.argsort(torch.cat(taken))]
        if self.token is None:
            return flat, None
        return flat, torch.cat(tokens)[torch.argsort(torch.cat(order))]

    def _plan(self, sizes: list[int]) -> list[list[int]]:
        """Groups that go through the layers together; one that the reach cuts goes alone."""
        cut = [number for number, size in enumerate(sizes) if self._is_cut(size)]
        whole = [number for number, size in enumerate(sizes) if not self._is_cut(size)]
        batches = plan_micro_batches([sizes[number] for number in whole], self.units_per_forward)
        return [[number] for number in cut] + [[whole[n] for n in batch] for batch in batches]

    def _is_cut(self, size: int) -> bool:
        """Whether a group has units that do not see each other."""
        return self.reach is not None and size > self.reach + 1

    def _run(self, vectors: Tensor, places: Tensor, mask: Tensor, in_place: bool) -> Tensor:
        """One rectangle of groups, float (G, L, H), in places (G, L, 2), through all layers."""
        positions, norm = self.positions, self.norm
        assert positions is not None and norm is not None
        groups, length, hidden = vectors.shape

        def place(rows: Tensor, index: Tensor, size: Tensor) -> Tensor:
            return rows + positions(position_features(index, size).to(rows.dtype))

        rows = vectors.flatten(0, 1)
        index, sizes = places.flatten(0, 1).unbind(1)
        states = in_parts(place, rows, index, sizes, into=rows if in_place else None)
        states = states.view_as(vectors)
        if self.token is not None:
            states = torch.cat([self.token.expand(groups, 1, hidden).to(states.dtype), states], 1)
            mask = F.pad(mask, (1, 0), value=True)
        key_mask = None if bool(mask.all()) else mask[:, None, None, :]
        reach = self.reach if self._is_cut(length) else None
        for layer in self.layers:
            states = layer(states, key_mask, reach)
        rows = states.flatten(0, 1)
        return in_parts(norm, rows, into=rows).view_as(states)
