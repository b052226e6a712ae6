"""Whether the evidence of labels is what answers hang on, and what it costs.

    python benchmarks/evidence.py --data FOLDER --corpora movie-reviews

A model with a frozen encoder is trained on a corpus of common/corpora.py, or read from --models,
and asked about test documents: whole, without the strongest parts of a label's evidence
(comprehensiveness), and with these parts alone (sufficiency; DeYoung et al. 2020, *ERASER*, section
4), each read anew from its text. Beside it the same share of the text at random, and by the weights
of a TF-IDF model of its own. Time is that of documents of 20 segments, with evidence and without.
"""

import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.common.cells import ROOT
from benchmarks.common.corpora import CORPORA, Splits, documents
from benchmarks.common.figures import Finding, Spread
from benchmarks.common.machine import GemmProbe
from benchmarks.common.report import bench_parser, choose_sizes, finish, probed, table
from benchmarks.common.rounds import run_rounds, say
from hierbert import HierBert
from hierbert.model.answering import answer_batch
from hierbert.model.segmentation import SegmentedDocument
from hierbert.prediction.batches import segmented_batches

FULL = {"train": 600, "documents": 100, "rounds": 7, "most_tokens": 12_000}
QUICK = {"train": 200, "documents": 12, "rounds": 3, "most_tokens": 3_000}
SHARES = (0.1, 0.2)
SEGMENTS = 20
# Of a document of fewer, a tenth is less than one.
_FEWEST_SEGMENTS = 10
_ALL = 1_000_000
Span = tuple[int, int]
Scores = Mapping[Span, float]


def trained(name: str, splits: Splits, encoder: str, seed: int, folder: Path) -> HierBert:
    """A model of a corpus, by train.py; the one that is in the folder, if there is one."""
    if not (folder / "model" / "config.json").is_file():
        corpus = CORPORA[name]
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, str(ROOT / "train.py"), "--config"]
            command += [str(ROOT / "configs" / f"{corpus.config}.yaml"), *corpus.settings]
            command += [f"model.encoder={encoder}", "training.freeze_encoder=true", f"seed={seed}"]
            command += [f"run_dir={folder}", "show_sample=false", "baselines=false"]
            for split, rows in splits.items():
                path = Path(scratch) / f"{split}.jsonl"
                path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
                command.append(f"data.{split}={path}")
            subprocess.run(command, check=True)
    return HierBert.from_pretrained(folder / "model")


def words_of_tfidf(rows: Sequence[Mapping[str, Any]]) -> Callable[[str, str], Scores]:
    """What gives, of a text and a label, the contribution of each word by a model of its own.

    TF-IDF of words under a logistic regression of each label, fitted to these documents.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
    inputs = vectorizer.fit_transform(row["text"] for row in rows)
    labels = [row["label"] if isinstance(row["label"], list) else [row["label"]] for row in rows]
    fitted: dict[str, Any] = {}

    def weights(label: str) -> Any:
        if label not in fitted:
            true = [label in own for own in labels]
            fitted[label] = LogisticRegression(C=10.0, max_iter=1000).fit(inputs, true).coef_[0]
        return fitted[label]

    token = vectorizer.build_preprocessor(), vectorizer.token_pattern

    def of(text: str, label: str) -> Scores:
        found = [(m.span(), m.group()) for m in re.finditer(token[1], token[0](text))]
        counts = Counter(word for _, word in found)
        row = vectorizer.transform([text])
        values = dict(zip(row.indices.tolist(), row.data.tolist(), strict=True))
        known = vectorizer.vocabulary_
        own = weights(label)
        return {
            span: values[known[word]] * own[known[word]] / counts[word]
            for span, word in found
            if word in known
        }

    return of


def logits(model: HierBert, texts: Sequence[str]) -> Iterator[np.ndarray]:
    """What the model says of each text, read whole: its calibrated logits, float64 (C,)."""
    for batch in segmented_batches(model.processor, texts, model.batch_tokens):
        with torch.inference_mode():
            for one in answer_batch(model.model, batch, ["classification"]):
                yield one.scores["classification"].double().numpy()


class Asked:
    """A label of a document, and its parts: segments, or sentences of a document with few."""

    def __init__(self, model: HierBert, document: SegmentedDocument, found: dict[str, Any]) -> None:
        config = model.model.config
        self.several = config.problem_type == "multi_label_classification"
        self.label, self.number = found["label"], config.label2id[found["label"]]
        self.text = document.text
        whole = len(document.segment_spans) >= _FEWEST_SEGMENTS
        kind = "segments" if whole else "sentences"
        self.spans = document.segment_spans if whole else document.sentence_spans
        self.scores = {(one["start"], one["end"]): one["contribution"] for one in found[kind]}

    def chosen(self, scores: Scores, share: float) -> list[Span]:
        """The parts with the highest scores that make so much of the text, at least one."""
        taken: list[Span] = []
        room = share * sum(end - start for start, end in self.spans)
        for span in sorted(self.spans, key=lambda span: -scores.get(span, 0.0)):
            room -= span[1] - span[0]
            if taken and room < 0:
                break
            taken.append(span)
        return taken

    def texts(self, chosen: Sequence[Span]) -> tuple[str, str]:
        """The text without some parts, and these alone."""
        both = [[], []]
        for span in self.spans:
            both[span in chosen].append(self.text[slice(*span)])
        return " ".join(both[0]), " ".join(both[1])

    def explained(self, scores: np.ndarray) -> tuple[float, bool]:
        """The log odds of the label, and whether it is answered."""
        own = scores[self.number]
        if self.several:
            return float(own), bool(own >= 0)
        others = np.delete(scores, self.number)
        return float(own - np.logaddexp.reduce(others)), bool(own >= others.max())


def faithfulness(
    model: HierBert, texts: Sequence[str], tfidf: Callable[[str, str], Scores], seed: int
) -> dict[str, Any]:
    """By who chose and how much: figures of each document's likeliest label."""
    chance = random.Random(seed)
    asked = []
    rule = {"evidence": True, "evidence_count": _ALL}
    for document, answer in zip(
        model.processor.segment_each(texts), model.predict(texts, ("classify",), rule), strict=True
    ):
        asked += [Asked(model, document, found) for found in (answer.evidence or [])[:1]]
    read: list[str] = []
    for one in asked:
        words = tfidf(one.text, one.label)
        by_words = {
            (start, end): sum(v for (first, _), v in words.items() if start <= first < end)
            for start, end in one.spans
        }
        at_random = {span: chance.random() for span in one.spans}
        read.append(one.text)
        for scores in (one.scores, by_words, at_random):
            for share in SHARES:
                read += one.texts(one.chosen(scores, share))
    found = logits(model, read)
    figures: dict[str, Any] = {}
    for one in asked:
        before, _ = one.explained(next(found))
        for who in ("hierbert", "TF-IDF", "random"):
            for share in SHARES:
                (without, stays), (alone, enough) = (one.explained(next(found)) for _ in "12")
                row = [before - without, before - alone, float(not stays), float(enough)]
                figures.setdefault(f"{who}, {share:.0%}", []).append(row)
    return figures


