"""The knapsack against all selections that there are, and sentences that need the one before."""

import random
from collections.abc import Sequence
from itertools import chain, combinations

import pytest
import torch

from hierbert.model import knapsack
from hierbert.model.knapsack import Choice, best_choices
from hierbert.model.selection import select_sentences


def selections(
    costs: Sequence[int], limit: int, selectable: Sequence[bool], needs: Sequence[bool]
) -> list[set[int]]:
    """All within a limit: what cannot be selected is there for the sake of the next alone."""
    places = range(len(costs))
    every = chain(*(combinations(places, size) for size in range(1, len(costs) + 1)))
    return [
        own
        for own in map(set, every)
        if sum(costs[i] for i in own) <= limit
        and all(not needs[i] or i - 1 in own for i in own)
        and all(selectable[i] or (i + 1 in own and needs[i + 1]) for i in own)
    ]


def test_a_selection_is_the_best_and_whole_and_within_its_limit() -> None:
    dice = random.Random(1)
    cases = 0
    while cases < 150:
        size = dice.randint(1, 7)
        scores = [dice.choice([0.0, 1.0, 3.0, dice.random()]) for _ in range(size)]
        costs = [dice.randint(1, 6) for _ in range(size)]
        selectable = [dice.random() < 0.8 for _ in range(size)]
        needs = [False, *(dice.random() < 0.4 for _ in range(size - 1))]
        limit = dice.randint(1, 14)
        pool = [index for index in range(size) if selectable[index]]
        possible = selections(costs, limit, selectable, needs)
        if not possible:
            continue
        cases += 1
        least, greatest = min(scores[i] for i in pool), max(scores[i] for i in pool)
        worth = [1.0 if least == greatest else (one - least) / (greatest - least) for one in scores]

        def total(own, worth=worth, costs=costs, selectable=selectable) -> float:
            return sum(worth[i] * costs[i] for i in own if selectable[i])

        given = {"selectable": selectable, "needs_previous": needs}
        found = set(select_sentences(scores, costs, limit, method="knapsack", **given))
        assert found in possible
        assert total(found) == pytest.approx(max(map(total, possible)))
        near = torch.rand(size, size, generator=torch.Generator().manual_seed(cases))
        given |= {"similar_to": near.__getitem__}
        for method in ("greedy", "knapsack"):
            for redundancy in (0.0, 0.5):
                more = {"method": method, "redundancy": redundancy, **given}
                assert set(select_sentences(scores, costs, limit, **more)) in possible


def test_what_cannot_be_filled_exactly_is_filled_by_density_and_nearly_as_well(monkeypatch) -> None:
    dice = random.Random(2)
    choices = [Choice(place, dice.randint(5, 40), dice.random()) for place in range(300)]
    exact = best_choices(choices, 3_000)
    monkeypatch.setattr(knapsack, "_MOST_CELLS", 30_000)
    monkeypatch.setattr(knapsack, "_LEFT", 100)
    found = best_choices(choices, 3_000)

    def total(places: list[int]) -> float:
        return sum(choices[place].value for place in places)

    assert sum(choices[place].cost for place in found) <= 3_000
    assert total(found) >= 0.99 * total(exact)


def test_repetition_counts_in_the_knapsack_too() -> None:
    near = torch.eye(4)
    near[0, 1] = near[1, 0] = 0.95
    given = {"method": "knapsack", "similar_to": near.__getitem__}
    scores, costs = [1.0, 0.9, 0.6, 0.0], [5, 5, 5, 5]
    assert select_sentences(scores, costs, 10, **given) == [0, 1]
    assert select_sentences(scores, costs, 10, redundancy=0.5, **given) == [0, 2]
    # Of what is alike one is selected, and one is brought by nobody that would be the second.
    assert select_sentences(scores, costs, 10, method="knapsack", alike=list("aabc")) == [0, 2]
    needs = [False, False, True, False]
    more = {"alike": list("aabc"), "needs_previous": needs}
    for method in ("greedy", "knapsack"):
        assert select_sentences(scores, costs, 15, method=method, **more) == [0, 3]


def test_one_alone_is_selected_without_what_it_needs_where_nothing_fits_otherwise() -> None:
    needs = [False, True, True]
    for method in ("greedy", "knapsack"):
        more = {"method": method, "selectable": [False, True, True], "needs_previous": needs}
        assert select_sentences([0.0, 1.0, 2.0], [9, 4, 4], 6, **more) == [2]
        # Nor is anything selected where nothing may be, and the best where all are too long.
        assert select_sentences([0.0], [9], 6, method=method, selectable=[False]) == []
        assert select_sentences([0.0, 1.0], [9, 9], 6, method=method) == [1]


@pytest.mark.slow
def test_200_000_sentences_are_selected_from_whatever_they_need() -> None:
    dice = random.Random(4)
    size = 200_000
    scores = [dice.random() for _ in range(size)]
    costs = [dice.randint(1, 60) for _ in range(size)]
    for needs in (None, [True] * size, [dice.random() < 0.3 for _ in range(size)]):
        for limit in (100, 100_000):
            more = {"method": "knapsack", "needs_previous": needs}
            found = select_sentences(scores, costs, limit, **more)
            assert 0 < sum(costs[index] for index in found) <= limit
            if needs is not None:
                kept = set(found)
                assert all(not needs[i] or i == 0 or i - 1 in kept for i in found)
