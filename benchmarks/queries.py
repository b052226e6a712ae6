"""Summaries that answer a question, without and with training, on QMSum and ACLSum.

    python benchmarks/queries.py --data FOLDER --corpora qmsum aclsum
    python benchmarks/queries.py --data FOLDER --corpora aclsum --encoder NAME --runs FOLDER

Each specific question of a QMSum meeting, with the answer people wrote, and the parts of the
meeting they wrote it from; each of the three aspects of an ACLSum paper (its abstract, introduction
and conclusion), with its summary and the sentences people marked. Every system scores the same
sentences and selects from the same candidates within the same budget. ROUGE F1 is against the
answer; average precision is how a ranking of all sentences finds those that people marked. The
position prior, how often people marked what stands in each twentieth of a training document, reads
no question. Intervals are of a bootstrap over documents. With --encoder our system reads an
encoder's vectors too; with --runs one is trained, by what people have marked in the training
documents, that reads them as well.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.report import RESULTS, keep_figures
from hierbert import HierBert, HierBertTrainer
from hierbert.model.answering import answer_batch
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.selection import Budget
from hierbert.scoring.baselines import lexrank
from hierbert.tasks.summarization import score_extract

WORDS = {"qmsum": 62, "aclsum": 22}
"""Of each corpus how long a summary is: the mean of the training answers."""
ASKED = {
    "challenge": "What problem or challenge does the paper address?",
    "approach": "What approach or method does the paper propose?",
    "outcome": "What are the results and outcome of the paper?",
}
_PLACES, _SEED, _DRAWS = 20, 0, 2_000
_DOCUMENTS_AT_ONCE = 4
Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class Asked:
    """A question about a document, its answer, and which of the N sentences people marked.

    Also what they marked as spans: of characters, or of sentences where those are given.
    """

    query: str
    answer: str
    marked: np.ndarray
    spans: list[list[int]]


def meetings(row: dict, segment: Callable) -> tuple[SegmentedDocument, list[Asked]]:
    """A meeting of QMSum; spans count its lines."""
    document = segment(row["text"])
    ends = np.cumsum([len(line) + 1 for line in row["text"].split("\n")]).tolist()
    lines = np.searchsorted(ends, [start for start, _ in document.sentence_spans], side="right")
    asked = []
    for query, answer, spans in row["specific"]:
        inside = [(lines >= int(first)) & (lines <= int(last)) for first, last in spans]
        marked = np.logical_or.reduce(inside) if inside else np.zeros(len(lines), dtype=bool)
        parts = [[0, *ends][int(first) : int(last) + 2] for first, last in spans]
        asked.append(Asked(query, answer, marked, [[part[0], part[-1] - 1] for part in parts]))
    return document, asked


def papers(row: dict, segment: Callable) -> tuple[SegmentedDocument, list[Asked]]:
    """A paper of ACLSum, in its own sentences."""
    parts = row["aic_sentences"]
    document = segment([sentence for part in parts.values() for sentence in part])
    asked = []
    for aspect, summary in row["aspects"].items():
        marks = [mark for part in parts for mark in row["highlights"][aspect][part]]
        spans = [[place, place + 1] for place, mark in enumerate(marks) if mark]
        asked.append(Asked(ASKED[aspect], summary, np.array(marks, dtype=bool), spans))
    return document, asked


READERS = {"qmsum": meetings, "aclsum": papers}


def read(name: str, split: str, data: Path, segment: Callable) -> Iterable:
    """The documents of a split with their questions."""
    with gzip.open(data / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield READERS[name](json.loads(line), segment)


def places(count: int) -> np.ndarray:
    """In which twentieth of its document each of N sentences is."""
    return np.arange(count) * _PLACES // max(1, count)


def position_prior(name: str, data: Path, segment: Callable) -> np.ndarray:
    """How often people marked what stands in each twentieth of a training document."""
    marked, there = np.zeros(_PLACES), np.zeros(_PLACES)
    for _, asked in read(name, "train", data, segment):
        for one in asked:
            own = places(len(one.marked))
            marked += np.bincount(own, one.marked, _PLACES)
            there += np.bincount(own, minlength=_PLACES)
    return marked / np.maximum(there, 1)


def tfidf_cosines(sentences: list[str], queries: list[str]) -> np.ndarray:
    """scikit-learn's TF-IDF, its own defaults but English stop words: (queries, N)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    rows = vectorizer.fit_transform(sentences)
    return np.asarray((vectorizer.transform(queries) @ rows.T).todense())


def average_precision(scores: np.ndarray, marked: np.ndarray) -> float:
    """Of a ranking, equal scores in the document's order; nan where nothing is marked."""
    hits = marked[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum()) if hits.any() else float("nan")


def train(name: str, data: Path, encoder: str, run: Path) -> HierBert:
    """A model of the training questions, or the one that is there."""
    segment = HierBert.summarizer().processor.segment
    rows: dict[str, list[dict]] = {}
    for split in ("train", "validation"):
        rows[split] = [
            {
                "text": document.sentences if document.given_sentences else document.text,
                **{field: getattr(one, field) for field in ("query", "answer", "spans")},
            }
            for document, asked in read(name, split, data, lambda text: segment([text])[0])
            for one in asked
        ]
    if not (run / "model").is_dir():
        config = {
            "model.encoder": encoder,
            "segmentation.max_tokens_per_segment": 128,
            "data.summary_column": "answer",
            "data.columns": {"query": "query", "spans": "spans"},
            "summary.max_words": WORDS[name],
            "training.freeze_encoder": True,
            "training.epochs": 2,
            "training.documents_per_batch": 8,
            "baselines": False,
            "run_dir": str(run),
            "seed": _SEED,
        }
        HierBertTrainer(config=config, **rows).train()
    return HierBert.from_pretrained(run / "model", device="cpu")


