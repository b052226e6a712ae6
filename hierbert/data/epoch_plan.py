"""Which process encodes which documents in which step.

The plan follows from the sizes, the seed and the epoch alone, so that a run can be resumed in the
middle of an epoch and processes need not talk to agree. Every document is in it exactly once.
"""

import random
from collections.abc import Sequence

Step = list[list[list[int]]]
"""Documents of one optimizer step: for each process, for each of its forward passes."""


def plan_epoch(
    sizes: Sequence[int],
    *,
    documents_per_batch: int,
    processes: int,
    accumulation_steps: int,
    seed: int,
    epoch: int,
    group_by_length: bool,
) -> list[Step]:
    """Plan the documents of an epoch, from 0; `sizes` are their tokens.

    `documents_per_batch` are those of one step over all processes; the last may have fewer. A
    process has at most `accumulation_steps` forward passes in a step, and none where it has no
    document. With `group_by_length` documents of a batch are of similar length: they are drawn from
    pools of 16 batches, so that batches still differ from epoch to epoch.
    """
    chance = random.Random(f"plan {seed} {epoch}")
    order = list(range(len(sizes)))
    chance.shuffle(order)
    if group_by_length:
        pool = 16 * documents_per_batch
        pools = [order[first : first + pool] for first in range(0, len(order), pool)]
        order = [index for part in pools for index in sorted(part, key=lambda i: -sizes[i])]
    batches = [
        order[first : first + documents_per_batch]
        for first in range(0, len(order), documents_per_batch)
    ]
    if group_by_length:
        chance.shuffle(batches)
    return [
        [
            [forward for forward in share_by_tokens(part, sizes, accumulation_steps) if forward]
            for part in share_by_tokens(batch, sizes, processes)
        ]
        for batch in batches
    ]


def share_by_tokens(documents: Sequence[int], sizes: Sequence[int], shares: int) -> list[list[int]]:
    """Share documents (indices into `sizes`) out by tokens, each to the share with fewest so far.

    The longest come first; in each share the documents keep their order. Some are empty when there
    are fewer documents.
    """
    totals = [0] * shares
    members: list[set[int]] = [set() for _ in range(shares)]
    for index in sorted(documents, key=lambda i: (-sizes[i], i)):
        share = min(range(shares), key=lambda s: (totals[s], len(members[s]), s))
        members[share].add(index)
        totals[share] += sizes[index]
    return [[index for index in documents if index in share] for share in members]
