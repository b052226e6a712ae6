"""ROUGE for texts in any script, as ``rouge_score`` computes it.

ROUGE-1, ROUGE-2, rougeL and rougeLsum, F1 from 0 to 1, with Porter stemming and the tokenizer of
`rouge_words`. It does not split sentences: rougeLsum takes lines for sentences, so join
them with newlines on both sides; without newlines rougeLsum is nothing but rougeL.

Invariant: for ASCII text the scores are those of ``rouge_score`` with ``use_stemmer=True``.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from hierbert.scoring.metric import Metric, add_metrics, metrics_of


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


def _rouge(
    rouge_type: str, predictions: Sequence[str], references: Sequence[str]
) -> npt.NDArray[np.float64]:
    """F1 of each document; rougeL and rougeLsum take time with the product of both lengths."""
    # Not before a score is computed: the help of a command reads the table of metrics.
    from rouge_score.rouge_scorer import RougeScorer

    from hierbert.scoring.rouge_words import RougeWords

    scorer = RougeScorer([rouge_type], tokenizer=RougeWords())
    scores = [
        scorer.score(reference, prediction)[rouge_type].fmeasure
        for prediction, reference in zip(predictions, references, strict=True)
    ]
    return np.array(scores, dtype=np.float64)


for _name, _title in {
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "rougeLsum": "ROUGE-Lsum",
}.items():
    _score = partial(_rouge, _name)
    add_metrics(Metric(_name, _title, ("summary",), _score, "rouge", headline=True, hub_factor=100))
