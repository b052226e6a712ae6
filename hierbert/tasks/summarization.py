"""Summaries made of a document's own sentences."""

import contextlib
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, chain, compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from hierbert.config import RunConfig
from hierbert.data.document import Example
from hierbert.errors import DataError
from hierbert.files import is_in_the_way, read_checked_json, write_checked_json
from hierbert.log import Progress, log
from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.model.heads import Answered
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.model.processing_hierbert import HierBertProcessor
from hierbert.model.segmentation import SegmentedDocument
from hierbert.model.selection_options import OPTIONS
from hierbert.model.sentence_query import QUERY, QueryWords
from hierbert.model.summarization_head import (
    Candidate,
    Candidates,
    SummarizationHead,
    SummaryRule,
    summary_text,
)
from hierbert.scoring.intervals import mean_interval, paired_difference
from hierbert.scoring.metric import METRICS, metrics_of
from hierbert.scoring.repetition import RUN_WORDS, copied_share
from hierbert.scoring.rouge import summary_scores
from hierbert.scoring.sentence_models import LabelledSentences, draw_documents
from hierbert.scoring.summary_baselines import (
    SUMMARY_BASELINES,
    LearntBaseline,
    RedundantBaseline,
    learnt_scores,
)
from hierbert.scoring.tables import gain_line, grid
from hierbert.tasks.evidence_places import evidence_places
from hierbert.tasks.label_cells import list_in
from hierbert.tasks.oracle import (
    bagged_labels,
    graded_labels,
    oracle_labels,
    oracle_sentences,
)
from hierbert.tasks.prepared import PreparedDocument
from hierbert.tasks.selection_tuning import tune_selection
from hierbert.tasks.sentence_query import fit_queries
from hierbert.tasks.sentence_stack import Labelled, fit_sentence_stack, sentence_vectors
from hierbert.tasks.summary_examples import summary_examples
from hierbert.tasks.summary_picks import MODEL, ORACLE, picks_rows, picks_table, summary_picks
from hierbert.tasks.task import Completed, Scored, Task, register_task

if TYPE_CHECKING:
    from hierbert.tasks.evaluation import VectorSource

SPANS = "spans"
"""The field of what people have marked of a text as what belongs into its summary."""
# Changes when the rules do, so that older cached labels are not used.
_LABELS_VERSION = 2
# Of a reference, runs of words that stand in the text: above that it leaks.
_LEAST_COPIED = 0.3
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SummaryTarget:
    """The target of a document with a reference summary.

    Attributes:
        summary: The reference, or a list of alternatives.
        sentence_labels: How much each sentence belongs into the summary, N numbers from 0 to 1:
            the mean over the references, or what people have marked of it.
        marked: Whether people have.
    """

    summary: str | list[str]
    sentence_labels: list[float]
    marked: bool = False

    @property
    def references(self) -> list[str]:
        """The reference, or the alternatives."""
        return _as_list(self.summary)


@dataclass(frozen=True)
class Extract:
    """A model's summary of a document.

    Attributes:
        selected: What it is made of, in its order; nothing where a score is not finite.
        scores: Of the summary by metric, nan where a score is not finite; None without a
            reference.
        sentence_scores: What the model says of each sentence, float32 (N,).
    """

    selected: list[Candidate]
    scores: dict[str, float] | None
    sentence_scores: npt.NDArray[np.float32]


