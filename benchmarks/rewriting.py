"""Extracts against the same rewritten as prose by a small model, on ECTSum and ACLSum.

    python benchmarks/rewriting.py --rewrite MODEL --data FOLDER --corpora ectsum aclsum

Of each corpus a draw of test documents, the same for every model. The extract is that of the
summarizer without training, or with --model of one that was trained, at the mean length of the
corpus's references; the rewriter, a folder, a GGUF file or a Hub id, gets it and stays within the
same budget. ROUGE F1 is against the
reference. Of the sentences that the rewriter wrote, "flagged" says a number, a name or a negation
that the extract does not; of the sentences of the result, "the extract's own" stand where one
fell back. Seconds are those of rewriting. Intervals are of a paired bootstrap over documents.
"""

import argparse
import gzip
import json
import random
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common.report import RESULTS, keep_figures
from hierbert import HierBert, Rewriter
from hierbert.loading.generators import Generator, Written
from hierbert.model.sentences import split_sentences
from hierbert.prediction.grounding import Said, grounds
from hierbert.prediction.rewriting import Rewriting
from hierbert.scoring.intervals import paired_difference
from hierbert.scoring.rouge import summary_scores

WORDS = {"ectsum": 35, "aclsum": 67}
"""Of each corpus the words of a summary."""
METRICS = ("rouge1", "rouge2", "rougeL")
_FACTS = ("number", "name", "negation")
_SEED = 0


@dataclass(frozen=True)
class Recorder(Generator):
    """A model that writes, and what it wrote."""

    texts: list[str] = field(default_factory=list)

    def write(self, tokens: list[int], most_tokens: int) -> Written:
        """As the model does."""
        written = super().write(tokens, most_tokens)
        self.texts.append(written.text)
        return written


def figures(
    name: str, split: str, data: Path, source: str | None, rewriter: Rewriter, count: int
) -> dict:
    """Of each document the ROUGE of both, their words, what was flagged, and seconds."""
    with gzip.open(data / name / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = random.Random(_SEED).sample(list(map(json.loads, lines)), count)
    if source is None:
        model = HierBert.summarizer(device="cpu")
    else:
        model = HierBert.from_pretrained(source, device="cpu")
    loaded = rewriter.load("cpu")
    generator = Recorder(loaded.model, loaded.tokenizer, loaded.window)
    rewriting = Rewriting(generator, rewriter.instruction, model.processor.tokenizer)
    rule = model.summary_rule({"max_words": WORDS[name]})
    found = []
    for number, row in enumerate(rows):
        [document] = model.processor.segment([row["text"]])
        [answer] = model.predict([row["text"]], ("summarize",), rule)
        generator.texts.clear()
        began = time.perf_counter()
        made = rewriting.fields(answer.sentences, document, rule)
        seconds = time.perf_counter() - began
        extract = [Said(text) for text in answer.summary.split("\n")]
        drafts = [
            Said(text[start:end])
            for text in generator.texts
            for start, end in split_sentences(text)
        ]
        flagged = [
            any(flag.startswith(_FACTS) for flag in grounds(draft, extract).flags)
            for draft in drafts
        ]
        texts = {"extract": answer.summary, "rewritten": made["rewritten"]}
        scores = summary_scores(list(texts.values()), [row["summary"]] * len(texts))
        sentences = made["rewritten_sentences"]
        found.append(
            {
                "rouge": {
                    system: [float(scores[metric][place]) for metric in METRICS]
                    for place, system in enumerate(texts)
                },
                "words": {system: len(text.split()) for system, text in texts.items()},
                "written": len(drafts),
                "flagged": sum(flagged),
                "sentences": len(sentences),
                "fell_back": sum(one.fell_back for one in sentences),
                "seconds": seconds,
            }
        )
        print(f"\r{name} {number + 1}/{count}", end="", file=sys.stderr, flush=True)
    return {"words": WORDS[name], "split": split, "documents": found}


def table(key: str, found: dict) -> str:
    """In Markdown."""
    documents = found["documents"]
    count = len(documents)
    lines = [
        f"**{key}**, {count} {found['split']} documents, at most {found['words']} words",
        "",
        "| | ROUGE-1 | ROUGE-2 | ROUGE-L | words |",
        "|---" * 5 + "|",
    ]
    columns = {
        system: list(zip(*(one["rouge"][system] for one in documents), strict=True))
        for system in ("extract", "rewritten")
    }
    for system, scores in columns.items():
        cells = [f"{100 * sum(column) / count:.1f}" for column in scores]
        words = sum(one["words"][system] for one in documents) / count
        lines.append(f"| {system} | {' | '.join(cells)} | {words:.0f} |")
    cells = []
    for pair in zip(columns["rewritten"], columns["extract"], strict=True):
        mean, low, high, *_ = (100 * x for x in paired_difference(*map(list, pair), _SEED))
        cells.append(f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]")
    lines.append(f"| rewritten over extract | {' | '.join(cells)} | |")
    total = {
        name: sum(one[name] for one in documents)
        for name in ("written", "flagged", "sentences", "fell_back", "seconds")
    }
    lines += [
        "",
        f"Of {total['written']} written sentences {total['flagged']} flagged "
        f"({100 * total['flagged'] / max(1, total['written']):.0f} %); of {total['sentences']} "
        f"sentences {total['fell_back']} the extract's own "
        f"({100 * total['fell_back'] / max(1, total['sentences']):.0f} %); "
        f"{total['seconds'] / count:.1f} seconds a document",
    ]
    return "\n".join(lines)


def main() -> None:
    """Score what is asked for, keep it, and print all tables there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the corpora")
    parser.add_argument("--corpora", nargs="*", choices=WORDS, default=[], metavar="NAME")
    parser.add_argument("--split", choices=("test", "validation", "train"), default="test")
    parser.add_argument("--documents", type=int, default=30, help="how many are drawn")
    parser.add_argument("--model", help="folder of a trained model that summarizes")
    parser.add_argument("--rewrite", metavar="MODEL", help="folder, GGUF file or Hub id")
    parser.add_argument("--instruction", help="what the model is asked for")
    parser.add_argument("--title", default="", help="of the rewriter, in tables")
    parser.add_argument("--output", type=Path, default=RESULTS / "rewriting.json")
    options = parser.parse_args()
    if options.corpora and (options.data is None or options.rewrite is None):
        parser.error("--corpora needs --data and --rewrite")
    asked = {}
    for name in options.corpora:
        rewriter = Rewriter(options.rewrite, options.instruction)
        key = ", ".join(filter(None, [name, options.title]))
        asked[key] = partial(
            figures, name, options.split, options.data, options.model, rewriter, options.documents
        )
    kept = keep_figures(options.output, asked)
    print("\n\n".join(table(key, found) for key, found in kept.items()))


if __name__ == "__main__":
    main()