def figures(name: str, split: str, data: Path, encoder: str | None, runs: Path | None) -> dict:
    """Of each system and document the mean ROUGE-1, ROUGE-2 and average precision, and how many."""
    models = {"ours, words": HierBert.summarizer()}
    if encoder is not None:
        models["ours, words and vectors"] = HierBert.summarizer(encoder, device="cpu")
        if runs is not None:
            models["ours, trained"] = train(name, data, encoder, runs / name)
    processors = {title: model.processor for title, model in models.items()}

    def segment(text: str | list[str]) -> SegmentedDocument:
        return processors["ours, words"].segment([text])[0]

    prior = position_prior(name, data, segment)
    rule = models["ours, words"].summary_rule()
    rule = replace(rule, budget=Budget(max_words=WORDS[name]))
    found: dict[str, list] = {}
    for number, (document, asked) in enumerate(read(name, split, data, segment)):
        if not asked:
            continue
        texts = document.sentences
        queries = [one.query for one in asked]
        count = len(queries)
        systems = {
            "Lead": [-np.arange(float(len(texts)))] * count,
            "position prior": [prior[places(len(texts))]] * count,
            "LexRank (no question)": [np.array(lexrank(texts))] * count,
            "TF-IDF cosine": list(tfidf_cosines(texts, queries)),
        }
        for title, model in models.items():
            own = document
            if title != "ours, words":
                given = document.text if not document.given_sentences else texts
                own = processors[title].segment([given])[0]
            systems[title] = ask(model, own, processors[title].segment(queries))
        candidates = rule.candidates(document)
        for title, scores in systems.items():
            rows = []
            for one, values in zip(asked, scores, strict=True):
                selected = rule.select_from(candidates, values.tolist())
                rouge = score_extract(selected, [one.answer])
                precision = average_precision(values, one.marked)
                rows.append([rouge["rouge1"], rouge["rouge2"], precision])
            found.setdefault(title, []).append(rows)
        print(f"\r{name} {number + 1}", end="", file=sys.stderr, flush=True)
    return {"words": WORDS[name], "split": split, "scores": found}


def ask(
    model: HierBert, document: SegmentedDocument, queries: list[SegmentedDocument]
) -> list[np.ndarray]:
    """What a model says of each sentence for each question."""
    asked = [replace(document, query=query) for query in queries]
    found = []
    with torch.inference_mode():
        # A document's vectors are the same whatever is asked.
        one = answer_batch(model.model, [document])[0]
        for first in range(0, len(asked), _DOCUMENTS_AT_ONCE):
            some = asked[first : first + _DOCUMENTS_AT_ONCE]
            vectors = None
            if one.sentence_vectors is not None:
                vectors = (
                    one.segment_vectors.repeat(len(some), 1),
                    one.sentence_vectors.repeat(len(some), 1),
                )
            found += answer_batch(model.model, some, vectors=vectors)
    return [each.scores["summarization"].double().numpy() for each in found]


def table(key: str, found: dict) -> str:
    """In Markdown."""
    count = sum(map(len, found["scores"]["Lead"]))
    title = f"**{key}**: {count} questions about {len(found['scores']['Lead'])} documents of the "
    lines = [
        f"{title}{found['split']} split, {found['words']} words",
        "",
        "| | ROUGE-1 | ROUGE-2 | average precision |",
        "|---" * 4 + "|",
    ]
    rng = np.random.default_rng(_SEED)
    documents = len(found["scores"]["Lead"])
    draws = rng.integers(0, documents, (_DRAWS, documents))
    for system, rows in found["scores"].items():
        sums = np.array([np.nansum(one, 0) for one in rows])
        counts = np.array([(~np.isnan(np.array(one))).sum(0) for one in rows])
        means = 100 * sums.sum(0) / counts.sum(0)
        drawn = 100 * sums[draws].sum(1) / counts[draws].sum(1)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        cells = [
            f"{mean:.1f} [{least:.1f}, {most:.1f}]"
            for mean, least, most in zip(means, low, high, strict=True)
        ]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Score what is asked for, keep it, and print all tables there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the corpora")
    parser.add_argument("--corpora", nargs="*", choices=READERS, default=[], metavar="NAME")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--encoder", help="whose vectors are read too")
    parser.add_argument("--output", type=Path, default=RESULTS / "queries.json")
    parser.add_argument("--runs", type=Path, help="where models that are trained are kept")
    options = parser.parse_args()
    if options.corpora and options.data is None:
        parser.error("--corpora needs --data")
    asked = {
        f"{name}, {options.split}": partial(
            figures, name, options.split, options.data, options.encoder, options.runs
        )
        for name in options.corpora
    }
    kept = keep_figures(options.output, asked)
    print("\n\n".join(table(key, found) for key, found in kept.items()))


if __name__ == "__main__":
    main()
