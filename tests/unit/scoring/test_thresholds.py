"""Thresholds of labels against every choice there is, by definition and in plain Python."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.scoring.thresholds import fit_thresholds, from_a_half


def tables(documents: int, labels: int):
    levels = st.sampled_from([-3.0, -1.0, -0.5, 0.0, 2.0])
    of = st.tuples(levels, st.integers(0, 1))
    size = documents * labels
    return st.lists(of, min_size=size, max_size=size).map(
        lambda pairs: np.array(pairs).reshape(documents, labels, 2)
    )


def counts(column: list[tuple[float, bool]], cut: float) -> tuple[float, float, float]:
    """What is rightly given a label from a score on, what is given it, and what has it."""
    claimed = [t for s, t in column if s >= cut]
    return sum(claimed), len(claimed), sum(t for _, t in column)


def f1(parts: list[tuple[float, float, float]]) -> float:
    hits, given, true = (sum(column) for column in zip(*parts, strict=True))
    return 2 * hits / (given + true) if given + true else 0.0


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def cuts_of(column: list[tuple[float, bool]]) -> list[float]:
    scores = sorted({s for s, _ in column})
    middles = [(a + b) / 2 for a, b in itertools.pairwise(scores)]
    return [scores[0] - 0.1, *middles, scores[-1] + 0.1]


@settings(deadline=None, max_examples=60)
@given(tables(5, 3))
def test_no_other_thresholds_score_better(table):
    scores, true = table[..., 0], table[..., 1].astype(int)
    found = {name: fit_thresholds(scores, true, name) for name in ("micro_f1", "macro_f1")}
    if not true.any():
        assert all(one.overall == 0.5 and one.by_label == [0.5] * 3 for one in found.values())
        return
    columns = [[(s, t == 1) for s, t in column] for column in table.transpose(1, 0, 2)]
    everything = [pair for column in columns for pair in column]
    overall = logit(found["micro_f1"].overall)
    assert overall == logit(found["macro_f1"].overall)
    best = max(f1([counts(everything, cut)]) for cut in cuts_of(everything))
    assert f1([counts(everything, overall)]) == pytest.approx(best)

    # Each label's own best, from where it was moved towards that of all: by a label without
    # documents altogether.
    own: dict[str, list[float]] = {}
    for name, one in found.items():
        cuts = [logit(share) for share in one.by_label]
        sizes = [sum(t for _, t in column) for column in columns]
        pairs = list(zip(cuts, sizes, strict=True))
        assert all(n or cut == pytest.approx(overall) for cut, n in pairs)
        own[name] = [overall + (cut - overall) * (n + 5) / n if n else overall for cut, n in pairs]
    allowed = [cuts_of(column) if any(t for _, t in column) else [overall] for column in columns]
    for column, cut, cuts in zip(columns, own["macro_f1"], allowed, strict=True):
        best = max(f1([counts(column, one)]) for one in cuts)
        assert f1([counts(column, cut)]) == pytest.approx(best)
    best = max(
        f1([counts(column, cut) for column, cut in zip(columns, cuts, strict=True)])
        for cuts in itertools.product(*allowed)
    )
    chosen = [counts(column, cut) for column, cut in zip(columns, own["micro_f1"], strict=True)]
    assert f1(chosen) == pytest.approx(best)


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
def test_a_label_of_few_documents_gets_about_the_threshold_of_all(metric) -> None:
    # Nine labels whose documents have a score of -1.5 and others -2.5; and one of which one
    # document in ten is best told by -1.1.
    usual = np.where(np.arange(10) % 2 == 1, -1.5, -2.5)
    rare = np.array([-1.0, -1.2, *[-3.0] * 8])
    scores = np.stack([usual] * 9 + [rare], axis=1)
    true = np.stack([usual > -2] * 9 + [rare > -1.1], axis=1).astype(int)
    for copies in (1, 45):
        found = fit_thresholds(np.tile(scores, (copies, 1)), np.tile(true, (copies, 1)), metric)
        moved = -2.0 + 0.9 * copies / (copies + 5)
        assert [logit(one) for one in found.by_label] == pytest.approx([*[-2.0] * 9, moved])


def test_one_document_and_equal_scores_are_enough() -> None:
    for metric in ("micro_f1", "macro_f1"):
        found = fit_thresholds([[0.0, 0.0]], [[1, 0]], metric)
        assert all(0 < one < 1 for one in [found.overall, *found.by_label])
        found = fit_thresholds([[800.0, -800.0]], [[1, 0]], metric)
        assert all(0 <= one <= 1 for one in [found.overall, *found.by_label])


def test_probabilities_are_moved_by_the_threshold_of_their_own_label() -> None:
    chance = np.random.default_rng(7)
    logits, asked = chance.normal(size=(80, 2)), chance.normal(size=(30, 2))
    # What is said of the second label is too high by far.
    true = (logits - [0.0, 1.5] + 0.1 * chance.normal(size=(80, 2)) > 0).astype(int)
    moved = from_a_half(logits, true, asked)
    least = fit_thresholds(logits, true).by_label
    shares = 1 / (1 + np.exp(-asked))
    assert ((moved >= 0.5) == (shares >= least)).all() and least[1] > least[0] + 0.1
    between = (shares[:, 1] >= np.mean(least)) != (shares[:, 1] >= least[1])
    assert between.any()