def cost(model: HierBert, texts: Sequence[str], rounds: int) -> Any:
    """Rounds of answers about one document of 20 segments, with evidence and without."""
    text, size = "", 0
    for more in texts:
        if size < SEGMENTS:
            text += more + "\n"
            [document] = model.processor.segment([text])
            size = len(document.segment_spans)
    if size > SEGMENTS:
        text = text[: document.segment_spans[SEGMENTS - 1][1]]
    tasks = {
        "answer": lambda: model.classify(text),
        "with evidence": lambda: model.classify(text, evidence=True),
    }
    for task in tasks.values():
        task()
    config = model.model.config.encoder_config
    probe = GemmProbe(config.hidden_size, config.intermediate_size)
    return run_rounds(tasks, rounds, probe, "cost")


def main() -> None:
    """Measure what is asked for, and print the tables."""
    parser = bench_parser(__doc__, "evidence", FULL, QUICK)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--corpora", nargs="+", default=["movie-reviews"], choices=CORPORA)
    parser.add_argument("--models", type=Path, required=True, help="where models are, and go")
    options = parser.parse_args()
    sizes, full = choose_sizes(options, FULL, QUICK)
    lines: list[str] = []
    values: dict[str, Any] = {"corpora": {}}
    findings = []
    for name in options.corpora:
        splits = documents(name, options.data, options.seed)
        chance, known = random.Random(options.seed), splits["train"]
        splits["train"] = chance.sample(known, min(sizes["train"], len(known)))
        folder = options.models / name
        model = trained(name, splits, options.encoder, options.seed, folder)
        test = [row["text"] for row in splits["test"]]
        chance.shuffle(test)
        test = [one for one in test if len(one) < 4 * sizes["most_tokens"]][: sizes["documents"]]
        say(f"{name}: {len(test)} documents")
        figures = faithfulness(model, test, words_of_tfidf(splits["train"]), options.seed)
        rounds = cost(model, test * SEGMENTS, sizes["rounds"])
        pairs = zip(rounds.seconds("with evidence"), rounds.seconds("answer"), strict=True)
        more = [with_evidence / answer - 1 for with_evidence, answer in pairs]
        findings.append(Finding("evidence", more, rounds.probes(), name))
        means = {who: np.mean(rows, 0).tolist() for who, rows in figures.items()}
        for share in SHARES:
            at = f"{share:.0%}"
            gain = means[f"hierbert, {at}"][0] - 2 * means[f"random, {at}"][0]
            findings.append(Finding("faithfulness", [gain], (), f"{name}, {at} of the text"))
        values["corpora"][name] = {
            "weights": model.model.config.logit_weights,
            "documents": len(next(iter(figures.values()))),
            "figures": figures,
            "cost": rounds.record(),
        }
        rows = [
            [who, f"{a:.2f}", f"{b:.2f}", f"{100 * c:.0f} %", f"{100 * d:.0f} %"]
            for who, (a, b, c, d) in means.items()
        ]
        head = ["chosen by, share of the text", "comprehensiveness", "sufficiency"]
        head += ["label lost without", "label kept with these alone"]
        lines += [f"**{name}**, {values['corpora'][name]['documents']} test documents", ""]
        lines += [*table(head, rows), ""]
        spread = Spread.of(more)
        seconds = statistics.median(rounds.seconds("answer"))
        lines += [
            f"A document of {SEGMENTS} segments: {seconds:.2f} s, with evidence "
            f"{100 * spread.median:+.0f} %. {probed(rounds.probes())}",
            "",
        ]
    finish("evidence", "Evidence", full, lines, values, findings, options.output)


if __name__ == "__main__":
    main()
