"""What costs seconds: the commonest label, a bag of words, the first sentences, the oracle."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from hierbert.checking.check import Check, register_check
from hierbert.checking.corpus import CheckedCorpus, ReadDocument
from hierbert.checking.finding import Finding
from hierbert.data.repeated import text_digest
from hierbert.log import Progress
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.segmentation import Segmenter
from hierbert.model.summarization_head import SummaryRule
from hierbert.scoring.label_baselines import LABEL_BASELINES, LabelBaseline
from hierbert.scoring.labels import label_scores
from hierbert.scoring.metric import METRICS, shown_metrics
from hierbert.tasks.classification import Classification
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.summarization import Summarization, score_extract

# Texts of each role that are kept, so many characters at most.
_CHARACTERS = {"train": 8_000_000, "validation": 4_000_000}
_LABEL_BASELINES = ("majority", "tfidf_logistic")
_SUMMARY_BASELINES = ("Lead", "LexRank")
_MOST_SUMMARIES = 50
# Of fewer documents it is no wonder.
_TOO_GOOD, _FEWEST = 0.99, 50
_LOW_ORACLE = 0.3


@register_check
class Baselines(Check):
    """What a model has to beat, on validation documents, as far as it takes no encoder."""

    name, place, is_cheap = "baselines", 6, False

    @override
    def begin(self) -> None:
        self._kept = {role: _Sample(most) for role, most in _CHARACTERS.items()}
        self._table: dict[str, dict[str, dict[str, float]]] = {}
        self._documents: dict[str, int] = {}

    @override
    def add(self, document: ReadDocument) -> None:
        if document.role in self._kept:
            self._kept[document.role].add(document)

    @override
    def findings(self, corpus: CheckedCorpus) -> Iterable[Finding]:
        texts = {n: t for sample in self._kept.values() for n, t in sample.texts.items()}
        if left := sum(sample.left_out for sample in self._kept.values()):
            yield Finding(
                "note",
                "baselines_of_a_sample",
                f"baselines read {len(texts):,} documents; {left:,} more are left out",
                counts={"documents": left},
            )
        if "validation" not in corpus.splits:
            return
        for task in corpus.tasks:
            if isinstance(task, Classification):
                yield from self._labels(corpus, task, texts)
            elif isinstance(task, Summarization):
                yield from self._summaries(corpus, task, texts)

    def _labels(
        self, corpus: CheckedCorpus, task: Classification, texts: Mapping[int, str]
    ) -> Iterable[Finding]:
        known = {
            split: [pair for pair in corpus.targets(task, split) if pair[0] in texts]
            for split in ("train", "validation")
        }
        if not known["train"] or not known["validation"]:
            return
        labels, references = (_table(task, known[split]) for split in known)
        train, asked = ([texts[number] for number, _ in known[split]] for split in known)
        table: dict[str, dict[str, float]] = {}
        for baseline in LABEL_BASELINES:
            if (
                not isinstance(baseline, LabelBaseline)
                or baseline.name not in _LABEL_BASELINES
                or task.problem_type not in baseline.problem_types
            ):
                continue
            count, most = len(task.label_map.names), baseline.most_labels
            if most is not None and count > most:
                yield Finding(
                    "note",
                    f"no_{baseline.name}_baseline",
                    f"{baseline.title} is left out of the baselines: {count:,} labels, more than "
                    f"{most:,}, would take too long",
                    counts={"labels": count},
                )
                continue
            given = np.asarray(baseline.predict(train, labels, asked))
            table[baseline.title] = label_scores(task.problem_type, given, references)
        self._table[task.name], self._documents[task.name] = table, len(asked)
        best = max((own.get("accuracy", 0.0) for own in table.values()), default=0.0)
        if task.problem_type == "single_label" and best >= _TOO_GOOD and len(asked) >= _FEWEST:
            yield Finding(
                "warning",
                "words_give_labels_away",
                f"a bag of words is right of {100 * best:.1f} % of {len(asked):,} validation "
                "documents",
                "look whether the label stands in the text, in a header or a name",
                {"documents": len(asked)},
            )

    def _summaries(
        self, corpus: CheckedCorpus, task: Summarization, texts: Mapping[int, str]
    ) -> Iterable[Finding]:
        known = [pair for pair in corpus.targets(task, "validation") if pair[0] in texts]
        if not known or self.tokenizer is None:
            return
        known = known[:: -(-len(known) // _MOST_SUMMARIES)]
        rule = SummaryRule.from_config(HierBertConfig(**corpus.config.summary.model_fields))
        cut, scores = Segmenter(self.tokenizer), dict[str, list[dict[str, float]]]()
        with Progress(len(known), "baselines") as bar:
            for number, target in known:
                references = target if isinstance(target, list) else [target]
                (segmented,) = cut([texts[number]])
                document = PreparedDocument(corpus.examples[number].id, segmented)
                extracts = task.baseline_extracts(
                    document, references, rule, corpus.config.seed, {}, _SUMMARY_BASELINES
                )
                for name, extract in extracts.items():
                    scores.setdefault(name, []).append(score_extract(extract, references))
                bar.advance()
        self._table[task.name] = {
            name: {metric: float(np.mean([one[metric] for one in own])) for metric in own[0]}
            for name, own in scores.items()
        }
        self._documents[task.name] = len(known)
        oracle = self._table[task.name]["Oracle"]["rouge1"]
        if oracle < _LOW_ORACLE:
            yield Finding(
                "warning",
                "low_oracle",
                f"the best sentences that a greedy search finds have a ROUGE-1 of "
                f"{100 * oracle:.1f} with the references: no extract has much more",
                "raise summary.max_words to the references' length, or see whether they are about "
                "these texts",
                {"documents": len(known)},
            )

    @override
    def facts(self, corpus: CheckedCorpus) -> dict[str, Any]:
        return {
            task: {"validation_documents": self._documents[task], "systems": table}
            for task, table in self._table.items()
        }

    @override
    def table(self, facts: dict[str, Any]) -> list[list[str]]:
        rows: list[list[str]] = []
        for own in facts.values():
            systems = own["systems"]
            shown = [m for m in shown_metrics(next(iter(systems.values()), {})) if m.headline]
            titles = [f"Baselines, {own['validation_documents']:,} validation documents"]
            part = [titles + [metric.title for metric in shown]]
            for name, scores in systems.items():
                cells = [METRICS[m.name].shown(scores[m.name]) for m in shown]
                part.append([name, *cells])
            width = max(map(len, [*rows, *part]))
            rows = [row + [""] * (width - len(row)) for row in (*rows, *part)]
        return rows


class _Sample:
    """Texts of documents up to a number of characters, whatever their order."""

    def __init__(self, most: int) -> None:
        self._most, self._held, self._below = most, 0, 1 << 32
        self._keys: dict[int, int] = {}
        self.texts: dict[int, str] = {}
        self.left_out = 0

    def add(self, document: ReadDocument) -> None:
        key = int.from_bytes(text_digest(document.example)[:4], "big")
        if key >= self._below or len(document.text) > self._most:
            self.left_out += 1
            return
        self._keys[document.number], self.texts[document.number] = key, document.text
        self._held += len(document.text)
        while self._held > self._most:
            # What is kept is a share of all documents, those before and those to come.
            self._below //= 2
            for number in [n for n, key in self._keys.items() if key >= self._below]:
                self._held -= len(self.texts.pop(number))
                del self._keys[number]
                self.left_out += 1


def _table(task: Classification, known: Sequence[tuple[int, Any]]) -> np.ndarray:
    return task.references([target for _, target in known])
