"""A bag of words on a corpus of labels: the figure that a model has to beat.

    python -m benchmarks.words --train train.jsonl.gz --validation validation.jsonl.gz \
        --test test.jsonl.gz

TF-IDF of words and pairs of words, and a linear support vector machine whose C is the best on the
validation documents.
"""

import argparse

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from hierbert import read_documents


def main() -> None:
    """Fit, choose, and print the test figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for split in ("train", "validation", "test"):
        parser.add_argument(f"--{split}", required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    options = parser.parse_args()
    columns = {"text_column": options.text_column, "label_column": options.label_column}
    texts, labels = {}, {}
    for split in ("train", "validation", "test"):
        documents = list(read_documents(getattr(options, split), **columns))
        texts[split] = [str(document.text) for document in documents]
        labels[split] = [str(document.fields["label"]) for document in documents]
    best = (-1.0, 0.0, None)
    for strength in (0.1, 0.3, 1.0, 3.0, 10.0):
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        fitted = make_pipeline(words, LinearSVC(C=strength)).fit(texts["train"], labels["train"])
        right = accuracy_score(labels["validation"], fitted.predict(texts["validation"]))
        if right > best[0]:
            best = (right, strength, fitted)
    right, strength, fitted = best
    answers = fitted.predict(texts["test"])
    accuracy = 100 * accuracy_score(labels["test"], answers)
    macro = 100 * f1_score(labels["test"], answers, average="macro")
    print(f"C {strength:g}: accuracy {accuracy:.1f}, macro-F1 {macro:.1f} of the test documents")
    print(f"accuracy {100 * right:.1f} of the validation documents")


if __name__ == "__main__":
    main()