@register_task
class Summarization(Task):
    """Extracts of documents.

    Args:
        sentence_labels: How sentences are labelled by the reference: "graded" or "oracle".
        words: Whether what is fitted beside the layers reads words.
        seed: Of what is fitted.
        tunes: Whether options of the selection are chosen on validation documents.
    """

    name = "summarization"
    field = problem_type = "summary"
    optional_fields = (SPANS, QUERY)
    auto_metric = "rouge1"

    def __init__(
        self,
        sentence_labels: str = "graded",
        words: bool = False,
        seed: int = 0,
        tunes: bool = False,
    ) -> None:
        self.sentence_labels, self.words, self.seed = sentence_labels, words, seed
        self._tunes = tunes

    @classmethod
    @override
    def learn(cls, config: RunConfig, train: Sequence[Example]) -> "Summarization":
        if not any(example.fields["summary"] for example in train):
            raise DataError(
                f"data.train: column {config.data.summary_column!r} holds no summary in any of "
                f"{len(train):,} documents, from {train[0].location} on"
            )
        labels, words = config.training.sentence_labels, config.model.words
        return cls(labels, words, config.seed, config.summary.tune)

    @classmethod
    @override
    def of_model(cls, config: HierBertConfig) -> "Summarization":
        return cls()

    @override
    def model_settings(self, config: RunConfig, train: Sequence[Example]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if QUERY in config.data.fields:
            own["features"] = {QueryWords.name: {}}
        return own | {
            "summarization_loss_weight": config.training.summarization_loss_weight,
            "listwise_loss_weight": config.training.listwise_loss_weight,
            "sentence_weights": None,
            "sentence_stack": None,
            "sentence_queries": None,
            "summary_scores": "learnt",
            **config.summary.model_fields,
        }

    @override
    def continued(self, config: HierBertConfig) -> dict[str, Any] | None:
        # What was computed without training has no weights that could go on.
        return {} if config.summary_scores == "learnt" else None

    @override
    def encode(self, example: Example) -> Any:
        """A document's reference, several, or None; a cell of text may spell them as a list."""
        found = example.fields["summary"]
        items = list_in(found) if isinstance(found, str) else None
        if items and all(isinstance(item, str) and item.strip() for item in items):
            return items
        return found

    @override
    def check(self, splits: Mapping[str, Sequence[Example]], config: HierBertConfig) -> None:
        SummaryRule.from_config(config)  # refuses a limit that cannot be

    @override
    def note(self, examples: Sequence[Example]) -> str | None:
        several = sum(isinstance(self.encode(example), list) for example in examples)
        best = f"{several:,} with several references (the best one counts)" if several else None
        return ", ".join(filter(None, [super().note(examples), best])) or None

    @override
    def prepare(
        self,
        examples: Sequence[Example],
        segmented: Sequence[SegmentedDocument],
        cache: Path | None,
        description: str,
    ) -> list[SummaryTarget | None]:
        """Label the sentences of every document with a summary, or find labels in the cache."""
        kind = self.sentence_labels
        digest = hashlib.sha256(f"{kind} {_LABELS_VERSION}".encode())
        for document, example in zip(segmented, examples, strict=True):
            spans = example.fields.get(SPANS)
            known = self.encode(example) if spans is None else (self.encode(example), spans)
            parts = (document.text, repr(document.sentence_spans), repr(known))
            digest.update("\0".join(parts).encode("utf-8", "surrogatepass"))
        path = cache / f"sentence-labels-{digest.hexdigest()[:32]}.json" if cache else None
        labels: list[list[float] | None] = []
        # What others have put there is passed over.
        if path is not None and is_in_the_way(path):
            path = None
        if path is not None:
            with contextlib.suppress(OSError):
                try:
                    labels = read_checked_json(path)
                except ValueError as error:
                    log.warning(f"{path} is damaged ({error}): sentences are labelled anew")
        if not labels:
            with Progress(len(segmented), f"labelling sentences, {description}") as bar:
                for document, example in zip(segmented, examples, strict=True):
                    references = _as_list(self.encode(example))
                    own = None
                    if example.fields.get(SPANS) is not None:
                        own = _marked(document, example)
                    if own is None or not references:
                        own = _sentence_labels(document, references, kind)
                    labels.append(own)
                    bar.advance()
            if path is not None:
                # A cache that cannot be written costs time in the next run, and nothing else.
                with contextlib.suppress(OSError):
                    write_checked_json(path, labels)
        return [
            None
            if own is None
            else SummaryTarget(self.encode(example), own, example.fields.get(SPANS) is not None)
            for example, own in zip(examples, labels, strict=True)
        ]

    @override
    def plain(self, target: SummaryTarget | None) -> Any:
        if target is None:
            return None
        return [target.summary, target.sentence_labels] if target.marked else target.summary

    @override
    def counts(self, target: SummaryTarget | None, document: SegmentedDocument) -> bool:
        return target is not None and bool(document.sentence_spans)

    @override
    def collate(
        self, targets: Sequence[SummaryTarget | None], documents: Sequence[SegmentedDocument]
    ) -> Tensor:
        """How much each sentence belongs into the summary, float32 (N,); nan where unknown."""
        labels: list[float] = []
        for target, document in zip(targets, documents, strict=True):
            known = None if target is None else target.sentence_labels
            labels += known or [torch.nan] * len(document.sentence_spans)
        return torch.tensor(labels, dtype=torch.float32)

    @override
    def keep(
        self, answered: Answered, document: PreparedDocument, config: HierBertConfig
    ) -> Extract:
        target = document.targets[self.name]
        selected: list[Candidate] = []
        finite, own = answered.finite[self.name], answered.scores[self.name].numpy()
        if finite:
            selected = SummaryRule.from_config(config).select(document.segmented, own.tolist())
        if target is None:
            return Extract(selected, None, own)
        if not finite:
            return Extract([], dict.fromkeys(self.metrics(), math.nan), own)
        return Extract(selected, score_extract(selected, target.references), own)

    @override
    def score(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, float]:
        scores = [extract.scores for extract in kept if extract.scores is not None]
        if not scores:
            return {}
        return {name: float(np.mean([one[name] for one in scores])) for name in self.metrics()}

    @override
    def intervals(
        self,
        documents: Sequence[PreparedDocument],
        kept: Sequence[Any],
        config: HierBertConfig,
        seed: int,
    ) -> dict[str, dict[str, float]]:
        scores = [extract.scores for extract in kept if extract.scores is not None]
        ends = {}
        for name in self.metrics() if scores else ():
            _, low, high = mean_interval([one[name] for one in scores], seed)
            ends[name] = {"low": low, "high": high}
        return ends

    @property
    @override
    def calibrates(self) -> bool:
        return True

    @override
    def complete(
        self,
        model: HierBertForDocuments,
        splits: Mapping[str, Sequence[PreparedDocument]],
        kept: Sequence[Any],
        vectors: "VectorSource | None",
        processor: HierBertProcessor,
    ) -> Completed | None:
        """Words, form and place, and vectors beside the layers, and what a question adds.

        See `sentence_stack` and `sentence_query`.
        """
        rule = SummaryRule.from_config(model.config)
        known = [place for place, one in enumerate(splits["validation"]) if self._is_known(one)]
        head = model.heads[self.name]
        assert isinstance(head, SummarizationHead)
        layers = [kept[place].sentence_scores.astype(np.float64) for place in known]
        train = self._labelled([one for one in splits["train"] if self._is_known(one)], rule)
        validation = self._labelled([splits["validation"][place] for place in known], rule)
        found = fit_sentence_stack(
            head,
            train,
            validation,
            np.concatenate([np.zeros(0), *layers]),
            words=self.words,
            vectors=vectors,
            seed=self.seed,
        )
        if QueryWords.name not in model.features:
            return found
        asked_train, asked_validation = map(_asked, (train, validation))
        return fit_queries(model, found, asked_train, asked_validation, vectors) or found

    @property
    @override
    def tunes(self) -> bool:
        return self._tunes

    @override
    def tune(
        self, documents: Sequence[PreparedDocument], kept: Sequence[Any], config: HierBertConfig
    ) -> dict[str, Any]:
        known = [
            (document, extract.sentence_scores.tolist())
            for document, extract in zip(documents, kept, strict=True)
            if self._is_known(document)
        ]
        if not known:
            return {"config": {}, "results": {}, "line": "no validation document has a reference"}

        def score(rule: SummaryRule) -> list[float]:
            return [
                -self._loss(
                    rule,
                    rule.candidates(document.segmented),
                    document.targets[self.name],
                    np.array(scores),
                )
                for document, scores in known
            ]

        before = SummaryRule.from_config(config)
        rule, tried = tune_selection(before, score, self.seed)
        changed = {
            name: getattr(rule, name)
            for name in OPTIONS
            if getattr(rule, name) != getattr(before, name)
        }
        taken = ", ".join(f"{name} = {value}" for name, value in changed.items())
        return {
            "config": {f"summary_{name}": value for name, value in changed.items()},
            "results": {"selection_tuning": tried},
            "line": f"selection: {taken or 'as it is set'}, of {len(tried)} others on "
            f"{len(known):,} validation documents",
        }

    def _is_known(self, document: PreparedDocument) -> bool:
        return self.counts(document.targets[self.name], document.segmented)

    def _labelled(self, documents: Sequence[PreparedDocument], rule: SummaryRule) -> Labelled:
        """Sentences with labels that also know the budget: half their own, half bagged.

        What people have marked stays as it is.
        """
        labels, selectable = [np.zeros(0)], [np.zeros(0, dtype=bool)]
        losses = []
        for document in documents:
            candidates, target = rule.candidates(document.segmented), document.targets[self.name]
            own = np.array(target.sentence_labels)
            labels.append(own if target.marked else (own + _bagged(candidates, target)) / 2)
            may = np.zeros(len(target.sentence_labels), dtype=bool)
            np.logical_or.at(may, candidates.sentences, candidates.selectable)
            selectable.append(may)
            losses.append(partial(self._loss, rule, candidates, target))
        return Labelled(
            [one.segmented for one in documents],
            np.concatenate(labels),
            np.concatenate(selectable),
            losses,
        )

    def _loss(
        self, rule: SummaryRule, candidates: Candidates, target: SummaryTarget, scores: _Floats
    ) -> float:
        """The metric, its sign changed, of a summary by scores of a document's sentences."""
        selected = rule.select_from(candidates, scores.tolist())
        return -score_extract(selected, target.references)[self.auto_metric]

    @override
    def learning_baselines(self) -> list[str]:
        return [
            name
            for name, one in SUMMARY_BASELINES.items()
            if isinstance(one, LearntBaseline) and not one.reads_vectors
        ]

    @override
    def report(self, scored: Scored) -> dict[str, Any]:
        """The baselines and the oracle at the model's budget, and what the model gains."""
        referenced = [
            (document, extract)
            for document, extract in zip(scored.documents, scored.kept, strict=True)
            if extract.scores is not None
        ]
        if not referenced:
            return {}
        rule = SummaryRule.from_config(scored.config)
        documents = [document for document, _ in referenced]
        references = [document.targets[self.name].references for document in documents]
        extracts: dict[str, list[list[Candidate]]] = {}
        if scored.baselines:
            extracts = self._baselines(documents, rule, scored)
        # The upper bound comes last.
        oracle = {ORACLE: extracts.pop(ORACLE)} if ORACLE in extracts else {}
        extracts |= {MODEL: [extract.selected for _, extract in referenced]} | oracle
        # By system, metric and document: against the best reference, and the mean of all.
        best, mean = _scores_of(extracts, references)
        named = partial(_intervals, seed=scored.seed)
        leaks = [
            max(copied_share(one, document.segmented.text) for one in own) > _LEAST_COPIED
            for document, own in zip(documents, references, strict=True)
        ]
        several = [len(own) for own in references]
        limit = scored.config.summary_limit
        own = best[MODEL]["rouge1"]
        sentences = [len(document.segmented.sentence_spans) for document in documents]
        lies = evidence_places(
            [
                [one.sentence / count for one in selected]
                for selected, count in zip(extracts.get(ORACLE, []), sentences, strict=False)
            ],
            own if ORACLE in extracts else [],
            "rouge1",
            "Documents by the third that most of the oracle's sentences are from.",
            scored.seed,
        )
        return {
            "budget": {
                "name": scored.config.summary_budget,
                "limit": int(limit) if limit == int(limit) else limit,
            },
            "summaries": {
                "systems": named(best),
                "gain": {
                    name: _named(paired_difference(own, row["rouge1"], scored.seed))
                    for name, row in best.items()
                    if name != MODEL
                },
                # A reference that stands in the text itself makes extraction look easy.
                "leaks": {
                    "documents": sum(leaks),
                    "run_words": RUN_WORDS,
                    "above_share": _LEAST_COPIED,
                    "with": named(best, leaks),
                    "without": named(best, [not one for one in leaks]),
                }
                if any(leaks)
                else {"documents": 0},
                **(
                    {"references": {"most": max(several), "mean": named(mean)}}
                    if max(several) > 1
                    else {}
                ),
            },
            "picks": summary_picks(
                {name: extracts[name] for name in (MODEL, ORACLE) if name in extracts},
                sentences,
                references,
            ),
            **({"evidence_places": lies} if lies else {}),
            "by_document": {name: row[self.auto_metric] for name, row in best.items()},
            "examples": {
                "summaries": summary_examples(
                    documents,
                    [summary_text(extract.selected) for _, extract in referenced],
                    references,
                    [extract.scores or {} for _, extract in referenced],
                    self.auto_metric,
                )
            },
        }

    def _baselines(
        self, documents: Sequence[PreparedDocument], rule: SummaryRule, scored: Scored
    ) -> dict[str, list[list[Candidate]]]:
        """For each system what it selects of each document, all with a reference."""
        source = scored.vectors
        train = [one for one in scored.train if self._is_known(one)]
        labels = [one.targets[self.name].sentence_labels for one in train]
        chosen = draw_documents(np.array([len(own) for own in labels], dtype=np.int64))
        learnt = learnt_scores(
            LabelledSentences(
                [train[place].segmented for place in chosen],
                np.concatenate([np.zeros(0), *(labels[place] for place in chosen)]),
            ),
            [one.segmented for one in documents],
            None if source is None else lambda asked: sentence_vectors(source, asked).numpy(),
        )
        found: dict[str, list[list[Candidate]]] = {}
        with Progress(len(documents), "baselines") as bar:
            for number, document in enumerate(documents):
                references = document.targets[self.name].references
                own = {name: each[number].tolist() for name, each in learnt.items()}
                extracts = self.baseline_extracts(document, references, rule, scored.seed, own)
                for name, selected in extracts.items():
                    found.setdefault(name, []).append(selected)
                bar.advance()
        return found

    def baseline_extracts(
        self,
        document: PreparedDocument,
        references: Sequence[str],
        rule: SummaryRule,
        seed: int,
        learnt: Mapping[str, Sequence[float]],
        names: Collection[str] = SUMMARY_BASELINES.keys(),
    ) -> dict[str, list[Candidate]]:
        """What these baselines and the oracle select, of the same candidates as the model."""
        segmented = document.segmented
        candidates, sentences = rule.candidates(segmented), segmented.sentences
        extracts = {}
        for name, baseline in SUMMARY_BASELINES.items():
            if name not in names:
                continue
            # Redundancy is each system's own.
            own = replace(rule, redundancy=getattr(baseline, "redundancy", 0.0))
            if isinstance(baseline, LearntBaseline):
                if name not in learnt:
                    continue
                scores = learnt[name]
            else:
                score = baseline.score if isinstance(baseline, RedundantBaseline) else baseline
                scores = score(sentences, document.id, seed)
            extracts[name] = own.select_from(candidates, scores)
        best: list[list[Candidate]] = []
        for reference in references:
            found = oracle_sentences(
                candidates.texts,
                reference,
                costs=candidates.costs,
                limit=candidates.limit,
                selectable=candidates.selectable,
            )
            best.append([candidates[index] for index in sorted(found)])
        auto = self.auto_metric
        extracts[ORACLE] = max(best, key=lambda one: score_extract(one, references)[auto])
        return extracts

    @override
    def card(self, config: HierBertConfig, results: dict[str, Any]) -> dict[str, Any]:
        has_figures = bool(results["summaries"] and results["budget"])
        return super().card(config, results) | {
            "cautions": [*self._cautions(results)] if has_figures else [],
            "picks": picks_rows(results.get("picks")),
            "template": "summarization.md.jinja",
            "hub_task": "summarization",
            "tags": ["document-summarization", "extractive-summarization"],
            "has_figures": has_figures,
            "is_ratio": config.summary_budget == "ratio",
            "takes_a_question": SummarizationHead.reads_queries(config),
            "unit": config.summary_budget.removeprefix("max_"),
        }

    @override
    def tables(self, results: dict[str, Any]) -> Iterable[str]:
        if "summaries" not in results:
            return
        budget, summaries = results["budget"], results["summaries"]
        shown = [metric for metric in metrics_of("summary") if metric.headline]
        rows = [["", *(metric.title for metric in shown)]]
        for name, row in summaries["systems"].items():
            rows.append([name, *(metric.shown(row[metric.name]["mean"]) for metric in shown)])
        title = (
            f"Summaries of the {results['documents']:,} {results['split']} documents, "
            f"{budget['name']} = {budget['limit']:g} (F1 x 100)"
        )
        yield grid(rows, title, [*self._gains(results), *self._cautions(results)])
        yield from picks_table(results.get("picks"))

    def _gains(self, results: dict[str, Any]) -> Iterable[str]:
        """Of each metric what training gained over the best baseline, in a line."""
        summaries = results["summaries"]
        metric = METRICS["rouge1"]
        means = {
            name: summaries["systems"][name][metric.name]["mean"] for name in summaries["gain"]
        }
        means.pop(ORACLE, None)
        if means:
            best = max(means, key=means.__getitem__)
            yield gain_line(metric, best, summaries["gain"][best], results["split"])

    def _cautions(self, results: dict[str, Any]) -> Iterable[str]:
        """What the figures rest on: references that the texts hold, and several references."""
        summaries = results["summaries"]
        leaks, several = summaries.get("leaks", {}), summaries.get("references")
        shown = METRICS["rouge1"].shown
        if count := leaks.get("documents"):
            without = leaks["without"].get(MODEL)
            rest = f": {shown(without['rouge1']['mean'])} ROUGE-1 without them" if without else ""
            yield f"{count:,} of {results['documents']:,} texts hold much of their reference{rest}"
        if several:
            mean = shown(several["mean"][MODEL]["rouge1"]["mean"])
            yield (
                f"the best of up to {several['most']} references counts: {mean} ROUGE-1 in the mean"
            )

    @override
    def sample(self, document: PreparedDocument, kept: Any, config: HierBertConfig) -> list[str]:
        selected, sentences = kept.selected, len(document.segmented.sentence_spans)
        lines = [f"  summary ({len(selected)} of {sentences} sentences):"]
        for one, text in zip(selected, summary_text(selected).splitlines(), strict=True):
            lines.append(f"    [{one.start}:{one.end}] {text}")
        return lines


def score_extract(selected: Sequence[Candidate], references: Sequence[str]) -> dict[str, float]:
    """Every metric of summaries, such as ROUGE F1 from 0 to 1: against the best reference."""
    return _best(summary_scores([summary_text(selected)] * len(references), references))


def _best(scores: Mapping[str, _Floats]) -> dict[str, float]:
    best = {
        metric.name: max if metric.better == "higher" else min for metric in metrics_of("summary")
    }
    return {name: float(best[name](values)) for name, values in scores.items()}


_Rows = dict[str, dict[str, list[float]]]


def _scores_of(
    extracts: Mapping[str, Sequence[Sequence[Candidate]]], references: Sequence[Sequence[str]]
) -> tuple[_Rows, _Rows]:
    """By system and metric the score of each document: of its best reference, and their mean."""
    best: _Rows = {}
    mean: _Rows = {}
    for name, each in extracts.items():
        for selected, own in zip(each, references, strict=True):
            scores = summary_scores([summary_text(selected)] * len(own), own)
            for rows, found in (
                (best, _best(scores)),
                (mean, {kind: float(values.mean()) for kind, values in scores.items()}),
            ):
                for kind, value in found.items():
                    rows.setdefault(name, {}).setdefault(kind, []).append(value)
    return best, mean


def _intervals(
    rows: _Rows, which: Sequence[bool] | None = None, *, seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """By system and metric the mean over these documents, with its interval; nothing of none."""
    if which is not None and not any(which):
        return {}
    return {
        name: {
            kind: _named(mean_interval([*compress(values, which)] if which else values, seed))
            for kind, values in row.items()
        }
        for name, row in rows.items()
    }


def _asked(labelled: Labelled) -> Labelled:
    """Those about which something is asked."""
    asked = [place for place, one in enumerate(labelled.documents) if one.query is not None]
    return labelled.drawn(np.array(asked, dtype=np.int64))


def _as_list(summary: str | list[str] | None) -> list[str]:
    if summary is None:
        return []
    return summary if isinstance(summary, list) else [summary]


def _sentence_labels(
    document: SegmentedDocument, references: Sequence[str], kind: str
) -> list[float] | None:
    """The mean over the references, for each sentence; None without any."""
    if not references:
        return None
    sentences = document.sentences
    labels = []
    for reference in references:
        selected = oracle_sentences(sentences, reference)
        if kind == "oracle":
            labels.append(oracle_labels(len(sentences), selected))
        else:
            labels.append(graded_labels(sentences, reference, selected))
    return [sum(values) / len(references) for values in zip(*labels, strict=True)]


def _marked(document: SegmentedDocument, example: Example) -> list[float]:
    """Of each sentence the part that people have marked; a DataError where that is no part of it.

    Spans are of characters, or of sentences where these are given.
    """
    ends: Sequence[int] = range(1, len(document.text) + 1)
    unit = "characters"
    if document.given_sentences:
        given = [[item] if isinstance(item, str) else item for item in example.text]
        unit, ends = "sentences", [*accumulate(len(part) + 1 for part in chain(*given))]
    marks = np.zeros(len(document.text) + 1, dtype=np.int64)
    for start, end in example.fields[SPANS]:
        if end > len(ends):
            raise DataError(
                f"has the span [{start}, {end}], which ends behind the text's {len(ends):,} {unit}",
                place=example.location,
                setting=f"data.columns.{SPANS}",
            )
        marks[(ends[start - 1] if start else 0) : ends[end - 1]] = 1
    before = np.concatenate([[0], marks.cumsum()])
    spans = document.sentence_spans
    return [float(before[end] - before[start]) / max(1, end - start) for start, end in spans]


def _bagged(candidates: Candidates, target: SummaryTarget) -> _Floats:
    """The mean over the references of `bagged_labels`, of each sentence."""
    found = np.zeros((len(target.references), len(target.sentence_labels)))
    for own, reference in zip(found, target.references, strict=True):
        labels = bagged_labels(
            candidates.texts,
            reference,
            costs=candidates.costs,
            limit=candidates.limit,
            selectable=candidates.selectable,
        )
        np.maximum.at(own, candidates.sentences, labels)
    mean: _Floats = found.mean(0)
    return mean


def _named(values: Sequence[float]) -> dict[str, float]:
    return dict(zip(("mean", "low", "high", "p"), values, strict=False))
