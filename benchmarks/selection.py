"""What the ways to select sentences do to summaries, of the same scores of sentences.

    python benchmarks/selection.py --data FOLDER --corpora aclsum --model runs/quickstart/model
    python benchmarks/selection.py --data FOLDER --corpora qmsum ectsum

Validation documents, at the limits of untrained.py; without --model the scores are LexRank's over
words, of `hierbert summarize`. Every row changes one option of the first; intervals of the
difference are of a paired bootstrap over documents. *Openers* is the part of sentences that open
with what refers to a sentence before them that is not there, *repeated* that of pairs of words.
"""

import gzip
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.corpora import not_copied
from benchmarks.common.report import corpus_options, corpus_parser, keep_figures
from benchmarks.untrained import CORPORA
from hierbert import HierBert
from hierbert.model.answering import answer_batch
from hierbert.model.antecedents import needs_the_one_before
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.selection import Budget
from hierbert.model.summarization_head import Candidate, SummaryRule, summary_text
from hierbert.scoring.intervals import paired_difference
from hierbert.scoring.repetition import repeated_share
from hierbert.tasks.summarization import score_extract

METRICS = ("rouge1", "rouge2", "rougeLsum")
HEAD = "summarization"
_SEED = 0


def rules(words: int) -> dict[str, SummaryRule]:
    """By the title of a row."""
    first = SummaryRule(Budget(max_words=words), min_words_per_sentence=5)
    changed: dict[str, dict[str, Any]] = {
        "greedy": {},
        "knapsack": {"selection": "knapsack"},
        "include_antecedent": {"include_antecedent": True},
        "keep_speaker": {"keep_speaker": True},
        **{f"redundancy {r}": {"redundancy": r} for r in (0.3, 0.5, 0.7)},
        "knapsack, redundancy 0.5": {"selection": "knapsack", "redundancy": 0.5},
        "antecedent, redundancy 0.5": {"include_antecedent": True, "redundancy": 0.5},
        **{f"at least {n} words": {"min_words_per_sentence": n} for n in (0, 8, 12, 16)},
        "knapsack, at least 12 words": {"selection": "knapsack", "min_words_per_sentence": 12},
    }
    return {title: replace(first, **own) for title, own in changed.items()}


def figures(name: str, data: Path, most: int, source: str | None) -> dict:
    """Of each rule the figures of each document."""
    words = CORPORA[name][1]
    with gzip.open(data / name / "validation.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [not_copied(row) if name == "scisummnet" else row for row in map(json.loads, lines)]
    rows = [row for row in rows if row is not None][:most]
    model = HierBert.from_pretrained(source) if source else HierBert.summarizer()
    found: dict[str, list[list[float]]] = {title: [] for title in rules(words)}
    for number, row in enumerate(rows):
        [document] = model.processor.segment([row["text"]])
        with torch.inference_mode():
            [answered] = answer_batch(model.model, [document], [HEAD])
        scores = answered.scores[HEAD].tolist()
        # Many ways select the same.
        known: dict[str, dict[str, float]] = {}
        for title, rule in rules(words).items():
            selected = rule.select(document, scores)
            text = summary_text(selected)
            if text not in known:
                known[text] = score_extract(selected, [row["summary"]])
            made = known[text]
            rest = len(selected), len(text.split()), repeated_share(text)
            own = (*(made[metric] for metric in METRICS), *rest, dangling(document, selected))
            found[title].append([round(value, 5) for value in own])
        print(f"\r{name} {number + 1}/{len(rows)}", end="", file=sys.stderr, flush=True)
    scored_by = "the quick start's model" if source else "LexRank over words"
    return {"words": words, "scores": scored_by, "figures": found}


def dangling(document: SegmentedDocument, selected: Sequence[Candidate]) -> float:
    """The part of sentences whose openings refer to one that is not there."""
    there = {one.sentence for one in selected}
    opens = [
        needs_the_one_before(document.text[one.start : one.end])
        and one.sentence > 0
        and one.sentence - 1 not in there
        for one in selected
    ]
    return sum(opens) / len(opens) if opens else 0.0


def table(name: str, found: dict) -> str:
    """In Markdown."""
    rows = found["figures"]
    lines = [
        f"**{name}**, {len(rows['greedy'])} validation documents, {found['words']} words, scores "
        f"of {found['scores']}",
        "",
        "| | ROUGE-1 | ROUGE-2 | ROUGE-Lsum | ROUGE-1 over greedy | sentences | words "
        "| repeated, % | openers, % |",
        "|---" * 9 + "|",
    ]
    plain = [one[0] for one in rows["greedy"]]
    for title, own in rows.items():
        means = [statistics.mean(column) for column in zip(*own, strict=True)]
        gain = ""
        if title != "greedy":
            values = paired_difference([one[0] for one in own], plain, _SEED)
            mean, low, high = (100 * value for value in values[:3])
            gain = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        rouge = " | ".join(f"{100 * value:.1f}" for value in means[:3])
        rest = " | ".join([f"{means[3]:.1f}", f"{means[4]:.0f}"])
        shares = " | ".join(f"{100 * value:.1f}" for value in means[5:])
        lines.append(f"| {title} | {rouge} | {gain} | {rest} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Score what is asked for, keep it, and print all tables there are."""
    parser = corpus_parser(__doc__, CORPORA, "selection")
    parser.add_argument("--model", help="folder of a trained model, else LexRank")
    options = corpus_options(parser)
    asked = {
        f"{name}, trained" if options.model else name: partial(
            figures, name, options.data, options.documents, options.model
        )
        for name in options.corpora
    }
    kept = keep_figures(options.output, asked)
    print("\n\n".join(table(name, found) for name, found in kept.items()))


if __name__ == "__main__":
    main()
