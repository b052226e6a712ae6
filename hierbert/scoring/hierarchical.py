"""Scores of label trees, and what lies behind them.

Answers and references are tables of 0 and 1 for each of C nodes, integers (D, C), in which a node's
ancestors are 1 where it is; the root is no node. A document has one path as a rule, and may have
several.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.scoring.labels import macro_f1s, micro_f1s
from hierbert.scoring.metric import Metric, add_metrics

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
# A table of more would hide the rows beside it.
_MOST_CONFUSED = 5


def level_scores(
    predictions: npt.ArrayLike,
    references: npt.ArrayLike,
    levels: npt.ArrayLike,
    counts: npt.ArrayLike | None = None,
) -> list[dict[str, Any]]:
    """How good answers are at each level, from 1 to the deepest; a row each.

    `levels` are those of the nodes, from 1, integers (C); `counts` their training documents,
    integers (C). A row has `level`, `nodes`, and

    - `documents`: those whose reference reaches the level; figures of none are None;
    - `accuracy`: the part of them whose nodes of the level are the true ones; where an answer
      stopped above, they are not;
    - `macro_f1`: the mean over the level's nodes that occur in any reference or answer;
    - `rare_macro_f1`: over those of them that have as many training documents as their median node,
      or fewer; None without `counts`;
    - `confusions`: the commonest 5 at most, `true` and `answered` (numbers of nodes; None where
      the answer has no wrong node of the level) with `count`, of documents. Of several nodes each
      missed one is confused with each wrong one.
    """
    predicted, true, depth = _sparse(predictions), _sparse(references), np.asarray(levels)
    known = None if counts is None else np.asarray(counts)
    return [
        _level(level, np.flatnonzero(depth == level), predicted, true, known)
        for level in range(1, int(depth.max(initial=0)) + 1)
    ]


def consistent_share(table: npt.ArrayLike, parents: Sequence[Sequence[int]]) -> float:
    """The part of the documents in whose answers no node is without one of its parents."""
    from scipy import sparse

    nodes = _sparse(table)
    if not nodes.shape[0]:
        return 0.0
    below = np.repeat(np.arange(len(parents)), [len(own) for own in parents])
    above = np.array([one for own in parents for one in own], dtype=np.int64)
    edges = sparse.csr_array((np.ones(len(below)), (below, above)), shape=(len(parents),) * 2)
    needed = nodes @ edges
    met = needed * nodes
    return float((np.diff(needed.indptr) == met.astype(bool).sum(1)).mean())


def _level(
    level: int, nodes: _Ints, predicted: Any, true: Any, counts: _Ints | None
) -> dict[str, Any]:
    said, real = predicted[:, nodes], true[:, nodes]
    hits = said * real
    reached = real.sum(1) > 0
    right = said.sum(1) + real.sum(1) == 2 * hits.sum(1)
    sizes = said.sum(0) + real.sum(0)
    f1 = 2 * hits.sum(0) / np.maximum(sizes, 1)
    occur = sizes > 0
    row: dict[str, Any] = {
        "level": level,
        "nodes": len(nodes),
        "documents": int(reached.sum()),
        "accuracy": _mean(right[reached]),
        "macro_f1": _mean(f1[occur]),
        "rare_macro_f1": None,
    }
    if counts is not None:
        own = counts[nodes][occur]
        row["rare_macro_f1"] = _mean(f1[occur][own <= np.median(own)]) if len(own) else None
    missed, wrong = real - hits, said - hits
    pairs = (missed.T @ wrong).tocoo()
    stopped = missed.T @ (wrong.sum(1) == 0).astype(np.float64)
    found = [
        *zip(pairs.data.tolist(), *(nodes[side].tolist() for side in pairs.coords), strict=True),
        *((stopped[place], int(nodes[place]), None) for place in np.flatnonzero(stopped)),
    ]
    # Equally common ones in the order of the nodes, an answer that stopped last.
    found.sort(key=lambda one: (-one[0], one[1], one[2] is None, one[2] or 0))
    row["confusions"] = [
        {"true": real_node, "answered": said_node, "count": int(count)}
        for count, real_node, said_node in found[:_MOST_CONFUSED]
        if count
    ]
    return row


def _mean(values: npt.NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _sparse(table: npt.ArrayLike) -> Any:
    """A table as a scipy.sparse array of float64: nearly all of it is 0."""
    from scipy import sparse

    full = np.asarray(table)
    rows, columns = np.nonzero(full)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=full.shape)


_Resampled = Callable[[_Floats, Any, Any], _Floats]


def _exact(weights: _Floats, predicted: Any, true: Any) -> _Floats:
    """The part of the documents whose nodes are the true ones."""
    return weights @ ((predicted - true).astype(bool).sum(1) == 0) / true.shape[0]


def _lca_f1(weights: _Floats, predicted: Any, true: Any) -> _Floats:
    """LCA-F1 (Kosmopoulos et al. 2015), the mean over documents.

    Of one path each, the answered and the true nodes from the lowest common ancestor down, which is
    itself in both (the root, where nothing else is): F1 of these sets. An answer without nodes ends
    at the root. Of several paths all common nodes stand for one ancestor, so that 1 is still an
    equal set, and each node too many or too few costs what it does in one path; the pairs of nodes
    that the paper forms are not: tables do not tell who is whose parent.
    """
    apart = (predicted - true).astype(bool).sum(1)
    return weights @ (2 / (2 + apart)) / true.shape[0]


def _mean_depth(weights: _Floats, predicted: Any, true: Any) -> _Floats:
    """Nodes of an answer, which of one path is how deep it goes, the mean over documents."""
    return weights @ predicted.sum(1) / true.shape[0]


def _metric(name: str, title: str, of_sets: _Resampled, **more: Any) -> Metric:
    """A metric by a function of weights (S, D) and of two sparse arrays (D, C)."""

    def resampled(weights: _Floats, predicted: npt.ArrayLike, true: npt.ArrayLike) -> _Floats:
        return of_sets(weights, _sparse(predicted), _sparse(true))

    def score(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float:
        return float(resampled(np.ones((1, len(np.asarray(true)))), predicted, true)[0])

    if more.get("headline"):
        more["resampled"] = resampled
    return Metric(name, title, ("tree",), score, **more)


add_metrics(
    # Over sets of nodes (Kiritchenko et al. 2005; Silla and Freitas 2011).
    _metric("hf1", "Hierarchical F1", micro_f1s, headline=True),
    _metric("hf1_macro", "Hierarchical macro-F1", macro_f1s, headline=True),
    _metric("exact_path", "Exact path", _exact, headline=True),
    _metric("lca_f1", "LCA-F1", _lca_f1),
    _metric("mean_depth", "Mean depth of answers", _mean_depth, percent=False),
)
