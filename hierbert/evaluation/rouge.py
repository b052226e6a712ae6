"""ROUGE for texts in any script, as ``rouge_score`` computes it.

ROUGE-1, ROUGE-2, rougeL and rougeLsum, F1 from 0 to 1, with Porter stemming and the tokenizer of
`hierbert.data.words`. It does not split sentences: rougeLsum takes lines for sentences, so join
them with newlines on both sides; without newlines rougeLsum is nothing but rougeL.

Invariant: for ASCII text the scores are those of ``rouge_score`` with ``use_stemmer=True``.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
import numpy.typing as npt
from rouge_score.rouge_scorer import RougeScorer

from hierbert.data.words import RougeWords
from hierbert.evaluation.metric import InMemoryMetric

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def rouge_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    rouge_types: Sequence[str] = ROUGE_TYPES,
    use_stemmer: bool = True,
) -> dict[str, npt.NDArray[np.float64]]:
    """Score each summary against its reference.

    rouge1 and rouge2 are fast; rougeL and rougeLsum take time with the product of both lengths.

    Args:
        predictions: D summaries, sentences joined by newlines. An empty one scores 0.
        references: D reference summaries, sentences joined by newlines.
        rouge_types: Which scores to compute, of `ROUGE_TYPES`.
        use_stemmer: Whether ASCII words are stemmed.

    Returns:
        For each type the F1 of each document, float64 (D), from 0 to 1.

    Raises:
        ValueError: If the numbers of texts differ or a type is unknown.
    """
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


class Rouge(InMemoryMetric):
    """ROUGE as an `evaluate.Metric`: the plain mean over documents of `rouge_scores`.

    ``Rouge().compute(predictions=texts, references=texts)`` takes strings whose sentences are
    joined by newlines, and gives a dict of ``rouge1``, ``rouge2``, ``rougeL``, ``rougeLsum``,
    from 0 to 1. Optional: ``rouge_types`` and ``use_stemmer``, as in `rouge_scores`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="ROUGE-1, ROUGE-2, rougeL and rougeLsum F1 with words of any script.",
            citation="Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries.",
            inputs_description="predictions and references: strings, one sentence per line.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: Any, references: Any, **settings: Any) -> dict[str, float]:
        scores = rouge_scores(list(predictions), list(references), **settings)
        if not len(references):
            raise ValueError("there are no documents to score")
        return {name: float(values.mean()) for name, values in scores.items()}
