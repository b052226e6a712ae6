"""Summaries without training against sumy's LexRank and the baselines in the box.

    python benchmarks/untrained.py --data FOLDER --corpora aclsum scisummnet ectsum qmsum

Every system scores the same sentences and selects from the same candidates within the same budget,
the mean length of the corpus's references; ours with the summarizer's own redundancy, and "without
MMR" as all others. sumy (pip install sumy numpy) scores with its English stemmer and stop words, as
its own page has it; it compares all pairs of sentences in Python, so that it takes minutes where
meetings are long: --documents says how many of a corpus are read. Intervals are of a paired
bootstrap over documents.
"""

import argparse
import gzip
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.corpora import not_copied
from benchmarks.common.report import corpus_options, corpus_parser, keep_figures
from hierbert import HierBert
from hierbert.model.central_words import METHODS
from hierbert.model.selection import Budget
from hierbert.model.sentence_words import SentenceWords, stems
from hierbert.scoring.intervals import paired_difference
from hierbert.scoring.summary_baselines import SUMMARY_BASELINES
from hierbert.tasks.summarization import score_extract

CORPORA = {
    "aclsum": ("test", 67),
    "scisummnet": ("validation", 148),
    "ectsum": ("test", 35),
    "qmsum": ("test", 100),
}
"""Of each the split, and the words of a summary."""
METRICS = ("rouge1", "rouge2")
SUMY = "sumy's LexRank"
_WORD = re.compile(r"\w+(?:[-']\w+)*")
_SEED = 0


def sumy_lexrank() -> Callable[[list[str]], list[float]]:
    """The scores of sumy's LexRank for sentences that were split before."""
    from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
    from sumy.nlp.stemmers import Stemmer
    from sumy.summarizers.lex_rank import LexRankSummarizer
    from sumy.utils import get_stop_words

    class Words:
        def to_words(self, sentence: str) -> tuple[str, ...]:
            """As sumy's own tokenizer, which needs a download, keeps words: without numbers."""
            return tuple(word for word in _WORD.findall(sentence) if not re.search(r"\d", word))

    summarizer = LexRankSummarizer(Stemmer("english"))
    summarizer.stop_words = get_stop_words("english")

    def scores(sentences: list[str]) -> list[float]:
        document = ObjectDocumentModel([Paragraph([Sentence(s, Words()) for s in sentences])])
        words = [summarizer._to_words_set(sentence) for sentence in document.sentences]
        counts, idf = summarizer._compute_tf(words), summarizer._compute_idf(words)
        matrix = summarizer._create_matrix(words, summarizer.threshold, counts, idf)
        return list(map(float, summarizer.power_method(matrix, summarizer.epsilon)))

    return scores


def figures(name: str, data: Path, most: int, with_sumy: bool) -> dict:
    """Of each system the ROUGE of each document, and the seconds of scoring."""
    split, words = CORPORA[name]
    with gzip.open(data / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [not_copied(row) if name == "scisummnet" else row for row in map(json.loads, lines)]
    rows = [row for row in rows if row is not None][:most]
    summarizer = HierBert.summarizer()
    rule = replace(summarizer.summary_rule(), budget=Budget(max_words=words))
    plain = replace(rule, redundancy=0.0)
    systems = {
        title: (plain, lambda texts, baseline=baseline: baseline(texts, "", _SEED))
        for title, baseline in SUMMARY_BASELINES.items()
        if callable(baseline)
    }
    if with_sumy:
        systems[SUMY] = (plain, sumy_lexrank())
    for title, method in METHODS.items():

        def own(texts: list[str], method: Callable = method) -> list[float]:
            return method(SentenceWords([stems(text) for text in texts])).tolist()

        systems |= {f"ours, {title}": (rule, own), f"ours, {title}, no MMR": (plain, own)}
    scores: dict[str, list[list[float]]] = {title: [] for title in systems}
    seconds = dict.fromkeys(systems, 0.0)
    for number, row in enumerate(rows):
        [document] = summarizer.processor.segment([row["text"]])
        candidates, texts = rule.candidates(document), document.sentences
        for title, (how, score) in systems.items():
            began = time.perf_counter()
            values = score(texts)
            seconds[title] += time.perf_counter() - began
            made = score_extract(how.select_from(candidates, values), [row["summary"]])
            scores[title].append([made[metric] for metric in METRICS])
        print(f"\r{name} {number + 1}/{len(rows)}", end="", file=sys.stderr, flush=True)
    return {"words": words, "split": split, "scores": scores, "seconds": seconds}


def table(name: str, found: dict) -> str:
    """In Markdown."""
    count = len(found["scores"]["Lead"])
    lines = [
        f"**{name}**, {count} {found['split']} documents, {found['words']} words",
        "",
        f"| | ROUGE-1 | ROUGE-2 | ROUGE-1 over {SUMY} | seconds a document |",
        "|---" * 5 + "|",
    ]
    for title, rows in found["scores"].items():
        means = [100 * sum(column) / count for column in zip(*rows, strict=True)]
        over = ""
        if title.startswith("ours") and SUMY in found["scores"]:
            pairs = [[row[0] for row in one] for one in (rows, found["scores"][SUMY])]
            mean, low, high, *_ = (100 * x for x in paired_difference(*pairs, _SEED))
            over = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        took = found["seconds"][title] / count
        lines.append(f"| {title} | {means[0]:.1f} | {means[1]:.1f} | {over} | {took:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Score what is asked for, keep it, and print all tables there are."""
    parser = corpus_parser(__doc__, CORPORA, "untrained")
    parser.add_argument("--sumy", action=argparse.BooleanOptionalAction, default=True)
    options = corpus_options(parser)
    asked = {
        name: partial(figures, name, options.data, options.documents, options.sumy)
        for name in options.corpora
    }
    kept = keep_figures(options.output, asked)
    print("\n\n".join(table(name, found) for name, found in kept.items()))


if __name__ == "__main__":
    main()
