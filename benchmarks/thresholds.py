"""Ways to choose from which probability a label applies, on a corpus of several labels a document.

    python -m benchmarks.thresholds --data cuad/train.jsonl.gz cuad/validation.jsonl.gz \
        --label-column labels

A bag of words (TF-IDF of words and pairs, a logistic regression for each label) is trained on two
thirds of the documents, in some random splits; thresholds are chosen on 8 documents, on a twelfth
(validation), or on that and on the training documents out of fold, and scored on the quarter that
is left.
"""

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_recall_curve
from sklearn.model_selection import KFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from hierbert import read_documents
from hierbert.scoring.thresholds import fit_thresholds

_FEW = 8


def coordinates(texts: list[str]) -> Any:
    """Documents as points whose products are those of their words' weights, float (D, D)."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform(texts)
    values, vectors = np.linalg.eigh((words @ words.T).toarray())
    return vectors * np.sqrt(np.maximum(values, 0))


def logits(points: Any, true: Any, train: Any, asked: Any, strength: float) -> Any:
    """Of documents by a model that is trained on others."""
    model = OneVsRestClassifier(LogisticRegression(C=strength, max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label that no training document has, or all
        scores = model.fit(points[train], true[train]).decision_function(points[asked])
    return np.clip(scores, -30, 30)


def best_alone(scores: Any, true: Any) -> float:
    """The cut of the highest F1 of one label."""
    precision, recall, cuts = precision_recall_curve(true, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return float(cuts[f1[:-1].argmax()])


def each_alone(scores: Any, true: Any) -> Any:
    """Each label's own best cut, and of a label without documents that of all."""
    overall = best_alone(scores.ravel(), true.ravel())
    pairs = zip(scores.T, true.T, strict=True)
    return np.array([best_alone(*own) if own[1].any() else overall for own in pairs])


def cut(thresholds: Any) -> Any:
    """Probabilities as logits."""
    shares = np.clip(thresholds, 1e-12, 1 - 1e-12)
    return np.log(shares / (1 - shares))


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "0.5": lambda scores, true: 0.0,
    "one for all": lambda scores, true: best_alone(scores.ravel(), true.ravel()),
    "each its own": each_alone,
    "hierbert, micro_f1": lambda s, t: cut(fit_thresholds(s, t, "micro_f1").by_label),
    "hierbert, macro_f1": lambda s, t: cut(fit_thresholds(s, t, "macro_f1").by_label),
}


def main() -> None:
    """Score every way in every split, and print a table for both kinds of documents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--strength", type=float, default=100.0, help="C of the regressions")
    parser.add_argument("--splits", type=int, default=12)
    options = parser.parse_args()
    columns = {"label_column": options.label_column, "id_column": ""}
    documents = list(read_documents(options.data, **columns))
    points = coordinates([str(document.text) for document in documents])
    true = MultiLabelBinarizer().fit_transform([one.fields["label"] for one in documents])
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for split in range(options.splits):
        order = np.random.default_rng(split).permutation(len(true))
        test, rest = np.split(order, [len(order) // 4])
        validation, train = np.split(rest, [len(rest) // 9])
        held_out = logits(points, true, train, np.concatenate([validation, test]), options.strength)
        of_validation, of_test = np.split(held_out, [len(validation)])
        out_of_fold = np.zeros(true[train].shape)
        for own, other in KFold(5, shuffle=True, random_state=split).split(train):
            made = logits(points, true, train[own], train[other], options.strength)
            out_of_fold[other] = made
        both = np.concatenate([out_of_fold, of_validation])
        for name, scores, places in (
            (f"{_FEW} documents", of_validation[:_FEW], validation[:_FEW]),
            (f"validation ({len(validation)})", of_validation, validation),
            (f"out of fold too ({len(rest)})", both, np.concatenate([train, validation])),
        ):
            for way, choose in WAYS.items():
                given = of_test >= choose(scores, true[places])
                occurs = np.flatnonzero((given | true[test]).any(0))
                f1s = [
                    100 * f1_score(true[test], given, average=mean, labels=occurs, zero_division=0)
                    for mean in ("micro", "macro")
                ]
                found.setdefault((name, way), []).append((f1s[0], f1s[1]))
    print(f"{len(true)} documents, {true.shape[1]} labels, {options.splits} splits\n")
    print("| tuned on | thresholds | micro-F1 | macro-F1 | over one for all |")
    print("|---|---|---:|---:|---:|")
    for (name, way), scored in found.items():
        micro, macro = np.mean(scored, axis=0)
        gains = np.array(scored) - np.array(found[name, "one for all"])
        error = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        means = [f"{mean:+.1f} ± {e:.1f}" for mean, e in zip(gains.mean(0), error, strict=True)]
        print(f"| {name} | {way} | {micro:.1f} | {macro:.1f} | {means[0]}; {means[1]} |")


if __name__ == "__main__":
    main()
