"""What labels of a trained model have to beat: the commonest, bags of words, simple vectors."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hierbert.log import log
from hierbert.scoring.logistic import Floats, Targets, draw_few, fit_logistic, folds_of
from hierbert.scoring.thresholds import from_a_half
from hierbert.scoring.vector_baselines import (
    Read,
    VectorBaseline,
    each_segment,
    first_tokens,
    head_and_tail,
    mean_of_segments,
    predict_by_vectors,
)

_Labels = npt.NDArray[Any]
_STRENGTHS = (0.3, 3.0)
_FOLDS = 3
# Of more training documents, so many are drawn for a bag of words; more labels take too long.
_MOST_DOCUMENTS = 20_000
_MOST_LABELS = 256
# Of the words, the commonest, so that their weights fit in memory: 128 MiB.
MOST_WEIGHTS = 1 << 24
_OF_LABELS = ("single_label", "multi_label")
_Fit = Callable[[Any, Floats, npt.NDArray[np.int64], Any], tuple[Floats, Floats]]


@dataclass(frozen=True)
class LabelBaseline:
    """Labels without a network.

    Attributes:
        name: Its key in results.
        title: What tables and model cards call it.
        problem_types: What it applies to; see `hierbert.scoring.Metric`.
        predict: Called with the texts of the labelled training documents, their labels and the
            texts to answer; labels and answers are as in `label_scores`. Of several labels, an
            answer from 0.5 on says that the label applies.
        most_labels: With more labels it is left out; None: never.
    """

    name: str
    title: str
    problem_types: tuple[str, ...]
    predict: Callable[[Sequence[str], _Labels, Sequence[str]], npt.ArrayLike]
    most_labels: int | None = None


def _majority(texts: Sequence[str], labels: _Labels, asked: Sequence[str]) -> list[int]:
    # Of equally frequent labels the first seen.
    return [Counter(labels.tolist()).most_common(1)[0][0]] * len(asked)


def _commonest(texts: Sequence[str], labels: _Labels, asked: Sequence[str]) -> Floats:
    """As many of the commonest labels as give the highest micro-F1 on the training documents."""
    counts = np.sort(labels.sum(0))[::-1]
    given = np.arange(1, len(counts) + 1)
    micro_f1 = 2 * counts.cumsum() / (given * len(labels) + counts.sum())
    many = int(micro_f1.argmax()) + 1
    shares = labels.mean(0)
    ranks = (-shares).argsort(kind="stable").argsort(kind="stable")
    # In the order of their shares, those that apply above 0.5.
    return np.tile(np.where(ranks < many, 0.5 + shares / 2, shares / 2.1), (len(asked), 1))


def _logistic(texts: Sequence[str], labels: _Labels, asked: Sequence[str]) -> npt.ArrayLike:
    """TF-IDF of words and pairs, logistic regression, its penalty by held-out documents."""

    def fit(
        rows: Any, table: Floats, folds: npt.NDArray[np.int64], more: Any
    ) -> tuple[Floats, Floats]:
        fitted = fit_logistic(rows, Targets(table, labels.ndim == 2), folds)
        return fitted.held_out, more @ fitted.weights + fitted.bias

    return _by_words(texts, labels, asked, fit)


def _svm(texts: Sequence[str], labels: _Labels, asked: Sequence[str]) -> npt.ArrayLike:
    """TF-IDF of words and pairs, a linear SVM for each label, C by held-out documents."""
    from sklearn.svm import LinearSVC

    def scores(rows: Any, table: Floats, more: Any, strength: float) -> Floats:
        columns = []
        for column in table.T:
            if len(np.unique(column)) == 1:
                columns.append(np.full(more.shape[0], 2 * column[0] - 1))
                continue
            columns.append(LinearSVC(C=strength).fit(rows, column).decision_function(more))
        return np.stack(columns, 1)

    def fit(
        rows: Any, table: Floats, folds: npt.NDArray[np.int64], more: Any
    ) -> tuple[Floats, Floats]:
        folds = folds % _FOLDS
        best: tuple[float, float, Floats] | None = None
        for strength in _STRENGTHS:
            held_out = np.zeros_like(table)
            for fold in np.unique(folds):
                out = folds == fold
                held_out[out] = scores(rows[~out], table[~out], rows[out], strength)
            right = (held_out > 0) == table
            if labels.ndim == 1:
                right = held_out.argmax(1) == table.argmax(1)
            if best is None or right.mean() > best[0]:
                best = right.mean(), strength, held_out
        assert best is not None
        return best[2], scores(rows, table, more, best[1])

    return _by_words(texts, labels, asked, fit)


def _by_words(
    texts: Sequence[str], labels: _Labels, asked: Sequence[str], fit: _Fit
) -> npt.ArrayLike:
    """Answers by held-out scores of training documents and scores of those asked.

    The thresholds of several labels are tuned on the former, as a model's are.
    """
    several = labels.ndim == 2
    drawn = draw_few(len(texts), _MOST_DOCUMENTS)
    texts, labels = [texts[place] for place in drawn], labels[drawn]
    known = np.unique(labels)
    count = labels.shape[1] if several else len(known)
    read = tfidf(texts, asked, MOST_WEIGHTS // max(1, count))
    if read is None or len(known) < 2 or len(set(texts)) < _FOLDS:
        return (_commonest if several else _majority)(texts, labels, asked)
    table = (labels if several else labels[:, None] == known).astype(np.float64)
    held_out, scores = fit(read[0], table, folds_of(texts, table), read[1])
    return from_a_half(held_out, labels, scores) if several else known[scores.argmax(1)]


def tfidf(texts: Sequence[str], asked: Sequence[str], most_words: int) -> tuple[Any, Any] | None:
    """Words and pairs of words by the usual weights; None where there are no words."""
    from scipy.sparse import csr_array
    from sklearn.feature_extraction.text import TfidfVectorizer

    for fewest in (2, 1):
        vectorizer = TfidfVectorizer(
            sublinear_tf=True, ngram_range=(1, 2), min_df=fewest, max_features=most_words
        )
        try:
            rows = vectorizer.fit_transform(texts)
        except ValueError:  # no word occurs in so many documents
            continue
        return csr_array(rows), csr_array(vectorizer.transform(asked))
    return None


LABEL_BASELINES: list[LabelBaseline | VectorBaseline] = [
    LabelBaseline("majority", "Majority class", ("single_label",), _majority),
    LabelBaseline("majority", "Commonest labels", ("multi_label",), _commonest),
    LabelBaseline(
        "majority",
        "Mean",
        ("regression",),
        lambda texts, labels, asked: [labels.mean()] * len(asked),
    ),
    LabelBaseline("tfidf_svm", "TF-IDF, SVM", _OF_LABELS, _svm, _MOST_LABELS),
    LabelBaseline("tfidf_logistic", "TF-IDF, logistic", _OF_LABELS, _logistic, _MOST_LABELS),
    VectorBaseline("mean_vectors", "Mean vectors", mean_of_segments),
    VectorBaseline("first_512_tokens", "First 512 tokens", first_tokens),
    VectorBaseline("head_and_tail", "Head + tail", head_and_tail),
    VectorBaseline("segment_vote", "Vote of segments", each_segment),
]
"""In the order of tables; `VectorBaseline` is asked where an encoder is frozen."""


def label_baselines(
    problem_type: str,
    texts: Sequence[str],
    labels: npt.ArrayLike,
    asked: Sequence[str],
    vectors: tuple[Read, Read] | None = None,
) -> dict[str, _Labels]:
    """What every label baseline that applies to the problem type answers, by its name.

    `texts` are those of labelled training documents, at least one, with labels as `label_scores`
    takes them; `asked` those of documents to answer. `vectors` read the vectors of the former, and
    of the latter; None leaves out what reads them. Of several labels, those from 0.5 on apply.
    """
    known = np.asarray(labels)
    count = known.shape[1] if known.ndim == 2 else len(np.unique(known))
    answers: dict[str, _Labels] = {}
    by_vectors = []
    for baseline in LABEL_BASELINES:
        reads_vectors = isinstance(baseline, VectorBaseline)
        if problem_type not in baseline.problem_types or (reads_vectors and vectors is None):
            continue
        if baseline.most_labels is not None and count > baseline.most_labels:
            log.info(f"{baseline.title} is left out: {count:,} labels would take too long")
            continue
        if isinstance(baseline, VectorBaseline):
            by_vectors.append(baseline)
        else:
            answers[baseline.name] = np.asarray(baseline.predict(texts, known, asked))
    if vectors is not None:
        answers |= predict_by_vectors(by_vectors, texts, known, *vectors, len(asked))
    return answers
