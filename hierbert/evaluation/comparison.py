"""A model beside the baselines on the same documents, at the same budget."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hierbert.data.documents import PreparedDocument
from hierbert.data.labels import LabelMap
from hierbert.data.oracle import oracle_sentences
from hierbert.evaluation.answers import Answer, score_summary
from hierbert.evaluation.scores import indicators
from hierbert.log import Progress
from hierbert.model.decoding import SummaryRule
from hierbert.model.selection import sentence_costs
from hierbert.scoring import metrics_of
from hierbert.scoring.baselines import SUMMARY_BASELINES, label_baselines
from hierbert.scoring.intervals import mean_interval, paired_difference

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
    rows: SummaryRows = {
        name: {metric.name: [] for metric in metrics_of("summary")}
        for name in (*SUMMARY_BASELINES, "Oracle")
    }
    scored = [document for document in documents if document.summary is not None]
    with Progress(len(scored), "baselines") as bar:
        for document in scored:
            texts = document.segmented.sentences
            extracts = {
                name: plain.select(document.segmented, rank(texts, document.id, seed))
                for name, rank in SUMMARY_BASELINES.items()
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
        metric.name: [a.rouge[metric.name] for a in answers if a.rouge is not None]
        for metric in metrics_of("summary")
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
) -> dict[str, dict[str, float]]:
    """The scores of the label baselines, such as always giving the commonest training label.

    Args:
        documents: Those to score; unlabelled ones are passed over.
        train: Training documents.
        label_map: Of the classification head.

    Returns:
        For each baseline its scores; empty ones where it does not apply.
    """
    kind, count = label_map.problem_type, len(label_map.names)
    known = [document for document in train if document.label is not None]
    asked = [document for document in documents if document.label is not None]
    labels: list[Any] = [[document.label for document in part] for part in (known, asked)]
    if kind == "multi_label":
        labels = [indicators(part, count) for part in labels]
    texts, asked_texts = ([each.segmented.text for each in part] for part in (known, asked))
    return label_baselines(kind, texts, labels[0], asked_texts, labels[1])


def _interval(values: list[float], seed: int) -> dict[str, float]:
    mean, low, high = mean_interval(values, seed)
    return {"mean": mean, "low": low, "high": high}
