"""What label trees have to beat: the commonest path, nearest neighbours, centroids, no tree at all.

All answer with sets of nodes that training documents have, or with nodes that enough of the
neighbours have, so that no node is ever without its ancestors.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.log import log
from hierbert.scoring.label_baselines import MOST_WEIGHTS, tfidf
from hierbert.scoring.logistic import Floats, draw_few
from hierbert.scoring.vector_baselines import (
    Read,
    VectorBaseline,
    mean_of_segments,
    predict_by_vectors,
)

_Integers = npt.NDArray[np.int64]
_Table = npt.NDArray[np.int8]
# Of more training documents, so many are drawn; of those, so many choose settings.
_MOST_DOCUMENTS = 20_000
_MOST_CHOOSING = 2_000
_NEIGHBOURS = (1, 3, 5, 10, 20, 50)
_STOPS = tuple(tenths / 10 for tenths in range(1, 10))
# Similarities of so many pairs are held at once.
_PAIRS_AT_ONCE = 4_000_000
# With more different sets of nodes a classifier of them takes too long; where nearly each document
# has its own there is nothing to learn.
_MOST_SETS = 1_024
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class TreeDocuments:
    """What a baseline learns from, and what it is asked.

    Attributes:
        parents: Of each of C nodes the numbers of its parents.
        texts: Of D labelled training documents, at least one.
        table: Their nodes, 0 and 1, int8 (D, C), closed under ancestors.
        asked: Texts to answer.
        vectors: Read the vectors of the former and of the latter; None: there are none.
    """

    parents: Sequence[Sequence[int]]
    texts: Sequence[str]
    table: _Table
    asked: Sequence[str]
    vectors: tuple[Read, Read] | None

    @cached_property
    def nodes(self) -> Any:
        """`table` as a scipy.sparse array, float64 (D, C)."""
        from scipy import sparse

        rows, columns = np.nonzero(self.table)
        return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=self.table.shape)

    @cached_property
    def sets(self) -> tuple[_Integers, _Integers]:
        """The set of each document (D,), numbered as they come; the first document of each."""
        ends, columns = self.nodes.indptr, self.nodes.indices
        numbers: dict[bytes, int] = {}
        each = [
            numbers.setdefault(columns[start:end].tobytes(), len(numbers))
            for start, end in itertools.pairwise(ends)
        ]
        return np.array(each), np.unique(each, return_index=True)[1]

    @cached_property
    def words(self) -> tuple[_Integers, Any, Any] | None:
        """Places of drawn training documents; TF-IDF of theirs, and of those asked.

        None where there are no words, or nothing is asked.
        """
        if not len(self.asked):
            return None
        drawn = draw_few(len(self.texts), _MOST_DOCUMENTS)
        found = tfidf([self.texts[place] for place in drawn], self.asked, MOST_WEIGHTS)
        return None if found is None else (drawn, *found)

    @cached_property
    def levels(self) -> _Integers | None:
        """Of each node, from 1; None where a node or a document has several ways up."""
        if max(map(len, self.parents), default=0) > 1:
            return None
        above = np.array([own[0] if len(own) else -1 for own in self.parents], dtype=np.int64)
        found, at = np.zeros(len(above), np.int64), np.arange(len(above))
        while (below := at >= 0).any():
            found += below
            at = np.where(below, above[at], -1)
        deepest = (self.nodes * found).max(axis=1).toarray().ravel()
        return found if (deepest == self.nodes.sum(1)).all() else None

    @property
    def majority(self) -> int:
        """The first document that has the most frequent set; of equally frequent ones the first."""
        each, firsts = self.sets
        return int(firsts[np.bincount(each).argmax()])


@dataclass(frozen=True)
class TreeBaseline:
    """Nodes of a label tree by simple means.

    Attributes:
        name: Its key in results.
        title: What tables and model cards call it.
        predict: Gives the nodes of those asked, 0 and 1, int8 (documents, C), closed under
            ancestors; None: it is left out.
        problem_types: What it applies to; see `hierbert.scoring.Metric`.
    """

    name: str
    title: str
    predict: Callable[[TreeDocuments], _Table | None]
    problem_types: tuple[str, ...] = ("tree",)


def _majority(known: TreeDocuments) -> _Table:
    return _as_documents(known, np.full(len(known.asked), known.majority))


def _centroids(known: TreeDocuments) -> _Table:
    """The set whose documents' mean TF-IDF is nearest by the cosine."""
    from scipy import sparse
    from sklearn.preprocessing import normalize

    if known.words is None:
        return _majority(known)
    drawn, rows, asked = known.words
    firsts, own = known.sets[1], known.sets[0][drawn]
    belongs = (np.ones(len(drawn)), (own, np.arange(len(drawn))))
    sums = sparse.csr_array(belongs, shape=(len(firsts), len(drawn))) @ rows
    near, likeness = _nearest(asked, sparse.csr_array(normalize(sums)), 1)
    return _as_documents(known, np.where(likeness[:, 0] > 0, firsts[near[:, 0]], known.majority))


