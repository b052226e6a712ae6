"""The corpora that answers are scored on: where each is, and what a seed trains and tests on.

They are not part of this repository: a folder of FOLDER each, with train.jsonl.gz and, where there
are any, validation.jsonl.gz and test.jsonl.gz. Invariant: equal texts stay on one side of a split
that is made here.
"""

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Splits = dict[str, list[Row]]

# Newsgroup posts are mostly short; these are the long ones, without their headers, which name the
# group.
_LONG_POST_WORDS = 350
_TEST_PERCENT, _VALIDATION_PERCENT = 20, 10
_REVIEW_FOLDS = 10
# A summary that was copied from the text, such as an abstract left in the body, makes extraction
# look easy: of its runs of so many words, at most that share may stand in the text.
_RUN_WORDS, _MOST_COPIED = 8, 0.3
_SCISUMM_TRAIN = 200
# As many as people label for a first model.
_FEW_TRAIN = 100


def as_given(splits: Splits, seed: int) -> Splits:
    """The splits that there are; without a test split, a fifth of the training documents."""
    if "test" in splits:
        return splits
    drawn = {row["text"]: percent(row["text"]) < _TEST_PERCENT for row in splits["train"]}
    return {
        **splits,
        "train": [row for row in splits["train"] if not drawn[row["text"]]],
        "test": [row for row in splits["train"] if drawn[row["text"]]],
    }


def review_folds(splits: Splits, seed: int) -> Splits:
    """Of the authors' ten folds one to test, one to validate, the rest to train.

    Seed 0 has the split that is given; seeds 0 to 9 test on each fold once.
    """
    test, validation = ((9 - seed) % _REVIEW_FOLDS, (8 - seed) % _REVIEW_FOLDS)
    return _parted(splits, lambda row: {test: "test", validation: "validation"}.get(row["fold"]))


def text_folds(splits: Splits, seed: int) -> Splits:
    """A fifth of all documents to test, a tenth to validate, by the hash of their texts.

    Seeds 0 to 4 test on each document once.
    """
    if seed >= 100 // _TEST_PERCENT:
        raise SystemExit(f"error: --seeds {seed}: these folds have seeds 0 to 4")

    def part(row: Row) -> str | None:
        place = (percent(row["text"]) - seed * _TEST_PERCENT) % 100
        if place < _TEST_PERCENT:
            return "test"
        return "validation" if place < _TEST_PERCENT + _VALIDATION_PERCENT else None

    return _parted(splits, part)


def scisumm_split(splits: Splits, seed: int) -> Splits:
    """The first training papers, and as test the validation papers that are given."""
    return {"train": splits["train"][:_SCISUMM_TRAIN], "test": splits["validation"]}


def first_documents(train: int, test: int | None = None) -> Callable[[Splits, int], Splits]:
    """So many training and test documents; a run validates on some of the former."""
    return lambda splits, seed: {"train": splits["train"][:train], "test": splits["test"][:test]}


def with_questions(splits: Splits, seed: int) -> Splits:
    """A row for each question of a meeting, and to learn from also its general summary."""
    made = {}
    for split, rows in splits.items():
        made[split] = [
            {"text": row["text"], "query": query, "summary": answer}
            for row in rows
            for query, answer, *_ in [
                *row["specific"],
                *([] if split == "test" else [(None, row["summary"])]),
            ]
        ]
    return made


def long_post(row: Row) -> Row | None:
    """A newsgroup post without its header, if it is long."""
    text = re.sub(r"\A.*?\n\n", "", row["text"], flags=re.DOTALL)
    return {**row, "text": text} if len(text.split()) > _LONG_POST_WORDS else None


def without_its_abstract(row: Row) -> Row | None:
    """The same of a paper whose reference is its abstract."""
    return not_copied({**row, "summary": row["abstract"]}) if row["abstract"] else None


def not_copied(row: Row) -> Row | None:
    """A document that does not hold much of its own reference summary."""
    own, inside = _runs(row["summary"]), set(_runs(row["text"]))
    return None if sum(run in inside for run in own) > _MOST_COPIED * len(own) else row


