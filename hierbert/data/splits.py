"""A validation split out of a training corpus that comes without one.

Invariant: it depends on the labels, their order, the fraction and the seed alone, and where there
are questions on which of them are about one text.
"""

import random
from collections import Counter
from collections.abc import Sequence

from hierbert.data.document import Example
from hierbert.data.repeated import text_digest
from hierbert.errors import DataError


def split_validation(
    examples: Sequence[Example],
    fraction: float,
    seed: int,
    *,
    fields: Sequence[str] = (),
    stratified: bool = True,
) -> tuple[list[Example], list[Example]]:
    """Hold out a part of the examples that have a target, each class in proportion.

    Where there are questions, those about one text are one document, for its other questions would
    give it away. `fields` are where targets are; empty where any document has one. A document
    without a target stays in training, for nothing can be measured on it. With `stratified` the
    same share of each label is held out, and at least one document of each stays in training, where
    every label is a string, a boolean or a whole number; it is False of numbers that are held as
    strings.

    Gives training and validation examples, each in their old order, neither empty. Where two
    documents or more have a field, one of them is in each, if labels allow it; the only one that
    has a field stays in training, if another can be held out. A DataError where fewer than 2
    documents have a target, or no class has a document to spare.
    """
    keys: list[bytes | str]
    if any(example.fields.get("query") is not None for example in examples):
        keys = [text_digest(example) for example in examples]
    else:
        keys = [example.id for example in examples]

    def has_target(example: Example) -> bool:
        return any(example.fields.get(name) is not None for name in fields)

    # Of each text one example that has a target, if any does.
    drawn: dict[bytes | str, Example] = {}
    for key, example in zip(keys, examples, strict=True):
        if key not in drawn or (has_target(example) and not has_target(drawn[key])):
            drawn[key] = example
    ids = _held_out(list(drawn.values()), fraction, seed, fields, stratified)
    held_out = {key for key, example in drawn.items() if example.id in ids}
    parts: tuple[list[Example], list[Example]] = ([], [])
    for key, example in zip(keys, examples, strict=True):
        parts[key in held_out].append(example)
    return parts


def _held_out(
    examples: Sequence[Example], fraction: float, seed: int, fields: Sequence[str], stratified: bool
) -> set[str]:
    """The ids of those that `split_validation` holds out."""
    has = [tuple(example.fields.get(name) is not None for name in fields) for example in examples]
    targeted = [place for place, there in enumerate(has) if any(there) or not fields]
    if len(targeted) < 2:
        raise DataError(
            f"too few documents for a validation split: {len(targeted)}; "
            "2 are needed, or a validation corpus of its own"
        )
    labels = [example.fields.get("label") for example in examples]
    stratified = stratified and all(isinstance(label, str | int | None) for label in labels)
    # The name "" groups the unlabelled documents, of which training need not keep any.
    name_of = {
        place: repr(labels[place]) if stratified and labels[place] is not None else ""
        for place in targeted
    }
    having = [{place for place in targeted if has[place][number]} for number in range(len(fields))]
    alone = {place for there in having if len(there) == 1 for place in there}
    groups: dict[str, list[int]] = {}
    for place in [place for place in targeted if place not in alone] or targeted:
        groups.setdefault(name_of[place], []).append(place)
    members = [groups[name] for name in sorted(groups)]
    sizes = [len(places) for places in members]
    total = Counter(name_of.values())
    spare = [min(len(groups[name]), total[name] - (name != "")) for name in sorted(groups)]
    rng = random.Random(seed)
    wanted = min(max(1, int(fraction * len(targeted) + 0.5)), len(targeted) - 1)
    shares = _shares(sizes, spare, wanted, rng)
    if sum(shares) == 0:
        raise DataError(
            "too few documents for a validation split: training needs each of the "
            f"{len(targeted)}, for no other one has their labels; give a validation corpus of its "
            "own"
        )
    held_out = {
        place
        for places, share in zip(members, shares, strict=True)
        for place in rng.sample(places, share)
    }
    for there in having:
        if len(there) > 1 and not there & held_out:
            left = Counter(name_of[place] for place in targeted if place not in held_out)
            free = sorted(there - alone)
            can = [place for place in free if name_of[place] == "" or left[name_of[place]] > 1]
            held_out.update(rng.sample(can, min(1, len(can))))
        elif len(there) > 1 and there <= held_out:
            held_out.remove(min(there))
    return {examples[place].id for place in held_out}


def _shares(sizes: list[int], spare: list[int], wanted: int, rng: random.Random) -> list[int]:
    """Share `wanted` out by size, largest remainders first, and nowhere more than `spare`."""
    total = sum(sizes)
    shares = [min(wanted * size // total, most) for size, most in zip(sizes, spare, strict=True)]
    # Equal remainders are drawn, or labels early in the alphabet would always win.
    by_remainder = sorted(
        range(len(sizes)), key=lambda group: (-(wanted * sizes[group] % total), rng.random())
    )
    while sum(shares) < wanted:
        open_groups = [group for group in by_remainder if shares[group] < spare[group]]
        if not open_groups:
            break
        for group in open_groups[: wanted - sum(shares)]:
            shares[group] += 1
    return shares
