"""ROUGE for texts in any script, as ``rouge_score`` computes it.

ROUGE-1, ROUGE-2, rougeL and rougeLsum, F1 from 0 to 1, with Porter stemming and the tokenizer of
`hierbert.data.words`. It does not split sentences: rougeLsum takes lines for sentences, so join
them with newlines on both sides; without newlines rougeLsum is nothing but rougeL.

Invariant: for ASCII text the scores are those of ``rouge_score`` with ``use_stemmer=True``.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hierbert.scoring.metric import Metric, add_metrics, metrics_of

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def rouge_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    rouge_types: Sequence[str] = ROUGE_TYPES,
    use_stemmer: bool = True,
) -> dict[str, npt.NDArray[np.float64]]:
    """Score each summary against its reference (Lin 2004).

    rouge1 and rouge2 are fast; rougeL and rougeLsum take time with the product of both lengths.

    Args:
        predictions: D summaries, sentences joined by newlines. An empty one scores 0.
        references: D reference summaries, sentences joined by newlines.
        rouge_types: Which scores to compute, of `ROUGE_TYPES`.
        use_stemmer: Whether ASCII words are stemmed.

    Returns:
        For each type the F1 of each document, float64 (D), from 0 to 1.

    Raises:
        ValueError: The numbers of texts differ or a type is unknown.
    """
    # Not before a score is computed: the help of a command reads the table of metrics.
    from rouge_score.rouge_scorer import RougeScorer

    from hierbert.data.words import RougeWords

    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions, but {len(references)} references")
    for rouge_type in rouge_types:
        if rouge_type not in ROUGE_TYPES:
            raise ValueError(
                f"rouge type {rouge_type!r} is not allowed: one of {', '.join(ROUGE_TYPES)}"
            )
    scorer = RougeScorer(list(rouge_types), tokenizer=RougeWords(stem=use_stemmer))
    rows = [
        scorer.score(reference, prediction)
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return {
        rouge_type: np.array([row[rouge_type].fmeasure for row in rows], dtype=np.float64)
        for rouge_type in rouge_types
    }


def summary_scores(
    predictions: Sequence[str], references: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Every metric of summaries, for each document.

    Args:
        predictions: D summaries, sentences joined by newlines.
        references: D reference summaries, sentences joined by newlines.

    Returns:
        For each metric the score of each document, float64 (D).

    Raises:
        ValueError: The numbers of texts differ.
    """
    return {metric.name: metric.score(predictions, references) for metric in metrics_of("summary")}


def _metric(name: str, title: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        problem_types=("summary",),
        score=lambda said, true: rouge_scores(said, true, rouge_types=[name])[name],
        hub_type="rouge",
        headline=True,
        hub_factor=100,
    )


add_metrics(
    _metric("rouge1", "ROUGE-1"),
    _metric("rouge2", "ROUGE-2"),
    _metric("rougeL", "ROUGE-L"),
    _metric("rougeLsum", "ROUGE-Lsum"),
)
