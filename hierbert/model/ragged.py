"""Groups of different sizes without wasted work: segments of tokens, documents of segments.

All of hierbert's batches are flat: vectors of all groups one after the other, with the size of
each group beside them. Padding exists only inside one micro-batch and nowhere else.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def plan_micro_batches(
    lengths: list[int], units_per_forward: int, most_padding: float = 1.0
) -> list[list[int]]:
    """Put groups of similar length together under a budget of units, padding included.

    Args:
        lengths: Units of each group (tokens of a segment, segments of a document).
        units_per_forward: Most units of a micro-batch, counted as groups times the longest
            group. A group longer than that is a micro-batch of its own.
        most_padding: Largest part of a micro-batch that may be padding, 0 to 1.

    Returns:
        Indices into `lengths`, each once, longest groups first.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    padding = 0
    for index in order:
        if batches:
            # The first of a batch is its longest, since the order is by length.
            longest = max(1, lengths[batches[-1][0]])
            units = (len(batches[-1]) + 1) * longest
            more = padding + longest - lengths[index]
            if units <= units_per_forward and more <= most_padding * units:
                batches[-1].append(index)
                padding = more
                continue
        batches.append([index])
        padding = 0
    return batches


def group_starts(lengths: Tensor) -> Tensor:
    """Position of the first unit of each group; lengths and positions are int64 (G,)."""
    return torch.cumsum(lengths, 0) - lengths


def group_of_unit(lengths: Tensor) -> Tensor:
    """Group that each unit belongs to, int64 (M,), by the groups' lengths, int64 (G,)."""
    return torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)


def batches_by_tokens(
    items: Iterable[T],
    tokens_of: Callable[[T], int],
    most_tokens: int,
    most_items: int | None = None,
) -> Iterator[list[T]]:
    """Put items into batches of at least one, in their order, as they come; there may be no end.

    One of more than `most_tokens` is a batch of its own.
    """
    batch: list[T] = []
    tokens = 0
    for item in items:
        size = tokens_of(item)
        if batch and (tokens + size > most_tokens or len(batch) == most_items):
            yield batch
            batch, tokens = [], 0
        batch.append(item)
        tokens += size
    if batch:
        yield batch


def joined(parts: Sequence[Tensor]) -> Tensor:
    """At least one tensor, one after the other; a single one as it is, not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def all_finite(values: Tensor) -> bool:
    """Whether all numbers are finite, by their least and greatest: a mask would be as many."""
    return not values.numel() or all(bool(end.isfinite()) for end in values.aminmax())


def padded_positions(starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Where to read the units of some groups so that they form a rectangle.

    Args:
        starts: First unit of each group, int64 (G,).
        lengths: Units of each group, at least 1, int64 (G,).

    Returns:
        Positions into the flat units, int64 (G, L), L the longest group, and a bool mask
        (G, L), True where a unit is real. Padding reads the group's last unit.
    """
    steps = torch.arange(int(lengths.max()), device=lengths.device)
    mask = steps < lengths[:, None]
    return starts[:, None] + torch.minimum(steps, lengths[:, None] - 1), mask


def group_mean(values: Tensor, lengths: Tensor) -> Tensor:
    """Mean of each group's units, float (G, ...); a group without units has the mean 0.

    Args:
        values: float (M, ...); the means have its dtype.
        lengths: Units of each group, int64 (G,), with the sum M.
    """
    totals = values.new_zeros(len(lengths), *values.shape[1:], dtype=torch.float32)
    totals = totals.index_add(0, group_of_unit(lengths), values.float())
    counts = lengths.clamp(min=1).view(-1, *[1] * (values.dim() - 1))
    return (totals / counts).to(values.dtype)


def group_max(values: Tensor, lengths: Tensor) -> Tensor:
    """Largest row of each group, float (G, H), of values (U, H); 0 where a group has none."""
    owners = group_of_unit(lengths)[:, None].expand_as(values)
    largest = values.new_zeros(len(lengths), values.shape[1])
    return largest.scatter_reduce(0, owners, values, "amax", include_self=False)


def group_log_softmax(scores: Tensor, lengths: Tensor) -> Tensor:
    """Log-softmax inside each group, float32 (M,).

    Args:
        scores: float (M,).
        lengths: Units of each group, int64 (G,), with the sum M.
    """
    groups = group_of_unit(lengths)
    scores = scores.float()
    highest = torch.full((len(lengths),), -torch.inf, device=scores.device)
    # Only shifts the exponent: no gradient needs to flow through it.
    highest = highest.scatter_reduce(0, groups, scores.detach(), "amax")
    shifted = scores - highest[groups]
    total = torch.zeros_like(highest).index_add(0, groups, shifted.exp())
    return shifted - total[groups].log()


def group_log_mean_exp(values: Tensor, lengths: Tensor) -> Tensor:
    """Log of the mean of each group's exponentials, float32 (G, H), of values float (U, H).

    A group has at least one unit.
    """
    values = values.float()
    highest = group_max(values, lengths)
    return highest + group_mean((values - highest[group_of_unit(lengths)]).exp(), lengths).log()