def _neighbours(known: TreeDocuments) -> _Table:
    """Votes of the most similar documents for nodes, and down to the child with the most.

    It stops where the share of the votes falls below a value, which, as the number of neighbours,
    has the highest F1 on training documents, each left out in its turn. Where documents have
    several paths, all nodes with such a share are the answer.
    """
    if known.words is None:
        return _majority(known)
    drawn, rows, asked = known.words
    nodes = known.nodes[drawn]
    choosing = draw_few(len(drawn), _MOST_CHOOSING)
    numbers: dict[str, int] = {}
    same = np.array([numbers.setdefault(known.texts[place], len(numbers)) for place in drawn])
    near, likeness = _nearest(rows[choosing], rows, max(_NEIGHBOURS), same[choosing], same)
    best = (-1.0, 0, 0.0)
    for most in _NEIGHBOURS:
        votes = _Votes(known, nodes, near[:, :most], likeness[:, :most])
        for stop, f1 in zip(_STOPS, votes.f1s(nodes[choosing]), strict=True):
            # Equal figures to six digits are chance: the fewest neighbours, the deepest answer.
            if f1 > best[0] + 1e-6:
                best = f1, most, stop
    _, most, stop = best
    votes = _Votes(known, nodes, *_nearest(asked, rows, most))
    found = _as_documents(known, np.full(len(known.asked), known.majority))
    found[votes.any] = 0
    reached = votes.reaching(stop)
    found[votes.rows[reached], votes.nodes[reached]] = 1
    return found


def _flat(known: TreeDocuments) -> _Table | None:
    """A linear model of mean segment vectors that knows no tree: each set is a class."""
    if known.vectors is None:
        return None
    (each, firsts), title = known.sets, "Flat softmax over leaves"
    if len(firsts) > _MOST_SETS:
        log.info(f"{title} is left out: {len(firsts):,} sets of nodes would take too long")
        return None
    if len(firsts) > _NEARLY_ALL * len(each):
        log.info(f"{title} is left out: nearly each document has nodes that no other one has")
        return None
    reader = VectorBaseline("flat_leaves", title, mean_of_segments)
    found = predict_by_vectors([reader], known.texts, each, *known.vectors, len(known.asked))
    return _as_documents(known, firsts[found[reader.name]]) if found else None