@dataclass(frozen=True)
class Corpus:
    """A corpus as it is measured.

    Attributes:
        folder: Where it is in FOLDER; empty where the config itself names the documents.
        config: Of configs, which trains on it.
        systems: What is run unless others are asked for; see `benchmarks.quality.SYSTEMS`.
        target: The key of a row's labels or summary.
        settings: Of all its runs.
        keep: Makes of a row the one that is measured; None leaves it out.
        split: The documents of a seed, by the split.
    """

    folder: str
    config: str = "classification"
    systems: tuple[str, ...] = ("frozen",)
    target: str = "label"
    settings: tuple[str, ...] = ()
    keep: Callable[[Row], Row | None] = lambda row: row
    split: Callable[[Splits, int], Splits] = as_given


# In runs of summaries there is nothing to choose but the config.
_summaries = partial(Corpus, config="summarization", systems=("configured",), target="summary")
_trees = partial(Corpus, config="label_tree", target="path", split=text_folds)
CORPORA = {
    "movie-reviews": Corpus("movie-reviews"),
    "movie-reviews-folds": Corpus("movie-reviews", split=review_folds),
    "hyperpartisan": Corpus("hyperpartisan"),
    "hyperpartisan-folds": Corpus("hyperpartisan", split=text_folds),
    "ethereum-eips": Corpus("ethereum-eips"),
    "cuad": Corpus("cuad", target="labels"),
    "20newsgroups": Corpus("20newsgroups", keep=long_post),
    "hwv": _trees("hwv"),
    "20newsgroups-tree": _trees("20newsgroups", keep=long_post, split=as_given),
    "ethereum-eips-tree": _trees("ethereum-eips"),
    "aclsum": Corpus("", "quickstart", ("configured",)),
    "scisummnet": _summaries(
        "scisummnet",
        settings=("summary.max_words=148",),
        keep=not_copied,
        split=scisumm_split,
    ),
    "scisummnet-abstracts": _summaries(
        "scisummnet",
        target="abstract",
        settings=("summary.max_words=118",),
        keep=without_its_abstract,
        split=lambda splits, seed: {
            "train": splits["train"][:_FEW_TRAIN],
            "test": splits["validation"],
        },
    ),
    "ectsum": _summaries(
        "ectsum",
        settings=("summary.max_words=35",),
    ),
    "ectsum-300": _summaries(
        "ectsum",
        settings=("summary.max_words=35",),
        split=first_documents(300, 200),
    ),
    "qmsum": _summaries(
        "qmsum",
        settings=("summary.max_words=110",),
        split=first_documents(_FEW_TRAIN),
    ),
    "qmsum-questions": _summaries(
        "qmsum",
        settings=("summary.max_words=62", "data.columns.query=query"),
        split=with_questions,
    ),
}
"""By name; to measure another, add an entry."""


def documents(name: str, data: Path, seed: int) -> Splits:
    """The documents of a corpus for a seed: text, label or summary, and an id made of the text.

    One corpus holds two versions of a document under one id.
    """
    corpus = CORPORA[name]
    splits: Splits = {}
    for split in ("train", "validation", "test"):
        path = data / corpus.folder / f"{split}.jsonl.gz"
        if corpus.folder and path.is_file():
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                rows = (corpus.keep(json.loads(line)) for line in lines)
                splits[split] = [row for row in rows if row is not None]
    if not splits:
        return {}
    field = "summary" if corpus.config == "summarization" else "label"
    made: Splits = {}
    repeats = Counter[str]()
    for split, rows in corpus.split(splits, seed).items():
        made[split] = []
        for row in rows:
            name = hashlib.sha256(row["text"].encode()).hexdigest()[:16]
            repeats[name] += 1
            values = {"text": row["text"], field: row[corpus.target]}
            values |= {"query": row["query"]} if "query" in row else {}
            made[split].append({"id": f"{name}-{repeats[name]}", **values})
    return made


def percent(text: str) -> int:
    """A number from 0 to 99 that the text alone decides."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100


def _parted(splits: Splits, part: Callable[[Row], str | None]) -> Splits:
    parted: Splits = {"train": [], "validation": [], "test": []}
    for rows in splits.values():
        for row in rows:
            parted[part(row) or "train"].append(row)
    return parted


def _runs(text: str) -> list[tuple[str, ...]]:
    """Runs of words, lower-cased."""
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[i : i + _RUN_WORDS]) for i in range(len(words) - _RUN_WORDS + 1)]
