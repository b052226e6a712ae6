"""The choice of greatest total value within a budget: the knapsack, by dynamic programming.

Exact where the table has at most `_MOST_CELLS` cells, which bounds time and memory. Where it would
have more, the choices of most value for their cost are made first, until little of the budget is
left, and that is filled exactly.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

_MOST_CELLS = 20_000_000
# What is left to be filled exactly.
_LEFT = 1_000


class Choice(NamedTuple):
    """One of a group's.

    Attributes:
        group: Of each group one choice at most is made.
        cost: At least 1.
        value: What is not above 0 is never chosen.
    """

    group: int
    cost: int
    value: float

    @property
    def density(self) -> float:
        """What is had for a unit of the budget."""
        return self.value / self.cost


def best_choices(choices: Sequence[Choice], limit: int) -> list[int]:
    """Places of the choices of greatest total value that cost no more than the limit, in order."""
    places = [place for place, one in enumerate(choices) if one.cost <= limit and one.value > 0]
    if sum(choices[place].cost for place in places) <= limit:
        best: dict[int, int] = {}
        for place in sorted(places, key=lambda place: -choices[place].value):
            best.setdefault(choices[place].group, place)
        return sorted(best.values())
    kept = _not_dominated(choices, places, limit)
    made: list[int] = []
    if len(kept) * limit > _MOST_CELLS:
        # Of equal density the earlier.
        by_density = sorted(places, key=lambda place: -choices[place].density)
        decided: set[int] = set()
        for place in by_density if limit > _LEFT else ():
            one = choices[place]
            if limit - one.cost < _LEFT:
                break
            if one.group not in decided:
                made.append(place)
                decided.add(one.group)
                limit -= one.cost
        rest = [place for place in by_density if choices[place].group not in decided]
        kept = _not_dominated(choices, rest, limit)[: _MOST_CELLS // limit]
    return sorted(made + _best_of(choices, kept, limit))


def _not_dominated(choices: Sequence[Choice], places: Sequence[int], limit: int) -> list[int]:
    """Without those that some best choice has not: of what costs the same, only so many fit.

    Of groups of several choices all stay. The order stays too.
    """
    sizes: dict[int, int] = {}
    for place in places:
        sizes[choices[place].group] = sizes.get(choices[place].group, 0) + 1
    left: dict[int, int] = {}
    dropped = set()
    # Of equal value the earlier.
    for place in sorted(places, key=lambda place: (-choices[place].value, place)):
        group, cost, _ = choices[place]
        fits = left.get(cost, limit // cost)
        if sizes[group] == 1:
            left[cost] = fits - 1
        if cost > limit or (sizes[group] == 1 and fits <= 0):
            dropped.add(place)
    return [place for place in places if place not in dropped]


def _best_of(choices: Sequence[Choice], places: Sequence[int], limit: int) -> list[int]:
    """The best, of a number of choices for which there is room."""
    # Here, for settings are read before torch is there.
    import torch

    groups: dict[int, list[int]] = {}
    for place in places:
        groups.setdefault(choices[place].group, []).append(place)
    # The most that can be had for so much or less, and of each group what that takes of it.
    total = torch.zeros(limit + 1, dtype=torch.float64)
    taken: list[Tensor] = []
    for own in groups.values():
        best = total.clone()
        numbers = torch.zeros(limit + 1, dtype=torch.int16)
        for number, place in enumerate(own):
            cost = choices[place].cost
            with_it = total[: limit + 1 - cost] + choices[place].value
            better = with_it > best[cost:]
            best[cost:] = torch.where(better, with_it, best[cost:])
            numbers[cost:].masked_fill_(better, number + 1)
        total = best
        taken.append(numbers)
    found = []
    for own, numbers in zip(reversed(groups.values()), reversed(taken), strict=True):
        if number := int(numbers[limit]):
            found.append(own[number - 1])
            limit -= choices[own[number - 1]].cost
    return found