class _Votes:
    """Shares of the votes of neighbours, by similarity, for nodes; of one path, down the tree.

    Q documents were asked; `rows`, `nodes` and `shares` are of each node that may be in an answer.
    """

    def __init__(self, known: TreeDocuments, table: Any, near: _Integers, likeness: Floats) -> None:
        from scipy import sparse

        totals = likeness.sum(1)
        self.any = totals > 0
        each = np.divide(likeness, totals[:, None], out=np.zeros_like(likeness), where=likeness > 0)
        ends = np.arange(len(near) + 1) * near.shape[1]
        weights = sparse.csr_array(
            (each.ravel(), near.ravel(), ends), shape=(len(near), table.shape[0])
        )
        shares = (weights @ table).tocoo()
        (self.rows, self.nodes), self.shares = shares.coords, shares.data
        self._keep(self.shares > 0)
        if known.levels is not None:
            self._keep(self._down(known.parents, known.levels))
        # The surest node is answered whatever the stop is, and its ancestors have as much.
        self._most = np.zeros(len(near))
        np.maximum.at(self._most, self.rows, self.shares)

    def _keep(self, which: npt.NDArray[Any]) -> None:
        self.rows, self.nodes = self.rows[which], self.nodes[which]
        self.shares = self.shares[which]

    def _down(self, parents: Sequence[Sequence[int]], levels: _Integers) -> _Integers:
        """Places of the nodes from the top down, each the child with the largest share."""
        above = np.array([own[0] if len(own) else -1 for own in parents], dtype=np.int64)
        at = np.full(len(self.any), -1)
        # Of equal shares the first node.
        order = np.lexsort((self.nodes, -self.shares, self.rows, levels[self.nodes]))
        ends = np.cumsum(np.bincount(levels[self.nodes]))
        taken = [order[:0]]
        for start, end in itertools.pairwise(ends):
            places = order[start:end]
            places = places[above[self.nodes[places]] == at[self.rows[places]]]
            _, first = np.unique(self.rows[places], return_index=True)
            taken.append(places[first])
            at[self.rows[taken[-1]]] = self.nodes[taken[-1]]
        return np.concatenate(taken)

    def reaching(self, stop: float) -> npt.NDArray[np.bool_]:
        """Which of the nodes are answered."""
        # Shares are sums, and rounded: those of a tenth each reach three tenths together.
        return self.shares > np.minimum(stop, self._most)[self.rows] - 1e-9

    def f1s(self, true: Any) -> list[float]:
        """Micro-F1 over nodes of each stop."""
        hits, total = np.asarray(true[self.rows, self.nodes]).ravel(), true.sum()
        kept = [self.reaching(stop) for stop in _STOPS]
        return [float(2 * hits[each].sum() / max(1.0, each.sum() + total)) for each in kept]


def _nearest(
    asked: Any,
    rows: Any,
    most: int,
    same_asked: _Integers | None = None,
    same_rows: _Integers | None = None,
) -> tuple[_Integers, Floats]:
    """Places of the most similar rows, the first of equal ones first, and their cosines.

    Both (Q, `most` or all), of rows of length 1. Where an asked one and a row are the `same`, the
    cosine counts as 0.
    """
    most = min(most, rows.shape[0])
    near = np.zeros((asked.shape[0], most), np.int64)
    likeness = np.zeros((asked.shape[0], most))
    at_once = max(1, _PAIRS_AT_ONCE // rows.shape[0])
    for start in range(0, asked.shape[0], at_once):
        part = slice(start, start + at_once)
        cosines = (asked[part] @ rows.T).toarray()
        if same_asked is not None and same_rows is not None:
            cosines[same_asked[part, None] == same_rows] = 0
        near[part] = np.argsort(-cosines, axis=1, kind="stable")[:, :most]
        likeness[part] = np.take_along_axis(cosines, near[part], 1)
    return near, likeness


def _as_documents(known: TreeDocuments, places: _Integers) -> _Table:
    """The nodes of training documents by their places."""
    return known.table[places]


TREE_BASELINES: list[TreeBaseline] = [
    TreeBaseline("majority", "Most frequent path", _majority),
    TreeBaseline("tfidf_knn", "TF-IDF, nearest neighbours", _neighbours),
    TreeBaseline("tfidf_centroid", "TF-IDF, centroids", _centroids),
    TreeBaseline("flat_leaves", "Flat softmax over leaves", _flat),
]
"""In the order of tables."""


def tree_baselines(
    parents: Sequence[Sequence[int]],
    texts: Sequence[str],
    table: npt.ArrayLike,
    asked: Sequence[str],
    vectors: tuple[Read, Read] | None = None,
) -> dict[str, _Table]:
    """What every baseline answers, by its name, int8 (documents asked, C), closed under ancestors.

    The arguments are as in `TreeDocuments`, the table of any integers. Where documents have one
    path each, so have answers.
    """
    known = TreeDocuments(parents, texts, np.asarray(table).astype(np.int8), asked, vectors)
    answers = {one.name: one.predict(known) for one in TREE_BASELINES}
    return {name: answer for name, answer in answers.items() if answer is not None}
