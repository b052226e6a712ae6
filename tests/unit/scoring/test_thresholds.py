"""Thresholds of labels against every choice there is, by definition and in plain Python."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hierbert.scoring.thresholds import fit_thresholds

SHARED = 10


def tables(documents: int, labels: int):
    levels = st.sampled_from([-3.0, -1.0, -0.5, 0.0, 2.0])
    of = st.tuples(levels, st.integers(0, 1))
    size = documents * labels
    return st.lists(of, min_size=size, max_size=size).map(
        lambda pairs: np.array(pairs).reshape(documents, labels, 2)
    )


class Joined:
    """The counts of labels, each with those of all as if they had 10 documents of it."""

    def __init__(self, table: np.ndarray) -> None:
        self.columns = [[(s, t == 1) for s, t in column] for column in table.transpose(1, 0, 2)]
        self.everything = [pair for column in self.columns for pair in column]
        self.share = SHARED / sum(t for _, t in self.everything)

    def counts(self, label: int, cut: float) -> tuple[float, float, float]:
        """What is rightly given the label from there on, what is given it, and what has it."""
        hits = given = 0.0
        for pairs, weight in ((self.columns[label], 1.0), (self.everything, self.share)):
            hits += weight * sum(t for s, t in pairs if s >= cut)
            given += weight * sum(s >= cut for s, _ in pairs)
        return hits, given, sum(t for _, t in self.columns[label]) + SHARED


def f1(parts: list[tuple[float, float, float]]) -> float:
    hits, given, true = (sum(column) for column in zip(*parts, strict=True))
    return 2 * hits / (given + true)


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
    joined = Joined(table)
    overall = found["micro_f1"].overall
    assert overall == found["macro_f1"].overall

    def of_all(cut: float) -> float:
        claimed = [t for s, t in joined.everything if s >= cut]
        return 2 * sum(claimed) / (len(claimed) + true.sum())

    assert of_all(logit(overall)) == pytest.approx(max(map(of_all, cuts_of(joined.everything))))
    # A label without documents has the threshold of all; the others can have any.
    allowed = [
        cuts_of(column) if any(t for _, t in column) else [logit(overall)]
        for column in joined.columns
    ]
    for label, own in enumerate(found["macro_f1"].by_label):
        best = max(f1([joined.counts(label, cut)]) for cut in allowed[label])
        assert f1([joined.counts(label, logit(own))]) == pytest.approx(best)
    best = max(
        f1([joined.counts(label, cut) for label, cut in enumerate(cuts)])
        for cuts in itertools.product(*allowed)
    )
    chosen = [joined.counts(i, logit(own)) for i, own in enumerate(found["micro_f1"].by_label)]
    assert f1(chosen) == pytest.approx(best)


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
def test_a_label_of_few_documents_gets_about_the_threshold_of_all(metric) -> None:
    # Nine labels whose documents have a score of -1.5 and others -2.5; and one of which one
    # document in ten is best told by -1.1.
    usual = np.where(np.arange(10) % 2 == 1, -1.5, -2.5)
    rare = np.array([-1.0, -1.2, *[-3.0] * 8])
    scores = np.stack([usual] * 9 + [rare], axis=1)
    true = np.stack([usual > -2] * 9 + [rare > -1.1], axis=1).astype(int)
    for copies, cut in ((1, -2.1), (40, -1.1)):
        found = fit_thresholds(np.tile(scores, (copies, 1)), np.tile(true, (copies, 1)), metric)
        assert [logit(one) for one in found.by_label] == pytest.approx([*[-2.0] * 9, cut])


def test_one_document_and_equal_scores_are_enough() -> None:
    for metric in ("micro_f1", "macro_f1"):
        found = fit_thresholds([[0.0, 0.0]], [[1, 0]], metric)
        assert all(0 < one < 1 for one in [found.overall, *found.by_label])
        found = fit_thresholds([[800.0, -800.0]], [[1, 0]], metric)
        assert all(0 <= one <= 1 for one in [found.overall, *found.by_label])
