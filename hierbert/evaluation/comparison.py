"""A model beside the baselines on the same documents, at the same budget."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.data.oracle import oracle_sentences
from hierbert.evaluation.answers import Answer, score_summary
from hierbert.evaluation.baselines import lead, lexrank, majority_class, random, tail, textrank
from hierbert.evaluation.bootstrap import mean_interval, paired_difference
from hierbert.evaluation.classification import regression_scores, single_label_scores
from hierbert.evaluation.rouge import ROUGE_TYPES
from hierbert.log import Progress
from hierbert.model.decoding import SummaryRule
from hierbert.model.selection import sentence_costs

SUMMARY_BASELINES = ("Random", "Lead", "Tail", "TextRank", "LexRank", "Oracle")

SummaryRows = dict[str, dict[str, list[float]]]


def summary_baselines(
    documents: Sequence[PreparedDocument], rule: SummaryRule, seed: int
) -> SummaryRows:
    """ROUGE of the extractive baselines and the oracle, at the model's budget and order.

    Args:
        documents: Those without a reference summary are passed over.
        rule: The model's; without its redundancy, which is the model's own.
        seed: Of the random extract.

    Returns:
        For each system and ROUGE type, the F1 of each document with a reference.
    """
    plain = replace(rule, redundancy=0.0)
    rows: SummaryRows = {name: {kind: [] for kind in ROUGE_TYPES} for name in SUMMARY_BASELINES}
    scored = [document for document in documents if document.summary is not None]
    with Progress(len(scored), "baselines") as bar:
        for document in scored:
            texts = document.segmented.sentences
            scores = {
                "Random": random(texts, document.id, seed),
                "Lead": lead(texts),
                "Tail": tail(texts),
                "TextRank": textrank(texts),
                # The thresholded variant is the stronger one on the quick start's papers.
                "LexRank": lexrank(texts, threshold=0.1),
            }
            extracts = {
                name: plain.select(document.segmented, values) for name, values in scores.items()
            }
            costs = sentence_costs(texts, rule.budget, document.segmented.sentence_tokens.tolist())
            extracts["Oracle"] = sorted(
                oracle_sentences(
                    texts,
                    document.summary or "",
                    costs=costs,
                    limit=rule.budget.limit(texts),
                    selectable=rule.selectable(texts),
                )
            )
            for name, selected in extracts.items():
                for kind, value in score_summary(document, selected).items():
                    rows[name][kind].append(value)
            bar.advance()
    return rows


def compare_summaries(
    answers: Sequence[Answer], baselines: SummaryRows, seed: int
) -> dict[str, Any]:
    """Means with intervals of all systems, and what the model gains over each baseline.

    Args:
        answers: The model's, in the order of the documents; those without ROUGE are passed over.
        baselines: As `summary_baselines` gives them; may be empty.
        seed: Of the bootstrap.

    Returns:
        "systems": for each system and ROUGE type the mean and the 95 % interval;
        "gain": for each baseline, the mean difference in rouge1 and its 95 % interval.
    """
    own = {
        kind: [answer.rouge[kind] for answer in answers if answer.rouge is not None]
        for kind in ROUGE_TYPES
    }
    # The upper bound comes last.
    systems = {**baselines, "hierbert": own}
    if "Oracle" in baselines:
        systems["Oracle"] = systems.pop("Oracle")
    return {
        "systems": {
            name: {kind: _interval(values, seed) for kind, values in row.items()}
            for name, row in systems.items()
        },
        "gain": {
            name: dict(
                zip(
                    ("mean", "low", "high", "p"),
                    paired_difference(own["rouge1"], row["rouge1"], seed),
                    strict=True,
                )
            )
            for name, row in baselines.items()
        },
    }


def compare_labels(
    documents: Sequence[PreparedDocument], train: Sequence[PreparedDocument], label_map: LabelMap
) -> dict[str, float]:
    """The scores of always giving the commonest training label (regression: the mean).

    Args:
        documents: Those to score; unlabelled ones are passed over.
        train: Training documents.
        label_map: Of the classification head.

    Returns:
        The metrics of single-label classification or regression; empty for multi-label, where
        there is no such answer.
    """
    references = [document.label for document in documents if document.label is not None]
    known = [document.label for document in train if document.label is not None]
    if label_map.problem_type == "multi_label" or not references:
        return {}
    if label_map.problem_type == "regression":
        return regression_scores([float(np.mean(known))] * len(references), references)
    return single_label_scores([majority_class(known)] * len(references), references)


def _interval(values: list[float], seed: int) -> dict[str, float]:
    mean, low, high = mean_interval(values, seed)
    return {"mean": mean, "low": low, "high": high}
